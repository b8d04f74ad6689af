//! The page on which broadcasters let the bot in, or take that back.
//!
//! Whoever presses a button is sent to Twitch, which asks the broadcaster and sends the
//! browser back with a code. For the code Twitch says who that is: the bot needs neither a
//! password nor a list of users. To let the bot in is to grant it `channel:bot`, so that it
//! may read and speak in the chat; to take that back, only a name is asked for.
//!
//! ```text
//!  browser                 here                                   Twitch
//!    │ POST /invite ────────▶ │ keeps state, sets cookie               │
//!    │ ◀── 303 to Twitch ──── │                                        │
//!    │ ────────────────────────────── "may it?" ─────────────────────▶ │
//!    │ ◀───────────────────────────── code, state ──────────────────── │
//!    │ GET /invite/callback ▶ │ cookie and state fit: once,            │
//!    │                        │ within ten minutes                     │
//!    │                        │ code ── Door::exchange ──────────────▶ │
//!    │ ◀── a page ─────────── │ Door::authorise ── the manager         │
//! ```
//!
//! [`Invite::answer`] is a function of a request: it needs no server, and any can call it. It
//! keeps the open requests of at most [`MOST_OPEN`] browsers, in memory: after a restart a
//! browser has to begin again. No code, state or cookie is in a log, an error or a
//! debug form.

mod door;
mod page;
mod pending;
mod settings;
#[cfg(test)]
mod tests;
mod text;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use tokio::time::{Instant, timeout};

pub use self::{
    door::{Broadcaster, Code, Door, Failed},
    pending::{MOST_OPEN, OPEN_FOR},
    settings::{BadSettings, Settings},
};
use self::{
    page::Page,
    pending::{Pending, Purpose},
    text::{cookie, parameter},
};
use crate::channels::Change;

/// What the broadcaster grants.
pub const SCOPE: &str = "channel:bot";

/// Twitch and the manager have so long each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing that Twitch sends back is longer.
const LONGEST_QUERY: usize = 4096;

/// See the [module](self).
#[derive(Debug)]
pub struct Invite {
    settings: Settings,
    pending: Mutex<Pending>,
}

impl Invite {
    /// One for these settings.
    ///
    /// # Errors
    /// An address is none, or would send codes in clear text over a network.
    pub fn new(settings: Settings) -> Result<Self, BadSettings> {
        settings.check()?;
        Ok(Self {
            settings,
            pending: Mutex::new(Pending::default()),
        })
    }

    /// Answers a request below `/invite`; its body is not read. It waits for `door` only,
    /// and for at most 20 s.
    pub async fn answer<B: Sync>(
        &self,
        door: &impl Door,
        request: &Request<B>,
        now: Instant,
    ) -> Response<Bytes> {
        let page = |page: Page| page.response(&self.settings);
        let allowed: &[Method] = match request.uri().path() {
            "/invite" => &[Method::GET, Method::HEAD, Method::POST],
            "/invite/revoke" => &[Method::POST],
            "/invite/callback" => &[Method::GET],
            "/invite/style.css" => &[Method::GET, Method::HEAD],
            _ => return page(Page::NotFound),
        };
        if !allowed.contains(request.method()) {
            return page::not_allowed(&self.settings, allowed);
        }
        if request.uri().path() == "/invite/style.css" {
            return page::style();
        }
        if !door.asks_broadcasters() {
            return page(Page::NotManaged);
        }
        match (request.uri().path(), request.method() == Method::POST) {
            ("/invite", true) => self.begin(request.headers(), Purpose::Authorise, now),
            ("/invite/revoke", _) => self.begin(request.headers(), Purpose::Revoke, now),
            ("/invite/callback", _) => self.finish(door, request, now).await,
            _ => page(Page::Invite),
        }
    }

    /// Sends the browser to Twitch.
    fn begin(&self, headers: &HeaderMap, purpose: Purpose, now: Instant) -> Response<Bytes> {
        if !self.is_ours(headers) {
            return Page::Foreign.response(&self.settings);
        }
        let Ok(ticket) = self.pending().begin(purpose, now) else {
            return Page::Failed.response(&self.settings);
        };
        let to = self.settings.authorise_url(purpose.scope(), &ticket.state);
        let cookie = self.settings.set_cookie(&ticket.cookie, OPEN_FOR);
        page::redirect(&self.settings, &to, &cookie)
    }

    /// Whether a form of this page was sent, as far as the browser says it.
    fn is_ours(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get("sec-fetch-site") {
            return site == "same-origin";
        }
        let origin = headers.get(header::ORIGIN);
        origin.is_none_or(|origin| origin.as_bytes() == self.settings.origin().as_bytes())
    }

    /// Twitch sent the browser back.
    async fn finish<B: Sync>(
        &self,
        door: &impl Door,
        request: &Request<B>,
        now: Instant,
    ) -> Response<Bytes> {
        let query = request.uri().query().unwrap_or_default();
        let cookie = cookie(request.headers(), self.settings.cookie_name());
        let state = parameter(query, "state");
        let (Some(cookie), Some(state), true) = (cookie, state, query.len() <= LONGEST_QUERY)
        else {
            return Page::Unasked.response(&self.settings);
        };
        let Some(purpose) = self.pending().take(cookie, &state, now) else {
            return Page::Unasked.response(&self.settings);
        };
        let page = match parameter(query, "code") {
            _ if parameter(query, "error").is_some() => Page::Denied,
            None => Page::Unasked,
            Some(code) => self.decide(door, Code::new(code), purpose).await,
        };
        let mut response = page.response(&self.settings);
        let gone = self.settings.set_cookie("", Duration::ZERO);
        page::add_cookie(&mut response, &gone);
        response
    }

    async fn decide(&self, door: &impl Door, code: Code, purpose: Purpose) -> Page {
        let asked = door.exchange(code, &self.settings.redirect);
        let who = match timeout(PATIENCE, asked).await {
            Ok(Ok(who)) => who,
            Ok(Err(Failed::Refused)) => return Page::Refused,
            Ok(Err(Failed::Unavailable)) | Err(_) => return Page::Unavailable,
        };
        let change = match purpose {
            Purpose::Authorise if !who.scopes.iter().any(|scope| scope == SCOPE) => {
                return Page::NotGranted;
            }
            Purpose::Authorise => timeout(PATIENCE, door.authorise(&who)).await,
            Purpose::Revoke => timeout(PATIENCE, door.revoke(&who)).await,
        };
        match (change, purpose) {
            (Ok(Ok(Change::Made | Change::Already)), Purpose::Authorise) => {
                Page::Authorised(who.login)
            }
            (Ok(Ok(Change::Made | Change::Already)), Purpose::Revoke) => Page::Revoked(who.login),
            (Ok(Ok(Change::NotManaged)), _) => Page::NotManaged,
            (Ok(Ok(Change::Full)), _) => Page::Full,
            (Ok(Err(_)) | Err(_), _) => Page::Failed,
        }
    }

    // Nothing panics in here.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
