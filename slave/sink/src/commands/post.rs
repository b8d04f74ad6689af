//! The task of a shard that writes commands.
//!
//! One command at a time is with the shard: it is written as soon as its connection takes it,
//! and the others stay where they can be given back. When the shard leaves, what is not written
//! is taken back before the ticket is made, so the next owner writes it, and this one does not.

use std::{
    collections::BTreeSet,
    future::pending,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use baton_slave::{Receipt, Settling, ShardHandle};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::value::RawValue;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Counts, Keep, Letter, Place, Queue, Queues, Settlement, Taken,
    along::Along,
    control,
    desk::{Desk, Held, Settled, Verdict},
};
use crate::envelope::now_ms;

/// How often a queue that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// A shard whose session is not known yet is looked at again after this.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// A shard whose queue is full is given the next command after this.
const FULL: Duration = Duration::from_millis(250);
/// How long a ticket waits for the broker to hear what is given back: in its order, if it hears
/// it before the next owner asks.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How long the broker may take to hear the last words of a shard that left.
const FAREWELL: Duration = Duration::from_secs(10);

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Letters on their way back: which it was, and what is to be kept of it.
type Settlements =
    FuturesUnordered<Pin<Box<dyn Future<Output = (Option<String>, Result<Keep, String>)> + Send>>>;

/// See the [module](self).
pub(super) struct Post<L> {
    handle: ShardHandle,
    desk: Desk<L>,
    counts: Arc<Counts>,
    /// What the shard has, and whether its letter is still the broker's.
    writing: Option<(Held<L>, Receipt, bool)>,
    settlements: Settlements,
    /// The shard takes nothing until then.
    rests_until: Option<std::time::Instant>,
    /// Which trouble was said.
    said: BTreeSet<String>,
}

/// Why nothing is taken from a queue any more.
enum Over {
    Leaves(Option<Settling>),
    Lost(String),
}

impl<L: Letter> Post<L> {
    pub(super) async fn run<Q: Queues<Queue: Queue<Letter = L>>>(
        handle: ShardHandle,
        queues: Arc<Q>,
        desk: Desk<L>,
        counts: Arc<Counts>,
        mut leaves: oneshot::Receiver<Settling>,
    ) {
        while handle.shard_count() == 0 {
            tokio::select! {
                _ = &mut leaves => return,
                () = sleep(LOOK) => {}
            }
        }
        let mut post = Self {
            desk,
            handle,
            counts,
            writing: None,
            settlements: FuturesUnordered::new(),
            rests_until: None,
            said: BTreeSet::new(),
        };
        let along = Along::read(&post.handle.luggage());
        post.desk.goes_on_from(along, now(), now_ms());
        loop {
            let (shard, epoch) = (post.handle.shard(), post.handle.epoch());
            let opened = tokio::select! {
                settling = &mut leaves => return post.leaves(settling.ok()),
                opened = queues.open(Place::Shard(shard), epoch) => opened,
            };
            let reason = match opened {
                Ok(mut queue) => {
                    post.said.clear();
                    match post.serve(&mut queue, &mut leaves).await {
                        Over::Leaves(settling) => {
                            return post.gives_back(queue, settling).await;
                        }
                        Over::Lost(reason) => reason,
                    }
                }
                Err(reason) => reason,
            };
            post.is_lost(reason).await;
            tokio::select! {
                settling = &mut leaves => return post.leaves(settling.ok()),
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// What is not written is the next owner's, in its order.
    async fn gives_back<Q: Queue<Letter = L>>(mut self, queue: Q, settling: Option<Settling>) {
        let last = self.taken_back();
        let held: Vec<L> = last.into_iter().chain(self.desk.give_back()).collect();
        self.tell_along(settling.as_ref());
        // Nothing is written any more: what the broker does not hear now it hears later.
        let mut settling = settling.filter(|_| !held.is_empty());
        let settlements = &mut self.settlements;
        let mut leaving = pin!(async {
            // With a queue its settlements may end.
            while settlements.next().await.is_some() {}
            queue.leave(held).await;
        });
        if timeout(AT_ONCE, &mut leaving).await.is_err() {
            drop(settling.take());
            let _ = timeout(FAREWELL, leaving).await;
        }
        drop(settling);
    }

    /// What was handed out comes again. What the shard has is known by its name then.
    async fn is_lost(&mut self, reason: String) {
        self.settlements.clear();
        let back = self.desk.give_back();
        if let Some((_, _, is_ours)) = &mut self.writing {
            *is_ours = false;
        }
        let given_back: FuturesUnordered<_> = back.into_iter().map(Letter::give_back).collect();
        // The broker may not hear it, and finds out by itself.
        let _ = timeout(AGAIN, given_back.collect::<()>()).await;
        if !self.said.contains(&reason) {
            tracing::warn!(shard = %self.handle.shard(), reason, "commands of workers wait at the broker");
            self.said.insert(reason);
        }
    }

    /// The command that the shard has, if it was not written.
    fn taken_back(&mut self) -> Option<L> {
        let (held, receipt, is_ours) = self.writing.take()?;
        if receipt.withdraw() && !mutant!("settled-at-a-seal") {
            return Some(held.letter).filter(|_| is_ours);
        }
        self.wrote(held, is_ours);
        None
    }

    /// The next owner knows what it has to, and may have the ticket.
    fn leaves(&mut self, settling: Option<Settling>) {
        drop(self.taken_back());
        self.tell_along(settling.as_ref());
        drop(settling);
    }

    /// `settling`: the shard leaves, and may be back already.
    fn tell_along(&mut self, settling: Option<&Settling>) {
        let mut along = self.desk.along(now(), now_ms());
        let told = match settling {
            Some(settling) => settling.takes_along(&along.text()),
            None => {
                // It would make each change long, and few of them come again.
                along.settled.clear();
                self.handle.set_luggage(&along.text())
            }
        };
        if let Err(error) = told {
            tracing::error!(shard = %self.handle.shard(), %error, "what was written is not told along");
        }
    }

    async fn serve<Q: Queue<Letter = L>>(
        &mut self,
        queue: &mut Q,
        leaves: &mut oneshot::Receiver<Settling>,
    ) -> Over {
        let mut keeps = Q::KEPT.map(|every| Instant::now() + every);
        loop {
            for settled in self.desk.refused(now()) {
                self.settles(settled);
            }
            let (serves, shards) = (self.handle.is_connected(), self.handle.shard_count());
            if self.desk.has_starters() {
                let status = control::status(&self.handle);
                for told in self.desk.told(serves, shards, &status) {
                    self.settles(told);
                }
            }
            self.rests_until = self.rests_until.filter(|until| *until > now());
            if self.writing.is_none()
                && self.rests_until.is_none()
                && let Some(held) = self.desk.next(now(), serves, shards)
            {
                self.write(held);
            }
            let due = self.due();
            tokio::select! {
                biased;
                settling = &mut *leaves => return Over::Leaves(settling.ok()),
                sent = sent(&mut self.writing) => {
                    if let Some((held, _, is_ours)) = self.writing.take() {
                        if sent {
                            self.wrote(held, is_ours);
                        } else if is_ours {
                            // The shard is about to say that it leaves.
                            self.desk.put_back(held);
                            self.rests_until = Some(now() + FULL);
                        }
                    }
                }
                Some((id, done)) = self.settlements.next(), if !self.settlements.is_empty() => {
                    match (id, done) {
                        (Some(id), Ok(keep)) => self.desk.is_settled(&id, keep, now()),
                        (None, Ok(_)) => {}
                        (_, Err(reason)) => return Over::Lost(reason),
                    }
                }
                taken = queue.next(), if self.desk.has_room() => match taken {
                    Ok(taken) => {
                        let Some(taken) = self.is_another(taken) else {
                            continue;
                        };
                        let shards = self.handle.shard_count();
                        if let Some(settled) = self.desk.take(taken, shards, now()) {
                            self.settles(settled);
                        }
                    }
                    Err(reason) => return Over::Lost(reason),
                },
                () = until(keeps) => {
                    keeps = Q::KEPT.map(|every| Instant::now() + every);
                    self.keep().await;
                }
                () = until(due) => self.withdraws_the_old(),
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let writing = self.writing.as_ref().map(|(held, ..)| held.until);
        // One that is being written cannot be taken back just now.
        let writing = writing.map(|until| until.max(now() + LOOK));
        // A connection says nothing when it is there.
        let look = self.desk.has_starters().then(|| now() + LOOK);
        let due = look
            .into_iter()
            .chain(self.desk.due())
            .chain(writing)
            .chain(self.rests_until);
        due.min().map(Instant::from_std)
    }

    /// One that the shard has already is the same once more: `None`. Not every id is a name: of
    /// two that look the same both are to be written.
    fn is_another(&mut self, taken: Taken<L>) -> Option<Taken<L>> {
        match &mut self.writing {
            Some((held, _, is_ours))
                if taken.id.is_some()
                    && held.id == taken.id
                    && (taken.is_again || !*is_ours || mutant!("same-bytes-same-command")) =>
            {
                held.letter = taken.letter;
                *is_ours = true;
                None
            }
            Some(_) | None => Some(taken),
        }
    }

    /// The shard gets a command.
    fn write(&mut self, held: Held<L>) {
        let json = RawValue::from_string(held.json.clone());
        let given = match json {
            Ok(json) => self.handle.command(&json),
            Err(_) => Err(baton_slave::CommandError::Encoding),
        };
        match given {
            Ok(receipt) => {
                if mutant!("acknowledged-unwritten") {
                    return self.wrote(held, true);
                }
                self.writing = Some((held, receipt, true));
            }
            // Others fill its queue, or it is about to leave.
            Err(error) => {
                tracing::debug!(shard = %self.handle.shard(), %error, "a command waits");
                self.desk.put_back(held);
                self.rests_until = Some(now() + FULL);
            }
        }
    }

    fn wrote(&mut self, held: Held<L>, is_ours: bool) {
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        let (settled, goes_along) = self.desk.wrote(held, is_ours, now());
        if let Some(settled) = settled {
            self.settle(settled);
        }
        if goes_along {
            self.tell_along(None);
        }
    }

    /// What a desk settled without the shard.
    fn settles(&mut self, settled: Settled<L>) {
        if let Verdict::Refused(reason) = &settled.verdict {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::info!(shard = %self.handle.shard(), op = settled.op, reason, "a command of a worker is refused");
        }
        self.settle(settled);
    }

    fn settle(&mut self, settled: Settled<L>) {
        let Settled {
            letter,
            id,
            op,
            name,
            verdict,
        } = settled;
        let (told, refused) = verdict.told();
        let how = Settlement {
            shard: Some(self.handle.shard()),
            op,
            id: name,
            told,
            refused,
        };
        self.settlements
            .push(Box::pin(async move { (id, letter.settle(how).await) }));
    }

    /// The command that the shard has is too old, and is refused if it can be taken back.
    fn withdraws_the_old(&mut self) {
        let is_old = |(held, receipt, _): &mut (Held<L>, Receipt, bool)| {
            held.until <= now() && receipt.withdraw()
        };
        if let Some((held, _, is_ours)) = self.writing.take_if(is_old)
            && is_ours
        {
            self.settles(held.too_old());
        }
    }

    async fn keep(&mut self) {
        for held in self.desk.waiting() {
            held.letter.keep().await;
        }
        if let Some((held, _, true)) = &self.writing {
            held.letter.keep().await;
        }
    }
}

/// Waits for what the shard says of its command. `false`: it has none.
async fn sent<L>(writing: &mut Option<(Held<L>, Receipt, bool)>) -> bool {
    match writing {
        Some((_, receipt, _)) => receipt.sent().await.is_ok(),
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
