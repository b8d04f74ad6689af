//! Whether everything is well again.

use super::*;

impl World {
    /// What is missing until every shard is served, nothing is under way and
    /// every event was handled.
    pub(in crate::tests::sim) fn unhealed(&self) -> Option<String> {
        let Some(master) = &self.master else {
            return Some("no master".to_owned());
        };
        let view = master.core.view(Time::default());
        if view.adopting || view.deploy.is_some() || !master.open_deploys.is_empty() {
            return Some(format!(
                "under way: {:?} {:?}",
                view.deploy, master.open_deploys
            ));
        }
        if view.moves.left > 0 {
            return Some(format!(
                "shards are not where they are to be: {:?}",
                view.moves
            ));
        }
        for shard in &view.shards {
            let id = ShardId(shard.shard);
            let serving = self.slaves.iter().find(|(_, slave)| {
                slave.rows.get(&id).is_some_and(|row| {
                    row.holding == Some(Holding::Serving) && row.conn == Conn::Up
                })
            });
            let Some((owner, slave)) = serving else {
                return Some(format!("nobody serves {shard:?}"));
            };
            let row = &slave.rows[&id];
            if shard.state != "serving"
                || shard.owner != Some(owner.to_string())
                || row.epoch.get() != shard.epoch
            {
                return Some(format!("{owner:?} serves, the master says {shard:?}"));
            }
            if let Some(lost) = self.first_lost(row) {
                return Some(format!("P1: event {lost} of {shard:?} is not handled"));
            }
        }
        for slot in &view.slots {
            if slot.standbys_wanted > 0
                && (slot.standbys, slot.standbys_built)
                    != (slot.standbys_wanted, slot.standbys_wanted)
            {
                return Some(format!("too few or too many stand by: {slot:?}"));
            }
        }
        let works = self.slaves.values().any(|slave| slave.work > Epoch(0));
        (!works).then(|| "nobody does the work".to_owned())
    }

    /// P1: the first event of a served session that nobody finished.
    fn first_lost(&self, row: &Row) -> Option<usize> {
        if !self.is_fair() {
            return None;
        }
        let session = row.session?;
        let events = &self.discord.sessions[session].events;
        events
            .iter()
            .position(|seen| !seen.finished)
            .map(|at| at + 1)
    }
}
