//! A rabbitmq-server.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Error, Process, certificates,
    parts::{free_ports, program, wait},
    process::Folder,
};

/// A rabbitmq-server of its own: its folders, its name service, its ports.
#[derive(Debug)]
pub struct Rabbit {
    /// The server.
    pub process: Process,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where it listens for TLS.
    pub tls: u16,
    folder: Folder,
    server: PathBuf,
    names: u16,
    distribution: u16,
    _name_service: Process,
}

impl Rabbit {
    /// Starts it, which takes seconds.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        let (name_service, server) = programs()?;
        let folder = Folder::new()?;
        let [port, tls, names, distribution] = free_ports();
        certificates::write(folder.path())?;
        let mut command = Command::new(name_service);
        command.args(["-address", "127.0.0.1", "-port", &names.to_string()]);
        let name_service = Process::start(&mut command, &folder.join("names.log"))?;
        let process = spawn(&server, folder.path(), [port, tls, names, distribution])?;
        let rabbit = Self {
            process,
            port,
            tls,
            folder,
            server,
            names,
            distribution,
            _name_service: name_service,
        };
        rabbit.wait()?;
        Ok(rabbit)
    }

    /// Whether it is installed.
    pub(crate) fn is_here() -> Result<(), Error> {
        programs().map(drop)
    }

    /// Until it speaks AMQP: its port is open before it does.
    fn wait(&self) -> Result<(), Error> {
        let speaks = || -> io::Result<()> {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"AMQP\0\0\x09\x01")?;
            socket.read_exact(&mut [0; 8])
        };
        let (log, every) = (self.folder.join("log"), Duration::from_millis(50));
        wait("rabbitmq-server", &log, every, || speaks().ok())
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// What `--sink` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// `kill -9`, once the names of its queues are on its disk. It writes them down seconds after
    /// it has said that they are declared, and a quorum queue without its name comes back
    /// without a leader, for ever.
    ///
    /// # Errors
    /// It does not write them down.
    pub fn kill(&mut self) -> Result<(), Error> {
        let (log, every) = (self.folder.join("log"), Duration::from_millis(50));
        let written = || self.queues_have_names().ok()?.then_some(());
        let written = wait("rabbitmq-server", &log, every, written);
        written.map_err(|error| match error {
            Error::Start { name, log: said } => {
                let what = "write down the names of its queues";
                Error::Answer { name, what, said }
            }
            error @ (Error::Missing(_) | Error::System { .. } | Error::Answer { .. }) => error,
        })?;
        self.process.kill();
        Ok(())
    }

    /// Each quorum queue has a folder, which is called as the queue is in the file of names.
    fn queues_have_names(&self) -> io::Result<bool> {
        let node = node(self.port);
        let quorum = self.folder.join("data").join(&node);
        let quorum = quorum.join("quorum").join(&node);
        let names = fs::read(quorum.join("names.dets"))?;
        for entry in fs::read_dir(quorum)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            let is_named = || names.windows(name.len()).any(|part| part == name);
            if entry.file_type()?.is_dir() && !is_named() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// It was killed, and comes back with what is on its disk.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<(), Error> {
        let ports = [self.port, self.tls, self.names, self.distribution];
        self.process = spawn(&self.server, self.folder.path(), ports)?;
        self.wait()
    }

    /// It was killed, and its disk with it.
    ///
    /// # Errors
    /// That cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        self.folder.remove("data")
    }

    /// Runs a command of `rabbitmqctl`.
    pub(crate) fn operate(&self, words: &[&str], what: &'static str) -> Result<(), Error> {
        let program = self.server.with_file_name("rabbitmqctl");
        let mut command = Command::new(program);
        command.args(["--node", &node(self.port), "--quiet"]);
        command.args(words);
        environment(&mut command, self.folder.path(), self.names);
        let output = command.output().map_err(Error::system("run rabbitmqctl"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let name = "rabbitmq-server";
        Err(Error::Answer { name, what, said })
    }
}

/// Its name service, and the server.
fn programs() -> Result<(PathBuf, PathBuf), Error> {
    let name_service = program("epmd")?;
    // Debian's wrapper wants its own user and folders; this is behind it.
    let versions = fs::read_dir("/usr/lib/rabbitmq/lib").ok();
    let found = versions.and_then(|mut versions| {
        versions.find_map(|version| {
            let server = version.ok()?.path().join("sbin/rabbitmq-server");
            server.is_file().then_some(server)
        })
    });
    let missing = || Error::Missing("no rabbitmq-server here".to_owned());
    Ok((name_service, found.ok_or_else(missing)?))
}

fn node(port: u16) -> String {
    format!("baton{port}@localhost")
}

fn environment(command: &mut Command, dir: &Path, names: u16) {
    command
        .env("HOME", dir)
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", names.to_string());
}

fn spawn(server: &Path, dir: &Path, ports: [u16; 4]) -> Result<Process, Error> {
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
    fs::write(&config, text).map_err(Error::system("write rabbitmq.conf"))?;
    let plugins = dir.join("enabled_plugins");
    fs::write(&plugins, "[].").map_err(Error::system("write enabled_plugins"))?;
    let mut command = Command::new(server);
    environment(&mut command, dir, names);
    command
        .env("RABBITMQ_NODENAME", node(port))
        .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
        .env("RABBITMQ_LOG_BASE", dir.join("logs"))
        .env("RABBITMQ_LOGS", "-")
        // Without it, the server is a child of a shell.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} -noinput +sbwt none +S 2:2",
        );
    Process::start(&mut command, &dir.join("log"))
}
