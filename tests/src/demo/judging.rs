//! What a run was worth, from what was seen of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Behind, DemoOptions, MARGIN, QUIET_INTERVALS};
use crate::{
    checker::{Exactness, Order},
    discord::{Counts, LogLine},
    fleet::Fleet,
    gap::{Interval, Spread, Timeline},
    records::{Handled, Sent},
    verdict::Verdict,
    watch::Costs,
};

/// Everything that is needed to judge a run.
pub(super) struct Outcome {
    pub(super) sent: Vec<Sent>,
    pub(super) handled: Vec<Handled>,
    pub(super) moves: BTreeMap<u32, Interval>,
    pub(super) quiet: Interval,
    pub(super) moved: u64,
    pub(super) ended: String,
    pub(super) cold: Counts,
    pub(super) before: Counts,
    pub(super) after: Counts,
    pub(super) total: Duration,
    pub(super) state_mismatches: Vec<String>,
    pub(super) wire: String,
    pub(super) costs: Costs,
    pub(super) behind_us: u64,
    pub(super) state_bytes: u64,
}

/// From the first seal to the last RESUMED.
pub(super) fn whole(moves: &BTreeMap<u32, Interval>) -> Interval {
    let first = moves.values().map(|interval| interval.sealed_us).min();
    let last = moves.values().map(|interval| interval.resumed_us).max();
    let (sealed_us, resumed_us) = first.zip(last).unwrap_or_default();
    Interval {
        sealed_us,
        resumed_us,
    }
}

/// See [`Measured::behind_us`](super::Measured::behind_us).
pub(super) fn behind_us(fleet: &Fleet, moves: &BTreeMap<u32, Interval>) -> u64 {
    let copied: BTreeMap<u32, u64> = fleet.news.phase("dialling").collect();
    let mut behind: Vec<u64> = moves
        .iter()
        .filter_map(|(shard, moved)| moved.resumed_us.checked_sub(*copied.get(shard)?))
        .collect();
    behind.sort_unstable();
    behind.get(behind.len() / 2).copied().unwrap_or(0)
}

/// What the connections asked for in their addresses.
pub(super) fn wire(log: &[LogLine]) -> String {
    let mut wires = BTreeSet::new();
    for line in log {
        if line.what == "connected" {
            let asked = line.detail.split(['?', '&']);
            let mut compression = asked.filter_map(|part| part.strip_prefix("compress="));
            wires.insert(compression.next().unwrap_or("plain").to_owned());
        }
    }
    wires.into_iter().collect::<Vec<_>>().join(",")
}

/// From the seal request, as the master told it, to the first RESUMED after it,
/// as the simulated Discord saw it.
pub(super) fn moves(fleet: &Fleet, log: &[LogLine], since_us: u64) -> BTreeMap<u32, Interval> {
    let mut resumed: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for line in log {
        if line.what == "resumed" && line.at_us >= since_us {
            resumed
                .entry(line.shard.unwrap_or(u32::MAX))
                .or_default()
                .push(line.at_us);
        }
    }
    let moves = fleet
        .news
        .seals()
        .into_iter()
        .filter_map(|(shard, sealed_us)| {
            let resumed_us = *resumed.get(&shard)?.iter().find(|at| **at >= sealed_us)?;
            Some((
                shard,
                Interval {
                    sealed_us,
                    resumed_us,
                },
            ))
        });
    moves.collect()
}

pub(super) fn judge(options: &DemoOptions, outcome: &Outcome) -> Verdict {
    let order = options.behind.as_ref().map_or(Order::Shards, Behind::order);
    let timelines = Timeline::of(&outcome.sent, &outcome.handled);
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let lengths: Vec<u64> = outcome
        .moves
        .values()
        .map(|interval| interval.resumed_us - interval.sealed_us)
        .collect();
    let usual = lengths.iter().sum::<u64>() / lengths.len().max(1) as u64;
    let mut gaps = Vec::new();
    let mut probed = Vec::new();
    let mut silences = Vec::new();
    let mut noise = Vec::new();
    let mut unmeasured = 0;
    for shard in 0..options.shards {
        let measured = outcome
            .moves
            .get(&shard)
            .zip(timelines.get(&shard))
            .map(|(interval, line)| (*interval, line));
        let gap = measured.and_then(|(interval, line)| line.gap_us(interval));
        unmeasured += u64::from(gap.is_none());
        gaps.extend(gap);
        if let Some((interval, line)) = measured.filter(|_| shard < options.sampled) {
            probed.extend(gap);
            silences.extend(line.silence_us(interval, MARGIN.as_micros() as u64));
            noise.extend(line.noise_us(outcome.quiet, usual, QUIET_INTERVALS, &mut random));
        }
    }
    let Interval {
        sealed_us,
        resumed_us,
    } = whole(&outcome.moves);
    let deploy_us = resumed_us - sealed_us;
    Verdict {
        shards: options.shards,
        moved: outcome.moved,
        exactness: Exactness::in_order_of(order, &outcome.sent, &outcome.handled),
        state_mismatches: outcome.state_mismatches.len() as u64,
        mismatches: outcome.state_mismatches.clone(),
        identifies_cold_start: outcome.cold.identifies - outcome.cold.identifies_refused,
        identifies_refused_cold_start: outcome.cold.identifies_refused,
        identifies_deploy: outcome.after.identifies - outcome.before.identifies,
        resumes: outcome.after.resumes - outcome.before.resumes,
        deploy_ms: deploy_us as f64 / 1000.0,
        total_ms: outcome.total.as_secs_f64() * 1000.0,
        rtt_ms: options.rtt.as_secs_f64() * 1000.0,
        gap_ms: Spread::of_us(gaps),
        gap_probed_ms: Spread::of_us(probed),
        gap_unmeasured: unmeasured,
        gap_noise_ms: Spread::of_us(noise),
        silence_ms: Spread::of_us(silences),
        wire: outcome.wire.clone(),
        outcome: outcome.ended.clone(),
    }
}
