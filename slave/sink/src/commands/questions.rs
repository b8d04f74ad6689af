//! What is asked of the once-per-bot work by a queue of the broker.
//!
//! A task takes letters from the queue, hands them out one after the other, and settles each with
//! what became of it. One that is not answered is given back: whoever takes from the queue next
//! gets it again, with the same [key](Question::key). So nothing that was asked is lost, and
//! whoever answers has to know by its key what it did already.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Counts, Keep, Letter, Place, Queue, Queues, Settlement, Taken, WorkQueue};

/// So many are handed out and not answered; the others wait at the broker.
pub(crate) const HELD: usize = 16;
/// Bytes of one, at most: a list of all channels is one.
const LONGEST: usize = 1 << 20;
/// How often a queue that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the broker may take to hear what is given back.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is asked by a queue of the broker, while this process runs the once-per-bot work.
///
/// Dropped, or after [`leave`](Self::leave), nothing more is taken from the queue, and what is
/// not answered is given back.
#[derive(Debug)]
pub struct Questions {
    asked: mpsc::Receiver<Question>,
    leaves: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// One question. Dropped without an answer, it is given back and comes again, here or elsewhere.
pub struct Question {
    /// What was sent, at most 1 MiB.
    pub body: Bytes,
    /// The same whenever this question comes, and of no other one. `None`: the sender gave none
    /// (RabbitMQ without a `message_id`), and one that comes twice cannot be told.
    pub key: Option<String>,
    /// It is to be answered before.
    pub until: Instant,
    reply: oneshot::Sender<Reply>,
}

/// What became of a question.
struct Reply {
    told: Value,
    refused: Option<String>,
}

/// A letter that was handed out as a question.
struct Held<L> {
    /// `None`: its connection was lost, and it comes again.
    letter: Option<L>,
    id: Option<String>,
    name: Option<String>,
}

type Answers = FuturesUnordered<Pin<Box<dyn Future<Output = (u64, Option<Reply>)> + Send>>>;
type Settlements = FuturesUnordered<Pin<Box<dyn Future<Output = Result<Keep, String>> + Send>>>;

/// The task.
struct Desk<L> {
    place: Place,
    /// How long one waits that says nothing else.
    ttl: Duration,
    counts: Arc<Counts>,
    asks: mpsc::Sender<Question>,
    held: BTreeMap<u64, Held<L>>,
    next: u64,
    answers: Answers,
    settlements: Settlements,
}

impl Question {
    /// It is answered. The sender gets the answer with the id that it gave.
    ///
    /// An answer is a JSON object: another value stands in its `answer`.
    pub fn answer(self, told: Value) {
        self.replies(told, None);
    }

    /// It cannot be done, for this reason: the question becomes a dead letter, and the sender
    /// gets `told` and the reason.
    pub fn refuse(self, told: Value, reason: impl Into<String>) {
        self.replies(told, Some(reason.into()));
    }

    fn replies(self, told: Value, refused: Option<String>) {
        let told = match told.is_object() {
            true => told,
            false => json!({"answer": told}),
        };
        // Whoever does not hear it gives the question back.
        let _ = self.reply.send(Reply { told, refused });
    }
}

/// Without what was asked, which is nothing for a log.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("bytes", &self.body.len())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Questions {
    pub(crate) fn start<Q: Queues>(
        queues: &Arc<Q>,
        queue: WorkQueue,
        ttl: Duration,
        counts: &Arc<Counts>,
    ) -> Self {
        let (asks, asked) = mpsc::channel(HELD);
        let (leaves, told) = oneshot::channel();
        let desk = Desk {
            place: Place::Work(queue),
            ttl,
            counts: Arc::clone(counts),
            asks,
            held: BTreeMap::new(),
            next: 0,
            answers: FuturesUnordered::new(),
            settlements: FuturesUnordered::new(),
        };
        let task = tokio::spawn(desk.run(Arc::clone(queues), queue, told));
        Self {
            asked,
            leaves,
            task,
        }
    }

    /// The next question, in the order in which they were sent. Survives being cancelled.
    pub async fn next(&mut self) -> Question {
        match self.asked.recv().await {
            Some(question) => question,
            // Its task has panicked.
            None => std::future::pending().await,
        }
    }

    /// Nothing more is taken, and what is not answered is given back: the broker has heard it
    /// when this returns, or 2 s later.
    pub async fn leave(self) {
        let Self {
            asked,
            leaves,
            mut task,
        } = self;
        drop(asked);
        let _ = leaves.send(());
        if timeout(FAREWELL, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl<L: Letter> Desk<L> {
    async fn run<Q: Queues<Queue: Queue<Letter = L>>>(
        mut self,
        queues: Arc<Q>,
        queue: WorkQueue,
        mut leaves: oneshot::Receiver<()>,
    ) {
        let mut claimed = None;
        let mut said = None;
        loop {
            let opened = async {
                let epoch = match claimed {
                    Some(epoch) => epoch,
                    None => queues.claim(queue).await?,
                };
                Ok::<_, String>((epoch, queues.open(self.place, epoch).await?))
            };
            let opened = tokio::select! {
                _ = &mut leaves => return,
                opened = opened => opened,
            };
            let reason = match opened {
                Ok((epoch, mut open)) => {
                    claimed = Some(epoch);
                    match self.serve(&mut open, &mut leaves).await {
                        Ok(()) => return self.leaves(open).await,
                        Err(reason) => reason,
                    }
                }
                Err(reason) => reason,
            };
            self.is_lost().await;
            if said.as_ref() != Some(&reason) {
                tracing::warn!(queue = %self.place, reason, "what is asked waits at the broker");
                said = Some(reason);
            }
            tokio::select! {
                _ = &mut leaves => return,
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Until the work leaves. An error: the queue has to be opened anew.
    async fn serve<Q: Queue<Letter = L>>(
        &mut self,
        queue: &mut Q,
        leaves: &mut oneshot::Receiver<()>,
    ) -> Result<(), String> {
        let mut keeps = Q::KEPT.map(|every| Instant::now() + every);
        loop {
            tokio::select! {
                biased;
                // Also if whoever asked for it is gone.
                _ = &mut *leaves => return Ok(()),
                Some((number, reply)) = self.answers.next(), if !self.answers.is_empty() => {
                    self.replies(number, reply).await;
                }
                Some(done) = self.settlements.next(), if !self.settlements.is_empty() => {
                    done?;
                }
                taken = queue.next(), if self.held.len() < HELD => self.takes(taken?),
                () = until(keeps) => {
                    keeps = Q::KEPT.map(|every| Instant::now() + every);
                    for letter in self.held.values().filter_map(|held| held.letter.as_ref()) {
                        letter.keep().await;
                    }
                }
            }
        }
    }

    fn takes(&mut self, taken: Taken<L>) {
        let Taken {
            letter,
            id,
            is_named,
            is_again,
            age,
            payload,
            wishes,
        } = taken;
        let is_the_same = is_named || is_again;
        if let Some(id) = id.as_ref().filter(|_| is_the_same)
            && let Some(held) = self
                .held
                .values_mut()
                .find(|held| held.id.as_ref() == Some(id))
        {
            // It is being answered.
            held.letter = Some(letter);
            return;
        }
        let name = wishes.name();
        let ttl = wishes.check(self.ttl).and_then(|ttl| match payload.len() {
            0..=LONGEST => Ok(ttl),
            more => Err(format!("it has {more} bytes, and may have {LONGEST}")),
        });
        let left = ttl.and_then(|ttl| {
            let left = ttl.checked_sub(age).filter(|left| !left.is_zero());
            left.ok_or_else(|| format!("nobody took it within its {ttl:?}"))
        });
        let left = match left {
            Ok(left) => left,
            Err(reason) => return self.refuses(letter, name, reason),
        };
        let (reply, told) = oneshot::channel();
        let question = Question {
            body: payload,
            key: id.clone().filter(|_| is_named),
            until: Instant::now() + left,
            reply,
        };
        // As many fit as are held. Whoever is gone drops it, and it is given back.
        let _ = self.asks.try_send(question);
        let number = self.next;
        self.next += 1;
        self.answers
            .push(Box::pin(async move { (number, told.await.ok()) }));
        let letter = Some(letter);
        self.held.insert(number, Held { letter, id, name });
    }

    /// `None`: nobody answers it here.
    async fn replies(&mut self, number: u64, reply: Option<Reply>) {
        let Some(Held { letter, name, .. }) = self.held.remove(&number) else {
            return;
        };
        match (letter, reply) {
            (Some(letter), Some(Reply { told, refused })) => {
                self.settle(letter, name, told, refused);
            }
            (Some(letter), None) if mutant!("question-dropped") => {
                self.settle(letter, name, json!({}), None);
            }
            (Some(letter), None) => letter.give_back().await,
            // It comes again, and is known by its key.
            (None, _) => {}
        }
    }

    fn refuses(&mut self, letter: L, name: Option<String>, reason: String) {
        self.settle(letter, name, json!({}), Some(reason));
    }

    fn settle(&mut self, letter: L, id: Option<String>, told: Value, refused: Option<String>) {
        let count = match &refused {
            None => &self.counts.written,
            Some(reason) => {
                tracing::info!(queue = %self.place, reason, "what is asked is refused");
                &self.counts.refused
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        let how = Settlement {
            shard: None,
            op: None,
            id,
            told,
            refused,
        };
        self.settlements
            .push(Box::pin(async move { letter.settle(how).await }));
    }

    /// What was handed out comes again, on another connection.
    async fn is_lost(&mut self) {
        self.settlements.clear();
        let letters = self.held.values_mut().filter_map(|held| held.letter.take());
        let given_back: FuturesUnordered<_> = letters.map(Letter::give_back).collect();
        // The broker may not hear it, and finds out by itself.
        let _ = timeout(AGAIN, given_back.collect::<()>()).await;
    }

    async fn leaves<Q: Queue<Letter = L>>(mut self, queue: Q) {
        // What was answered just now is settled; the others go back together, in their order.
        while let Some(Some((number, reply))) = self.answers.next().now_or_never() {
            if reply.is_some() {
                self.replies(number, reply).await;
            }
        }
        while self.settlements.next().await.is_some() {}
        let held = self.held.into_values().filter_map(|held| held.letter);
        queue.leave(held.collect()).await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
