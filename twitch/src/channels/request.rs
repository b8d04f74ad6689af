//! What a request to join or to part is answered, for each channel.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Error, Manager, Placed, Unit, Unix, Want, Wanted};
use crate::Login;

/// What became of a request, for one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done; which unit has to do it, where we choose that.
    Resolved(Option<Unit>),
    /// It was so already; which unit has it, where we choose that.
    Ignored(Option<Unit>),
    /// Not now.
    Rejected(Reason),
    /// Its broadcaster does not let the bot in. Nothing is kept of the request.
    Unauthorised,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No unit of its account has room. It is wanted, and tried again.
    NoRoom,
    /// Its account is in as many channels as Twitch allows. It is wanted, and tried again.
    Cap,
    /// The list of channels is full. Nothing is kept of the request.
    ListFull,
}

/// What the transport says of a channel that is to be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It will be, by this unit, where we choose that.
    New(Option<Unit>),
    /// It was already asked for.
    Already(Option<Unit>),
    /// It cannot be now.
    Not(Reason),
}

/// What the transport says of a channel that is to be parted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It will be, by this unit, where we choose that.
    Now(Option<Unit>),
    /// The bot was not there.
    Before,
}

impl From<Option<Unit>> for Left {
    /// Of [`Layout::part`](super::Layout::part).
    fn from(unit: Option<Unit>) -> Self {
        unit.map_or(Self::Before, |unit| Self::Now(Some(unit)))
    }
}

impl From<Placed> for Taken {
    fn from(placed: Placed) -> Self {
        match placed {
            Placed::New(unit) => Self::New(Some(unit)),
            Placed::Already(unit) => Self::Already(Some(unit)),
            Placed::NoRoom => Self::Not(Reason::NoRoom),
            Placed::Cap => Self::Not(Reason::Cap),
        }
    }
}

/// The bot's owner wants these channels. First that is stored, then `take` is asked for each
/// of those that may be joined, with the account that is stored of it: [`Layout::join`](super::Layout::join), or
/// whoever subscribes. What it cannot take is wanted all the same, so a later
/// [comparison](super::Reconciler::compare) tries it again. The caller bounds how many
/// channels one request names.
///
/// It blocks, as each call of a [`Manager`].
///
/// # Errors
/// The list could not be read or written. What was stored before that is wanted.
pub fn join(
    manager: &mut dyn Manager,
    channels: &[Wanted],
    now: Unix,
    mut take: impl FnMut(&Wanted) -> Taken,
) -> Result<BTreeMap<Login, Answer>, Error> {
    let wants = manager.want(channels, now)?;
    let mut answers = BTreeMap::new();
    for (login, want) in wants {
        let answer = match want {
            Want::Unauthorised => Answer::Unauthorised,
            Want::Full => Answer::Rejected(Reason::ListFull),
            Want::New | Want::Already => {
                let row = manager.get(&login)?;
                let wanted = Wanted {
                    login: login.clone(),
                    id: row.as_ref().and_then(|row| row.id.clone()),
                    account: row.and_then(|row| row.account),
                };
                match take(&wanted) {
                    Taken::New(unit) => Answer::Resolved(unit),
                    Taken::Already(unit) => Answer::Ignored(unit),
                    Taken::Not(reason) => Answer::Rejected(reason),
                }
            }
        };
        answers.insert(login, answer);
    }
    Ok(answers)
}

/// The bot's owner does not want these channels any more. First that is stored, then `leave`
/// is asked for each: [`Layout::part`](super::Layout::part), or whoever ends subscriptions.
/// To leave a channel needs nobody's authorisation.
///
/// It blocks, as each call of a [`Manager`].
///
/// # Errors
/// The list could not be written; nothing was done.
pub fn part(
    manager: &mut dyn Manager,
    channels: &[Login],
    mut leave: impl FnMut(&Login) -> Left,
) -> Result<BTreeMap<Login, Answer>, Error> {
    let were: BTreeSet<Login> = manager.unwant(channels)?.into_iter().collect();
    let channels: BTreeSet<&Login> = channels.iter().collect();
    let mut answer = |channel: &Login| match leave(channel) {
        Left::Now(unit) => Answer::Resolved(unit),
        Left::Before if were.contains(channel) => Answer::Resolved(None),
        Left::Before => Answer::Ignored(None),
    };
    let answers = channels
        .into_iter()
        .map(|channel| (channel.clone(), answer(channel)));
    Ok(answers.collect())
}
