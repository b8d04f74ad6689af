//! How long a session is held on to: by slaves that Discord keeps out, lets wait or
//! cuts short, and by a slave that is asked to end.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, Row},
    scene::{Setup, Snapshots, Who},
};

fn discord(setup: &mut Setup, flags: &[&str]) {
    setup
        .discord
        .extend(flags.iter().map(|&flag| flag.to_owned()));
}

fn slave(setup: &mut Setup, flags: &[&str]) {
    setup
        .slave
        .extend(flags.iter().map(|&flag| flag.to_owned()));
}

/// A session lives for seconds here.
fn short_lived(setup: &mut Setup) {
    slave(setup, &["--session-life", "3s"]);
}

/// Each RESUME of one shard is closed, for longer than its session lives.
const fn closed(name: &'static str, about: &'static str, faults: &'static [&'static str]) -> Row {
    Row {
        name,
        about,
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(faults),
        setup: short_lived,
        expect: given_up,
        ..ROW
    }
}

/// One shard's session can never be resumed again: one IDENTIFY, the span is lost.
fn given_up(_: Phase) -> Expect {
    Expect::calm().at(Serves::Old).with_new_sessions(1)
}

pub(super) const ROWS: &[Row] = &[
    closed(
        "resumes-closed-for-ever",
        "each RESUME of one shard is closed with 4000: exactly one IDENTIFY",
        &[
            r#"{"name":"close_on_resume","code":4000,"shard":0,"count":0,"for_ms":9000}"#,
            r#"{"name":"reset","shard":0}"#,
        ],
    ),
    Row {
        unhurried: true,
        ..closed(
            "resumes-closed-4003",
            "each RESUME of one shard is closed with 4003: exactly one IDENTIFY",
            &[
                r#"{"name":"close_on_resume","code":4003,"shard":0,"count":0,"for_ms":9000}"#,
                r#"{"name":"reset","shard":0}"#,
            ],
        )
    },
    Row {
        name: "resumed-late",
        about: "RESUMED takes 6 s, longer than its first limit",
        phases: &[M0, M4],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"slow_resumed","duration_ms":6000,"count":2,"shard":0}"#,
            r#"{"name":"reset","shard":0}"#,
        ]),
        // Otherwise the events of today come meanwhile, and are as good.
        setup: |setup| setup.rate = 0.005,
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old).reconnecting(),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "ready-late",
        about: "the session of one shard ends, READY of the next takes 6 s: one IDENTIFY",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"slow_ready","duration_ms":6000,"shard":0}"#,
            r#"{"name":"op9_false","shard":0}"#,
        ]),
        expect: given_up,
        ..ROW
    },
    Row {
        name: "hello-odd",
        about: "HELLO asks for a heartbeat every 0 ms, twice",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"odd_hello","value":0,"count":2}"#,
            r#"{"name":"reset"}"#,
        ]),
        expect: |_| Expect::calm().at(Serves::Old).reconnecting(),
        ..ROW
    },
    Row {
        name: "replay-cut",
        about: "the replay to the new slave is cut short three times",
        phases: &[M4],
        quick: M4,
        blow: Blow::Discord(&[
            r#"{"name":"close_in_replay","code":4000,"events":40}"#,
            r#"{"name":"close_in_replay","code":1001,"events":40,"after":1}"#,
            r#"{"name":"close_in_replay","code":1006,"events":40,"after":2}"#,
            r#"{"name":"flood","shard":0,"events":250}"#,
        ]),
        // Of whichever shard: where seals are late the first has resumed by now.
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "replay-cut-reconnect",
        about: "the replay to a slave that reconnects is cut short three times",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[
            r#"{"name":"close_in_replay","code":1006,"events":40,"count":3,"shard":0}"#,
            r#"{"name":"refuse_connect","duration_ms":300}"#,
            r#"{"name":"reset","shard":0}"#,
            r#"{"name":"flood","shard":0,"events":250}"#,
        ]),
        expect: |_| Expect::calm().at(Serves::Old).reconnecting(),
        ..ROW
    },
    Row {
        name: "discord-away",
        about: "Discord is away for 20 s, and keeps sessions for 27 s",
        phases: &[M0],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"away","duration_ms":20000}"#]),
        setup: |setup| {
            discord(
                setup,
                &["--resume-window", "27s", "--replay-buffer", "3500"],
            );
        },
        expect: |_| Expect::calm().at(Serves::Old).reconnecting(),
        // It is as long as it says.
        unhurried: true,
        ..ROW
    },
    Row {
        name: "numbers-skipped",
        about: "sequence numbers are left out; the old slave is killed, its state wanted",
        phases: &[M0],
        quick: M0,
        blow: Blow::Kill(&[Who::Old]),
        setup: |setup| {
            discord(setup, &["--skip-every", "5"]);
            slave(setup, &["--on-lost-state", "identify"]);
            setup.warm = Duration::from_millis(1500);
        },
        expect: |_| Expect::calm().with_marks(),
        ..ROW
    },
    Row {
        name: "heartbeats-overtake",
        about: "Discord forgets what a heartbeat names, often; a plain deploy",
        phases: &[M7],
        quick: M7,
        setup: |setup| {
            setup.warm = Duration::from_millis(1200);
            discord(
                setup,
                &["--heartbeat-trims", "--heartbeat-interval", "700ms"],
            );
        },
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "old-leaves-to-standby",
        about: "SIGTERM of the old slave beside a standby: its state goes along",
        phases: &[M0],
        quick: M0,
        blow: Blow::Leave(Who::Old),
        setup: |setup| {
            setup.standbys = 1;
            setup.snapshots = Snapshots::Off;
        },
        expect: |_| Expect::calm(),
        ..ROW
    },
    Row {
        name: "old-leaves-in-deploy",
        about: "SIGTERM of the old slave beside the new one: its state goes along",
        phases: &[M2, M3, M5, M7],
        quick: M2,
        blow: Blow::Leave(Who::Old),
        setup: |setup| setup.snapshots = Snapshots::Off,
        expect: |_| Expect::done(),
        ..ROW
    },
];
