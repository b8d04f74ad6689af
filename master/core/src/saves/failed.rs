//! A save failed: what relied on it is taken back, and it is tried again.

use std::collections::{BTreeMap, BTreeSet};

use baton_protocol::{
    Epoch, ShardId, ToSlave,
    message::{RefusedReason, ResumeAfter, Role},
};

use crate::{
    event::{Action, Durability, Entry, Hold},
    fleet::Fleet,
    out::Out,
    saves::Trouble,
    shard::{ClaimStage, Handover, How},
    timers::Timer,
};

impl Handover<'_> {
    /// The last save failed: what relied on it was not sent. Seals that were to
    /// follow are taken back; orders that were to follow are owed; everything
    /// else is queued again.
    pub(crate) fn save_failed(&mut self, reason: &str) {
        let lost = self.out.take_back();
        self.save_alarm(reason);
        self.out.saves.trouble = Trouble::Failed;
        reason.clone_into(&mut self.out.saves.why);
        self.out.start(Timer::Saves, self.settings.backoff);

        let mut undone = BTreeSet::new();
        // A row of whoever had it, which took the place of a reservation.
        let mut unsaved = BTreeMap::new();
        // Launches that come behind what is not written down.
        let mut unstarted = Vec::new();
        // Slaves that were to be told of a lease, or of none, that is not written down.
        let mut untold = BTreeSet::new();
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
                        if let Entry::Leased { slave, .. } = entry {
                            untold.insert(slave);
                        }
                        self.out.saves.unsaved.insert(entry.key(), entry);
                    }
                }
                Action::Send(slave, ToSlave::Accepted(accepted))
                    if accepted.lease_ms > 0 || untold.contains(&slave) =>
                {
                    let detail = "the journal cannot be written: dial again later".to_owned();
                    self.out.refuse(slave, RefusedReason::Other, detail);
                }
                Action::Send(slave, message) => {
                    let relies = Relies::of(&message);
                    let owed: Vec<_> = relies
                        .started()
                        .iter()
                        .filter_map(|shard| Some((*shard, *unsaved.get(shard)?)))
                        .collect();
                    if owed.is_empty() && !relies.is_in_vain(&undone) {
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
                Action::Launch {
                    role: Role::Relaunch | Role::Standby,
                    launch,
                    ..
                } if !mutant!("launched-unsaved") => unstarted.push(launch),
                Action::Refuse(..)
                | Action::Launch { .. }
                | Action::GiveUp { .. }
                | Action::Kill(..)
                | Action::HangUp(_)
                | Action::Keep(_)
                | Action::Tell(_)
                | Action::Exit => self.out.order(action),
            }
        }
        for launch in unstarted {
            self.fleet.not_started(launch, self.out);
        }
    }

    /// Operators hear of it: at once, or where it passes by itself as a rule only when it
    /// lasts.
    fn save_alarm(&mut self, reason: &str) {
        let since = *self.out.saves.since.get_or_insert(self.out.now);
        if self.out.saves.alarmed || self.out.now.since(since) < self.settings.save_alarm {
            return;
        }
        self.out.saves.alarmed = true;
        self.out.alarm(format!(
            "the journal cannot be written: {reason}. No shard moves until it can. Where its \
             disk is full, free space on it."
        ));
    }

    fn reservation_failed(&mut self, id: ShardId, reserved: Epoch) {
        let shard = &self.fleet.shards[id];
        let Some(claim) = shard.phase.claim() else {
            return;
        };
        match claim.stage {
            // The seal was not sent: its owner goes on. The epoch stays used up.
            ClaimStage::Sealing { to, started, .. } => {
                if !self.goes_back(id) {
                    // It waits until rows can be saved: copied again by then.
                    self.fleet.copy_is_gone(id, to);
                }
                let before = started.map_or(ClaimStage::Serving, ClaimStage::Starting);
                self.fleet.enter(id, claim.at(before), self.out);
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

    /// The deadline after a failed save: the same rows once more, then the
    /// orders that rely on them.
    pub(crate) fn save_again(&mut self) {
        self.out.saves.trouble = Trouble::Trying;
        let always = vec![Entry::Deploy(self.deploys.last().clone())];
        self.out.save(always, Durability::Now);
        for shard in std::mem::take(&mut self.out.saves.owed) {
            // It may be to be sealed by now, or another's.
            if self.fleet.shards[shard].phase.starting().is_some() {
                self.order_again(shard);
            }
        }
        // If this save works, the next input says so: there will be one.
        self.out
            .start(Timer::Tickets, self.settings.checkpoint_to_disk);
    }
}

impl Fleet {
    /// How a shard came free whose owner was never told to go on with it, because
    /// that could not be saved.
    pub(crate) fn never_told(&self, id: ShardId, out: &mut Out) -> Option<ResumeAfter> {
        if !out.saves.owed.remove(&id) {
            return None;
        }
        match self.shards[id].phase.starting()?.how {
            How::Resume(after) => Some(after),
            How::Full => None,
        }
    }
}

/// What a message that is not sent yet relies on, of all that was to be saved before it.
enum Relies {
    /// It seals this shard, for the epoch that was reserved.
    Seal(ShardId),
    /// It starts these shards, at the epochs that were reserved.
    Start(Vec<ShardId>),
    /// A frame sent twice would spoil the copy; a lost one only delays it. The work's
    /// start is repeated at its deadline.
    All,
    Nothing,
}

impl Relies {
    fn of(message: &ToSlave) -> Self {
        match message {
            ToSlave::Seal(seal) | ToSlave::SealLate(seal) => Self::Seal(seal.shard),
            ToSlave::Resume(resume) => Self::Start(vec![resume.shard()]),
            ToSlave::FullStart(start) => {
                Self::Start(start.shards.iter().map(|unit| unit.shard).collect())
            }
            ToSlave::State(_) | ToSlave::StateAck(_) | ToSlave::StartWork(_) => Self::All,
            // It says that the term is proved.
            ToSlave::Ping(ping) if ping.heard > 0 => Self::All,
            ToSlave::Ping(_) | ToSlave::Accepted(_) => Self::Nothing,
            ToSlave::SoftStart
            | ToSlave::ShardMigrationStart(_)
            | ToSlave::Shutdown
            | ToSlave::Refused(_)
            | ToSlave::IdentifyPermit(_)
            | ToSlave::Settled(_)
            | ToSlave::CopyState(_)
            | ToSlave::Dial(_)
            | ToSlave::Overtake(_)
            | ToSlave::Try(_)
            | ToSlave::StopWork(_)
            | ToSlave::PermitsLeased(_)
            | ToSlave::Post(_)
            | ToSlave::Forget(_) => Self::Nothing,
        }
    }

    fn started(&self) -> &[ShardId] {
        match self {
            Self::Start(shards) => shards,
            Self::Seal(_) | Self::All | Self::Nothing => &[],
        }
    }

    /// Whether it must not be sent, now that these reservations are taken back.
    fn is_in_vain(&self, undone: &BTreeSet<ShardId>) -> bool {
        match self {
            Self::Seal(shard) => undone.contains(shard),
            Self::Start(shards) => shards.iter().any(|shard| undone.contains(shard)),
            Self::All => true,
            Self::Nothing => false,
        }
    }
}
