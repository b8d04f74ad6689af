//! The bot.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use baton_slave::{Ack, Bot, Event, Settling, ShardHandle, ShardId, StateStatus};
use tokio::task::JoinSet;

use crate::{
    address::Broker,
    broker::Message,
    commands::{CommandsConfig, Counts, Posts, Questions, Queues, WorkQueue},
    config::SinkConfig,
    dispatch::Dispatch,
    envelope,
    error::Error,
    health::{Health, Status},
    inbox::Inbox,
    line::{self, Waiting},
    receipt::Receipt,
};

/// Publishes events to a broker. See the [crate](crate).
///
/// Dropped, it publishes nothing more, and what is not confirmed stays unfinished.
pub struct Sink {
    opens: Opens,
    health: Arc<Health>,
    lines: Mutex<Lines>,
    /// `None`: no commands are taken.
    taken: Option<Takes>,
}

/// What takes from queues.
struct Takes {
    /// For shards.
    posts: Posts,
    /// For the once-per-bot work.
    questions: Box<dyn Fn(WorkQueue) -> Questions + Send + Sync>,
}

impl Takes {
    fn new<Q: Queues>(queues: &Arc<Q>, config: CommandsConfig, counts: &Arc<Counts>) -> Self {
        let posts = Posts::new(queues, config, counts);
        let (queues, counts) = (Arc::clone(queues), Arc::clone(counts));
        Self {
            posts,
            questions: Box::new(move |queue| Questions::start(&queues, queue, config.ttl, &counts)),
        }
    }
}

/// How the line of a shard is begun.
type Opens = Box<dyn Fn(&mut JoinSet<()>) -> Arc<Inbox<Waiting>> + Send + Sync>;

#[derive(Default)]
struct Lines {
    inboxes: BTreeMap<ShardId, Arc<Inbox<Waiting>>>,
    /// One of each shard, and what the broker's own needs.
    tasks: JoinSet<()>,
}

impl Sink {
    /// Declares at the broker what is needed there. If the broker cannot be reached, that is
    /// done as soon as it can, and events wait until then.
    ///
    /// Must be called inside tokio.
    ///
    /// # Errors
    /// The broker does not let this process in, is another program, or has something of the
    /// same name that differs; or the configuration cannot be.
    pub async fn start(config: SinkConfig) -> Result<Self, Error> {
        config.check()?;
        let health = Arc::new(Health::new(config.address.to_string()));
        let mut tasks = JoinSet::new();
        let commands = config.commands;
        let taken;
        let opens = match config.address.broker() {
            Broker::Zmq => {
                let wrong = "the broker's address: ZeroMQ confirms nothing, see `Zmq`".to_owned();
                return Err(Error::Address(wrong));
            }
            #[cfg(feature = "nats")]
            Broker::Nats => {
                let nats = crate::broker::nats::start(config, &health, &mut tasks).await?;
                taken = Takes::new(&nats, commands, &health.commands);
                lines(&health, move |inbox, health| {
                    line::run(inbox, Arc::clone(&nats), health)
                })
            }
            #[cfg(feature = "amqp")]
            Broker::Rabbit => {
                let rabbit = crate::broker::rabbit::start(config, &health, &mut tasks).await?;
                taken = Takes::new(&rabbit, commands, &health.commands);
                lines(&health, move |inbox, health| {
                    line::run(inbox, Arc::clone(&rabbit), health)
                })
            }
            #[cfg(not(feature = "amqp"))]
            broker @ Broker::Rabbit => {
                let feature = "amqp";
                return Err(Error::NotBuilt { broker, feature });
            }
            #[cfg(feature = "redis")]
            Broker::Redis => {
                let redis = crate::broker::redis::start(config, &health, &mut tasks).await?;
                taken = Takes::new(&redis, commands, &health.commands);
                lines(&health, move |inbox, health| {
                    line::fifo::run(inbox, Arc::clone(&redis), health)
                })
            }
            #[cfg(not(feature = "redis"))]
            broker @ Broker::Redis => {
                let feature = "redis";
                return Err(Error::NotBuilt { broker, feature });
            }
            #[cfg(not(feature = "nats"))]
            broker @ Broker::Nats => {
                let feature = "nats";
                return Err(Error::NotBuilt { broker, feature });
            }
        };
        let inboxes = BTreeMap::new();
        Ok(Self {
            opens,
            health,
            lines: Mutex::new(Lines { inboxes, tasks }),
            taken: Some(taken).filter(|_| !commands.ttl.is_zero()),
        })
    }

    /// Publishes an event behind all others of its guild and shard. `kept` is dropped when the
    /// broker has confirmed it, and at no other time.
    pub fn publish(&self, event: Dispatch, kept: impl Send + 'static) {
        self.take(event, Receipt::new(kept));
    }

    fn take(&self, event: Dispatch, receipt: Receipt) {
        let shard = event.shard;
        let message = Message {
            event,
            created: envelope::now_ms(),
        };
        self.health.takes();
        let waiting = Waiting::new(message, receipt);
        self.inbox(shard).put(waiting);
    }

    /// Takes what is asked by a queue, for the once-per-bot work that begins in this process.
    /// `None`: no [commands](SinkConfig::commands) are taken.
    ///
    /// Must be called inside tokio.
    #[must_use]
    pub fn questions(&self, queue: WorkQueue) -> Option<Questions> {
        let takes = self.taken.as_ref()?;
        Some((takes.questions)(queue))
    }

    /// What it says about itself.
    #[must_use]
    pub fn status(&self) -> Status {
        self.health.status()
    }

    fn inbox(&self, shard: ShardId) -> Arc<Inbox<Waiting>> {
        // A panic leaves the lines as they were.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = lines.inboxes.get(&shard) {
            return Arc::clone(inbox);
        }
        let inbox = (self.opens)(&mut lines.tasks);
        lines.inboxes.insert(shard, Arc::clone(&inbox));
        inbox
    }
}

/// Lines that run so.
fn lines<F: Future<Output = ()> + Send + 'static>(
    health: &Arc<Health>,
    run: impl Fn(Arc<Inbox<Waiting>>, Arc<Health>) -> F + Send + Sync + 'static,
) -> Opens {
    let health = Arc::clone(health);
    Box::new(move |tasks| {
        let inbox = Arc::new(Inbox::new());
        tasks.spawn(run(Arc::clone(&inbox), Arc::clone(&health)));
        inbox
    })
}

impl Bot for Sink {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        if let Some(Takes { posts, .. }) = &self.taken {
            posts.hears(&event, shard);
        }
        self.take(Dispatch::of(&event, shard), Receipt::of(ack));
    }

    fn state_changed(&self, shard: &ShardHandle, _: StateStatus) {
        if let Some(Takes { posts, .. }) = &self.taken {
            posts.comes(shard);
        }
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        if let Some(Takes { posts, .. }) = &self.taken {
            posts.leaves(shard, settling.clone());
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let inbox = lines.inboxes.get(&shard.shard()).map(Arc::clone);
        drop(lines);
        if let Some(inbox) = inbox {
            inbox.leave(settling);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sink").field(&self.health).finish()
    }
}
