//! What is known of a channel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Unix;
use crate::{Login, UserId};

/// A channel in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name, which may change.
    pub login: Login,
    /// Its id, which does not, once it is known.
    pub id: Option<UserId>,
    /// Whether the bot is to be in it, as far as the bot's owner decides that.
    pub wanted: bool,
    /// What an authorisation and an acknowledgement do besides.
    pub reconnect: Reconnect,
    /// When its broadcaster last let the bot in.
    pub authorised_at: Option<Unix>,
    /// When the broadcaster took that back; `None` after a new authorisation.
    pub revoked_at: Option<Unix>,
    /// When it last showed life: a join, an authorisation, an acknowledgement.
    pub acknowledged_at: Unix,
    /// The bot's account that reads it; `None`: the default one.
    pub account: Option<Login>,
    /// Since when it is in the list.
    pub added_at: Unix,
}

impl Channel {
    /// Whether its broadcaster lets the bot in.
    #[must_use]
    pub const fn is_authorised(&self) -> bool {
        self.authorised_at.is_some() && self.revoked_at.is_none()
    }

    /// Whether it showed no life for longer than `after`.
    #[must_use]
    pub fn is_stale(&self, now: Unix, after: Duration) -> bool {
        self.acknowledged_at < now.minus(after)
    }
}

/// Whether the bot comes into a channel by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reconnect {
    /// An authorisation makes the channel wanted, and so does a sign of life after the
    /// clean-up let it go. A part ends that.
    Yes,
    /// Only a join makes it wanted.
    #[default]
    No,
}

/// A channel that the bot is to be in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wanted {
    /// Which.
    pub login: Login,
    /// Its id, if it is known.
    pub id: Option<UserId>,
    /// The bot's account that reads it; `None`: the default one.
    pub account: Option<Login>,
}

impl Wanted {
    /// By the default account.
    #[must_use]
    pub const fn new(login: Login) -> Self {
        Self {
            login,
            id: None,
            account: None,
        }
    }
}
