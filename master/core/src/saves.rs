//! What reaches the disk, and what happens when it does not.
//!
//! ```text
//! Fine ──SaveFailed──▶ Failed ──backoff──▶ Trying ──any other input──▶ Fine
//!                        ▲                    │
//!                        └────SaveFailed──────┘
//! ```
//!
//! Until saves work again nothing begins that needs one. A shard that had been
//! reserved durably before goes on: its orders need no further save.

use std::collections::{BTreeMap, BTreeSet};

use baton_protocol::{
    DeployId, Epoch, ShardId, SlaveId, ToSlave,
    message::{ResumeAfter, Role},
};

use crate::{
    Core,
    event::{Action, Durability, Entry, Hold, Input},
    shard::{ClaimStage, How},
    timers::Timer,
};

/// Entries that did not reach the disk, and the actions since the last input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saves {
    trouble: Trouble,
    /// Why the last save failed that did.
    why: String,
    /// Saved again before anything else, one for each row of the journal.
    unsaved: BTreeMap<Row, Entry>,
    /// Shards that wait for an order because its reservation was not saved.
    owed: BTreeSet<ShardId>,
    /// Shards whose newest ticket is not in the journal.
    unwritten: BTreeSet<ShardId>,
    /// Actions handed out since the first save after the last input.
    batch: Vec<Action>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    Fine,
    Failed,
    Trying,
}

/// What an entry overwrites.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Pinned,
    Slave(SlaveId),
    Owner(ShardId),
    Ticket(ShardId),
    Work,
    Deploy,
    GivenUp(DeployId),
    Seen,
    Whole,
    LateSealRefused,
    Command(String),
}

impl Core {
    /// The last save failed: what relied on it was not sent. Seals that were to
    /// follow are taken back; orders that were to follow are owed; everything
    /// else is queued again.
    pub(crate) fn save_failed(&mut self, reason: &str) {
        let lost = self.out.take_back();
        if self.out.saves.trouble == Trouble::Fine {
            self.out.alarm(format!(
                "the journal cannot be written: {reason}. No shard moves until it can. Where its \
                 disk is full, free space on it."
            ));
        }
        self.out.saves.trouble = Trouble::Failed;
        reason.clone_into(&mut self.out.saves.why);
        self.out.start(Timer::Saves, self.settings.backoff);

        let mut undone = BTreeSet::new();
        // A row of whoever had it, which took the place of a reservation.
        let mut unsaved = BTreeMap::new();
        for action in lost {
            match action {
                Action::Save(entries, _) => {
                    for entry in entries {
                        if let Entry::Owner {
                            shard, epoch, hold, ..
                        } = entry
                        {
                            match hold {
                                Hold::Reserved => {
                                    self.reservation_failed(shard, epoch);
                                    undone.insert(shard);
                                }
                                Hold::Owned => {
                                    unsaved.insert(shard, epoch);
                                }
                            }
                        }
                        self.out.saves.unsaved.insert(Row::of(&entry), entry);
                    }
                }
                Action::Send(slave, message) => {
                    let owed: Vec<_> = started(&message)
                        .into_iter()
                        .filter_map(|shard| Some((shard, *unsaved.get(&shard)?)))
                        .collect();
                    if owed.is_empty() && !relies_on_reservation(&message, &undone) {
                        self.out.order(Action::Send(slave, message));
                    }
                    for (shard, epoch) in owed {
                        self.reservation_failed(shard, epoch);
                    }
                }
                // Its deploy ends below, before it began.
                Action::Launch {
                    role: Role::Candidate,
                    ..
                } => {}
                Action::Refuse(..)
                | Action::Launch { .. }
                | Action::GiveUp { .. }
                | Action::Kill(_)
                | Action::Keep(_)
                | Action::Tell(_)
                | Action::Exit => self.out.order(action),
            }
        }
        self.deploy_cannot_save(reason);
    }

    fn reservation_failed(&mut self, id: ShardId, reserved: Epoch) {
        let shard = &self.fleet.shards[id];
        let Some(claim) = shard.phase.claim() else {
            return;
        };
        match claim.stage {
            // The seal was not sent: its owner goes on. The epoch stays used up.
            ClaimStage::Sealing { to, started, .. } => {
                if !self.goes_back() {
                    // It waits until rows can be saved: copied again by then.
                    self.copy_is_gone(id, to);
                }
                let before = started.map_or(ClaimStage::Serving, ClaimStage::Starting);
                self.enter(id, claim.at(before));
                self.move_taken_back(id);
            }
            // One that was told to start before it was to be sealed is owed nothing.
            ClaimStage::Starting(_) if claim.epoch == reserved => {
                self.out.saves.owed.insert(id);
            }
            ClaimStage::Starting(_)
            | ClaimStage::Serving
            | ClaimStage::Copying { .. }
            | ClaimStage::Dialling { .. } => {}
        }
    }

    /// How a shard came free whose owner was never told to go on with it, because
    /// that could not be saved.
    pub(crate) fn never_told(&mut self, id: ShardId) -> Option<ResumeAfter> {
        if !self.out.saves.owed.remove(&id) {
            return None;
        }
        match self.fleet.shards[id].phase.starting()?.how {
            How::Resume(after) => Some(after),
            How::Full => None,
        }
    }

    /// The deadline after a failed save: the same rows once more, then the
    /// orders that rely on them.
    pub(crate) fn save_again(&mut self) {
        self.out.saves.trouble = Trouble::Trying;
        let always = vec![Entry::Deploy(self.last_deploy)];
        self.out.save(always, Durability::Now);
        for shard in std::mem::take(&mut self.out.saves.owed) {
            self.order_again(shard);
        }
        // If this save works, the next input says so: there will be one.
        self.out
            .start(Timer::Tickets, self.settings.checkpoint_to_disk);
    }

    /// Checkpoints that are not in the journal go there, together. A power cut may
    /// take the last of them, but no session: without it a shard would need an
    /// IDENTIFY.
    pub(crate) fn write_tickets(&mut self) {
        let mut durability = Durability::Soon;
        let mut entries = Vec::new();
        for id in std::mem::take(&mut self.out.saves.unwritten) {
            let Some(kept) = &mut self.fleet.shards[id].ticket else {
                continue;
            };
            if std::mem::take(&mut kept.is_new) && !cfg!(mutant = "session-soon") {
                durability = Durability::Now;
            }
            entries.push(Entry::Ticket {
                epoch: kept.epoch,
                after: kept.after,
                ticket: Box::new(kept.ticket.clone()),
            });
        }
        self.out.save(entries, durability);
    }

    /// Notes that this master runs: how old a session is after its end is counted
    /// from here, however long ago its last checkpoint was.
    pub(crate) fn note_seen(&mut self) {
        self.out.start(Timer::Seen, self.settings.seen);
        if !self.out.saves.fail() {
            self.out.save(vec![Entry::Seen], Durability::Soon);
        }
    }

    /// Sees to it that tickets which changed are written.
    pub(crate) fn write_tickets_soon(&mut self) {
        if !self.out.saves.unwritten.is_empty() && !self.out.runs(Timer::Tickets) {
            self.out
                .start(Timer::Tickets, self.settings.checkpoint_to_disk);
        }
    }

    /// The next deploy's number, made durable.
    pub(crate) fn number_deploy(&mut self) -> DeployId {
        self.last_deploy = DeployId(self.last_deploy.get().saturating_add(1));
        self.out
            .save(vec![Entry::Deploy(self.last_deploy)], Durability::Now);
        self.last_deploy
    }
}

impl Saves {
    /// An input begins. Whether saves work again that failed: none of the last ones did.
    pub(crate) fn begin_batch(&mut self, input: &Input) -> bool {
        if matches!(input, Input::SaveFailed { .. }) {
            return false;
        }
        self.batch.clear();
        let works_again = self.trouble == Trouble::Trying;
        if works_again {
            self.trouble = Trouble::Fine;
        }
        works_again
    }

    /// Notes an action that is being carried out, from the first save on.
    pub(crate) fn remember(&mut self, action: &Action) {
        if !self.batch.is_empty() || matches!(action, Action::Save(..)) {
            self.batch.push(action.clone());
        }
    }

    /// The actions that were handed out from the save on that failed.
    pub(crate) fn take_batch(&mut self) -> Vec<Action> {
        let mut lost = std::mem::take(&mut self.batch);
        let first = lost.first();
        debug_assert!(first.is_none_or(|first| matches!(first, Action::Save(..))));
        // A driver that polls no further leaves the failed save as the last one.
        if matches!(lost.last(), Some(Action::Save(..))) {
            lost.drain(..lost.len() - 1);
        }
        lost
    }

    /// What did not reach the disk goes first, and a reservation among it does not
    /// wait.
    pub(crate) fn with_unsaved(
        &mut self,
        entries: Vec<Entry>,
        durability: Durability,
    ) -> (Vec<Entry>, Durability) {
        if self.unsaved.is_empty() {
            return (entries, durability);
        }
        let mut all: Vec<_> = std::mem::take(&mut self.unsaved).into_values().collect();
        all.extend(entries);
        (all, Durability::Now)
    }

    pub(crate) fn ticket_changed(&mut self, shard: ShardId) {
        self.unwritten.insert(shard);
    }

    #[cfg(test)]
    pub(crate) const fn unwritten(&self) -> &BTreeSet<ShardId> {
        &self.unwritten
    }

    /// Whether saves fail at the moment.
    pub(crate) fn fail(&self) -> bool {
        self.trouble != Trouble::Fine
    }

    /// Why they do, or did last.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// Whether the order of a shard waits for its reservation.
    pub(crate) fn owe(&self, shard: ShardId) -> bool {
        self.owed.contains(&shard)
    }

    /// Whether the reservation of the work is not saved.
    pub(crate) fn owe_work(&self) -> bool {
        self.unsaved.contains_key(&Row::Work)
    }
}

/// The shards that this order starts.
fn started(message: &ToSlave) -> Vec<ShardId> {
    match message {
        ToSlave::Resume(resume) => vec![ShardId(resume.shard)],
        ToSlave::FullStart(start) => {
            let units = start.start.iter().flat_map(|start| &start.shards);
            units.map(|unit| unit.shard).collect()
        }
        ToSlave::StopShard(_)
        | ToSlave::SealLate(_)
        | ToSlave::State(_)
        | ToSlave::StateAck(_)
        | ToSlave::StartWork(_)
        | ToSlave::SoftStart
        | ToSlave::ShardMigrationStart(_)
        | ToSlave::Shutdown
        | ToSlave::GuildState(_)
        | ToSlave::Welcome(_)
        | ToSlave::Accepted(_)
        | ToSlave::Refused(_)
        | ToSlave::Ping(_)
        | ToSlave::IdentifyPermit(_)
        | ToSlave::Settled(_)
        | ToSlave::CopyState(_)
        | ToSlave::Dial(_)
        | ToSlave::Overtake(_)
        | ToSlave::Try(_)
        | ToSlave::StopWork(_)
        | ToSlave::Forget(_) => Vec::new(),
    }
}

fn relies_on_reservation(message: &ToSlave, undone: &BTreeSet<ShardId>) -> bool {
    match message {
        ToSlave::StopShard(stop) => undone.contains(&ShardId(stop.shard)),
        ToSlave::SealLate(late) => undone.contains(&late.shard),
        ToSlave::Resume(resume) => undone.contains(&ShardId(resume.shard)),
        ToSlave::FullStart(start) => start
            .start
            .iter()
            .flat_map(|start| &start.shards)
            .any(|unit| undone.contains(&unit.shard)),
        // A frame sent twice would spoil the copy; a lost one only delays it.
        // The work's start is repeated at its deadline.
        ToSlave::State(_) | ToSlave::StateAck(_) | ToSlave::StartWork(_) => true,
        ToSlave::SoftStart
        | ToSlave::ShardMigrationStart(_)
        | ToSlave::Shutdown
        | ToSlave::GuildState(_)
        | ToSlave::Welcome(_)
        | ToSlave::Accepted(_)
        | ToSlave::Refused(_)
        | ToSlave::Ping(_)
        | ToSlave::IdentifyPermit(_)
        | ToSlave::Settled(_)
        | ToSlave::CopyState(_)
        | ToSlave::Dial(_)
        | ToSlave::Overtake(_)
        | ToSlave::Try(_)
        | ToSlave::StopWork(_)
        | ToSlave::Forget(_) => false,
    }
}

impl Row {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Pinned(_) => Self::Pinned,
            Entry::Owner { shard, .. } => Self::Owner(*shard),
            Entry::Work { .. } => Self::Work,
            Entry::Slave(hello) => Self::Slave(hello.slave),
            Entry::Gone(slave) | Entry::Fenced(slave) => Self::Slave(*slave),
            Entry::Ticket { ticket, .. } => Self::Ticket(ticket.shard),
            Entry::Deploy(_) => Self::Deploy,
            Entry::GivenUp(deploy) => Self::GivenUp(*deploy),
            Entry::Seen => Self::Seen,
            Entry::Whole => Self::Whole,
            Entry::LateSealRefused(_) => Self::LateSealRefused,
            Entry::Command { slot, .. } => Self::Command(slot.clone()),
        }
    }
}
