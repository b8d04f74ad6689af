//! What holds between two inputs, whatever came and in whatever order.
//!
//! A debug build looks after each input, so that every test, the simulator and the model
//! look too. Each look is over slots, slaves and deploys, and never over all shards: what
//! holds of one shard is checked where its phase changes ([`Fleet::enter`]).

use baton_protocol::SlaveId;

use crate::{
    Core,
    deploy::{Deploy, Stage},
    fleet::{Fleet, SlotId, Standing},
    master_stage::MasterStage,
    out::Out,
    timers::Timer,
};

impl Core {
    /// Panics in a debug build where something does not hold.
    pub(crate) fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.fleet.check_invariants();
        if self.stage == MasterStage::Left {
            // It waits for nothing any more.
            assert!(
                self.deploys.is_empty(),
                "a master that left deploys nothing"
            );
            return;
        }
        for deploy in self.deploys.iter() {
            deploy.check_invariants(&self.fleet, &self.out);
        }
        self.deploys.moves.check_invariants(&self.fleet);
        self.work.check_invariants(&self.fleet, &self.out);
    }
}

impl Fleet {
    fn check_invariants(&self) {
        for (id, slot) in self.slots.iter() {
            assert!(
                slot.free.len() + slot.unknown.len() <= slot.size,
                "slot {} has {} shards",
                slot.name,
                slot.size
            );
            debug_assert_eq!(slot.size, slot.members.len(), "slot {}", slot.name);
            if let Some(owner) = slot.owner {
                self.check_owner(id, owner);
            }
        }
        for (id, slave) in &self.slaves {
            assert!(
                slave.serving + slave.without_session <= slave.holds.len(),
                "slave {id} serves what it holds"
            );
            assert!(
                !self.fenced.contains(id) || (slave.holds.is_empty() && !self.is_healthy(*id)),
                "slave {id}, dead by a word, has nothing and is to end"
            );
        }
    }

    fn check_owner(&self, slot: SlotId, owner: SlaveId) {
        let name = &self.slots[slot].name;
        let known = self.slaves.get(&owner);
        assert!(known.is_some(), "slave {owner} fills slot {name} and lives");
        let standing = known.map(|slave| slave.standing);
        assert!(
            standing != Some(Standing::Standby),
            "slave {owner} fills slot {name}: it stands by no longer"
        );
    }
}

impl Deploy {
    fn check_invariants(&self, fleet: &Fleet, out: &Out) {
        let id = self.id;
        let (from, to) = (self.from, self.to());
        // What a new slave had goes back also after its death.
        let to_may_be_dead = self.goes_back();
        for slave in from.into_iter().chain(to.filter(|_| !to_may_be_dead)) {
            assert!(fleet.is_known(slave), "deploy {id}: slave {slave} lives");
        }
        assert!(
            from.is_none() || from != to,
            "deploy {id} moves from one slave to another"
        );
        let members = &fleet.slots[self.slot].members;
        assert!(
            self.in_flight.iter().all(|&shard| members.contains(shard)),
            "deploy {id} moves shards of its own slot"
        );
        let has_deadline = out.runs(Timer::Deploy(self.slot));
        match &self.stage {
            Stage::Starting { .. } | Stage::Preparing { .. } => {
                assert!(
                    has_deadline,
                    "deploy {id} waits for a slave, and not for ever"
                );
                assert!(
                    self.in_flight.is_empty() && self.given.is_none(),
                    "deploy {id} has moved nothing"
                );
            }
            Stage::Soaking { .. } => {
                assert!(has_deadline, "the soak of deploy {id} ends");
                assert!(
                    self.soak.is_some(),
                    "deploy {id}: it is known how long it soaks"
                );
            }
            Stage::RollingBack { .. } => {
                assert!(from.is_some(), "deploy {id} goes back to somebody");
            }
            Stage::Retiring { .. } => {
                assert!(from.is_some(), "deploy {id} waits for somebody's end");
                assert!(self.in_flight.is_empty(), "deploy {id} is committed");
            }
            Stage::Moving { .. } | Stage::Work { .. } => {}
        }
    }
}
