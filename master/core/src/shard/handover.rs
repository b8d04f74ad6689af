//! One shard moves.
//!
//! ```text
//! Serving ─begin_move─▶ Copying ─state_ready─▶ Dialling ─dialled─▶ Sealing
//!   old                   old                    old                 old, asked
//!         Sealing ─sealed─▶ Free ─place─▶ Starting ─served─▶ Serving
//!            │              no slave      new                new
//!            └─ back and serving ─▶ Copying
//! ```
//!
//! An owner that lost its connection before it sealed has its state copied again
//! (`resync.rs`), and so is one whose copy is too many events behind once the next
//! owner has dialled: `Dialling` becomes `Copying` again.
//!
//! Going back is the same way from the new slave to the old one, without the
//! copy: the old one has its frozen state. The deploy decides who may move
//! (`deploy/mod.rs`), messages of the two slaves move it on, and every failure goes
//! through [`Succession::shard_due`](crate::deploy::Succession::shard_due),
//! [`Core::failed`](crate::Core::failed) or a death.

use baton_protocol::{
    Epoch, Sequence, ShardId, SlaveId, Ticket, ToSlave, Version,
    message::{Dial, Dialled, Progress, ResumeAfter, Seal},
};

use crate::{
    deploy::{Carrier, Deploys},
    event::{Basis, Durability, Entry, Hold, MovePhase},
    fleet::{Fleet, SlotId},
    learnt::Learnt,
    moves,
    out::Out,
    settings::Settings,
    shard::{Claim, ClaimStage, Phase, Sealing},
    timers::Timer,
};

/// Copies of one move that are made because the one before was too old.
const MOST_COPIES: u32 = 3;

/// The way of shards from owner to owner: what may be looked at and changed on it.
///
/// A handover knows the fleet, the deploys and what was learnt of the service. It sees no
/// permit and no work, and ends no deploy: the core hears that it is [`Stuck`].
pub(crate) struct Handover<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) deploys: &'a mut Deploys,
    pub(crate) learnt: &'a mut Learnt,
    pub(crate) settings: &'a Settings,
    pub(crate) out: &'a mut Out,
}

/// A deploy cannot go on with a handover, or with its new slave: it fails. So does a move
/// to another slot.
#[derive(Debug)]
pub(crate) struct Stuck {
    pub(crate) slot: SlotId,
    /// The shard with which it cannot; `None`: it is about its new slave.
    pub(crate) shard: Option<ShardId>,
    pub(crate) why: String,
}

impl Handover<'_> {
    /// Whether the deploy of a shard is rolling back, or its move.
    pub(crate) fn goes_back(&self, id: ShardId) -> bool {
        let moves = self.deploys.moves.goes_back(id);
        moves.unwrap_or_else(|| self.deploys.goes_back(self.fleet.shards[id].slot))
    }

    /// Who has a shard in hand, if somebody has.
    pub(crate) fn carrier(&self, id: ShardId) -> Carrier {
        self.deploys.carrier(id, self.fleet.shards[id].slot)
    }

    /// M2: the owner copies the shard's state to `to` while it serves. A slave
    /// that has a copy already needs none.
    pub(crate) fn begin_move(&mut self, id: ShardId, to: SlaveId) {
        let most = self.most_behind(id);
        let shard = &mut self.fleet.shards[id];
        (shard.copied_again, shard.overtaken) = (0, 0);
        let has_copy = shard.copies.contains_key(&to) && shard.behind(to) <= most;
        match shard.phase {
            Phase::Claimed(claim) => match claim.stage {
                ClaimStage::Serving if !has_copy && !self.settings.overlaps() => {
                    self.copy(id, claim, to);
                }
                ClaimStage::Serving => self.dial(id, claim, to),
                ClaimStage::Starting(_) => self.seal(id, claim, to),
                ClaimStage::Copying { .. }
                | ClaimStage::Dialling { .. }
                | ClaimStage::Sealing { .. } => {}
            },
            Phase::Free(free) => self.fleet.enter(id, free.unparked(), self.out),
            Phase::Unknown { .. } => {}
        }
    }

    /// M3: the next owner dials the service and goes no further, so that nothing but
    /// the RESUME is left to do when it has the ticket. It proves on the way that
    /// it reaches the service at all. On the way back the shard is sealed at once: who
    /// takes it back was there before. Where the service replays nothing, to dial is to
    /// prepare: the next owner receives too, and keeps what comes; also on the way back.
    pub(crate) fn dial(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        let new = self.fleet.slaves.get(&to);
        let overlaps = self.settings.overlaps() && !mutant!("cut-unprepared");
        let knows = new.is_some_and(|slave| slave.speaks(Version::DIAL));
        let dials = overlaps || (knows && !self.goes_back(id));
        let shard = &mut self.fleet.shards[id];
        shard.prepared = 0;
        let ticket = shard.ticket_for(to, ResumeAfter::Seal);
        shard.dialled_from = ticket.as_ref().map(Ticket::resume_from);
        match ticket {
            Some(mut ticket) if dials => {
                self.fleet
                    .bound_dial(id, to, &mut ticket, self.learnt.replays(self.settings));
                let shard = &mut self.fleet.shards[id];
                shard.dialled_from = Some(ticket.resume_from());
                debug_assert!(claim.owner != to, "another one dials for shard {id}");
                self.fleet
                    .enter(id, claim.at(ClaimStage::Dialling { to }), self.out);
                self.out.start(Timer::Shard(id), self.settings.copy);
                self.tell_move(id, claim, to, MovePhase::Dialling);
                self.send_dial(id, claim.epoch, to, ticket);
            }
            Some(_) | None => self.seal_a_fresh_copy(id, claim, to),
        }
    }

    /// The service replays to the next owner what came since its copy, so a copy that
    /// is more events behind than half of that is made once more: a busy shard on a
    /// busy host would lose its session. Not for ever: a bot that cannot be copied
    /// faster is moved as well as it can be.
    fn seal_a_fresh_copy(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        let (most, is_back) = (self.most_behind(id), self.goes_back(id));
        let shard = &mut self.fleet.shards[id];
        let is_old = shard.behind(to) > most && !mutant!("old-copy-sealed");
        if !is_old || self.settings.overlaps() || shard.copied_again >= MOST_COPIES {
            self.seal(id, claim, to);
            return;
        }
        shard.copied_again += 1;
        // Who takes it back keeps what it has until the copy comes.
        if !is_back {
            shard.copies.remove(&to);
        }
        self.copy(id, claim, to);
    }

    /// So many events a copy may be behind when its shard is to be sealed. Who takes
    /// a shard back has the state that it was sealed with, and nothing is quicker: that
    /// one may be older. After a long deploy it is not good any more, and the state is
    /// copied back.
    fn most_behind(&self, id: ShardId) -> u64 {
        let buffer = u64::from(self.settings.replay_buffer);
        if self.goes_back(id) {
            buffer / 4 * 3
        } else {
            buffer / 2
        }
    }

    /// Everything is ready for its seal, which waits until those before it are
    /// through.
    fn seal_in_turn(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        let carrier = self.carrier(id);
        let beside = self.deploys.beside(carrier);
        match self.deploys.hand_mut(carrier) {
            Some(hand) if hand.contains(&id) && !hand.may_seal(beside) => {
                hand.wait(id, self.out.now);
            }
            Some(_) | None => self.seal_a_fresh_copy(id, claim, to),
        }
    }

    /// Seals those that waited for their turn, as many as there is room for.
    pub(crate) fn seal_next(&mut self, carrier: Carrier) {
        while let Some(id) = self.next_to_seal(carrier) {
            let shard = &self.fleet.shards[id];
            if let Some(claim) = shard.phase.claim()
                && let ClaimStage::Dialling { to } = claim.stage
            {
                self.seal_a_fresh_copy(id, claim, to);
            } else {
                debug_assert!(false, "shard {id} waits to be sealed: {:?}", shard.phase);
            }
        }
    }

    fn next_to_seal(&mut self, carrier: Carrier) -> Option<ShardId> {
        let beside = self.deploys.beside(carrier);
        let hand = self.deploys.hand_mut(carrier)?;
        hand.next_to_seal(self.out.now, beside)
    }

    pub(crate) fn send_dial(&mut self, shard: ShardId, epoch: Epoch, to: SlaveId, ticket: Ticket) {
        let dial = Dial {
            shard,
            epoch,
            ticket,
        };
        self.out.send(to, ToSlave::Dial(Box::new(dial)));
    }

    /// The next owner is through with so much of what it prepares.
    pub(crate) fn prepares(&mut self, from: SlaveId, progress: &Progress) {
        let id = progress.shard;
        let shard = &mut self.fleet.shards[id];
        if let Some((claim, to)) = shard.phase.moving()
            && (to, claim.epoch) == (from, progress.epoch)
            && progress.replayed > shard.prepared
        {
            shard.prepared = progress.replayed;
            self.out.restart(Timer::Shard(id));
        }
    }

    pub(crate) fn dialled(&mut self, from: SlaveId, dialled: &Dialled) -> Result<(), Stuck> {
        let id = dialled.shard;
        let shard = &self.fleet.shards[id];
        let Some(claim) = shard.phase.claim() else {
            return Ok(());
        };
        let ClaimStage::Dialling { to } = claim.stage else {
            return Ok(());
        };
        if (to, claim.epoch) != (from, dialled.epoch) {
            return Ok(());
        }
        if dialled.failed.is_empty() {
            self.seal_in_turn(id, claim, to);
            Ok(())
        } else {
            let why = format!("the new slave cannot connect: {}", dialled.failed);
            Err(self.stuck(id, why))
        }
    }

    /// Still M3: the next epoch is reserved durably, then the master orders the owner to seal,
    /// or to seal late (`late.rs`). M4 begins when the owner has sealed.
    pub(crate) fn seal(&mut self, id: ShardId, claim: Claim, to: SlaveId) {
        let (owner, epoch) = (claim.owner, claim.epoch);
        let late = self.may_seal_late(id, owner, to);
        let shard = &mut self.fleet.shards[id];
        debug_assert_eq!(shard.phase.claim(), Some(claim), "shard {id} is as it was");
        debug_assert!(!shard.phase.is_sealing(), "shard {id} is sealed once");
        let reserved = shard.use_epoch(to);
        let order = if late { Sealing::Late } else { Sealing::Seal };
        let started = shard.phase.starting();
        let row = Entry::Owner {
            shard: id,
            epoch: reserved,
            owner: to,
            hold: Hold::Reserved,
            basis: match shard.replays {
                ResumeAfter::Seal => Basis::Seal(epoch),
                ResumeAfter::Death => Basis::Death,
            },
        };
        self.out.save(vec![row], Durability::Now);
        let sealing = ClaimStage::Sealing { to, started, order };
        self.fleet.enter(id, claim.at(sealing), self.out);
        self.out.start(Timer::Shard(id), self.settings.seal);
        let shard = &self.fleet.shards[id];
        if self.deploys.moves.has(id) {
            let moves = &mut self.deploys.moves;
            moves.seal_told(id, shard, claim, to, self.out);
        } else if let Some(deploy) = self.deploys.of_mut(shard.slot) {
            deploy.seal_told(id, shard, claim, to, self.out);
        }
        let begins = started.is_none().then(|| self.begins(id, owner, to));
        if late {
            self.send_seal_late(id, claim, begins.flatten());
        } else {
            self.send_stop_unless(id, owner, epoch, begins.flatten());
        }
    }

    /// A move that is under way gets further: its next owner has it at the epoch that
    /// follows.
    pub(crate) fn tell_move(&mut self, id: ShardId, claim: Claim, to: SlaveId, phase: MovePhase) {
        let epoch = claim.epoch.next();
        if self.deploys.moves.has(id) {
            moves::tell(id, (claim.owner, to), epoch, phase, self.out);
        } else if let Some(deploy) = self.deploys.of(self.fleet.shards[id].slot) {
            deploy.tell_move(id, (claim.owner, to), epoch, phase, self.out);
        }
    }

    pub(crate) fn send_stop(&mut self, id: ShardId, owner: SlaveId, epoch: Epoch) {
        self.send_stop_unless(id, owner, epoch, None);
    }

    /// Unless a heartbeat has named more than where the next owner begins.
    fn send_stop_unless(
        &mut self,
        id: ShardId,
        owner: SlaveId,
        epoch: Epoch,
        begins: Option<Sequence>,
    ) {
        let seal = Seal {
            shard: id,
            epoch,
            drain: self.settings.drain,
            begins,
        };
        self.out.send(owner, ToSlave::Seal(seal));
    }
}
