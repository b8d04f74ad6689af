//! What must be known when the journal is gone: which fleet this is, how often a
//! master started, what is pinned, and which slaves may be alive. A small file beside the secret,
//! so that what takes the journal away does not take this.
//!
//! It never knows less than the journal: a slave is written here before it is
//! written there, and taken out after it. So a journal that knows less has lost
//! something.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use baton_core::event::Entry;
use baton_protocol::{FleetId, Parameters, SlaveId, Term, auth::Secret, message::Hello};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::whole_file;

/// A larger file is none that a master wrote.
const MAX_FILE: u64 = 16 << 20;

/// Longer than any nonce of a hello: it is never a proof of a handshake.
const FLEET_OF_SECRET: &[u8] = b"the fleet that this secret belongs to";

/// Where the roster is, and what is known of a fleet that has none.
#[derive(Clone, Debug)]
pub struct Home {
    /// The file.
    pub file: PathBuf,
    /// The fleet, where neither a journal nor the file names one: it belongs to
    /// the secret.
    pub fleet: FleetId,
    /// Whether a secret was there before this start: a fleet may have run.
    pub ran_before: bool,
    /// Whether masters of other hosts have the same journal: what this host knew may be old
    /// then, and no sign that the journal lost something.
    pub shared: bool,
}

impl Home {
    /// Of the fleet with this secret.
    #[must_use]
    pub fn new(file: PathBuf, secret: &Secret, ran_before: bool) -> Self {
        let proof = secret.master_proof(FLEET_OF_SECRET, SlaveId(0));
        let bytes = proof.iter().take(size_of::<FleetId>());
        let fleet = bytes.fold(0, |id: u128, byte| id << 8 | u128::from(*byte));
        Self {
            file,
            fleet: FleetId(fleet),
            ran_before,
            shared: false,
        }
    }

    /// Of a fleet whose masters share a journal.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }
}

/// The file, as it is on the disk.
#[derive(Debug)]
pub(super) struct Roster {
    path: PathBuf,
    known: Known,
}

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) term: Term,
    pub(super) shard_count: Option<u32>,
    pub(super) pinned: Option<Parameters>,
    pub(super) slaves: BTreeMap<SlaveId, Hello>,
    /// The boot on which it was written; empty: an earlier build wrote it, or no master led
    /// here.
    pub(super) boot: String,
    /// Whether a standby master wrote it, by what it read in a shared journal.
    pub(super) copied: bool,
    /// The newest revision of a shared journal that was seen.
    pub(super) newest: u64,
}

#[derive(Serialize, Deserialize)]
struct Written {
    fleet: FleetId,
    term: u64,
    shard_count: Option<u32>,
    pinned: Option<Parameters>,
    slaves: Vec<Hello>,
    #[serde(default)]
    boot: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    copied: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    newest: u64,
}

/// Of a journal that is not shared.
const fn is_zero(newest: &u64) -> bool {
    *newest == 0
}

impl Roster {
    /// `None`: there is none, or none that can be read.
    pub(super) fn read(path: &Path) -> io::Result<Option<Known>> {
        let mut text = String::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(error),
        }
        let written = serde_json::from_str::<Written>(&text).ok();
        let known = written.map(|written| Known {
            term: Term {
                fleet: written.fleet,
                counter: written.term,
            },
            shard_count: written.shard_count,
            pinned: written.pinned,
            slaves: written
                .slaves
                .into_iter()
                .map(|hello| (hello.slave, hello))
                .collect(),
            boot: written.boot,
            copied: written.copied,
            newest: written.newest,
        });
        if known.is_none() {
            warn!(file = %path.display(), "the file makes no sense and is written again");
        }
        Ok(known)
    }

    /// Begins a term; on the disk when it returns.
    pub(super) fn begin(path: &Path, known: Known) -> io::Result<Self> {
        let path = path.to_owned();
        let roster = Self { path, known };
        roster.write()?;
        Ok(roster)
    }

    /// Before it is in the journal.
    pub(super) fn pin_shard_count(&mut self, shard_count: u32) -> io::Result<()> {
        self.known.shard_count = Some(shard_count);
        self.write()
    }

    /// Before the entries that it is [`with`](Self::with) are in the journal.
    pub(super) fn become_known(&mut self, next: Known) -> io::Result<()> {
        // A write that fails is tried again with the next save.
        let before = std::mem::replace(&mut self.known, next);
        self.write().inspect_err(|_| self.known = before)
    }

    /// What it says with these, slaves that come and what is pinned; `None`: what it says.
    pub(super) fn with(&self, entries: &[Entry]) -> Option<Known> {
        let mut next = None;
        for entry in entries {
            if let Entry::Slave(hello) = entry {
                let hello = Hello {
                    term: Term::default(),
                    nonce: bytes::Bytes::new(),
                    ..(**hello).clone()
                };
                let next = next.get_or_insert_with(|| self.known.clone());
                next.slaves.insert(hello.slave, hello);
            } else if let Entry::Pinned(pinned) = entry {
                let next = next.get_or_insert_with(|| self.known.clone());
                next.pinned = Some(pinned.clone());
            }
        }
        next.filter(|next| *next != self.known)
    }

    /// After `entries` are in the journal: slaves that are no more, by the last word on
    /// each.
    pub(super) fn remove(&mut self, entries: &[Entry]) {
        let mut gone = BTreeSet::new();
        for entry in entries {
            if let Entry::Gone(slave) | Entry::Fenced(slave) = entry {
                gone.insert(*slave);
            } else if let Entry::Slave(hello) = entry {
                gone.remove(&hello.slave);
            }
        }
        let before = self.known.slaves.len();
        self.known.slaves.retain(|slave, _| !gone.contains(slave));
        let changed = self.known.slaves.len() < before;
        if changed && let Err(error) = self.write() {
            // One name too many makes the next master wait, no more.
            warn!(file = %self.path.display(), %error, "a dead slave is still written there");
        }
    }

    /// A later term was heard of than the journal has: whoever begins here next knows by it
    /// that the journal lost something.
    pub(super) fn saw(&mut self, term: Term) {
        if term.fleet != self.known.term.fleet || term.counter <= self.known.term.counter {
            return;
        }
        self.known.term = term;
        if let Err(error) = self.write() {
            warn!(file = %self.path.display(), %error, "a later term cannot be written down");
        }
    }

    /// The file was removed.
    pub(super) fn write_again(&self) {
        if !self.path.exists()
            && let Err(error) = self.write()
        {
            warn!(file = %self.path.display(), %error, "the file is gone and cannot be written");
        }
    }

    /// Appears under its name only when it is whole and on the disk.
    fn write(&self) -> io::Result<()> {
        let known = &self.known;
        let written = Written {
            fleet: known.term.fleet,
            term: known.term.counter,
            shard_count: known.shard_count,
            pinned: known.pinned.clone(),
            slaves: known.slaves.values().cloned().collect(),
            boot: known.boot.clone(),
            copied: known.copied,
            newest: known.newest,
        };
        let text = serde_json::to_vec(&written).map_err(io::Error::other)?;
        whole_file::write(&self.path, &text)?;
        match self.path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
