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
    // The operator's `fence` of a slave that cannot be reached.
    "save-fenced",
    // For a standby that has not built its bot: ours has when it says hello.
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

/// A quick run strikes it too.
const QUICK: bool = false;

/// Only a whole run strikes it.
const WHOLE: bool = true;

/// Two rows for what is saved or sent: before it and after it.
macro_rules! points {
    ($name:literal: $($act:literal $kind:literal $during:ident $phases:expr, $expect:ident, $in:ident;)*) => {
        &[$(
            points!(@ $name, "before", $act, $kind, $during, $phases, $expect, $in),
            points!(@ $name, "after", $act, $kind, $during, $phases, $expect, $in),
        )*]
    };
    (@ $name:literal, $moment:literal, $act:literal, $kind:literal, $during:ident, $phases:expr, $expect:ident, $in:ident) => {
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
            unhurried: $in,
            ..ROW
        }
    };
}

pub(super) const SAVES: &[Row] = points! { "crash-":
    "save" "term" Restart &[M0, M4], adopted, WHOLE;
    "save" "shard-count" ColdStart FIRST, begun, WHOLE;
    "save" "pinned" ColdStart FIRST, begun, WHOLE;
    "save" "reservation" Deploy EACH, adopted, QUICK;
    "save" "owner" Deploy EACH, adopted, WHOLE;
    "save" "checkpoint" Deploy FIRST, adopted, WHOLE;
    "save" "ticket" Deploy EACH, adopted, QUICK;
    "save" "work" Deploy FIRST, adopted, WHOLE;
    "save" "slave" Deploy FIRST, adopted, WHOLE;
    "save" "gone" Deploy FIRST, adopted, WHOLE;
    "save" "deploy" Deploy FIRST, begun, WHOLE;
    "save" "seen" Deploy FIRST, adopted, WHOLE;
    "save" "whole" RestartWithoutJournal FIRST, adopted, WHOLE;
    "save" "command" Deploy FIRST, adopted, WHOLE;
};

pub(super) const SENDS: &[Row] = points! { "crash-":
    "send" "accepted" Deploy FIRST, adopted, WHOLE;
    "send" "full-start" ColdStart FIRST, begun, WHOLE;
    "send" "identify-permit" ColdStart FIRST, begun, WHOLE;
    "send" "migration-start" Deploy FIRST, adopted, WHOLE;
    "send" "copy-state" Deploy FIRST, adopted, WHOLE;
    "send" "state" Deploy EACH, adopted, WHOLE;
    "send" "state-ack" Deploy FIRST, adopted, WHOLE;
    "send" "dial" Deploy EACH, adopted, WHOLE;
    "send" "stop-shard" Deploy EACH, adopted, QUICK;
    "send" "resume" Deploy EACH, adopted, QUICK;
    "send" "settled" Deploy EACH, adopted, WHOLE;
    "send" "stop-work" Deploy FIRST, adopted, WHOLE;
    "send" "start-work" Deploy FIRST, adopted, WHOLE;
    "send" "shutdown" Deploy FIRST, adopted, WHOLE;
};

/// While shards are sealed late.
pub(super) const LATE: &[Row] = points! { "late-crash-":
    "send" "seal-late" Deploy EACH, adopted, WHOLE;
    "send" "overtake" Deploy EACH, adopted, WHOLE;
    "send" "resume" Deploy EACH, adopted, WHOLE;
};

/// While what has moved goes back.
pub(super) const BACK: &[Row] = points! { "abort-crash-":
    "save" "reservation" Abort &[M6], adopted, WHOLE;
    "save" "owner" Abort &[M6], adopted, WHOLE;
    "save" "given-up" Abort &[M6], adopted, WHOLE;
    "send" "stop-shard" Abort &[M6], adopted, WHOLE;
    "send" "resume" Abort &[M6], adopted, WHOLE;
};
