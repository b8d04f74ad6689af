//! A nats-server with JetStream.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Error, Process,
    parts::{free_ports, program, wait},
    process::Folder,
};

/// A nats-server with JetStream, at a port that it chose.
#[derive(Debug)]
pub struct Nats {
    /// The server.
    pub process: Process,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: Folder,
    program: PathBuf,
    flags: Vec<String>,
}

impl Nats {
    /// Whether one can be started here.
    ///
    /// # Errors
    /// It is not installed.
    pub fn is_here() -> Result<(), Error> {
        program("nats-server").map(drop)
    }

    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        Self::with(&["-js"])
    }

    /// Starts it with these options only.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn with(flags: &[&str]) -> Result<Self, Error> {
        Self::with_config(flags, "")
    }

    /// Three of them that are one store: each has every stream with three replicas, and every
    /// confirmed message on its disk.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn three() -> Result<[Self; 3], Error> {
        let ports: [u16; 3] = free_ports();
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let all = routes.join(",");
        let one = |index: usize| {
            let (name, route) = (format!("store-{index}"), &routes[index]);
            let of_cluster = ["--cluster_name", "store", "--cluster", route];
            let flags = ["-js", "-n", &name, "--routes", &all];
            let flags: Vec<&str> = flags.into_iter().chain(of_cluster).collect();
            Self::with_config(&flags, "jetstream { sync_interval: always }\n")
        };
        Ok([one(0)?, one(1)?, one(2)?])
    }

    /// Starts it with these options and these lines in its file.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn with_config(flags: &[&str], config: &str) -> Result<Self, Error> {
        let program = program("nats-server")?;
        let folder = Folder::new()?;
        let written = format!("max_payload: 8MB\n{config}");
        let written = fs::write(folder.join("nats.conf"), written);
        written.map_err(Error::system("write nats.conf"))?;
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = spawn(&program, folder.path(), None, &flags)?;
        let log = folder.join("log");
        let port = wait("nats-server", &log, Duration::from_millis(2), || {
            port(folder.path())
        })?;
        Ok(Self {
            process,
            port,
            folder,
            program,
            flags,
        })
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// What `--sink` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// It was killed, and comes back at the same port with what is on its disk.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_again(&mut self) -> Result<(), Error> {
        let dir = self.folder.path();
        self.process = spawn(&self.program, dir, Some(self.port), &self.flags)?;
        Ok(())
    }

    /// It was killed, and its disk with it.
    ///
    /// # Errors
    /// That cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        self.folder.remove("store")
    }
}

fn spawn(
    program: &Path,
    dir: &Path,
    port: Option<u16>,
    flags: &[String],
) -> Result<Process, Error> {
    let mut command = Command::new(program);
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let config = dir.join("nats.conf");
    command.args(["-a", "127.0.0.1", "-p", &port]).args(flags);
    let paths = [dir.join("store"), dir.to_owned(), config];
    for (flag, path) in ["-sd", "--ports_file_dir", "-c"].into_iter().zip(&paths) {
        command.args([OsStr::new(flag), path.as_os_str()]);
    }
    Process::start(&mut command, &dir.join("log"))
}

/// The port that it chose and wrote down.
fn port(dir: &Path) -> Option<u16> {
    let files = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let mut files = files.map(|file| file.path());
    let file = files.find(|path| path.extension() == Some(OsStr::new("ports")))?;
    let text = fs::read_to_string(file).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
