//! The calls to Helix that chat bots need.
//!
//! Each call is one request of one point (a list: one a page); nothing is tried again but a
//! request whose application token had become invalid, once. A chat message is never sent
//! twice.
//!
//! There is no call that deletes a conduit.

mod chat;
mod conduits;
mod error;
mod grant;
mod request;
mod subscriptions;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
mod token;
mod users;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{
    chat::Sent,
    conduits::{Conduit, Refused, Shard},
    error::Error,
    grant::Granted,
    subscriptions::{Condition, Subscription},
    users::User,
};
use self::{request::Http, token::Tokens};

/// The permit that a request costs.
pub(crate) const PERMIT: &str = "helix";

/// Where Helix is, and as whom it is asked.
#[derive(Clone)]
pub struct Config {
    api: String,
    oauth: String,
    client_id: String,
    client_secret: Secret,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Config {
    /// Of this application, at Twitch.
    #[must_use]
    pub fn new(client_id: &str, client_secret: &str) -> Self {
        Self {
            api: "https://api.twitch.tv/helix".to_owned(),
            oauth: "https://id.twitch.tv/oauth2".to_owned(),
            client_id: client_id.to_owned(),
            client_secret: Secret(client_secret.to_owned()),
        }
    }

    /// Helix somewhere else.
    #[must_use]
    pub fn with_api(mut self, url: &str) -> Self {
        url.trim_end_matches('/').clone_into(&mut self.api);
        self
    }

    /// OAuth somewhere else.
    #[must_use]
    pub fn with_oauth(mut self, url: &str) -> Self {
        url.trim_end_matches('/').clone_into(&mut self.oauth);
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("api", &self.api)
            .field("oauth", &self.oauth)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Helix. Clones are the same, and share the application's token.
#[derive(Clone, Debug)]
pub struct Helix(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    http: Http,
    tokens: Tokens,
    requests: AtomicU64,
}

impl Helix {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// An address is none, or would carry the secret in clear to another host; or the
    /// certificates of this host cannot be read.
    pub fn new(config: Config) -> Result<Self, Error> {
        for address in [&config.api, &config.oauth] {
            request::check(address)?;
        }
        let http = Http::new()?;
        Ok(Self(Arc::new(Inner {
            tokens: Tokens::new(&config),
            config,
            http,
            requests: AtomicU64::new(0),
        })))
    }

    /// How many requests were sent to Helix, each of which costs a point.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}
