//! What a run was worth: as JSON for programs, as a table for people.

use std::fmt;

use serde::Serialize;

use super::{Outcome, Played};
use crate::{
    chaos::judge::{lost_of_ended_sessions, newest},
    checker::Exactness,
    clients::library::LIBRARIES,
    demo::{DemoOptions, deployed::Beside},
    records::{Handled, Sent},
    verdict::{Judged, Verdict},
};

/// The verdict of the demo, and that of each client.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyVerdict {
    /// Everything together, and the deploy of the proxy.
    #[serde(flatten)]
    pub demo: Verdict,
    /// Each library with each compression.
    pub clients: Vec<ClientVerdict>,
    /// What happened to all of them.
    pub cases: Vec<CaseVerdict>,
    /// What clients saw that Discord would not do.
    pub strange: Vec<String>,
}

/// What one client received, in all of its lives.
#[derive(Clone, Debug, Serialize)]
pub struct ClientVerdict {
    /// The library.
    pub library: &'static str,
    /// Its version, as it says it.
    pub version: String,
    /// How what it got was compressed.
    pub compression: &'static str,
    /// Events that it was to receive.
    pub events_sent: u64,
    /// Events of these that it received.
    pub events_received: u64,
    /// Events that it never received.
    pub lost: u64,
    /// Events that went with a session that Discord ended.
    pub lost_said: u64,
    /// Events that it received again, in a planned case or although it had acknowledged
    /// them.
    pub repeated: u64,
    /// Events that it received again behind a kill, and had not acknowledged.
    pub repeated_unacknowledged: u64,
    /// Events that came behind a later one.
    pub out_of_order: u64,
    /// IDENTIFYs of its shard at Discord, but for those that Discord asked for.
    pub identifies: u64,
}

/// One case, for all clients.
#[derive(Clone, Debug, Serialize)]
pub struct CaseVerdict {
    /// What happened.
    pub case: &'static str,
    /// Whether nothing may come twice.
    pub planned: bool,
    /// Events that came again.
    pub repeated: u64,
    /// IDENTIFYs at Discord beyond those that it asked for.
    pub identifies: u64,
}

impl ClientVerdict {
    fn faults(&self) -> Vec<String> {
        let counts = [
            (self.lost, "lost"),
            (self.repeated, "repeated"),
            (self.out_of_order, "out of order"),
            (self.identifies, "IDENTIFYs"),
        ];
        let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
        let named = |what: String| format!("{} with {}: {what}", self.library, self.compression);
        let mut faults: Vec<String> = wrong
            .map(|(count, what)| named(format!("{count} {what}")))
            .collect();
        if self.events_received == 0 {
            faults.push(named("it received nothing".to_owned()));
        }
        faults
    }
}

impl Judged for ProxyVerdict {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.demo.faults();
        faults.extend(self.clients.iter().flat_map(ClientVerdict::faults));
        faults.extend(self.strange.iter().take(5).cloned());
        faults
    }
}

impl ProxyVerdict {
    /// A table.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn show(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "  {:<14} {:<8} {:<12} {:>8} {:>8} {:>5} {:>9} {:>15} {:>6} {:>9}",
            "client",
            "version",
            "compression",
            "sent",
            "received",
            "lost",
            "repeated",
            "unacknowledged",
            "order",
            "IDENTIFYs"
        )?;
        for client in &self.clients {
            let order = match client.out_of_order {
                0 => "kept".to_owned(),
                wrong => format!("{wrong} off"),
            };
            writeln!(
                out,
                "  {:<14} {:<8} {:<12} {:>8} {:>8} {:>5} {:>9} {:>15} {:>6} {:>9}",
                client.library,
                client.version,
                client.compression,
                client.events_sent,
                client.events_received,
                client.lost,
                client.repeated,
                client.repeated_unacknowledged,
                order,
                client.identifies
            )?;
        }
        for case in &self.cases {
            writeln!(
                out,
                "  {:<34} repeated {:>4}{}, IDENTIFYs {}",
                case.case,
                case.repeated,
                if case.planned { "" } else { " unacknowledged" },
                case.identifies
            )?;
        }
        writeln!(
            out,
            "  deploy of the proxy: {}, {} of {} shards moved, gap of a shard {}",
            self.demo.outcome, self.demo.moved, self.demo.shards, self.demo.gap_ms
        )?;
        for example in self.demo.exactness.examples.iter().take(20) {
            writeln!(out, "    {example}")?;
        }
        let faults = self.faults();
        if faults.is_empty() {
            writeln!(
                out,
                "Nothing was lost, and nothing came twice that was acknowledged."
            )
        } else {
            writeln!(out, "Not clean: {}.", faults.join(", "))
        }
    }
}

pub(super) fn judge(options: &DemoOptions, mut outcome: Outcome) -> ProxyVerdict {
    let cases = outcome.cases.clone();
    let mut repeats = vec![0; cases.len()];
    let mut seen = std::collections::BTreeSet::new();
    for event in &mut outcome.handled {
        // The case in which it came.
        let began = |played: &Played| played.during.sealed_us <= event.handed_us;
        let case = cases.iter().rposition(began);
        if case.is_none_or(|case| cases[case].case.is_planned) {
            event.mark = None;
        }
        let is_first = seen.insert(event.key());
        if let Some(case) = case.filter(|_| !is_first) {
            repeats[case] += 1;
        }
    }
    // The cold start came before the first case.
    let asked = |shard: Option<u32>, during: &Played| {
        let in_it =
            |at_us: &u64| (during.during.sealed_us..during.during.resumed_us).contains(at_us);
        let of = outcome.identifies.iter();
        of.filter(|(of, at_us)| shard.is_none_or(|shard| shard == *of) && in_it(at_us))
            .count() as u64
    };
    let needless = |shard: Option<u32>, played: &Played| {
        let shards = if shard.is_some() {
            1
        } else {
            u64::from(options.shards)
        };
        asked(shard, played).saturating_sub(played.case.identifies * shards)
    };
    let newest = newest(&outcome.all);
    let clients = (0..).zip(&LIBRARIES).zip(&outcome.lives);
    let clients = clients.map(|((shard, library), life)| {
        let sent = outcome.sent.iter().filter(|it| it.shard == shard);
        let sent: Vec<Sent> = sent.cloned().collect();
        let handled = outcome.handled.iter().filter(|it| it.shard == shard);
        let handled: Vec<Handled> = handled.cloned().collect();
        let exact = Exactness::of(&sent, &handled);
        let lost_said = lost_of_ended_sessions(&newest, &sent, &handled);
        ClientVerdict {
            library: library.name,
            version: outcome.journal.version(*life).unwrap_or_default(),
            compression: library.compression,
            events_sent: exact.events_sent,
            events_received: exact.events_handled,
            lost: exact.lost.saturating_sub(lost_said),
            lost_said,
            repeated: exact.duplicated,
            repeated_unacknowledged: exact.marked,
            out_of_order: exact.out_of_order + exact.invented,
            identifies: cases
                .iter()
                .map(|played| needless(Some(shard), played))
                .sum(),
        }
    });
    let clients: Vec<ClientVerdict> = clients.collect();
    let case_verdicts = cases
        .iter()
        .zip(repeats)
        .map(|(played, repeated)| CaseVerdict {
            case: played.case.name,
            planned: played.case.is_planned,
            repeated,
            identifies: needless(None, played),
        });
    ProxyVerdict {
        demo: of_all(options, &outcome, &clients),
        cases: case_verdicts.collect(),
        strange: outcome.journal.all_strange(),
        clients,
    }
}

fn of_all(options: &DemoOptions, outcome: &Outcome, clients: &[ClientVerdict]) -> Verdict {
    let mut exactness = Exactness::of(&outcome.sent, &outcome.handled);
    // What Discord took with a session is no fault, nor what was not acknowledged.
    exactness.lost = clients.iter().map(|client| client.lost).sum();
    exactness.marked = 0;
    exactness
        .examples
        .retain(|example| !example.starts_with("marked"));
    let beside = Beside {
        exactness,
        sent: &outcome.sent,
        handled: &outcome.handled,
        state_mismatches: &outcome.state_mismatches,
        cold: outcome.cold,
        wire: &outcome.wire,
    };
    outcome.deploy.verdict(options, beside)
}
