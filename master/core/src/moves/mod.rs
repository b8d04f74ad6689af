//! Shards that are to be in another slot: strays. Each moves to the slave of that slot by the
//! ordinary handover (`shard/handover.rs`), without a deploy; both slaves serve meanwhile.
//!
//! ```text
//! stray ──its turn (steps.rs)──▶ under way ──served at home──▶ it is there; the slave before forgets it
//!   ▲                               │
//!   └── rests ◀── cancelled, or back ◀── it cannot be taken there, or that slave dies
//! ```
//!
//! - What the operator wants is a shard's `home`. Where it is now is its `slot`, and a deploy of
//!   that slot takes it along as any other: strays move again when the deploy is over. A deploy
//!   begins to move shards when none is on its way into or out of its slot.
//! - How many are under way at once is the width, as their replay budgets allow; deploys of
//!   other slots have their part of it (`deploy/deploys.rs`).
//! - Before its seal, a move that fails changes nothing. After it, whichever slave is alive gets
//!   the shard: that of its home, unless it failed there, else the one that sealed it
//!   ([`Ownership::next_slot`](crate::shard::Ownership::next_slot)).
//! - Where a shard could not be taken, nothing is moved to for a while, and longer each time.
//! - A master that dies leaves shards of which each has an owner or a ticket, as in a deploy:
//!   the next one finds what is astray and goes on.

mod orders;
mod plan;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::{Epoch, ShardId, SlaveId};

use crate::{
    deploy::{InFlight, Load},
    event::{MovePhase, News, Time},
    fleet::{Fleet, SlotId},
    out::Out,
    settings::{Settings, doubled},
    shard::{Claim, Shard},
    timers::Timer,
};

/// The shards that move between slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves {
    /// Those that wait for their turn, by the slot that each is in and the one that it is to be
    /// in.
    waiting: BTreeMap<(SlotId, SlotId), VecDeque<ShardId>>,
    /// Those that were begun and do not serve at their next owner yet.
    pub(crate) in_flight: InFlight,
    /// The same shards, and between whom they move.
    under_way: BTreeMap<ShardId, Move>,
    /// Slots whose slave could not take one of late.
    rests: BTreeMap<SlotId, Rest>,
}

/// One shard on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: (SlotId, SlaveId),
    pub(crate) to: (SlotId, SlaveId),
    /// Whether it goes back: it could not be taken.
    pub(crate) goes_back: bool,
}

/// Nothing is moved to a slot until then.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Moves in a row that came to nothing.
    failures: u32,
    until: Time,
}

impl Moves {
    /// Whether nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether a shard is under way.
    pub(crate) fn has(&self, id: ShardId) -> bool {
        self.under_way.contains_key(&id)
    }

    /// Between whom a shard is under way.
    pub(crate) fn of(&self, id: ShardId) -> Option<Move> {
        self.under_way.get(&id).copied()
    }

    /// Whether a shard is under way to its home.
    pub(crate) fn takes_over(&self, id: ShardId) -> bool {
        self.of(id).is_some_and(|it| !it.goes_back)
    }

    /// Whether a shard that is under way goes back; `None`: it is not under way.
    pub(crate) fn goes_back(&self, id: ShardId) -> Option<bool> {
        self.of(id).map(|it| it.goes_back)
    }

    /// Whether a shard is on its way into or out of this slot.
    pub(crate) fn involve(&self, slot: SlotId) -> bool {
        let mut moves = self.under_way.values();
        moves.any(|it| it.from.0 == slot || it.to.0 == slot)
    }

    /// Every shard that is under way.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ShardId> {
        self.under_way.keys().copied()
    }

    /// What deploys have to reckon with.
    pub(crate) fn add_to(&self, load: Load) -> Load {
        let load = Load {
            moving: load.moving + usize::from(!self.under_way.is_empty()),
            ..load
        };
        self.in_flight.add_to(load)
    }

    fn begin(&mut self, id: ShardId, it: Move, budget: Duration) {
        let before = self.under_way.insert(id, it);
        debug_assert!(before.is_none(), "shard {id} moves once");
        self.in_flight.take(id, budget);
    }

    /// A shard is under way no more.
    fn remove(&mut self, id: ShardId, out: &mut Out) -> Option<Move> {
        self.in_flight.remove(&id);
        let it = self.under_way.remove(&id)?;
        // A deploy of either slot may have waited for it.
        out.touch(it.from.0);
        out.touch(it.to.0);
        Some(it)
    }

    /// A shard is under way no more: it is where it can be, or nobody can have it.
    pub(crate) fn ends(&mut self, id: ShardId, out: &mut Out) {
        self.remove(id, out);
    }

    /// It is to go back where it came from.
    fn turn_back(&mut self, id: ShardId) {
        if let Some(it) = self.under_way.get_mut(&id) {
            it.goes_back = true;
        }
    }

    /// A slot's slave could not take a shard. For how long nothing is moved to it.
    fn rest(&mut self, slot: SlotId, settings: &Settings, out: &mut Out) -> Duration {
        let failures = self.rests.get(&slot).map_or(0, |rest| rest.failures);
        let failures = failures.saturating_add(1);
        let wait = doubled(settings.backoff, settings.backoff_max, failures);
        let until = out.now.after(wait);
        self.rests.insert(slot, Rest { failures, until });
        self.wake(out);
        wait
    }

    fn is_resting(&self, slot: SlotId, now: Time) -> bool {
        self.rests.get(&slot).is_some_and(|rest| rest.until > now)
    }

    /// The next rest that ends is looked at then.
    fn wake(&self, out: &mut Out) {
        let rests = self.rests.values().map(|rest| rest.until);
        if let Some(next) = rests.filter(|until| *until > out.now).min() {
            out.start(Timer::Moves, next.since(out.now));
        }
    }

    /// The rest of a slot is over.
    pub(crate) fn due(&self, out: &mut Out) {
        self.wake(out);
    }

    /// The owner of a shard was told to seal it, whose next epoch is reserved.
    pub(crate) fn seal_told(
        &mut self,
        id: ShardId,
        shard: &Shard,
        claim: Claim,
        to: SlaveId,
        out: &mut Out,
    ) {
        self.in_flight.sealed(id, out.now);
        let goes_back = self.goes_back(id).unwrap_or(false);
        let phase = match goes_back {
            true => MovePhase::TakingBack,
            false => MovePhase::Sealing,
        };
        tell(id, (claim.owner, to), shard.epoch, phase, out);
    }

    /// A shard that is under way starts at `target`. One that is to be resumed gets further
    /// within `no_progress`.
    pub(crate) fn started(
        &mut self,
        id: ShardId,
        shard: &Shard,
        target: SlaveId,
        no_progress: Duration,
        out: &mut Out,
    ) {
        let Some(it) = self.of(id) else {
            return;
        };
        if shard.phase.has_no_session() {
            // No RESUME is waited for, and its new session may be a day away: it is where it
            // can be.
            self.remove(id, out);
            return;
        }
        self.in_flight.given(id, out.now);
        out.start(Timer::Shard(id), no_progress);
        let (ends, phase) = match target == it.to.1 {
            true => ((it.from.1, target), MovePhase::Resuming),
            false => ((it.to.1, target), MovePhase::TakingBack),
        };
        tell(id, ends, shard.epoch, phase, out);
    }

    /// A shard began to serve. How its move ended, if it was under way.
    pub(crate) fn served(&mut self, id: ShardId, claim: Claim, out: &mut Out) -> Option<Move> {
        let it = self.of(id)?;
        self.in_flight.served(id, out.now);
        self.remove(id, out);
        let (ends, phase) = match claim.owner == it.to.1 {
            true => {
                self.rests.remove(&it.to.0);
                ((it.from.1, claim.owner), MovePhase::Moved)
            }
            false => ((it.to.1, claim.owner), MovePhase::Back),
        };
        tell(id, ends, claim.epoch, phase, out);
        Some(it)
    }

    /// All that tells two states of the model apart, where the time stands still.
    #[cfg(test)]
    pub(crate) fn identity(&self) -> impl std::fmt::Debug {
        let rests: Vec<_> = self.rests.keys().collect();
        (&self.waiting, &self.under_way, rests)
    }

    /// What holds between two inputs.
    pub(crate) fn check_invariants(&self, fleet: &Fleet) {
        assert!(
            self.in_flight.iter().eq(self.under_way.keys()),
            "what is under way is in hand"
        );
        for (&id, it) in &self.under_way {
            let slot = fleet.shards[id].slot;
            assert!(
                slot == it.from.0 || slot == it.to.0,
                "shard {id} is in one of the two slots between which it moves"
            );
        }
        let mut seen = BTreeSet::new();
        for id in self.waiting.values().flatten() {
            assert!(
                seen.insert(*id) && !self.has(*id) && !fleet.astray.contains(id),
                "shard {id} waits once"
            );
        }
    }
}

/// One shard got further on its way, at `epoch`.
pub(crate) fn tell(
    shard: ShardId,
    (from, to): (SlaveId, SlaveId),
    epoch: Epoch,
    phase: MovePhase,
    out: &mut Out,
) {
    out.tell(News::Migration {
        deploy: None,
        shard,
        from,
        to,
        epoch,
        phase,
    });
}
