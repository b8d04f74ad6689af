//! What IDENTIFYs are spent on while Discord refuses them, or ends each session again.

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M2, M6},
    row::{Blow, Row},
};

/// Far more than a cold start, a probe now and then and a new session for each shard need;
/// far fewer than one a window and shard.
const FLAGS: [&str; 3] = ["--refused-identify-counts", "--session-start-limit", "60"];

/// Pauses that double from a tenth of a second pass this often in 6 s, and in as long again
/// for a busy host.
const TRIES: u32 = 7;

/// Permits that were given before it was known that all shards lost their sessions.
const EARLY: u32 = 3;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "identifies-refused",
        about: "every session ends, and each IDENTIFY gets op 9 for 6 s: one shard tries for all",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"op9_false","when":"identify","count":0,"for_ms":6000}"#,
            r#"{"name":"op9_false","when":"now"}"#,
        ]),
        setup: |setup| setup.discord.extend(FLAGS.map(str::to_owned)),
        // One for each shard, and the tries while all are refused.
        expect: |_| {
            Expect::calm()
                .at(Serves::Old)
                .with_new_sessions_up_to(4 + TRIES)
        },
        ..ROW
    },
    Row {
        name: "op9-storm",
        about: "every session ends, and each new one right after READY, for 5 s: one shard tries \
                for all, and a deploy goes on",
        phases: &[M0, M2, M6],
        quick: M2,
        blow: Blow::Discord(&[
            r#"{"name":"op9_false","when":"identify","count":0,"for_ms":5000,"delay_ms":50}"#,
            r#"{"name":"op9_false","when":"now"}"#,
        ]),
        setup: |setup| setup.discord.extend(FLAGS.map(str::to_owned)),
        // One for each shard, the tries meanwhile, and those that were too early.
        expect: |phase| {
            let serves = match phase {
                M0 => Serves::Old,
                Phase::M1 | M2 | Phase::M3 | Phase::M4 | Phase::M5 | M6 | Phase::M7 => Serves::One,
            };
            Expect::calm()
                .at(serves)
                .with_new_sessions_up_to(4 + TRIES + EARLY)
        },
        ..ROW
    },
];
