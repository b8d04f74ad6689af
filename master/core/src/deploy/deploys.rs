//! The deploys that run: at most one of each slot, and of several slots beside each other
//! where an operator asks for it.
//!
//! They share hosts, a network and the pace of the bot, so what one of them may do depends
//! on what the others have in hand:
//!
//! - The width is one for all. Each forward deploy has its part of it, at least one shard,
//!   and none begins a shard while all together have as many in hand as its width allows.
//! - The budgets are one: the tightest replay budget in hand, of whichever deploy, says how
//!   many handovers may wait for each other.
//! - So is what is sealed at once.
//!
//! Shards that move between slots (`moves/`) share them as one more deploy would.
//!
//! A deploy that goes back waits for nobody: what goes back gets further away meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    time::Duration,
};

use baton_protocol::{
    DeployId, LaunchId, ShardId, SlaveId,
    message::{Hello, Role},
};

use crate::{
    deploy::{Deploy, InFlight, Stage},
    event::{DeployOrder, Done, Durability, Entry, LastDeploy},
    fleet::SlotId,
    moves::Moves,
    out::Out,
};

/// The deploys that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deploys {
    running: BTreeMap<SlotId, Deploy>,
    /// Shards that move between slots without a deploy.
    pub(crate) moves: Moves,
    /// What each had in hand when the others were looked at last, while there are several.
    loads: BTreeMap<Carrier, Load>,
    /// The last one that was begun.
    last: LastDeploy,
    /// Those that did not come about: a slave that was launched for one is not wanted.
    given_up: BTreeSet<DeployId>,
}

/// Who has a shard in hand that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    /// It moves to another slot.
    Moves,
    /// The deploy of a slot.
    Deploy(SlotId),
}

/// Deploys that did not come about are remembered: the last so many. A process that was launched
/// for one may come late, but not behind so many deploys; if it does, it is a candidate like
/// one that an operator starts.
const MOST_GIVEN_UP: usize = 64;

/// What the other deploys have in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Other deploys that have shards to move forwards, and are not held.
    pub(crate) moving: usize,
    /// Shards that they have in hand.
    pub(crate) in_flight: usize,
    /// How many of these are sealed.
    pub(crate) sealed: usize,
    /// The tightest replay budget among them.
    pub(crate) tightest: Option<Duration>,
    /// What a handover takes there; zero: no other deploy runs.
    pub(crate) handover: Duration,
    /// What the quickest one took.
    pub(crate) quickest: Option<Duration>,
}

impl Deploys {
    /// None runs. What a journal gave back.
    pub(crate) fn recovered(last: LastDeploy, given_up: BTreeSet<DeployId>) -> Self {
        Self {
            last,
            given_up,
            ..Self::default()
        }
    }

    /// The last one that was begun.
    pub(crate) const fn last(&self) -> &LastDeploy {
        &self.last
    }

    /// The next deploy's number, made durable with what the next master needs of it.
    /// `before`: the one of its slot that was done last.
    pub(super) fn number(
        &mut self,
        order: &DeployOrder,
        before: Option<Done>,
        out: &mut Out,
    ) -> LastDeploy {
        self.last = LastDeploy {
            deploy: DeployId(self.last.deploy.get().saturating_add(1)),
            slot: order.slot.clone(),
            command: order.command.clone(),
            done: before,
        };
        out.save(vec![Entry::Deploy(self.last.clone())], Durability::Now);
        self.last.clone()
    }

    /// One is done, as this says.
    pub(super) fn done(&mut self, last: &LastDeploy) {
        if self.last.deploy == last.deploy {
            self.last = last.clone();
        }
    }

    /// The deploy that a slave was launched for, if that is the last one of its slot, and a
    /// master before this one began it and did not see its end: it goes on, with its number,
    /// and brings what it was to bring.
    pub(super) fn interrupted<'a>(
        &self,
        slave: &Hello,
        last: &'a LastDeploy,
    ) -> Option<&'a LastDeploy> {
        let is_it = last.deploy != DeployId(0)
            && slave.deploy == last.deploy
            && !last.is_done()
            && !self.given_up.contains(&last.deploy);
        (is_it && !mutant!("deploy-renumbered")).then_some(last)
    }

    /// A process that was launched for this deploy is no longer wanted.
    pub(super) fn give_up(&mut self, deploy: DeployId, out: &mut Out) {
        self.given_up.insert(deploy);
        // As the journal does it: the next master knows the same ones.
        if self.given_up.len() > MOST_GIVEN_UP {
            self.given_up.pop_first();
        }
        out.save(vec![Entry::GivenUp(deploy)], Durability::Soon);
    }

    /// Whether a slave was launched for a deploy that did not come about: it may come late,
    /// from a command that went into the background, or to the next master.
    pub(crate) fn gave_up(&self, hello: &Hello) -> bool {
        hello.role != Role::Standby
            && self.given_up.contains(&hello.deploy)
            && !mutant!("given-up-let-in")
    }

    /// The deploy of a slot.
    pub(crate) fn of(&self, slot: SlotId) -> Option<&Deploy> {
        self.running.get(&slot)
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, slot: SlotId) -> Option<&mut Deploy> {
        self.running.get_mut(&slot)
    }

    /// The deploy of a step that only a deploy takes.
    pub(crate) fn stepping(&mut self, slot: SlotId) -> Option<&mut Deploy> {
        let deploy = self.of_mut(slot);
        debug_assert!(deploy.is_some(), "only a deploy takes this step");
        deploy
    }

    /// A deploy of a slot that has none.
    pub(crate) fn begin(&mut self, deploy: Deploy) {
        let before = self.running.insert(deploy.slot, deploy);
        debug_assert!(before.is_none(), "a second deploy of one slot");
    }

    /// The deploy of a slot is over.
    pub(crate) fn end(&mut self, slot: SlotId) -> Option<Deploy> {
        self.running.remove(&slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// In the order of their slots.
    pub(crate) fn iter(&self) -> btree_map::Values<'_, SlotId, Deploy> {
        self.running.values()
    }

    /// The slots that are deployed.
    pub(crate) fn slots(&self) -> Vec<SlotId> {
        self.running.keys().copied().collect()
    }

    /// Every shard that was begun and does not serve at its next owner yet.
    pub(crate) fn in_flight(&self) -> Vec<ShardId> {
        let in_flight = self.iter().flat_map(|deploy| &deploy.in_flight);
        in_flight.copied().chain(self.moves.ids()).collect()
    }

    /// Who has a shard of a slot in hand, if somebody has.
    pub(crate) fn carrier(&self, id: ShardId, slot: SlotId) -> Carrier {
        match self.moves.has(id) {
            true => Carrier::Moves,
            false => Carrier::Deploy(slot),
        }
    }

    /// What it has in hand.
    pub(crate) fn hand(&self, carrier: Carrier) -> Option<&InFlight> {
        match carrier {
            Carrier::Moves => Some(&self.moves.in_flight),
            Carrier::Deploy(slot) => self.of(slot).map(|deploy| &deploy.in_flight),
        }
    }

    /// The same, to be changed.
    pub(crate) fn hand_mut(&mut self, carrier: Carrier) -> Option<&mut InFlight> {
        match carrier {
            Carrier::Moves => Some(&mut self.moves.in_flight),
            Carrier::Deploy(slot) => self.of_mut(slot).map(|deploy| &mut deploy.in_flight),
        }
    }

    /// The same of one slot.
    pub(crate) fn in_flight_of(&self, slot: SlotId) -> Vec<ShardId> {
        let in_flight = self
            .of(slot)
            .into_iter()
            .flat_map(|deploy| &deploy.in_flight);
        in_flight.copied().collect()
    }

    /// Whether the deploy of a slot is rolling back.
    pub(crate) fn goes_back(&self, slot: SlotId) -> bool {
        self.of(slot).is_some_and(Deploy::goes_back)
    }

    /// Whether a deploy moves its shards to this slave, and not back.
    pub(crate) fn takes_over(&self, slave: SlaveId) -> bool {
        self.iter().any(|deploy| deploy.takes_over(slave))
    }

    /// What the others have in hand.
    pub(crate) fn beside(&self, carrier: Carrier) -> Load {
        let is_other = |deploy: &&Deploy| carrier != Carrier::Deploy(deploy.slot);
        let others = self.iter().filter(is_other);
        let load = others.fold(Load::default(), |load, deploy| deploy.add_to(load));
        match carrier {
            Carrier::Moves => load,
            Carrier::Deploy(_) => self.moves.add_to(load),
        }
    }

    /// Whether one has other things in hand than when it was asked last: the others may have
    /// room now that they had not. Never where there is one alone.
    pub(crate) fn make_room(&mut self) -> bool {
        let moves =
            (!self.moves.is_idle()).then(|| (Carrier::Moves, self.moves.add_to(Load::default())));
        let loads = match self.running.len() + usize::from(moves.is_some()) {
            0 | 1 => BTreeMap::new(),
            _ => {
                let of = |(&slot, deploy): (&SlotId, &Deploy)| {
                    (Carrier::Deploy(slot), deploy.add_to(Load::default()))
                };
                self.running.iter().map(of).chain(moves).collect()
            }
        };
        let several = !loads.is_empty();
        std::mem::replace(&mut self.loads, loads) != self.loads && several
    }

    /// The deploy for which this process was launched, while it has not joined.
    pub(crate) fn launching(&mut self, of: LaunchId) -> Option<&mut Deploy> {
        let mut deploys = self.running.values_mut();
        deploys
            .find(|deploy| matches!(deploy.stage, Stage::Starting { launch, .. } if launch == of))
    }

    /// The deploy that this slave is the old or the new one of.
    pub(crate) fn with(&self, slave: SlaveId) -> Option<&Deploy> {
        self.iter()
            .find(|deploy| deploy.slaves().any(|one| one == slave))
    }

    /// The same, to be changed.
    pub(crate) fn with_mut(&mut self, slave: SlaveId) -> Option<&mut Deploy> {
        let mut deploys = self.running.values_mut();
        deploys.find(|deploy| deploy.slaves().any(|one| one == slave))
    }
}

impl Deploy {
    fn add_to(&self, load: Load) -> Load {
        let has_shards = !self.queue.is_empty() || !self.in_flight.is_empty();
        let moves = has_shards && !self.goes_back() && !self.is_paused();
        let load = Load {
            moving: load.moving + usize::from(moves),
            ..load
        };
        self.in_flight.add_to(load)
    }
}

impl Load {
    /// Whether a deploy that has so many of something may have one more, where all deploys
    /// together may have `most`, and the others have so many. Each may have one.
    pub(crate) fn has_room(self, own: usize, others: usize, most: usize) -> bool {
        let deploys = self.moving + 1;
        own < self.part_of(most) && own + others < most.max(deploys)
    }

    /// What one deploy may have of so many that all together may have.
    pub(super) fn part_of(self, most: usize) -> usize {
        (most / (self.moving + 1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Time;

    #[test]
    fn the_last_64_deploys_that_did_not_come_about_are_remembered_however_often_one_is_given_up() {
        let (mut deploys, mut out) = (Deploys::default(), Out::new(Time(Duration::ZERO)));
        let came_for = |deploy| Hello {
            deploy: DeployId(deploy),
            ..Hello::default()
        };
        for deploy in (1..=64).chain([64, 64]) {
            deploys.give_up(DeployId(deploy), &mut out);
        }
        assert!((1..=64).all(|deploy| deploys.gave_up(&came_for(deploy))));
        deploys.give_up(DeployId(65), &mut out);
        assert!(!deploys.gave_up(&came_for(1)) && deploys.gave_up(&came_for(2)));
    }
}
