//! Rows for people.

use super::{Results, core::CoreCost, floor::Floor, handover::Handover};
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
