//! One shard: whose it is, and what is known to hand it on.

mod copy;
pub(crate) mod deaths;
mod handover;
mod in_doubt;
pub(crate) mod late;
mod ownership;
pub(crate) mod phase;
mod plausible;
mod progress;
mod rate;
pub(crate) mod reach;
mod restart;
mod resync;
mod setback;
mod ticket;

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, Session, SlaveId, Ticket, message::ResumeAfter,
};

use crate::{
    event::{Basis, Time},
    fleet::SlotId,
};

use self::{deaths::Care, rate::Rate, reach::Oldest};
pub(crate) use self::{
    handover::{Handover, Stuck},
    in_doubt::Doubt,
    ownership::Ownership,
    phase::{Claim, ClaimStage, Free, How, Phase, Reach, Sealing, Start},
};

/// Everything that the core knows of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    /// The slot that it is in: that of its claimant, or where it is placed next. Whatever
    /// happens to it happens by the rules of this one.
    pub(crate) slot: SlotId,
    /// The slot that it is to be in. Another one: it is a stray (`moves/`).
    pub(crate) home: SlotId,
    /// The slot that the configuration names for it.
    pub(crate) configured: SlotId,
    /// The highest epoch that is known to be used up.
    pub(crate) epoch: Epoch,
    /// For whom that one was used up; `None`: unknown.
    pub(crate) holder: Option<SlaveId>,
    /// Epochs up to this one may be used up: what a lost journal knew.
    pub(crate) floor: Epoch,
    /// Whose it is.
    pub(crate) phase: Phase,
    /// The newest ticket.
    pub(crate) ticket: Option<Kept>,
    /// Who has a copy of its state at rest (frozen at a seal, or imported), and
    /// the lowest sequence at which that copy stands.
    pub(crate) copies: BTreeMap<SlaveId, Sequence>,
    /// Bytes of its state that were passed on and not acknowledged.
    pub(crate) on_its_way: u64,
    /// Copies of this move that were too old once they were whole.
    pub(crate) copied_again: u32,
    /// Seals of its present move that a heartbeat overtook.
    pub(crate) overtaken: u32,
    /// How much its next owner has prepared, as it said last.
    pub(crate) prepared: u64,
    /// Behind which sequence the connection resumes that its next owner dialled last.
    pub(crate) dialled_from: Option<Sequence>,
    /// What the slave that has the highest epoch goes on from.
    pub(crate) basis: Basis,
    /// What its owner replays until it serves: after a death anything in it may
    /// have been handled before, no matter which slave goes on from there.
    pub(crate) replays: ResumeAfter,
    /// What was in doubt at the last seal.
    pub(crate) doubt: Option<Doubt>,
    /// What goes on to run where the shard may come back to.
    pub(crate) in_hand: InHand,
    /// Times in a row that it failed outside of a deploy.
    pub(crate) failures: u32,
    /// Why it does not serve, and what becomes of it: as the last alarm about it said.
    pub(crate) trouble: Option<String>,
    /// Why the last dial of its owner brought no connection, as the owner said.
    pub(crate) refused: Option<String>,
    /// How many events it gets.
    pub(crate) rate: Rate,
    /// Since when its owner, which serves it, has no connection to the service.
    pub(crate) away: Option<Time>,
    /// When its owner last had a connection, or sent a RESUME on one: since then the service
    /// keeps the session.
    pub(crate) kept: Time,
    /// Whether it had a session that is over, and has no other yet.
    pub(crate) session_lost: bool,
    /// The highest sequence of its session that its owner said it received.
    pub(crate) received: Sequence,
    /// When its owner said so last; `None`: never to this master.
    pub(crate) heard: Option<Time>,
    /// What is in doubt at or below this one is not replayed to who owns it.
    pub(crate) began: Sequence,
    /// Its oldest unfinished event, where its owner named one.
    pub(crate) oldest: Option<Oldest>,
    /// Since when no slave serves its session, through all attempts in which nothing
    /// came; `None`: not known.
    pub(crate) alone: Option<Time>,
    /// What is known of events that may have killed its owners.
    pub(crate) care: Care,
    /// When it was restarted for its silence last.
    pub(crate) healed: Option<Time>,
}

/// What those who sealed a shard had in hand then and nobody is known to have finished,
/// as it was when the owner after them died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InHand {
    /// Of this session; the sequences say nothing of another.
    pub(crate) session: Session,
    pub(crate) hands: Vec<(SlaveId, SequenceRanges)>,
}

/// A ticket and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) ticket: Ticket,
    /// Of which owner.
    pub(crate) epoch: Epoch,
    /// `Seal`: exact.
    pub(crate) after: ResumeAfter,
    /// How old it was when the master started, else zero.
    pub(crate) age: Duration,
    /// Whether its session is not yet in the journal.
    pub(crate) is_new: bool,
}

impl Shard {
    pub(crate) fn new(slot: SlotId, floor: Epoch) -> Self {
        Self {
            slot,
            home: slot,
            configured: slot,
            epoch: Epoch(0),
            holder: None,
            floor,
            phase: Phase::Unknown { row: None },
            ticket: None,
            copies: BTreeMap::new(),
            on_its_way: 0,
            copied_again: 0,
            overtaken: 0,
            prepared: 0,
            dialled_from: None,
            basis: Basis::Death,
            replays: ResumeAfter::Seal,
            doubt: None,
            in_hand: InHand::default(),
            failures: 0,
            trouble: None,
            refused: None,
            rate: Rate::new(),
            away: None,
            kept: Time(Duration::ZERO),
            session_lost: false,
            received: Sequence(0),
            heard: None,
            began: Sequence(0),
            oldest: None,
            alone: None,
            care: Care::new(),
            healed: None,
        }
    }

    /// Uses up an epoch that was never used before, for this slave.
    pub(crate) fn use_epoch(&mut self, holder: SlaveId) -> Epoch {
        self.holder = Some(holder);
        self.refused = None;
        if mutant!("epoch-reused") && self.epoch > self.floor {
            return self.epoch;
        }
        let before = self.epoch;
        self.epoch = self.epoch.max(self.floor).next();
        debug_assert!(self.epoch > before, "an epoch is used once");
        self.epoch
    }

    /// A slave reported this epoch, which it was given.
    pub(crate) fn used_up(&mut self, epoch: Epoch, holder: SlaveId) {
        if epoch >= self.epoch {
            self.epoch = epoch;
            self.holder = Some(holder);
        }
    }

    /// Its session is served: what was wrong before is over, and the copy of its state
    /// is none any more.
    pub(crate) fn begins_to_serve(&mut self, owner: SlaveId, now: Time) {
        self.failures = 0;
        self.trouble = None;
        self.refused = None;
        self.alone = None;
        self.replays = ResumeAfter::Seal;
        self.session_lost = false;
        self.copies.remove(&owner);
        self.is_live_again(now);
    }
}
