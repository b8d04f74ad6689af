//! What is to be reached, and whether it was.

use serde::{Deserialize, Serialize};

use super::{
    Results,
    handover::{Handover, Kept},
    serving::Keeps,
    state::Compression,
};

/// One target, and the row that is furthest from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What is looked at.
    pub what: String,
    /// The figure of the row that is furthest from the target; `None`: it was not
    /// measured.
    pub worst: Option<f64>,
    /// Which row.
    pub row: String,
    /// What is to be reached.
    pub reach: Reach,
    /// Whether it was.
    pub met: bool,
}

/// A bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// So much, or more.
    AtLeast(f64),
    /// So much, or less.
    AtMost(f64),
}

/// The targets of a run.
#[must_use]
pub fn of(results: &Results) -> Vec<Target> {
    let strict = || results.handover.iter().filter(|row| !row.row.late_seal);
    let stored = || strict().filter(|row| row.row.kept == Kept::Store);
    let late = results.handover.iter().filter(|row| row.row.late_seal);
    let deploy = |shards| {
        let deploys = results.deploys.iter();
        let of = deploys.filter(move |deploy| deploy.shards == shards);
        of.map(|deploy| (String::new(), Some(deploy.deploy_ms)))
    };
    let through = || {
        let rows = results.proxy.events.iter();
        rows.map(|row| {
            (
                format!("{} clients, {:.0} events/s", row.shards, row.rate),
                row,
            )
        })
    };
    let sinks = |is_rabbit: bool| {
        let rows = results.sinks.costs.iter();
        rows.filter(move |row| (row.broker == "amqp") == is_rabbit)
            .map(|row| (format!("{}, {:.0} events/s", row.broker, row.rate), row))
    };
    let core = |of: fn(&super::core::CoreCost) -> f64| {
        let costs: Vec<f64> = results.core.iter().map(of).collect();
        let least = costs.iter().copied().reduce(f64::min);
        let most = costs.iter().copied().reduce(f64::max);
        let ratio = most.zip(least).map(|(most, least)| most / least);
        [(String::new(), ratio)]
    };
    vec![
        target(
            "gap p50 above the floor, ms",
            Reach::AtMost(5.0),
            strict().map(|row| (name(row), row.over_floor_p50_ms)),
        ),
        target(
            "gap p99 above the floor's, ms",
            Reach::AtMost(20.0),
            strict().map(|row| (name(row), row.over_floor_p99_ms)),
        ),
        target(
            "gap p50 with state or slow handlers, to that without",
            Reach::AtMost(1.1),
            strict()
                .filter(|row| !row.row.is_plain())
                .map(|row| (name(row), row.of_plain)),
        ),
        target(
            "silence p50 of a late seal, ms",
            Reach::AtMost(10.0),
            late.map(|row| (name(row), row.silence_ms.p50)),
        ),
        target("deploy of 64 shards, ms", Reach::AtMost(1000.0), deploy(64)),
        target(
            "deploy of 1024 shards, ms",
            Reach::AtMost(10_000.0),
            deploy(1024),
        ),
        target(
            "events of a core, to those with bare twilight",
            Reach::AtLeast(0.9),
            results
                .events
                .iter()
                .filter(|cost| cost.keeps != Keeps::Store)
                .map(|cost| (format!("{:?}", cost.keeps), Some(cost.of_bare))),
        ),
        target(
            "memory, to that of bare twilight",
            Reach::AtMost(1.1),
            results
                .memory
                .iter()
                .filter(|memory| !memory.of.contains("store"))
                .map(|memory| (memory.of.clone(), Some(memory.of_bare))),
        ),
        target(
            "memory of guilds in a store, to twilight's cache",
            Reach::AtMost(1.2),
            results
                .memory
                .iter()
                .filter(|memory| memory.of.contains("store"))
                .map(|memory| (memory.of.clone(), Some(memory.of_bare))),
        ),
        target(
            "deploy with state in a store, to that without state",
            Reach::AtMost(1.1),
            stored().map(|row| (name(row), row.deploy_of_plain)),
        ),
        target(
            "peak of both slaves and the store, to one state",
            Reach::AtMost(1.15),
            super::peaks(&results.handover, Kept::Store).map(|row| (name(row), row.of_one)),
        ),
        target(
            "recovery with state in a store, to that without state",
            Reach::AtMost(1.1),
            results
                .recovery
                .iter()
                .filter(|row| row.row.kept == Kept::Store)
                .map(|row| (format!("{} shards", row.row.shards), row.of_without)),
        ),
        target(
            "peak of both slaves, to twice the state",
            Reach::AtMost(1.0),
            super::peaks(&results.handover, Kept::Cache).map(|row| (name(row), row.of_twice)),
        ),
        target(
            "uncompressed state through the master, to two hops",
            Reach::AtLeast(0.8),
            results
                .state
                .iter()
                .filter(|rate| rate.row.compression == Compression::None)
                .map(|rate| {
                    let row = format!("{:?}, {} shards", rate.row.holds, rate.row.shards);
                    (row, rate.of_two_hop)
                }),
        ),
        target(
            "proxy: delay p99 that it adds to an event, ms",
            Reach::AtMost(2.0),
            through().map(|(row, of)| (row, of.added_p99_ms)),
        ),
        target(
            "proxy: processor time of an event above bare twilight's, µs",
            Reach::AtMost(10.0),
            through().map(|(row, of)| (row, Some(of.slave_us - of.bare_us))),
        ),
        target(
            "proxy: memory in the second half of a client that does not read, to the first",
            Reach::AtMost(1.05),
            results.proxy.unread.iter().map(|unread| {
                let ratio = unread.second_kib / unread.first_kib;
                (format!("{} s", unread.seconds), Some(ratio))
            }),
        ),
        target(
            "NATS and Redis: events a second through the broker",
            Reach::AtLeast(10_000.0),
            sinks(false).map(|(row, of)| (row, Some(of.events_s))),
        ),
        target(
            "RabbitMQ: events a second through the broker",
            Reach::AtLeast(5000.0),
            sinks(true).map(|(row, of)| (row, Some(of.events_s))),
        ),
        target(
            "NATS and Redis: confirm p99, ms",
            Reach::AtMost(20.0),
            sinks(false).map(|(row, of)| (row, of.confirm_ms.p99)),
        ),
        target(
            "RabbitMQ: confirm p99, ms",
            Reach::AtMost(60.0),
            sinks(true).map(|(row, of)| (row, of.confirm_ms.p99)),
        ),
        target(
            "NATS and Redis: processor time of an event above `--sink none`, µs",
            Reach::AtMost(15.0),
            sinks(false).map(|(row, of)| (row, Some(of.slave_us - of.none_us))),
        ),
        target(
            "RabbitMQ: processor time of an event above `--sink none`, µs",
            Reach::AtMost(35.0),
            sinks(true).map(|(row, of)| (row, Some(of.slave_us - of.none_us))),
        ),
        target(
            "gap p50 of a deploy with a sink, to that with a file",
            Reach::AtMost(1.05),
            results
                .sinks
                .gaps
                .iter()
                .map(|row| (row.broker.clone(), row.of_file)),
        ),
        target(
            "core: an input of a deploy, most shards to fewest",
            Reach::AtMost(2.0),
            core(|cost| cost.deploy_input_us),
        ),
        target(
            "core: a checkpoint, most shards to fewest",
            Reach::AtMost(2.0),
            core(|cost| cost.checkpoint_us),
        ),
    ]
}

fn target(
    what: &str,
    reach: Reach,
    rows: impl IntoIterator<Item = (String, Option<f64>)>,
) -> Target {
    let distance = |figure: f64| match reach {
        Reach::AtLeast(bound) => bound - figure,
        Reach::AtMost(bound) => figure - bound,
    };
    let measured = rows
        .into_iter()
        .filter_map(|(row, figure)| Some((row, figure?)));
    let worst = measured.max_by(|(_, one), (_, other)| distance(*one).total_cmp(&distance(*other)));
    let (row, worst) = worst.unzip();
    Target {
        what: what.to_owned(),
        worst,
        row: row.unwrap_or_default(),
        reach,
        met: worst.is_some_and(|worst| distance(worst) <= 0.0),
    }
}

/// A deploy, in short.
pub(super) fn name(handover: &Handover) -> String {
    let row = handover.row;
    let mut name = format!("{} shards, {} ms", row.shards, row.rtt_ms);
    if row.handler_ms > 0 {
        name.push_str(&format!(", handlers {} ms", row.handler_ms));
    }
    if let Some(mb) = handover.state_mb.filter(|_| row.guilds != 20) {
        name.push_str(&format!(", {mb:.0} MB"));
    }
    if row.kept == Kept::Store {
        name.push_str(" in a store");
    }
    if row.late_seal {
        name.push_str(", late");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_judged_by_the_row_that_is_furthest_from_it() {
        let rows = || {
            [("a", Some(0.95)), ("b", Some(0.85)), ("c", None)]
                .map(|(row, figure)| (row.to_owned(), figure))
        };
        let least = target("x", Reach::AtLeast(0.9), rows());
        assert_eq!(
            (least.worst, &*least.row, least.met),
            (Some(0.85), "b", false)
        );
        let most = target("x", Reach::AtMost(1.0), rows());
        assert_eq!((most.worst, &*most.row, most.met), (Some(0.95), "a", true));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let target = target("x", Reach::AtMost(1.0), [("a".to_owned(), None)]);
        assert_eq!((target.worst, target.met), (None, false));
    }
}
