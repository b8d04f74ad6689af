//! What happens to one dispatch: the state is brought up to it, then it is
//! handed out, held or known already.

use std::panic::{AssertUnwindSafe, catch_unwind};

use baton_protocol::{Sequence, ShardId};

use super::{Context, Shard, dispatch::Receipt};
use crate::bot::{Ack, Event, Mark, State, StateStatus};

impl Shard {
    /// Takes a dispatch in that is neither READY nor RESUMED nor out of place.
    pub(super) fn deliver(&mut self, sequence: Sequence, kind: &str, json: String) {
        self.context.counters.received.add();
        let receipt = self.window.receive(sequence);
        if receipt == Receipt::Duplicate {
            self.context.counters.duplicates.add();
            return;
        }
        let tag = match &self.session {
            Some(session) => session.tag.clone(),
            None => return,
        };
        let event = Event::new(self.id, self.epoch, sequence, tag, kind, json);
        self.apply(&event);
        match receipt {
            Receipt::HandOut(mark) => {
                let mark = if self.after_death {
                    Mark::MayRepeat
                } else {
                    mark
                };
                self.hand_out_in_turn(event.marked(mark));
                // Most are finished by now, and need no turn of their own.
                self.finish_all_reported();
            }
            Receipt::Hold => {
                self.held.insert(sequence, event);
            }
            Receipt::StateOnly | Receipt::Duplicate => {}
        }
        self.touch();
    }

    /// RESUMED has a sequence of its own and nothing in it for a bot.
    pub(super) fn swallow(&mut self, sequence: Sequence) {
        self.context.counters.received.add();
        if let Receipt::HandOut(_) = self.window.receive(sequence) {
            self.window.finish(sequence);
        }
        self.touch();
    }

    /// The replay is over. What the former owner had not finished and what was not in
    /// it will not come any more; the former owner may yet finish it.
    pub(super) fn give_up_unreplayed(&mut self) {
        let mut missing = self.window.held();
        // What was left out of the replay comes with the word of its former owner.
        missing.retain(|sequence| {
            !self.held.contains_key(sequence) && !self.window.is_before_replay(*sequence)
        });
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
            return;
        };
        self.context.counters.holes.add();
        tracing::error!(
            events = missing.len(), %first, %last,
            "Discord did not replay events that its former owner had in hand"
        );
        for sequence in missing {
            self.window.finish(sequence);
        }
        self.touch();
    }

    fn apply(&mut self, event: &Event) {
        let Some(state) = self.context.state.clone() else {
            return;
        };
        if let Some(copied) = &self.copied {
            if copied.is_behind(event.sequence()) {
                self.copied = None;
            } else {
                if copied.holds(event.sequence(), || state.piece_of(event)) {
                    return;
                }
            }
        }
        self.with_state(|state, _| state.apply(event));
        let copies = self.copy_out.iter_mut().chain(&mut self.snapshot.copy);
        let mut copies = copies.peekable();
        if copies.peek().is_some()
            && let Some(key) = state.piece_of(event)
        {
            copies.for_each(|copy| copy.changed(key, event.sequence()));
        }
    }

    /// Hands an event out that the window counts as running.
    pub(super) fn hand_out(&mut self, event: Event, attempt: u32) {
        self.context.counters.handed.add();
        if event.mark() == Mark::MayRepeat {
            self.context.counters.marked.add();
        }
        let event = event.at_epoch(self.epoch);
        self.hands.take(event.clone());
        let ack = Ack::new(
            self.finished.reporter(),
            self.generation,
            attempt,
            event.clone(),
        );
        let bot = &self.context.bot;
        let handed = (self.generation, event.sequence());
        // The shard goes on.
        let call = AssertUnwindSafe(|| bot.handle(event, ack, &self.handle));
        if catch_unwind(call).is_err() {
            self.panicked.insert(handed);
        }
    }

    pub(super) fn tell_state(&mut self, status: StateStatus) {
        self.state_lost = status == StateStatus::Lost;
        let bot = &self.context.bot;
        self.context
            .guarded(|| bot.state_changed(&self.handle, status));
    }

    /// See [`Context::with_state`].
    pub(super) fn with_state<T>(&self, call: impl FnOnce(&dyn State, ShardId) -> T) -> Option<T> {
        self.context.with_state(|state| call(state, self.id))
    }
}

impl Context {
    /// Calls what keeps the state of a shard; `None`: there is none, or it panicked.
    pub(super) fn with_state<T>(&self, call: impl FnOnce(&dyn State) -> T) -> Option<T> {
        let state = self.state.as_deref()?;
        self.guarded(|| call(state))
    }

    /// Calls the bot about the state of a shard. A panic there is the bot's, not the
    /// shard's: it is counted and told.
    fn guarded<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(call)).ok();
        if result.is_none() {
            self.counters.state_errors.add();
            tracing::error!("the bot panicked over its state");
        }
        result
    }
}
