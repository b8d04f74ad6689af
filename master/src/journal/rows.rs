//! What is under each key of a journal: JSON objects, whose field `v` is the lowest
//! version of its form that a reader has to know. Fields that are added have a default,
//! and leave `v` as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_core::event::{
    Basis, Done, Hold, JournalState, Key, LastDeploy, Recovered, RecoveredTicket, Row as OwnerRow,
};
use baton_protocol::{
    DeployId, Epoch, LaunchId, Parameters, ShardId, SlaveId, Term, Ticket,
    message::{Hello, ResumeAfter},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{age::Clocks, arrangement::ArrangementRow, identifies::IdentifiesRow};
use crate::store::{Revision, Snapshot, StoreError, TERM};

/// What this build knows of the form of each value.
const VERSION: u32 = 1;

/// Keys that are no entries of the core.
pub(super) const BOOT: &str = "boot";
/// The shard count that was pinned at the first start.
pub(super) const SHARD_COUNT: &str = "shard-count";

/// Everything that a journal holds, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// Of the last master, and where the store has it; `None`: the journal is new.
    pub(super) term: Option<(Term, Revision)>,
    /// The host's boot, and when it was by the wall clock of that moment.
    pub(super) boot: Option<String>,
    /// When a master ran last, in milliseconds since 1970.
    pub(super) seen_ms: Option<u64>,
    /// There while not every shard has a row since a journal was lost: epochs up to this
    /// one may have been used.
    pub(super) lost: Option<u64>,
    pub(super) shard_count: Option<u32>,
    pub(super) pinned: Option<Parameters>,
    pub(super) owners: BTreeMap<ShardId, Owner>,
    pub(super) tickets: BTreeMap<ShardId, TicketRow>,
    /// How old each row is by the store's own clock, where it has one: the clocks of two
    /// hosts need not agree.
    pub(super) ages: BTreeMap<Key, Duration>,
    pub(super) work: Option<Work>,
    pub(super) slaves: BTreeMap<SlaveId, SlaveRow>,
    /// Of all slots.
    pub(super) last_deploy: Deploy,
    /// Of each slot.
    pub(super) deploys: BTreeMap<String, Deploy>,
    pub(super) given_up: BTreeSet<DeployId>,
    pub(super) late_seal_refused: bool,
    pub(super) identifies: Option<IdentifiesRow>,
    pub(super) leases: BTreeMap<SlaveId, Leased>,
    pub(super) arrangement: ArrangementRow,
    pub(super) commands: BTreeMap<String, Command>,
}

/// `term`.
#[derive(Serialize, Deserialize)]
pub(super) struct TermRow {
    pub(super) fleet: baton_protocol::FleetId,
    pub(super) counter: u64,
}

/// `boot`.
#[derive(Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) clocks: String,
}

/// `seen`.
#[derive(Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) unix_ms: u64,
}

/// `lost`.
#[derive(Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) floor: u64,
}

/// `shard-count`.
#[derive(Serialize, Deserialize)]
pub(super) struct ShardCount {
    pub(super) shard_count: u32,
}

/// `owner.SHARD`: the highest epoch of a shard, and the slave that it belongs to or is
/// used up for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) epoch: u64,
    pub(super) owner: SlaveId,
    #[serde(with = "HoldName")]
    pub(super) hold: Hold,
    /// `cold`, `death`, or `seal N`: the ticket of the owner at epoch N.
    pub(super) basis: String,
}

/// How a [`Hold`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Hold", rename_all = "lowercase")]
enum HoldName {
    Reserved,
    Owned,
}

/// `ticket.SHARD`: a secret, it holds a session id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TicketRow {
    pub(super) epoch: u64,
    pub(super) after: ResumeAfter,
    /// In milliseconds since 1970.
    pub(super) written_ms: u64,
    pub(super) ticket: Ticket,
}

/// `work`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) epoch: u64,
    pub(super) owner: SlaveId,
}

/// `slave.ID`: a slave that is not known to be gone, or one that is dead by the operator's
/// word.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SlaveRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hello: Option<Hello>,
    /// Since when, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fenced_ms: Option<u64>,
}

/// `deploy` and `deploy.SLOT`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deploy {
    pub(super) last: u64,
    /// Its slot; empty: an earlier build did not write it down.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) slot: String,
    /// What it brings, if that is not the slot's own command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Vec<String>>,
    /// When it was written down first, in milliseconds since 1970; zero: by an earlier build.
    #[serde(default)]
    pub(super) unix_ms: u64,
    /// The last one of the slot that was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<DoneRow>,
}

/// A deploy that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DoneRow {
    pub(super) deploy: u64,
    /// When, in milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// How old the oldest unfinished event was before.
    pub(super) lag_before_ms: Option<u64>,
}

impl Deploy {
    /// At a moment in milliseconds since 1970.
    fn at(&self, now: u64) -> LastDeploy {
        let millis = Duration::from_millis;
        LastDeploy {
            deploy: DeployId(self.last),
            slot: self.slot.clone(),
            command: self.command.clone(),
            done: self.done.map(|done| Done {
                deploy: DeployId(done.deploy),
                ago: millis(now.saturating_sub(done.unix_ms)),
                lag_before: done.lag_before_ms.map(millis),
            }),
        }
    }
}

/// `given-up.DEPLOY`: the key says it all.
#[derive(Serialize, Deserialize)]
pub(super) struct GivenUp {}

/// `late-seal-refused`.
#[derive(Serialize, Deserialize)]
pub(super) struct LateSealRefused {
    pub(super) refused: bool,
}

/// `lease.ID`: for how long a slave serves without a leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Leased {
    pub(super) lease_ms: u64,
    /// The term of the last master that knew of it. A build that knows no leases leaves the
    /// row as it is, and may have told the slave that it has none.
    pub(super) term: u64,
}

/// `command.SLOT`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Command {
    /// What a deploy brought; absent: none did.
    pub(super) command: Option<Vec<String>>,
    /// What was configured then: a configuration changed since wins.
    pub(super) configured: Vec<String>,
    /// What the slot has.
    pub(super) present: Vec<String>,
    /// What it had before; empty: nothing.
    pub(super) before: Vec<String>,
}

impl Command {
    /// This is the command of the slot now; what it was is the one before.
    pub(super) fn fill(&mut self, command: &[String]) {
        if self.present != command {
            self.before = std::mem::replace(&mut self.present, command.to_vec());
        }
    }
}

/// The bytes of a value.
pub(super) fn encode<T: Serialize>(row: &T) -> Result<Vec<u8>, StoreError> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        v: u32,
        #[serde(flatten)]
        row: &'a T,
    }
    let versioned = Versioned { v: VERSION, row };
    serde_json::to_vec(&versioned).map_err(|error| StoreError::Row {
        key: "?".to_owned(),
        value: error.to_string(),
    })
}

/// What the bytes of a value say.
fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Lowest {
        v: u32,
    }
    let wrong = |error: serde_json::Error| StoreError::Row {
        key: key.to_owned(),
        // The value itself may be a secret, and a message of it may quote it.
        value: format!("{:?} error at byte {}", error.classify(), error.column()),
    };
    let lowest: Lowest = serde_json::from_slice(bytes).map_err(wrong)?;
    if lowest.v > VERSION {
        return Err(StoreError::Row {
            key: key.to_owned(),
            value: format!(
                "it is of version {}, and this master knows {VERSION}",
                lowest.v
            ),
        });
    }
    serde_json::from_slice(bytes).map_err(wrong)
}

impl Rows {
    /// Reads every value that this build knows the key of.
    pub(super) fn read(snapshot: &Snapshot) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        for (name, kept) in snapshot {
            let bytes = &kept.value;
            match name.as_str() {
                TERM => {
                    let TermRow { fleet, counter } = decode(name, bytes)?;
                    rows.term = Some((Term { fleet, counter }, kept.revision));
                }
                BOOT => rows.boot = Some(decode::<Boot>(name, bytes)?.clocks),
                SHARD_COUNT => {
                    rows.shard_count = Some(decode::<ShardCount>(name, bytes)?.shard_count);
                }
                // What is no key of an entry is of a master that knows more.
                _ => {
                    if let Ok(key) = name.parse::<Key>() {
                        if let Some(age) = kept.age {
                            rows.ages.insert(key.clone(), age);
                        }
                        rows.take(key, name, bytes)?;
                    }
                }
            }
        }
        Ok(rows)
    }

    fn take(&mut self, key: Key, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match key {
            Key::Pinned => self.pinned = Some(decode(name, bytes)?),
            Key::Slave(slave) => {
                let mut row: SlaveRow = decode(name, bytes)?;
                if let Some(hello) = &mut row.hello {
                    // An earlier build wrote texts down unchanged.
                    hello.make_readable();
                }
                self.slaves.insert(slave, row);
            }
            Key::Owner(shard) => drop(self.owners.insert(shard, decode(name, bytes)?)),
            Key::Ticket(shard) => drop(self.tickets.insert(shard, decode(name, bytes)?)),
            Key::Work => self.work = Some(decode(name, bytes)?),
            Key::Deploy => {
                self.last_deploy = decode(name, bytes)?;
                self.deployed(self.last_deploy.clone());
            }
            Key::DeployOf(_) => self.deployed(decode(name, bytes)?),
            Key::GivenUp(deploy) => drop(self.given_up.insert(deploy)),
            Key::Seen => self.seen_ms = Some(decode::<Seen>(name, bytes)?.unix_ms),
            Key::Lost => self.lost = Some(decode::<Lost>(name, bytes)?.floor),
            Key::LateSealRefused => {
                self.late_seal_refused = decode::<LateSealRefused>(name, bytes)?.refused;
            }
            Key::Lease(slave) => drop(self.leases.insert(slave, decode(name, bytes)?)),
            Key::Identifies => self.identifies = Some(decode(name, bytes)?),
            Key::Arrangement => self.arrangement = decode(name, bytes)?,
            Key::Command(slot) => drop(self.commands.insert(slot, decode(name, bytes)?)),
        }
        Ok(())
    }

    /// The last deploy of a slot, unless a later one is known. A build that knows only one
    /// row for all may have written that meanwhile.
    fn deployed(&mut self, row: Deploy) {
        let known = self.deploys.get(&row.slot);
        if !row.slot.is_empty() && known.is_none_or(|known| known.last <= row.last) {
            self.deploys.insert(row.slot.clone(), row);
        }
    }

    /// Takes rows out whose epoch no master gave; gives their keys. A slave may have said
    /// so to a master that believed it.
    pub(super) fn take_out_impossible(&mut self) -> Vec<Key> {
        let is_given = |epoch: u64| (1..=Epoch::LAST.get()).contains(&epoch);
        let mut taken = Vec::new();
        self.owners.retain(|shard, row| {
            let good = is_given(row.epoch);
            taken.extend((!good).then_some(Key::Owner(*shard)));
            good
        });
        self.tickets.retain(|shard, row| {
            let good = is_given(row.epoch);
            taken.extend((!good).then_some(Key::Ticket(*shard)));
            good
        });
        if self.work.take_if(|work| !is_given(work.epoch)).is_some() {
            taken.push(Key::Work);
        }
        taken
    }

    /// What the core goes on from; whether a slave still lives is not judged here.
    pub(super) fn recovered(&self) -> Result<Recovered, StoreError> {
        let clocks = Clocks::now();
        let now = clocks.unset_since(self.boot.as_deref().unwrap_or_default());
        let tickets = self.tickets.iter().map(|(shard, row)| {
            let written = row.written_ms.max(self.seen_ms.unwrap_or(0));
            let by_this_host = Duration::from_millis(now.saturating_sub(written));
            let seen = self.ages.get(&Key::Seen);
            let by_the_store = self.ages.get(&Key::Ticket(*shard));
            let by_the_store = by_the_store.map(|age| *seen.map_or(age, |seen| seen.min(age)));
            let ticket = RecoveredTicket {
                epoch: Epoch(row.epoch),
                after: row.after,
                ticket: row.ticket.clone(),
                age: by_the_store.unwrap_or(by_this_host),
            };
            (*shard, ticket)
        });
        let shards = self.owners.iter().map(|(shard, row)| {
            let row = OwnerRow {
                epoch: Epoch(row.epoch),
                owner: row.owner,
                hold: row.hold,
                basis: basis(*shard, &row.basis)?,
            };
            Ok((*shard, row))
        });
        let slaves = self.slaves.iter();
        let work = self.work.as_ref();
        Ok(Recovered {
            pinned: self.pinned.clone(),
            shards: shards.collect::<Result<_, StoreError>>()?,
            work: work.map(|work| (Epoch(work.epoch), work.owner)),
            slaves: slaves
                .clone()
                .filter_map(|(slave, row)| Some((*slave, row.hello.clone()?)))
                .collect(),
            fenced: slaves
                .filter_map(|(slave, row)| row.fenced_ms.map(|_| *slave))
                .collect(),
            last_deploy: self.last_deploy.at(now),
            deploys: self
                .deploys
                .iter()
                .map(|(slot, row)| (slot.clone(), row.at(now)))
                .collect(),
            launches: LaunchId::default(),
            given_up: self.given_up.clone(),
            tickets: tickets.collect(),
            arrangement: self.arrangement.arrangement(),
            late_seal_refused: self.late_seal_refused,
            leases: self
                .leases
                .iter()
                .filter(|(_, row)| self.term.is_some_and(|(last, _)| last.counter == row.term))
                .map(|(slave, row)| (*slave, Duration::from_millis(row.lease_ms)))
                .collect(),
            identifies: self.identifies.as_ref().map(|row| row.by(&clocks)),
            journal: match self.lost {
                Some(_) => JournalState::Lost,
                None => JournalState::Intact,
            },
            floor: Epoch(self.lost.unwrap_or(0)),
        })
    }
}

pub(super) fn basis_text(basis: Basis) -> String {
    match basis {
        Basis::Cold => "cold".to_owned(),
        Basis::Death => "death".to_owned(),
        Basis::Seal(epoch) => format!("seal {epoch}"),
    }
}

fn basis(shard: ShardId, text: &str) -> Result<Basis, StoreError> {
    let seal = |epoch: &str| Some(Basis::Seal(Epoch(epoch.parse().ok()?)));
    match text {
        "cold" => Ok(Basis::Cold),
        "death" => Ok(Basis::Death),
        text => text
            .strip_prefix("seal ")
            .and_then(seal)
            .ok_or_else(|| StoreError::Row {
                key: Key::Owner(shard).to_string(),
                value: format!("basis {text:?}"),
            }),
    }
}
