//! What Discord does: by itself, and in answer to a RESUME.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::{Setup, Who},
};

/// Its own reconnect is no business of the deploy.
fn goes_on(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).reconnecting(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

/// No reason to reconnect.
fn unheard(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

/// A new slave that gets nowhere is killed; the old one resumes.
fn either_way(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).reconnecting(),
        M1 | M2 | M7 => Expect::calm(),
        M3 | M4 | M5 | M6 => Expect::calm().with_marks(),
    }
}

/// Discord ended the session of one shard.
fn one_new_session(phase: Phase) -> Expect {
    either_way(phase).with_new_sessions(1)
}

/// Heartbeats often enough that a dead connection is noticed in a second.
fn lively(setup: &mut Setup) {
    setup
        .discord
        .extend(["--heartbeat-interval", "700ms"].map(str::to_owned));
}

/// As at Discord, a copy is sealed long before the next heartbeat but one, and
/// connections are older than their first.
fn trims(setup: &mut Setup) {
    setup.pace = Duration::from_millis(20);
    setup.warm = Duration::from_millis(1200);
    let flags = ["--heartbeat-trims", "--heartbeat-interval", "1s"];
    setup.discord.extend(flags.map(str::to_owned));
}

pub(super) fn takes_over(setup: &mut Setup) {
    connected(setup, "take_over");
}

pub(super) fn refuses(setup: &mut Setup) {
    connected(setup, "refuse");
}

pub(super) fn serves_both(setup: &mut Setup) {
    connected(setup, "both");
}

fn connected(setup: &mut Setup, how: &str) {
    let flag = "--resume-while-connected".to_owned();
    setup.discord.extend([flag, how.to_owned()]);
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "op7",
        about: "op 7 on every connection",
        phases: &[M0, M1, M2, M3, M5, M6, M7],
        quick: M3,
        blow: Blow::Discord(&[r#"{"name":"op7"}"#]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "close-4000",
        about: "close 4000 on every connection",
        phases: &[M0, M2, M3, M5, M7],
        quick: M2,
        blow: Blow::Discord(&[r#"{"name":"close","code":4000}"#]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "reset",
        about: "RST of every connection",
        phases: &[M0, M2, M3, M5, M6],
        quick: M5,
        blow: Blow::Discord(&[r#"{"name":"reset"}"#]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "op9-true",
        about: "op 9, resumable, on every connection",
        phases: &[M0, M2, M5, M7],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"op9_true"}"#]),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "op9-false",
        about: "op 9, not resumable, on one shard: exactly one IDENTIFY",
        phases: &[M0, M2, M6, M7],
        quick: M2,
        blow: Blow::Discord(&[r#"{"name":"op9_false","shard":0}"#]),
        expect: one_new_session,
        ..ROW
    },
    Row {
        name: "close-4007",
        about: "close 4007 on one shard: exactly one IDENTIFY",
        phases: &[M0, M6],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"close","code":4007,"shard":0}"#]),
        expect: one_new_session,
        ..ROW
    },
    Row {
        name: "close-4009",
        about: "close 4009 on one shard: exactly one IDENTIFY",
        phases: &[M0, M6],
        quick: M6,
        blow: Blow::Discord(&[r#"{"name":"close","code":4009,"shard":0}"#]),
        expect: one_new_session,
        ..ROW
    },
    Row {
        name: "no-ack",
        about: "heartbeats of quiet shards are not answered: RESUME",
        phases: &[M0, M2, M7],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"no_ack","duration_ms":0}"#]),
        setup: |setup| {
            lively(setup);
            // Any event is as good as an ACK.
            setup.rate = 0.2;
        },
        expect: either_way,
        ..ROW
    },
    Row {
        name: "discord-half-open",
        about: "connections go dead without a word: RESUME",
        phases: &[M0, M2, M7],
        quick: M7,
        blow: Blow::Discord(&[r#"{"name":"drop"}"#]),
        setup: lively,
        expect: either_way,
        ..ROW
    },
    Row {
        name: "accept-and-close",
        about: "every connection ends, new ones are taken and closed for 2 s",
        phases: &[M0, M2, M4],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"accept_and_close","duration_ms":2000}"#,
            r#"{"name":"reset"}"#,
        ]),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "refuse-connect",
        about: "every connection ends, nothing listens for 1.5 s",
        phases: &[M0, M2, M4],
        quick: M4,
        blow: Blow::Discord(&[
            r#"{"name":"refuse_connect","duration_ms":1500}"#,
            r#"{"name":"reset"}"#,
        ]),
        expect: either_way,
        ..ROW
    },
    Row {
        name: "resume-url-dead",
        about: "every connection ends, the resume URL is dead for 5 s",
        phases: &[M0, M2, M3],
        quick: M3,
        blow: Blow::Discord(&[
            r#"{"name":"resume_url_dead","duration_ms":5000}"#,
            r#"{"name":"reset"}"#,
        ]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "bad-zstd",
        about: "bytes that are not of the compressed stream",
        phases: &[M0, M2, M6],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"bad_zstd"}"#]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "bad-json",
        about: "a payload that ends in the middle",
        phases: &[M0, M2, M6],
        quick: M6,
        blow: Blow::Discord(&[r#"{"name":"bad_json"}"#]),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "unknown-op",
        about: "a payload with an unknown op",
        phases: &[M0, M2],
        quick: M2,
        blow: Blow::Discord(&[r#"{"name":"unknown_op"}"#]),
        expect: unheard,
        ..ROW
    },
    Row {
        name: "huge-frame",
        about: "a payload of 16 MiB",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"huge_frame"}"#]),
        setup: |setup| {
            // It keeps the simulated Discord busy for seconds where a build is not
            // optimised and its host is full: nobody is dialled meanwhile.
            setup.limits.insert("copy", "20s".to_owned());
        },
        expect: unheard,
        ..ROW
    },
    Row {
        name: "flood",
        about: "1000 events at once on each shard",
        phases: &[M0, M2, M4],
        quick: M4,
        blow: Blow::Discord(&[r#"{"name":"flood","events":1000}"#]),
        setup: |setup| {
            setup
                .discord
                .extend(["--replay-buffer", "3500"].map(str::to_owned))
        },
        expect: unheard,
        ..ROW
    },
    Row {
        name: "replay-50000",
        about: "every connection ends; 50,000 events are to be replayed",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"refuse_connect","duration_ms":1500}"#,
            r#"{"name":"reset"}"#,
            r#"{"name":"flood","events":12500,"delay_ms":700}"#,
        ]),
        setup: |setup| {
            let flags = ["--replay-buffer", "20000"];
            setup.discord.extend(flags.map(str::to_owned));
            // So many lines take a while to judge.
            setup.rate = 5.0;
        },
        expect: either_way,
        unhurried: true,
        ..ROW
    },
    Row {
        name: "heartbeats-trim",
        about: "Discord forgets what a heartbeat names; a plain deploy",
        phases: &[M7],
        quick: M7,
        setup: trims,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "heartbeats-trim-crash",
        about: "Discord forgets what a heartbeat names; the old slave is killed",
        phases: &[M0, M3],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: trims,
        // What was received and not finished is gone; with it may be the session.
        expect: |_| Expect::recovered().with_new_sessions_up_to(4),
        ..ROW
    },
    Row {
        name: "resume-takes-over",
        about: "RESUME beside an open connection takes over; a plain deploy",
        phases: &[M7],
        quick: M7,
        setup: takes_over,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "resume-is-refused",
        about: "RESUME beside an open connection is refused; a plain deploy",
        phases: &[M7],
        quick: M7,
        setup: refuses,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "resume-serves-both",
        about: "RESUME beside an open connection serves both; a plain deploy",
        phases: &[M7],
        quick: M7,
        setup: serves_both,
        expect: |_| Expect::done(),
        ..ROW
    },
];

/// Faults that wait for the RESUME of the first shard that moves.
const ANSWER: Row = Row {
    phases: &[M4],
    quick: M4,
    expect: either_way,
    ..ROW
};

pub(super) const ANSWERS: &[Row] = &[
    Row {
        name: "resume-op7",
        about: "op 7 in answer to a RESUME",
        blow: Blow::Discord(&[r#"{"name":"op7","when":"resume"}"#]),
        expect: |_| Expect::done(),
        ..ANSWER
    },
    Row {
        name: "resume-closed-4000",
        about: "close 4000 in answer to a RESUME",
        blow: Blow::Discord(&[r#"{"name":"close_on_resume","code":4000}"#]),
        expect: |_| Expect::done(),
        ..ANSWER
    },
    Row {
        name: "resume-op9-true",
        about: "op 9, resumable, in answer to a RESUME",
        blow: Blow::Discord(&[r#"{"name":"op9_true","when":"resume"}"#]),
        ..ANSWER
    },
    Row {
        name: "resume-op9-false",
        about: "op 9, not resumable, in answer to a RESUME: exactly one IDENTIFY",
        blow: Blow::Discord(&[r#"{"name":"op9_false","when":"resume"}"#]),
        expect: one_new_session,
        ..ANSWER
    },
    Row {
        name: "resume-closed-4007",
        about: "close 4007 in answer to a RESUME: exactly one IDENTIFY",
        blow: Blow::Discord(&[r#"{"name":"close_on_resume","code":4007}"#]),
        expect: one_new_session,
        ..ANSWER
    },
    Row {
        name: "resume-closed-4009",
        about: "close 4009 in answer to a RESUME: exactly one IDENTIFY",
        blow: Blow::Discord(&[r#"{"name":"close_on_resume","code":4009}"#]),
        expect: one_new_session,
        ..ANSWER
    },
    Row {
        name: "resume-closed-4014",
        about: "fatal close 4014 in answer to a RESUME: the old slave serves again",
        blow: Blow::Discord(&[r#"{"name":"close_on_resume","code":4014}"#]),
        // The session went with it.
        expect: |_| Expect::rolled_back().with_new_sessions(1),
        // Said to the overtaking slave, it is one refusal: the rest is sealed strictly, and
        // this fault comes once only.
        late_expect: Some(|_| Expect::calm().with_new_sessions(1)),
        ..ANSWER
    },
    Row {
        name: "session-expired",
        about: "the session of one shard can no longer be resumed",
        blow: Blow::Discord(&[r#"{"name":"expire_session","shard":0}"#]),
        expect: one_new_session,
        ..ANSWER
    },
    Row {
        name: "replay-trimmed",
        about: "the replay buffer of one shard is emptied",
        blow: Blow::Discord(&[r#"{"name":"trim","when":"resume"}"#]),
        expect: one_new_session,
        ..ANSWER
    },
    Row {
        name: "no-hello",
        about: "a connection opens and says nothing",
        phases: &[M0, M4],
        blow: Blow::Discord(&[r#"{"name":"no_hello"}"#, r#"{"name":"reset","shard":1}"#]),
        ..ANSWER
    },
    Row {
        name: "no-resumed",
        about: "the replay comes, RESUMED does not",
        blow: Blow::Discord(&[r#"{"name":"no_resumed"}"#]),
        ..ANSWER
    },
    Row {
        name: "op7-before-hello",
        about: "op 7 in place of HELLO",
        blow: Blow::Discord(&[r#"{"name":"op7_before_hello"}"#]),
        expect: |_| Expect::done(),
        ..ANSWER
    },
    Row {
        name: "slow-replay",
        about: "a replay that takes longer than the limit for no progress",
        blow: Blow::Discord(&[
            r#"{"name":"slow_replay","duration_ms":15}"#,
            r#"{"name":"flood","shard":0,"events":250}"#,
        ]),
        expect: |_| Expect::done(),
        ..ANSWER
    },
];
