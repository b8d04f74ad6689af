//! What the page needs of others: Twitch, and the list of channels.

use std::{fmt, future::Future};

use crate::{Login, UserId, channels::Change};

/// Asks Twitch who a broadcaster is, and writes down what that one decides. The caller
/// implements it, over Helix and a [`Manager`](crate::channels::Manager), whose calls
/// block: it makes them on a thread for that.
pub trait Door: Sync {
    /// [`Manager::manages`](crate::channels::Manager::manages); it does not wait.
    fn asks_broadcasters(&self) -> bool;

    /// Trades the code for a token, by `redirect`, and says whose it is and what it may:
    /// `POST /oauth2/token` with `authorization_code`, then `GET /oauth2/validate`. The
    /// token is not needed any longer.
    fn exchange(
        &self,
        code: Code,
        redirect: &str,
    ) -> impl Future<Output = Result<Broadcaster, Failed>> + Send;

    /// [`Manager::authorise`](crate::channels::Manager::authorise), with
    /// [`Reconnect::Yes`](crate::channels::Reconnect::Yes).
    fn authorise(&self, who: &Broadcaster) -> impl Future<Output = Result<Change, Failed>> + Send;

    /// [`Manager::revoke`](crate::channels::Manager::revoke).
    fn revoke(&self, who: &Broadcaster) -> impl Future<Output = Result<Change, Failed>> + Send;
}

/// Who decides, as Twitch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcaster {
    /// The login now.
    pub login: Login,
    /// The id.
    pub id: UserId,
    /// What was granted to the bot.
    pub scopes: Vec<String>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Twitch knows no such code, or not this application: look at the client's id and
    /// secret, and at the address that is registered for it.
    #[error("Twitch refused the code: compare the client's id, secret and redirect address")]
    Refused,
    /// Twitch, or the list, cannot be reached.
    #[error("Twitch or the list of channels could not be reached: try again")]
    Unavailable,
}

/// A code of Twitch, which is worth a token once.
pub struct Code(String);

impl Code {
    pub(super) const fn new(code: String) -> Self {
        Self(code)
    }

    /// For the request to Twitch, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}
