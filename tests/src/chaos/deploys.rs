//! Deploys in a row under traffic, a kill in every second one; then everything
//! must be as it was at the start.

use std::{fs, time::Duration};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    expect::Expect,
    hunt,
    judge::{Findings, judge},
    patience::Patience,
    scene::{Scene, Setup, Who},
    store::Contents,
};
use crate::error::{Error, Result};

/// From a deploy to calm, at most.
const CALM: Duration = Duration::from_secs(60);

/// What is still missing after so long is lost.
const SETTLE: Duration = Duration::from_secs(20);

/// Deploys before the base line is taken: caches are warm then.
const WARM: u32 = 6;

/// A kill comes within this time of its deploy.
const WITHIN_MS: u64 = 700;

/// A journal has this many KiB when nobody deploys: a few rows, and a write-ahead
/// log that is folded in when it has 512.
const JOURNAL_KIB: u64 = 768;

/// A master that is at rest has folded it in, and let go of what dead slaves wrote, within
/// this time.
const RESTS: Duration = Duration::from_secs(15);

/// Open files of a master: some more, or fewer, are no leak.
const FILES: usize = 4;

/// Threads of a slave that read its store: some more, or fewer, are no leak.
const THREADS: u64 = 8;

/// How they are run.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Of traffic, guilds and kills.
    pub seed: u64,
    /// Whether shards are sealed late.
    pub late_seal: bool,
    /// Whether state is in a store.
    pub store: bool,
}

/// What a fleet takes of its host.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Footprint {
    /// Memory of the master, in KiB.
    pub memory_kib: u64,
    /// Files that the master has open.
    pub open_files: usize,
    /// The journal and its write-ahead log, in KiB.
    pub journal_kib: u64,
    /// Snapshots of the slaves.
    pub snapshots: usize,
    /// What is in the store.
    pub store: Contents,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How the deploys ended.
    pub ends: Vec<String>,
    /// Kills.
    pub kills: u32,
    /// What was found.
    pub findings: Findings,
    /// After the first few deploys.
    pub before: Footprint,
    /// After the last.
    pub after: Footprint,
    /// What is wrong; empty: nothing.
    pub wrong: Vec<String>,
}

/// Runs `count` deploys; `say` gets a line for each.
///
/// # Errors
/// It cannot be judged.
pub async fn run(count: u32, asked: Asked, say: impl Fn(&str)) -> Result<Outcome> {
    let seed = asked.seed;
    let mut setup = Setup::usual(seed);
    setup.late_seal = asked.late_seal;
    if asked.store {
        setup.store();
    }
    setup.pace = Duration::from_millis(5);
    setup.soak = Duration::from_millis(200);
    let mut scene = Scene::start(setup).await?;
    let mut outcome = Outcome {
        ends: Vec::new(),
        kills: 0,
        findings: Findings::default(),
        before: Footprint::default(),
        after: Footprint::default(),
        wrong: Vec::new(),
    };
    let played = play(count, seed, &mut scene, &mut outcome, say).await;
    let news = scene.news();
    let (orphans, folder) = scene.end().await;
    if !orphans.is_empty() {
        let text = format!("processes left over: {orphans:?}");
        outcome.wrong.push(text);
    }
    if let Err(error) = &played {
        outcome.wrong.push(error.to_string());
    }
    if outcome.wrong.is_empty() {
        let _ = fs::remove_dir_all(&folder);
    } else {
        super::run::write_news(&folder, &news);
        let text = format!("logs and sinks: {}", folder.display());
        outcome.wrong.push(text);
    }
    Ok(outcome)
}

async fn play(
    count: u32,
    seed: u64,
    scene: &mut Scene,
    outcome: &mut Outcome,
    say: impl Fn(&str),
) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for number in 1..=count {
        scene.outcome = None;
        scene.deploy(&format!("d{number}"), &[]).await?;
        let mut killed = String::new();
        if number % 2 == 0 {
            let victim = [Who::Old, Who::New, Who::Master][random.random_range(0..3)];
            let after = Duration::from_millis(random.random_range(0..WITHIN_MS));
            sleep(after).await;
            scene.kill(victim);
            outcome.kills += 1;
            killed = format!("{victim:?} killed after {} ms", after.as_millis());
        }
        scene
            .calm(CALM)
            .await
            .map_err(|error| Error::Late(format!("deploy {number}, {killed}: {error}")))?;
        let end = scene
            .outcome
            .as_ref()
            .and_then(|end| end["outcome"].as_str());
        let end = end.unwrap_or("untold").to_owned();
        say(&format!("deploy {number}: {end} {killed}"));
        if killed.is_empty() && end != "done" {
            let text = format!("deploy {number}, which nothing struck, ended {end}");
            outcome.wrong.push(text);
        }
        outcome.ends.push(end);
        if number == WARM {
            outcome.before = footprint(scene).await?;
        }
    }
    sleep(Duration::from_millis(500)).await;
    scene.fleet.discord.traffic(0.0).await?;
    outcome.findings = judge(scene, SETTLE, &Expect::recovered()).await?;
    outcome.after = at_rest(scene, outcome.before).await?;
    outcome.wrong.extend(faults(outcome));
    Ok(())
}

fn faults(outcome: &Outcome) -> Vec<String> {
    let found = &outcome.findings;
    let mut faults: Vec<String> = [
        (found.lost + found.lost_said, "lost"),
        (found.duplicated_unmarked, "repeated without a mark"),
        (found.needless_marks, "needless marks"),
        (found.invented, "never sent"),
        (found.out_of_order, "out of order"),
        (found.identifies, "needless IDENTIFYs"),
        (found.state_mismatches, "guilds whose state is not true"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    let (before, after) = (outcome.before, outcome.after);
    if after.memory_kib > before.memory_kib * 3 / 2 + 4096 {
        faults.push(format!(
            "the master's memory grew from {} to {} KiB",
            before.memory_kib, after.memory_kib
        ));
    }
    if after.open_files > before.open_files + FILES {
        faults.push(format!(
            "the master's open files grew from {} to {}",
            before.open_files, after.open_files
        ));
    }
    if after.journal_kib > JOURNAL_KIB {
        faults.push(format!(
            "the journal grew from {} to {} KiB",
            before.journal_kib, after.journal_kib
        ));
    }
    if after.snapshots > before.snapshots + 4 {
        faults.push(format!(
            "the snapshots grew from {} to {}",
            before.snapshots, after.snapshots
        ));
    }
    faults.extend(after.store.grown(&before.store));
    faults
}

impl Contents {
    /// What is more than it was, and not for a moment.
    fn grown(&self, before: &Self) -> Vec<String> {
        let Self {
            kib,
            files,
            readers,
            set_aside,
        } = *self;
        [
            ("KiB", before.kib, kib, before.kib / 2 + 1024),
            ("files and folders", before.files, files, 0),
            ("places of readers", before.readers, readers, THREADS),
            ("damaged states", before.set_aside, set_aside, 0),
        ]
        .into_iter()
        .filter(|(_, before, after, more)| *after > before + more)
        .map(|(what, before, after, _)| format!("the store grew from {before} to {after} {what}"))
        .collect()
    }
}

/// The footprint of a fleet that nobody deploys, once the journal is folded in and what dead
/// slaves wrote, which the master keeps open for 10 s, is let go of.
async fn at_rest(scene: &Scene, before: Footprint) -> Result<Footprint> {
    let mut patience = Patience::of(RESTS);
    loop {
        let footprint = footprint(scene).await?;
        let is_folded = footprint.journal_kib <= JOURNAL_KIB;
        let is_let_go = footprint.open_files <= before.open_files + FILES;
        if (is_folded && is_let_go) || patience.is_over().await {
            return Ok(footprint);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn footprint(scene: &Scene) -> Result<Footprint> {
    let store = match scene.setup.is_stored() {
        true => Contents::of(scene.folder()).await?,
        false => Contents::default(),
    };
    let run = scene.folder().join("run");
    let master = scene.fleet.master.pid().unwrap_or(0);
    let size = |name: &str| fs::metadata(run.join(name)).map_or(0, |file| file.len());
    let snapshots = fs::read_dir(run.join("snapshots"));
    Ok(Footprint {
        memory_kib: hunt::memory_kib(master),
        open_files: hunt::open_files(master),
        journal_kib: (size("journal.sqlite3") + size("journal.sqlite3-wal")) / 1024,
        snapshots: snapshots.map_or(0, |files| files.flatten().count()),
        store,
    })
}

impl Outcome {
    /// All of it as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ended = |how: &str| self.ends.iter().filter(|end| *end == how).count();
        let found = &self.findings;
        json!({
            "deploys": self.ends.len(),
            "done": ended("done"),
            "aborted": ended("aborted"),
            "rolled_back": ended("rolled_back"),
            "forced": ended("forced"),
            "untold": ended("untold"),
            "kills": self.kills,
            "events_sent": found.sent,
            "lost": found.lost + found.lost_said,
            "repeated_marked": found.repeated_marked,
            "duplicated_unmarked": found.duplicated_unmarked,
            "needless_marks": found.needless_marks,
            "identifies_unneeded": found.identifies,
            "state_mismatches": found.state_mismatches,
            "state_lost": found.state_lost,
            "recovery_ms": {"max": found.recovery_ms},
            "before": self.before,
            "after": self.after,
            "ok": self.wrong.is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_as_large_as_it_was_has_not_grown_and_one_that_leaks_has() {
        let before = Contents {
            kib: 8000,
            files: 24,
            readers: 5,
            set_aside: 0,
        };
        assert_eq!(before.grown(&before), [""; 0]);
        let breathes = Contents {
            kib: 12_000,
            readers: 12,
            ..before
        };
        assert_eq!(breathes.grown(&before), [""; 0]);
        let leaks = Contents {
            kib: 13_100,
            files: 25,
            readers: 14,
            set_aside: 1,
        };
        assert_eq!(leaks.grown(&before).len(), 4);
    }
}
