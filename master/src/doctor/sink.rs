//! How the sinks of slaves do, where a slave publishes its events to a broker.

use std::time::Duration;

use baton_core::view::{SinkView, SlaveView, View};
use baton_protocol::text;

use super::Finding;

const CHECK: &str = "sink";

/// A broker that restarts is back sooner.
const LASTS_MS: u64 = 10_000;

/// For how long Discord keeps what waits, where an operator has to hurry.
const HURRY_MS: u64 = 60_000;

/// A confirm takes so long where a broker has too much to do, in microseconds.
const SLOW_US: u64 = 1_000_000;

/// Nothing where no slave publishes.
pub(super) fn sinks(view: &View) -> Vec<Finding> {
    let of = view.slaves.iter().filter(|slave| slave.connected);
    let sinks: Vec<(&SlaveView, &SinkView)> = of
        .filter_map(|slave| Some((slave, slave.sink.as_deref()?)))
        .collect();
    if sinks.is_empty() {
        return Vec::new();
    }
    let found = sinks.iter().filter_map(|(slave, sink)| {
        let finding = refused(sink).or_else(|| slow(sink))?;
        Some(finding.of_slave(&slave.slave))
    });
    let mut findings: Vec<Finding> = found.collect();
    if findings.is_empty() {
        let slowest = sinks.iter().map(|(_, sink)| sink.report.confirm_p99_us);
        let slowest = Duration::from_micros(slowest.max().unwrap_or(0));
        let detail = format!("brokers take what they get, within {slowest:.1?} as a rule");
        findings.push(Finding::ok(CHECK, detail));
    }
    findings
}

fn refused(sink: &SinkView) -> Option<Finding> {
    let lasts = sink.troubled_ms.filter(|ms| *ms >= LASTS_MS)?;
    let ms = |ms| text::span(Duration::from_millis(ms));
    let report = &sink.report;
    let covered = match sink.covered_ms {
        Some(0) => "; Discord does not keep all of them any more".to_owned(),
        Some(left) => format!("; Discord keeps all of them for another {}", ms(left)),
        None => String::new(),
    };
    let detail = format!(
        "{} has not taken what it got for {}, {} events wait: {}{covered}",
        report.broker,
        ms(lasts),
        report.waiting,
        report.reason,
    );
    let next = "start the broker, or make room there: workers that empty it, or more \
                --sink-bytes. What waits goes there by itself: leave the slave alone";
    Some(match sink.covered_ms {
        Some(left) if left < HURRY_MS => Finding::error(CHECK, detail, next),
        Some(_) | None => Finding::warning(CHECK, detail, next),
    })
}

fn slow(sink: &SinkView) -> Option<Finding> {
    let report = &sink.report;
    (report.confirm_p99_us >= SLOW_US && sink.troubled_ms.is_none()).then(|| {
        let took = |micros| Duration::from_micros(micros);
        let detail = format!(
            "{} confirms in {:.1?} as a rule, and one event of a hundred takes {:.1?} or longer",
            report.broker,
            took(report.confirm_p50_us),
            took(report.confirm_p99_us),
        );
        let next = "look at the disk and the processor of the broker's host, and at the network";
        Finding::warning(CHECK, detail, next)
    })
}

#[cfg(test)]
mod tests {
    use baton_protocol::message::SinkReport;

    use super::{super::Level, *};

    fn well() -> SinkView {
        SinkView {
            report: SinkReport {
                broker: "nats://b:4222".to_owned(),
                waiting: 256,
                reason: "maximum bytes exceeded".to_owned(),
                ..SinkReport::default()
            },
            ..SinkView::default()
        }
    }

    fn found(sink: SinkView) -> (Level, String) {
        let slave = SlaveView {
            slave: "aa".to_owned(),
            connected: true,
            sink: Some(Box::new(sink)),
            ..SlaveView::default()
        };
        let view = View {
            slaves: vec![slave],
            ..View::default()
        };
        let finding = sinks(&view).remove(0);
        (finding.level, finding.detail)
    }

    #[test]
    fn a_fleet_without_a_broker_has_no_finding_of_it_and_one_that_is_well_has_one() {
        assert_eq!(sinks(&View::default()), []);
        assert_eq!(found(well()).0, Level::Ok);
    }

    #[test]
    fn a_broker_that_takes_nothing_is_an_error_when_discord_covers_little() {
        let away = |troubled_ms, covered_ms| SinkView {
            troubled_ms: Some(troubled_ms),
            covered_ms,
            ..well()
        };
        for (troubled_ms, covered_ms, level) in [
            (9_000, Some(10_000), Level::Ok),
            (10_000, Some(240_000), Level::Warning),
            (10_000, None, Level::Warning),
            (10_000, Some(59_000), Level::Error),
            (10_000, Some(0), Level::Error),
        ] {
            let (found, detail) = found(away(troubled_ms, covered_ms));
            assert_eq!(found, level, "{detail}");
        }
        let (_, detail) = found(away(70_000, Some(240_000)));
        for part in [
            "nats://b:4222 has not taken what it got for 70 s",
            "256 events wait: maximum bytes exceeded",
            "for another 4 min",
        ] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
    }

    #[test]
    fn what_waits_for_a_broker_is_told_by_this_check_alone() {
        let slave = |troubled_ms| SlaveView {
            slave: "aa".to_owned(),
            connected: true,
            lag_ms: Some(40_000),
            sink: Some(Box::new(SinkView {
                troubled_ms,
                ..well()
            })),
            ..SlaveView::default()
        };
        let lag = |troubled_ms| {
            let view = View {
                slaves: vec![slave(troubled_ms)],
                ..View::default()
            };
            let found = super::super::fleet::examine(&view, 0);
            let lag = found.into_iter().find(|finding| finding.check == "lag");
            lag.map(|finding| finding.level)
        };
        assert_eq!(lag(None), Some(Level::Warning), "its broker is slow");
        assert_eq!(lag(Some(40_000)), Some(Level::Ok));
    }

    #[test]
    fn a_broker_that_is_slow_is_found() {
        let slow = |micros| {
            let mut sink = well();
            sink.report.confirm_p99_us = micros;
            found(sink)
        };
        assert_eq!(slow(999_999).0, Level::Ok);
        let (level, detail) = slow(1_500_000);
        assert_eq!(level, Level::Warning);
        assert!(detail.contains("1.5s or longer"), "{detail}");
    }
}
