//! Slaves that keep a lease, each by a clock of its own: they seal themselves when no leader
//! says that it hears them, and the master takes one for dead that has.

use baton_protocol::{Version, message::Pong};

use super::{slave::Slave, *};

impl Slave {
    /// By its own clock, which is wrong by up to a hundredth.
    pub(super) fn clock(&self, now: Real) -> Duration {
        let wrong = u32::try_from(self.hello.slave.0 % 21).unwrap();
        now * (990 + wrong) / 1000
    }

    /// Whether it may not act any more.
    pub(super) fn is_over(&self, now: Real) -> bool {
        self.lease.is_over(self.clock(now))
    }

    /// Builds of before know of none.
    pub(super) fn takes_lease(&mut self, lease_ms: u64) {
        let knows = lease_ms > 0 && self.hello.version == Version::NEWEST;
        let length = knows.then(|| Duration::from_millis(lease_ms));
        self.lease.accepted(length);
        self.lapsed = false;
    }

    fn answers(&mut self, number: u64, heard: u64, now: Real) -> Pong {
        let clock = self.clock(now);
        self.lease.is_heard(heard);
        self.lease.answers(number, clock);
        let lease = self.lease.length().unwrap_or_default();
        Pong {
            number,
            lease_ms: u64::try_from(lease.as_millis()).unwrap(),
            ..Pong::default()
        }
    }
}

impl World {
    pub(super) fn answer(&mut self, id: SlaveId, number: u64, heard: u64) {
        let now = self.now;
        let pong = self
            .slaves
            .get_mut(&id)
            .unwrap()
            .answers(number, heard, now);
        self.say(id, ToMaster::Pong(pong));
    }

    /// If its lease is over a slave seals what it has, and drops its link.
    pub(super) fn look_at_lease(&mut self, id: SlaveId) {
        let now = self.now;
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.lapsed || !slave.is_over(now) {
            return;
        }
        slave.lapsed = true;
        slave.work = Epoch(0);
        let rows = slave.rows.iter();
        let owned: Vec<_> = rows
            .filter(|(_, row)| row.acts() || row.holding == Some(Holding::Failed))
            .map(|(&shard, row)| (shard, row.epoch))
            .collect();
        self.note(|| format!("the lease of {id:?} is over"));
        self.judge.lapsed += 1;
        self.hang_up(id);
        let until = now + self.settings.drain;
        for (shard, epoch) in owned {
            self.seal(id, shard, epoch, until);
        }
    }

    /// The master takes a slave for dead whose lease is over: so it has to be, and what only
    /// the slave knew is not known.
    pub(super) fn judge_lease(&mut self, id: SlaveId) {
        self.judge.dead_by_lease += 1;
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        assert!(
            slave.is_over(self.now),
            "P3: {id:?} counts as dead, and its lease is not over: {:?}",
            slave.lease
        );
        let rows = slave.rows.iter();
        let rows: Vec<_> = rows.map(|(&shard, row)| (shard, row.clone())).collect();
        for (shard, row) in rows {
            self.judge_end(id, shard, &row);
        }
        self.judge_orders_lost(id);
    }
}
