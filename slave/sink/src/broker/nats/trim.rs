//! Removes what every consumer has acknowledged.
//!
//! A broker that removes an acknowledged message by itself (`workqueue`, `interest`) forgets
//! its id when it is started anew, and would take an event twice whose confirm was lost
//! with the connection. So messages stay for as long as a repeat may come, and then the
//! slaves remove them. All of them do, and any of them may be late: it is the same each time.
//! Without a consumer nothing is removed: a queue is kept while nobody is there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use async_nats::jetstream::{consumer, stream::Info};
use futures_util::TryStreamExt;

use super::Nats;
use crate::config::Timings;

/// See the [module](self).
pub(super) struct Trim {
    keep: Duration,
    /// Which message was the last one, and when; the oldest first.
    lasts: VecDeque<(Instant, u64)>,
    /// Of the stream that these are of.
    created: Option<String>,
}

impl Trim {
    pub(super) const fn new(timings: Timings) -> Self {
        Self {
            keep: timings.repeats,
            lasts: VecDeque::new(),
            created: None,
        }
    }

    pub(super) async fn run(&mut self, nats: &Nats) {
        if let Err(error) = self.try_run(nats).await {
            tracing::debug!(%error, "what workers acknowledged is removed later");
        }
    }

    async fn try_run(&mut self, nats: &Nats) -> Result<(), async_nats::Error> {
        let stream = nats.context.get_stream(&nats.config.name).await?;
        let info = stream.cached_info();
        let Some(old) = self.old(info, Instant::now()) else {
            return Ok(());
        };
        let mut consumers = stream.consumers();
        let mut floor = None::<u64>;
        while let Some(consumer) = consumers.try_next().await? {
            let done = done(&consumer, info.state.last_sequence);
            floor = Some(floor.map_or(done, |floor| floor.min(done)));
        }
        let Some(floor) = floor.map(|floor| floor.min(old)) else {
            return Ok(());
        };
        if floor >= info.state.first_sequence && info.state.messages > 0 {
            stream.purge().sequence(floor + 1).await?;
        }
        Ok(())
    }

    /// The last message of a moment that is longer ago than a repeat may come.
    fn old(&mut self, info: &Info, now: Instant) -> Option<u64> {
        let created = info.created.to_string();
        if self.created.as_ref() != Some(&created) {
            self.created = Some(created);
            self.lasts.clear();
        }
        self.lasts.push_back((now, info.state.last_sequence));
        let mut old = None;
        while let Some((at, last)) = self.lasts.front().copied() {
            if now.duration_since(at) < self.keep {
                break;
            }
            old = Some(last);
            self.lasts.pop_front();
        }
        if let Some(last) = old {
            // It is as old the next time.
            self.lasts.push_front((now - self.keep, last));
        }
        old
    }
}

/// Up to which message a consumer has acknowledged all that are its own. `last`: the last
/// one of the stream, asked before the consumer was.
fn done(consumer: &consumer::Info, last: u64) -> u64 {
    if consumer.num_pending == 0 && consumer.num_ack_pending == 0 {
        return last;
    }
    consumer.ack_floor.stream_sequence
}
