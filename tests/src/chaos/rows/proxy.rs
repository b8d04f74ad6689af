//! Slaves that are the gateway of a bot in any language: what happens to the bot, and to
//! the slave under it.

use std::time::Duration;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, ClientHarm, Row},
    scene::{Setup, Who},
};

/// Each slave is a proxy, and the bot its client.
fn proxied(setup: &mut Setup) {
    setup.proxy();
}

/// Fewer events are kept for the bot than come while it, or Discord, is away.
const NARROW: [&str; 2] = ["--window", "128"];

/// The bot is struck, and no shard feels it.
fn unfelt(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

/// The bot takes nothing for a while, or too little. The gate cannot tell it from a build that
/// does not finish its events, so that it may take a deploy back.
fn silent(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => {
            Expect::calm().ending(&["done", "rolled_back", "aborted"])
        }
    }
}

/// No shard feels it, and what the bot had not acknowledged comes again.
fn repeats(phase: Phase) -> Expect {
    unfelt(phase).with_marks()
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "client-killed",
        about: "the bot is killed, and started again",
        phases: &[M0, M2, M5, M7],
        quick: M0,
        blow: Blow::Clients(ClientHarm::Killed),
        setup: proxied,
        expect: |phase| silent(phase).with_marks(),
        ..ROW
    },
    Row {
        name: "client-replaced",
        about: "a second process of the bot comes, and takes over",
        phases: &[M0, M2, M7],
        quick: M0,
        blow: Blow::Clients(ClientHarm::Replaced),
        setup: proxied,
        expect: unfelt,
        ..ROW
    },
    Row {
        name: "client-slow",
        about: "the bot takes twice as long over an event as it may, for a while",
        phases: &[M0, M5],
        quick: M0,
        blow: Blow::Clients(ClientHarm::Slow(Duration::from_secs(2))),
        setup: proxied,
        expect: silent,
        ..ROW
    },
    Row {
        name: "client-stopped",
        about: "the bot reads nothing for a while",
        phases: &[M0, M2, M5],
        quick: M0,
        blow: Blow::Clients(ClientHarm::Stopped(Duration::from_secs(2))),
        setup: proxied,
        expect: silent,
        ..ROW
    },
    Row {
        name: "client-half-open",
        about: "the bot's connections stand open with nobody behind them, and it resumes over others",
        phases: &[M0, M5],
        quick: M0,
        blow: Blow::Clients(ClientHarm::HalfOpen),
        setup: proxied,
        expect: unfelt,
        ..ROW
    },
    Row {
        name: "client-garbage",
        about: "the bot sends what is no payload, is closed, and resumes",
        phases: &[M0, M5],
        quick: M0,
        blow: Blow::Clients(ClientHarm::Garbage),
        setup: proxied,
        expect: unfelt,
        ..ROW
    },
    Row {
        name: "client-killed-in-ready",
        about: "the bot is killed between READY and the last of its guilds, twice",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Clients(ClientHarm::KilledInReady),
        setup: proxied,
        expect: repeats,
        ..ROW
    },
    Row {
        name: "client-killed-in-replay",
        about: "the bot is killed among the events that its RESUME brings",
        phases: &[M0, M2],
        quick: M0,
        blow: Blow::Clients(ClientHarm::KilledInReplay),
        setup: proxied,
        expect: repeats,
        ..ROW
    },
    Row {
        name: "proxy-old-killed",
        about: "kill -9 of the old slave, a bot's gateway: only what the bot had not acknowledged comes again",
        phases: &Phase::ALL,
        quick: M5,
        blow: Blow::Kill(&[Who::Old]),
        setup: proxied,
        expect: |phase| match phase {
            // Everything has moved.
            M7 => Expect::calm().at(Serves::New),
            M0 | M1 | M2 | M3 | M4 | M5 | M6 => Expect::calm().with_marks(),
        },
        ..ROW
    },
    Row {
        name: "proxy-new-killed",
        about: "kill -9 of the new slave, a bot's gateway to be",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M6,
        blow: Blow::Kill(&[Who::New]),
        setup: proxied,
        expect: |phase| Expect::back_at(phase).with_marks_if_handed_on(),
        ..ROW
    },
    Row {
        name: "proxy-deploy",
        about: "a deploy under a bot in any language",
        phases: &[M7],
        quick: M7,
        setup: proxied,
        expect: |_| Expect::done(),
        ..ROW
    },
    Row {
        name: "proxy-both-killed",
        about: "kill -9 of both slaves at once",
        phases: &[M2, M5],
        quick: M2,
        blow: Blow::Kill(&[Who::Old, Who::New]),
        setup: proxied,
        expect: |_| Expect::calm().with_marks(),
        ..ROW
    },
    Row {
        name: "proxy-full",
        about: "the bot reads nothing, and more comes than is kept for it: Discord has to wait",
        phases: &[M0],
        quick: M0,
        blow: Blow::Clients(ClientHarm::StoppedInAFlood(Duration::from_secs(2), 300)),
        setup: |setup| {
            proxied(setup);
            setup.slave.extend(NARROW.map(str::to_owned));
        },
        expect: unfelt,
        ..ROW
    },
    Row {
        name: "proxy-discord-away",
        about: "Discord is away for longer than what is kept for the bot lasts, and replays the rest",
        phases: &[M0, M7],
        quick: M0,
        blow: Blow::Discord(&[r#"{"name":"away","duration_ms":4000}"#]),
        setup: |setup| {
            proxied(setup);
            setup.slave.extend(NARROW.map(str::to_owned));
        },
        expect: |phase| unfelt(phase).reconnecting(),
        ..ROW
    },
];
