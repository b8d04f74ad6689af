//! Deploys of a whole fleet: real processes, judged like the demo.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{floor::Floor, median, place::Place};
use crate::{
    demo::{DemoOptions, Measured, measure as demo},
    gap::Spread,
    verdict::Judged,
    watch::{Cpu, Memory},
};

/// Shards with a probe every millisecond, from the first on. Few: with sixteen of
/// them the probes took most of two cores, and what they cost was measured.
pub(super) const SAMPLED: u32 = 4;

/// Events a second of a probe.
const PROBES: f64 = 1000.0;

/// What a bot has of its guilds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// twilight's cache, which is copied.
    #[default]
    Cache,
    /// A store, which stays where it is.
    Store,
}

impl Kept {
    /// What a slave is told.
    pub(super) fn flags(self, place: &Place) -> Vec<String> {
        match self {
            Self::Cache => Vec::new(),
            Self::Store => {
                let folder = place.path().display().to_string();
                let flags = ["--state", "store", "--store", &folder];
                flags.map(str::to_owned).to_vec()
            }
        }
    }
}

/// What is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What the bot has of them.
    #[serde(default)]
    pub kept: Kept,
    /// Whether shards are sealed late.
    pub late_seal: bool,
    /// How often it is deployed.
    pub runs: u32,
}

/// What it took: medians of all runs, but the largest of maxima.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handover {
    /// What was deployed.
    #[serde(flatten)]
    pub row: Row,
    /// Events a second, all shards together, with their probes.
    pub events_s: f64,
    /// How slaves and the simulated Discord talk.
    pub wire: String,
    /// The state that moved, in MB as it is copied.
    pub state_mb: Option<f64>,
    /// The gap of a shard. One without a probe has one event somewhere in its gap,
    /// or none: where there are many of them the median can be below the floor.
    pub gap_ms: Spread,
    /// The gap of a shard with a probe.
    pub probed_gap_ms: Spread,
    /// How much the median gap of shards with a probe is above the floor of the same
    /// round-trip time and of as many sessions as have a probe.
    pub over_floor_p50_ms: Option<f64>,
    /// The same, above the floor of a client that resumes from where it dialled.
    pub over_from_dial_p50_ms: Option<f64>,
    /// How much the 99th percentile is above that of the floor: of all shards, or of
    /// those with a probe, whichever is larger.
    pub over_floor_p99_ms: Option<f64>,
    /// The median gap of shards with a probe, of that of as many shards with a small state and handlers
    /// that take no time, at the same round-trip time.
    pub of_plain: Option<f64>,
    /// The same of the deploy's time.
    #[serde(default)]
    pub deploy_of_plain: Option<f64>,
    /// The gap of intervals in which nothing moved.
    pub gap_noise_ms: Spread,
    /// The longest time between two handled events.
    pub silence_ms: Spread,
    /// First seal to last RESUMED.
    pub deploy_ms: Option<f64>,
    /// From the end of a shard's copy to its RESUMED.
    pub behind_ms: Option<f64>,
    /// Processor time from the first seal to the last RESUMED.
    pub cpu: Option<Cpu>,
    /// Memory of the processes.
    pub memory: Option<Memory>,
    /// Both slaves at their peaks, of two bases and twice the state.
    pub of_twice: Option<f64>,
    /// Both slaves and their store at their peaks, of two bases and one state.
    #[serde(default)]
    pub of_one: Option<f64>,
    /// What was wrong with its runs; empty: nothing.
    pub faults: Vec<String>,
}

/// As little state as a guild can have: the bot and one member.
const USUAL: Row = Row {
    shards: 1,
    rate: 1.0,
    rtt_ms: 0,
    handler_ms: 0,
    guilds: 20,
    members: 2,
    kept: Kept::Cache,
    late_seal: false,
    runs: 3,
};

/// 200 members are below `large_threshold`: all of them are in the state.
pub(super) const MEMBERS: u32 = 200;

/// Guilds of so many members that are 200 MB, 2 MB, and 2 GB.
const GUILDS_200_MB: u32 = 1600;
const GUILDS_2_MB: u32 = 16;
pub(super) const GUILDS_2_GB: u32 = 15_360;

impl Row {
    const fn at(self, rtt_ms: u64) -> Self {
        Self { rtt_ms, ..self }
    }

    const fn state(self, guilds: u32) -> Self {
        Self {
            guilds,
            members: MEMBERS,
            ..self
        }
    }

    /// The same state where it stays.
    const fn stored(self) -> Self {
        Self {
            kept: Kept::Store,
            ..self
        }
    }

    /// A cache of a few members a guild.
    const fn small_state(self) -> Self {
        Self {
            members: 10,
            ..self
        }
    }

    const fn slow(self) -> Self {
        Self {
            handler_ms: 200,
            ..self
        }
    }

    const fn late(self) -> Self {
        Self {
            late_seal: true,
            ..self
        }
    }

    /// The row without state and slow handlers.
    #[must_use]
    pub const fn plain(self) -> Self {
        Self {
            handler_ms: 0,
            guilds: USUAL.guilds,
            members: USUAL.members,
            kept: USUAL.kept,
            ..self
        }
    }

    /// Whether there is nothing to compare it with.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == self.plain()
    }
}

const fn of(shards: u32) -> Row {
    Row { shards, ..USUAL }
}

/// The rows of a run.
#[must_use]
pub fn rows(quick: bool) -> Vec<Row> {
    if quick {
        let once = |row: Row| Row { runs: 1, ..row };
        let rows = [0, 50].into_iter().flat_map(|rtt| {
            [
                of(1),
                of(64),
                of(64).slow(),
                of(1).state(GUILDS_200_MB),
                of(1).state(GUILDS_200_MB).stored(),
                of(64).late(),
            ]
            .map(|row| once(row).at(rtt))
        });
        return rows.chain([once(of(256))]).collect();
    }
    let mut rows = Vec::new();
    // How often what is short, what is long, and a thousand shards.
    for (rtt, short, long, thousand) in [(0, 5, 3, 3), (50, 3, 2, 1), (120, 2, 1, 1)] {
        let times = |runs, row: Row| Row {
            runs,
            ..row.at(rtt)
        };
        rows.extend([of(1), of(8), of(64)].map(|row| times(short, row)));
        rows.push(times(thousand, of(1024)));
        rows.extend(
            [
                of(1).slow(),
                of(64).slow(),
                of(1).state(GUILDS_200_MB),
                of(8).state(GUILDS_200_MB / 8),
                of(64).state(GUILDS_2_MB),
                of(1).late(),
                of(64).late(),
            ]
            .map(|row| times(long, row)),
        );
    }
    rows.extend([of(256), of(1024).small_state()]);
    rows.extend(large(&rows));
    rows
}

/// State that stays where it is, beside the same that is copied.
fn large(before: &[Row]) -> Vec<Row> {
    let once = |row: Row| Row { runs: 1, ..row };
    let mut rows = Vec::new();
    for rtt in [0, 50] {
        let small = of(8).state(GUILDS_200_MB / 8).at(rtt);
        let large = of(64).state(GUILDS_2_GB / 64).at(rtt);
        rows.extend([small, small.stored()]);
        // Copying two gigabytes takes as long at any round-trip time.
        rows.extend((rtt == 0).then(|| once(large)));
        rows.push(Row {
            runs: 2,
            ..large.stored()
        });
    }
    // What was measured already is there to be compared with.
    rows.retain(|row| {
        let mut same = before.iter().map(|other| Row {
            runs: row.runs,
            ..*other
        });
        !same.any(|other| other == *row)
    });
    rows
}

/// The rows of what stays alone, each behind what it is compared with.
#[must_use]
pub fn store_rows(quick: bool) -> Vec<Row> {
    let plain = [0, 50]
        .into_iter()
        .flat_map(|rtt| [of(8).at(rtt), of(64).at(rtt)]);
    let mut rows: Vec<Row> = plain.collect();
    match quick {
        true => {
            let row = of(8).state(20);
            rows.extend([row, row.stored()]);
            rows.iter_mut().for_each(|row| row.runs = 1);
        }
        false => rows.extend(large(&[])),
    }
    rows
}

/// Deploys as often as the row says. What a run was not is among its faults.
pub async fn measure(row: &Row, floors: &[Floor], before: &[Handover]) -> Handover {
    let mut faults = Vec::new();
    let mut measured = Vec::new();
    for seed in 0..row.runs {
        let ran = match Place::new() {
            Ok(place) => demo(&options(row, seed, &place), |_| {}).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(run) => {
                faults.extend(run.verdict.faults());
                measured.push(run);
            }
            Err(error) => faults.push(error.chain()),
        }
    }
    let sessions = row.shards.min(SAMPLED);
    let floor = floors
        .iter()
        .find(|floor| (floor.rtt_ms, floor.sessions) == (row.rtt_ms, sessions));
    let plain = before
        .iter()
        .find(|other| !row.is_plain() && is_plain_of(&other.row, row));
    summary(row, &measured, faults, floor, plain)
}

/// Whether `other` is `row` without what makes it special.
fn is_plain_of(other: &Row, row: &Row) -> bool {
    *other
        == Row {
            runs: other.runs,
            ..row.plain()
        }
}

fn options(row: &Row, seed: u32, place: &Place) -> DemoOptions {
    DemoOptions {
        shards: row.shards,
        rate: row.rate,
        rtt: Duration::from_millis(row.rtt_ms),
        handler_ms: row.handler_ms,
        guilds_per_shard: row.guilds,
        members_per_guild: row.members,
        tls: false,
        sampled: SAMPLED,
        slave: "baton-slave".to_owned(),
        seed: u64::from(seed),
        keep: false,
        live: false,
        late_seal: row.late_seal,
        slave_flags: row.kept.flags(place),
        store: (row.kept == Kept::Store).then(|| place.path()),
        behind: None,
    }
}

fn summary(
    row: &Row,
    runs: &[Measured],
    faults: Vec<String>,
    floor: Option<&Floor>,
    plain: Option<&Handover>,
) -> Handover {
    let middle = |of: fn(&Measured) -> f64| median(runs.iter().map(of));
    let gap_ms = spread(runs, |run| run.verdict.gap_ms);
    let probed_gap_ms = spread(runs, |run| run.verdict.gap_probed_ms);
    let above = |gap: Option<f64>, of: fn(&Floor) -> Option<f64>| {
        let floor = floor.and_then(of);
        gap.zip(floor).map(|(gap, floor)| gap - floor)
    };
    let p99 = [gap_ms.p99, probed_gap_ms.p99];
    let p99 = p99.into_iter().flatten().reduce(f64::max);
    let deploy_ms = middle(|run| run.verdict.deploy_ms);
    let plain_ms = plain.and_then(|plain| plain.deploy_ms);
    let plain = plain.and_then(|plain| plain.probed_gap_ms.p50);
    let sampled = f64::from(row.shards.min(SAMPLED));
    Handover {
        row: *row,
        events_s: row.rate * f64::from(row.shards) + PROBES * sampled,
        wire: runs.first().map_or_else(String::new, |run| {
            format!("{}, no TLS", run.verdict.wire.replace("plain", "json"))
        }),
        state_mb: middle(|run| run.state_bytes as f64 / 1e6),
        over_floor_p50_ms: above(probed_gap_ms.p50, |floor| floor.held.p50),
        over_from_dial_p50_ms: above(probed_gap_ms.p50, |floor| floor.from_dial.p50),
        over_floor_p99_ms: above(p99, |floor| floor.held.p99),
        of_plain: probed_gap_ms.p50.zip(plain).map(|(gap, plain)| gap / plain),
        gap_ms,
        probed_gap_ms,
        gap_noise_ms: spread(runs, |run| run.verdict.gap_noise_ms),
        silence_ms: spread(runs, |run| run.verdict.silence_ms),
        deploy_of_plain: deploy_ms.zip(plain_ms).map(|(ms, plain)| ms / plain),
        deploy_ms,
        behind_ms: middle(|run| run.behind_us as f64 / 1000.0),
        cpu: cpu(runs),
        memory: peak(runs),
        of_twice: median(runs.iter().filter_map(|run| run.costs.memory.of_twice())),
        of_one: median(runs.iter().filter_map(|run| run.costs.memory.of_one())),
        faults,
    }
}

fn cpu(runs: &[Measured]) -> Option<Cpu> {
    let middle = |of: fn(&Cpu) -> f64| median(runs.iter().map(|run| of(&run.costs.cpu)));
    Some(Cpu {
        simulator_ms: middle(|cpu| cpu.simulator_ms)?,
        ours_ms: middle(|cpu| cpu.ours_ms)?,
        master_ms: middle(|cpu| cpu.master_ms)?,
        harness_ms: middle(|cpu| cpu.harness_ms)?,
    })
}

/// Of the run whose slaves had most.
fn peak(runs: &[Measured]) -> Option<Memory> {
    let memories = runs.iter().map(|run| run.costs.memory);
    memories.max_by_key(|memory| memory.old_peak_kib + memory.new_peak_kib)
}

fn spread(runs: &[Measured], which: impl Fn(&Measured) -> Spread) -> Spread {
    let each = || runs.iter().map(&which);
    Spread {
        p50: median(each().filter_map(|spread| spread.p50)),
        p99: median(each().filter_map(|spread| spread.p99)),
        max: each().filter_map(|spread| spread.max).reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_comes_after_the_row_that_it_is_compared_with() {
        let all = [true, false].map(|quick| [rows(quick), store_rows(quick)]);
        for rows in all.into_iter().flatten() {
            for (number, row) in rows.iter().enumerate() {
                let before = &rows[..number];
                assert!(
                    row.is_plain() || before.iter().any(|other| is_plain_of(other, row)),
                    "{row:?}"
                );
                assert!(!before.contains(row), "twice: {row:?}");
            }
        }
    }

    #[test]
    fn a_row_that_could_not_be_run_says_so_and_has_no_figures() {
        let none = summary(&of(1), &[], vec!["no start".to_owned()], None, None);
        assert_eq!((none.deploy_ms, none.gap_ms.p50), (None, None));
        assert_eq!(none.faults, ["no start"]);
        let json = serde_json::to_string(&none).expect("JSON");
        let back: Handover = serde_json::from_str(&json).expect("the same form");
        assert_eq!(back.row, of(1));
    }
}
