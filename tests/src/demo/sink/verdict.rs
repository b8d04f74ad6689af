//! What a run was worth: as JSON for programs, as a table for people.

use std::fmt;

use baton_brokers::Kind;
use serde::Serialize;

use super::{Outcome, Played};
use crate::{
    checker::{Exactness, Order},
    demo::{DemoOptions, deployed::Beside},
    verdict::{Judged, Verdict},
};

/// The verdict of the demo at the worker's end, and each case.
#[derive(Clone, Debug, Serialize)]
pub struct SinkVerdict {
    /// Everything together, and the deploy of the publisher.
    #[serde(flatten)]
    pub demo: Verdict,
    /// `nats`, `amqp` or `redis`.
    pub broker: &'static str,
    /// Events that the broker had twice, the second one marked.
    pub repeated_marked: u64,
    /// Whether there may be such: the broker knows no repeats.
    pub may_repeat: bool,
    /// Events that the broker delivered again, and has once: the worker or the broker was killed.
    pub redelivered: u64,
    /// How long the worker was dead.
    pub worker_away_ms: u64,
    /// What happened.
    pub cases: Vec<CaseVerdict>,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseVerdict {
    /// What happened.
    pub case: &'static str,
    /// How long somebody was away, or full.
    pub away_ms: u64,
    /// From there until the worker had handled everything.
    pub caught_up_ms: u64,
    /// Events that the broker had twice, the second one marked.
    pub repeated_marked: u64,
    /// Events that the broker delivered again, and has once: the worker or the broker was killed.
    pub redelivered: u64,
    /// IDENTIFYs at Discord.
    pub identifies: u64,
}

impl Judged for SinkVerdict {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.demo.faults();
        if self.repeated_marked > 0 && !self.may_repeat {
            faults.push(format!("{} repeated, marked", self.repeated_marked));
        }
        for case in self.cases.iter().filter(|case| case.identifies > 0) {
            faults.push(format!("{} IDENTIFYs: {}", case.identifies, case.case));
        }
        faults
    }
}

impl SinkVerdict {
    /// A table.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn show(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let exactness = &self.demo.exactness;
        writeln!(
            out,
            "  the worker of {}: {} events sent, {} handled, {} lost, {} handled twice, {} out of \
             order",
            self.broker,
            exactness.events_sent,
            exactness.events_handled,
            exactness.lost,
            exactness.duplicated,
            exactness.out_of_order
        )?;
        writeln!(
            out,
            "  {:<34} {:>9} {:>13} {:>16} {:>17} {:>9}",
            "case", "away", "caught up in", "repeated, marked", "delivered again", "IDENTIFYs"
        )?;
        for case in &self.cases {
            writeln!(
                out,
                "  {:<34} {:>6} ms {:>10} ms {:>16} {:>17} {:>9}",
                case.case,
                case.away_ms,
                case.caught_up_ms,
                case.repeated_marked,
                case.redelivered,
                case.identifies
            )?;
        }
        writeln!(
            out,
            "  deploy of the publisher: {}, {} of {} shards moved, gap of a shard {}",
            self.demo.outcome, self.demo.moved, self.demo.shards, self.demo.gap_ms
        )?;
        for example in exactness.examples.iter().take(20) {
            writeln!(out, "    {example}")?;
        }
        let faults = self.faults();
        if faults.is_empty() {
            writeln!(
                out,
                "Nothing was lost, each guild's order was kept, and nothing came twice unmarked."
            )
        } else {
            writeln!(out, "Not clean: {}.", faults.join(", "))
        }
    }
}

pub(super) fn judge(options: &DemoOptions, kind: Kind, outcome: Outcome) -> SinkVerdict {
    let handled = &outcome.work.handled;
    let mut exactness = Exactness::in_order_of(Order::behind(kind), &outcome.sent, handled);
    let repeated_marked = std::mem::take(&mut exactness.marked);
    if repeated_marked > 0 {
        let is_fault = |example: &String| !example.starts_with("marked");
        exactness.examples.retain(is_fault);
    }
    let began = |played: &Played, at_us: u64| played.began_us <= at_us;
    let in_case = |index: usize, at_us: u64| {
        let case = outcome.cases.iter().rposition(|it| began(it, at_us));
        case == Some(index)
    };
    let cases = outcome.cases.iter().enumerate().map(|(index, played)| {
        let marked = handled.iter().filter(|event| event.mark.is_some());
        let marked = marked.filter(|event| in_case(index, event.handed_us));
        let again = outcome.work.redelivered.iter();
        CaseVerdict {
            case: played.case,
            away_ms: played.away.as_millis() as u64,
            caught_up_ms: played.caught_up.as_millis() as u64,
            repeated_marked: marked.count() as u64,
            redelivered: again.filter(|at_us| in_case(index, **at_us)).count() as u64,
            identifies: played.identifies,
        }
    });
    let cases: Vec<CaseVerdict> = cases.collect();
    let beside = Beside {
        exactness,
        sent: &outcome.sent,
        handled,
        state_mismatches: &outcome.state_mismatches,
        cold: outcome.cold,
        wire: &outcome.wire,
    };
    let worker = |case: &&CaseVerdict| case.case == super::WORKER_KILLED;
    SinkVerdict {
        demo: outcome.deploy.verdict(options, beside),
        broker: kind.scheme(),
        repeated_marked,
        may_repeat: kind == Kind::Rabbit,
        redelivered: cases.iter().map(|case| case.redelivered).sum(),
        worker_away_ms: cases.iter().find(worker).map_or(0, |case| case.away_ms),
        cases,
    }
}
