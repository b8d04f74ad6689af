//! What a deploy costs, beside its limits: every row of one run was measured on
//! the same machine, one after the other.
//!
//! Run it with `scripts/bench`. `--quick` takes fewer rows and runs; the last line
//! of `--json` is one object with stable keys.

pub mod client;
pub mod core;
pub mod floor;
pub mod handover;
pub mod serving;
pub mod table;

use std::time::Duration;

use serde::Serialize;

use self::{
    core::CoreCost,
    floor::{Floor, OneByOne},
    handover::Handover,
    serving::{EventCost, Keeps, Memory},
};
use crate::error::Result;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Fewer rows, one run each.
    pub quick: bool,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The machine.
    pub machine: Machine,
    /// Minimal clients, one shard, a probe every millisecond, plain websocket.
    pub floor: Vec<Floor>,
    /// The rules of the ancestor (the next shard after 1 s) and of its successor
    /// (2.2 s).
    pub one_by_one: Vec<OneByOne>,
    /// Processor time of an event.
    pub events: Vec<EventCost>,
    /// Memory of what a bot has many of.
    pub memory: Vec<Memory>,
    /// Deploys of a whole fleet.
    pub handover: Vec<Handover>,
    /// The core alone.
    pub core: Vec<CoreCost>,
}

/// What it ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// The kernel.
    pub kernel: String,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: name.map_or_else(String::new, |(_, name)| name.to_owned()),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// Measures; `say` gets one line for each row.
///
/// # Errors
/// A part of it could not be measured.
pub async fn run(options: BenchOptions, say: impl Fn(&str)) -> Result<Results> {
    let core = [64, 1024, 16_384].map(|shards| {
        let cost = core::cost(shards);
        say(&table::core_row(&cost));
        cost
    });
    let (rtts, runs): (&[u64], u32) = if options.quick {
        (&[0, 50], 3)
    } else {
        (&[0, 50, 120], 10)
    };
    let mut floor = Vec::new();
    for rtt in rtts {
        let measured = floor::measure(Duration::from_millis(*rtt), runs).await?;
        say(&table::floor_row(&measured));
        floor.push(measured);
    }
    let mut one_by_one = Vec::new();
    for wait in [1000, 2200].map(Duration::from_millis) {
        let measured = floor::one_by_one(Duration::ZERO, wait, runs).await?;
        say(&table::one_by_one_row(&measured));
        one_by_one.push(measured);
    }
    let runs = if options.quick { 1 } else { 3 };
    let mut events = Vec::new();
    for keeps in [Keeps::Nothing, Keeps::Cache] {
        let measured = serving::events(keeps, 4, 4000.0, runs).await?;
        say(&table::event_row(&measured));
        events.push(measured);
    }
    let memory = serving::memory().await?;
    for row in &memory {
        say(&table::memory_row(row));
    }
    let mut handover = Vec::new();
    for row in handover::rows(options.quick) {
        let measured = handover::measure(&row, runs, &floor).await?;
        say(&table::handover_row(&measured));
        handover.push(measured);
    }
    Ok(Results {
        machine: Machine::here(),
        floor,
        one_by_one,
        events,
        memory,
        handover,
        core: core.to_vec(),
    })
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
