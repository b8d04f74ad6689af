//! Events that may kill the process, handed out alone.
//!
//! When one process after the other dies with the same events in hand, one of them may
//! be the cause, and each next process would be handed it again. So the master orders
//! that what is replayed is handed out one event at a time, over all shards of the
//! process, each after the master has recorded which one it is. A death then names the
//! event by it. One that killed twice like that is set aside.
//!
//! ```text
//! replayed ──▶ queued ──turn──▶ Asked ──Try──▶ Running ──finished──▶ the next one
//! ```
//!
//! What comes behind a queued event waits in the queue too: events stay in order.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use baton_protocol::{
    Sequence, SequenceRanges,
    message::{self, CarriedEvent},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::{Retry, Said, Shard, hands::carry};
use crate::{bot::Event, config::OnDeadlyEvent};

/// Without an answer of the master an event is handed out after this time: nobody
/// starts the next process either.
const UNANSWERED: Duration = Duration::from_secs(5);

/// An event whose handler takes longer than this has not killed the process; the next
/// one is tried beside it.
const SURVIVED: Duration = Duration::from_secs(5);

/// How a shard is to be gone on with after processes died over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Care {
    /// Whether what is replayed is handed out one at a time.
    pub(crate) alone: bool,
    /// These killed the process that had them, alone.
    pub(crate) deadly: SequenceRanges,
    /// These did so again when they were handed out although they are deadly.
    pub(crate) skipped: SequenceRanges,
}

/// The trials of one shard.
#[derive(Debug, Default)]
pub(super) struct Trials {
    care: Care,
    queue: VecDeque<Queued>,
    stage: Stage,
}

#[derive(Debug)]
struct Queued {
    event: Event,
    /// Whether it is tried, or only waits behind such a one.
    tried: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Asked {
        turn: OwnedSemaphorePermit,
        until: Instant,
    },
    Running {
        _turn: OwnedSemaphorePermit,
        sequence: Sequence,
        until: Instant,
    },
}

/// What happened to the trials of a shard.
#[derive(Debug)]
pub(super) enum Change {
    /// No other shard of the process tries an event.
    Turn(OwnedSemaphorePermit),
    /// What was waited for did not come in time.
    Late,
}

impl Trials {
    pub(super) fn begin(&mut self, care: Care) {
        *self = Self {
            care,
            ..Self::default()
        };
    }

    /// The replay is over: later events are not tried alone.
    pub(super) fn replayed(&mut self) {
        self.care.alone = false;
    }

    /// Lets go of everything that is queued.
    pub(super) fn stop(&mut self) -> Vec<Event> {
        let Self { queue, .. } = std::mem::take(self);
        queue.into_iter().map(|queued| queued.event).collect()
    }

    /// Survives being cancelled.
    pub(super) async fn change(&mut self, turns: &Arc<Semaphore>) -> Change {
        match &self.stage {
            Stage::Idle if !self.queue.is_empty() => match turns.clone().acquire_owned().await {
                Ok(turn) => Change::Turn(turn),
                // It is never closed.
                Err(_) => pending().await,
            },
            Stage::Idle => pending().await,
            Stage::Asked { until, .. } | Stage::Running { until, .. } => {
                sleep_until(*until).await;
                Change::Late
            }
        }
    }
}

impl Shard {
    /// A dispatch is to be handed out, now or in its turn.
    pub(super) fn hand_out_in_turn(&mut self, event: Event) {
        let care = &self.trials.care;
        if care.deadly.contains(event.sequence()) {
            return self.set_aside(event);
        }
        let tried = care.alone && !cfg!(mutant = "suspects-together");
        if tried || !self.trials.queue.is_empty() {
            self.trials.queue.push_back(Queued { event, tried });
        } else {
            self.hand_out(event, 1);
        }
    }

    pub(super) fn trials_changed(&mut self, change: Change) {
        match (change, std::mem::take(&mut self.trials.stage)) {
            (Change::Turn(turn), Stage::Idle) => {
                if let Some(next) = self.trials.queue.front() {
                    self.say(Said::Trying(next.event.clone()));
                    let until = Instant::now() + UNANSWERED;
                    self.trials.stage = Stage::Asked { turn, until };
                }
            }
            (Change::Late, Stage::Asked { turn, .. }) => self.try_it(turn),
            (Change::Late, Stage::Running { .. } | Stage::Idle) => self.trial_over(),
            (Change::Turn(_), stage @ (Stage::Asked { .. } | Stage::Running { .. })) => {
                self.trials.stage = stage;
            }
        }
    }

    /// It is written down which event is tried.
    pub(super) fn tried(&mut self, sequence: Sequence) {
        let next = self.trials.queue.front();
        let is_next = next.is_some_and(|next| next.event.sequence() == sequence);
        match std::mem::take(&mut self.trials.stage) {
            Stage::Asked { turn, .. } if is_next => self.try_it(turn),
            stage @ (Stage::Idle | Stage::Asked { .. } | Stage::Running { .. }) => {
                self.trials.stage = stage;
            }
        }
    }

    fn try_it(&mut self, turn: OwnedSemaphorePermit) {
        if let Some(next) = self.trials.queue.pop_front() {
            self.trials.stage = Stage::Running {
                _turn: turn,
                sequence: next.event.sequence(),
                until: Instant::now() + SURVIVED,
            };
            self.hand_out(next.event, 1);
        }
    }

    /// An event is not with its handler any more.
    pub(super) fn trial_ends(&mut self, finished: Sequence) {
        if let Stage::Running { sequence, .. } = &self.trials.stage
            && *sequence == finished
        {
            self.trial_over();
        }
    }

    /// The next one is tried; what only waited for that is handed out.
    fn trial_over(&mut self) {
        self.trials.stage = Stage::Idle;
        while self.trials.queue.front().is_some_and(|next| !next.tried)
            && let Some(next) = self.trials.queue.pop_front()
        {
            self.hand_out(next.event, 1);
        }
    }

    /// The queued events are for the next owner of the shard.
    pub(super) fn trials_stop(&mut self) {
        for event in self.trials.stop() {
            if self.window.give_back(event.sequence(), event.mark()) {
                self.retries.push_back(Retry {
                    at: Instant::now(),
                    generation: self.generation,
                    attempt: 1,
                    event,
                });
            }
        }
    }

    /// This event killed each process that had it.
    fn set_aside(&mut self, event: Event) {
        let sequence = event.sequence();
        let guild = event.guild_id().map_or(0, |guild| guild.get());
        let handed_out = self.context.config.on_deadly_event == OnDeadlyEvent::HandOut
            && !self.trials.care.skipped.contains(sequence);
        self.context.counters.set_aside.add();
        tracing::error!(
            %sequence, kind = event.kind(), guild, handed_out,
            "an event is set aside: each process that had it died"
        );
        let carried = if event.json().len() <= message::SetAside::MAX_BYTES {
            carry(&event)
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
            self.window.finish(sequence);
        }
    }
}
