//! Entries as changes of a store: what a batch puts and deletes, by what is there.
//!
//! A lower epoch is never written over a higher one, and what grows with time is bounded.
//! No store is asked for that: this master alone writes it, so it knows what is there.

use std::collections::{BTreeMap, BTreeSet};

use baton_core::event::{Entry, Key, LastDeploy};
use baton_protocol::{DeployId, Epoch, LaunchId, ShardId, SlaveId, Term, message::Hello};

use super::{
    age::Clocks,
    arrangement::ArrangementRow,
    identifies::IdentifiesRow,
    rows::{
        BOOT, Boot, Command, Deploy, DoneRow, GivenUp, LateSealRefused, Leased, Owner, Rows, Seen,
        SlaveRow, TicketRow, Work, basis_text, encode,
    },
};
use crate::{clock::millis, store::StoreError};

/// Slaves that are dead by the operator's word: the newest ones are remembered.
const MOST_FENCED: usize = 256;

/// Deploys that did not come about: those with the highest numbers are remembered.
const MOST_GIVEN_UP: usize = 64;

/// What is in the store, as far as it matters for what is written next.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    owners: BTreeMap<ShardId, u64>,
    tickets: BTreeMap<ShardId, u64>,
    /// When each was fenced.
    fenced: BTreeMap<SlaveId, u64>,
    given_up: BTreeSet<DeployId>,
    /// The number of the last deploy of all, and the last one of each slot.
    last_deploy: u64,
    deploys: BTreeMap<String, Deploy>,
    commands: BTreeMap<String, Command>,
    /// The configured command of each slot.
    configured: BTreeMap<String, Vec<String>>,
    /// Of the master that writes.
    term: u64,
}

/// What a save changes in the store, and in the ledger once it is there.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// What is put and deleted, by key.
    pub(super) changes: BTreeMap<String, Option<Vec<u8>>>,
    owners: BTreeMap<ShardId, u64>,
    tickets: BTreeMap<ShardId, u64>,
    fenced: Option<BTreeMap<SlaveId, u64>>,
    given_up: Option<BTreeSet<DeployId>>,
    deploys: BTreeMap<String, Deploy>,
    commands: BTreeMap<String, Command>,
}

impl Draft {
    fn put<T: serde::Serialize>(&mut self, key: impl ToString, row: &T) -> Result<(), StoreError> {
        self.changes.insert(key.to_string(), Some(encode(row)?));
        Ok(())
    }

    fn delete(&mut self, key: impl ToString) {
        self.changes.insert(key.to_string(), None);
    }
}

impl Ledger {
    /// Of a store that holds this.
    pub(super) fn new(rows: &Rows, configured: BTreeMap<String, Vec<String>>) -> Self {
        let epochs = rows.owners.iter().map(|(shard, row)| (*shard, row.epoch));
        let tickets = rows.tickets.iter().map(|(shard, row)| (*shard, row.epoch));
        let slaves = rows.slaves.iter();
        Self {
            owners: epochs.collect(),
            tickets: tickets.collect(),
            fenced: slaves
                .filter_map(|(slave, row)| Some((*slave, row.fenced_ms?)))
                .collect(),
            given_up: rows.given_up.clone(),
            last_deploy: rows.last_deploy.last,
            deploys: rows.deploys.clone(),
            commands: rows.commands.clone(),
            configured,
            term: 0,
        }
    }

    /// The term of the master that writes from now on.
    pub(super) const fn leads(&mut self, term: Term) {
        self.term = term.counter;
    }

    /// What saving these entries changes, `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// One of them is none that a master gives; nothing may be saved then.
    pub(super) fn draft(&self, entries: &[Entry], now: u64) -> Result<Draft, StoreError> {
        let mut draft = Draft::default();
        for entry in entries {
            self.enter(&mut draft, entry, now)?;
        }
        Ok(draft)
    }

    fn enter(&self, draft: &mut Draft, entry: &Entry, now: u64) -> Result<(), StoreError> {
        let key = entry.key();
        match entry {
            Entry::Pinned(pinned) => draft.put(key, pinned)?,
            Entry::Owner {
                shard,
                epoch,
                owner,
                hold,
                basis,
            } => {
                let epoch = given(*epoch)?;
                let row = Owner {
                    epoch,
                    owner: *owner,
                    hold: *hold,
                    basis: basis_text(*basis),
                };
                if is_newest(&self.owners, &mut draft.owners, *shard, epoch) {
                    draft.put(key, &row)?;
                }
            }
            Entry::Work { epoch, owner } => {
                let (epoch, owner) = (given(*epoch)?, *owner);
                draft.put(key, &Work { epoch, owner })?;
            }
            Entry::Slave(hello) => {
                self.fenced_of(draft).remove(&hello.slave);
                draft.put(key, &known(hello))?;
            }
            Entry::Gone(slave) => {
                self.fenced_of(draft).remove(slave);
                draft.delete(Key::Lease(*slave));
                draft.delete(key);
            }
            Entry::Fenced(slave) => self.fence(draft, *slave, now)?,
            Entry::Ticket {
                epoch,
                after,
                ticket,
            } => {
                let epoch = given(*epoch)?;
                let row = TicketRow {
                    epoch,
                    after: *after,
                    written_ms: now,
                    ticket: (**ticket).clone(),
                };
                if is_newest(&self.tickets, &mut draft.tickets, ticket.shard, epoch) {
                    draft.put(key, &row)?;
                }
            }
            Entry::Deploy(last) => self.deployed(draft, key, last, now)?,
            Entry::GivenUp(deploy) => self.give_up(draft, *deploy)?,
            Entry::Seen => {
                let clocks = Clocks::now();
                let unix_ms = clocks.unix;
                draft.put(key, &Seen { unix_ms })?;
                let clocks = clocks.to_text();
                draft.put(BOOT, &Boot { clocks })?;
            }
            Entry::Whole => draft.delete(key),
            // A master that does not know it leaves it.
            Entry::LateSealRefused(refused) => {
                let refused = *refused;
                draft.put(key, &LateSealRefused { refused })?;
            }
            Entry::Leased { slave: _, lease } if lease.is_zero() => draft.delete(key),
            Entry::Leased { slave: _, lease } => {
                // A lease that is taken for longer than it is, is waited for too long.
                let lease_ms = millis(*lease).saturating_add(1);
                let term = self.term;
                draft.put(key, &Leased { lease_ms, term })?;
            }
            Entry::Identifies(known) => {
                draft.put(key, &IdentifiesRow::at(&Clocks::now(), known))?;
            }
            // A master that does not know it leaves it too.
            Entry::Arrangement(arrangement) => draft.put(key, &ArrangementRow::of(arrangement))?,
            Entry::Command { slot, command } => {
                let mut row = self.command(draft, slot);
                row.command = Some(command.clone());
                row.configured = self.configured.get(slot).cloned().unwrap_or_default();
                row.fill(command);
                draft.put(key, &row)?;
                draft.commands.insert(slot.clone(), row);
            }
        }
        Ok(())
    }

    /// The slots have these commands when a master begins: a configuration that changed
    /// counts from then on.
    pub(super) fn fill(
        &self,
        draft: &mut Draft,
        brought: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), StoreError> {
        for (slot, configured) in &self.configured {
            let mut row = self.command(draft, slot);
            let before = row.clone();
            row.fill(brought.get(slot).unwrap_or(configured));
            if row != before {
                draft.put(Key::Command(slot.clone()), &row)?;
                draft.commands.insert(slot.clone(), row);
            }
        }
        Ok(())
    }

    /// The commands that deploys brought and that no change of the configuration
    /// has overruled.
    pub(super) fn brought(&self) -> BTreeMap<String, Vec<String>> {
        let commands = self.commands.iter().filter_map(|(slot, row)| {
            let configured = self.configured.get(slot).map_or(&[][..], Vec::as_slice);
            let command = row.command.clone()?;
            (row.configured == configured).then(|| (slot.clone(), command))
        });
        commands.collect()
    }

    /// The command that each slot had before the present one.
    pub(super) fn before(&self) -> BTreeMap<String, Vec<String>> {
        let commands = self.commands.iter();
        let commands = commands.filter(|(_, row)| !row.before.is_empty());
        commands
            .map(|(slot, row)| (slot.clone(), row.before.clone()))
            .collect()
    }

    /// What was drafted is in the store.
    pub(super) fn accept(&mut self, draft: Draft) {
        let Draft {
            changes: _,
            owners,
            tickets,
            fenced,
            given_up,
            deploys,
            commands,
        } = draft;
        let falls = |before: &BTreeMap<ShardId, u64>, after: &BTreeMap<ShardId, u64>| {
            let mut after = after.iter();
            after.any(|(shard, epoch)| before.get(shard).is_some_and(|before| before > epoch))
        };
        debug_assert!(!falls(&self.owners, &owners), "an epoch fell");
        debug_assert!(
            !falls(&self.tickets, &tickets),
            "the epoch of a ticket fell"
        );
        self.owners.extend(owners);
        self.tickets.extend(tickets);
        let numbers = deploys.values().map(|row| row.last);
        self.last_deploy = numbers.fold(self.last_deploy, u64::max);
        self.deploys.extend(deploys);
        self.commands.extend(commands);
        if let Some(fenced) = fenced {
            self.fenced = fenced;
        }
        if let Some(given_up) = given_up {
            self.given_up = given_up;
        }
    }

    /// The last deploy of its slot, and of all, unless a later one of another slot is. When
    /// it was begun, and when it was done, is known from when that was written down first:
    /// the same may be saved again much later.
    fn deployed(
        &self,
        draft: &mut Draft,
        key: Key,
        last: &LastDeploy,
        now: u64,
    ) -> Result<(), StoreError> {
        let number = last.deploy.get();
        let drafted = draft.deploys.get(&last.slot);
        let known = drafted.or_else(|| self.deploys.get(&last.slot));
        let begun = known.filter(|known| known.last == number);
        let done = last.done.map(|done| DoneRow {
            deploy: done.deploy.get(),
            unix_ms: now.saturating_sub(millis(done.ago)),
            lag_before_ms: done.lag_before.map(millis),
        });
        let known_done = known.and_then(|known| known.done);
        let row = Deploy {
            last: number,
            slot: last.slot.clone(),
            command: last.command.clone(),
            unix_ms: begun.map_or(now, |begun| begun.unix_ms),
            done: done.map(|done| {
                known_done
                    .filter(|known| known.deploy == done.deploy)
                    .unwrap_or(done)
            }),
        };
        let mut numbers = draft.deploys.values().map(|row| row.last);
        if number >= self.last_deploy && numbers.all(|other| number >= other) {
            // That of a build that knows one row for all of them, too.
            draft.put(Key::Deploy, &row)?;
        }
        draft.put(key, &row)?;
        draft.deploys.insert(last.slot.clone(), row);
        Ok(())
    }

    fn command(&self, draft: &Draft, slot: &str) -> Command {
        let drafted = draft.commands.get(slot);
        drafted
            .or_else(|| self.commands.get(slot))
            .cloned()
            .unwrap_or_default()
    }

    fn fenced_of<'a>(&self, draft: &'a mut Draft) -> &'a mut BTreeMap<SlaveId, u64> {
        draft.fenced.get_or_insert_with(|| self.fenced.clone())
    }

    fn fence(&self, draft: &mut Draft, slave: SlaveId, now: u64) -> Result<(), StoreError> {
        draft.delete(Key::Lease(slave));
        let row = SlaveRow {
            hello: None,
            fenced_ms: Some(now),
        };
        draft.put(Key::Slave(slave), &row)?;
        let fenced = self.fenced_of(draft);
        fenced.insert(slave, now);
        let first = fenced.iter().min_by_key(|(_, since)| **since);
        if fenced.len() > MOST_FENCED
            && let Some(first) = first.map(|(slave, _)| *slave)
        {
            fenced.remove(&first);
            draft.delete(Key::Slave(first));
        }
        Ok(())
    }

    fn give_up(&self, draft: &mut Draft, deploy: DeployId) -> Result<(), StoreError> {
        draft.put(Key::GivenUp(deploy), &GivenUp {})?;
        let given_up = draft.given_up.get_or_insert_with(|| self.given_up.clone());
        given_up.insert(deploy);
        if given_up.len() > MOST_GIVEN_UP
            && let Some(first) = given_up.pop_first()
        {
            draft.delete(Key::GivenUp(first));
        }
        Ok(())
    }
}

/// What is kept of a hello: not what is of one connection alone.
fn known(hello: &Hello) -> SlaveRow {
    let hello = Hello {
        term: Term::default(),
        nonce: bytes::Bytes::new(),
        deploy: DeployId::default(),
        launch: LaunchId::default(),
        ..hello.clone()
    };
    SlaveRow {
        hello: Some(hello),
        fenced_ms: None,
    }
}

/// Whether no higher epoch of this shard is there, or drafted.
fn is_newest(
    there: &BTreeMap<ShardId, u64>,
    drafted: &mut BTreeMap<ShardId, u64>,
    shard: ShardId,
    epoch: u64,
) -> bool {
    let highest = drafted.get(&shard).or_else(|| there.get(&shard));
    let newest = highest.is_none_or(|highest| epoch >= *highest);
    if newest {
        drafted.insert(shard, epoch);
    }
    newest
}

/// An epoch that a master can have given.
fn given(epoch: Epoch) -> Result<u64, StoreError> {
    match epoch.get() {
        number if number <= Epoch::LAST.get() => Ok(number),
        number => Err(StoreError::TooLarge(number)),
    }
}
