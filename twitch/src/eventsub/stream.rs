//! A session, and whatever session follows it where Twitch wants another one in its place.
//!
//! ```text
//! session_reconnect ─▶ the next one is opened, this one is read on
//!                      Welcome ─▶ what still comes on the one before, then the next one
//! ```
//!
//! So nothing is missed, and what comes on both is handed on once.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    Incoming,
    session::{Error, Heard, Session},
};
use crate::seen::Seen;

/// The session before is alone read for so long behind the Welcome of the next one, or until
/// it is quiet: so messages of a channel keep their order.
const FIRST: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(500);

/// After this time the session before is closed. Twitch closes it after 30 s.
const OLD: Duration = Duration::from_secs(28);

/// What came on the session before is known for so long.
const KNOWN: Duration = Duration::from_secs(60);

/// The next session is open within this time.
const DIAL: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct Stream {
    current: Session,
    /// Whether it ended before the next one was open.
    is_over: bool,
    /// Of the session that takes its place.
    next: Option<JoinHandle<Result<Session, Error>>>,
    before: Option<Before>,
    seen: Seen,
}

/// The session whose place another one took.
#[derive(Debug)]
struct Before {
    session: Session,
    /// Until then it is read alone.
    first: Instant,
    heard: Instant,
    until: Instant,
}

enum Came {
    Current(Heard),
    Before(Heard),
    Next(Box<Result<Session, Error>>),
    Looks,
}

impl Stream {
    /// Opens the first session, up to its Welcome, within `within`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn connect(url: &str, within: Duration) -> Result<Self, Error> {
        Ok(Self {
            current: Session::open(url, within).await?,
            is_over: false,
            next: None,
            before: None,
            seen: Seen::new(KNOWN),
        })
    }

    /// What the newest session is called at Twitch.
    #[must_use]
    pub fn id(&self) -> String {
        self.current.id().to_owned()
    }

    /// What is heard next. Survives being cancelled.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let now = Instant::now();
            let alone = self.before.as_ref().is_some_and(|it| it.is_alone(now));
            let look = self.before.as_ref().map(|it| it.looks(now));
            let came = tokio::select! {
                biased;
                heard = next_of(self.before.as_mut().map(|it| &mut it.session)) => Came::Before(heard),
                opened = opened(self.next.as_mut()) => Came::Next(Box::new(opened)),
                heard = self.current.next(), if !alone && !self.is_over => Came::Current(heard),
                () = sleep_until(look.unwrap_or(now)), if look.is_some() => Came::Looks,
            };
            if let Some(incoming) = self.takes(came) {
                return incoming;
            }
        }
    }

    fn takes(&mut self, came: Came) -> Option<Incoming> {
        let now = Instant::now();
        match came {
            Came::Before(Heard::Incoming(Incoming::Ended { .. })) => {
                self.before = None;
                None
            }
            Came::Before(Heard::Incoming(incoming)) => {
                if let Some(before) = &mut self.before {
                    before.heard = now;
                }
                self.once(incoming, now)
            }
            // It has its next one.
            Came::Before(Heard::Reconnect(_)) => None,
            Came::Current(Heard::Incoming(ended @ Incoming::Ended { .. })) => {
                // Where the next one is being opened, the stream goes on with that.
                self.is_over = true;
                self.next.is_none().then_some(ended)
            }
            Came::Current(Heard::Incoming(incoming)) => self.once(incoming, now),
            Came::Current(Heard::Reconnect(url)) => {
                tracing::info!("Twitch wants another session in this one's place");
                if self.next.is_none() {
                    self.next = Some(tokio::spawn(async move { Session::open(&url, DIAL).await }));
                }
                None
            }
            Came::Next(opened) => {
                self.next = None;
                match *opened {
                    Ok(session) => {
                        let session = std::mem::replace(&mut self.current, session);
                        let is_over = std::mem::take(&mut self.is_over);
                        self.before = (!is_over).then_some(Before {
                            session,
                            first: now + FIRST,
                            heard: now,
                            until: now + OLD,
                        });
                        None
                    }
                    Err(error) => Some(Incoming::Ended {
                        code: None,
                        why: format!("the session in its place: {error}"),
                    }),
                }
            }
            Came::Looks => {
                if self.before.as_ref().is_some_and(|it| it.until <= now) {
                    self.before = None;
                }
                None
            }
        }
    }

    /// What came on the other session is handed on once.
    fn once(&mut self, incoming: Incoming, now: Instant) -> Option<Incoming> {
        let Incoming::Event(event) = &incoming else {
            return Some(incoming);
        };
        // Only where two sessions may bring the same.
        let watches = self.before.is_some() || self.next.is_some();
        let known = event.key().is_some_and(|key| match watches {
            true => !self.seen.insert(key, now),
            false => self.seen.contains(&key),
        });
        (!known).then_some(incoming)
    }
}

impl Before {
    fn is_alone(&self, now: Instant) -> bool {
        now < self.first && now < self.heard + QUIET
    }

    /// When something about it changes.
    fn looks(&self, now: Instant) -> Instant {
        match self.is_alone(now) {
            true => self.first.min(self.heard + QUIET),
            false => self.until,
        }
    }
}

async fn next_of(session: Option<&mut Session>) -> Heard {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}

async fn opened(next: Option<&mut JoinHandle<Result<Session, Error>>>) -> Result<Session, Error> {
    let Some(next) = next else {
        return std::future::pending().await;
    };
    let gone = |error: tokio::task::JoinError| Err(Error::Unreachable(error.to_string()));
    next.await.unwrap_or_else(gone)
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(next) = &self.next {
            next.abort();
        }
    }
}
