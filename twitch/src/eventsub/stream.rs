//! A session, and whatever session follows it where Twitch wants another one in its place.
//!
//! ```text
//! session_reconnect ─▶ the next one is opened, this one is read on
//!                      Welcome ─▶ what still comes on the one before, then the next one
//! ```
//!
//! So nothing is missed, and what comes on both is handed on once.

use std::{collections::VecDeque, fmt, pin::Pin, sync::Arc, time::Duration};

use futures_util::future::select_all;
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

/// What came is known for so long: Twitch may send it again, and so may the other session.
const KNOWN: Duration = Duration::from_secs(60);

/// The next session is open within this time, or is tried again after a pause, for as long as
/// the one before is there.
const DIAL: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(25);

/// Sessions before the newest, at most: Twitch may ask for one after the other.
const BEFORE: usize = 3;

type Opening = Pin<Box<dyn Future<Output = Result<Session, Error>> + Send>>;
/// Opens the session at an address.
type Opens = Arc<dyn Fn(String) -> Opening + Send + Sync>;

/// See the module.
pub struct Stream {
    opens: Opens,
    current: Session,
    /// Whether it ended before the next one was open.
    is_over: bool,
    next: Option<Next>,
    /// The oldest first.
    before: VecDeque<Before>,
    seen: Seen,
}

/// The session that takes the current one's place, while it is opened.
struct Next {
    /// The newest address: the next try is there.
    url: String,
    since: Instant,
    at: Instant,
    opening: Option<JoinHandle<Result<Session, Error>>>,
}

/// The session whose place another one took.
struct Before {
    session: Session,
    /// Until then it is read alone.
    first: Instant,
    heard: Instant,
    until: Instant,
}

enum Came {
    Current(Heard),
    /// On which of those before.
    Before(usize, Heard),
    Next(Box<Result<Session, Error>>),
    Looks,
}

impl Stream {
    /// Opens the first session, up to its Welcome, within `within`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn connect(url: &str, within: Duration) -> Result<Self, Error> {
        let first = Session::open(url, within).await?;
        let opens: Opens = Arc::new(|url| Box::pin(async move { Session::open(&url, DIAL).await }));
        Ok(Self::of(first, opens))
    }

    /// Over streams in memory.
    #[cfg(test)]
    pub(crate) async fn over(twitch: &Arc<twitch_mock::Twitch>) -> Result<Self, Error> {
        let first = Session::over(twitch.eventsub(), "/ws").await?;
        let twitch = Arc::clone(twitch);
        let opens: Opens = Arc::new(move |url| {
            let stream = twitch.eventsub();
            let query = url
                .split_once('?')
                .map_or("", |(_, query)| query)
                .to_owned();
            Box::pin(async move { Session::over(stream, &format!("/ws?{query}")).await })
        });
        Ok(Self::of(first, opens))
    }

    fn of(current: Session, opens: Opens) -> Self {
        Self {
            opens,
            current,
            is_over: false,
            next: None,
            before: VecDeque::new(),
            seen: Seen::new(KNOWN),
        }
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
            let alone = self.before.iter().any(|it| it.is_alone(now));
            let look = self.before.iter().map(|it| it.looks(now)).min();
            let came = tokio::select! {
                biased;
                (at, heard) = next_of(&mut self.before, now) => Came::Before(at, heard),
                opened = opened(self.next.as_mut(), &self.opens) => Came::Next(Box::new(opened)),
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
            Came::Before(at, Heard::Incoming(Incoming::Ended { .. })) => {
                self.before.remove(at);
                None
            }
            Came::Before(at, Heard::Incoming(incoming)) => {
                if let Some(before) = self.before.get_mut(at) {
                    before.heard = now;
                }
                self.once(incoming, now)
            }
            // It has its next one.
            Came::Before(_, Heard::Reconnect(_)) => None,
            Came::Current(Heard::Incoming(ended @ Incoming::Ended { .. })) => {
                // Where the next one is being opened, the stream goes on with that.
                self.is_over = true;
                self.next.is_none().then_some(ended)
            }
            Came::Current(Heard::Incoming(incoming)) => self.once(incoming, now),
            Came::Current(Heard::Reconnect(url)) => {
                tracing::info!("Twitch wants another session in this one's place");
                self.is_over |= mutant!("old-session-left");
                // A try that is under way goes on: if Twitch has taken it already, the session
                // is there and nowhere else.
                let opening = self.next.take().and_then(|next| next.opening);
                self.next = Some(Next {
                    url,
                    since: now,
                    at: now,
                    opening,
                });
                None
            }
            Came::Next(opened) => self.next_is(*opened, now),
            Came::Looks => {
                self.before.retain(|it| now < it.until);
                None
            }
        }
    }

    fn next_is(&mut self, opened: Result<Session, Error>, now: Instant) -> Option<Incoming> {
        let next = self.next.take()?;
        match opened {
            Ok(session) => {
                let session = std::mem::replace(&mut self.current, session);
                if !std::mem::take(&mut self.is_over) {
                    if self.before.len() == BEFORE {
                        self.before.pop_front();
                    }
                    self.before.push_back(Before {
                        session,
                        first: now + FIRST,
                        heard: now,
                        until: now + OLD,
                    });
                }
                None
            }
            Err(error) if self.is_over => Some(Incoming::Ended {
                code: None,
                why: format!("the session in its place: {error}"),
            }),
            // The current one is there for as long as Twitch keeps it.
            Err(error) => {
                if now + PAUSE < next.since + PATIENCE {
                    tracing::debug!(%error, "the next session is tried again");
                    self.next = Some(Next {
                        at: now + PAUSE,
                        opening: None,
                        ..next
                    });
                } else {
                    tracing::warn!(%error, "there is no next session: this one is read to its end");
                }
                None
            }
        }
    }

    /// What came is handed on once.
    fn once(&mut self, incoming: Incoming, now: Instant) -> Option<Incoming> {
        let Incoming::Event(event) = &incoming else {
            return Some(incoming);
        };
        let is_known = event.key().is_some_and(|key| !self.seen.insert(key, now));
        (!is_known).then_some(incoming)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("current", &self.current)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
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

/// What is heard on the sessions before, each of them up to the first that is read alone.
async fn next_of(before: &mut VecDeque<Before>, now: Instant) -> (usize, Heard) {
    let mut all = Vec::new();
    for (at, one) in before.iter_mut().enumerate() {
        let is_alone = one.is_alone(now);
        all.push(Box::pin(async move { (at, one.session.next().await) }));
        if is_alone {
            break;
        }
    }
    match all.is_empty() {
        true => std::future::pending().await,
        false => select_all(all).await.0,
    }
}

async fn opened(next: Option<&mut Next>, opens: &Opens) -> Result<Session, Error> {
    let Some(next) = next else {
        return std::future::pending().await;
    };
    sleep_until(next.at).await;
    let opening = (next.opening).get_or_insert_with(|| tokio::spawn(opens(next.url.clone())));
    let gone = |error: tokio::task::JoinError| Err(Error::Unreachable(error.to_string()));
    opening.await.unwrap_or_else(gone)
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(opening) = self.next.as_ref().and_then(|next| next.opening.as_ref()) {
            opening.abort();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
