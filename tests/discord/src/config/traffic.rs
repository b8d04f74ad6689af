//! What is to happen in the world and how often.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Events above this rate per shard are not generated.
const MAX_RATE: f64 = 100_000.0;

/// What can happen, and its weight in a mix like that of a public bot.
const KINDS: &[(&str, u32)] = &[
    ("MESSAGE_CREATE", 300),
    ("MESSAGE_UPDATE", 30),
    ("MESSAGE_DELETE", 20),
    ("MESSAGE_REACTION_ADD", 60),
    ("MESSAGE_REACTION_REMOVE", 15),
    ("PRESENCE_UPDATE", 250),
    ("TYPING_START", 120),
    ("INTERACTION_CREATE", 40),
    ("GUILD_MEMBER_ADD", 15),
    ("GUILD_MEMBER_REMOVE", 15),
    ("GUILD_MEMBER_UPDATE", 40),
    ("VOICE_STATE_UPDATE", 60),
    ("CHANNEL_CREATE", 5),
    ("CHANNEL_UPDATE", 8),
    ("CHANNEL_DELETE", 5),
    ("CHANNEL_PINS_UPDATE", 4),
    ("GUILD_ROLE_CREATE", 5),
    ("GUILD_ROLE_UPDATE", 8),
    ("GUILD_ROLE_DELETE", 5),
    ("GUILD_UPDATE", 6),
    ("GUILD_DELETE", 2),
    ("DIRECT_MESSAGE", 10),
    ("AN_EVENT_OF_NEXT_YEAR", 3),
];

/// What happens in the world. The text form is that of `POST /traffic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// Events per second and shard, Poisson distributed; 0 to 100,000.
    pub rate: f64,
    /// Nothing happens while true; probes go on.
    pub paused: bool,
    /// Weight of each kind of event, see [`Traffic::kinds`]. Empty: a mix like
    /// that of a public bot.
    pub mix: BTreeMap<String, u32>,
    /// Additional events all at once.
    pub burst: Option<Burst>,
}

/// Additional events, all at once, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Milliseconds from burst to burst; at least 1.
    pub every_ms: u64,
    /// Events of one burst, 1 to 100,000.
    pub size: u32,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: 0.0,
            paused: false,
            mix: BTreeMap::new(),
            burst: None,
        }
    }
}

impl Traffic {
    /// The default mix at this rate per shard and second.
    pub fn at_rate(rate: f64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// The kinds a mix can name. `GUILD_DELETE` makes a guild unavailable and,
    /// the next time, available again.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(name, _)| *name)
    }

    /// Checks the limits written at the fields.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] says what to change.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=MAX_RATE).contains(&self.rate) {
            return Err(Error::invalid(format!(
                "rate is {}: give events per second and shard from 0 to {MAX_RATE}",
                self.rate
            )));
        }
        for name in self.mix.keys() {
            if !Self::kinds().any(|known| known == name) {
                let known: Vec<&str> = Self::kinds().collect();
                return Err(Error::invalid(format!(
                    "mix has `{name}`: give only {}",
                    known.join(", ")
                )));
            }
        }
        if let Some(burst) = &self.burst
            && (burst.every_ms == 0 || burst.size == 0 || burst.size > 100_000)
        {
            return Err(Error::invalid(
                "burst must have every_ms of at least 1 and a size from 1 to 100000",
            ));
        }
        Ok(())
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.paused && self.rate > 0.0
    }

    /// The kinds that can happen, each with its weight.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        KINDS.iter().map(|(name, default)| {
            let weight = if self.mix.is_empty() {
                *default
            } else {
                self.mix.get(*name).copied().unwrap_or(0)
            };
            (*name, weight)
        })
    }
}

/// What a shard gets: its traffic, and its probe as microseconds between two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Orders {
    pub(crate) traffic: Traffic,
    pub(crate) probe_every: Option<Duration>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Traffic;

    #[test]
    fn a_mix_with_an_unknown_kind_is_refused_and_lists_the_known_ones() {
        let traffic: Traffic = serde_json::from_str(r#"{"rate":1,"mix":{"PARTY":1}}"#).unwrap();
        let text = traffic.validate().unwrap_err().to_string();
        assert!(
            text.contains("`PARTY`") && text.contains("MESSAGE_CREATE"),
            "{text}"
        );
    }

    #[test]
    fn a_rate_that_is_no_number_is_refused() {
        assert!(Traffic::at_rate(f64::NAN).validate().is_err());
        assert!(Traffic::at_rate(-1.0).validate().is_err());
    }
}
