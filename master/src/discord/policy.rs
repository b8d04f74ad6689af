//! What the core is told of Discord: the [`Service`] that this master hands in. Whatever the
//! core decides by and is Discord's own stands here.

use std::time::Duration;

use baton_core::service::{About, Permit, Service};
use baton_protocol::{
    Parameters, Session, ShardId,
    discord::{self, SessionParameters},
    message::Failed,
};

use crate::twitch::is_of_another_service;

/// Discord's window is 5 s, from one IDENTIFY that arrives to the next. A quarter of a
/// second more is for what the way of one may take less than that of the one before.
pub const WINDOW: Duration = Duration::from_millis(5250);

/// Close code of a token that Discord refuses.
const TOKEN: u16 = 4004;

/// Discord.
#[derive(Clone, Copy, Debug)]
pub struct Discord;

impl Service for Discord {
    fn refuses(&self, asked: &Parameters) -> Option<String> {
        is_of_another_service(&SessionParameters::open(asked))
    }

    fn difference(&self, pinned: &Parameters, asked: &Parameters) -> Option<String> {
        let (pinned, asked) = (
            SessionParameters::open(pinned),
            SessionParameters::open(asked),
        );
        let difference = pinned.difference(&asked)?;
        Some(format!(
            "{difference}. A resumed session keeps its {field}, so this build would not get what it \
             asks for. Start the fleet cold with the new value (5 s and one IDENTIFY a shard).",
            field = difference.field
        ))
    }

    fn pin(&self, asked: &Parameters, units: u32) -> Parameters {
        let mut parameters = SessionParameters::open(asked);
        parameters.shard_count = units;
        parameters.seal()
    }

    /// What is replayed by the formula that its staff once gave, where the guilds are known.
    fn about(&self, session: &Session) -> About {
        let session = discord::Session::open(session);
        let replays = discord::replayed(session.guilds.into());
        About {
            replays: (session.guilds != 0).then_some(replays),
            bot: Some(session.user_id).filter(|user| *user != 0),
            began_unix_ms: Some(session.began_unix_ms).filter(|began| *began != 0),
        }
    }

    fn replays_always(&self) -> u64 {
        discord::LEAST_REPLAYED
    }

    /// The rate limit key: shards that have the same one take turns (`max_concurrency`).
    fn permit(&self, unit: ShardId, at_once: u32) -> Permit {
        Permit(unit.get() % at_once.max(1))
    }

    /// 1,000 a day, and at least five a shard for bots of more shards than these are enough
    /// for: Discord documents `max(2000, guilds / 1000 * 5)`, and recommends a shard for
    /// each 1,000 guilds.
    fn budget(&self, units: u32) -> Option<u32> {
        Some(units.saturating_mul(5).max(1000))
    }

    /// `session_start_limit.reset_after` begins at a day.
    fn budget_period(&self) -> Duration {
        Duration::from_secs(24 * 60 * 60)
    }

    fn words(&self, failed: &Failed) -> String {
        let words = match failed.close_code {
            0 => return failed.detail.clone(),
            TOKEN => "Discord refuses the token",
            4010 => "Discord knows no such shard",
            4011 => "Discord wants this bot to have more shards",
            4012 => "Discord speaks this version of its API no more",
            4013 => "Discord knows no such intents",
            4014 => {
                "Discord allows this bot not all of its intents: allow the privileged ones in the \
                 developer portal, or leave them out"
            }
            _ => "Discord refuses this shard",
        };
        format!(
            "{words} (close code {}; {})",
            failed.close_code, failed.detail
        )
    }

    fn refuses_token(&self, close_code: u16) -> bool {
        close_code == TOKEN
    }

    fn refuses_late(&self, why: &str) -> bool {
        ["op 9", "closed with 4"]
            .iter()
            .any(|rule| why.starts_with(rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_guilds(guilds: u32) -> Session {
        let session = discord::Session {
            guilds,
            ..discord::Session::with_id("a session")
        };
        session.seal()
    }

    #[test]
    fn discord_replays_by_the_number_of_guilds_within_two_bounds() {
        let replays =
            [0, 1, 4, 14, 47, 2500].map(|guilds| Discord.about(&of_guilds(guilds)).replays);
        assert_eq!(
            replays,
            [
                None,
                Some(100),
                Some(300),
                Some(1050),
                Some(3500),
                Some(3500)
            ]
        );
    }

    #[test]
    fn shards_of_one_rate_limit_key_need_the_same_permit() {
        let of = |shard| Discord.permit(ShardId(shard), 16);
        assert_eq!(of(3), of(19));
        assert_ne!(of(3), of(4));
        assert_eq!(
            Discord.permit(ShardId(7), 0),
            Permit(0),
            "no budget says zero"
        );
    }

    #[test]
    fn a_fleet_is_pinned_to_its_own_number_of_shards_and_a_difference_says_what_to_do() {
        let asked = SessionParameters {
            intents: 513,
            ..SessionParameters::default()
        };
        let pinned = Discord.pin(&asked.seal(), 16);
        assert_eq!(SessionParameters::open(&pinned).shard_count, 16);
        assert_eq!(Discord.difference(&pinned, &asked.seal()), None);
        let other = SessionParameters {
            intents: 1,
            ..asked
        };
        let said = Discord
            .difference(&pinned, &other.seal())
            .unwrap_or_default();
        assert!(
            said.starts_with("intents: ") && said.contains("cold"),
            "{said}"
        );
    }

    #[test]
    fn a_refusal_is_said_in_words_and_a_broken_connection_is_no_rule() {
        let failed = |close_code| Failed {
            close_code,
            detail: "closed".to_owned(),
            ..Failed::default()
        };
        assert_eq!(Discord.words(&failed(0)), "closed");
        assert!(Discord.words(&failed(4014)).contains("privileged"));
        assert!(Discord.refuses_token(4004) && !Discord.refuses_token(4014));
        assert!(Discord.refuses_late("op 9, d: false") && Discord.refuses_late("closed with 4007"));
        assert!(!Discord.refuses_late("closed with 1006"));
    }
}
