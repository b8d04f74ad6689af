//! The judge of IDENTIFYs (P4): none is needless, and none arrives within the window of
//! another with the same permit.

use crate::service::Permit;

use super::*;

/// What was seen of permits and IDENTIFYs.
#[derive(Clone, Debug, Default)]
pub(super) struct Permits {
    /// Who was permitted to IDENTIFY.
    permitted: BTreeMap<(ShardId, Epoch), Permitted>,
    /// The last IDENTIFY with each permit: when it was given, and when it arrived.
    arrived: BTreeMap<Permit, (Permitted, Real)>,
    /// When a save failed last: then orders are sent long after they were given.
    pub(super) save_failed: Option<Real>,
}

/// When a permit was given, and by which master: when that began.
#[derive(Clone, Copy, Debug)]
struct Permitted {
    at: Real,
    by: Real,
}

impl World {
    /// P4: no session is thrown away with which a slave could go on.
    pub(super) fn judge_identify(&mut self, id: SlaveId, shard: ShardId) {
        self.judge.identifies += 1;
        self.judge_window(id, shard);
        let Some(&session) = self.discord.newest.get(&shard) else {
            return;
        };
        let held = self
            .slaves
            .values()
            .filter_map(|slave| slave.rows.get(&shard))
            .any(|row| row.session == Some(session) && row.holding.is_some());
        let known = held || self.discord.sessions[session].known;
        assert!(
            !self.is_fair()
                || !known
                || self.discord.sessions[session].excused
                || !self.discord.is_resumable(session, self.now),
            "P4: {id:?} identifies {shard}, whose session can be resumed"
        );
        // No process knows it any more: its events have no owner.
        self.discord.end(session);
    }

    /// An order of the master: whether it is a permit. It was given when the core said so;
    /// it leaves behind whatever the master carries out before it.
    pub(super) fn judge_permit(&mut self, order: &ToSlave) {
        if let (ToSlave::IdentifyPermit(unit), Some(master)) = (order, &self.master) {
            let given = master
                .core
                .permits
                .given_at(unit.shard, &master.core.settings);
            let late = given.map_or(Duration::ZERO, |given| master.time().since(given));
            let permit = Permitted {
                at: self.now.saturating_sub(late),
                by: master.began,
            };
            let permitted = &mut self.judge.permits.permitted;
            permitted.insert((unit.shard, unit.epoch), permit);
        }
    }

    /// P4: Discord refuses an IDENTIFY that arrives within the window of the one before.
    /// One that arrives more than a window after its permit was given is not waited for:
    /// the core gives the next one after two, whatever it hears.
    fn judge_window(&mut self, id: SlaveId, shard: ShardId) {
        let epoch = self.slaves[&id].rows[&shard].epoch;
        let permits = &mut self.judge.permits;
        let Some(&permit) = permits.permitted.get(&(shard, epoch)) else {
            return;
        };
        let at_once = self.settings.permits_at_once;
        let needs = self.settings.service.permit(shard, at_once);
        let (now, window) = (self.now, self.settings.identify_window);
        let before = permits.arrived.insert(needs, (permit, now));
        let save_failed = permits.save_failed;
        if let Some((before, arrived)) = before
            && self.is_fair()
            && before.by == permit.by
            && before.at < permit.at
            && arrived - before.at <= window
            && save_failed.is_none_or(|at| at + SECOND < before.at)
        {
            assert!(
                now - arrived >= window,
                "P4: {id:?} identifies {shard} {:?} behind another with the same permit",
                now - arrived
            );
        }
    }
}
