//! The fleet at the moment of the question.

use std::{collections::BTreeMap, sync::atomic::AtomicU64, time::Duration};

use baton_core::view::{SlaveView, View};
use baton_protocol::SlaveId;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::{
    PREFIX, Reported,
    clients::clients,
    each::{self, Float, Labels, labels},
    hosts::hosts,
    leads::leads,
    leases::leases,
    process,
    sinks::sinks,
    stores::stores,
};
use crate::{counters::Counts, post::Standing};

/// What a question is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The fleet.
    pub view: &'a View,
    /// What the listener saw.
    pub counts: Counts,
    /// Version of the program.
    pub version: &'static str,
    /// How long this master runs.
    pub uptime: Duration,
    /// When it started, since 1970.
    pub started: Duration,
    /// When its certificate ends, in seconds since 1970, where it has one.
    pub certificate_until: Option<i64>,
    /// Who leads, where masters share a store.
    pub standing: Option<&'a Standing>,
}

/// Every state of a shard, so that one which is gone is zero and not absent.
pub(super) const STATES: [&str; 12] = [
    "idle",
    "starting",
    "no session",
    "serving",
    "reconnecting",
    "copying",
    "dialling",
    "sealing",
    "resuming",
    "taking back",
    "failed",
    "unreachable",
];

impl Scrape<'_> {
    /// All of it, made for each question: what is gone is not shown.
    pub(super) fn registry(&self, reported: &BTreeMap<SlaveId, Reported>) -> Registry {
        let mut all = Registry::default();
        self.of_this_process(&mut all);
        let ours = all.sub_registry_with_prefix(PREFIX);
        let build = Info::new([("version", self.version)]);
        ours.register("build", "The master's version", build);
        self.fleet(ours);
        self.shards(ours);
        self.slots(ours);
        self.slaves(ours);
        self.reports(ours, reported);
        stores(&self.view.slaves, ours);
        clients(&self.view.slaves, ours);
        sinks(&self.view.slaves, ours);
        hosts(&self.view.hosts, ours);
        leases(&self.view.slaves, ours);
        leads(self.standing, ours);
        self.deploy(ours);
        self.listener(ours);
        let dropped = Counter::<u64>::default();
        dropped.inc_by(baton_log::stderr().dropped());
        ours.register(
            "log_lines_dropped",
            "Lines of the master's log that were not read in time, or that could not be written",
            dropped,
        );
        all
    }

    fn of_this_process(&self, all: &mut Registry) {
        let process = all.sub_registry_with_prefix("process");
        let memory = process::memory(std::process::id());
        one(
            process,
            "resident_memory_bytes",
            "Resident memory of the master",
            memory,
        );
        let (open, most) = process::files();
        one(process, "open_fds", "Open files of the master", open);
        one(process, "max_fds", "Files that it may have open", most);
        let uptime: Float = Gauge::default();
        uptime.set(self.uptime.as_secs_f64());
        process.register_with_unit("uptime", "How long it runs", Unit::Seconds, uptime);
        let start: Float = Gauge::default();
        start.set(self.started.as_secs_f64());
        process.register_with_unit(
            "start_time",
            "When it started, since 1970",
            Unit::Seconds,
            start,
        );
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(process::processor_time().as_secs_f64());
        process.register_with_unit("cpu", "Processor time that it has used", Unit::Seconds, cpu);
    }

    fn fleet(&self, ours: &mut Registry) {
        let adopting = u64::from(self.view.adopting);
        one(
            ours,
            "adopting",
            "1 while reports are collected after a start",
            Some(adopting),
        );
        if !self.view.overlaps {
            self.identifies(ours);
        }
    }

    fn shards(&self, ours: &mut Registry) {
        let mut states: BTreeMap<&str, i64> = STATES.into_iter().map(|state| (state, 0)).collect();
        for shard in &self.view.shards {
            *states.entry(shard.state).or_default() += 1;
        }
        let family = Family::<Labels, Gauge>::default();
        for (state, count) in states {
            let state = state.replace(' ', "_");
            family.get_or_create(&vec![("state", state)]).set(count);
        }
        ours.register("shards", "Shards by state", family);

        let rates = self.view.shards.iter().map(|shard| shard.events_per_1000_s);
        let rate: Float = Gauge::default();
        rate.set(rates.map(|rate| rate as f64 / 1000.0).sum());
        ours.register(
            "events_per_second",
            "Events of all shards, by their checkpoints",
            rate,
        );
        if !self.view.overlaps {
            self.replay(ours);
        }
    }

    fn slots(&self, ours: &mut Registry) {
        let slots = &self.view.slots;
        let of = |value: fn(&baton_core::view::SlotView) -> u32| {
            let family = Family::<Labels, Gauge>::default();
            for slot in slots {
                let labels = vec![("slot", slot.name.clone())];
                family.get_or_create(&labels).set(i64::from(value(slot)));
            }
            family
        };
        let shards = Family::<Labels, Gauge>::default();
        for slot in slots {
            let labels = vec![
                ("slot", slot.name.clone()),
                (
                    "host",
                    slot.host.clone().unwrap_or_else(|| "local".to_owned()),
                ),
            ];
            let of_slot = |shard: &&baton_core::view::ShardView| shard.slot == slot.name;
            let count = self.view.shards.iter().filter(of_slot).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            shards.get_or_create(&labels).set(count);
        }
        ours.register("slot_shards", "Shards that are in the slot", shards);
        for (name, help, value) in [
            (
                "moves_left",
                "Shards that are to be in another slot",
                self.view.moves.left,
            ),
            (
                "moves_in_hand",
                "Shards that are on their way to another slot",
                self.view.moves.in_hand,
            ),
            (
                "cordoned",
                "Hosts onto which nothing is placed",
                u32::try_from(self.view.cordoned.len()).unwrap_or(u32::MAX),
            ),
            (
                "held",
                "1 where nothing begins by itself, as an operator wants it",
                u32::from(self.view.held),
            ),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::from(value));
            ours.register(name, help, gauge);
        }
        ours.register(
            "slot_filled",
            "1 where a slave fills the slot",
            of(|slot| u32::from(slot.slave.is_some())),
        );
        ours.register(
            "slot_failed_launches",
            "Starts that failed in a row",
            of(|slot| slot.failed_launches),
        );
        ours.register(
            "slot_standbys_built",
            "Standbys whose bot is built",
            of(|slot| slot.standbys_built),
        );
        ours.register(
            "slot_standbys_wanted",
            "Standbys that the master keeps",
            of(|slot| slot.standbys_wanted),
        );
    }

    fn slaves(&self, ours: &mut Registry) {
        let slaves = &self.view.slaves;
        let roles = Family::<Labels, Gauge>::default();
        for role in ["candidate", "standby", "owner", "leaving"] {
            let count = slaves.iter().filter(|slave| slave.role == role).count();
            let labels = vec![("role", role.to_owned())];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            roles.get_or_create(&labels).set(count);
        }
        ours.register("slaves", "Slaves that are not known to be dead", roles);
        ours.register(
            "slave_connected",
            "1 while the slave is connected",
            each::gauges(slaves, |slave| Some(slave.connected.into())),
        );
        ours.register_with_unit(
            "slave_memory_limit",
            "Memory that it may have: above it for some time, it is replaced",
            Unit::Bytes,
            each::gauges(slaves, |slave| {
                let limit = slave.memory.map(|memory| memory.limit);
                limit.filter(|limit| *limit > 0)
            }),
        );
        type Millis = fn(&SlaveView) -> Option<u64>;
        let lag: (&str, &str, Millis) = (
            "slave_handler_lag",
            "For how long its oldest unfinished event has been with it",
            |slave| slave.lag_ms,
        );
        let of_gateway: [(&str, &str, Millis); 2] = [
            (
                "slave_silence",
                "For how long nothing came from Discord on its quietest open connection",
                |slave| slave.silent_ms,
            ),
            (
                "slave_heartbeat",
                "The slowest answer of Discord to the last heartbeats of its shards",
                |slave| slave.heartbeat_ms,
            ),
        ];
        let of_gateway = of_gateway.into_iter().filter(|_| !self.view.overlaps);
        for (name, help, ms) in std::iter::once(lag).chain(of_gateway) {
            ours.register_with_unit(name, help, Unit::Seconds, each::seconds(slaves, ms));
        }
        ours.register(
            "slave_shards",
            "Shards that it owns",
            each::gauges(slaves, |slave| Some(slave.shards.into())),
        );
    }

    /// What slaves say of themselves, and what their host says.
    fn reports(&self, ours: &mut Registry, reported: &BTreeMap<SlaveId, Reported>) {
        let events = Family::<Labels, Counter>::default();
        let failed = Family::<Labels, Counter>::default();
        let full = Family::<Labels, Counter<f64, AtomicU64>>::default();
        let age = Family::<Labels, Float>::default();
        let memory = Family::<Labels, Gauge>::default();
        for (id, said) in reported {
            let id = id.to_string();
            let Some(slave) = self.view.slaves.iter().find(|slave| slave.slave == id) else {
                continue;
            };
            let labels = labels(slave);
            let pong = &said.pong;
            events.get_or_create(&labels).inc_by(pong.finished);
            failed.get_or_create(&labels).inc_by(pong.failed);
            let seconds = pong.full_ms as f64 / 1000.0;
            full.get_or_create(&labels).inc_by(seconds);
            if let Some(checkpoint) = said.checkpoint {
                let seconds = checkpoint.elapsed().as_secs_f64();
                age.get_or_create(&labels).set(seconds);
            }
            // The kernel of this host knows it at this moment; of another host the slave says it.
            let here = said.watched.then(|| process::memory(slave.pid)).flatten();
            let of_slave = || slave.memory.map(|memory| memory.resident);
            if let Some(bytes) = here.or_else(of_slave) {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                memory.get_or_create(&labels).set(bytes);
            }
        }
        ours.register(
            "slave_events",
            "Events that its handlers finished since its start",
            events,
        );
        ours.register(
            "slave_events_failed",
            "Events of these whose handler failed",
            failed,
        );
        if !self.view.overlaps {
            ours.register_with_unit(
                "slave_full",
                "Time in which its shards took nothing from Discord, of all together; status says why",
                Unit::Seconds,
                full,
            );
        }
        ours.register_with_unit(
            "slave_checkpoint_age",
            "Since its last checkpoint; without events there is none",
            Unit::Seconds,
            age,
        );
        ours.register_with_unit(
            "slave_resident_memory",
            "Resident memory of its process, as the kernel of this host or the slave says it",
            Unit::Bytes,
            memory,
        );
    }

    fn deploy(&self, ours: &mut Registry) {
        let deploy = self.view.deploy.as_ref();
        let counts = deploy.map_or([0; 4], |deploy| {
            [deploy.total, deploy.moved, deploy.in_hand, deploy.at_once]
        });
        let family = Family::<Labels, Gauge>::default();
        for (what, count) in ["total", "moved", "in_hand", "at_once"].iter().zip(counts) {
            let labels = vec![("what", (*what).to_owned())];
            family.get_or_create(&labels).set(i64::from(count));
        }
        ours.register(
            "deploy_shards",
            "Shards of the running deploy: all, moved, in hand, and how many may be",
            family,
        );
        let running = u64::from(deploy.is_some());
        one(
            ours,
            "deploy_running",
            "1 while a deploy runs",
            Some(running),
        );
    }

    fn listener(&self, ours: &mut Registry) {
        let Counts {
            connections,
            joined,
            refused,
            garbage,
            untrusted,
            too_many,
            stuck,
        } = self.counts;
        for (name, help, count) in [
            ("connections", "Connections of slaves", connections),
            (
                "slaves_joined",
                "Slaves that joined, for the first time or again",
                joined,
            ),
            (
                "connections_refused",
                "Connections that were refused",
                refused,
            ),
            (
                "connections_garbled",
                "Connections that were dropped for what came over them",
                garbage,
            ),
            (
                "connections_untrusted",
                "Connections of which TLS or a certificate was not as it must be",
                untrusted,
            ),
            (
                "connections_too_many",
                "Connections for which there was no room",
                too_many,
            ),
            (
                "connections_stuck",
                "Connections of slaves that took nothing for too long",
                stuck,
            ),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(count);
            ours.register(name, help, counter);
        }
        let until = self.certificate_until;
        one(
            ours,
            "certificate_expires_timestamp_seconds",
            "When the certificate ends with which other hosts are let in, since 1970",
            until.map(|until| u64::try_from(until).unwrap_or(0)),
        );
    }
}

pub(super) fn one(registry: &mut Registry, name: &str, help: &str, value: Option<u64>) {
    if let Some(value) = value {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
}

pub(super) fn seconds(ms: u64) -> Float {
    let gauge: Float = Gauge::default();
    gauge.set(ms as f64 / 1000.0);
    gauge
}
