//! What there is of a service that replays: IDENTIFYs, and how far its replay goes.

use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};

use super::{
    each::Float,
    picture::{Scrape, one, seconds},
};

impl Scrape<'_> {
    /// What is left of the IDENTIFYs, and who waits for one.
    pub(super) fn identifies(&self, ours: &mut Registry) {
        let left = self.view.identifies_left.map(u64::from);
        one(
            ours,
            "identifies_left",
            "IDENTIFYs left until the reset",
            left,
        );
        one(
            ours,
            "identifies_reserve",
            "IDENTIFYs of these that only an operator's word spends",
            self.view.identifies_reserve.map(u64::from),
        );
        one(
            ours,
            "identifies_waiting",
            "Shards that wait for their permit to IDENTIFY",
            Some(u64::from(self.view.identifies_waiting)),
        );
        one(
            ours,
            "identifies_held",
            "1 while one shard tries for all, because sessions do not last",
            Some(u64::from(self.view.identifies_held.is_some())),
        );
        one(
            ours,
            "identifies_refused_in_row",
            "Rounds of IDENTIFYs in a row that failed",
            Some(u64::from(self.view.identifies_refused)),
        );
        if let Some(ms) = self.view.identifies_reset_ms {
            let reset = seconds(ms);
            ours.register_with_unit(
                "identifies_reset",
                "Time until there are all of them again",
                Unit::Seconds,
                reset,
            );
        }
    }

    /// How far what Discord replays goes.
    pub(super) fn replay(&self, ours: &mut Registry) {
        let behind = self
            .view
            .shards
            .iter()
            .filter(|shard| shard.unfinished.is_some());
        let behind = behind.max_by_key(|shard| shard.behind * 1000 / shard.replayed_at_most.max(1));
        let (behind, most) = behind.map_or((0, 0), |shard| (shard.behind, shard.replayed_at_most));
        one(
            ours,
            "unfinished_events_behind",
            "Events behind an unfinished one, in the shard where that is most of what Discord replays",
            Some(behind),
        );
        let share: Float = Gauge::default();
        share.set(if most == 0 {
            0.0
        } else {
            behind as f64 / most as f64
        });
        ours.register(
            "unfinished_replay_share",
            "The same as a part of what Discord replays of that shard",
            share,
        );
        let budgets = self.view.shards.iter();
        let budgets = budgets.filter_map(|shard| shard.replay_budget_seconds);
        if let Some(least) = budgets.min() {
            let budget: Float = Gauge::default();
            budget.set(least as f64);
            ours.register_with_unit(
                "replay_budget_least",
                "How long Discord holds what the busiest shard gets",
                Unit::Seconds,
                budget,
            );
        }
    }
}
