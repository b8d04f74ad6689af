//! Weakens one rule where `scripts/mutants` asks for it, to see a test go red.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

const CRATE: &str = "slave";

/// Every `mutant` in `src`.
const MUTANTS: &[&str] = &[
    "ahead-not-held",
    "cache-counts-repeats",
    "cache-drops-odd",
    "checkpoint-of-received",
    "checksum-unheeded",
    "close-1000",
    "doubt-not-held",
    "finished-above-ignored",
    "frozen-preferred",
    "heartbeat-unheeded",
    "identify-unasked",
    "kept-after-death",
    "late-reconnects",
    "late-seal-without-master",
    "lost-said-complete",
    "marked-after-seal",
    "note-of-another-session",
    "library-panics-through",
    "old-epoch-obeyed",
    "older-term-obeyed",
    "op-9-answered-at-once",
    "orders-left-unread",
    "overtaken-sealed",
    "parameters-unchecked",
    "pause-outlives-session",
    "piece-taken-twice",
    "polled-after-close",
    "resumed-at-hello",
    "session-resumed-for-ever",
    "settled-at-once",
    "signals-end-slaves",
    "suspects-together",
    "ticket-never-disproved",
];

include!("../scripts/mutants.rs");
