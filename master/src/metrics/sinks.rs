//! Brokers to which slaves publish, where a slave does.

use baton_core::view::{SinkView, SlaveView};
use prometheus_client::registry::{Registry, Unit};

use super::each;

/// What is known of a sink, as a number.
type Said = fn(&SinkView) -> u64;

const COUNTS: [(&str, &str, Said); 3] = [
    ("sink_confirmed", "Events that the broker confirmed", |it| {
        it.report.confirmed
    }),
    (
        "sink_repeats",
        "Events of these that the broker had already",
        |it| it.report.repeats,
    ),
    (
        "sink_retries",
        "Events that were published again, each time counted",
        |it| it.report.retries,
    ),
];

/// Nothing where no slave publishes.
pub(super) fn sinks(slaves: &[SlaveView], ours: &mut Registry) {
    if slaves.iter().all(|slave| slave.sink.is_none()) {
        return;
    }
    for (name, help, said) in COUNTS {
        ours.register(name, help, each::counters(slaves, of(said)));
    }
    ours.register(
        "sink_waiting",
        "Events that wait for their confirm, or for their turn",
        each::gauges(slaves, of(|it| it.report.waiting)),
    );
    ours.register(
        "sink_refused",
        "Events that the broker does not take now, at most one of each guild",
        each::gauges(slaves, of(|it| it.report.refused)),
    );
    // Both are zero where all is well, so that there is a line before there is trouble.
    ours.register_with_unit(
        "sink_trouble",
        "For how long the broker has not taken what it got; 0: it takes it",
        Unit::Seconds,
        each::seconds(slaves, of(|it| it.troubled_ms.unwrap_or(0))),
    );
    ours.register_with_unit(
        "sink_covered",
        "For how long Discord still keeps all that waits for a broker that takes nothing; absent \
         where all is well, or where that is not known",
        Unit::Seconds,
        each::seconds(slaves, |slave| slave.sink.as_ref()?.covered_ms),
    );
    let seconds = |micros: u64| micros as f64 / 1e6;
    let times: [(&str, &str, Said); 2] = [
        (
            "sink_confirm_median",
            "How long the newest confirms took, as a rule",
            |it| it.report.confirm_p50_us,
        ),
        (
            "sink_confirm_slowest",
            "How long 99 of 100 of the newest confirms took at most",
            |it| it.report.confirm_p99_us,
        ),
    ];
    for (name, help, said) in times {
        let family = each::floats(slaves, |slave| Some(seconds(of(said)(slave)?)));
        ours.register_with_unit(name, help, Unit::Seconds, family);
    }
}

fn of(said: Said) -> impl Fn(&SlaveView) -> Option<u64> {
    move |slave| slave.sink.as_deref().map(said)
}
