//! The events of one session at this owner: where each of them stands, which are with
//! their handlers, and which are to be handed out again. What is done with them is up
//! to the shard; nobody else changes them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use baton_protocol::{Epoch, Sequence, SequenceRanges, Ticket, message::CarriedEvent};
use tokio::time::Instant;

use super::{
    dispatch::{Receipt, Window},
    hands::Hands,
    left::carried,
};
use crate::{
    bot::{Ack, Event, Finished, How, Mark, Reports},
    telemetry::Position,
};

/// Where a shard stands is noted for each event as long as so many ranges, or fewer,
/// are finished out of turn; else once for each checkpoint.
const NOTED_AT_ONCE: usize = 16;

/// Events of a session that is no longer there are of an older generation, and so are those
/// that were put back.
type Generation = u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Events {
    generation: Generation,
    window: Window,
    /// Payloads of events that their former owner may yet finish.
    held: BTreeMap<Sequence, Event>,
    /// Those that are with their handlers.
    hands: Hands,
    /// Those that a task before this one had not finished, until the session goes on.
    left: BTreeMap<Sequence, Event>,
    /// Those that were given back, each with the time at which it is handed out again.
    retries: VecDeque<Retry>,
    /// Those whose handler panicked, until what became of them is heard: one that let go
    /// of its guard before is a failure too.
    panicked: BTreeSet<(Generation, Sequence)>,
    reports: Reports,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    generation: Generation,
    attempt: u32,
    event: Event,
}

/// What became of an event that was with its handler.
#[derive(Debug)]
pub(super) enum Over {
    Finished,
    /// Its handler panicked after it was finished.
    PanickedLater,
    Panicked,
    /// It is handed out again.
    GivenBack,
    /// It was given back too often.
    GivenUp {
        event: Event,
        attempt: u32,
    },
}

impl Default for Events {
    fn default() -> Self {
        Self {
            generation: 0,
            window: Window::new(),
            held: BTreeMap::new(),
            hands: Hands::default(),
            left: BTreeMap::new(),
            retries: VecDeque::new(),
            panicked: BTreeSet::new(),
            reports: Reports::default(),
        }
    }
}

impl Events {
    /// With what a task before this one had not finished.
    pub(super) fn with_left(left: BTreeMap<Sequence, Event>) -> Self {
        Self {
            left,
            ..Self::default()
        }
    }

    /// Everything that is not finished, for a task behind this one.
    pub(super) fn into_left(self) -> BTreeMap<Sequence, Event> {
        let retries = self.retries.into_iter();
        let retries = retries.filter(|retry| retry.generation == self.generation);
        let mut left = self.left;
        left.extend(self.held);
        left.extend(self.hands.into_events());
        left.extend(retries.map(|retry| (retry.event.sequence(), retry.event)));
        left
    }

    /// An event that is handed out as soon as may be.
    fn at_once(&self, event: Event) -> Retry {
        Retry {
            at: Instant::now(),
            generation: self.generation,
            attempt: 1,
            event,
        }
    }

    /// Those of the former session, whatever became of them, are of no concern any more.
    pub(super) fn forget_session(&mut self) {
        self.generation += 1;
        self.window = Window::new();
        self.held.clear();
        self.hands.clear();
        self.retries.clear();
        self.left.clear();
    }

    /// A session goes on here, that `tag` names: that of the ticket or, `taken_back`, the
    /// one that was here.
    pub(super) fn resume(
        &mut self,
        tag: &str,
        ticket: &Ticket,
        state_at: Sequence,
        taken_back: bool,
    ) {
        let mut left = std::mem::take(&mut self.left);
        left.retain(|_, event| event.session() == tag && !mutant!("left-forgotten"));
        let own = taken_back.then_some(&self.window);
        self.window = Window::resumed(ticket, state_at, own, left.keys().copied());
        if !taken_back {
            self.generation += 1;
            self.retries.clear();
            self.hands.clear();
        }
        self.held.clear();
        for (sequence, event) in left {
            let event = event.marked(Mark::MayRepeat);
            if self.window.is_held(sequence) {
                self.held.insert(sequence, event);
            } else if self.window.is_due(sequence) && self.window.is_before_replay(sequence) {
                // No replay brings it again.
                let retry = self.at_once(event);
                self.retries.push_back(retry);
            }
        }
    }

    /// The state stands there, so the replay begins there.
    pub(super) fn replay_from(&mut self, state_at: Sequence) {
        self.window.replay_from(state_at);
    }

    /// See [`Window::disprove`].
    pub(super) fn disprove(&mut self, resumed: Sequence) -> bool {
        self.window.disprove(resumed)
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    /// Names a state of the session's: its generation, and what was received.
    pub(super) const fn moment(&self) -> (Generation, Sequence) {
        (self.generation, self.window.received())
    }

    /// A dispatch came.
    pub(super) fn receive(&mut self, sequence: Sequence) -> Receipt {
        self.window.receive(sequence)
    }

    /// One came that its former owner may yet finish.
    pub(super) fn hold(&mut self, event: Event) {
        debug_assert!(self.window.is_open(event.sequence()), "{event:?} is held");
        self.held.insert(event.sequence(), event);
    }

    /// One is finished that no handler has.
    pub(super) fn finish(&mut self, sequence: Sequence) {
        self.window.finish(sequence);
    }

    /// One goes to its handler, for the `attempt`-th time.
    pub(super) fn hand_out(&mut self, event: &Event, attempt: u32) -> Ack {
        let sequence = event.sequence();
        debug_assert!(self.window.runs(sequence), "{event:?} counts as running");
        self.hands.take(event.clone());
        let reporter = self.reports.reporter();
        Ack::new(reporter, self.generation, attempt, event.clone())
    }

    /// The handler of one panicked before it returned.
    pub(super) fn has_panicked(&mut self, sequence: Sequence) {
        self.panicked.insert((self.generation, sequence));
    }

    /// Whether it is of this session.
    pub(super) const fn knows(&self, finished: &Finished) -> bool {
        finished.generation == self.generation
    }

    /// One came back from its handler. It is handed out again up to `retries` times, each
    /// after `delay`.
    pub(super) fn over(&mut self, finished: Finished, retries: u32, delay: Duration) -> Over {
        let current = self.knows(&finished);
        let Finished {
            generation,
            sequence,
            how,
        } = finished;
        if current {
            self.hands.done(sequence);
        }
        let panicked = self.panicked.remove(&(generation, sequence));
        let over = match how {
            How::Done if panicked => Over::PanickedLater,
            How::Done => Over::Finished,
            How::Panicked => Over::Panicked,
            How::NotBegun { event, attempt } => {
                if current {
                    self.once_more(event, attempt, delay);
                }
                return Over::GivenBack;
            }
            How::Retry { event, attempt } if attempt < retries => {
                if current {
                    self.once_more(event, attempt + 1, delay);
                }
                return Over::GivenBack;
            }
            How::Retry { event, attempt } => Over::GivenUp { event, attempt },
        };
        if current {
            self.window.finish(sequence);
            debug_assert!(!self.window.is_open(sequence), "{sequence} is finished");
        }
        over
    }

    /// An event of this session came back, and is handed out again after `delay`.
    fn once_more(&mut self, event: Event, attempt: u32, delay: Duration) {
        if self.window.give_back(event.sequence(), event.mark()) {
            self.retries.push_back(Retry {
                at: Instant::now() + delay,
                generation: self.generation,
                attempt,
                event,
            });
        }
    }

    /// What is not finished is not handled here: for the next owner it is as if it had not
    /// been received. Gives those of them that an earlier process may have handled.
    pub(super) fn put_back_all(&mut self) -> SequenceRanges {
        let generation = self.generation;
        let hands = std::mem::take(&mut self.hands).into_events();
        let retries = std::mem::take(&mut self.retries).into_iter();
        let retries = retries.filter(|retry| retry.generation == generation);
        let events = hands
            .map(|(_, event)| event)
            .chain(retries.map(|retry| retry.event));
        // What is said of them later is of no concern, also where the shard comes back.
        self.generation += 1;
        let mut may_repeat = SequenceRanges::new();
        for event in events {
            let sequence = event.sequence();
            self.window.put_back(sequence);
            if event.mark() == Mark::MayRepeat {
                may_repeat.insert(sequence);
            }
        }
        may_repeat
    }

    /// What became of an event, the oldest word first; `None`: all words were taken.
    pub(super) fn reported(&self) -> Option<Finished> {
        self.reports.try_take()
    }

    /// Waits for such a word. Survives being cancelled.
    pub(super) async fn report(&self) -> Finished {
        self.reports.take().await
    }

    /// The shard works, and looks at the reports before it sleeps.
    pub(super) fn attend(&self) {
        self.reports.attend();
    }

    /// When one is to be handed out again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.front().map(|retry| retry.at)
    }

    /// One that is to be handed out again now. It counts as running from now on.
    pub(super) fn retry(&mut self, now: Instant) -> Option<(Event, u32)> {
        while self.retries.front().is_some_and(|retry| retry.at <= now) {
            let retry = self.retries.pop_front()?;
            if retry.generation == self.generation && self.window.run_again(retry.event.sequence())
            {
                return Some((retry.event, retry.attempt));
            }
        }
        None
    }

    /// These were not handed out after all: whoever owns the shard next does it. What a
    /// former owner cannot have had needs no mark there either.
    pub(super) fn give_back(&mut self, events: Vec<Event>) {
        for event in events {
            if event.mark() == Mark::None && !mutant!("unseen-in-doubt") {
                self.window.put_back(event.sequence());
            } else if self.window.give_back(event.sequence(), event.mark()) {
                let retry = self.at_once(event);
                self.retries.push_back(retry);
            }
        }
    }

    /// The replay is over. What the former owner had not finished and what was not in it
    /// will not come any more: it is given up, except for what comes with the word of its
    /// former owner.
    pub(super) fn give_up_unreplayed(&mut self) -> Vec<Sequence> {
        let mut missing = self.window.held();
        missing.retain(|sequence| {
            !self.held.contains_key(sequence) && !self.window.is_before_replay(*sequence)
        });
        for sequence in &missing {
            self.window.finish(*sequence);
        }
        missing
    }

    /// The former owner settled: what it did not finish is handed out, before all others,
    /// in its own order, marked. What of that neither Discord nor the former owner brings
    /// is given up: it would hold back everything behind it for ever.
    pub(super) fn settle(
        &mut self,
        unfinished: &SequenceRanges,
        carried: Vec<CarriedEvent>,
        event_of: impl Fn(CarriedEvent) -> Option<Event>,
    ) -> Vec<Sequence> {
        let mut carried: BTreeMap<Sequence, CarriedEvent> = carried
            .into_iter()
            .map(|event| (event.sequence, event))
            .collect();
        let (mut at_hand, mut lost) = (Vec::new(), Vec::new());
        for sequence in self.window.held() {
            let carried = carried.remove(&sequence);
            let held = self.held.remove(&sequence);
            let event = held.or_else(|| event_of(carried?));
            if !unfinished.contains(sequence) {
                self.window.finish(sequence);
            } else if event.is_none() && self.window.is_before_replay(sequence) {
                self.window.finish(sequence);
                lost.push(sequence);
            } else if self.window.give_back(sequence, Mark::MayRepeat) {
                at_hand.extend(event);
            }
        }
        for event in at_hand.into_iter().rev() {
            let retry = self.at_once(event.marked(Mark::MayRepeat));
            self.retries.push_front(retry);
        }
        debug_assert!(!self.window.holds(), "nothing is in doubt any more");
        lost
    }

    /// The payloads of what is not finished, for the next owner, the oldest first: as
    /// many as go into one message.
    pub(super) fn carried(&self, unfinished: &SequenceRanges) -> Vec<CarriedEvent> {
        let payload = |sequence| {
            let given_back = || {
                let mut retries = self.retries.iter().map(|retry| &retry.event);
                retries.find(|event| event.sequence() == sequence)
            };
            let event = self.hands.event(sequence).or_else(given_back);
            event.or_else(|| self.held.get(&sequence))
        };
        carried(unfinished.iter().filter_map(payload))
    }

    /// When where it stands is to be said once more, for its oldest event.
    pub(super) fn worth_a_look_at(&self) -> Option<Instant> {
        self.hands.worth_a_look_at()
    }

    /// Whether where it stands is said shortly.
    pub(super) fn is_noted_at_once(&self) -> bool {
        let mut ranges = self.window.finished_above().ranges();
        ranges.nth(NOTED_AT_ONCE).is_none()
    }

    /// Where it stands, for a checkpoint.
    pub(super) fn position(&mut self, epoch: Epoch) -> Position {
        Position {
            epoch,
            generation: self.generation,
            received: self.window.received(),
            handled: self.window.handled(),
            finished_above: self.window.finished_above().clone(),
            oldest: self.hands.oldest(self.window.received()),
        }
    }
}

#[cfg(test)]
mod tests {
    use baton_protocol::ShardId;

    use super::*;

    fn event(sequence: u64) -> (Sequence, Event) {
        let sequence = Sequence(sequence);
        let event = Event::for_test(ShardId(0), sequence, "MESSAGE_CREATE", "{}");
        (sequence, event)
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_task_left_behind_is_handed_out_again_whether_a_replay_brings_it_or_not() {
        // Its former owner may yet finish 105, and Discord replays from 100 on.
        let mut ticket = Ticket {
            handled: Sequence(5),
            in_doubt: [Sequence(105)].into_iter().collect(),
            replay_from: Sequence(99),
            ..Ticket::default()
        };
        ticket.finished_above.insert(Sequence(6));
        ticket
            .finished_above
            .insert_range(Sequence(8), Sequence(104));
        let left = [6, 7, 105, 120].map(event);
        let mut events = Events::with_left(left.into_iter().collect());
        events.resume("", &ticket, Sequence(u64::MAX), false);
        let in_doubt: Vec<u64> = events
            .window()
            .in_doubt()
            .iter()
            .map(Sequence::get)
            .collect();
        assert_eq!(in_doubt, [7, 105, 120]);
        let again = std::iter::from_fn(|| events.retry(Instant::now()));
        let again: Vec<_> = again
            .map(|(event, _)| (event.sequence().get(), event.mark()))
            .collect();
        assert_eq!(again, [(7, Mark::MayRepeat)]);
        assert_eq!(
            events.receive(Sequence(120)),
            Receipt::HandOut(Mark::MayRepeat)
        );
        let unfinished = [Sequence(105)].into_iter().collect();
        assert_eq!(events.settle(&unfinished, Vec::new(), |_| None), []);
        let held = events
            .retry(Instant::now())
            .map(|(event, _)| event.sequence());
        assert_eq!(held, Some(Sequence(105)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_another_session_is_nobody_s() {
        let mut events = Events::with_left([event(7)].into_iter().collect());
        events.resume("another", &Ticket::default(), Sequence(u64::MAX), false);
        assert!(events.window().in_doubt().is_empty());
    }
}
