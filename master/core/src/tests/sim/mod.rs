//! A small world around the core, run from a seed: slaves that keep the
//! protocol, links that delay, lose and break, a disk that forgets what was not
//! synced, a Discord that counts, and judges that know what was promised.
//!
//! ```text
//!             up: said, not heard             handed out, finished
//!   Slave ───────── Link ─────────▶ Master ┐        ▲
//!     ▲   ◀──────────────────────── (core) │        │
//!     │       down: ordered, not obeyed    ▼        │
//!     └────────────── Discord            Disk     Judge
//! ```
//!
//! Nothing happens by itself: a scheduler ([`trouble`]) rolls the dice for what
//! comes next, out of everything that could. Two messages on their way are as
//! far apart as the dice want them to be. So one seed is one run, on every
//! machine, and a broken promise is found again by its number.

mod agents;
mod crashes;
mod discord;
mod disk;
mod handover;
mod judge;
mod leases;
mod life;
mod links;
mod master;
mod permits;
mod seeds;
mod slave;
mod trouble;
mod window;

use std::{collections::BTreeMap, time::Duration};

use self::{
    discord::Discord,
    disk::Disk,
    judge::Judge,
    links::{Link, LinkId},
    master::Master,
    slave::Slave,
};
use super::*;
use crate::event::AgentIs;

/// Time that passes for all processes, also while the master is stopped.
type Real = Duration;

const MILLI: Duration = Duration::from_millis(1);

/// Numbers from a seed (splitmix64): the same on every machine.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

/// What the links of a world are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// As TCP: in order, once, or not at all from some point on.
    Tcp,
    /// Messages come twice, out of order or not at all. Only what no order of
    /// messages may break is judged then: one owner, and that everything is
    /// served once it heals.
    Hostile,
}

/// Everything there is.
#[derive(Clone, Debug)]
struct World {
    dice: Dice,
    settings: Settings,
    wire: Wire,
    now: Real,
    discord: Discord,
    disk: Disk,
    /// `None`: no master runs.
    master: Option<Master>,
    slaves: BTreeMap<SlaveId, Slave>,
    links: BTreeMap<LinkId, Link>,
    /// Dead, and the running master was not told.
    dead: Vec<SlaveId>,
    /// Whether the agent of the host is there, where slaves are at one.
    agent: AgentIs,
    judge: Judge,
    /// Messages that may wait for one slave.
    outbox: usize,
    /// Whether bots keep state, which then travels.
    stateful: bool,
    /// The master ends before it carries out so many more actions.
    crash_in: Option<u32>,
    /// `Some`: what happened, for a person.
    trace: Option<Vec<String>>,
    next_slave: u128,
    next_link: u64,
}

impl World {
    fn new(seed: u64, settings: Settings) -> Self {
        Self {
            dice: Dice(seed),
            wire: Wire::Tcp,
            now: SECOND,
            discord: Discord::new(settings.resume_window),
            disk: Disk::default(),
            master: None,
            slaves: BTreeMap::new(),
            links: BTreeMap::new(),
            dead: Vec::new(),
            agent: AgentIs::Here,
            judge: Judge::default(),
            outbox: usize::MAX,
            stateful: true,
            crash_in: None,
            trace: None,
            next_slave: 1,
            next_link: 1,
            settings,
        }
    }

    /// Notes what happened, if anybody wants to read it.
    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let now = self.now;
            trace.push(format!("{now:>9.3?} {}", what()));
        }
    }

    /// Every limit in short: what takes minutes takes seconds here.
    fn brisk(shards: u32) -> Settings {
        Settings {
            // No pings are played: a silent slave may live.
            answers: Duration::MAX,
            contact: 2 * SECOND,
            adopt_grace: SECOND,
            ready: 6 * SECOND,
            seal: 500 * MILLI,
            drain: SECOND,
            no_progress: 500 * MILLI,
            copy: SECOND,
            soak: SECOND,
            retire: 2 * SECOND,
            canary: 1,
            canary_time: 200 * MILLI,
            width: 2,
            resume_window: 30 * SECOND,
            backoff: 200 * MILLI,
            backoff_max: 2 * SECOND,
            identify_window: 250 * MILLI,
            seen: 200 * MILLI,
            checkpoint_to_disk: 100 * MILLI,
            shard_in_hand: SECOND,
            ..settings(shards)
        }
    }
}
