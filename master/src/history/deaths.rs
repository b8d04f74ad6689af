//! What the history says of processes that ended unexpectedly.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use baton_core::event::Death;

use crate::clock::millis;

/// So many are remembered.
const REMEMBERED: usize = 50;

/// The unexpected end of a slave's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Died {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Its slot.
    pub slot: String,
    /// Its id; absent: it ended before it joined.
    pub slave: Option<String>,
    /// Its build, where it joined.
    pub build: Option<String>,
    /// Its process id.
    pub pid: u32,
    /// Exit code or signal, in words.
    pub ending: String,
    /// How long it lived, in milliseconds; absent: not known.
    pub lived_ms: Option<u64>,
    /// The last lines of its standard error, at most 20.
    pub last_lines: Vec<String>,
}

impl Died {
    fn of(death: &Death, at_unix_ms: u64) -> Self {
        Self {
            at_unix_ms,
            slot: death.slot.clone(),
            slave: death.slave.map(|slave| slave.to_string()),
            build: death.build.clone(),
            pid: death.pid,
            ending: death.ending.to_string(),
            lived_ms: death.lived.map(millis),
            last_lines: death.last_lines.clone(),
        }
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub(super) struct Deaths(VecDeque<Died>);

impl Deaths {
    /// One that ended as ordered is none.
    pub(super) fn note(&mut self, death: &Death, at_unix_ms: u64) {
        if !death.ending.is_well() {
            self.keep(Died::of(death, at_unix_ms));
        }
    }

    pub(super) fn keep(&mut self, died: Died) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(died);
    }

    pub(super) fn all(&self) -> Vec<Died> {
        self.0.iter().cloned().collect()
    }
}
