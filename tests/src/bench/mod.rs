//! What a deploy costs, beside its limits: every row of one run was measured on
//! the same machine, one after the other.
//!
//! Run it with `scripts/bench`. `--quick` takes fewer rows and runs; the last line
//! of `--json` is one object with stable keys. A part that could not be measured,
//! or a deploy that broke a promise, is among the failures; the others go on.

pub mod between;
#[cfg(feature = "brokers")]
pub mod brokers;
pub mod client;
pub mod core;
pub mod deploys;
pub mod floor;
pub mod handover;
mod lines;
mod machine;
pub mod many_hosts;
pub mod page;
pub mod place;
pub mod proxied;
pub mod recovery;
pub mod serving;
pub mod several_hosts;
pub mod sinks;
pub mod state;
pub mod stored;
pub mod table;
pub mod targets;
pub mod two_hop;
mod virtual_fleet;

use std::time::{Duration, Instant};

use baton_brokers::Kind;
use serde::{Deserialize, Serialize};

pub use self::machine::Machine;
use self::{
    between::Between,
    core::CoreCost,
    deploys::Deploy,
    floor::{Floor, OneByOne},
    handover::{Handover, Kept},
    many_hosts::ManyHosts,
    proxied::Proxied,
    recovery::Recovery,
    serving::{EventCost, Keeps, Memory},
    several_hosts::OnHosts,
    sinks::Sinks,
    state::StateRate,
    stored::StoreCost,
    targets::Target,
};
use crate::error::Result;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Fewer rows, one run each.
    pub quick: bool,
    /// Only these; none: all.
    pub parts: Vec<Part>,
}

/// One of the tables. What is compared with a part that is not measured has
/// nothing beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The core alone.
    Core,
    /// Minimal clients.
    Floor,
    /// Processor time of an event.
    Events,
    /// Memory of what a bot has many of.
    Memory,
    /// State through the master.
    State,
    /// State between hosts.
    Between,
    /// Clients behind the proxy.
    Proxy,
    /// Events through real brokers, and deploys of what publishes them.
    Sinks,
    /// Deploys.
    Handover,
    /// Deploys of a fleet on several hosts (network namespaces: needs root), beside one host.
    Hosts,
    /// What a store costs and saves: deploys, deaths, events, memory, beside twilight's
    /// cache.
    Store,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The machine.
    pub machine: Machine,
    /// What is to be reached, and whether it was.
    pub targets: Vec<Target>,
    /// Minimal clients, a probe every millisecond on each session, plain websocket.
    pub floor: Vec<Floor>,
    /// The rules of the Go master (the next shard after 1 s) and of its successor
    /// (2.2 s).
    pub one_by_one: Vec<OneByOne>,
    /// Processor time of an event.
    pub events: Vec<EventCost>,
    /// Memory of what a bot has many of.
    pub memory: Vec<Memory>,
    /// State through the master.
    pub state: Vec<StateRate>,
    /// State between hosts.
    #[serde(default)]
    pub between: Vec<Between>,
    /// Changes of a store and looks at it.
    #[serde(default)]
    pub stored: Vec<StoreCost>,
    /// Clients behind the proxy.
    #[serde(default)]
    pub proxy: Proxied,
    /// Events through brokers.
    #[serde(default)]
    pub sinks: Sinks,
    /// Deploys of a whole fleet.
    pub handover: Vec<Handover>,
    /// Deploys of a fleet on one host and on several.
    #[serde(default)]
    pub on_hosts: Vec<OnHosts>,
    /// Deaths of a slave.
    #[serde(default)]
    pub recovery: Vec<Recovery>,
    /// Those of them that are timed.
    pub deploys: Vec<Deploy>,
    /// The core alone.
    pub core: Vec<CoreCost>,
    /// The core alone, with many hosts, in virtual time.
    #[serde(default)]
    pub hosts: Vec<ManyHosts>,
    /// What failed, with its row; empty: nothing.
    pub failures: Vec<String>,
    /// How long all of it took.
    pub took_s: f64,
}

/// Measures; `say` gets one line for each row.
pub async fn run(options: &BenchOptions, say: impl Fn(&str)) -> Results {
    let began = Instant::now();
    let mut run = Run {
        results: Results::none(),
        quick: options.quick,
        say,
    };
    let all = options.parts.is_empty();
    let wants = |part| all || options.parts.contains(&part);
    if wants(Part::Core) {
        run.core();
    }
    if wants(Part::Floor) {
        run.floor().await;
    }
    if wants(Part::Events) {
        run.events().await;
    }
    if wants(Part::Memory) {
        run.memory().await;
    }
    if wants(Part::State) {
        run.state().await;
    }
    if wants(Part::Between) {
        run.between().await;
    }
    if wants(Part::Proxy) {
        run.proxy().await;
    }
    if wants(Part::Sinks) {
        run.sinks().await;
    }
    if wants(Part::Handover) {
        run.handover(handover::rows(options.quick)).await;
    }
    if wants(Part::Hosts) {
        run.on_hosts().await;
    }
    if wants(Part::Store) {
        run.store(all || options.parts.contains(&Part::Handover))
            .await;
    }
    let mut results = run.results;
    results.took_s = began.elapsed().as_secs_f64();
    results.deploys = deploys::of(&results.handover, &results.one_by_one);
    results.targets = targets::of(&results);
    results
}

struct Run<S> {
    results: Results,
    quick: bool,
    say: S,
}

impl<S: Fn(&str)> Run<S> {
    const fn runs(&self) -> u32 {
        if self.quick { 1 } else { 3 }
    }

    fn core(&mut self) {
        for shards in [64, 1024, 16_384] {
            let cost = core::cost(shards);
            (self.say)(&lines::core(&cost));
            self.results.core.push(cost);
        }
        for (hosts, shards) in [(4, 2000), (40, 20_000)] {
            let played = many_hosts::play(hosts, shards);
            (self.say)(&lines::many_hosts(&played));
            self.results.hosts.push(played);
        }
    }

    async fn on_hosts(&mut self) {
        for rtt_ms in [0, 50] {
            let row = format!("several hosts, {rtt_ms} ms");
            let measured = several_hosts::measure(64, rtt_ms).await;
            for measured in self.measured(&row, measured).into_iter().flatten() {
                (self.say)(&lines::on_hosts(&measured));
                self.failed(&row, &measured.faults);
                self.results.on_hosts.push(measured);
            }
        }
    }

    async fn floor(&mut self) {
        let (rtts, runs): (&[u64], u32) = if self.quick {
            (&[0, 50], 3)
        } else {
            (&[0, 50, 120], 10)
        };
        for rtt in rtts {
            for (sessions, runs) in [(1, runs), (handover::SAMPLED, runs.div_ceil(2))] {
                let measured = floor::measure(Duration::from_millis(*rtt), sessions, runs).await;
                let row = format!("floor, {rtt} ms, {sessions} sessions");
                if let Some(measured) = self.measured(&row, measured) {
                    (self.say)(&lines::floor(&measured));
                    self.results.floor.push(measured);
                }
            }
        }
        for wait in [1000, 2200] {
            let pause = Duration::from_millis(wait);
            let measured = floor::one_by_one(Duration::ZERO, pause, 3).await;
            if let Some(measured) = self.measured(&format!("one by one, {wait} ms"), measured) {
                (self.say)(&lines::one_by_one(&measured));
                self.results.one_by_one.push(measured);
            }
        }
    }

    async fn events(&mut self) {
        // What the machine does meanwhile shows here more than elsewhere.
        let runs = if self.quick { 1 } else { 5 };
        for keeps in [Keeps::Nothing, Keeps::Cache] {
            let measured = serving::events(keeps, 4, 4000.0, runs).await;
            if let Some(measured) = self.measured(&format!("events, {keeps:?}"), measured) {
                (self.say)(&lines::event(&measured));
                self.results.events.push(measured);
            }
        }
    }

    async fn memory(&mut self) {
        let measured = serving::memory().await;
        for row in self.measured("memory", measured).unwrap_or_default() {
            (self.say)(&lines::memory(&row));
            self.results.memory.push(row);
        }
    }

    async fn state(&mut self) {
        for row in state::rows(self.quick) {
            let measured = state::measure(row, self.runs()).await;
            (self.say)(&lines::state(&measured));
            self.failed(&format!("state, {row:?}"), &measured.faults);
            self.results.state.push(measured);
        }
    }

    async fn between(&mut self) {
        for row in between::rows(self.quick) {
            let measured = between::measure(row).await;
            if let Some(measured) = self.measured(&format!("between hosts, {row:?}"), measured) {
                (self.say)(&lines::between(&measured));
                self.results.between.push(measured);
            }
        }
    }

    async fn proxy(&mut self) {
        let rows: &[(u32, f64)] = match self.quick {
            true => &[(4, 1000.0)],
            false => &[(4, 1000.0), (4, 4000.0), (64, 1000.0), (64, 4000.0)],
        };
        for (shards, rate) in rows {
            let measured = proxied::events(*shards, *rate).await;
            let row = format!("proxy, {shards} clients, {rate} events/s");
            if let Some(measured) = self.measured(&row, measured) {
                (self.say)(&lines::through(&measured));
                self.results.proxy.events.push(measured);
            }
        }
        let measured = proxied::greeting(1000).await;
        if let Some(measured) = self.measured("proxy, READY", measured) {
            (self.say)(&lines::greeting(&measured));
            self.results.proxy.greetings.push(measured);
        }
        let measured = proxied::memory().await;
        for row in self.measured("proxy, memory", measured).unwrap_or_default() {
            (self.say)(&lines::each(&row));
            self.results.proxy.memory.push(row);
        }
        let seconds = if self.quick { 20 } else { 150 };
        let measured = proxied::unread(Duration::from_secs(seconds)).await;
        if let Some(measured) = self.measured("proxy, a client that does not read", measured) {
            (self.say)(&lines::unread(&measured));
            self.results.proxy.unread.push(measured);
        }
    }

    async fn sinks(&mut self) {
        let none = sinks::none().await;
        let Some(none_us) = self.measured("sinks, none", none) else {
            return;
        };
        for kind in Kind::ALL {
            let measured = sinks::costs(kind, none_us).await;
            if let Some(measured) = self.measured(&format!("sinks, {kind}"), measured) {
                (self.say)(&lines::sink(&measured));
                self.results.sinks.costs.push(measured);
            }
        }
        for kind in Kind::ALL {
            let row = format!("sinks, deploys with {kind}");
            let measured = sinks::gap(kind, self.runs()).await;
            if let Some(measured) = self.measured(&row, measured) {
                (self.say)(&lines::sink_gap(&measured));
                self.failed(&row, &measured.faults);
                self.results.sinks.gaps.push(measured);
            }
        }
    }

    /// `deployed`: the deploys are measured already.
    async fn store(&mut self, deployed: bool) {
        let (guilds, events) = match self.quick {
            true => (50, 4000),
            false => (400, 40_000),
        };
        let measured = stored::costs(guilds, events).await;
        for row in self
            .measured("a store's costs", measured)
            .unwrap_or_default()
        {
            (self.say)(&lines::stored(&row));
            self.results.stored.push(row);
        }
        let runs = if self.quick { 1 } else { 5 };
        let measured = serving::events(Keeps::Store, 4, 4000.0, runs).await;
        if let Some(measured) = self.measured("events, a store", measured) {
            (self.say)(&lines::event(&measured));
            self.results.events.push(measured);
        }
        let measured = serving::stored_memory().await;
        if let Some(measured) = self.measured("memory, a store", measured) {
            (self.say)(&lines::memory(&measured));
            self.results.memory.push(measured);
        }
        if !deployed {
            self.handover(handover::store_rows(self.quick)).await;
        }
        for row in recovery::rows(self.quick) {
            let measured = recovery::measure(row, &self.results.recovery).await;
            (self.say)(&lines::recovery(&measured));
            self.failed(&format!("recovery, {row:?}"), &measured.faults);
            self.results.recovery.push(measured);
        }
    }

    async fn handover(&mut self, rows: Vec<handover::Row>) {
        for row in rows {
            let before = &self.results.handover;
            let measured = handover::measure(&row, &self.results.floor, before).await;
            (self.say)(&lines::handover(&measured));
            self.failed(&targets::name(&measured), &measured.faults);
            self.results.handover.push(measured);
        }
    }

    fn measured<T>(&mut self, row: &str, measured: Result<T>) -> Option<T> {
        match measured {
            Ok(measured) => Some(measured),
            Err(error) => {
                self.failed(row, &[error.chain()]);
                None
            }
        }
    }

    fn failed(&mut self, row: &str, why: &[String]) {
        if !why.is_empty() {
            let line = format!("{row}: {}", why.join("; "));
            (self.say)(&format!("FAILED {line}"));
            self.results.failures.push(line);
        }
    }
}

impl Results {
    /// Of this machine, and nothing else yet.
    fn none() -> Self {
        Self {
            machine: Machine::here(),
            targets: Vec::new(),
            floor: Vec::new(),
            one_by_one: Vec::new(),
            events: Vec::new(),
            memory: Vec::new(),
            state: Vec::new(),
            between: Vec::new(),
            stored: Vec::new(),
            proxy: Proxied::default(),
            sinks: Sinks::default(),
            handover: Vec::new(),
            on_hosts: Vec::new(),
            recovery: Vec::new(),
            deploys: Vec::new(),
            core: Vec::new(),
            hosts: Vec::new(),
            failures: Vec::new(),
            took_s: 0.0,
        }
    }
}

/// Deploys of a state that is large beside what a slave has anyway, and that is kept so.
fn peaks(handovers: &[Handover], kept: Kept) -> impl Iterator<Item = &Handover> {
    let large = |row: &&Handover| row.state_mb.is_some_and(|mb| mb > 50.0);
    let handovers = handovers.iter().filter(large);
    handovers.filter(move |row| row.row.kept == kept)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
