//! A redis-server.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Error, Process,
    parts::{free_ports, program, wait},
    process::Folder,
};

/// A redis-server that writes everything to its disk, at a socket file and at a port.
#[derive(Debug)]
pub struct Redis {
    /// The server.
    pub process: Process,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: Folder,
    program: PathBuf,
    flags: Vec<String>,
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        Self::with(&[])
    }

    /// Starts it with further options.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn with(flags: &[&str]) -> Result<Self, Error> {
        let program = program("redis-server")?;
        let folder = Folder::new()?;
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let [port] = free_ports();
        let process = spawn(&program, folder.path(), port, &flags)?;
        let redis = Self {
            process,
            port,
            folder,
            program,
            flags,
        };
        redis.wait()?;
        Ok(redis)
    }

    /// Until it takes connections.
    fn wait(&self) -> Result<(), Error> {
        let (log, every) = (self.folder.join("log"), Duration::from_millis(2));
        wait("redis-server", &log, every, || {
            std::os::unix::net::UnixStream::connect(self.socket()).ok()
        })
        .map(drop)
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket file.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// What `--sink` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// It was killed, and comes back with what is on its disk.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.process = spawn(&self.program, self.folder.path(), self.port, &self.flags)?;
        self.wait()
    }

    /// It was killed, and its disk with it.
    ///
    /// # Errors
    /// That cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        self.folder.remove("appendonlydir")
    }
}

fn spawn(program: &Path, dir: &Path, port: u16, flags: &[String]) -> Result<Process, Error> {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--appendonly", "yes", "--save", ""]);
    // By default it answers before it writes, while the disk is busy.
    command.args(["--appendfsync", "always"]);
    command.arg("--unixsocket").arg(dir.join("socket"));
    command.arg("--dir").arg(dir).args(flags);
    Process::start(&mut command, &dir.join("log"))
}
