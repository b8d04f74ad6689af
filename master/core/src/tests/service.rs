//! The service of the tests: its rules are those of Discord, as far as a test needs them.

use std::{cell::Cell, time::Duration};

use baton_protocol::{
    Parameters, Session, ShardId,
    discord::{self, SessionParameters},
    message::Failed,
};

use super::Rig;
use crate::service::{About, Order, Permit, Service};

thread_local! {
    /// How often this thread opened a session.
    pub(super) static OPENED: Cell<u32> = const { Cell::new(0) };
}

/// What a test may have otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gateway {
    pub(super) token_refused: u16,
    pub(super) budget_period: Duration,
    pub(super) order: Order,
}

pub(super) const GATEWAY: Gateway = Gateway {
    token_refused: 4004,
    budget_period: Duration::from_secs(24 * 60 * 60),
    order: Order::Resume,
};

/// The same without replay.
pub(super) const BROADCAST: Gateway = Gateway {
    order: Order::Overlap,
    ..GATEWAY
};

impl Service for Gateway {
    fn order(&self) -> Order {
        self.order
    }

    fn refuses(&self, asked: &Parameters) -> Option<String> {
        let asked = SessionParameters::open(asked).service;
        (!asked.is_empty()).then(|| format!("a slave of {asked}"))
    }

    fn difference(&self, pinned: &Parameters, asked: &Parameters) -> Option<String> {
        let (pinned, asked) = (
            SessionParameters::open(pinned),
            SessionParameters::open(asked),
        );
        pinned
            .difference(&asked)
            .map(|difference| difference.to_string())
    }

    fn pin(&self, asked: &Parameters, units: u32) -> Parameters {
        let mut parameters = SessionParameters::open(asked);
        parameters.shard_count = units;
        parameters.seal()
    }

    fn about(&self, session: &Session) -> About {
        OPENED.set(OPENED.get() + 1);
        let session = discord::Session::open(session);
        let replays = u64::from(session.guilds) * 75;
        About {
            replays: (session.guilds != 0).then_some(replays.max(self.replays_always())),
            bot: Some(session.user_id).filter(|user| *user != 0),
            began_unix_ms: Some(session.began_unix_ms),
        }
    }

    fn replays_always(&self) -> u64 {
        100
    }

    fn permit(&self, unit: ShardId, at_once: u32) -> Permit {
        Permit(unit.get() % at_once)
    }

    fn budget_period(&self) -> Duration {
        self.budget_period
    }

    fn words(&self, failed: &Failed) -> String {
        match failed.close_code {
            0 => failed.detail.clone(),
            code => format!("refused with {code}: {}", failed.detail),
        }
    }

    fn refuses_token(&self, close_code: u16) -> bool {
        close_code == self.token_refused
    }

    fn refuses_late(&self, why: &str) -> bool {
        why.starts_with("op 9") || why.starts_with("closed with 4")
    }
}

/// A session of which no more than its name matters.
pub(super) fn session(id: impl Into<String>) -> Session {
    discord::Session::with_id(id).seal()
}

/// What sessions with these intents are made with.
pub(super) fn parameters(intents: u64) -> Parameters {
    SessionParameters {
        intents,
        api_version: 10,
        encoding: "json".to_owned(),
        ..SessionParameters::default()
    }
    .seal()
}

/// The same of a fleet with so many shards.
pub(super) fn pinned(intents: u64, shards: u32) -> Parameters {
    GATEWAY.pin(&parameters(intents), shards)
}

/// The intents among them.
pub(super) fn intents(parameters: &Parameters) -> u64 {
    SessionParameters::open(parameters).intents
}

#[test]
fn a_picture_opens_the_session_of_each_shard_once() {
    let rig = Rig::serving(5);
    OPENED.set(0);
    let picture = rig.core.view(rig.now);
    assert_eq!((OPENED.get(), picture.shards.len()), (5, 5));
    assert!(
        picture
            .shards
            .iter()
            .all(|shard| shard.replayed_at_most > 0)
    );
}
