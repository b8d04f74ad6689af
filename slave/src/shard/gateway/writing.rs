//! Whether a command was written. The library does not say it: but it has one to write at a
//! time, and counts what it writes so as to keep to Discord's limit.

use std::task::Poll;

use tokio::time::{Duration, Instant};
use twilight_gateway::Message;

use super::{Gateway, Received};
use crate::bot::Way;

/// A socket that takes nothing is looked at again after this.
const LOOK: Duration = Duration::from_secs(1);

impl Gateway {
    /// Whether a command would be written at the next poll; else when to ask again.
    pub(crate) fn may_command(&self) -> Result<(), Instant> {
        let later = Err(Instant::now() + LOOK);
        match self.shard.ratelimiter() {
            _ if self.writing.is_some() => later,
            Some(_) if !self.shard.state().is_identified() => later,
            Some(limiter) if limiter.available() > 0 => Ok(()),
            Some(limiter) => Err(Instant::now() + limiter.next_available()),
            None => later,
        }
    }

    /// Whether the session goes on here.
    pub(crate) fn is_identified(&self) -> bool {
        self.shard.ratelimiter().is_some() && self.shard.state().is_identified()
    }

    /// Writes a command, at once if the socket takes it.
    pub(crate) async fn command(&mut self, json: String, way: Way) {
        debug_assert!(self.writing.is_none(), "one at a time");
        self.shard.send(json);
        self.writing = Some(way);
        self.push().await;
    }

    /// Lets the library write what it was given. `false`: its socket takes nothing.
    pub(super) async fn has_written(&mut self) -> bool {
        if self.writing.is_some() {
            self.push().await;
        }
        self.writing.is_none()
    }

    /// Payloads of the last minute that count. `None`: there is no connection.
    pub(super) fn counted(&self) -> Option<u8> {
        let limiter = self.shard.ratelimiter()?;
        Some(limiter.max().saturating_sub(limiter.available()))
    }

    /// The library was polled, before which it had written so much.
    pub(super) fn notes_writing(&mut self, before: Option<u8>, polled: &Poll<Received>) {
        // It reads only when nothing is left to write. What was counted a minute ago may go
        // out of the count meanwhile: then what comes next says it.
        let has_read = matches!(polled, Poll::Ready(Some(Ok(Message::Text(_)))));
        if (has_read || self.counted() > before)
            && let Some(way) = self.writing.take()
        {
            way.written();
        }
    }
}
