//! One client's session: what it was sent, and what it acknowledged. Pure.

use std::sync::Arc;

use tokio::{sync::Notify, time::Instant};

use super::intents::Fewer;

/// A connection that serves a session, and how it is woken to look after it.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) connection: u64,
    pub(crate) wake: Arc<Notify>,
}

/// What a client wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The name of a mirror; `None`: the one that handles the shard's events.
    pub(crate) mirror: Option<String>,
    /// It says what it has handled: what it has received is not acknowledged by itself.
    pub(crate) says_handled: bool,
    /// The library's name, as IDENTIFY says it.
    pub(crate) library: String,
    /// The intents that it asked for, where these are fewer than the shard's.
    pub(crate) fewer: Option<Fewer>,
}

/// What a client says last, before it is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastWord {
    /// Nobody waits for it.
    Unasked,
    /// It is asked for, since then, as far as that was looked at.
    Asked(Option<Instant>),
    /// It came, or had its time. What the client had sent before it came too.
    Said,
}

/// One client's session. Its sequences are `number - base`, for ever.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: u64,
    pub(crate) id: String,
    pub(crate) wish: Wish,
    pub(crate) attached: Option<Attachment>,
    /// The last number of the ring when it began: barriers up to here are none for it.
    pub(crate) began_at: u64,
    /// What it gets begins above this number, which may be below the first of the ring.
    pub(crate) position: i64,
    /// How many dispatches greet it; `None`: it is being greeted.
    pub(crate) greeting: Option<u64>,
    /// The last number that was given to its connection.
    pub(crate) sent: u64,
    /// The last number that it has surely received.
    pub(crate) heard: u64,
    /// The last number that a process before may have sent to it.
    pub(crate) most: u64,
    /// A successor waits: it is sent nothing more.
    pub(crate) is_frozen: bool,
    pub(crate) last_word: LastWord,
    /// It resumed, and RESUMED follows behind this number.
    pub(crate) resumed_at: Option<u64>,
}

impl Session {
    /// A number less the client's sequence for it.
    fn lead(&self, greeting: u64) -> i128 {
        i128::from(self.position) - i128::from(greeting)
    }

    /// The sequence by which the client knows a number above its position.
    pub(crate) fn sequence(&self, number: u64) -> Option<u64> {
        match self.greeting {
            Some(greeting) => u64::try_from(i128::from(number) - self.lead(greeting)).ok(),
            None => None,
        }
    }

    /// The number behind a sequence; `None`: it is part of the greeting.
    pub(crate) fn number(&self, sequence: u64) -> Option<u64> {
        match self.greeting {
            Some(greeting) if sequence >= greeting => {
                u64::try_from(i128::from(sequence) + self.lead(greeting)).ok()
            }
            Some(_) | None => None,
        }
    }

    pub(crate) fn is_at(&self, connection: u64) -> bool {
        let attached = self.attached.as_ref();
        attached.is_some_and(|attached| attached.connection == connection)
    }

    pub(crate) fn wake(&self) {
        if let Some(attached) = &self.attached {
            attached.wake.notify_one();
        }
    }

    /// Whether it was sent something that it may not have received.
    pub(crate) const fn is_behind(&self) -> bool {
        self.greeting.is_some() && self.heard < self.sent
    }
}
