//! Everything at once, from thousands of seeds.
//!
//! `BATON_SEED=7 cargo test -p baton-core --lib a_seed -- --nocapture` shows
//! what happens in one of them.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::*;

/// Seeds of one run of the test; `BATON_SEEDS` runs more.
const SEEDS: u64 = 10_000;

/// Steps before everything heals.
const STEPS: usize = 1000;

/// A thread goes on for so many broken seeds, to show whether they are alike.
const MAX_BROKEN: usize = 20;

/// What a run saw, to know that it tried something.
#[derive(Debug, Default)]
struct Sum {
    handed: u64,
    marked: u64,
    identifies: u64,
    lapsed: u64,
    dead_by_lease: u64,
    copied_anew: u64,
    overtaken: u64,
    sealed_late: u64,
    outcomes: BTreeMap<&'static str, u64>,
    broken: BTreeMap<u64, String>,
}

#[test]
fn nothing_is_lost_whatever_dies() {
    let seeds = variable("BATON_SEEDS").unwrap_or(SEEDS);
    let first = variable("BATON_SEED").unwrap_or(0);
    let next = AtomicU64::new(first);
    let run = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || sum.broken.len() > MAX_BROKEN {
                return sum;
            }
            match catch_unwind(AssertUnwindSafe(|| life_of(seed, None).judge)) {
                Ok(judge) => sum.add(&judge),
                Err(panic) => drop(sum.broken.insert(seed, what(&*panic))),
            }
        }
    };
    let mut all = Sum::default();
    thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        for thread in threads {
            all.join(thread.join().unwrap());
        }
    });
    for (seed, why) in &all.broken {
        eprintln!("BATON_SEED={seed}: {why}");
    }
    assert!(
        all.broken.is_empty(),
        "seeds break promises. Replay one: BATON_SEED=... cargo test -p baton-core --lib a_seed \
         -- --nocapture"
    );
    eprintln!("{seeds} seeds: {all:?}");
    for outcome in ["done", "aborted", "rolled back", "forced", "handed on"] {
        let seen = all.outcomes.contains_key(outcome);
        assert!(seen || seeds < SEEDS, "no deploy was {outcome}");
    }
    let seen = all.copied_anew > 0;
    assert!(seen || seeds < SEEDS, "no owner was back before its seal");
    let seen = all.lapsed > all.dead_by_lease && all.dead_by_lease > 0;
    assert!(seen || seeds < SEEDS, "no lease was over");
    let seen = all.overtaken > all.sealed_late && all.sealed_late > 0;
    assert!(seen || seeds < SEEDS, "no shard was sealed late");
}

/// One seed, told in full if it is named.
#[test]
fn a_seed_can_be_replayed_with_everything_that_happens() {
    let named = variable("BATON_SEED");
    let mut trace = Vec::new();
    let seed = named.unwrap_or(1);
    let run = catch_unwind(AssertUnwindSafe(|| life_of(seed, Some(&mut trace)).judge));
    if named.is_some() || run.is_err() {
        eprintln!("{}", trace.join("\n"));
    }
    assert!(run.is_ok(), "seed {seed} breaks a promise");
    let mut again = Vec::new();
    life_of(seed, Some(&mut again));
    assert_eq!(trace, again, "the same seed is the same run");
}

fn life_of(seed: u64, trace: Option<&mut Vec<String>>) -> World {
    let (mut world, trouble) = World::of_seed(seed);
    world.trace = trace.is_some().then(Vec::new);
    let run = catch_unwind(AssertUnwindSafe(|| {
        world.start_master();
        for _ in 0..STEPS {
            world.step(&trouble);
        }
        world.heal();
    }));
    if let Some(trace) = trace {
        *trace = world.trace.take().unwrap();
    }
    if let Err(panic) = run {
        std::panic::resume_unwind(panic);
    }
    world
}

fn what(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or(literal).unwrap_or_default()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

impl Sum {
    fn add(&mut self, judge: &Judge) {
        self.handed += u64::from(judge.handed);
        self.marked += u64::from(judge.marked);
        self.identifies += u64::from(judge.identifies);
        self.lapsed += u64::from(judge.lapsed);
        self.dead_by_lease += u64::from(judge.dead_by_lease);
        self.copied_anew += u64::from(judge.copied_anew);
        self.overtaken += u64::from(judge.overtaken);
        self.sealed_late += u64::from(judge.sealed_late);
        for (&outcome, &count) in &judge.outcomes {
            *self.outcomes.entry(outcome).or_default() += u64::from(count);
        }
    }

    fn join(&mut self, other: Self) {
        self.broken.extend(other.broken);
        self.handed += other.handed;
        self.marked += other.marked;
        self.identifies += other.identifies;
        self.lapsed += other.lapsed;
        self.dead_by_lease += other.dead_by_lease;
        self.copied_anew += other.copied_anew;
        self.overtaken += other.overtaken;
        self.sealed_late += other.sealed_late;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}
