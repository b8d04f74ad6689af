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

use baton_protocol::Sequence;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use super::order::Care;
use crate::bot::Event;

/// Without an answer of the master an event is handed out after this time: nobody
/// starts the next process either.
const UNANSWERED: Duration = Duration::from_secs(5);

/// An event whose handler takes longer than this has not killed the process; the next
/// one is tried beside it.
const SURVIVED: Duration = Duration::from_secs(5);

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

/// What is to be done.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    /// The master is to write down that this one is tried.
    Ask(Event),
    /// These are handed out.
    HandOut(Vec<Event>),
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

    /// Whether this one killed each process that had it.
    pub(super) fn is_deadly(&self, sequence: Sequence) -> bool {
        self.care.deadly.contains(sequence)
    }

    /// Whether it did so again when it was handed out although it is deadly.
    pub(super) fn is_skipped(&self, sequence: Sequence) -> bool {
        self.care.skipped.contains(sequence)
    }

    /// A dispatch is to be handed out: at once, or else in its turn.
    pub(super) fn take(&mut self, event: Event) -> Option<Event> {
        let tried = self.care.alone && !mutant!("suspects-together");
        if tried || !self.queue.is_empty() {
            self.queue.push_back(Queued { event, tried });
            return None;
        }
        Some(event)
    }

    pub(super) fn changed(&mut self, change: Change) -> Next {
        match (change, std::mem::take(&mut self.stage)) {
            (Change::Turn(turn), Stage::Idle) => {
                debug_assert!(!self.queue.is_empty(), "a turn for nothing");
                let Some(next) = self.queue.front() else {
                    return Next::Nothing;
                };
                let until = Instant::now() + UNANSWERED;
                self.stage = Stage::Asked { turn, until };
                Next::Ask(next.event.clone())
            }
            (Change::Late, Stage::Asked { turn, .. }) => self.try_it(turn),
            (Change::Late, stage @ (Stage::Running { .. } | Stage::Idle)) => {
                debug_assert!(
                    matches!(stage, Stage::Running { .. }),
                    "nothing was waited for"
                );
                // Another shard has its turn before the next one here.
                drop(stage);
                self.over()
            }
            (Change::Turn(_), stage @ (Stage::Asked { .. } | Stage::Running { .. })) => {
                debug_assert!(false, "one turn at a time: {stage:?}");
                self.stage = stage;
                Next::Nothing
            }
        }
    }

    /// It is written down which event is tried.
    pub(super) fn tried(&mut self, sequence: Sequence) -> Next {
        let next = self.queue.front();
        let is_next = next.is_some_and(|next| next.event.sequence() == sequence);
        match std::mem::take(&mut self.stage) {
            Stage::Asked { turn, .. } if is_next => self.try_it(turn),
            stage @ (Stage::Idle | Stage::Asked { .. } | Stage::Running { .. }) => {
                self.stage = stage;
                Next::Nothing
            }
        }
    }

    fn try_it(&mut self, turn: OwnedSemaphorePermit) -> Next {
        debug_assert!(matches!(self.stage, Stage::Idle), "one at a time");
        debug_assert!(!self.queue.is_empty(), "what was asked for waits");
        let Some(next) = self.queue.pop_front() else {
            return Next::Nothing;
        };
        self.stage = Stage::Running {
            _turn: turn,
            sequence: next.event.sequence(),
            until: Instant::now() + SURVIVED,
        };
        Next::HandOut(vec![next.event])
    }

    /// An event is not with its handler any more.
    pub(super) fn ends(&mut self, finished: Sequence) -> Next {
        match &self.stage {
            Stage::Running { sequence, .. } if *sequence == finished => self.over(),
            Stage::Running { .. } | Stage::Asked { .. } | Stage::Idle => Next::Nothing,
        }
    }

    /// The next one is tried; what only waited for that is handed out.
    fn over(&mut self) -> Next {
        self.stage = Stage::Idle;
        let waited = self.queue.iter().take_while(|next| !next.tried).count();
        let waited = self.queue.drain(..waited);
        Next::HandOut(waited.map(|next| next.event).collect())
    }
}

#[cfg(test)]
mod tests {
    use baton_protocol::ShardId;

    use super::*;

    fn event(sequence: u64) -> Event {
        Event::for_test(ShardId(0), Sequence(sequence), "MESSAGE_CREATE", "{}")
    }

    /// The sequences that are handed out.
    fn handed(next: Next) -> Vec<u64> {
        match next {
            Next::HandOut(events) => events.iter().map(|event| event.sequence().get()).collect(),
            Next::Nothing | Next::Ask(_) => panic!("{next:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_replayed_is_tried_alone_and_what_comes_behind_it_waits() {
        let turns = Arc::new(Semaphore::new(1));
        let mut trials = Trials::default();
        trials.begin(Care {
            alone: true,
            ..Care::default()
        });
        assert!(trials.take(event(1)).is_none());
        assert!(trials.take(event(2)).is_none());
        trials.replayed();
        assert!(trials.take(event(3)).is_none(), "the order is kept");
        for (tried, behind) in [(1, vec![]), (2, vec![3])] {
            let turn = trials.change(&turns).await;
            let asked = trials.changed(turn);
            assert!(matches!(asked, Next::Ask(event) if event.sequence() == Sequence(tried)));
            assert_eq!(turns.available_permits(), 0, "no other shard tries one");
            assert!(matches!(trials.tried(Sequence(9)), Next::Nothing));
            assert_eq!(handed(trials.tried(Sequence(tried))), [tried]);
            assert!(matches!(trials.ends(Sequence(9)), Next::Nothing));
            assert_eq!(handed(trials.ends(Sequence(tried))), behind);
            assert_eq!(turns.available_permits(), 1);
        }
        assert!(trials.take(event(4)).is_some(), "nothing waits any more");
    }
}
