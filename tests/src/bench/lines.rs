//! Each row as a line, as soon as it is measured.

use super::{
    between::Between,
    core::CoreCost,
    floor::{Floor, OneByOne},
    handover::Handover,
    many_hosts::ManyHosts,
    proxied::{Each, Greeting, Through, Unread},
    recovery::Recovery,
    serving::{EventCost, Memory},
    several_hosts::OnHosts,
    sinks::{SinkCost, SinkGap},
    state::StateRate,
    stored::StoreCost,
    table::{self, finely, keeps, number, pair, ratio, tenths, wire},
    targets::name,
};

pub(super) fn handover(row: &Handover) -> String {
    format!(
        "{}: gap {} (all shards {}), above the floor {}, from the dial {} ms; silence {}; deploy {} ms ({} of the plain row), {} of one state; {}",
        name(row),
        pair(&row.probed_gap_ms),
        pair(&row.gap_ms),
        tenths(row.over_floor_p50_ms, row.over_floor_p99_ms),
        number(row.over_from_dial_p50_ms),
        pair(&row.silence_ms),
        number(row.deploy_ms),
        ratio(row.deploy_of_plain),
        ratio(row.of_one),
        wire(row.events_s, &row.wire),
    )
}

pub(super) fn floor(row: &Floor) -> String {
    format!(
        "minimal client, {} ms, {} at once: held RESUME {}, from the dial {}, close and resume {}, new session {}",
        row.rtt_ms,
        row.sessions,
        pair(&row.held),
        pair(&row.from_dial),
        pair(&row.plain),
        pair(&row.cold)
    )
}

pub(super) fn one_by_one(row: &OneByOne) -> String {
    format!(
        "one shard after the other, {} ms between: {:.0} ms a shard",
        row.wait_ms, row.shard_ms
    )
}

pub(super) fn event(row: &EventCost) -> String {
    format!(
        "events, {}: {:.1} us in a slave, {:.1} us in bare twilight ({:.2}), {:.1} us to parse; {:.0} events/s",
        keeps(row.keeps),
        row.slave_us,
        row.bare_us,
        row.of_bare,
        row.parse_us,
        row.rate
    )
}

pub(super) fn memory(row: &Memory) -> String {
    format!(
        "memory of {}: {:.0} KiB in a slave, {:.0} KiB in bare twilight ({:.2})",
        row.of, row.slave_kib, row.bare_kib, row.of_bare
    )
}

pub(super) fn stored(row: &StoreCost) -> String {
    format!("store: {}", table::stored(row).join("; "))
}

pub(super) fn recovery(row: &Recovery) -> String {
    format!("killed: {}", table::recovery(row).join("; "))
}

pub(super) fn through(row: &Through) -> String {
    format!(
        "proxy, {} clients: delay {}, without it {}; {:.1} us an event, bare twilight {:.1} us; {}",
        row.shards,
        finely(&row.delay_ms),
        finely(&row.bare_ms),
        row.slave_us,
        row.bare_us,
        wire(row.rate, &row.wire)
    )
}

pub(super) fn sink(row: &SinkCost) -> String {
    format!(
        "sink {}: {:.0} events/s of {:.0}, bare {:.0}; at {:.0}: confirm {}, bare {}, to a worker {}; {:.1} us an event, none {:.1} us, bare {:.1} us",
        row.broker,
        row.events_s,
        row.offered,
        row.bare_s,
        row.rate,
        finely(&row.confirm_ms),
        finely(&row.bare_confirm_ms),
        finely(&row.delay_ms),
        row.slave_us,
        row.none_us,
        row.bare_us
    )
}

pub(super) fn sink_gap(row: &SinkGap) -> String {
    format!("sink {}", table::sink_gap(row).join("; "))
}

pub(super) fn greeting(row: &Greeting) -> String {
    format!(
        "proxy, READY with {} guilds: {:.1} ms, through a socket {:.1} ms; {} bytes",
        row.guilds, row.ms, row.socket_ms, row.bytes
    )
}

pub(super) fn each(row: &Each) -> String {
    format!("proxy, memory of {}: {:.0} KiB", row.of, row.kib)
}

pub(super) fn unread(row: &Unread) -> String {
    format!(
        "proxy, a client that does not read for {} s at {:.0} events/s: {:.0} KiB before, at most {:.0} KiB, then {:.0} KiB",
        row.seconds, row.rate, row.before_kib, row.first_kib, row.second_kib
    )
}

pub(super) fn state(row: &StateRate) -> String {
    table::state(row).join("; ")
}

pub(super) fn between(row: &Between) -> String {
    table::between(row).join("; ")
}

pub(super) fn core(row: &CoreCost) -> String {
    format!(
        "core, {} shards: {:.2} us an input of a deploy, {:.2} us a checkpoint",
        row.shards, row.deploy_input_us, row.checkpoint_us
    )
}

pub(super) fn many_hosts(row: &ManyHosts) -> String {
    format!(
        "core, {} hosts, virtual time: {}",
        row.hosts,
        table::many_hosts(row).join("; ")
    )
}

pub(super) fn on_hosts(row: &OnHosts) -> String {
    format!(
        "deploy on {} hosts: {}",
        row.hosts,
        table::on_hosts(row).join("; ")
    )
}
