//! For how long events are kept: as long as there is room for them and somebody may come. Part
//! of [`Core`].

use std::time::Duration;

use tokio::time::Instant;

use super::{
    core::{Core, Over},
    session::Session,
};
use crate::status::{GivenUp, Reason};

/// How it stands with whom a shard's events are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// A client is attached.
    Attached,
    /// None is, since then; one is expected.
    Away(Instant),
    /// Nobody came for too long: events pass by until somebody does.
    Nobody,
}

impl Core {
    /// Whether one more event is taken.
    pub(crate) fn has_room(&self) -> bool {
        self.ring.has_room()
    }

    /// Whether that is other than it was said.
    pub(crate) fn take_room(&mut self) -> bool {
        let has_room = self.ring.has_room();
        std::mem::replace(&mut self.said_room, has_room) != has_room
    }

    /// For how long there has been no room is looked after, as long as the shard is here.
    pub(super) fn look_after_room(&mut self, now: Instant) {
        if self.has_room() {
            self.full_since = None;
            return;
        }
        let since = *self.full_since.get_or_insert(now);
        if now - since >= self.timings.hold && !self.has_left {
            let (_, bytes) = self.ring.bytes();
            tracing::error!(
                bytes,
                held_s = self.timings.hold.as_secs(),
                "the backlog is given up: no client acknowledged it, and Discord does not wait longer"
            );
            self.give_up(Reason::Full, now);
        }
    }

    /// Looks after those who are away. What is left of a shard that has left is its next
    /// owner's.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.has_left {
            return;
        }
        let is_here = |session: &Session| session.attached.is_some();
        if self.keeping == Keeping::Attached && !self.primary.as_ref().is_some_and(is_here) {
            self.keeping = Keeping::Away(now);
        }
        if let Keeping::Away(since) = self.keeping
            && now - since >= self.timings.keep
        {
            tracing::warn!(
                kept_s = self.timings.keep.as_secs(),
                "no client came: its events are kept no longer, until one does"
            );
            self.give_up(Reason::Away, now);
        }
        self.tick_last_word(now);
        self.look_after_room(now);
        self.ring.trim();
        let ring = &self.ring;
        self.mirrors.retain(|_, mirror| {
            mirror.attached.is_some() || mirror.greeting.is_none() || ring.reaches(mirror.sent)
        });
    }

    /// Nobody gets the backlog any more, and whoever should have is told.
    fn give_up(&mut self, reason: Reason, now: Instant) {
        let (bytes, _) = self.ring.bytes();
        let (lost, new) = self.ring.give_up();
        self.tell(&new);
        self.counts.lost += lost;
        if lost > 0 {
            tracing::error!(events = lost, "events are lost: no client received them");
            let given_up = GivenUp {
                reason,
                events: lost,
                bytes,
                ago_ms: 0,
            };
            self.given_up = Some((now, given_up));
        }
        if let Some(key) = self.primary.as_ref().map(|primary| primary.key) {
            self.end(key, Over::Lost);
        }
        self.keeping = Keeping::Nobody;
        self.wake_all();
    }

    pub(super) const fn somebody_is_here(&mut self) {
        self.keeping = Keeping::Attached;
        self.full_since = None;
    }

    /// How long a successor waits for the primary.
    pub(crate) fn patience(&self) -> Duration {
        let says_handled = self.primary.as_ref().is_some_and(|it| it.wish.says_handled);
        if says_handled {
            self.timings.drain
        } else {
            self.timings.settle
        }
    }
}
