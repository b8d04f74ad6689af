//! What IDENTIFYs are spent on while Discord refuses them.

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::M0,
    row::{Blow, Row},
};

/// Far more than a cold start, a probe now and then and a new session for each shard need;
/// far fewer than one a window and shard.
const FLAGS: [&str; 3] = ["--refused-identify-counts", "--session-start-limit", "60"];

/// Pauses that double from a tenth of a second pass this often in 6 s, and in as long again
/// for a busy host.
const TRIES: u32 = 7;

pub(super) const ROWS: &[Row] = &[Row {
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
}];
