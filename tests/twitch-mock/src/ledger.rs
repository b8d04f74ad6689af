//! What happened: every message of every channel, to whom it was sent, and what became of
//! connections. It only grows, is bounded, and says so when it had to leave something out.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::clock::monotonic_us;

/// What kind of thing happened in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// PRIVMSG, `channel.chat.message`.
    Message,
    /// USERNOTICE `sub`, `channel.chat.notification`.
    Sub,
    /// USERNOTICE `raid`, `channel.chat.notification`.
    Raid,
    /// CLEARCHAT of a user, `channel.chat.clear_user_messages`.
    ClearChat,
    /// CLEARMSG, `channel.chat.message_delete`.
    ClearMsg,
    /// `stream.online`; IRC does not tell it.
    Online,
}

impl Kind {
    /// The type of subscription that gets it.
    pub(crate) const fn subscription(self) -> &'static str {
        match self {
            Self::Message => "channel.chat.message",
            Self::Sub | Self::Raid => "channel.chat.notification",
            Self::ClearChat => "channel.chat.clear_user_messages",
            Self::ClearMsg => "channel.chat.message_delete",
            Self::Online => "stream.online",
        }
    }
}

/// One message, or another event of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its number among all, from 1.
    pub number: u64,
    /// Its kind.
    pub kind: Kind,
    /// The login of the channel.
    pub channel: Arc<str>,
    /// Its number in the channel, from 1.
    pub seq: u64,
    /// The tag `id` of IRC, `event.message_id` of EventSub. A CLEARCHAT has none on its
    /// way, only here.
    pub id: Arc<str>,
    /// When it was made: `CLOCK_MONOTONIC`, microseconds.
    pub created_us: u64,
    /// How often it was written to a connection.
    pub deliveries: u32,
    /// How often Twitch gave it up: no shard would take it, or it went into a connection
    /// that was cut half open.
    pub dropped: u32,
}

/// Who got a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A connection to IRC, counted from 1.
    Irc(u64),
    /// A session of EventSub.
    Session {
        /// Its id.
        session: Arc<str>,
        /// The shard of the conduit, if it came through one.
        shard: Option<u32>,
    },
}

/// A message was sent to somebody, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Which message.
    pub number: u64,
    /// To whom; `None` if no shard would take it.
    pub to: Option<Recipient>,
    /// When: `CLOCK_MONOTONIC`, microseconds.
    pub at_us: u64,
    /// Whether it was given up.
    pub dropped: bool,
}

/// A step in the life of a connection, or a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// `CLOCK_MONOTONIC`, microseconds.
    pub at_us: u64,
    /// Of whom: `irc/3`, `eventsub/SESSION`, `helix`.
    pub who: String,
    /// What happened, as `login`, `join`, `kick`, `close`.
    pub what: &'static str,
    /// More about it. Never a token.
    pub detail: String,
}

/// How much there is, and how much was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// How many are held.
    pub len: usize,
    /// How many found no room: if not 0, a verdict cannot be trusted.
    pub overflow: u64,
}

/// The sizes of the parts of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extents {
    /// Messages.
    pub messages: Extent,
    /// Deliveries.
    pub deliveries: Extent,
    /// Lines of the log.
    pub log: Extent,
    /// Messages that Twitch gave up and nobody got.
    pub dropped: u64,
}

/// A list that only grows, up to a limit.
struct Bounded<T> {
    items: Vec<T>,
    limit: usize,
    overflow: u64,
}

impl<T> Bounded<T> {
    const fn new(limit: usize) -> Self {
        Self {
            items: Vec::new(),
            limit,
            overflow: 0,
        }
    }

    fn push(&mut self, item: T) {
        if self.items.len() < self.limit {
            self.items.push(item);
        } else {
            self.overflow += 1;
        }
    }

    const fn extent(&self) -> Extent {
        Extent {
            len: self.items.len(),
            overflow: self.overflow,
        }
    }
}

impl<T: Clone> Bounded<T> {
    fn read(&self, from: usize, limit: usize) -> Vec<T> {
        self.items.iter().skip(from).take(limit).cloned().collect()
    }
}

struct Inner {
    messages: Bounded<Message>,
    deliveries: Bounded<Delivery>,
    log: Bounded<LogLine>,
    next: u64,
    in_channel: BTreeMap<Arc<str>, u64>,
}

/// Everything that happened.
pub(crate) struct Ledger(Mutex<Inner>);

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.extents()).finish()
    }
}

impl Ledger {
    pub(crate) fn new(messages: usize, deliveries: usize, log: usize) -> Self {
        Self(Mutex::new(Inner {
            messages: Bounded::new(messages),
            deliveries: Bounded::new(deliveries),
            log: Bounded::new(log),
            next: 0,
            in_channel: BTreeMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a message its numbers. It is numbered even if there is no room for it.
    pub(crate) fn create(&self, kind: Kind, channel: &Arc<str>, id: &Arc<str>) -> Message {
        let mut inner = self.lock();
        inner.next += 1;
        let seq = inner.in_channel.entry(Arc::clone(channel)).or_default();
        *seq += 1;
        let message = Message {
            number: 0,
            kind,
            channel: Arc::clone(channel),
            seq: *seq,
            id: Arc::clone(id),
            created_us: monotonic_us(),
            deliveries: 0,
            dropped: 0,
        };
        let message = Message {
            number: inner.next,
            ..message
        };
        inner.messages.push(message.clone());
        message
    }

    /// The message was written to a connection.
    pub(crate) fn delivered(&self, number: u64, to: Recipient) {
        self.note(number, Some(to), false);
    }

    /// The message was given up.
    pub(crate) fn dropped(&self, number: u64, to: Option<Recipient>) {
        self.note(number, to, true);
    }

    fn note(&self, number: u64, to: Option<Recipient>, dropped: bool) {
        let mut inner = self.lock();
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        if let Some(message) = inner.messages.items.get_mut(at) {
            if dropped {
                message.dropped += 1;
            } else {
                message.deliveries += 1;
            }
        }
        inner.deliveries.push(Delivery {
            number,
            to,
            at_us: monotonic_us(),
            dropped,
        });
    }

    pub(crate) fn log(
        &self,
        who: impl Into<String>,
        what: &'static str,
        detail: impl Into<String>,
    ) {
        self.lock().log.push(LogLine {
            at_us: monotonic_us(),
            who: who.into(),
            what,
            detail: detail.into(),
        });
    }

    pub(crate) fn messages(&self, from: usize, limit: usize) -> Vec<Message> {
        self.lock().messages.read(from, limit)
    }

    pub(crate) fn deliveries(&self, from: usize, limit: usize) -> Vec<Delivery> {
        self.lock().deliveries.read(from, limit)
    }

    pub(crate) fn lines(&self, from: usize, limit: usize) -> Vec<LogLine> {
        self.lock().log.read(from, limit)
    }

    pub(crate) fn extents(&self) -> Extents {
        let inner = self.lock();
        let given_up = |message: &&Message| message.dropped > 0 && message.deliveries == 0;
        Extents {
            messages: inner.messages.extent(),
            deliveries: inner.deliveries.extent(),
            log: inner.log.extent(),
            dropped: inner.messages.items.iter().filter(given_up).count() as u64,
        }
    }

    /// Looks at all messages without copying them.
    pub(crate) fn with_messages<R>(&self, look: impl FnOnce(&[Message]) -> R) -> R {
        look(&self.lock().messages.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ledger_counts_on_and_says_that_it_left_out() {
        let ledger = Ledger::new(1, 1, 1);
        let (channel, id) = (Arc::from("a"), Arc::from("x"));
        for number in 1..=3 {
            let message = ledger.create(Kind::Message, &channel, &id);
            assert_eq!((message.number, message.seq), (number, number));
            ledger.delivered(number, Recipient::Irc(1));
            ledger.log("irc/1", "join", "");
        }
        let full = Extent {
            len: 1,
            overflow: 2,
        };
        let extents = ledger.extents();
        assert_eq!(extents.messages, full);
        assert_eq!(extents.deliveries, full);
        assert_eq!(extents.log, full);
    }
}
