//! Slaves that publish to a real broker: what happens to the broker, judged at the worker
//! behind it.

use std::time::Duration;

use baton_brokers::Kind;

use super::ROW;
use crate::chaos::{
    expect::{Expect, Serves},
    phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
    row::{Blow, BrokerHarm, Row},
    scene::Setup,
};

/// Longer than a shard that cannot hand anything out keeps its connection.
const BRIEFLY: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);

fn nats(setup: &mut Setup) {
    setup.sink(Kind::Nats);
}

fn rabbit(setup: &mut Setup) {
    setup.sink(Kind::Rabbit);
}

fn redis(setup: &mut Setup) {
    setup.sink(Kind::Redis);
}

/// What comes in a minute is more than a window, and no more than a window and what Discord
/// replays of a shard with few guilds.
fn for_a_minute(setup: &mut Setup, kind: Kind) {
    setup.sink(kind);
    setup.rate = 5.0;
}

fn nats_for_a_minute(setup: &mut Setup) {
    for_a_minute(setup, Kind::Nats);
}

fn rabbit_for_a_minute(setup: &mut Setup) {
    for_a_minute(setup, Kind::Rabbit);
}

fn redis_for_a_minute(setup: &mut Setup) {
    for_a_minute(setup, Kind::Redis);
}

/// Nothing is lost, nothing comes twice that the broker would know, and the order is kept. The
/// gate cannot tell a broker that takes nothing from a build that finishes nothing, so that it
/// may take a deploy back.
fn waits(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => {
            Expect::calm().ending(&["done", "rolled_back", "aborted"])
        }
    }
}

/// The same, but what the broker may have at a seal can come behind newer events. Each run ends
/// with a deploy, for which the broker may not have caught up.
fn doubts(phase: Phase) -> Expect {
    waits(phase).with_doubt_at_a_seal()
}

/// A row for a broker.
const fn row(
    name: &'static str,
    about: &'static str,
    phases: &'static [Phase],
    harm: BrokerHarm,
    kind: Kind,
) -> Row {
    Row {
        name,
        about,
        phases,
        quick: M0,
        blow: Blow::Broker(harm),
        setup: match kind {
            Kind::Nats => nats,
            Kind::Rabbit => rabbit,
            Kind::Redis => redis,
        },
        expect: match (kind, harm) {
            // It knows each event of a session, so that a seal gives everything back.
            (Kind::Redis, _) => waits,
            // It answers that it does not take an event.
            (Kind::Nats, BrokerHarm::Full) => waits,
            (Kind::Nats | Kind::Rabbit, _) => doubts,
        },
        ..ROW
    }
}

/// One that takes a minute; a shorter one stands for it in a quick run.
const fn long(name: &'static str, about: &'static str, kind: Kind) -> Row {
    Row {
        unhurried: true,
        setup: match kind {
            Kind::Nats => nats_for_a_minute,
            Kind::Rabbit => rabbit_for_a_minute,
            Kind::Redis => redis_for_a_minute,
        },
        ..row(name, about, &[M0], BrokerHarm::Paused(LONG), kind)
    }
}

const IN_MOVES: &[Phase] = &[M0, M2, M5, M7];
const STEADY: &[Phase] = &[M0];

pub(super) const ROWS: &[Row] = &[
    row(
        "nats-paused-briefly",
        "nats-server stands still for 20 s",
        STEADY,
        BrokerHarm::Paused(BRIEFLY),
        Kind::Nats,
    ),
    row(
        "rabbit-paused-briefly",
        "rabbitmq-server stands still for 20 s",
        STEADY,
        BrokerHarm::Paused(BRIEFLY),
        Kind::Rabbit,
    ),
    row(
        "redis-paused-briefly",
        "redis-server stands still for 20 s",
        STEADY,
        BrokerHarm::Paused(BRIEFLY),
        Kind::Redis,
    ),
    row(
        "rabbit-killed",
        "kill -9 of rabbitmq-server, which is started again",
        IN_MOVES,
        BrokerHarm::Killed,
        Kind::Rabbit,
    ),
    row(
        "rabbit-full",
        "rabbitmq-server wants more room on its disk than there is, for a while",
        IN_MOVES,
        BrokerHarm::Full,
        Kind::Rabbit,
    ),
    row(
        "rabbit-emptied",
        "kill -9 of rabbitmq-server, which is started again without what was on its disk",
        STEADY,
        BrokerHarm::Emptied,
        Kind::Rabbit,
    ),
    row(
        "rabbit-slow",
        "everything between slaves and rabbitmq-server takes 0.4 s longer, for a while",
        IN_MOVES,
        BrokerHarm::Slow,
        Kind::Rabbit,
    ),
    row(
        "rabbit-cut",
        "the connection of rabbitmq-server is cut in the middle of a confirm, three times",
        IN_MOVES,
        BrokerHarm::Cut,
        Kind::Rabbit,
    ),
    row(
        "nats-killed",
        "kill -9 of nats-server, which is started again",
        IN_MOVES,
        BrokerHarm::Killed,
        Kind::Nats,
    ),
    row(
        "nats-full",
        "the stream of nats-server may have fewer bytes than it has, for a while",
        IN_MOVES,
        BrokerHarm::Full,
        Kind::Nats,
    ),
    row(
        "nats-emptied",
        "kill -9 of nats-server, which is started again without what was on its disk",
        STEADY,
        BrokerHarm::Emptied,
        Kind::Nats,
    ),
    row(
        "nats-slow",
        "everything between slaves and nats-server takes 0.4 s longer, for a while",
        IN_MOVES,
        BrokerHarm::Slow,
        Kind::Nats,
    ),
    row(
        "nats-cut",
        "the connection of nats-server is cut in the middle of a confirm, three times",
        IN_MOVES,
        BrokerHarm::Cut,
        Kind::Nats,
    ),
    row(
        "redis-killed",
        "kill -9 of redis-server, which is started again",
        IN_MOVES,
        BrokerHarm::Killed,
        Kind::Redis,
    ),
    row(
        "redis-full",
        "redis-server may use less memory than it does, for a while",
        IN_MOVES,
        BrokerHarm::Full,
        Kind::Redis,
    ),
    row(
        "redis-emptied",
        "kill -9 of redis-server, which is started again without what was on its disk",
        STEADY,
        BrokerHarm::Emptied,
        Kind::Redis,
    ),
    row(
        "redis-slow",
        "everything between slaves and redis-server takes 0.4 s longer, for a while",
        IN_MOVES,
        BrokerHarm::Slow,
        Kind::Redis,
    ),
    row(
        "redis-cut",
        "the connection of redis-server is cut in the middle of a confirm, three times",
        IN_MOVES,
        BrokerHarm::Cut,
        Kind::Redis,
    ),
    long(
        "nats-paused",
        "nats-server stands still for a minute",
        Kind::Nats,
    ),
    long(
        "rabbit-paused",
        "rabbitmq-server stands still for a minute",
        Kind::Rabbit,
    ),
    long(
        "redis-paused",
        "redis-server stands still for a minute",
        Kind::Redis,
    ),
];
