//! Real brokers: processes of a test, with a folder of their own.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, certificates};

/// Where `scripts/brokers` puts what it installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/brokers")
}

/// Where a program is. If it is nowhere that is said, past the harness, which would show it of
/// a test that fails only; with `BATON_BROKERS=all` it is a failure.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = installed().join("python/bin");
    let mut folders = std::iter::once(own).chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    if found.is_none() {
        missing(&format!("no {name} here"));
    }
    found
}

/// The environment of a Python that has a library, if it is there.
pub(crate) fn python(library: &str) -> Option<PathBuf> {
    let folder = installed().join("python");
    let found = folder.join(library).is_dir().then_some(folder);
    if found.is_none() {
        missing(&format!("no Python library {library} here"));
    }
    found
}

/// The folder of Node's packages that has one, if it is there, and Node.
pub(crate) fn node(package: &str) -> Option<PathBuf> {
    program("node")?;
    let folder = installed().join("node/node_modules");
    let found = folder.join(package).is_dir().then_some(folder);
    if found.is_none() {
        missing(&format!("no Node package {package} here"));
    }
    // What is linked to by another folder has to be found from there.
    found.map(|folder| folder.canonicalize().unwrap())
}

fn missing(what: &str) {
    let all = std::env::var_os("BATON_BROKERS").is_some_and(|word| word == "all");
    assert!(!all, "{what}: scripts/brokers installs it");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(
        std::io::stderr(),
        "{test}: PASSED OVER: {what}; scripts/brokers installs it"
    );
}

/// A process that dies with its test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        let log = log.unwrap();
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// It stands still, and its sockets stay.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A nats-server with JetStream.
pub(crate) struct Nats {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) dir: tempfile::TempDir,
    program: PathBuf,
    flags: Vec<String>,
}

impl Nats {
    /// `None`: there is none here, which was said.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&["-js"])
    }

    /// With these options.
    pub(crate) fn with(flags: &[&str]) -> Option<Self> {
        let program = program("nats-server")?;
        let dir = tempfile::tempdir().unwrap();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = Self::spawn(&program, dir.path(), None, &flags);
        let port = Self::port(dir.path());
        Some(Self {
            process,
            port,
            dir,
            program,
            flags,
        })
    }

    fn spawn(program: &Path, dir: &Path, port: Option<u16>, flags: &[String]) -> Process {
        let mut command = Command::new(program);
        let port = port.map_or("-1".to_owned(), |port| port.to_string());
        let config = dir.join("nats.conf");
        if !config.exists() {
            fs::write(&config, "max_payload: 8MB\n").unwrap();
        }
        command.args(["-a", "127.0.0.1", "-p", &port]).args(flags);
        let paths = [dir.join("store"), dir.to_owned(), config];
        for (flag, path) in ["-sd", "--ports_file_dir", "-c"].into_iter().zip(&paths) {
            command.args([OsStr::new(flag), path.as_os_str()]);
        }
        Process::start(&mut command, &dir.join("log"))
    }

    /// The port that it chose and wrote down.
    fn port(dir: &Path) -> u16 {
        let began = Instant::now();
        loop {
            let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
            let mut files = files.filter(|path| path.extension() == Some(OsStr::new("ports")));
            let said = files.next().and_then(|path| fs::read_to_string(path).ok());
            let said = said.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            let url = said.and_then(|ports| Some(ports["nats"][0].as_str()?.to_owned()));
            if let Some(url) = url {
                return url.rsplit(':').next().unwrap().parse().unwrap();
            }
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(
                began.elapsed() < PATIENCE,
                "nats-server does not start: {log}"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "a process has no other way to say it"
            )]
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// It was killed, and comes back at the same port with what is on its disk.
    pub(crate) fn start_again(&mut self) {
        let dir = self.dir.path();
        self.process = Self::spawn(&self.program, dir, Some(self.port), &self.flags);
    }

    /// It was killed, and its disk with it.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.dir.path().join("store")).unwrap();
    }
}

/// A redis-server that writes everything to its disk, at a socket file.
pub(crate) struct Redis {
    pub(crate) process: Process,
    pub(crate) dir: tempfile::TempDir,
    program: PathBuf,
    flags: Vec<String>,
}

impl Redis {
    /// `None`: there is none here, which was said.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// With these options.
    pub(crate) fn with(flags: &[&str]) -> Option<Self> {
        let program = program("redis-server")?;
        let dir = tempfile::tempdir().unwrap();
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = Self::spawn(&program, dir.path(), &flags);
        let redis = Self {
            process,
            dir,
            program,
            flags,
        };
        redis.wait();
        Some(redis)
    }

    fn spawn(program: &Path, dir: &Path, flags: &[String]) -> Process {
        let mut command = Command::new(program);
        command.args(["--port", "0", "--appendonly", "yes", "--save", ""]);
        // By default it answers before it writes, while the disk is busy.
        command.args(["--appendfsync", "always"]);
        command.arg("--unixsocket").arg(dir.join("socket"));
        command.arg("--dir").arg(dir).args(flags);
        Process::start(&mut command, &dir.join("log"))
    }

    /// Until it takes connections.
    fn wait(&self) {
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(began.elapsed() < PATIENCE, "redis-server does not start");
            #[expect(
                clippy::disallowed_methods,
                reason = "a process has no other way to say it"
            )]
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// It was killed, and comes back with what is on its disk.
    pub(crate) fn start_again(&mut self) {
        self.process = Self::spawn(&self.program, self.dir.path(), &self.flags);
        self.wait();
    }

    /// It was killed, and its disk with it.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.dir.path().join("appendonlydir")).unwrap();
    }
}

/// Ports that nobody has, and that the system gives to nobody by itself: a server needs
/// seconds until it has taken them.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::array::from_fn(|_| {
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = 20_000 + (std::process::id() * 16 + next) % 10_000;
            let port = u16::try_from(port).unwrap();
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

/// A rabbitmq-server of its own: its folders, its name service, its ports.
pub(crate) struct Rabbit {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) tls: u16,
    pub(crate) dir: tempfile::TempDir,
    server: PathBuf,
    names: u16,
    distribution: u16,
    _name_service: Process,
}

impl Rabbit {
    /// `None`: there is none here, which was said.
    pub(crate) fn start() -> Option<Self> {
        let name_service = program("epmd")?;
        // Debian's wrapper wants its own user and folders; this is behind it.
        let versions = fs::read_dir("/usr/lib/rabbitmq/lib").ok();
        let found = versions.and_then(|mut versions| {
            versions.find_map(|version| {
                let server = version.ok()?.path().join("sbin/rabbitmq-server");
                server.is_file().then_some(server)
            })
        });
        let Some(server) = found else {
            missing("no rabbitmq-server here");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let [port, tls, names, distribution] = free_ports();
        certificates::write(dir.path());
        let mut command = Command::new(name_service);
        command.args(["-address", "127.0.0.1", "-port", &names.to_string()]);
        let name_service = Process::start(&mut command, &dir.path().join("names.log"));
        let process = Self::spawn(&server, dir.path(), [port, tls, names, distribution]);
        let rabbit = Self {
            process,
            port,
            tls,
            dir,
            server,
            names,
            distribution,
            _name_service: name_service,
        };
        rabbit.wait();
        Some(rabbit)
    }

    fn spawn(server: &Path, dir: &Path, ports: [u16; 4]) -> Process {
        let [port, tls, names, distribution] = ports;
        let config = dir.join("rabbitmq.conf");
        let [ca, cert, key] = certificates::of_broker(dir);
        let text = format!(
            "listeners.tcp.local = 127.0.0.1:{port}\n\
             listeners.ssl.local = 127.0.0.1:{tls}\n\
             ssl_options.cacertfile = {ca}\n\
             ssl_options.certfile = {cert}\n\
             ssl_options.keyfile = {key}\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n\
             log.console = true\n"
        );
        fs::write(&config, text).unwrap();
        let plugins = dir.join("enabled_plugins");
        fs::write(&plugins, "[].").unwrap();
        let mut command = Command::new(server);
        command
            .env("HOME", dir)
            .env("RABBITMQ_NODENAME", format!("baton{port}@localhost"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
            .env("RABBITMQ_LOG_BASE", dir.join("logs"))
            .env("RABBITMQ_LOGS", "-")
            // Without it, the server is a child of a shell.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_CONFIG_FILE", &config)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} -noinput +sbwt none +S 2:2",
            );
        Process::start(&mut command, &dir.join("log"))
    }

    /// Until it speaks AMQP: its port is open before it does.
    fn wait(&self) {
        use std::io::Read;
        let began = Instant::now();
        loop {
            let speaks = || -> std::io::Result<()> {
                let mut socket = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
                socket.set_read_timeout(Some(Duration::from_secs(1)))?;
                socket.write_all(b"AMQP\0\0\x09\x01")?;
                socket.read_exact(&mut [0; 8])
            };
            if speaks().is_ok() {
                return;
            }
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(
                began.elapsed() < PATIENCE,
                "rabbitmq-server does not start: {log}"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "a process has no other way to say it"
            )]
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// It was killed, and comes back with what is on its disk.
    pub(crate) fn start_again(&mut self) {
        let ports = [self.port, self.tls, self.names, self.distribution];
        self.process = Self::spawn(&self.server, self.dir.path(), ports);
        self.wait();
    }

    /// It was killed, and its disk with it.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }
}
