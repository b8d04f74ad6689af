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

/// Where a program of the workspace was built: `BATON_BIN_DIR`, else beside the
/// running program.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("BATON_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let mut folder = std::env::current_exe().map_err(Error::io("current executable"))?;
            folder.pop();
            // Test programs stand one folder deeper than the others.
            if folder.ends_with("deps") {
                folder.pop();
            }
            folder
        }
    };
    let path = folder.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::NotBuilt(path))
    }
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

/// A command of the workspace, with a clean environment but for what a program
/// needs to run at all.
///
/// # Errors
/// It is not built.
pub fn command(
    name: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    command.args(arguments);
    clean(&mut command);
    Ok(command)
}

fn clean(command: &mut Command) {
    command.env_clear();
    for kept in ["PATH", "HOME", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
}

/// As [`command`], run by another program: `wrapper` and its arguments, then the
/// command line itself.
///
/// # Errors
/// It is not built.
pub fn wrapped(wrapper: &[String], name: &str, arguments: &[&str]) -> Result<Command> {
    let Some((outer, first)) = wrapper.split_first() else {
        return command(name, arguments);
    };
    let mut command = Command::new(outer);
    command.args(first).arg(program(name)?).args(arguments);
    clean(&mut command);
    Ok(command)
}

/// Kills every process whose command line holds `text`, but this one.
pub fn kill_all_with(text: &str) {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return;
    };
    for entry in processes.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| pid.cast_unsigned() != std::process::id()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(text)
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
