//! How long a deploy takes, beside the rules of those who move one shard after
//! the other.

use serde::{Deserialize, Serialize};

use super::{floor::OneByOne, handover::Handover};
use crate::watch::Cpu;

/// A deploy of so many shards, at the shortest round-trip time of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deploy {
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second, all shards together, with their probes.
    pub events_s: f64,
    /// How slaves and the simulated Discord talk.
    pub wire: String,
    /// First seal to last RESUMED.
    pub deploy_ms: f64,
    /// Processor time in between.
    pub cpu: Option<Cpu>,
    /// The Go master's rule for as many shards: the next one after 1 s.
    pub go_ms: Option<f64>,
    /// Its successor's: after 2.2 s.
    pub successor_ms: Option<f64>,
    /// How many times faster than the Go master's rule.
    pub times_go: Option<f64>,
}

/// From the deploys that were measured, the small ones first.
#[must_use]
pub fn of(handovers: &[Handover], rules: &[OneByOne]) -> Vec<Deploy> {
    let nearest = handovers.iter().map(|handover| handover.row.rtt_ms).min();
    let mut deploys: Vec<_> = handovers
        .iter()
        .filter(|handover| Some(handover.row.rtt_ms) == nearest)
        .filter(|handover| handover.row.is_plain() && !handover.row.late_seal)
        .filter_map(|handover| {
            let shards = handover.row.shards;
            let deploy_ms = handover.deploy_ms?;
            let rule = |wait_ms| {
                let rule = rules.iter().find(|rule| rule.wait_ms == wait_ms)?;
                Some(rule.shard_ms * f64::from(shards))
            };
            let go_ms = rule(1000);
            Some(Deploy {
                shards,
                events_s: handover.events_s,
                wire: handover.wire.clone(),
                deploy_ms,
                cpu: handover.cpu,
                go_ms,
                successor_ms: rule(2200),
                times_go: go_ms.map(|theirs| theirs / deploy_ms),
            })
        })
        .collect();
    deploys.sort_by_key(|deploy| deploy.shards);
    deploys
}
