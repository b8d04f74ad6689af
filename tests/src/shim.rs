//! Faults that only the C library can play: `tests/shim/faults.c`, compiled into
//! the folder of a run and loaded into its processes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::error::{Error, Result};

const SOURCE: &str = include_str!("../shim/faults.c");

/// Who loads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loads {
    /// Nobody.
    #[default]
    Nobody,
    /// The master.
    Master,
    /// The master, and the slaves that it launches.
    Everybody,
}

impl Loads {
    /// What a slave's shell does before it becomes the slave.
    #[must_use]
    pub const fn before_slave(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Master => "unset LD_PRELOAD; ",
            // Disks fail under the master alone.
            Self::Everybody => "unset BATON_FSYNC_FAILS; ",
        }
    }
}

/// Compiles it for the processes of the run in this folder.
///
/// # Errors
/// The compiler is not there, or fails.
pub async fn build(folder: &Path) -> Result<()> {
    let source = folder.join("faults.c");
    fs::write(&source, SOURCE).map_err(Error::io("write a source file"))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    compiler.arg(library(folder)).arg(&source);
    let output = compiler.output().await.map_err(Error::io("run cc"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Process {
        name: "cc".to_owned(),
        detail: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Has a process of the run load it.
pub fn load(folder: &Path, command: &mut Command) {
    command
        .env("LD_PRELOAD", library(folder))
        .env("BATON_FSYNC_FAILS", sync_fails(folder))
        .env("BATON_CLOCK_OFFSET", offset(folder));
}

/// From now on nothing reaches the disk for sure; or it does again.
///
/// # Errors
/// The file that says so cannot be written or removed.
pub fn fail_syncs(folder: &Path, fail: bool) -> Result<()> {
    let file = sync_fails(folder);
    let done = if fail {
        fs::write(file, "")
    } else {
        fs::remove_file(file)
    };
    done.map_err(Error::io("let syncs fail"))
}

/// The wall clock jumps, by so many seconds from what it really is.
///
/// # Errors
/// The file that says so cannot be written.
pub fn set_clock(folder: &Path, seconds: i64) -> Result<()> {
    // Whole at once: it is read all the time.
    let new = folder.join("clock-offset.new");
    fs::write(&new, seconds.to_string())
        .and_then(|()| fs::rename(&new, offset(folder)))
        .map_err(Error::io("set the clock"))
}

fn library(folder: &Path) -> PathBuf {
    folder.join("faults.so")
}

fn sync_fails(folder: &Path) -> PathBuf {
    folder.join("fsync-fails")
}

fn offset(folder: &Path) -> PathBuf {
    folder.join("clock-offset")
}
