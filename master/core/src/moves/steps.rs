//! How a stray moves: its turn, what goes wrong, its end.

use std::collections::BTreeSet;

use baton_protocol::{ShardId, SlaveId, text};

use crate::{
    deploy::{Carrier, Succession},
    fleet::{Fleet, SlotId},
    master_stage::MasterStage,
    moves::Move,
    out::Out,
    shard::{ClaimStage, Handover, How, Ownership, Phase, Sealing},
};

/// Shards of one pair of slots that are looked at in one turn, where those before cannot be
/// moved now.
const LOOKS: usize = 16;

impl Succession<'_> {
    /// Begins what may be begun now. Whether anything was.
    pub(crate) fn advance_moves(&mut self) -> bool {
        if self.fleet.astray.is_empty() && self.deploys.moves.is_idle() {
            return false;
        }
        self.line_up();
        self.handover().seal_next(Carrier::Moves);
        if self.stage != MasterStage::Running || self.out.saves.fail() || self.fleet.held {
            return false;
        }
        let mut begun = false;
        let ways: Vec<_> = self.deploys.moves.waiting.keys().copied().collect();
        for way in ways {
            while self.begin_one(way) {
                begun = true;
            }
        }
        begun
    }

    /// Strays that nobody looks after wait for their turn, the quietest first.
    fn line_up(&mut self) {
        let now = self.out.now;
        let (moves, fleet) = (&mut self.deploys.moves, &mut *self.fleet);
        let astray = std::mem::take(&mut fleet.astray);
        let astray = astray.into_iter().filter(|id| !moves.has(*id));
        let astray: BTreeSet<_> = astray.collect();
        moves.waiting.retain(|_, queue| {
            queue.retain(|id| !astray.contains(id));
            !queue.is_empty()
        });
        let rate = |id: ShardId| (fleet.shards[id].events_in_1000_s(now), id);
        let mut astray: Vec<_> = astray.into_iter().map(rate).collect();
        astray.sort_unstable();
        for (_, id) in astray {
            let shard = &fleet.shards[id];
            let way = (shard.slot, shard.home);
            moves.waiting.entry(way).or_default().push_back(id);
        }
    }

    /// Whether shards may move from one slot to another now.
    fn is_open(&self, (from, to): (SlotId, SlotId)) -> Option<SlaveId> {
        let free = |slot| self.deploys.of(slot).is_none() || mutant!("moves-in-a-deploy");
        let now = self.out.now;
        if !free(from)
            || !free(to)
            || self.fleet.is_cordoned(to)
            || self.deploys.moves.is_resting(to, now)
        {
            return None;
        }
        let owner = self.fleet.slots[to].owner;
        owner.filter(|owner| self.fleet.can_take(*owner))
    }

    /// Begins the next shard of a way, if it is open and there is room.
    fn begin_one(&mut self, way: (SlotId, SlotId)) -> bool {
        let Some(to) = self.is_open(way) else {
            return false;
        };
        for _ in 0..LOOKS {
            let moves = &mut self.deploys.moves;
            let next = moves.waiting.get(&way).and_then(|queue| queue.front());
            let Some(&id) = next else {
                moves.waiting.remove(&way);
                return false;
            };
            match self.turn(id, way) {
                Turn::Now => {
                    self.take_out(id, way);
                    self.begin(id, way, to);
                    return true;
                }
                Turn::Never => self.take_out(id, way),
                Turn::Later => {
                    // It lets the next one by.
                    let queue = self.deploys.moves.waiting.get_mut(&way);
                    queue.into_iter().for_each(|queue| queue.rotate_left(1));
                }
                Turn::NoRoom => return false,
            }
        }
        false
    }

    fn take_out(&mut self, id: ShardId, way: (SlotId, SlotId)) {
        let moves = &mut self.deploys.moves;
        if let Some(queue) = moves.waiting.get_mut(&way) {
            queue.retain(|other| *other != id);
            if queue.is_empty() {
                moves.waiting.remove(&way);
            }
        }
    }

    /// Whether it is the turn of a shard.
    fn turn(&self, id: ShardId, way: (SlotId, SlotId)) -> Turn {
        let shard = &self.fleet.shards[id];
        if (shard.slot, shard.home) != way {
            return Turn::Never;
        }
        let claim = match shard.phase {
            Phase::Free(_) => return Turn::Now,
            Phase::Unknown { .. } => return Turn::Later,
            Phase::Claimed(claim) => claim,
        };
        let can_go = match claim.stage {
            ClaimStage::Serving => true,
            // It is resumed, or it has just been permitted its IDENTIFY: its turn comes when it
            // serves, or has to ask again.
            ClaimStage::Starting(start) => {
                start.how == How::Full && !self.permits.is_out(id, self.out.now)
            }
            ClaimStage::Copying { .. }
            | ClaimStage::Dialling { .. }
            | ClaimStage::Sealing { .. } => false,
        };
        // Its owner is away or dying: its return or its death decides.
        if !can_go || !self.fleet.can_take(claim.owner) {
            return Turn::Later;
        }
        let moves = &self.deploys.moves;
        let beside = self.deploys.beside(Carrier::Moves);
        let budget = shard.replay_budget(self.out.now, self.settings.replay_buffer);
        let width = usize::try_from(self.settings.width).unwrap_or(usize::MAX);
        let most = width.max(1).min(moves.in_flight.most(budget, beside));
        match beside.has_room(moves.in_flight.len(), beside.in_flight, most) {
            true => Turn::Now,
            false => Turn::NoRoom,
        }
    }

    fn begin(&mut self, id: ShardId, (from, home): (SlotId, SlotId), to: SlaveId) {
        let shard = &self.fleet.shards[id];
        let Some((owner, _)) = shard.phase.claimant() else {
            // Nobody serves it: it goes where it is to be at once.
            self.fleet.belongs(id, home, self.out);
            return self.handover().begin_move(id, to);
        };
        let budget = shard.replay_budget(self.out.now, self.settings.replay_buffer);
        let it = Move {
            from: (from, owner),
            to: (home, to),
            goes_back: false,
        };
        self.deploys.moves.begin(id, it, budget);
        self.handover().begin_move(id, to);
    }

    /// A move cannot go on: before its seal nothing happened, after it the shard goes back.
    pub(crate) fn move_fails(&mut self, id: ShardId, why: &str) {
        let Some(it) = self.move_turns_back(id, why) else {
            return;
        };
        let phase = self.fleet.shards[id].phase;
        if phase.moving().is_some() {
            self.handover().cancel_copy(id);
            return;
        }
        let Some(claim) = phase.claim() else {
            return;
        };
        match claim.stage {
            ClaimStage::Starting(_) if claim.owner == it.to.1 => {
                self.handover().begin_move(id, it.from.1);
            }
            // It waits for a RESUME that does not come.
            ClaimStage::Sealing {
                order: Sealing::Late,
                ..
            } => self.handover().ask_to_seal(id, claim),
            ClaimStage::Starting(_)
            | ClaimStage::Serving
            | ClaimStage::Copying { .. }
            | ClaimStage::Dialling { .. }
            | ClaimStage::Sealing { .. } => {}
        }
    }

    /// A shard that is under way is not to arrive any more.
    fn move_turns_back(&mut self, id: ShardId, why: &str) -> Option<Move> {
        let it = self.deploys.moves.of(id).filter(|it| !it.goes_back)?;
        let wait = self.deploys.moves.rest(it.to.0, self.settings, self.out);
        self.out.alarm(format!(
            "shard {id} cannot be moved to slot {to:?}: {why}. Slot {from:?} keeps it; it is tried \
             again in {wait}. To leave it there, run: baton-master move {id} --to {from}",
            to = self.fleet.slots[it.to.0].name,
            from = self.fleet.slots[it.from.0].name,
            wait = text::span(wait)
        ));
        self.deploys.moves.turn_back(id);
        Some(it)
    }

    /// One of the two slaves between which a shard moves cannot serve it, and lets go of it.
    pub(crate) fn move_refused(&mut self, id: ShardId, by: SlaveId, why: &str) {
        let Some(it) = self.deploys.moves.of(id) else {
            return;
        };
        if it.to.1 == by {
            self.move_turns_back(id, why);
        } else if it.goes_back {
            // It is where it was, and fails there.
            self.deploys.moves.ends(id, self.out);
        }
    }

    /// A slave is dead: what moves to it stays where it is.
    pub(crate) fn moves_lost(&mut self, dead: SlaveId, why: &str) {
        let moves = &self.deploys.moves;
        let to_it = moves.ids().filter(|id| {
            let phase = self.fleet.shards[*id].phase;
            let next = phase.next_owner();
            next == Some(dead) && moves.takes_over(*id)
        });
        for id in to_it.collect::<Vec<_>>() {
            self.move_fails(id, &format!("its slave was lost: {why}"));
        }
    }
}

/// Whose turn it is.
enum Turn {
    Now,
    /// It cannot be moved at the moment.
    Later,
    /// It is to be elsewhere by now.
    Never,
    /// As many are under way as may be.
    NoRoom,
}

impl Handover<'_> {
    /// A shard that was under way is where it was.
    pub(crate) fn move_ends_unmoved(&mut self, id: ShardId) {
        let Some(it) = self.deploys.moves.remove(id, self.out) else {
            return;
        };
        // What was copied for nothing is dropped there; the next copy is a new one.
        let to = it.to.1;
        if self.fleet.shards[id]
            .phase
            .claimant()
            .map(|(owner, _)| owner)
            != Some(to)
        {
            self.fleet.copy_is_gone(id, to);
            if self.fleet.is_joined(to) {
                self.fleet.forget(to, id, self.out);
            }
        }
        self.fleet.look_for(id);
        // A slot that is being deployed has it among its own.
        let shard = &self.fleet.shards[id];
        let owner = shard.phase.claimant().map(|(owner, _)| owner);
        if let Some(deploy) = self.deploys.of_mut(shard.slot)
            && let Some(owner) = owner
        {
            deploy.turn_comes_again(id, shard.slot, owner, self.out);
        }
    }
}

impl Ownership<'_> {
    /// Where a shard goes that nobody serves: home, where somebody can take it. One that was
    /// under way and cannot be taken there goes back.
    pub(crate) fn next_slot(&self, id: ShardId) -> SlotId {
        let shard = &self.fleet.shards[id];
        let (now, home) = (shard.slot, shard.home);
        let order = match self.deploys.moves.of(id) {
            Some(it) if it.goes_back => [it.from.0, it.to.0],
            Some(it) => [it.to.0, it.from.0],
            // A deploy of its slot, or of its home, sees to its own.
            None if self.deploys.of(now).or(self.deploys.of(home)).is_some() => return now,
            None if self.fleet.held || self.fleet.is_cordoned(home) => return now,
            None => [home, now],
        };
        let takes = |slot: &SlotId| {
            let target = self.deploys.target(*slot, self.fleet);
            target.is_some_and(|target| self.fleet.can_take(target))
        };
        order.into_iter().find(takes).unwrap_or(now)
    }

    /// A shard is nobody's: it is in the slot from here on that has somebody for it.
    pub(crate) fn goes_to_its_slot(&mut self, id: ShardId) {
        let next = self.next_slot(id);
        self.fleet.belongs(id, next, self.out);
        let target = self.deploys.target(next, self.fleet);
        if target.is_none_or(|target| !self.fleet.can_take(target)) {
            // Neither of the two can have it: it waits for whoever comes.
            self.deploys.moves.ends(id, self.out);
        }
        self.fleet.look_for(id);
    }

    /// A master that starts finds a shard that nobody serves, and no slave for it: one that
    /// has its frozen state goes on with it.
    pub(crate) fn finds_shelter(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        let takes = |slot: SlotId| {
            let target = self.deploys.target(slot, self.fleet);
            target.filter(|target| self.fleet.can_take(*target))
        };
        if shard.phase.free().is_none() || takes(shard.slot).is_some() {
            return;
        }
        let has_it = |(&slave, &at): (&SlaveId, _)| {
            let slot = self.fleet.slaves.get(&slave)?.slot;
            (takes(slot) == Some(slave)).then_some((at, slot))
        };
        if let Some((_, slot)) = shard.copies.iter().filter_map(has_it).max() {
            self.fleet.belongs(id, slot, self.out);
        }
    }

    /// A report was the first word of whose a shard is. A move between two others is over.
    pub(crate) fn move_is_over_if_another_has(&mut self, id: ShardId) {
        let Some(it) = self.deploys.moves.of(id) else {
            return;
        };
        let claimant = self.fleet.shards[id].phase.claimant();
        if claimant.is_some_and(|(owner, _)| owner != it.from.1 && owner != it.to.1) {
            self.deploys.moves.ends(id, self.out);
            self.fleet.look_for(id);
        }
    }

    /// A shard that was under way serves: where it is to be, or where it was.
    pub(crate) fn move_ends(&mut self, id: ShardId, it: Move) {
        let owner = self.fleet.shards[id].phase.claimant();
        let arrived = owner.is_some_and(|(owner, _)| owner == it.to.1);
        let left = if arrived { it.from.1 } else { it.to.1 };
        self.fleet.leaves_behind(id, left, self.out);
        self.fleet.look_for(id);
    }
}

impl Fleet {
    /// A shard is served. Slaves of other slots that have something of it had it before it
    /// moved.
    pub(crate) fn leaves_others_behind(&mut self, id: ShardId, out: &mut Out) {
        let shard = &self.shards[id];
        let Some((owner, _)) = shard.phase.claimant() else {
            return;
        };
        let slot = shard.slot;
        let is_other = |slave: &SlaveId| {
            let known = self.slaves.get(slave);
            *slave != owner && known.is_some_and(|known| known.slot != slot)
        };
        let others: Vec<_> = shard.copies.keys().copied().filter(is_other).collect();
        for slave in others {
            self.leaves_behind(id, slave, out);
        }
    }
}

impl Fleet {
    /// A slave sealed a shard for another slot, and does not get it back: it forgets what it
    /// has of it, once it has said what became of what ran there.
    fn leaves_behind(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        self.copy_is_gone(id, slave);
        let Some(known) = self.slaves.get_mut(&slave) else {
            return;
        };
        if known.unsettled.contains(&id) && !mutant!("forgotten-unsettled") {
            known.left_behind.insert(id);
        } else {
            self.forgets(id, slave, out);
        }
    }

    /// It has said what became of what ran there.
    pub(crate) fn may_forget(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        let known = self.slaves.get_mut(&slave);
        if known.is_some_and(|known| known.left_behind.remove(&id)) {
            self.forgets(id, slave, out);
        }
    }

    fn forgets(&mut self, id: ShardId, slave: SlaveId, out: &mut Out) {
        let shard = &mut self.shards[id];
        // Should it get the shard again, nothing of it runs there that would be known.
        shard.in_hand.hands.retain(|(hand, _)| *hand != slave);
        let claimant = shard.phase.claimant();
        if self.is_joined(slave) && claimant.is_none_or(|(owner, _)| owner != slave) {
            // One that is away hears of it when it reports.
            self.forget(slave, id, out);
        }
    }
}
