//! Deploys of a whole fleet: real processes, judged like the demo.

use std::time::Duration;

use serde::Serialize;

use super::{floor::Floor, median};
use crate::{
    demo::{DemoOptions, run},
    error::{Error, Result},
    gap::Spread,
    verdict::Verdict,
};

/// What is deployed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second on each shard, probes apart.
    pub rate: f64,
    /// Round-trip time to the simulated Discord.
    pub rtt_ms: u64,
    /// How long a handler takes.
    pub handler_ms: u64,
    /// Guilds of each shard.
    pub guilds: u32,
    /// Members of each guild.
    pub members: u32,
}

/// What it took: medians of all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Handover {
    /// What was deployed.
    #[serde(flatten)]
    pub row: Row,
    /// The gap of a shard.
    pub gap_ms: Spread,
    /// How much the median gap is above the floor of the same round-trip time.
    pub over_floor_ms: Option<f64>,
    /// The same statistic over quiet intervals.
    pub gap_noise_ms: Spread,
    /// The longest time between two handled events.
    pub silence_ms: Spread,
    /// First seal to last RESUMED.
    pub deploy_ms: f64,
    /// How many runs.
    pub runs: u32,
}

const USUAL: Row = Row {
    shards: 1,
    rate: 1.0,
    rtt_ms: 0,
    handler_ms: 0,
    guilds: 20,
    members: 10,
};

/// The rows of a run.
#[must_use]
pub fn rows(quick: bool) -> Vec<Row> {
    let (rtts, shards): (&[u64], &[u32]) = if quick {
        (&[0, 50], &[1, 64])
    } else {
        (&[0, 50, 120], &[1, 64, 256, 1024])
    };
    let mut rows = Vec::new();
    for &rtt_ms in rtts {
        for &shards in shards {
            rows.push(Row {
                shards,
                rtt_ms,
                ..USUAL
            });
        }
        // Slow handlers, and a state of some 30 MB on one shard.
        rows.push(Row {
            shards: 64,
            rtt_ms,
            handler_ms: 200,
            ..USUAL
        });
        rows.push(Row {
            rtt_ms,
            guilds: 200,
            members: 500,
            ..USUAL
        });
    }
    rows
}

/// Deploys `runs` times.
///
/// # Errors
/// A run could not be judged, or broke a promise.
pub async fn measure(row: &Row, runs: u32, floors: &[Floor]) -> Result<Handover> {
    let mut verdicts = Vec::new();
    for seed in 0..runs {
        let options = DemoOptions {
            shards: row.shards,
            rate: row.rate,
            rtt: Duration::from_millis(row.rtt_ms),
            handler_ms: row.handler_ms,
            guilds_per_shard: row.guilds,
            members_per_guild: row.members,
            tls: false,
            sampled: 16,
            slave: "baton-slave".to_owned(),
            seed: u64::from(seed),
            keep: false,
            live: false,
        };
        let verdict = run(&options, |_| {}).await?;
        let faults = verdict.faults();
        if !faults.is_empty() {
            return Err(Error::answer(&format!("{row:?}"), format!("{faults:?}")));
        }
        verdicts.push(verdict);
    }
    let gap_ms = spread(&verdicts, |verdict| verdict.gap_ms);
    let floor = floors.iter().find(|floor| floor.rtt_ms == row.rtt_ms);
    let over_floor_ms = gap_ms
        .p50
        .zip(floor.and_then(|floor| floor.held.p50))
        .map(|(gap, floor)| gap - floor);
    Ok(Handover {
        row: *row,
        gap_ms,
        over_floor_ms,
        gap_noise_ms: spread(&verdicts, |verdict| verdict.gap_noise_ms),
        silence_ms: spread(&verdicts, |verdict| verdict.silence_ms),
        deploy_ms: median(verdicts.iter().map(|verdict| verdict.deploy_ms)).unwrap_or(0.0),
        runs,
    })
}

fn spread(verdicts: &[Verdict], which: impl Fn(&Verdict) -> Spread) -> Spread {
    let each = || verdicts.iter().map(&which);
    Spread {
        p50: median(each().filter_map(|spread| spread.p50)),
        p99: median(each().filter_map(|spread| spread.p99)),
        max: each().filter_map(|spread| spread.max).reduce(f64::max),
    }
}
