//! The way of one shard's events to the broker.

pub(crate) mod fifo;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use baton_slave::Settling;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::sleep_until;

use crate::{
    broker::{Confirmed, Message, Publish, Refused},
    health::Health,
    inbox::Inbox,
    order::{Key, Lanes},
    receipt::Receipt,
};

/// Messages of a shard that are under way at once, at most: each is of another guild.
const WINDOW: usize = 256;

/// A shard that leaves waits so long for the answers of what is under way. Its ticket waits a
/// little longer.
const REST: Duration = Duration::from_millis(200);

/// An event that the broker does not have yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) message: Arc<Message>,
    pub(crate) receipt: Receipt,
    /// When it was first published.
    began: Option<Instant>,
    /// When it was first published without an answer.
    doubted: Option<Instant>,
    tries: u32,
    is_under_way: bool,
}

impl Waiting {
    pub(crate) fn new(message: Message, receipt: Receipt) -> Self {
        Self {
            message: Arc::new(message),
            receipt,
            began: None,
            doubted: None,
            tries: 0,
            is_under_way: false,
        }
    }

    /// It is published.
    fn begins(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// How long ago it was published first.
    fn took(&self, now: Instant) -> Duration {
        self.began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Whether the broker is not known to lack it, and not known to have it.
    const fn is_in_doubt(&self) -> bool {
        self.is_under_way || self.doubted.is_some()
    }

    fn key(&self) -> Key {
        if mutant!("two-under-way") {
            return Some(self.message.event.sequence.get());
        }
        self.message.event.guild
    }
}

/// Publishes what comes into the inbox, guild by guild in its order, and tries what is not
/// confirmed again and again. It never ends by itself.
///
/// If the shard leaves, nothing more is published, and what the broker does not have is given
/// back once nothing is in doubt: so the next owner publishes it before anything newer. What
/// is still in doubt when the ticket waits no longer is this process's to publish.
pub(crate) async fn run(
    inbox: Arc<Inbox<Waiting>>,
    broker: Arc<impl Publish>,
    health: Arc<Health>,
) {
    let mut lanes: Lanes<Waiting> = Lanes::new(WINDOW);
    let mut under_way = FuturesUnordered::new();
    let mut revivals = health.revivals();
    let mut leaving: Option<(Settling, Instant)> = None;
    loop {
        let now = tokio::time::Instant::now().into_std();
        if leaving.is_none() {
            let (events, leaves) = inbox.take();
            for event in events {
                lanes.push(event.key(), event);
            }
            leaving = leaves.map(|settling| (settling, now + REST));
        }
        if let Some((settling, until)) = leaving.take() {
            let is_at_rest = !lanes.messages().any(Waiting::is_in_doubt);
            if is_at_rest || mutant!("doubt-given-back") {
                under_way.clear();
                give_back(lanes.clear(), settling, &health);
                continue;
            }
            if lanes.has_under_way() && now < until {
                leaving = Some((settling, until));
            } else {
                continue;
            }
        }
        while leaving.is_none()
            && let Some((key, waiting)) = lanes.next(now)
        {
            if waiting.tries > 0 {
                health.tries_again();
            }
            waiting.tries = waiting.tries.saturating_add(1);
            waiting.begins(now);
            waiting.is_under_way = true;
            let known_for = broker.knows_repeats_for();
            let doubted = waiting.doubted;
            let may_repeat = doubted.is_some_and(|at| now.duration_since(at) >= known_for);
            let message = Arc::clone(&waiting.message);
            let broker = &broker;
            under_way.push(async move {
                let begun = now;
                (key, begun, broker.publish(message, may_repeat).await)
            });
            if mutant!("finished-unconfirmed") {
                let nothing = Receipt::new(());
                std::mem::replace(&mut waiting.receipt, nothing).confirm();
            }
        }
        let deadline = match &leaving {
            Some((_, until)) => Some(*until),
            None => lanes.deadline(),
        };
        tokio::select! {
            Some((key, begun, answer)) = under_way.next(), if !under_way.is_empty() => {
                answered(&mut lanes, key, begun, answer, &health);
            }
            () = inbox.arrived() => {}
            () = until(deadline), if deadline.is_some() => {}
            Ok(()) = revivals.changed() => lanes.hurry(),
        }
    }
}

fn answered(
    lanes: &mut Lanes<Waiting>,
    key: Key,
    begun: Instant,
    answer: Result<Confirmed, Refused>,
    health: &Health,
) {
    match answer {
        Ok(how) => {
            if let Some((waiting, was_refused)) = lanes.confirmed(key) {
                let took = waiting.took(tokio::time::Instant::now().into_std());
                health.confirms(was_refused, how == Confirmed::Repeat, took);
                waiting.receipt.confirm();
            }
        }
        Err(Refused { in_doubt, reason }) => {
            if let Some(waiting) = lanes.under_way(key) {
                waiting.is_under_way = false;
                if in_doubt {
                    waiting.doubted.get_or_insert(begun);
                }
            }
            let is_new = lanes.refused(key, tokio::time::Instant::now().into_std());
            health.refuses(is_new, &reason);
        }
    }
}

/// The shard has left, and the broker has nothing of these. `true` with one: it had been
/// refused.
fn give_back(events: Vec<(Waiting, bool)>, settling: Settling, health: &Health) {
    settling.gives_back_the_rest();
    for (waiting, was_refused) in events {
        health.is_done_with(was_refused);
        waiting.receipt.give_back();
    }
    // The ticket is made.
    drop(settling);
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
