//! What every fleet of real processes needs, however it is set up.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    http::Endpoint,
};

/// Makes folders that nobody else may look into: a master wants its own for itself alone.
///
/// # Errors
/// One of them is there already, or cannot be made.
pub fn folders(root: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        let mut builder = fs::DirBuilder::new();
        let made = builder.mode(0o700).create(root.join(name));
        made.map_err(Error::io("make a folder"))?;
    }
    Ok(())
}

/// What a started master says of itself (`baton-master run --json-ready`).
#[derive(Clone, Debug)]
pub struct Ready {
    /// Where it is operated.
    pub admin: Endpoint,
    /// Where slaves dial it by TCP.
    pub listen: String,
    /// Where its page is, if it has one.
    pub admin_http: Option<String>,
}

impl Ready {
    /// Reads its line.
    ///
    /// # Errors
    /// It is none.
    pub fn read(line: &str) -> Result<Self> {
        let odd = |detail: String| Error::answer("baton-master", detail);
        let ready: Value = serde_json::from_str(line).map_err(|error| odd(error.to_string()))?;
        let text = |name: &str| {
            let text = ready[name].as_str().map(str::to_owned);
            text.ok_or_else(|| odd(format!("no {name} in {line}")))
        };
        Ok(Self {
            admin: Endpoint::parse(&text("admin")?),
            listen: text("listen")?,
            admin_http: text("admin_http").ok(),
        })
    }
}

/// Processes whose command line or environment names `text`, but this one. One that has
/// ended and was not waited for has neither.
#[must_use]
pub fn processes_naming(text: &str) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let names = |pid: &u32| {
        ["cmdline", "environ"].iter().any(|file| {
            let said = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&said).contains(text)
        })
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(names)
        .collect()
}

/// Kills these processes, as `kill -9` does; whether there were any.
pub fn kill_processes_naming(text: &str) -> bool {
    let processes = processes_naming(text);
    for pid in &processes {
        if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    !processes.is_empty()
}
