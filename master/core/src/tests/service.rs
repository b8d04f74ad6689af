//! The service of the tests: its rules are those of Discord, as far as a test needs them.

use std::time::Duration;

use baton_protocol::{
    Parameters, Session, ShardId,
    discord::{self, SessionParameters},
    message::Failed,
};

use crate::service::{Permit, Service};

/// What a test may have otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gateway {
    pub(super) token_refused: u16,
    pub(super) budget_period: Duration,
}

pub(super) const GATEWAY: Gateway = Gateway {
    token_refused: 4004,
    budget_period: Duration::from_secs(24 * 60 * 60),
};

impl Service for Gateway {
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

    fn replays(&self, session: &Session) -> Option<u64> {
        match discord::Session::open(session).guilds {
            0 => None,
            guilds => Some((u64::from(guilds) * 75).max(self.replays_always())),
        }
    }

    fn replays_always(&self) -> u64 {
        100
    }

    fn bot(&self, session: &Session) -> Option<u64> {
        let user = discord::Session::open(session).user_id;
        (user != 0).then_some(user)
    }

    fn began_unix_ms(&self, session: &Session) -> Option<u64> {
        Some(discord::Session::open(session).began_unix_ms)
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
