//! A process that dies with whoever started it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Error;

/// A process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it. What it says goes to the end of `log`.
    ///
    /// # Errors
    /// It cannot be started, or the log cannot be written.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self, Error> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.map_err(Error::system(format!("open {}", log.display())))?;
        let copy = file.try_clone().map_err(Error::system("duplicate a log"))?;
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        let name = command.get_program().display().to_string();
        let child = command.spawn();
        let child = child.map_err(Error::system(format!("start {name}")))?;
        Ok(Self(child))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// It stands still, and its sockets stay.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder of a broker's own. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("baton-broker-").tempdir();
        made.map(Self).map_err(Error::system("make a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Removes a folder in it.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.join(name);
        let removed = fs::remove_dir_all(&path);
        removed.map_err(Error::system(format!("remove {}", path.display())))
    }
}
