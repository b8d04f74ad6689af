//! Publishes on a channel, and tells what became of each message.
//!
//! A message that no queue takes comes back before its confirm. The client hands it to
//! whichever confirm it resolves next: that of another message, if many are confirmed at once.
//! So one task looks at the confirms of a channel in the order in which they were resolved, and
//! a message is known by its id: whoever carries it, it comes before its own confirm.
//!
//! A message whose answer is still to come is not published again on the same connection: a
//! broker with an alarm reads nothing for hours, and copies would pile up before it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{BasicProperties, Channel, Confirmation, Error, options::BasicPublishOptions};
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        oneshot,
    },
    time::Instant,
};

/// Messages on their way to the task; the others wait where they are.
const WAITING: usize = 256;
/// A connection on which an answer does not come for so long is given up for another one.
const UNANSWERED: Duration = Duration::from_secs(60);

/// Messages that were taken while nobody waited for the word: the oldest are forgotten first.
const UNHEARD: usize = 4096;

/// A message, and who waits for its verdict.
pub(super) struct Order {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) properties: BasicProperties,
    pub(super) payload: Bytes,
    pub(super) answer: oneshot::Sender<Result<Verdict, Error>>,
}

/// What a broker says of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// No queue takes it.
    CameBack,
    /// A queue did not take it, or nobody knows.
    Not(&'static str),
}

/// Begins the task, which ends when nobody can publish any more. The channel confirms.
pub(super) fn start(channel_of_broker: Channel, exchange: String) -> Sender<Order> {
    let (orders, waiting) = channel(WAITING);
    tokio::spawn(run(channel_of_broker, exchange, waiting));
    orders
}

async fn run(channel: Channel, exchange: String, mut orders: Receiver<Order>) {
    // Those that were woken first are asked first.
    let mut under_way = FuturesUnordered::new();
    let mut asked: HashMap<String, (oneshot::Sender<_>, Instant)> = HashMap::new();
    let mut returned = Returned::default();
    let mut unheard = Unheard::default();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                let Order { id, key, properties, payload, answer } = order;
                if let Some((known, since)) = asked.get_mut(&id) {
                    if since.elapsed() > UNANSWERED {
                        return;
                    }
                    *known = answer;
                    continue;
                }
                // Nobody waits for it any more, and it comes again.
                if answer.is_closed() {
                    continue;
                }
                if unheard.was_taken(&id) {
                    let _ = answer.send(Ok(Verdict::Taken));
                    continue;
                }
                asked.insert(id.clone(), (answer, Instant::now()));
                let (channel, exchange) = (&channel, exchange.as_str());
                under_way.push(async move {
                    let options = BasicPublishOptions {
                        mandatory: true,
                        ..BasicPublishOptions::default()
                    };
                    let (exchange, key) = (exchange.into(), key.into());
                    let published =
                        channel.basic_publish(exchange, key, options, &payload, properties);
                    let confirmed = match published.await {
                        Ok(confirm) => confirm.await,
                        Err(error) => Err(error),
                    };
                    (id, confirmed)
                });
            }
            Some((id, confirmed)) = under_way.next(), if !under_way.is_empty() => {
                let verdict = confirmed.map(|confirmed| returned.verdict(&id, confirmed));
                if let Some((answer, _)) = asked.remove(&id)
                    && let Err(Ok(Verdict::Taken)) = answer.send(verdict)
                {
                    unheard.is_taken(id);
                }
            }
        }
    }
}

/// Ids of messages that were taken between two tries: published again, they would be there
/// twice. Every message is looked for here, also if some of these are never tried again.
#[derive(Debug, Default)]
struct Unheard {
    taken: HashSet<String>,
    /// As they came, also those that were said.
    oldest: VecDeque<String>,
}

impl Unheard {
    fn is_taken(&mut self, id: String) {
        if self.oldest.len() == UNHEARD
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.taken.remove(&oldest);
        }
        self.taken.insert(id.clone());
        self.oldest.push_back(id);
    }

    /// Says it once.
    fn was_taken(&mut self, id: &str) -> bool {
        self.taken.remove(id)
    }
}

/// Ids of messages that came back, and whose own confirm is still to come.
#[derive(Debug, Default)]
struct Returned(Vec<String>);

impl Returned {
    fn verdict(&mut self, id: &str, confirmed: Confirmation) -> Verdict {
        let verdict = match &confirmed {
            Confirmation::Ack(_) => Verdict::Taken,
            Confirmation::Nack(_) => Verdict::Not("a queue is full, or cannot write"),
            Confirmation::NotRequested => Verdict::Not("it is not confirmed"),
        };
        let carried = confirmed.take_message();
        let carried = carried.and_then(|message| message.delivery.properties.message_id().clone());
        self.sort(id, carried.map(|id| id.to_string()), verdict)
    }

    /// `carried`: the message that this confirm has with it.
    fn sort(&mut self, id: &str, carried: Option<String>, verdict: Verdict) -> Verdict {
        self.0.extend(carried);
        match self.0.iter().position(|returned| returned == id) {
            Some(at) => {
                self.0.swap_remove(at);
                Verdict::CameBack
            }
            None => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_while_nobody_waited_is_said_to_the_next_try_once() {
        let mut unheard = Unheard::default();
        for id in 0..=UNHEARD {
            unheard.is_taken(id.to_string());
        }
        assert!(!unheard.was_taken("0"), "the oldest is forgotten");
        assert!(unheard.was_taken("7"));
        assert!(!unheard.was_taken("7"));
    }

    #[test]
    fn a_message_that_came_back_is_known_whoever_carries_it() {
        let mut returned = Returned::default();
        let mut sorted = |id: &str, carried: Option<&str>| {
            returned.sort(id, carried.map(str::to_owned), Verdict::Taken)
        };
        assert_eq!(sorted("a", Some("c")), Verdict::Taken);
        assert_eq!(sorted("b", None), Verdict::Taken);
        assert_eq!(sorted("c", Some("d")), Verdict::CameBack);
        assert_eq!(sorted("d", None), Verdict::CameBack);
        // Published again, it is another one.
        assert_eq!(sorted("c", None), Verdict::Taken);
        assert_eq!(sorted("e", Some("e")), Verdict::CameBack);
    }
}
