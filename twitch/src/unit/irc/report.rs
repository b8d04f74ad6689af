//! What a unit tells the once-per-bot work of its channels.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{TELLS, speech::Came};
use crate::{
    irc::Reason,
    name::{Login, UserId},
};

/// A letter of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum FromUnit {
    /// It has no channels, and asks for them.
    #[default]
    Asks,
    /// What became of a message that it was to say.
    Said { lease: i64, came: Came },
    /// What became of a line that it was to write.
    Wrote { number: u64, came: Came },
    /// Whether its account is moderator or broadcaster there. `all`: of all its channels.
    Standings {
        all: bool,
        channels: BTreeMap<Login, bool>,
    },
    /// Of a conduit: it has its shard, or rests because the conduit has no such shard.
    Serves(bool),
    /// It has a session that can take its shard, as soon as the conduit has that.
    Session(String),
    /// What became of channels that it was told to join.
    Channels {
        /// Of which word of the work.
        version: u64,
        joined: BTreeMap<Login, Option<UserId>>,
        failed: BTreeMap<Login, String>,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Report {
    version: u64,
    joined: BTreeMap<Login, Option<UserId>>,
    failed: BTreeMap<Login, String>,
    /// Where the account is moderator or broadcaster, as far as Twitch has said.
    standings: BTreeMap<Login, bool>,
    /// Of which the work has not heard.
    new_standings: BTreeMap<Login, bool>,
    /// Whether the work is to hear of all of them.
    all_standings: bool,
    due: Option<Instant>,
}

impl Report {
    pub(super) const fn new(version: u64) -> Self {
        Self {
            version,
            joined: BTreeMap::new(),
            failed: BTreeMap::new(),
            standings: BTreeMap::new(),
            new_standings: BTreeMap::new(),
            all_standings: false,
            due: None,
        }
    }

    pub(super) fn asks() -> Bytes {
        written(&FromUnit::Asks)
    }

    /// The work said something newer: it is to hear that it was read.
    pub(super) fn is_of(&mut self, version: u64) {
        self.version = version;
        self.is_due();
    }

    pub(super) fn joined(&mut self, channel: Login, id: Option<UserId>) {
        self.failed.remove(&channel);
        self.joined.insert(channel, id);
        self.is_due();
    }

    pub(super) fn failed(&mut self, channel: Login, why: Reason) {
        let why = match why {
            Reason::Cap => "cap",
            Reason::Banned => "banned",
            Reason::Suspended => "suspended",
            Reason::Unanswered => "unanswered",
        };
        self.joined.remove(&channel);
        self.failed.insert(channel, why.to_owned());
        self.is_due();
    }

    /// Twitch says what the account is in a channel.
    pub(super) fn stands(&mut self, channel: Login, is_moderator: bool) {
        if self.standings.insert(channel.clone(), is_moderator) != Some(is_moderator) {
            self.new_standings.insert(channel, is_moderator);
            self.is_due();
        }
    }

    /// The work knows nothing of it, or has heard nothing of this unit.
    pub(super) fn tells_standings(&mut self) {
        self.all_standings = true;
        self.is_due();
    }

    fn is_due(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + TELLS);
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What changed since the last time, in letters.
    pub(super) fn told(&mut self) -> Vec<Bytes> {
        self.due = None;
        let channels = FromUnit::Channels {
            version: self.version,
            joined: std::mem::take(&mut self.joined),
            failed: std::mem::take(&mut self.failed),
        };
        let mut letters = vec![written(&channels)];
        let news = std::mem::take(&mut self.new_standings);
        let all = std::mem::take(&mut self.all_standings);
        if all || !news.is_empty() {
            let channels = if all { self.standings.clone() } else { news };
            letters.push(written(&FromUnit::Standings { all, channels }));
        }
        letters
    }
}

pub(super) fn written(letter: &FromUnit) -> Bytes {
    serde_json::to_vec(letter).unwrap_or_default().into()
}
