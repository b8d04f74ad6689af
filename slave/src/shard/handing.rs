//! What happens to one dispatch: the state is brought up to it, then it is
//! handed out, held or known already.

use std::panic::{AssertUnwindSafe, catch_unwind};

use baton_protocol::{Sequence, SequenceRanges, ShardId, message::CarriedEvent};
use tokio::time::Instant;

use super::{Shard, dispatch::Receipt, events::Over};
use crate::bot::{Event, Finished, Mark, State, StateStatus};

impl Shard {
    /// Takes a dispatch in that is neither READY nor RESUMED nor out of place.
    pub(super) fn deliver(&mut self, sequence: Sequence, kind: &str, json: String) {
        self.context.counters.received.add();
        let receipt = self.events.receive(sequence);
        if receipt == Receipt::Duplicate {
            self.context.counters.duplicates.add();
            return;
        }
        let Some(tag) = self.current.tag() else {
            return;
        };
        let event = Event::new(self.id, self.epoch, sequence, tag, kind, json);
        self.apply(&event);
        match receipt {
            Receipt::HandOut(mark) => {
                let mark = if self.current.follows_a_death() {
                    Mark::MayRepeat
                } else {
                    mark
                };
                self.hand_out_in_turn(event.marked(mark));
                // Most are finished by now, and need no turn of their own.
                self.finish_all_reported();
            }
            Receipt::Hold => self.events.hold(event),
            Receipt::StateOnly | Receipt::Duplicate => {}
        }
        self.touch();
    }

    /// RESUMED has a sequence of its own and nothing in it for a bot.
    pub(super) fn swallow(&mut self, sequence: Sequence) {
        self.context.counters.received.add();
        if let Receipt::HandOut(_) = self.events.receive(sequence) {
            self.events.finish(sequence);
        }
        self.touch();
    }

    /// The replay is over. What the former owner had not finished and what was not in
    /// it will not come any more; the former owner may yet finish it.
    pub(super) fn give_up_unreplayed(&mut self) {
        let missing = self.events.give_up_unreplayed();
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
            return;
        };
        self.context.counters.holes.add();
        tracing::error!(
            events = missing.len(), %first, %last,
            "Discord did not replay events that its former owner had in hand"
        );
        self.touch();
    }

    /// The former owner settled: what it did not finish is handed out, marked. What of
    /// that nobody brings is given up, loudly.
    pub(super) fn settled(&mut self, unfinished: &SequenceRanges, carried: Vec<CarriedEvent>) {
        let (shard, epoch) = (self.id, self.epoch);
        let tag = self.current.tag();
        let lost = self.events.settle(unfinished, carried, |event| {
            let CarriedEvent {
                sequence,
                kind,
                json,
            } = event;
            Some(Event::new(
                shard,
                epoch,
                sequence,
                tag.clone()?,
                &kind,
                json,
            ))
        });
        for sequence in lost {
            self.context.counters.given_up.add();
            tracing::error!(
                %sequence,
                "an event is given up: its former owner did not finish it, and Discord does not replay it any more"
            );
        }
        self.touch();
    }

    fn apply(&mut self, event: &Event) {
        self.changes_what_stays(event);
        let context = self.context.clone();
        if !context.keeps_state() {
            return;
        }
        let piece = || context.with_state(|state| state.piece_of(event)).flatten();
        if self.keeping.holds(event.sequence(), piece) {
            return;
        }
        context.with_state(|state| state.apply(event));
        if (self.keeping.copies_out() || self.snapshot.copies())
            && let Some(key) = piece()
        {
            self.keeping.changed(key, event.sequence());
            self.snapshot.changed(key, event.sequence());
        }
    }

    /// Hands an event out that the window counts as running.
    pub(super) fn hand_out(&mut self, event: Event, attempt: u32) {
        if self.context.lease.is_shut() {
            // It is the next owner's, and this shard is about to be sealed.
            self.events.give_back(vec![event]);
            return;
        }
        self.context.counters.handed.add();
        if event.mark() == Mark::MayRepeat {
            self.context.counters.marked.add();
        }
        let event = event.at_epoch(self.epoch);
        let sequence = event.sequence();
        let ack = self.events.hand_out(&event, attempt);
        let bot = &self.context.bot;
        // The shard goes on.
        let call = AssertUnwindSafe(|| bot.handle(event, ack, &self.handle));
        if catch_unwind(call).is_err() {
            self.events.has_panicked(sequence);
        }
    }

    pub(super) fn hand_out_retries(&mut self, now: Instant) {
        if self.context.lease.is_shut() {
            return;
        }
        while let Some((event, attempt)) = self.events.retry(now) {
            self.hand_out(event, attempt);
        }
    }

    /// What became of an event.
    pub(super) fn finished(&mut self, finished: Finished) {
        let (current, sequence) = (self.events.knows(&finished), finished.sequence);
        let timings = &self.context.config.timings;
        let over = self
            .events
            .over(finished, timings.retries, timings.retry_delay);
        if current {
            self.trial_ends(sequence);
        }
        let counters = &self.context.counters;
        if matches!(over, Over::GivenBack) {
            return counters.retried.add();
        }
        counters.finished.add();
        match over {
            Over::Finished | Over::GivenBack => {}
            Over::PanickedLater => {
                counters.failed.add();
                tracing::warn!(%sequence, "a handler panicked after its event was finished");
            }
            Over::Panicked => {
                counters.failed.add();
                tracing::warn!(%sequence, "a handler panicked");
            }
            Over::GivenUp { event, attempt } => {
                counters.failed.add();
                tracing::warn!(
                    %sequence, kind = event.kind(), attempt,
                    "an event was given back too often: given up"
                );
            }
        }
        if current {
            self.touch();
        }
    }

    /// Takes in what was reported up to now, so that a ticket is exact.
    pub(super) fn finish_all_reported(&mut self) {
        while let Some(finished) = self.events.reported() {
            self.finished(finished);
        }
    }

    /// Something changed: the next checkpoint will say it.
    pub(super) fn touch(&mut self) {
        if self.events.is_noted_at_once() {
            self.note();
        } else {
            let checkpoints = &self.context.checkpoints;
            self.notes.put_off(|| checkpoints.next_line());
        }
    }

    pub(super) fn note(&mut self) {
        self.notes.note(self.events.position(self.epoch));
    }

    pub(super) fn tell_state(&mut self, status: StateStatus) {
        self.keeping.set_lost(status == StateStatus::Lost);
        let status = match self.staying.is_lost() {
            true => StateStatus::Lost,
            false => status,
        };
        let bot = &self.context.bot;
        self.context
            .guarded(|| bot.state_changed(&self.handle, status));
    }

    /// See [`Context::with_state`](super::Context::with_state).
    pub(super) fn with_state<T>(&self, call: impl FnOnce(&dyn State, ShardId) -> T) -> Option<T> {
        self.context.with_state(|state| call(state, self.id))
    }
}
