//! The master kills itself at each point of its own.

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M4, M6},
    row::{Blow, Crash, During, Row},
};

/// What no row passes: nothing that a row does brings the master there.
pub(super) const NOT_PASSED: &[&str] = &[
    // For a slave that comes back with an epoch that somebody else has used since.
    "send-forget",
    // For a standby.
    "send-soft-start",
];

/// In a deploy, from its beginning: the first shard's.
const FIRST: &[Phase] = &[M0];

/// The same, and those of the shards that move together after it.
const EACH: &[Phase] = &[M0, M6];

/// Nobody who holds a shard dies. The deploy may have been committed or not.
fn adopted(_: Phase) -> Expect {
    Expect::calm()
}

/// There is no deploy.
fn begun(_: Phase) -> Expect {
    Expect::calm().at(Serves::Old)
}

/// Two rows for what is saved or sent: before it and after it.
macro_rules! points {
    ($name:literal: $($act:literal $kind:literal $during:ident $phases:expr, $expect:ident;)*) => {
        &[$(
            points!(@ $name, "before", $act, $kind, $during, $phases, $expect),
            points!(@ $name, "after", $act, $kind, $during, $phases, $expect),
        )*]
    };
    (@ $name:literal, $moment:literal, $act:literal, $kind:literal, $during:ident, $phases:expr, $expect:ident) => {
        Row {
            name: concat!($name, $moment, "-", $act, "-", $kind),
            about: concat!("the master dies ", $moment, " it ", $act, "s: ", $kind),
            phases: $phases,
            quick: $phases[0],
            blow: Blow::Crash(Crash {
                at: concat!($moment, "-", $act, "-", $kind),
                during: During::$during,
            }),
            expect: $expect,
            unhurried: true,
            ..ROW
        }
    };
}

pub(super) const SAVES: &[Row] = points! { "crash-":
    "save" "term" Restart &[M0, M4], adopted;
    "save" "shard-count" ColdStart FIRST, begun;
    "save" "pinned" ColdStart FIRST, begun;
    "save" "reservation" Deploy EACH, adopted;
    "save" "owner" Deploy EACH, adopted;
    "save" "checkpoint" Deploy FIRST, adopted;
    "save" "ticket" Deploy EACH, adopted;
    "save" "work" Deploy FIRST, adopted;
    "save" "slave" Deploy FIRST, adopted;
    "save" "gone" Deploy FIRST, adopted;
    "save" "deploy" Deploy FIRST, begun;
    "save" "seen" Deploy FIRST, adopted;
    "save" "whole" RestartWithoutJournal FIRST, adopted;
    "save" "command" Deploy FIRST, adopted;
};

pub(super) const SENDS: &[Row] = points! { "crash-":
    "send" "accepted" Deploy FIRST, adopted;
    "send" "full-start" ColdStart FIRST, begun;
    "send" "identify-permit" ColdStart FIRST, begun;
    "send" "migration-start" Deploy FIRST, adopted;
    "send" "copy-state" Deploy FIRST, adopted;
    "send" "state" Deploy EACH, adopted;
    "send" "state-ack" Deploy FIRST, adopted;
    "send" "dial" Deploy EACH, adopted;
    "send" "stop-shard" Deploy EACH, adopted;
    "send" "resume" Deploy EACH, adopted;
    "send" "settled" Deploy EACH, adopted;
    "send" "stop-work" Deploy FIRST, adopted;
    "send" "start-work" Deploy FIRST, adopted;
    "send" "shutdown" Deploy FIRST, adopted;
};

/// While what has moved goes back.
pub(super) const BACK: &[Row] = points! { "abort-crash-":
    "save" "reservation" Abort &[M6], adopted;
    "save" "owner" Abort &[M6], adopted;
    "send" "stop-shard" Abort &[M6], adopted;
    "send" "resume" Abort &[M6], adopted;
};
