//! What was found out, and the file that it is kept in.

use std::{fmt, fs, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{clock::unix_ms, whole_file};

/// Its file in the data directory.
pub const FILE: &str = "probe.json";

/// What Discord did, at one time and with one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What became of a RESUME while the session's connection was open; `None`: not
    /// found out.
    pub while_connected: Option<WhileConnected>,
    /// Whether what a heartbeat had named was missing in the replay; `None`: not found
    /// out.
    pub heartbeat_trims: Option<bool>,
    /// The longest time without a connection after which the session was resumed.
    #[serde(with = "humantime_serde")]
    pub resumed_after: Option<Duration>,
    /// The time after which it was not.
    #[serde(with = "humantime_serde")]
    pub refused_after: Option<Duration>,
}

/// What a RESUME meets while the session's connection is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum WhileConnected {
    /// It is resumed, and the old connection closed.
    TakesOver {
        /// With this code; 1006: without one.
        close_code: u16,
    },
    /// It is resumed, and the old connection stays.
    Both,
    /// It is refused.
    Refuses {
        /// Whether the session was over then.
        session_ends: bool,
    },
}

impl fmt::Display for WhileConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakesOver { close_code } => {
                write!(f, "yes: the old connection is closed with {close_code}")
            }
            Self::Both => write!(f, "yes: the old connection stays"),
            Self::Refuses { session_ends: true } => write!(f, "no, and the session is over"),
            Self::Refuses {
                session_ends: false,
            } => write!(f, "no"),
        }
    }
}

impl Probed {
    pub(super) fn now() -> Self {
        Self {
            unix_ms: unix_ms(),
            while_connected: None,
            heartbeat_trims: None,
            resumed_after: None,
            refused_after: None,
        }
    }

    /// What `data_dir` holds of a former probe; `None`: nothing that this build reads.
    #[must_use]
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Keeps it in `data_dir`, in place of a former one, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        whole_file::write(&data_dir.join(FILE), &text)
    }

    /// Whether `--late-seal` gains anything: a RESUME takes the session over while its
    /// old owner is connected. `None`: not found out.
    #[must_use]
    pub fn takes_late_seals(&self) -> Option<bool> {
        Some(!matches!(
            self.while_connected?,
            WhileConnected::Refuses { .. }
        ))
    }
}

/// One line for a person.
impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.while_connected {
            Some(found) => write!(f, "RESUME while connected: {found}")?,
            None => write!(f, "RESUME while connected: not found out")?,
        }
        match self.heartbeat_trims {
            Some(true) => write!(f, "; heartbeats trim the replay")?,
            Some(false) => write!(f, "; heartbeats do not trim the replay")?,
            None => {}
        }
        if let Some(after) = self.resumed_after {
            write!(f, "; a session was resumed after {after:?}")?;
        }
        if let Some(after) = self.refused_after {
            write!(f, "; not after {after:?}")?;
        }
        Ok(())
    }
}
