//! What all runs were worth: a table for people, one JSON object for programs.

use serde_json::{Value, json};

use super::run::Report;
use crate::gap::Spread;

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<26} {:<3} {:<28} {:>4} {:>4} {:>4} {:>4} {:>5} {:<10} {:>8}  {}",
        "row", "", "outcome", "lost", "rep", "dup", "mark", "IDENT", "state", "recovery", ""
    )
}

/// One run as one line, and more if something is wrong with it.
#[must_use]
pub fn line(report: &Report) -> String {
    let outcome = match report.outcome.as_str() {
        "unknown" => report.serves.clone(),
        outcome => format!(
            "{}, {}",
            report.serves,
            outcome.split(':').next().unwrap_or("")
        ),
    };
    let mut text = format!("{:<26} {:<3} {outcome:<28} ", report.row, report.phase);
    match (&report.findings, &report.not_run) {
        (Some(found), _) => {
            let state = match (found.state_mismatches, found.state_lost) {
                (0, 0) => "true".to_owned(),
                (0, lost) => format!("lost-said {lost}"),
                (wrong, _) => format!("FALSE {wrong}"),
            };
            text.push_str(&format!(
                "{:>4} {:>4} {:>4} {:>4} {:>5} {state:<10} {:>5.0} ms",
                found.lost,
                found.repeated_marked,
                found.duplicated_unmarked,
                found.needless_marks,
                found.identifies,
                found.recovery_ms
            ));
        }
        (None, Some(why)) => text.push_str(&format!("not run: {why}")),
        (None, None) => {}
    }
    text.push_str(if report.not_run.is_some() {
        ""
    } else if report.wrong.is_empty() {
        "  ok"
    } else {
        "  WRONG"
    });
    text.push_str(&format!(" {:.0}s", report.took.as_secs_f64()));
    if let Some(took) = report.took_over {
        text.push_str(&format!(
            ", another master led after {:.1} s",
            took.as_secs_f64()
        ));
    }
    for wrong in &report.wrong {
        text.push_str(&format!("\n    {wrong}"));
    }
    if !report.wrong.is_empty() {
        for example in report
            .findings
            .iter()
            .flat_map(|found| &found.examples)
            .take(8)
        {
            text.push_str(&format!("\n      {example}"));
        }
        if report.outcome.contains(':') {
            text.push_str(&format!("\n    deploy {}", report.outcome));
        }
    }
    if let Some(folder) = &report.folder {
        text.push_str(&format!("\n    logs and sinks: {}", folder.display()));
    }
    text
}

/// Whether everything was run and passed: so many runs.
#[must_use]
pub fn is_clean(reports: &[Report], runs: usize) -> bool {
    !reports.is_empty()
        && reports.len() == runs
        && reports.iter().all(|report| {
            let is_run = report.not_run.is_none() || report.is_excused;
            report.wrong.is_empty() && is_run
        })
}

/// All of them together, which were to be so many. One without a report was not run.
#[must_use]
pub fn sum(reports: &[Report], runs: usize) -> Value {
    let found = || reports.iter().filter_map(|report| report.findings.as_ref());
    let recovery = found().map(|found| (found.recovery_ms * 1000.0) as i64);
    let spread = Spread::of_us(recovery.collect());
    let takeovers = reports.iter().filter_map(|report| report.took_over);
    let takeovers = Spread::of_us(takeovers.map(|took| took.as_micros() as i64).collect());
    let ran = reports.iter().filter(|report| report.not_run.is_none());
    let ran = ran.count();
    let needless = reports.iter().map(|report| report.needless_identifies());
    json!({
        "runs": ran,
        "failed": reports.iter().filter(|report| !report.wrong.is_empty()).count(),
        "not_run": runs.saturating_sub(ran),
        "lost": found().map(|found| found.lost).sum::<u64>(),
        "duplicated_unmarked": found().map(|found| found.duplicated_unmarked).sum::<u64>(),
        "needless_marks": found().map(|found| found.needless_marks).sum::<u64>(),
        "identifies_unneeded": needless.sum::<u64>(),
        "state_mismatches": found().map(|found| found.state_mismatches).sum::<u64>(),
        "recovery_ms": spread,
        "takeover_ms": takeovers,
        "ok": is_clean(reports, runs),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::chaos::phase::Phase;

    fn report() -> Report {
        Report {
            stretch: 1.0,
            row: "row",
            phase: Phase::M0,
            findings: None,
            outcome: "-".to_owned(),
            serves: "-".to_owned(),
            identifies_due: 0,
            took_over: None,
            wrong: Vec::new(),
            not_run: None,
            is_excused: false,
            folder: None,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_run_without_its_broker_is_missing_and_no_fault_where_none_need_be_there() {
        let mut missing = report();
        missing.not_run = Some("no nats-server here".to_owned());
        assert!(!is_clean(std::slice::from_ref(&missing), 1));
        missing.is_excused = true;
        assert!(is_clean(std::slice::from_ref(&missing), 1));
        assert_eq!(sum(&[missing], 1)["not_run"], 1);
    }

    #[test]
    fn a_run_that_has_no_report_is_missing_and_not_clean() {
        let clean = report();
        let reports = [clean];
        let of = |runs| {
            let sum = sum(&reports, runs);
            ["runs", "not_run", "ok"].map(|name| sum[name].clone())
        };
        assert_eq!(of(1), [json!(1), json!(0), json!(true)]);
        assert_eq!(of(2), [json!(1), json!(1), json!(false)]);
        assert!(!is_clean(&[], 0));
    }
}
