//! What the once-per-bot work has a unit write on its connection.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Over, Unit, party::Party, report::FromUnit};
use crate::{name::Login, unit::transport::Item};

/// A letter of the work.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToIrc {
    /// Says something, once.
    Say {
        /// What the answer names.
        lease: i64,
        /// By this account, and no other one.
        account: Login,
        channel: Login,
        text: String,
        /// The id of the message that it answers.
        reply_to: Option<String>,
    },
    /// Writes a line as it is, on the connection that is in this channel.
    Write {
        /// What the answer names.
        number: u64,
        channel: Login,
        line: String,
    },
    /// It is to say where the account is moderator.
    Standings,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Came {
    /// The kernel has it. Twitch says nothing of it.
    Written,
    /// It certainly was not written, for this reason.
    Not(String),
    /// The connection broke meanwhile: nobody knows.
    Unknown,
}

impl ToIrc {
    /// The answer to it.
    pub(super) fn answer(&self, came: Came) -> Option<FromUnit> {
        match self {
            Self::Say { lease, .. } => Some(FromUnit::Said {
                lease: *lease,
                came,
            }),
            Self::Write { number, .. } => Some(FromUnit::Wrote {
                number: *number,
                came,
            }),
            Self::Standings => None,
        }
    }

    /// What whoever does not serve the unit answers: nothing was written.
    pub(super) fn declined(letter: &[u8], why: &str) -> Option<Bytes> {
        let letter: Self = serde_json::from_slice(letter).ok()?;
        let answer = letter.answer(Came::Not(why.to_owned()))?;
        serde_json::to_vec(&answer).ok().map(Bytes::from)
    }

    const fn channel(&self) -> Option<&Login> {
        match self {
            Self::Say { channel, .. } | Self::Write { channel, .. } => Some(channel),
            Self::Standings => None,
        }
    }
}

impl Unit {
    /// There is no connection on which it could be written.
    pub(super) async fn declines(&self, letter: &ToIrc) -> Result<(), Over> {
        let why = "the unit has no connection right now".to_owned();
        match letter.answer(Came::Not(why)) {
            Some(answer) => {
                self.says(Item::Letter(super::report::written(&answer)))
                    .await
            }
            None => Ok(()),
        }
    }

    /// Writes it, on the connection that is in its channel. `old`: the one in whose place this
    /// one came, which is heard on.
    pub(super) async fn writes(
        &self,
        letter: ToIrc,
        account: Option<&Login>,
        party: &mut Party,
        old: Option<&mut Party>,
    ) -> Result<(), Over> {
        let Some(channel) = letter.channel() else {
            return Ok(());
        };
        let came = match (self.is_live, account) {
            (false, _) => Came::Not("the unit does not serve here".to_owned()),
            (true, None) => Came::Not("nobody is logged in: it only reads".to_owned()),
            (true, Some(account)) => {
                let mut parties = std::iter::once(party).chain(old);
                match parties.find(|party| party.is_in(channel)) {
                    Some(party) => party.writes(&letter, account).await,
                    None => Came::Not(format!("the unit is not in {channel} right now")),
                }
            }
        };
        match letter.answer(came) {
            Some(answer) => {
                self.says(Item::Letter(super::report::written(&answer)))
                    .await
            }
            None => Ok(()),
        }
    }
}

impl Party {
    async fn writes(&mut self, letter: &ToIrc, me: &Login) -> Came {
        let waits = match letter {
            ToIrc::Say { account, .. } if account != me => {
                Err(format!("the channel is read by {me}, and not by {account}"))
            }
            ToIrc::Say {
                channel,
                text,
                reply_to,
                ..
            } => self.connection().say(channel, text, reply_to.as_deref()),
            ToIrc::Write { line, .. } => self.connection().write(line),
            ToIrc::Standings => return Came::Unknown,
        };
        match waits {
            Err(why) => Came::Not(why),
            Ok(()) if self.connection().is_written().await => Came::Written,
            Ok(()) => Came::Unknown,
        }
    }
}
