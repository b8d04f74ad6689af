//! Rows for people.

use super::{
    Results,
    core::CoreCost,
    floor::{Floor, OneByOne},
    handover::Handover,
    serving::{EventCost, Keeps, Memory},
};
use crate::gap::Spread;

/// The whole as Markdown.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut lines = vec![
        "| shards | RTT | handler | guilds x members | gap p50 / p99 | floor | above it | deploy |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in &results.handover {
        let floor = results
            .floor
            .iter()
            .find(|floor| floor.rtt_ms == row.row.rtt_ms);
        lines.push(format!(
            "| {} | {} ms | {} ms | {} x {} | {} / {} ms | {} ms | {} ms | {:.0} ms |",
            row.row.shards,
            row.row.rtt_ms,
            row.row.handler_ms,
            row.row.guilds,
            row.row.members,
            number(row.gap_ms.p50),
            number(row.gap_ms.p99),
            number(floor.and_then(|floor| floor.held.p50)),
            number(row.over_floor_ms),
            row.deploy_ms,
        ));
    }
    lines.push(String::new());
    lines.push("| RTT | held RESUME (floor) | close, dial, RESUME | new session |".to_owned());
    lines.push("|---|---|---|---|".to_owned());
    for floor in &results.floor {
        lines.push(format!(
            "| {} ms | {} | {} | {} |",
            floor.rtt_ms,
            pair(&floor.held),
            pair(&floor.plain),
            pair(&floor.cold),
        ));
    }
    lines.push(String::new());
    lines.push("| one shard after the other, with a wait of | a shard | 64 shards |".to_owned());
    lines.push("|---|---|---|".to_owned());
    for rule in &results.one_by_one {
        lines.push(format!(
            "| {} ms | {:.0} ms | {:.1} s |",
            rule.wait_ms,
            rule.shard_ms,
            rule.deploy_64_ms / 1000.0
        ));
    }
    lines.push(String::new());
    lines.push(
        "| processor time of an event | slave | bare twilight | ratio | parsing alone |".to_owned(),
    );
    lines.push("|---|---|---|---|---|".to_owned());
    for cost in &results.events {
        lines.push(format!(
            "| {}, {:.0} events/s on {} shards | {:.1} µs | {:.1} µs | {:.2} | {:.1} µs |",
            keeps(cost.keeps),
            cost.rate,
            cost.shards,
            cost.slave_us,
            cost.bare_us,
            cost.of_bare,
            cost.parse_us
        ));
    }
    lines.push(String::new());
    lines.push("| memory of | slave | bare twilight | ratio |".to_owned());
    lines.push("|---|---|---|---|".to_owned());
    for memory in &results.memory {
        lines.push(format!(
            "| {} | {:.0} KiB | {:.0} KiB | {:.2} |",
            memory.of, memory.slave_kib, memory.bare_kib, memory.of_bare
        ));
    }
    lines.push(String::new());
    lines.push("| shards | core: one input of a deploy | one checkpoint |".to_owned());
    lines.push("|---|---|---|".to_owned());
    for core in &results.core {
        lines.push(format!(
            "| {} | {:.2} µs | {:.2} µs |",
            core.shards, core.deploy_input_us, core.checkpoint_us
        ));
    }
    lines.join("\n")
}

pub(super) fn handover_row(row: &Handover) -> String {
    format!(
        "{:>5} shards, rtt {:>3} ms, handler {:>3} ms, {:>3} guilds of {:>3}: gap {}, {} ms above the floor; deploy {:.0} ms",
        row.row.shards,
        row.row.rtt_ms,
        row.row.handler_ms,
        row.row.guilds,
        row.row.members,
        pair(&row.gap_ms),
        number(row.over_floor_ms),
        row.deploy_ms
    )
}

pub(super) fn floor_row(row: &Floor) -> String {
    format!(
        "minimal client, rtt {:>3} ms: held RESUME {}, close and resume {}, new session {}",
        row.rtt_ms,
        pair(&row.held),
        pair(&row.plain),
        pair(&row.cold)
    )
}

pub(super) fn one_by_one_row(row: &OneByOne) -> String {
    format!(
        "one shard after the other, {} ms between: {:.0} ms a shard, {:.1} s for 64",
        row.wait_ms,
        row.shard_ms,
        row.deploy_64_ms / 1000.0
    )
}

pub(super) fn event_row(row: &EventCost) -> String {
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

pub(super) fn memory_row(row: &Memory) -> String {
    format!(
        "memory of {}: {:.0} KiB in a slave, {:.0} KiB in bare twilight ({:.2})",
        row.of, row.slave_kib, row.bare_kib, row.of_bare
    )
}

const fn keeps(keeps: Keeps) -> &'static str {
    match keeps {
        Keeps::Nothing => "parsed",
        Keeps::Cache => "parsed and cached",
    }
}

pub(super) fn core_row(row: &CoreCost) -> String {
    format!(
        "core, {:>5} shards: {:.2} us an input of a deploy, {:.2} us a checkpoint",
        row.shards, row.deploy_input_us, row.checkpoint_us
    )
}

fn pair(spread: &Spread) -> String {
    format!("{} / {} ms", number(spread.p50), number(spread.p99))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}
