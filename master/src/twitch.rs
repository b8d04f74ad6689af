//! What this master knows of Twitch: what it tells the core of it. It speaks to Twitch about
//! nothing, and holds no token of it: the slaves do (`baton-twitch`).

use std::time::Duration;

use baton_core::{
    service::{About, Order, Permit, Service},
    settings::NamedLimit,
};
use baton_protocol::{
    Parameters, Session, ShardId, discord::SessionParameters, message::Failed, text,
};

use crate::config::ResolvedLimits;

/// How the slaves of this service call it.
const NAME: &str = "twitch";

/// Twitch counts JOINs and logins of an account in 10 s.
const ACCOUNT_WINDOW: Duration = Duration::from_secs(10);

/// Twitch counts the points of an application in a minute.
const HELIX_WINDOW: Duration = Duration::from_secs(60);

/// Twitch: nothing is replayed, and two connections may receive the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twitch;

/// The permits that slaves ask for by name: `join/LOGIN`, `auth/LOGIN` and `helix`.
pub(crate) fn named(limits: &ResolvedLimits) -> Vec<NamedLimit> {
    let limit = |prefix: &str, count, window, punished| NamedLimit {
        prefix: prefix.to_owned(),
        count,
        window,
        punished,
    };
    vec![
        limit("join/", limits.twitch_joins, ACCOUNT_WINDOW, true),
        limit("auth/", limits.twitch_logins, ACCOUNT_WINDOW, true),
        limit("helix", limits.twitch_helix, HELIX_WINDOW, false),
    ]
}

/// Why no Discord fleet takes a slave that asks for this.
pub(crate) fn is_of_another_service(asked: &SessionParameters) -> Option<String> {
    (!asked.service.is_empty()).then(|| {
        let service = text::readable(&asked.service, 40);
        format!(
            "this slave is one of {service}, and this master serves Discord: set \
             platform = \"{service}\" in the master's configuration, or start the bot of this fleet"
        )
    })
}

impl Service for Twitch {
    fn order(&self) -> Order {
        Order::Overlap
    }

    fn refuses(&self, asked: &Parameters) -> Option<String> {
        let asked = SessionParameters::open(asked).service;
        (asked != NAME).then(|| {
            "this slave is none of Twitch, and this master has platform = \"twitch\": start \
             baton-twitch under it, or leave platform out"
                .to_owned()
        })
    }

    /// Nothing of a session depends on what made it.
    fn difference(&self, _: &Parameters, _: &Parameters) -> Option<String> {
        None
    }

    fn pin(&self, asked: &Parameters, units: u32) -> Parameters {
        let mut parameters = SessionParameters::open(asked);
        parameters.shard_count = units;
        parameters.seal()
    }

    fn about(&self, _: &Session) -> About {
        About::default()
    }

    fn replays_always(&self) -> u64 {
        0
    }

    /// No unit asks for one of these: what Twitch bounds has names.
    fn permit(&self, _: ShardId, _: u32) -> Permit {
        Permit(0)
    }

    fn budget_period(&self) -> Duration {
        Duration::from_secs(24 * 60 * 60)
    }

    fn words(&self, failed: &Failed) -> String {
        failed.detail.clone()
    }

    fn refuses_token(&self, _: u16) -> bool {
        false
    }

    fn refuses_late(&self, _: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discord::Discord;

    #[test]
    fn a_fleet_of_one_platform_takes_no_slave_of_another() {
        let of_twitch = SessionParameters::of_service(NAME).seal();
        let of_discord = SessionParameters {
            intents: 1,
            ..SessionParameters::default()
        };
        let of_discord = of_discord.seal();
        assert_eq!(Twitch.refuses(&of_twitch), None);
        assert_eq!(Discord.refuses(&of_discord), None);
        let wrong = Discord.refuses(&of_twitch).unwrap_or_default();
        assert!(wrong.contains("platform = \"twitch\""), "{wrong}");
        let wrong = Twitch.refuses(&of_discord).unwrap_or_default();
        assert!(wrong.contains("baton-twitch"), "{wrong}");
    }
}
