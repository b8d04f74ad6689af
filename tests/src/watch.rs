//! What a deploy takes of its host: processor time and memory of each process,
//! looked at all the time while it goes on.
//!
//! Memory is resident memory. *Base* is what the new slave has just before the
//! first copy: its program, its bot, and no shard. The old slave's memory above the base
//! is the *state* (and the shards' connections). Until the old slave is told to
//! leave, both slaves hold every shard of a deploy: all are in flight, and **twice
//! the state** is what two slaves must have above their two bases.
//! What they have at their peaks beyond that went into the deploy itself:
//! buffers, copies on their way, what the allocator keeps.
//!
//! State that stays where it is is counted once: the files of the store, and what each
//! slave has without them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, task::JoinHandle, time::interval};

use crate::{
    bench::place::bytes,
    chaos::hunt,
    demo::now_us,
    error::{Error, Result},
    gap::Interval,
};

/// The kernel counts processor time in hundredths of a second; looking takes a
/// hundredth of a processor.
const EVERY: Duration = Duration::from_millis(20);

/// Processor time of a deploy's processes between the first seal and the last
/// RESUMED, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// The simulated Discord.
    pub simulator_ms: f64,
    /// Master and both slaves.
    pub ours_ms: f64,
    /// The master alone.
    pub master_ms: f64,
    /// The driver of the run: probes, the master's news.
    pub harness_ms: f64,
}

/// Resident memory of a deploy's processes, in KiB. See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The new slave before it has anything.
    pub base_kib: u64,
    /// The old slave before the deploy.
    pub old_before_kib: u64,
    /// The old slave at its peak.
    pub old_peak_kib: u64,
    /// The new slave at its peak.
    pub new_peak_kib: u64,
    /// The master before the deploy.
    pub master_before_kib: u64,
    /// The master at its peak.
    pub master_peak_kib: u64,
    /// The old slave before the deploy, without what it shares.
    #[serde(default)]
    pub old_own_before_kib: u64,
    /// The old slave at its peak, without what it shares.
    #[serde(default)]
    pub old_own_peak_kib: u64,
    /// The new slave at its peak, without what it shares.
    #[serde(default)]
    pub new_own_peak_kib: u64,
    /// Files of the store before the deploy, and at their peak; zero: there is none.
    #[serde(default)]
    pub store_before_kib: u64,
    /// See `store_before_kib`.
    #[serde(default)]
    pub store_peak_kib: u64,
}

/// Both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
}

impl Memory {
    /// What both slaves have at their peaks, of two bases and twice the state;
    /// `None` where there is nothing to speak of.
    #[must_use]
    pub fn of_twice(&self) -> Option<f64> {
        let state = self.old_before_kib.checked_sub(self.base_kib)?;
        let peak = (self.old_peak_kib + self.new_peak_kib).checked_sub(2 * self.base_kib)?;
        (state > 0).then(|| peak as f64 / (2 * state) as f64)
    }

    /// What both slaves and the store have at their peaks, of two bases and one state.
    #[must_use]
    pub fn of_one(&self) -> Option<f64> {
        let state = self.old_own_before_kib.checked_sub(self.base_kib)? + self.store_before_kib;
        let own = self.old_own_peak_kib + self.new_own_peak_kib;
        let peak = own.checked_sub(2 * self.base_kib)? + self.store_peak_kib;
        (state > 0).then(|| peak as f64 / state as f64)
    }
}

/// The processes of one deploy.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The simulated Discord.
    pub simulator: u32,
    /// The master.
    pub master: u32,
    /// The slave that is there.
    pub old: u32,
    /// Where the fleet is: the new slave is looked for by it and its build.
    pub folder: PathBuf,
    /// The new slave's build.
    pub build: String,
    /// The folder of their store.
    pub store: Option<PathBuf>,
}

/// Looks at the processes until it is asked what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Look>>,
    before: Before,
}

/// What was there before the deploy.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    old_kib: u64,
    old_own_kib: u64,
    store_kib: u64,
    master_kib: u64,
}

/// One look at everybody.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at_us: u64,
    simulator_us: f64,
    master_us: f64,
    old_us: f64,
    new_us: f64,
    harness_us: f64,
    new_kib: u64,
    old_peak_kib: u64,
    new_peak_kib: u64,
    master_peak_kib: u64,
    old_own_kib: u64,
    new_own_kib: u64,
    store_kib: u64,
}

impl Watch {
    /// Begins. Peaks count from here on.
    #[must_use]
    pub fn start(processes: Processes) -> Self {
        for pid in [processes.old, processes.master] {
            hunt::forget_peak(pid);
        }
        let before = Before {
            old_kib: hunt::memory_kib(processes.old),
            old_own_kib: hunt::own_kib(processes.old),
            store_kib: store_kib(processes.store.as_deref()),
            master_kib: hunt::memory_kib(processes.master),
        };
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            let (mut new, mut looks) = (None, Vec::new());
            loop {
                looks.push(look(&processes, &mut new));
                tokio::select! {
                    _ = &mut stopped => return looks,
                    _ = ticks.tick() => {}
                }
            }
        });
        Self { stop, task, before }
    }

    /// What was seen: processor time within `moved`, the new slave's base just
    /// before `copying_us`, when the first copy of state began.
    ///
    /// # Errors
    /// It was not watched to the end.
    pub async fn costs(self, copying_us: u64, moved: Interval) -> Result<Costs> {
        let _ = self.stop.send(());
        let looks = self.task.await;
        let looks = looks.map_err(|error| Error::answer("the watch", error))?;
        Ok(Costs {
            cpu: cpu(&looks, moved),
            memory: memory(&looks, self.before, copying_us),
        })
    }
}

fn look(processes: &Processes, new: &mut Option<u32>) -> Look {
    let Processes {
        simulator,
        master,
        old,
        folder,
        build,
        store,
    } = processes;
    *new = new.or_else(|| hunt::slave(folder, build));
    let new_of = |what: fn(u32) -> u64| new.map_or(0, what);
    Look {
        at_us: now_us(),
        simulator_us: hunt::spent_us(*simulator),
        master_us: hunt::spent_us(*master),
        old_us: hunt::spent_us(*old),
        new_us: new.map_or(0.0, hunt::spent_us),
        harness_us: hunt::spent_us(std::process::id()),
        new_kib: new_of(hunt::memory_kib),
        old_peak_kib: hunt::peak_kib(*old),
        new_peak_kib: new_of(hunt::peak_kib),
        master_peak_kib: hunt::peak_kib(*master),
        old_own_kib: hunt::own_kib(*old),
        new_own_kib: new_of(hunt::own_kib),
        store_kib: store_kib(store.as_deref()),
    }
}

fn store_kib(store: Option<&Path>) -> u64 {
    store.map_or(0, bytes) / 1024
}

/// A process that has ended has spent what it had at the last look.
fn cpu(looks: &[Look], moved: Interval) -> Cpu {
    let spent = |of: fn(&Look) -> f64| {
        let until = |at_us: u64| {
            let seen = looks.iter().filter(|look| look.at_us <= at_us);
            seen.map(of).fold(0.0, f64::max)
        };
        (until(moved.resumed_us) - until(moved.sealed_us)) / 1000.0
    };
    let master_ms = spent(|look| look.master_us);
    Cpu {
        simulator_ms: spent(|look| look.simulator_us),
        ours_ms: master_ms + spent(|look| look.old_us) + spent(|look| look.new_us),
        master_ms,
        harness_ms: spent(|look| look.harness_us),
    }
}

fn memory(looks: &[Look], before: Before, copying_us: u64) -> Memory {
    let peak = |of: fn(&Look) -> u64| looks.iter().map(of).max().unwrap_or(0);
    let mut there = looks.iter().filter(|look| look.new_kib > 0).peekable();
    let earliest = there.peek().copied();
    let base = there.take_while(|look| look.at_us < copying_us).last();
    Memory {
        base_kib: base.or(earliest).map_or(0, |look| look.new_kib),
        old_before_kib: before.old_kib,
        old_peak_kib: peak(|look| look.old_peak_kib),
        new_peak_kib: peak(|look| look.new_peak_kib),
        master_before_kib: before.master_kib,
        master_peak_kib: peak(|look| look.master_peak_kib),
        old_own_before_kib: before.old_own_kib,
        old_own_peak_kib: peak(|look| look.old_own_kib),
        new_own_peak_kib: peak(|look| look.new_own_kib),
        store_before_kib: before.store_kib,
        store_peak_kib: peak(|look| look.store_kib),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks() -> Vec<Look> {
        (0..10_u64)
            .map(|n| Look {
                at_us: n * 10_000,
                simulator_us: n as f64 * 5_000.0,
                master_us: n as f64 * 1_000.0,
                // It ends before the last look.
                old_us: if n < 8 { n as f64 * 2_000.0 } else { 0.0 },
                new_us: n as f64 * 3_000.0,
                new_kib: if n < 2 { 0 } else { 100 * (n - 1) },
                old_peak_kib: if n < 8 { 1000 + n } else { 0 },
                new_peak_kib: 120 * n,
                ..Look::default()
            })
            .collect()
    }

    #[test]
    fn processor_time_is_counted_between_the_first_seal_and_the_last_resumed() {
        let moved = Interval {
            sealed_us: 20_500,
            resumed_us: 90_000,
        };
        let cpu = cpu(&looks(), moved);
        assert_eq!((cpu.simulator_ms, cpu.master_ms), (35.0, 7.0));
        assert_eq!(cpu.ours_ms, 7.0 + 10.0 + 21.0);
    }

    #[test]
    fn the_base_is_what_the_new_slave_has_just_before_the_first_copy() {
        assert_eq!(memory(&looks(), Before::default(), 45_000).base_kib, 300);
        assert_eq!(memory(&looks(), Before::default(), 5_000).base_kib, 100);
        let memory = memory(&looks(), Before::default(), 45_000);
        assert_eq!((memory.old_peak_kib, memory.new_peak_kib), (1007, 1080));
    }

    #[test]
    fn twice_the_state_is_what_both_slaves_have_above_their_bases() {
        let memory = Memory {
            base_kib: 10_000,
            old_before_kib: 110_000,
            old_peak_kib: 120_000,
            new_peak_kib: 110_000,
            ..Memory::default()
        };
        assert_eq!(memory.of_twice(), Some(1.05));
        assert_eq!(Memory::default().of_twice(), None);
    }

    #[test]
    fn a_store_counts_once_beside_what_each_slave_has_for_itself() {
        let memory = Memory {
            base_kib: 10_000,
            old_own_before_kib: 12_000,
            old_own_peak_kib: 13_000,
            new_own_peak_kib: 12_000,
            store_before_kib: 98_000,
            store_peak_kib: 100_000,
            ..Memory::default()
        };
        assert_eq!(memory.of_one(), Some(1.05));
        assert_eq!(Memory::default().of_one(), None);
    }
}
