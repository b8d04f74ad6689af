//! The file in which an agent keeps what it launched, so that it knows its slaves again after its own
//! restart, and carries out no order twice.
//!
//! A launch is on the disk before its process is started. What was not noted by a master
//! stays, also after its end.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use baton_protocol::{LaunchId, ProcessIdentity, message::agent::Ended};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{error::Error, whole_file};

/// Its name in the runtime folder.
const FILE: &str = "agent.json";

/// A larger file is none that an agent wrote.
const MAX_FILE: u64 = 16 << 20;

/// So many launches are kept, ended ones included; the oldest of those that ended go first.
pub(super) const MOST: usize = 512;

/// One launch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) launch: LaunchId,
    pub(super) slot: String,
    /// Its process; absent: it is being started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<ProcessIdentity>,
    /// The `log` of its slot; absent: it writes to a file of the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<PathBuf>,
    /// How it ended; absent: it has not, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<Box<Ended>>,
}

/// What the file says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    /// The agent that wrote it.
    pub(super) agent: ProcessIdentity,
    /// Pid namespaces that ended with an earlier agent, their process 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) over: Vec<Namespace>,
    /// What it launched, the oldest first.
    pub(super) launches: Vec<Row>,
    /// Whether a slave that it started by itself came to a master.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) came: bool,
}

/// A pid namespace that is known to be over: every process of it is dead. Its number is given
/// to later ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Namespace {
    /// The boot that it was of.
    boot_id: String,
    /// Its number.
    pid_namespace: u64,
    /// It was over when a process was started at this time since the boot.
    until: u64,
}

/// So many namespaces are remembered.
const MOST_OVER: usize = 64;

impl Written {
    /// Who takes over knows of one more namespace that is over, if the agent before was
    /// process 1 of another one. Its lock is the taker's now, so it is dead, and the kernel
    /// ends a namespace with its process 1: whoever runs containers starts the next one when
    /// the last process of the one before is gone.
    pub(super) fn taken_over_by(&mut self, here: &ProcessIdentity) {
        let agent = std::mem::replace(&mut self.agent, here.clone());
        let was_init = agent.pid == 1
            && !agent.boot_id.is_empty()
            && agent.boot_id == here.boot_id
            && agent.pid_namespace != here.pid_namespace
            && !agent.host.is_another_than(here.host);
        if was_init && !mutant!("namespace-outlives-init") {
            if self.over.len() == MOST_OVER {
                self.over.remove(0);
            }
            self.over.push(Namespace {
                boot_id: agent.boot_id,
                pid_namespace: agent.pid_namespace,
                until: here.start_time,
            });
        }
    }
}

impl Namespace {
    /// Whether this process was in it.
    pub(super) fn had(&self, process: &ProcessIdentity) -> bool {
        process.boot_id == self.boot_id
            && process.pid_namespace == self.pid_namespace
            && process.start_time < self.until
    }
}

/// Writes the file; a later state is never overwritten by an earlier one.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    path: Arc<PathBuf>,
    written: Arc<Mutex<u64>>,
    last: u64,
}

/// One state of the file, to be written.
#[derive(Debug)]
pub(super) struct Save {
    path: Arc<PathBuf>,
    written: Arc<Mutex<u64>>,
    number: u64,
    text: Vec<u8>,
}

impl Ledger {
    /// Reads what an earlier agent wrote. What makes no sense is set aside, and the agent knows
    /// nothing of what was launched before.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(runtime_dir: &Path) -> Result<(Self, Written), Error> {
        let path = runtime_dir.join(FILE);
        let failed = |error| Error::system(format!("{}", path.display()), error);
        let mut text = String::new();
        let read =
            fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        let written = match read {
            Ok(_) => serde_json::from_str(&text).unwrap_or_else(|error| {
                let aside = path.with_extension("damaged");
                warn!(
                    file = %path.display(), aside = %aside.display(), %error,
                    "the file makes no sense: what was launched before is not known any more"
                );
                // It is written again in any case.
                let _ = fs::rename(&path, &aside);
                Written::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Written::default(),
            Err(error) => return Err(failed(error)),
        };
        let ledger = Self {
            path: Arc::new(path),
            written: Arc::default(),
            last: 0,
        };
        Ok((ledger, written))
    }

    /// This is how it is now.
    pub(super) fn save(&mut self, written: &Written) -> Save {
        self.last += 1;
        Save {
            path: Arc::clone(&self.path),
            written: Arc::clone(&self.written),
            number: self.last,
            text: serde_json::to_vec(written).unwrap_or_default(),
        }
    }
}

impl Save {
    /// Writes it, if nothing later was written. Waits for the disk.
    ///
    /// # Errors
    /// The operating system refused.
    pub(super) fn write(self) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written < self.number {
            whole_file::write(&self.path, &self.text)?;
            *written = self.number;
        }
        Ok(())
    }

    /// The same on a thread of its own.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) async fn written(self) -> io::Result<()> {
        let writing = tokio::task::spawn_blocking(move || self.write());
        writing
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn of(launch: u128) -> Written {
        let row = Row {
            launch: LaunchId(launch),
            ..Row::default()
        };
        Written {
            launches: vec![row],
            ..Written::default()
        }
    }

    #[test]
    fn an_earlier_state_does_not_overwrite_a_later_one_and_only_its_user_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, nothing) = Ledger::open(dir.path()).unwrap();
        assert!(nothing.launches.is_empty());
        let earlier = ledger.save(&of(1));
        ledger.save(&of(2)).write().unwrap();
        earlier.write().unwrap();
        let (_, found) = Ledger::open(dir.path()).unwrap();
        assert_eq!(found.launches[0].launch, LaunchId(2));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_namespace_is_over_with_its_first_process_and_a_later_one_of_its_number_is_not() {
        let process = |pid, pid_namespace, start_time| ProcessIdentity {
            pid,
            pid_namespace,
            start_time,
            boot_id: "boot".to_owned(),
            ..ProcessIdentity::default()
        };
        let mut written = Written {
            agent: process(1, 5, 100),
            ..Written::default()
        };
        written.taken_over_by(&process(1, 6, 200));
        let is_over =
            |written: &Written, of: &ProcessIdentity| written.over.iter().any(|it| it.had(of));
        assert!(is_over(&written, &process(7, 5, 150)));
        assert!(
            !is_over(&written, &process(7, 5, 250)),
            "the number was given again"
        );
        assert!(!is_over(&written, &process(7, 6, 150)));
        // The one before it is not forgotten.
        written.taken_over_by(&process(1, 7, 300));
        assert!(is_over(&written, &process(7, 5, 150)) && is_over(&written, &process(7, 6, 250)));
        // One that was a process among others leaves its namespace behind.
        let mut written = Written {
            agent: process(2, 5, 100),
            ..Written::default()
        };
        written.taken_over_by(&process(1, 6, 200));
        assert!(written.over.is_empty());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"launches\": 7").unwrap();
        let (_, found) = Ledger::open(dir.path()).unwrap();
        assert!(found.launches.is_empty());
        assert!(dir.path().join("agent.damaged").exists());
    }
}
