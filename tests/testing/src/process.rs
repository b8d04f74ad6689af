//! Real processes of a fleet: found, started, read, ended.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::error::{Error, Result};

/// How long a process may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);

/// Where a program of Baton is: in the folder that `BATON_BIN_DIR` names, else beside
/// the running program (where cargo builds all of a workspace), else in `PATH`.
///
/// # Errors
/// It is nowhere.
pub fn program(name: &str) -> Result<PathBuf> {
    let folders = match std::env::var_os("BATON_BIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => {
            let mut beside = std::env::current_exe().map_err(Error::io("current executable"))?;
            beside.pop();
            // Test programs stand one folder deeper than the others.
            if beside.ends_with("deps") {
                beside.pop();
            }
            let path = std::env::var_os("PATH").unwrap_or_default();
            let installed: Vec<PathBuf> = std::env::split_paths(&path).collect();
            std::iter::once(beside).chain(installed).collect()
        }
    };
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| Error::NotBuilt(folders[0].join(name)))
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `command`; everything it writes goes into `logs/NAME.log`, but
    /// for a first line on its standard output when `first_line` is asked for.
    ///
    /// # Errors
    /// It cannot be started, or ends or stays silent instead of writing a line.
    pub async fn start(
        name: &str,
        logs: &Path,
        mut command: Command,
        first_line: bool,
    ) -> Result<(Self, String)> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).map_err(Error::io(format!("create {}", log.display())))?;
        let copy = file.try_clone().map_err(Error::io("duplicate the log"))?;
        command
            .stdin(Stdio::null())
            .stderr(Stdio::from(file))
            .stdout(if first_line {
                Stdio::piped()
            } else {
                Stdio::from(copy)
            })
            .kill_on_drop(true);
        let child = command.spawn().map_err(Error::io(format!(
            "start {}",
            command.as_std().get_program().display()
        )))?;
        let mut process = Self {
            name: name.to_owned(),
            log,
            child,
        };
        let line = if first_line {
            process.first_line().await?
        } else {
            String::new()
        };
        Ok((process, line))
    }

    async fn first_line(&mut self) -> Result<String> {
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or_else(|| self.failed("no output"))?;
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        let read = timeout(READY, reader.read_line(&mut line)).await;
        match read {
            Ok(Ok(length)) if length > 0 => {
                // The rest is of no interest, but must not block it.
                tokio::spawn(
                    async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await },
                );
                Ok(line)
            }
            Ok(_) => {
                let _ = timeout(READY, self.child.wait()).await;
                Err(self.failed("ended before it was ready"))
            }
            Err(_) => Err(self.failed("not ready after 30 s")),
        }
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal; nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for its end; its exit code, or -1 if a signal ended it.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<i32> {
        match timeout(limit, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status.code().unwrap_or(-1)),
            Ok(Err(error)) => Err(self.failed(&error.to_string())),
            Err(_) => Err(self.failed(&format!("still running after {limit:?}"))),
        }
    }

    /// `SIGTERM`, then its exit code.
    ///
    /// # Errors
    /// It still runs after 30 s.
    pub async fn stop(&mut self) -> Result<i32> {
        self.signal(Signal::TERM);
        self.ended(READY).await
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n  ")
    }

    fn failed(&self, what: &str) -> Error {
        Error::Process {
            name: self.name.clone(),
            detail: format!("{what}\n  {}", self.last_words()),
        }
    }
}

/// A command of Baton, with a clean environment but for what a program needs to run
/// at all.
///
/// # Errors
/// It is nowhere.
pub fn command(
    name: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    command.args(arguments);
    clean(&mut command);
    Ok(command)
}

/// Leaves of the environment only what a program needs to run at all.
pub fn clean(command: &mut Command) {
    command.env_clear();
    for kept in ["PATH", "HOME", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
}
