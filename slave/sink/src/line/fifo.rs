//! The way of one shard's events to a broker that takes them one behind the other.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Waiting, give_back, until};
use crate::{
    broker::{Answer, Ended, Message, PublishInOrder, Refused},
    health::Health,
    inbox::Inbox,
    order::Pace,
};

/// Events, and bytes of them, that go to the broker at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// Publishes what comes into the inbox in its order, and tries what is not confirmed again
/// and again. It never ends by itself.
///
/// If the shard leaves, everything that is not confirmed is given back at once, also what is
/// under way: the broker knows each event of a session, for as long as that lasts.
pub(crate) async fn run(
    inbox: Arc<Inbox<Waiting>>,
    broker: Arc<impl PublishInOrder>,
    health: Arc<Health>,
) {
    let mut fifo = Fifo::default();
    let mut revivals = health.revivals();
    loop {
        let (events, leaves) = inbox.take();
        fifo.queue.extend(events);
        if let Some(settling) = leaves {
            let was_refused = fifo.refused.take().is_some();
            let refused = std::iter::once(was_refused).chain(std::iter::repeat(false));
            give_back(
                fifo.queue.drain(..).zip(refused).collect(),
                settling,
                &health,
            );
        }
        let now = tokio::time::Instant::now().into_std();
        let again = fifo.refused.map(|refused| refused + fifo.pace.delay());
        if again.is_none_or(|again| again <= now) && !fifo.queue.is_empty() {
            let batch = fifo.batch();
            for waiting in fifo.queue.iter_mut().take(batch.len()) {
                waiting.begins(now);
            }
            if fifo.refused.is_some() {
                health.tries_again();
            }
            tokio::select! {
                answer = broker.publish(&batch, fifo.before(&batch)) => {
                    fifo.answered(&batch, answer, &health);
                }
                () = inbox.leaves() => {}
            }
            continue;
        }
        tokio::select! {
            () = inbox.arrived() => {}
            () = until(again), if again.is_some() => {}
            Ok(()) = revivals.changed() => fifo.pace.begin(),
        }
    }
}

#[derive(Default)]
struct Fifo {
    queue: VecDeque<Waiting>,
    /// The session of the last event that was confirmed, and its highest sequence.
    last: Option<(String, u64)>,
    /// When the first of the queue was refused.
    refused: Option<Instant>,
    pace: Pace,
}

impl Fifo {
    /// The first events, all of one session and epoch.
    fn batch(&self) -> Vec<Arc<Message>> {
        let mut batch: Vec<Arc<Message>> = Vec::new();
        let mut bytes = 0;
        for waiting in self.queue.iter().take(BATCH) {
            let event = &waiting.message.event;
            bytes += event.payload.len();
            if let Some(first) = batch.first() {
                let first = &first.event;
                let is_other = first.session != event.session || first.epoch != event.epoch;
                if is_other || bytes > BATCH_BYTES {
                    break;
                }
            }
            batch.push(Arc::clone(&waiting.message));
        }
        batch
    }

    /// What was added before these events; 0: nothing of their session.
    fn before(&self, batch: &[Arc<Message>]) -> u64 {
        let session = batch.first().map(|first| &first.event.session);
        match &self.last {
            Some((known, sequence)) if Some(known) == session => *sequence,
            Some(_) | None => 0,
        }
    }

    fn answered(
        &mut self,
        batch: &[Arc<Message>],
        answer: Result<Answer, Refused>,
        health: &Health,
    ) {
        let now = tokio::time::Instant::now().into_std();
        let answer = match answer {
            Ok(answer) => answer,
            Err(Refused { reason, .. }) => {
                self.refuse(now, &reason, health);
                return;
            }
        };
        let mut repeats = answer.repeats;
        let taken = batch
            .iter()
            .take(answer.taken)
            .map(|message| &message.event);
        if let Some(newest) = taken.clone().max_by_key(|event| event.sequence) {
            let sequence = newest.sequence.get().max(self.before(batch));
            self.last = Some((newest.session.clone(), sequence));
        }
        for _ in taken {
            let Some(waiting) = self.queue.pop_front() else {
                return;
            };
            let was_refused = self.refused.take().is_some();
            health.confirms(was_refused, repeats > 0, waiting.took(now));
            repeats = repeats.saturating_sub(1);
            waiting.receipt.confirm();
            self.pace.begin();
        }
        match answer.ended {
            Ended::Done => {}
            Ended::Refused(reason) => self.refuse(now, &reason, health),
            Ended::Hole { last } => {
                // Nobody has these any more, and what follows need not wait for them.
                tracing::error!(
                    confirmed = self.before(batch),
                    last,
                    "the broker lost events that it had confirmed: it was restored, or it does \
                     not write to its disk"
                );
                self.last = None;
            }
            Ended::Fenced => {
                // They stay unfinished here: the newer owner has them in hand.
                let epoch = batch.first().map(|first| first.event.epoch);
                let is_theirs = |waiting: &Waiting| Some(waiting.message.event.epoch) == epoch;
                while self.queue.front().is_some_and(is_theirs) {
                    self.queue.pop_front();
                    health.is_done_with(self.refused.take().is_some());
                }
                tracing::warn!(?epoch, "a newer owner publishes this shard's events");
            }
        }
    }

    fn refuse(&mut self, now: Instant, reason: &str, health: &Health) {
        let is_new = self.refused.replace(now).is_none();
        self.pace.refused(now);
        health.refuses(is_new, reason);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
