//! The promises, checked after every step of the model.

use std::collections::BTreeMap;

use super::{
    model::{World, acts},
    *,
};

impl World {
    /// What was reserved is on the disk before anybody relies on it.
    pub(super) fn judge_order(&mut self, id: SlaveId, message: &ToSlave) {
        let journaled = |shard| {
            let row = self.journal.0.shards.get(&ShardId(shard));
            row.map_or(Epoch(0), |&(epoch, ..)| epoch)
        };
        match message {
            ToSlave::StopShard(stop) => {
                let row = self
                    .slaves
                    .get(&id)
                    .and_then(|s| s.rows.get(&ShardId(stop.shard)));
                let again = row.is_some_and(|row| row.doing == Holding::Sealed);
                let epoch = stop.extra.as_ref().unwrap().epoch;
                assert!(
                    again || journaled(stop.shard) > epoch,
                    "{} is not reserved",
                    stop.shard
                );
            }
            ToSlave::Resume(resume) => {
                let epoch = resume.extra.as_ref().unwrap().epoch;
                assert!(
                    journaled(resume.shard) >= epoch,
                    "{} is not reserved",
                    resume.shard
                );
            }
            ToSlave::FullStart(start) => {
                for unit in &start.start.as_ref().unwrap().shards {
                    assert!(
                        journaled(unit.shard.get()) >= unit.epoch,
                        "{unit:?} is not reserved"
                    );
                }
            }
            ToSlave::StartWork(work) => {
                let saved = self.journal.0.work.map_or(Epoch(0), |(epoch, _)| epoch);
                assert!(saved >= work.epoch, "the work is not reserved");
            }
            _ => {}
        }
    }

    pub(super) fn judge(&self) {
        let mut acting = BTreeMap::new();
        for (&id, slave) in &self.slaves {
            for (&shard, row) in &slave.rows {
                if acts(row) {
                    let other = acting.insert(shard, id);
                    assert_eq!(other, None, "shard {shard}: a second owner, {id:?}");
                }
            }
        }
        let mut works = self.slaves.values().filter(|slave| slave.work != Epoch(0));
        let first = works.next();
        assert!(
            first.is_none() || works.next().is_none(),
            "the work runs twice"
        );
    }

    /// Everything is served, by slaves that live, and nothing is under way.
    pub(super) fn judge_healed(&self) {
        let view = self.core.view(self.now);
        assert_eq!(view.deploy, None, "a deploy never ended");
        assert!(
            self.open_deploys.is_empty(),
            "deploys never ended: {:?}",
            self.open_deploys
        );
        for shard in &view.shards {
            let id = ShardId(shard.shard);
            let serving = self.slaves.iter().find(|(_, slave)| {
                slave
                    .rows
                    .get(&id)
                    .is_some_and(|row| row.doing == Holding::Serving)
            });
            let (owner, slave) = serving.unwrap_or_else(|| panic!("nobody serves {shard:?}"));
            assert_eq!(shard.state, "serving", "{shard:?}");
            assert_eq!(shard.owner, Some(owner.to_string()), "{shard:?}");
            assert_eq!(slave.rows[&id].epoch.get(), shard.epoch, "{shard:?}");
        }
        assert!(
            self.slaves.values().any(|slave| slave.work != Epoch(0)),
            "nobody does the work"
        );
    }
}
