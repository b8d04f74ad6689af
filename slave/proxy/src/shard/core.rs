//! What a shard knows: its ring, and who gets it. Pure: time comes in, and what is to be told
//! upstream is gathered in `finished`.
//!
//! Numbers are the ring's own: a sequence of the shard's session plus a shift, which stays
//! as it is for as long as the session does. With a new session the numbers go on, and one
//! of them is its barrier.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use baton_protocol::{Sequence, SequenceRanges};
use tokio::{sync::Notify, time::Instant};

use super::{
    askers::Askers,
    budget::Budget,
    item::{Body, Event, OfNote},
    keeping::Keeping,
    ring::Ring,
    session::{Attachment, Session},
    undo::Undo,
};
use crate::{
    config::{Limits, Timings},
    status::{GivenUp, Reason, Totals},
    upstream::{Begin, Dispatch},
};

/// A hole in the sequences of this size is filled; a larger one is another session's.
const HOLE: u64 = 10_000;
/// Ended sessions whose end is remembered.
const ENDED: usize = 64;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// A newer client has taken over.
    Replaced,
    /// Another connection has resumed it.
    Elsewhere,
    /// What it would need is not kept any more.
    Lost,
    /// The shard has a new session, which knows nothing of what came before.
    NewSession,
    /// The shard has moved away.
    Moved,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) ring: Ring,
    limits: Limits,
    pub(super) timings: Timings,
    budget: Budget,
    /// From a sequence to its number; `None`: nothing came yet.
    pub(super) shift: Option<i128>,
    /// The number of the barrier of the shard's present session; 0: it was taken over.
    pub(super) barrier: u64,
    pub(super) primary: Option<Session>,
    pub(super) mirrors: BTreeMap<String, Session>,
    /// Waits for the primary to acknowledge.
    pub(super) successor: Option<Attachment>,
    /// Rings when the primary is at rest: the shard is about to leave.
    pub(super) parting: Option<Arc<Notify>>,
    /// Counts the changes of what goes along when it leaves.
    pub(super) clients_version: u64,
    pub(super) clients_are_new: bool,
    /// Received or handled, as a client says, before the shard's replay brought it here.
    ahead: SequenceRanges,
    /// The ids of sessions that were taken over from.
    pub(super) replaced: VecDeque<String>,
    ended: VecDeque<(u64, Over)>,
    pub(super) askers: Askers,
    /// The bot.
    pub(super) own_user: Option<u64>,
    pub(super) keeping: Keeping,
    /// Since when there is no room and nothing was acknowledged.
    pub(super) full_since: Option<Instant>,
    /// Whether there is room, as it was said last.
    pub(super) said_room: bool,
    /// What was given up last, and when.
    pub(super) given_up: Option<(Instant, GivenUp)>,
    last_key: u64,
    /// What happened since the shard came.
    pub(super) counts: Totals,
    /// To be told upstream.
    finished: Vec<(Sequence, Sequence)>,
    /// The guilds that the READY of the shard's session named, and whether they came.
    named: BTreeMap<u64, bool>,
    pub(super) has_left: bool,
}

impl Core {
    pub(crate) fn new(limits: Limits, timings: Timings, budget: Budget, now: Instant) -> Self {
        Self {
            ring: Ring::new(0, limits.ring, limits.history, &budget),
            limits,
            timings,
            budget,
            shift: None,
            barrier: 0,
            primary: None,
            mirrors: BTreeMap::new(),
            successor: None,
            parting: None,
            clients_version: 0,
            clients_are_new: false,
            ahead: SequenceRanges::new(),
            replaced: VecDeque::new(),
            ended: VecDeque::new(),
            askers: Askers::default(),
            own_user: None,
            keeping: Keeping::Away(now),
            full_since: None,
            said_room: true,
            given_up: None,
            last_key: 0,
            counts: Totals::default(),
            finished: Vec::new(),
            named: BTreeMap::new(),
            has_left: false,
        }
    }

    /// Whether a client can begin here.
    pub(crate) const fn is_ready(&self) -> bool {
        self.shift.is_some() && !self.has_left && self.parting.is_none()
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// A session begins, or goes on.
    pub(crate) fn begin(&mut self, begin: &Begin, now: Instant) {
        match (begin, self.shift) {
            (Begin::New { ready, guilds }, _) => {
                self.new_session(*ready, now);
                self.named = guilds.iter().map(|guild| (*guild, false)).collect();
            }
            (Begin::Resumed { handled } | Begin::Other { handled }, None) => {
                self.first_session(*handled);
            }
            (Begin::TakenOver { handled, clients }, None) => {
                self.first_session(*handled);
                self.take_clients_over(*handled, clients);
            }
            (Begin::Resumed { handled } | Begin::TakenOver { handled, .. }, Some(shift)) => {
                // Somebody else finished events that no client here has seen.
                if i128::from(handled.get()) + shift > i128::from(self.ring.last()) {
                    self.new_session(*handled, now);
                }
            }
            (Begin::Other { handled }, Some(_)) => self.new_session(*handled, now),
        }
    }

    fn first_session(&mut self, handled: Sequence) {
        let Limits { ring, history, .. } = self.limits;
        self.ring = Ring::new(handled.get(), ring, history, &self.budget);
        self.shift = Some(0);
    }

    /// `first` is the first sequence of it, which is no client's.
    fn new_session(&mut self, first: Sequence, now: Instant) {
        // Whoever is not here would find the barrier, and nothing else.
        if self
            .primary
            .as_ref()
            .is_some_and(|it| it.attached.is_none())
        {
            self.primary = None;
        }
        self.mirrors.retain(|_, mirror| mirror.attached.is_some());
        self.named.clear();
        self.barrier = self.ring.push(Body::Barrier, now);
        self.shift = Some(i128::from(self.barrier) - i128::from(first.get()));
        let barrier = self.barrier;
        self.handled(barrier, barrier);
        self.ahead = SequenceRanges::new();
        self.clients_changed();
        self.wake_all();
    }

    /// The next number of an event of the shard's session; `None`: it is not above the last.
    fn number(&self, sequence: Sequence) -> Option<u64> {
        let number = i128::from(sequence.get()) + self.shift?;
        u64::try_from(number)
            .ok()
            .filter(|number| *number > self.ring.last())
    }

    /// The number up to which a state has every event, if it has those up to `at` of the
    /// shard's session.
    pub(crate) fn number_at(&self, at: Sequence) -> u64 {
        let number = self.shift.map_or(0, |shift| i128::from(at.get()) + shift);
        u64::try_from(number).unwrap_or(0)
    }

    /// Takes a dispatch in.
    pub(crate) fn push(&mut self, dispatch: &Dispatch, event: Option<Event>, now: Instant) {
        if self.shift.is_none() {
            return;
        }
        let Some(number) = self.number(dispatch.sequence) else {
            let number = self.number_at(dispatch.sequence);
            if self.ring.fills_hole(number) {
                self.comes_late(event.as_ref(), now);
            }
            // It comes again. If it is finished, that is said again.
            if number <= self.ring.acknowledged() || self.ring.is_handled(number) {
                self.finished.push((dispatch.sequence, dispatch.sequence));
            }
            return;
        };
        let hole = number - self.ring.last() - 1;
        if hole > HOLE {
            tracing::warn!(
                hole,
                "so many sequences were left out that it counts as a new session"
            );
            self.new_session(Sequence(dispatch.sequence.get().saturating_sub(1)), now);
        } else {
            for _ in 0..hole {
                self.fill(Body::Hole, now);
            }
        }
        let Some(event) = event else {
            return self.fill(Body::Filler, now);
        };
        self.counts.events += 1;
        let event = Arc::new(event);
        if self.is_part_of_ready(&event) {
            return self.fill(Body::Filler, now);
        }
        let number = self.ring.push(Body::Event(event), now);
        if self.ahead.contains(Sequence(number)) {
            self.handled(number, number);
        }
        self.ahead.remove_through(Sequence(number));
        if self.keeping == Keeping::Nobody {
            self.counts.unattended += 1;
            self.handled(number, number);
        }
        self.look_after_room(now);
        self.wake_all();
    }

    /// The next number is nobody's.
    fn fill(&mut self, with: Body, now: Instant) {
        let filler = self.ring.push(with, now);
        self.handled(filler, filler);
    }

    /// Something comes behind later events, whose clients were told that there is nothing: it
    /// has no place any more. Upstream keeps the order, so that this is a fault to be told.
    fn comes_late(&mut self, event: Option<&Event>, now: Instant) {
        let Some(event) = event.filter(|_| !mutant!("late-event-untold")) else {
            return;
        };
        tracing::error!(
            kind = %event.kind,
            "an event is lost: it came behind later ones of its shard"
        );
        self.counts.events += 1;
        self.counts.lost += 1;
        let given_up = GivenUp {
            reason: Reason::Late,
            events: 1,
            bytes: event.cost(),
            ago_ms: 0,
        };
        self.given_up = Some((now, given_up));
    }

    /// Whether it is the first word about a guild that READY named, and nobody is here to
    /// whom READY was said: whoever comes gets the guild with its own READY.
    fn is_part_of_ready(&mut self, event: &Event) -> bool {
        let OfNote::GuildCreate { guild } = event.of_note else {
            return false;
        };
        let Some(came) = self.named.get_mut(&guild) else {
            return false;
        };
        if std::mem::replace(came, true) {
            return false;
        }
        let barrier = self.barrier;
        let mut all = self.primary.iter().chain(self.mirrors.values());
        !all.any(|session| session.began_at >= barrier)
    }

    /// Whether the shard's own READY named this guild.
    pub(crate) fn was_named(&self, guild: u64) -> bool {
        self.named.contains_key(&guild)
    }

    pub(super) fn handled(&mut self, first: u64, last: u64) {
        self.comes_yet(first, last);
        let new = self.ring.handle(first, last);
        self.tell(&new);
    }

    pub(super) fn acknowledge(&mut self, through: u64) {
        self.comes_yet(0, through);
        let new = self.ring.acknowledge(through);
        self.tell(&new);
    }

    /// Of these, the ones that the shard's replay did not bring yet.
    fn comes_yet(&mut self, first: u64, last: u64) {
        let first = first.max(self.ring.last() + 1);
        if first <= last {
            self.ahead.insert_range(Sequence(first), Sequence(last));
        }
    }

    /// Of sessions that are over nothing is told.
    pub(super) fn tell(&mut self, numbers: &[(u64, u64)]) {
        let Some(shift) = self.shift else {
            return;
        };
        for &(first, last) in numbers {
            let first = first.max(self.barrier);
            if first <= last {
                let sequence = |number: u64| {
                    let sequence = u64::try_from(i128::from(number) - shift);
                    Sequence(sequence.unwrap_or(0))
                };
                self.finished.push((sequence(first), sequence(last)));
            }
        }
        // What was acknowledged before lets nothing more in.
        if !numbers.is_empty() {
            self.full_since = None;
        }
    }

    /// What is to be told upstream.
    pub(crate) fn take_finished(&mut self) -> Vec<(Sequence, Sequence)> {
        std::mem::take(&mut self.finished)
    }

    /// The shard goes to another process, with everything that is not acknowledged.
    pub(crate) fn leave(&mut self) {
        self.has_left = true;
        self.wake_all();
    }

    pub(crate) const fn has_left(&self) -> bool {
        self.has_left
    }

    /// What the session of this key would need is not kept any more.
    pub(crate) fn is_lost(&mut self, key: u64) {
        self.end(key, Over::Lost);
    }

    /// The session of this key is over, which its connection is told.
    pub(super) fn end(&mut self, key: u64, over: Over) {
        let Some(session) = self.session(key) else {
            return;
        };
        session.wake();
        self.primary = self.primary.take().filter(|it| it.key != key);
        self.mirrors.retain(|_, mirror| mirror.key != key);
        self.clients_changed();
        self.remember(key, over);
        self.look_after_successor();
    }

    pub(super) fn remember(&mut self, key: u64, over: Over) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((key, over));
    }

    /// How the session of this key ended.
    pub(super) fn end_of(&self, key: u64) -> Over {
        let ended = self.ended.iter().find(|(ended, _)| *ended == key);
        ended.map_or(Over::Replaced, |(_, over)| *over)
    }

    /// What a backlog above `undo.through` does to guilds. `false`: a part of it is not kept
    /// any more, which nobody but a mirror has to expect.
    #[must_use]
    pub(crate) fn extend_undo(&self, undo: &mut Undo) -> bool {
        if !self.ring.reaches(undo.through) && !mutant!("undo-with-a-hole") {
            return false;
        }
        for item in self.ring.above(undo.through) {
            match &item.body {
                Body::Event(event) => undo.note(item.number, &event.of_note),
                Body::Hole | Body::Filler | Body::Barrier => {
                    undo.note(item.number, &OfNote::Nothing)
                }
            }
        }
        true
    }

    pub(crate) fn last(&self) -> u64 {
        self.ring.last()
    }

    pub(super) fn wake_all(&self) {
        for session in self.primary.iter().chain(self.mirrors.values()) {
            session.wake();
        }
        if let Some(successor) = &self.successor {
            successor.wake.notify_one();
        }
    }
}
