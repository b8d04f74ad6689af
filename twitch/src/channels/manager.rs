//! Who decides which channels the bot may be in, and keeps which it is to be in.

use std::{collections::BTreeMap, time::Duration};

use super::{Channel, Error, Reconnect, Unix, Wanted};
use crate::{Login, UserId};

/// A channel without a sign of life for longer than a week is stale.
pub const STALE_AFTER: Duration = Duration::from_secs(168 * 3600);

/// More channels are not kept in a list.
pub const MOST: usize = 500_000;

/// Decides which channels the bot may be in, and keeps which it is to be in.
///
/// Two things are kept apart: *wanted* is what the bot's owner decides, *authorised* what the
/// broadcaster does. The bot is to be where both are so: [`goal`](Self::goal). Whoever is
/// authorised again is therefore joined again, and a part is none of the broadcaster's.
///
/// All calls read or write a file, so they may block, for at most some seconds: an
/// asynchronous caller makes them on a thread for that. Another process may write
/// the same file at any time; [`revision`](Self::revision) tells of it. Each call
/// is done wholly or not at all, and what it answered is on the disk.
pub trait Manager: Send {
    /// Whether authorisations count here. If not, an invite page has no sense.
    fn manages(&self) -> bool;

    /// A broadcaster lets the bot in. With an id it is known who that is: if the login was
    /// somebody else's before, nothing of that one stays, and if the one with this id
    /// had another login, that row gets the new one.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn authorise(&mut self, grant: &Grant, now: Unix) -> Result<Change, Error>;

    /// A broadcaster takes that back. It stays wanted, for a new authorisation.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn revoke(&mut self, channel: &Login, now: Unix) -> Result<Change, Error>;

    /// Whether the bot may be in it.
    ///
    /// # Errors
    /// The file could not be read.
    fn is_authorised(&self, channel: &Login) -> Result<bool, Error>;

    /// The bot's owner wants these channels; each of them that may be joined shows life by
    /// it. An account or an id that is `None` leaves what is stored.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn want(&mut self, channels: &[Wanted], now: Unix) -> Result<BTreeMap<Login, Want>, Error>;

    /// The bot's owner does not want these any more, also not by [`Reconnect::Yes`]. The
    /// answer is which of them were wanted.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn unwant(&mut self, channels: &[Login]) -> Result<Vec<Login>, Error>;

    /// The bot's account that reads the channel is this one from now on; `None`: the default
    /// one. `false`: the list does not have the channel.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn read_by(&mut self, channel: &Login, account: Option<&Login>) -> Result<bool, Error>;

    /// The channel shows life: its stream began, say. `false`: the list does not have it.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn acknowledge(&mut self, channel: &Login, now: Unix) -> Result<bool, Error>;

    /// Which wanted channels showed no life for longer than `after` ([`STALE_AFTER`]).
    ///
    /// # Errors
    /// The file could not be read.
    fn stale(&self, now: Unix, after: Duration) -> Result<Vec<Login>, Error>;

    /// Stale channels are wanted no more; the answer is which. One that shows life
    /// meanwhile is not among them. With [`Reconnect::Yes`] it is wanted again at its
    /// next sign of life.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn clean(&mut self, now: Unix, after: Duration) -> Result<Vec<Login>, Error>;

    /// Where the bot is to be: wanted and authorised, by login.
    ///
    /// # Errors
    /// The file could not be read.
    fn goal(&self) -> Result<Vec<Wanted>, Error>;

    /// What is known of a channel.
    ///
    /// # Errors
    /// The file could not be read.
    fn get(&self, channel: &Login) -> Result<Option<Channel>, Error>;

    /// A page of the list, by login: at most `most` channels behind `after`.
    ///
    /// # Errors
    /// The file could not be read.
    fn list(&self, after: Option<&Login>, most: usize) -> Result<Vec<Channel>, Error>;

    /// Twitch says which user has this login now. If the list knows that user by another
    /// login, it is renamed; if the login was another user's, that user's
    /// authorisation does not count for this one. A channel that the list does not
    /// have is not added.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn named(&mut self, channel: &Login, id: &UserId) -> Result<Change, Error>;

    /// Forgets channels that are neither wanted nor authorised, and showed no life since
    /// `before`. How many.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    fn purge(&mut self, before: Unix) -> Result<usize, Error>;

    /// Differs from an earlier one of this manager if the list may have changed since, by
    /// whomever.
    ///
    /// # Errors
    /// The file could not be read.
    fn revision(&self) -> Result<Revision, Error>;
}

/// Who lets the bot in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The broadcaster, and channel.
    pub login: Login,
    /// The broadcaster's id, if Twitch said it.
    pub id: Option<UserId>,
    /// Whether the bot comes by itself.
    pub reconnect: Reconnect,
}

/// Whether a call changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It did.
    Made,
    /// It was so already.
    Already,
    /// Authorisations do not count here: see [`Manager::manages`].
    NotManaged,
    /// The list has no room: see [`MOST`]. Nothing changed.
    Full,
}

/// What became of a wish to be in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It is wanted now.
    New,
    /// It was wanted before.
    Already,
    /// Its broadcaster does not let the bot in; nothing is kept of the wish.
    Unauthorised,
    /// The list has no room: see [`MOST`]. Nothing is kept of the wish.
    Full,
}

/// See [`Manager::revision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// What this connection changed.
    pub(super) own: u64,
    /// SQLite's count of what others did.
    pub(super) others: i64,
}
