//! The whole for people, as tables.

use super::{
    Results,
    between::Between,
    handover::{Handover, Kept},
    many_hosts::ManyHosts,
    peaks,
    proxied::Through,
    recovery::Recovery,
    serving::Keeps,
    several_hosts::OnHosts,
    sinks::{SinkCost, SinkGap},
    state::{Compression, Holds, StateRate},
    stored::StoreCost,
    targets::{Reach, Target, name},
};
use crate::gap::Spread;

/// The whole as Markdown.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut sections = vec![
        format!(
            "{} cores of {}, Linux {}; everything, also the simulated Discord, on that machine; {:.0} minutes.",
            machine.cores,
            machine.processor,
            machine.kernel,
            results.took_s / 60.0
        ),
        table(
            "target | to reach | furthest from it | row | met",
            results.targets.iter().map(target),
        ),
        table(
            "shards | RTT | handlers | state | events/s, wire | gap p50 / p99, with a probe | of all shards | above the floor | above one from the dial, p50 | of the plain row | silence p50 / p99 | deploy | of the plain row",
            results.handover.iter().map(handover),
        ),
        table(
            "minimal client, RTT | sessions at once | events/s, wire | held RESUME (floor), p50 / p99 | held, from the dial | close, dial, RESUME | new session",
            results.floor.iter().map(|floor| {
                vec![
                    format!("{} ms", floor.rtt_ms),
                    floor.sessions.to_string(),
                    wire(floor.events_s, &floor.wire),
                    pair(&floor.held),
                    pair(&floor.from_dial),
                    pair(&floor.plain),
                    pair(&floor.cold),
                ]
            }),
        ),
        table(
            "deploy of | events/s, wire | takes | processor time: simulated Discord, ours, harness | next shard after 1 s | after 2.2 s | times faster",
            results.deploys.iter().map(deploy),
        ),
        table(
            "processor time of an event | events/s, wire | slave | bare twilight | ratio | parsing alone",
            results.events.iter().map(|cost| {
                vec![
                    format!("{}, {} shards", keeps(cost.keeps), cost.shards),
                    wire(cost.rate, &cost.wire),
                    format!("{:.1} µs", cost.slave_us),
                    format!("{:.1} µs", cost.bare_us),
                    format!("{:.2}", cost.of_bare),
                    format!("{:.1} µs", cost.parse_us),
                ]
            }),
        ),
        table(
            "memory of | events/s, wire | slave | bare twilight | ratio",
            results.memory.iter().map(|memory| {
                vec![
                    memory.of.clone(),
                    wire(memory.events_s, &memory.wire),
                    format!("{:.0} KiB", memory.slave_kib),
                    format!("{:.0} KiB", memory.bare_kib),
                    format!("{:.2}", memory.of_bare),
                ]
            }),
        ),
        table(
            "clients of the proxy, one a shard | events/s, wire | delay p50 / p99 | without it | added p50 / p99 | processor time of an event | bare twilight, cached",
            results.proxy.events.iter().map(through),
        ),
        table(
            "READY through the proxy | bytes | from IDENTIFY to the last guild | the same messages through a socket",
            results.proxy.greetings.iter().map(|row| {
                vec![
                    format!("{} guilds", row.guilds),
                    format!("{:.1} MB", row.bytes as f64 / 1e6),
                    format!("{:.1} ms", row.ms),
                    format!("{:.1} ms", row.socket_ms),
                ]
            }),
        ),
        table(
            "memory behind the proxy, of | its own",
            results
                .proxy
                .memory
                .iter()
                .map(|row| vec![row.of.clone(), format!("{:.0} KiB", row.kib)]),
        ),
        table(
            "a client that does not read | events/s | memory before | first half, at most | second half, at most",
            results.proxy.unread.iter().map(|row| {
                let mib = |kib: f64| format!("{:.1} MiB", kib / 1024.0);
                vec![
                    format!("{} s", row.seconds),
                    format!("{:.0}", row.rate),
                    mib(row.before_kib),
                    mib(row.first_kib),
                    mib(row.second_kib),
                ]
            }),
        ),
        table(
            "events through a broker | a second, at a worker | of | a bare publisher | at events/s | confirm p50 / p99 | of the bare one | to a worker p50 / p99 | processor time of an event | with `--sink none` | of the bare one",
            results.sinks.costs.iter().map(sink),
        ),
        table(
            "deploys of a publisher to | shards, round trip | gap p50 / p99, at a worker | with a file | ratio",
            results.sinks.gaps.iter().map(sink_gap),
        ),
        table(
            "memory in a deploy of | old slave before | old, new at their peaks | without shards | of twice the state | master before, at its peak",
            peaks(&results.handover, Kept::Cache).map(peak),
        ),
        table(
            "memory in a deploy with a store of | store before, at its peak | old slave before | old, new at their peaks, without what they share | without shards | of one state",
            peaks(&results.handover, Kept::Store).map(stored_peak),
        ),
        table(
            "in one process | store | twilight's cache | ratio",
            results.stored.iter().map(stored),
        ),
        table(
            "a slave is killed, of | state | shards serve again after | of that without state",
            results.recovery.iter().map(recovery),
        ),
        table(
            "state through the master | wire | MB | takes | MB/s | two hops, same window | two hops, no window | ratio",
            results.state.iter().map(state),
        ),
        table(
            "state between hosts | round trip | MB | sent | takes | with 256 KiB on their way",
            results.between.iter().map(between),
        ),
        table(
            "core alone, shards | an input of a deploy | a checkpoint | journal rows of a deploy, waits for the disk",
            results.core.iter().map(|core| {
                vec![
                    core.shards.to_string(),
                    format!("{:.2} µs", core.deploy_input_us),
                    format!("{:.2} µs", core.checkpoint_us),
                    format!("{:.1}, {:.1} a shard", core.deploy_rows, core.deploy_syncs),
                ]
            }),
        ),
        table(
            "deploy of | hosts | round trip | gap p50 / p99 | of all shards | deploy | gap, deploy of that on one host | a lost host's shards are back after",
            results.on_hosts.iter().map(on_hosts),
        ),
        table(
            "core alone, shards | hosts | cold start | deploy, a host after the other | eight hosts at once | a lost host's shards are back after | rebalance | an input, the longest | serving",
            results.hosts.iter().map(many_hosts),
        ),
    ];
    let failures = results.failures.iter().map(|line| vec![line.clone()]);
    sections.push(table("failed", failures));
    sections.retain(|section| !section.is_empty());
    sections.join("\n\n")
}

pub(super) fn many_hosts(row: &ManyHosts) -> Vec<String> {
    vec![
        row.shards.to_string(),
        row.hosts.to_string(),
        format!("{:.0} s", row.cold_s),
        format!("{:.0} s", row.rolling_s),
        format!("{:.0} s", row.eight_at_once_s),
        format!("{:.1} s", row.lost_host_s),
        format!("{:.1} s", row.rebalance_s),
        format!("{:.2} µs, {:.1} ms", row.input_us, row.longest_ms),
        format!("{:.2} cores", row.serving_cores),
    ]
}

pub(super) fn on_hosts(row: &OnHosts) -> Vec<String> {
    vec![
        format!("{} shards", row.shards),
        row.hosts.to_string(),
        format!("{} ms", row.rtt_ms),
        pair(&row.probed_gap_ms),
        pair(&row.gap_ms),
        format!("{:.0} ms", row.deploy_ms),
        format!("{}, {}", ratio(row.gap_of_one), ratio(row.deploy_of_one)),
        format!("{} ms", number(row.back_ms)),
    ]
}

/// Empty without rows.
fn table(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let columns = head.split(" | ").count();
    let rows: Vec<_> = rows
        .map(|row| format!("| {} |", row.join(" | ").replace('\n', " ")))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "| {head} |\n{}|\n{}",
        "|---".repeat(columns),
        rows.join("\n")
    )
}

fn target(target: &Target) -> Vec<String> {
    vec![
        target.what.clone(),
        match target.reach {
            Reach::AtLeast(bound) => format!("at least {bound}"),
            Reach::AtMost(bound) => format!("at most {bound}"),
        },
        target
            .worst
            .map_or_else(|| "not measured".to_owned(), |worst| format!("{worst:.2}")),
        target.row.clone(),
        if target.met { "yes" } else { "no" }.to_owned(),
    ]
}

fn handover(row: &Handover) -> Vec<String> {
    let late = match (row.row.late_seal, row.row.kept) {
        (true, _) => ", late seal",
        (false, Kept::Store) => ", a store",
        (false, Kept::Cache) => "",
    };
    vec![
        format!("{}{late}", row.row.shards),
        format!("{} ms", row.row.rtt_ms),
        format!("{} ms", row.row.handler_ms),
        row.state_mb
            .map_or_else(unknown, |mb| format!("{mb:.1} MB")),
        wire(row.events_s, &row.wire),
        pair(&row.probed_gap_ms),
        pair(&row.gap_ms),
        tenths(row.over_floor_p50_ms, row.over_floor_p99_ms),
        format!("{} ms", number(row.over_from_dial_p50_ms)),
        ratio(row.of_plain),
        pair(&row.silence_ms),
        row.deploy_ms
            .map_or_else(unknown, |ms| format!("{ms:.0} ms")),
        ratio(row.deploy_of_plain),
    ]
}

fn deploy(deploy: &super::deploys::Deploy) -> Vec<String> {
    let seconds = |ms: Option<f64>| ms.map_or_else(unknown, |ms| format!("{:.1} s", ms / 1000.0));
    vec![
        format!("{} shards", deploy.shards),
        wire(deploy.events_s, &deploy.wire),
        format!("{:.0} ms", deploy.deploy_ms),
        deploy.cpu.map_or_else(unknown, |cpu| {
            format!(
                "{:.0}, {:.0}, {:.0} ms",
                cpu.simulator_ms, cpu.ours_ms, cpu.harness_ms
            )
        }),
        seconds(deploy.go_ms),
        seconds(deploy.successor_ms),
        deploy
            .times_go
            .map_or_else(unknown, |times| format!("{times:.0}")),
    ]
}

fn through(row: &Through) -> Vec<String> {
    vec![
        format!("{} clients", row.shards),
        wire(row.rate, &row.wire),
        finely(&row.delay_ms),
        finely(&row.bare_ms),
        hundredths(row.added_p50_ms, row.added_p99_ms),
        format!("{:.1} µs", row.slave_us),
        format!("{:.1} µs", row.bare_us),
    ]
}

fn sink(row: &SinkCost) -> Vec<String> {
    vec![
        format!("{}, {} shards", row.broker, row.shards),
        format!("{:.0}", row.events_s),
        format!("{:.0}", row.offered),
        format!("{:.0}", row.bare_s),
        format!("{:.0}", row.rate),
        finely(&row.confirm_ms),
        finely(&row.bare_confirm_ms),
        finely(&row.delay_ms),
        format!("{:.1} µs", row.slave_us),
        format!("{:.1} µs", row.none_us),
        format!("{:.1} µs", row.bare_us),
    ]
}

pub(super) fn sink_gap(row: &SinkGap) -> Vec<String> {
    vec![
        row.broker.clone(),
        format!("{}, {} ms", row.shards, row.rtt_ms),
        pair(&row.gap_ms),
        pair(&row.file_ms),
        ratio(row.of_file),
    ]
}

fn peak(row: &Handover) -> Vec<String> {
    let memory = row.memory.unwrap_or_default();
    vec![
        name(row),
        format!("{} MiB", mib(memory.old_before_kib)),
        format!(
            "{}, {} MiB",
            mib(memory.old_peak_kib),
            mib(memory.new_peak_kib)
        ),
        format!("{} MiB", mib(memory.base_kib)),
        ratio(row.of_twice),
        format!(
            "{}, {} MiB",
            mib(memory.master_before_kib),
            mib(memory.master_peak_kib)
        ),
    ]
}

fn stored_peak(row: &Handover) -> Vec<String> {
    let memory = row.memory.unwrap_or_default();
    vec![
        name(row),
        format!(
            "{}, {} MiB",
            mib(memory.store_before_kib),
            mib(memory.store_peak_kib)
        ),
        format!("{} MiB", mib(memory.old_own_before_kib)),
        format!(
            "{}, {} MiB",
            mib(memory.old_own_peak_kib),
            mib(memory.new_own_peak_kib)
        ),
        format!("{} MiB", mib(memory.base_kib)),
        ratio(row.of_one),
    ]
}

pub(super) fn stored(row: &StoreCost) -> Vec<String> {
    vec![
        row.of.clone(),
        format!("{:.2} µs", row.store_us),
        format!("{:.2} µs", row.cache_us),
        format!("{:.2}", row.store_us / row.cache_us),
    ]
}

pub(super) fn recovery(row: &Recovery) -> Vec<String> {
    let of = row.row;
    let kept = match of.kept {
        Kept::Cache => "twilight's cache, which dies too",
        Kept::Store => "a store",
    };
    vec![
        format!(
            "{} shards, {} guilds in {kept}",
            of.shards,
            of.guilds * of.shards
        ),
        row.state_mb
            .map_or_else(unknown, |mb| format!("{mb:.0} MB")),
        row.ms.map_or_else(unknown, |ms| format!("{ms:.0} ms")),
        ratio(row.of_without),
    ]
}

pub(super) fn state(rate: &StateRate) -> Vec<String> {
    let of = match rate.row.holds {
        Holds::Bytes => "bytes as they are",
        Holds::Cache => "twilight's cache",
    };
    let compressed = match rate.row.compression {
        Compression::None => "uncompressed",
        Compression::Zstd => "zstd",
    };
    let plain = |value: Option<f64>| value.map_or_else(unknown, |value| format!("{value:.0}"));
    vec![
        format!("{of}, {} shards, {compressed}", rate.row.shards),
        wire(rate.events_s, &rate.wire),
        plain(rate.mb),
        format!("{} ms", plain(rate.copy_ms)),
        plain(rate.mb_s),
        plain(rate.two_hop_mb_s),
        plain(rate.piped_mb_s),
        ratio(rate.of_two_hop),
    ]
}

pub(super) fn between(row: &Between) -> Vec<String> {
    let packed = match row.row.compression {
        Compression::None => "not packed",
        Compression::Zstd => "packed",
    };
    vec![
        format!("twilight's cache, {} shards, {packed}", row.row.shards),
        format!("{} ms", row.row.round_trip_ms),
        format!("{:.0}", row.mb),
        format!("{:.0} MB", row.sent_mb),
        format!("{:.1} s", row.copy_s),
        format!("{:.1} s", row.fixed_s),
    ]
}

pub(super) const fn keeps(keeps: Keeps) -> &'static str {
    match keeps {
        Keeps::Nothing => "parsed",
        Keeps::Cache => "parsed and cached",
        Keeps::Store => "in a store; bare: cached",
    }
}

pub(super) fn wire(events_s: f64, wire: &str) -> String {
    format!("{events_s:.0}, {wire}")
}

pub(super) fn pair(spread: &Spread) -> String {
    tenths(spread.p50, spread.p99)
}

pub(super) fn tenths(p50: Option<f64>, p99: Option<f64>) -> String {
    format!("{} / {} ms", number(p50), number(p99))
}

/// Where a tenth of a millisecond is much.
pub(super) fn finely(spread: &Spread) -> String {
    hundredths(spread.p50, spread.p99)
}

fn hundredths(p50: Option<f64>, p99: Option<f64>) -> String {
    format!("{} / {} ms", ratio(p50), ratio(p99))
}

pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(unknown, |value| format!("{value:.1}"))
}

pub(super) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(unknown, |value| format!("{value:.2}"))
}

fn mib(kib: u64) -> String {
    format!("{:.0}", kib as f64 / 1024.0)
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_as_many_columns_in_each_line() {
        let rows = [vec!["1".to_owned(), "a\nb".to_owned()]].into_iter();
        let text = table("x | y", rows);
        assert_eq!(text, "| x | y |\n|---|---|\n| 1 | a b |");
        assert_eq!(table("x", std::iter::empty()), "");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(pair(&Spread::default()), "- / - ms");
    }
}
