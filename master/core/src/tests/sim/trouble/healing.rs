//! No more trouble, until everything is well.

use super::*;

impl World {
    /// No more trouble: sleeping processes wake, all dial again, the disk has
    /// room and Discord is there.
    pub(in crate::tests::sim) fn heal(&mut self) {
        self.note(|| "---- healing".to_owned());
        self.judge.troubled = false;
        self.crash_in = None;
        self.disk.full = false;
        self.discord.is_down = false;
        self.outbox = usize::MAX;
        self.stop_master(false);
        self.agent_is(AgentIs::Here);
        for slave in self.slaves.values_mut() {
            slave.stopped = None;
            slave.pace = 1;
            slave.flaw = Flaw::None;
        }
        for link in self.links.values_mut() {
            link.cut = Cut::None;
            link.reset(&mut self.dice);
        }
        let end = self.now + PATIENCE;
        let mut well_since = None;
        while well_since.is_none_or(|since| self.now - since < QUIET) {
            self.start_master();
            self.everybody_gets_on();
            self.shards_may_come_to_rest(end);
            match self.unhealed() {
                None => well_since = well_since.or(Some(self.now)),
                Some(why) => {
                    well_since = None;
                    assert!(self.now < end, "it does not heal: {why}");
                }
            }
            // A shard that Discord refused to a build waits for the operator.
            if self.now + PATIENCE / 2 > end
                && let Some(shard) = self.waits_for_a_build()
            {
                let slots = &self.settings.slots;
                let slot = slots.iter().position(|slot| slot.name == shard);
                self.ask_deploy(slot.unwrap());
            }
        }
    }

    /// An operator lets things begin again, and gives a move up that comes to nothing: a slave
    /// may be unable to take a shard for ever.
    fn shards_may_come_to_rest(&mut self, end: Real) {
        let Some(master) = &self.master else {
            return;
        };
        let view = master.core.view(Time::default());
        if view.held {
            self.arrange(Arranging::Release);
        }
        if view.moves.left > 0 && self.now + PATIENCE / 2 > end {
            self.arrange(Arranging::Stay);
        }
    }

    fn everybody_gets_on(&mut self) {
        for _ in 0..3 {
            for link in self.links.keys().copied().collect::<Vec<_>>() {
                for _ in 0..4 {
                    self.hear(link);
                    self.obey(link);
                }
            }
            for id in self.slaves.keys().copied().collect::<Vec<_>>() {
                for _ in 0..4 {
                    self.live(id);
                }
            }
        }
        for dead in self.dead.clone() {
            self.hear_of_death(dead);
        }
        self.disk.write_tickets(self.now);
        self.carry_out();
        self.pass(100 * MILLI);
    }

    /// The slot of a shard that does.
    fn waits_for_a_build(&self) -> Option<String> {
        let view = self.master.as_ref()?.core.view(Time::default());
        let failed = view.shards.iter().find(|shard| shard.state == "failed");
        failed
            .filter(|_| view.deploys.is_empty())
            .map(|shard| shard.slot.clone())
    }
}
