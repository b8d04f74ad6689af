//! Weakens one rule where `scripts/mutants` asks for it, to see a test go red.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

const CRATE: &str = "master";

/// Every `mutant` in `src`.
const MUTANTS: &[&str] = &[
    "anybody-operates",
    "behind-kept",
    "canary-raw",
    "commit-unasked",
    "copy-ignored",
    "dark-kept",
    "death-after-death",
    "doubt-unsettled",
    "epoch-reused",
    "epoch-unasked",
    "everything-believed",
    "failure-makes-young",
    "fenced-believed",
    "first-word-dropped",
    "gate-open",
    "id-of-another",
    "given-up-let-in",
    "kill-not-awaited",
    "last-words-unheard",
    "leaving-not-followed",
    "left-is-dead",
    "no-session-serves",
    "parameters-unchecked",
    "permits-without-window",
    "process-twice",
    "progress-for-ever",
    "refusal-unheeded",
    "refusals-unheeded",
    "reserve-spent",
    "replay-unbounded",
    "reserved-soon",
    "save-not-awaited",
    "session-soon",
    "soak-unbounded",
    "old-copy-sealed",
    "old-state-resumed",
    "stale-copy-kept",
    "stale-session-resumed",
    "unseen-is-dead",
    "unfinished-kept",
    "stalled-is-killed",
    "width-unbounded",
];

include!("../scripts/mutants.rs");
