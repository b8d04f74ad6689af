//! A message of the bot, and what is wrong with some.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Login;

/// Characters that Twitch takes.
pub const MOST_CHARACTERS: usize = 500;

/// How long a message may wait, if nothing else is said. It is one window of the budget: what
/// waits because others were said first gets its turn within it, and after half a minute the
/// chat talks of something else.
pub const TTL: Duration = Duration::from_secs(30);

/// No message may wait longer.
pub const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// Longer ids are refused.
const LONGEST_ID: usize = 100;

/// By which way a message goes to Twitch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// By Helix, which says whether it was sent.
    #[default]
    Helix,
    /// By PRIVMSG on the connection of a unit: nobody hears whether Twitch took it.
    Irc,
}

/// What the bot is to say.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The caller's: a second message of the same id is not said. 1 to 100 visible ASCII
    /// characters.
    pub id: String,
    /// The bot's account that says it.
    pub account: Login,
    /// Where.
    pub channel: Login,
    /// At most [`MOST_CHARACTERS`], on one line.
    pub text: String,
    /// The id of the message that it answers, as Twitch wrote it.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// How long it may wait before it is sent; `None`: [`TTL`]. At most [`LONGEST_TTL`].
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// How it goes to Twitch.
    #[serde(default)]
    pub by: By,
}

/// Why a message is not taken. Nothing is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is nothing in it.
    #[error("the message is empty: give it a text")]
    Empty,
    /// A second line would be a second command on IRC.
    #[error("the message has a CR, LF or NUL in it: send each line as a message of its own")]
    ControlCharacter,
    /// Twitch would cut it.
    #[error("the message has more than 500 characters: send it in parts")]
    TooLong,
    /// It could not be told from others, or not be written on IRC.
    #[error("an id is 1 to 100 visible ASCII characters")]
    Id,
    /// It would be part of an IRC tag.
    #[error(
        "the id of the message that is answered is none of Twitch's: it has 1 to 100 letters, digits and -"
    )]
    ReplyTo,
    /// It would wait for nothing, or for ever.
    #[error("a message may wait for more than nothing and at most one hour")]
    Ttl,
    /// Sending is restricted to authorised channels.
    #[error("the broadcaster has not authorised the bot: ask for it on the invite page")]
    Unauthorised,
    /// More messages wait than the outbox holds.
    #[error("10,000 messages wait: say less, or wait")]
    Full,
    /// More messages wait for this channel than can be said before they expire.
    #[error("100 messages wait for this channel: say less there, or wait")]
    ChannelFull,
}

impl Message {
    /// What is wrong with it by itself.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let is_id = |id: &str| (1..=LONGEST_ID).contains(&id.len());
        if !is_id(&self.id) || !self.id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::Id);
        }
        if self.text.contains(['\r', '\n', '\0']) && !mutant!("lines-let-through") {
            return Err(Refusal::ControlCharacter);
        }
        if self.text.trim().is_empty() {
            return Err(Refusal::Empty);
        }
        if self.text.chars().count() > MOST_CHARACTERS {
            return Err(Refusal::TooLong);
        }
        let is_twitchs = |id: &str| {
            is_id(id)
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if self.reply_to.as_deref().is_some_and(|id| !is_twitchs(id)) {
            return Err(Refusal::ReplyTo);
        }
        let ttl = self.ttl();
        if ttl < Duration::from_millis(1) || ttl > LONGEST_TTL {
            return Err(Refusal::Ttl);
        }
        Ok(())
    }

    /// How long it may wait.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(TTL)
    }
}

/// Without its text, which is nothing for a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("channel", &self.channel)
            .field("characters", &self.text.chars().count())
            .field("reply_to", &self.reply_to)
            .field("ttl", &self.ttl)
            .field("by", &self.by)
            .finish()
    }
}
