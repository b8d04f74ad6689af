//! Clients of a shard: they come, go on, take over and go. Part of [`Core`].

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    core::{Core, Over},
    intents::Fewer,
    item::{Body, Event, Item, OfNote},
    session::{Attachment, LastWord, Session, Wish},
};

/// Ids of sessions that were taken over from and are still known.
const REPLACED: usize = 16;

/// What becomes of an IDENTIFY.
#[derive(Debug)]
pub(crate) enum Identified {
    /// The shard has no session yet.
    NotYet,
    /// A client is here, which is to acknowledge first what it was sent.
    Settling,
    /// A newer client waits for the same.
    Overtaken,
    /// It begins: what it gets begins above this number.
    Begun { key: u64, position: u64 },
}

/// What becomes of a RESUME.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// It goes on; so many events are replayed.
    Here { key: u64, replayed: u64 },
    /// No such session, or what it would need is gone: op 9.
    Gone(&'static str),
    /// A newer client has its place, and is here.
    Replaced,
    /// A sequence that it was never sent.
    InvalidSequence,
}

/// Whether a client is asked what it has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    Not,
    InTurn,
    /// Its successor waits for the answer.
    Soon,
}

/// What there is for a connection.
#[derive(Debug)]
pub(crate) enum Take {
    /// These, ascending; `None` in the place of what is not for it. Of what it did not ask for
    /// by its intents its connection knows. `more`: there are more.
    Batch {
        dispatches: Vec<(u64, Option<Arc<Event>>)>,
        more: bool,
    },
    /// RESUMED is due, with this sequence.
    Resumed(u64),
    Nothing,
    Over(Over),
}

impl Core {
    pub(super) fn session(&mut self, key: u64) -> Option<&mut Session> {
        let mut all = self.primary.iter_mut().chain(self.mirrors.values_mut());
        all.find(|session| session.key == key)
    }

    /// A client begins. `id` is that of its session, if it does. `waited`: the primary had
    /// its time.
    pub(crate) fn identify(
        &mut self,
        attachment: &Attachment,
        wish: &Wish,
        id: &str,
        waits: bool,
        waited: bool,
    ) -> Identified {
        if !self.is_ready() {
            return Identified::NotYet;
        }
        if wish.mirror.is_none() {
            let is_successor = |it: &Attachment| it.connection == attachment.connection;
            if waits && !self.successor.as_ref().is_some_and(is_successor) {
                return Identified::Overtaken;
            }
            if !waited && self.has_to_settle() && !mutant!("successor-unsettled") {
                if !waits {
                    self.now_waits(attachment);
                }
                return Identified::Settling;
            }
        }
        let key = self.next_key();
        let position = match wish.mirror {
            None => self.ring.acknowledged(),
            Some(_) => self.ring.last(),
        };
        let session = Session {
            key,
            id: id.to_owned(),
            wish: wish.clone(),
            attached: Some(attachment.clone()),
            began_at: self.ring.last(),
            position: i64::try_from(position).unwrap_or(i64::MAX),
            greeting: None,
            sent: position,
            heard: position,
            most: position,
            is_frozen: false,
            last_word: LastWord::Unasked,
            resumed_at: None,
        };
        self.counts.sessions += 1;
        let before = match &wish.mirror {
            Some(name) => self.mirrors.insert(name.clone(), session),
            None => {
                self.successor = None;
                self.somebody_is_here();
                self.primary.replace(session)
            }
        };
        if let Some(before) = before {
            if before.attached.is_some() {
                self.counts.takeovers += 1;
            }
            before.wake();
            self.remember(before.key, Over::Replaced);
            if self.replaced.len() == REPLACED {
                self.replaced.pop_front();
            }
            self.replaced.push_back(before.id);
        }
        self.clients_changed();
        Identified::Begun { key, position }
    }

    fn now_waits(&mut self, attachment: &Attachment) {
        if let Some(before) = self.successor.replace(attachment.clone()) {
            before.wake.notify_one();
        }
        if let Some(primary) = &mut self.primary {
            primary.is_frozen = true;
            primary.wake();
        }
    }

    /// Whether the primary is here and may yet acknowledge what it was sent.
    pub(super) fn has_to_settle(&self) -> bool {
        let Some(primary) = self.primary.as_ref().filter(|it| it.attached.is_some()) else {
            return false;
        };
        primary.last_word != LastWord::Said
            && match primary.wish.says_handled {
                true => primary.greeting.is_some() && self.ring.acknowledged() < primary.sent,
                false => primary.is_behind(),
            }
    }

    /// Whether a client whose session ends is waited for: what it acknowledges now does not come
    /// again in its next one.
    fn has_last_word(&mut self, key: u64) -> bool {
        let Some(primary) = self.primary.as_mut().filter(|it| it.key == key) else {
            return false;
        };
        if primary.last_word == LastWord::Unasked {
            primary.last_word = LastWord::Asked(None);
        }
        self.has_to_settle() && !mutant!("op-9-unasked")
    }

    /// A connection that waited to take over is gone.
    pub(crate) fn waits_no_more(&mut self, connection: u64) {
        let waits = self.successor.as_ref();
        if waits.is_some_and(|successor| successor.connection == connection) {
            self.successor = None;
            if let Some(primary) = &mut self.primary {
                primary.is_frozen = false;
                primary.wake();
            }
        }
    }

    /// Its greeting had so many dispatches; the backlog and what comes follow.
    pub(crate) fn greeted(&mut self, key: u64, dispatches: u64) {
        if let Some(session) = self.session(key) {
            session.greeting = Some(dispatches);
            self.clients_changed();
        }
    }

    /// A client goes on.
    pub(crate) fn resume(&mut self, attachment: &Attachment, id: &str, sequence: u64) -> Resumed {
        let mut all = self.primary.iter().chain(self.mirrors.values());
        let Some(session) = all.find(|session| session.id == id) else {
            let primary = self.primary.as_ref();
            let has_successor = primary.is_some_and(|it| it.attached.is_some());
            self.counts.resumes_refused += 1;
            return if has_successor && self.replaced.iter().any(|replaced| replaced == id) {
                Resumed::Replaced
            } else {
                Resumed::Gone("no such session")
            };
        };
        let key = session.key;
        let refused = match session.number(sequence) {
            None => Resumed::Gone("it was not greeted to the end"),
            Some(number) if number > session.sent.max(session.most) => Resumed::InvalidSequence,
            // The replay will bring what it has already.
            Some(number) if number <= self.ring.last() && !self.ring.reaches(number) => {
                tracing::warn!(
                    sequence,
                    "a client resumes below what is kept: it has to begin anew"
                );
                Resumed::Gone("what it needs is not kept any more")
            }
            Some(number) => {
                self.counts.resumes += 1;
                self.counts.replayed += self.ring.last().saturating_sub(number);
                return self.goes_on(attachment, key, number);
            }
        };
        self.counts.resumes_refused += 1;
        self.end(key, Over::Lost);
        refused
    }

    fn goes_on(&mut self, attachment: &Attachment, key: u64, number: u64) -> Resumed {
        let last = self.ring.last();
        let Some(session) = self.session(key) else {
            return Resumed::Gone("no such session");
        };
        session.wake();
        session.attached = Some(attachment.clone());
        session.sent = number;
        session.resumed_at = Some(last);
        if session.wish.mirror.is_none() {
            self.somebody_is_here();
        }
        self.has_received(key, number);
        let replayed = last.saturating_sub(number);
        Resumed::Here { key, replayed }
    }

    /// What there is for a connection: about so many bytes, and at least one event.
    pub(crate) fn take(&mut self, key: u64, connection: u64, bytes: usize) -> Take {
        let has_left = self.has_left();
        let Some(session) = self.session(key) else {
            return Take::Over(self.end_of(key));
        };
        if !session.is_at(connection) {
            return Take::Over(Over::Elsewhere);
        }
        if has_left {
            return Take::Over(Over::Moved);
        }
        if session.is_frozen || session.greeting.is_none() {
            return Take::Nothing;
        }
        if let Some(at) = session.resumed_at
            && session.sent >= at
        {
            session.resumed_at = None;
            return Take::Resumed(session.sequence(session.sent).unwrap_or(0));
        }
        let (sent, began_at) = (session.sent, session.began_at);
        let is_mirror = session.wish.mirror.is_some();
        let until = session.resumed_at.unwrap_or(u64::MAX);
        // One that resumed may be ahead of the replay.
        if is_mirror && sent <= self.ring.last() && !self.ring.reaches(sent) {
            self.end(key, Over::Lost);
            return Take::Over(Over::Lost);
        }
        let (mut numbers, mut size, mut more) = (Vec::new(), 0, false);
        let mut is_over = false;
        for item in self.ring.above(sent) {
            if item.number > until || size >= bytes {
                more = true;
                break;
            }
            if matches!(item.body, Body::Barrier) && item.number > began_at {
                is_over = true;
                break;
            }
            size += item.cost();
            numbers.push((item.number, self.of_item(item, key, is_mirror)));
        }
        if numbers.is_empty() {
            if is_over {
                if self.has_last_word(key) {
                    return Take::Nothing;
                }
                self.end(key, Over::NewSession);
                return Take::Over(Over::NewSession);
            }
            return Take::Nothing;
        }
        let last = numbers.last().map_or(sent, |(number, _)| *number);
        let Some(session) = self.session(key) else {
            return Take::Nothing;
        };
        session.sent = last;
        let sequence = |number| session.sequence(number).unwrap_or(0);
        let dispatches = numbers.into_iter();
        let dispatches = dispatches
            .map(|(number, event)| (sequence(number), event))
            .collect();
        // The barrier, RESUMED and the end are for the next time.
        let more = more || is_over || session.resumed_at.is_some();
        if mutant!("acknowledged-when-sent") {
            self.acknowledge(last);
        }
        Take::Batch { dispatches, more }
    }

    /// What of an item is for this session.
    fn of_item(&self, item: &Item, key: u64, is_mirror: bool) -> Option<Arc<Event>> {
        let Body::Event(event) = &item.body else {
            return None;
        };
        if let OfNote::Answer { nonce } = &event.of_note
            && !self.askers.is_for(nonce, key)
        {
            return None;
        }
        // Its predecessor has handled it, out of order.
        if !is_mirror && self.ring.is_handled(item.number) {
            return None;
        }
        Some(Arc::clone(event))
    }

    /// A client says up to which sequence it has received everything. What it was not sent
    /// it cannot have.
    pub(crate) fn heard(&mut self, key: u64, connection: u64, sequence: u64) {
        let Some(session) = self.session(key).filter(|it| it.is_at(connection)) else {
            return;
        };
        let was_asked = matches!(session.last_word, LastWord::Asked(_));
        // Its words come in their order: those that it had said before are here.
        if was_asked && session.wish.says_handled {
            session.last_word = LastWord::Said;
        }
        if let Some(number) = session.number(sequence) {
            let number = number.min(session.sent);
            self.has_received(key, number);
        }
        if was_asked {
            self.looks_again(key);
        }
    }

    /// The connection of this session has something to do, perhaps.
    fn looks_again(&mut self, key: u64) {
        if let Some(session) = self.session(key) {
            session.wake();
        }
        self.look_after_successor();
    }

    /// Whose last word is waited for has this time.
    pub(super) fn tick_last_word(&mut self, now: Instant) {
        let settle = self.timings.settle;
        let Some(primary) = &mut self.primary else {
            return;
        };
        let LastWord::Asked(since) = &mut primary.last_word else {
            return;
        };
        if now - *since.get_or_insert(now) >= settle {
            primary.last_word = LastWord::Said;
            let key = primary.key;
            self.looks_again(key);
        }
    }

    fn has_received(&mut self, key: u64, number: u64) {
        let Some(session) = self.session(key) else {
            return;
        };
        session.heard = session.heard.max(number);
        let acknowledges = session.wish.mirror.is_none() && !session.wish.says_handled;
        if acknowledges {
            self.acknowledge(number);
        }
        self.look_after_successor();
    }

    /// A client says that it has handled these.
    pub(crate) fn says_handled(&mut self, key: u64, connection: u64, first: u64, last: u64) {
        let Some(session) = self.session(key).filter(|it| it.is_at(connection)) else {
            return;
        };
        if session.wish.mirror.is_some() || !session.wish.says_handled {
            return;
        }
        let greeting = session.greeting.unwrap_or(u64::MAX);
        // What is part of the greeting is nobody's but its own.
        let first = first.max(greeting.saturating_add(1));
        let sent = session.sent;
        if let (Some(first), Some(last)) = (session.number(first), session.number(last)) {
            self.handled(first, last.min(sent));
        }
        self.look_after_successor();
    }

    pub(super) fn look_after_successor(&self) {
        if let Some(parting) = &self.parting
            && !self.has_to_settle()
        {
            parting.notify_one();
        }
        if let Some(successor) = &self.successor
            && !self.has_to_settle()
        {
            successor.wake.notify_one();
        }
    }

    /// Whether it is worth asking the client what it has received.
    pub(crate) fn asking(&mut self, key: u64) -> Asking {
        match self.session(key) {
            Some(it) if it.wish.mirror.is_some() => Asking::Not,
            Some(it) if it.wish.says_handled => match it.last_word {
                LastWord::Asked(_) => Asking::Soon,
                LastWord::Unasked | LastWord::Said => Asking::Not,
            },
            Some(it) if !it.is_behind() => Asking::Not,
            Some(it) if it.is_frozen || it.last_word != LastWord::Unasked => Asking::Soon,
            Some(_) => Asking::InTurn,
            None => Asking::Not,
        }
    }

    /// A connection is gone. `gives_up`: its client will not resume.
    pub(crate) fn detach(&mut self, key: u64, connection: u64, gives_up: bool) {
        let Some(session) = self.session(key).filter(|it| it.is_at(connection)) else {
            return;
        };
        session.attached = None;
        // Who leaves with its shard goes on elsewhere.
        if gives_up && !self.has_left() {
            self.end(key, Over::Lost);
        }
        self.look_after_successor();
    }

    /// The session of this key asks with this nonce.
    pub(crate) fn asks(&mut self, nonce: &str, key: u64) {
        self.askers.asks(nonce, key);
    }

    /// What of everything the session of this key is to see, where that is not all of it, and
    /// who the bot is.
    pub(crate) fn sight(&mut self, key: u64) -> Option<(Fewer, Option<u64>)> {
        let fewer = self.session(key)?.wish.fewer?;
        Some((fewer, self.own_user))
    }

    /// Whether a command of this session may go up: presence and voice are not a mirror's.
    pub(crate) fn may_command(&mut self, key: u64, connection: u64, op: u64) -> bool {
        let session = self.session(key).filter(|it| it.is_at(connection));
        session.is_some_and(|it| it.wish.mirror.is_none() || !matches!(op, 3 | 4))
    }
}
