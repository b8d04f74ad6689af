//! What a shard does with events that may kill the process: see `trials`.

use baton_protocol::{
    Sequence,
    message::{self, CarriedEvent},
};

use super::{
    Shard,
    order::Said,
    trials::{Change, Next},
};
use crate::{bot::Event, config::OnDeadlyEvent};

impl Shard {
    /// A dispatch is to be handed out, now or in its turn.
    pub(super) fn hand_out_in_turn(&mut self, event: Event) {
        if self.trials.is_deadly(event.sequence()) {
            return self.set_aside(event);
        }
        if let Some(event) = self.trials.take(event) {
            self.hand_out(event, 1);
        }
    }

    pub(super) fn trials_changed(&mut self, change: Change) {
        let next = self.trials.changed(change);
        self.try_next(next);
    }

    /// It is written down which event is tried.
    pub(super) fn tried(&mut self, sequence: Sequence) {
        let next = self.trials.tried(sequence);
        self.try_next(next);
    }

    /// An event is not with its handler any more.
    pub(super) fn trial_ends(&mut self, finished: Sequence) {
        let next = self.trials.ends(finished);
        self.try_next(next);
    }

    fn try_next(&mut self, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Ask(event) => self.say(Said::Trying(event)),
            Next::HandOut(events) => {
                for event in events {
                    self.hand_out(event, 1);
                }
            }
        }
    }

    /// The queued events are for the next owner of the shard.
    pub(super) fn trials_stop(&mut self) {
        let queued = self.trials.stop();
        self.events.give_back(queued);
    }

    /// This event killed each process that had it.
    fn set_aside(&mut self, event: Event) {
        let sequence = event.sequence();
        let guild = event.guild_id().map_or(0, |guild| guild.get());
        let handed_out = self.context.config.on_deadly_event == OnDeadlyEvent::HandOut
            && !self.trials.is_skipped(sequence);
        self.context.counters.set_aside.add();
        tracing::error!(
            %sequence, kind = event.kind(), guild, handed_out,
            "an event is set aside: each process that had it died"
        );
        let carried = if event.json().len() <= message::SetAside::MAX_BYTES {
            event.carried()
        } else {
            CarriedEvent {
                json: String::new(),
                sequence,
                kind: event.kind().to_owned(),
            }
        };
        self.say(Said::SetAside(Box::new(message::SetAside {
            shard: self.id,
            epoch: self.epoch,
            guild,
            handed_out,
            event: carried,
        })));
        if handed_out {
            self.hand_out(event.deadly(), 1);
        } else {
            self.events.finish(sequence);
        }
    }
}
