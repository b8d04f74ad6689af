//! What a deploy costs, beside its limits: every row of one run was measured on
//! the same machine, one after the other.
//!
//! Run it with `scripts/bench`. `--quick` takes fewer rows and runs; the last line
//! of `--json` is one object with stable keys. A part that could not be measured,
//! or a deploy that broke a promise, is among the failures; the others go on.

pub mod client;
pub mod core;
pub mod deploys;
pub mod floor;
pub mod handover;
pub mod page;
pub mod serving;
pub mod state;
pub mod table;
pub mod targets;
pub mod two_hop;

use std::{
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use self::{
    core::CoreCost,
    deploys::Deploy,
    floor::{Floor, OneByOne},
    handover::Handover,
    serving::{EventCost, Keeps, Memory},
    state::StateRate,
    targets::Target,
};
use crate::error::{Error, Result};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Fewer rows, one run each.
    pub quick: bool,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The machine.
    pub machine: Machine,
    /// What is to be reached, and whether it was.
    pub targets: Vec<Target>,
    /// Minimal clients, one shard, a probe every millisecond, plain websocket.
    pub floor: Vec<Floor>,
    /// The rules of the ancestor (the next shard after 1 s) and of its successor
    /// (2.2 s).
    pub one_by_one: Vec<OneByOne>,
    /// Processor time of an event.
    pub events: Vec<EventCost>,
    /// Memory of what a bot has many of.
    pub memory: Vec<Memory>,
    /// State through the master.
    pub state: Vec<StateRate>,
    /// Deploys of a whole fleet.
    pub handover: Vec<Handover>,
    /// Those of them that are timed.
    pub deploys: Vec<Deploy>,
    /// The core alone.
    pub core: Vec<CoreCost>,
    /// What failed, with its row; empty: nothing.
    pub failures: Vec<String>,
    /// How long all of it took.
    pub took_s: f64,
}

/// What it ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// The kernel.
    pub kernel: String,
    /// Until 4 KiB that are added to a file are on the disk: the median.
    pub sync_ms: Option<f64>,
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
            sync_ms: syncs().ok().and_then(|ms| median(ms.into_iter())),
        }
    }
}

/// Where the journals of the run are too.
fn syncs() -> Result<Vec<f64>> {
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let failed = |error| Error::io("write a file")(error);
    let mut file = File::create(folder.path().join("file")).map_err(failed)?;
    let one = |_| {
        let began = Instant::now();
        file.write_all(&[1; 4096]).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    (0..50).map(one).collect()
}

/// Measures; `say` gets one line for each row.
pub async fn run(options: BenchOptions, say: impl Fn(&str)) -> Results {
    let began = Instant::now();
    let quick = options.quick;
    let mut failures = Vec::new();
    let mut failed = |row: &str, why: &[String]| {
        if !why.is_empty() {
            let line = format!("{row}: {}", why.join("; "));
            say(&format!("FAILED {line}"));
            failures.push(line);
        }
    };
    let core = [64, 1024, 16_384].map(|shards| {
        let cost = core::cost(shards);
        say(&table::core_row(&cost));
        cost
    });
    let (rtts, runs): (&[u64], u32) = if quick {
        (&[0, 50], 3)
    } else {
        (&[0, 50, 120], 10)
    };
    let mut floor = Vec::new();
    for rtt in rtts {
        match floor::measure(Duration::from_millis(*rtt), runs).await {
            Ok(measured) => {
                say(&table::floor_row(&measured));
                floor.push(measured);
            }
            Err(error) => failed(&format!("floor, {rtt} ms"), &[error.chain()]),
        }
    }
    let mut one_by_one = Vec::new();
    for wait in [1000, 2200] {
        match floor::one_by_one(Duration::ZERO, Duration::from_millis(wait), 3).await {
            Ok(measured) => {
                say(&table::one_by_one_row(&measured));
                one_by_one.push(measured);
            }
            Err(error) => failed(&format!("one by one, {wait} ms"), &[error.chain()]),
        }
    }
    let runs = if quick { 1 } else { 3 };
    let mut events = Vec::new();
    for keeps in [Keeps::Nothing, Keeps::Cache] {
        match serving::events(keeps, 4, 4000.0, runs).await {
            Ok(measured) => {
                say(&table::event_row(&measured));
                events.push(measured);
            }
            Err(error) => failed(&format!("events, {keeps:?}"), &[error.chain()]),
        }
    }
    let memory = match serving::memory().await {
        Ok(memory) => memory,
        Err(error) => {
            failed("memory", &[error.chain()]);
            Vec::new()
        }
    };
    for row in &memory {
        say(&table::memory_row(row));
    }
    let mut state = Vec::new();
    for row in state::rows(quick) {
        let measured = state::measure(row, runs).await;
        say(&table::state_row(&measured));
        failed(&format!("{row:?}"), &measured.faults);
        state.push(measured);
    }
    let mut handover: Vec<Handover> = Vec::new();
    for row in handover::rows(quick) {
        let measured = handover::measure(&row, &floor, &handover).await;
        say(&table::handover_row(&measured));
        failed(&targets::name(&measured), &measured.faults);
        handover.push(measured);
    }
    let mut results = Results {
        machine: Machine::here(),
        targets: Vec::new(),
        deploys: deploys::of(&handover, &one_by_one),
        floor,
        one_by_one,
        events,
        memory,
        state,
        handover,
        core: core.to_vec(),
        failures,
        took_s: began.elapsed().as_secs_f64(),
    };
    results.targets = targets::of(&results);
    results
}

/// Deploys of a state that is large beside what a slave has anyway.
fn peaks(handovers: &[Handover]) -> impl Iterator<Item = &Handover> {
    let large = |row: &&Handover| row.state_mb.is_some_and(|mb| mb > 50.0);
    handovers.iter().filter(large)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
