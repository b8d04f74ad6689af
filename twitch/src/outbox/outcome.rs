//! How messages ended, until the bot has read it.

use rusqlite::{Row, Transaction};
use serde::{Deserialize, Serialize};

use super::UnixMs;
use crate::Login;

/// So many outcomes are kept for a bot that does not read them, and of so many messages it
/// is known that they were put. The oldest go first.
pub const KEPT: i64 = 20_000;

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Twitch took it.
    Sent {
        /// Twitch's id of it; `None` by IRC, which says nothing.
        message_id: Option<String>,
    },
    /// Twitch did not take it.
    Refused {
        /// Twitch's name for the reason.
        code: String,
        /// Twitch's words.
        why: String,
    },
    /// It waited for too long and was not sent.
    Expired,
    /// Nobody knows whether it was sent, and it will not be sent again.
    Unknown,
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits, or is being sent.
    Open,
    /// It ended so.
    Ended(Outcome),
    /// It ended, and its outcome is not kept any more.
    Forgotten,
}

/// What the process says that sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Twitch took it.
    Sent {
        /// Twitch's id of it, if it says one.
        message_id: Option<String>,
    },
    /// Twitch did not take it.
    Refused {
        /// Twitch's name for the reason.
        code: String,
        /// Twitch's words.
        why: String,
    },
    /// The connection broke between sending and Twitch's answer.
    Unknown,
}

impl Said {
    /// Of what Twitch wrote, a bounded part is kept.
    pub(super) fn outcome(self) -> Outcome {
        let cut = |text: String| text.chars().take(200).collect();
        match self {
            Self::Sent { message_id } => Outcome::Sent {
                message_id: message_id.map(cut),
            },
            Self::Refused { code, why } => Outcome::Refused {
                code: cut(code),
                why: cut(why),
            },
            Self::Unknown => Outcome::Unknown,
        }
    }
}

/// An outcome to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place among all: one more with each. A number that is missing is one that was
    /// not read in time.
    pub number: i64,
    /// The message's id, of its caller.
    pub id: String,
    /// Who was to say it.
    pub account: Login,
    /// Where.
    pub channel: Login,
    /// When it ended.
    pub at: UnixMs,
    /// How. A message that ended [unknown](Outcome::Unknown) may have a second record with
    /// the truth.
    pub outcome: Outcome,
}

/// Ends some messages, by their numbers.
pub(super) fn end(
    change: &Transaction<'_>,
    numbers: &[i64],
    outcome: &Outcome,
    now: UnixMs,
) -> rusqlite::Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    // It is made of strings alone.
    let json = serde_json::to_string(outcome)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    for number in numbers {
        change
            .prepare_cached(
                "INSERT INTO outcomes (id, account, channel, at, outcome)
                 SELECT id, account, channel, ?2, ?3 FROM messages WHERE number = ?1",
            )?
            .execute((number, now.0, &json))?;
        // What it counts for, it counts for from now on: see the module.
        change
            .prepare_cached(
                "UPDATE spent SET at = max(at, ?2), is_open = FALSE
                 WHERE is_open AND lease = (SELECT lease FROM messages WHERE number = ?1)",
            )?
            .execute((number, now.0))?;
        change
            .prepare_cached(
                "UPDATE messages SET state = 2, text = '', is_unknown = ?2 WHERE number = ?1",
            )?
            .execute((number, matches!(outcome, Outcome::Unknown)))?;
    }
    change
        .prepare_cached(
            "DELETE FROM outcomes WHERE number <= (SELECT max(number) FROM outcomes) - ?1",
        )?
        .execute([KEPT])?;
    change
        .prepare_cached(
            "DELETE FROM messages
             WHERE state = 2 AND number <= (SELECT max(number) FROM messages) - ?1",
        )?
        .execute([KEPT])?;
    Ok(())
}

/// `None`: a login or the outcome in it is none.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let text = |column: usize| row.get::<_, String>(column);
    let (Ok(account), Ok(channel)) = (text(2)?.parse(), text(3)?.parse()) else {
        return Ok(None);
    };
    let Ok(outcome) = serde_json::from_str(&text(5)?) else {
        return Ok(None);
    };
    Ok(Some(Record {
        number: row.get(0)?,
        id: text(1)?,
        account,
        channel,
        at: UnixMs(row.get(4)?),
        outcome,
    }))
}
