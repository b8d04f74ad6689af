//! What the history says of processes that ended unexpectedly.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use baton_core::event::{Death, Evidence};
use baton_protocol::{DeployId, SlaveId};

use crate::clock::millis;

/// So many are remembered.
const REMEMBERED: usize = 50;

/// The unexpected end of a slave.
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
    /// Its process id, at its host.
    pub pid: u32,
    /// The host whose agent it was at; absent: the master's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How it is known that it is dead. Only the end of its process is final: by another word
    /// it may be alive, and come back with nothing.
    pub evidence: Evidence,
    /// Exit code or signal, in words; without the end of a process, whose word it was.
    pub ending: String,
    /// How long it lived, in milliseconds; absent: not known.
    pub lived_ms: Option<u64>,
    /// The last lines of its standard error, at most 20.
    pub last_lines: Vec<String>,
    /// The deploy whose new slave it was and which it did not outlive: that deploy went back
    /// or was aborted, and nothing of it is wrong any more.
    pub candidate_of: Option<u64>,
}

impl Died {
    pub(super) fn of(death: &Death, at_unix_ms: u64, candidate_of: Option<DeployId>) -> Self {
        Self {
            candidate_of: candidate_of.map(DeployId::get),
            at_unix_ms,
            slot: death.slot.clone(),
            slave: death.slave.map(|slave| slave.to_string()),
            build: death.build.clone(),
            pid: death.pid,
            host: death.host.clone(),
            evidence: Evidence::Process,
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
    /// A process ended: what a word said of it before is known now. One that ended as
    /// ordered is no death.
    pub(super) fn ended(&mut self, died: Died, is_well: bool) {
        let is_its_word = |known: &Died| {
            known.evidence != Evidence::Process
                && known.slave.is_some()
                && known.slave == died.slave
        };
        self.0.retain(|known| !is_its_word(known));
        if !is_well {
            self.keep(died);
        }
    }

    /// What is known of the end of this slave.
    pub(super) fn of(&self, slave: SlaveId) -> Option<&Died> {
        let slave = slave.to_string();
        let mut deaths = self.0.iter().rev();
        deaths.find(|died| died.slave.as_ref() == Some(&slave))
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
