//! A service that numbers what it says, and sends it to each connection with a delay of its own:
//! what Twitch is to a unit, by the tests' own clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use baton_protocol::ShardId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep, sleep_until},
};

use crate::{
    bot::{Ack, Bot, Delivery},
    event::Event,
    unit::transport::{Cut, Item, Link, Opened, Order, Transport},
};

/// How late an event may be on a connection.
pub(super) const JITTER: Duration = Duration::from_secs(3);

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Radio(Arc<Shared>);

struct Shared {
    cut: Cut,
    /// How long it takes until a connection hears everything.
    joins: Duration,
    air: Mutex<Air>,
}

struct Air {
    rng: ChaCha8Rng,
    said: u64,
    opened: u64,
    connections: BTreeMap<u64, Connection>,
    holder: Option<u64>,
    /// So many of the next connections end before they are ready.
    refuses: u32,
}

struct Connection {
    last: Instant,
    events: mpsc::UnboundedSender<(Instant, Event)>,
}

impl Radio {
    pub(super) fn new(cut: Cut, joins: Duration, seed: u64) -> Self {
        Self(Arc::new(Shared {
            cut,
            joins,
            air: Mutex::new(Air {
                rng: ChaCha8Rng::seed_from_u64(seed),
                said: 0,
                opened: 0,
                connections: BTreeMap::new(),
                holder: None,
                refuses: 0,
            }),
        }))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Air) -> T) -> T {
        look(&mut self.0.air.lock().unwrap())
    }

    /// Says something, for a while: about one message in 20 ms.
    pub(super) async fn talks(&self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            let pause = self.with(|air| {
                air.say(self.0.cut);
                air.rng.random_range(1..40)
            });
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// How much it has said.
    pub(super) fn said(&self) -> u64 {
        self.with(|air| air.said)
    }

    /// The next connections end before they are ready.
    pub(super) fn refuses(&self, times: u32) {
        self.with(|air| air.refuses = times);
    }

    /// Every connection ends.
    pub(super) fn hangs_up(&self) {
        self.with(|air| air.connections.clear());
    }

    pub(super) fn opened(&self) -> u64 {
        self.with(|air| air.opened)
    }
}

impl Air {
    fn say(&mut self, cut: Cut) {
        self.said += 1;
        let id: Arc<str> = self.said.to_string().into();
        let event = Event {
            kind: "PRIVMSG".into(),
            id: Some(id),
            channel: None,
            channel_id: None,
            text: "hello".into(),
        };
        let now = Instant::now();
        let holder = self.holder;
        for (id, connection) in &mut self.connections {
            if cut == Cut::One && holder != Some(*id) {
                continue;
            }
            let delay = self.rng.random_range(Duration::ZERO..JITTER);
            connection.last = connection.last.max(now + delay);
            let _ = connection.events.send((connection.last, event.clone()));
        }
    }
}

impl Transport for Radio {
    fn cut(&self) -> Cut {
        self.0.cut
    }

    fn open(&self, _: Opened) -> Link {
        let (items, heard) = mpsc::channel(64);
        let (orders, told) = mpsc::channel(16);
        let radio = self.clone();
        let task = tokio::spawn(async move {
            let why = radio.connection(&items, told).await;
            let ended = Item::Ended {
                why: why.to_owned(),
                fatal: false,
            };
            let _ = items.send(ended).await;
        });
        Link::new(heard, orders, task)
    }
}

impl Radio {
    async fn connection(
        &self,
        items: &mpsc::Sender<Item>,
        mut told: mpsc::Receiver<Order>,
    ) -> &'static str {
        let id = self.with(|air| {
            air.opened += 1;
            air.opened
        });
        for _ in 0..10 {
            sleep(self.0.joins / 10).await;
            let _ = items.send(Item::Further).await;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a test that is not bounded by it"
        )]
        let (events, mut comes) = mpsc::unbounded_channel();
        let refused = self.with(|air| {
            let last = Instant::now();
            air.connections.insert(id, Connection { last, events });
            let refused = air.refuses > 0;
            air.refuses = air.refuses.saturating_sub(1);
            refused
        });
        if refused {
            return "no channel was joined";
        }
        let _ = items.send(Item::Ready).await;
        let mut next = None;
        loop {
            let due = next.as_ref().map(|(at, _)| *at);
            tokio::select! {
                order = told.recv() => match order {
                    Some(Order::Take) => {
                        self.with(|air| air.holder = Some(id));
                        let _ = items.send(Item::Live).await;
                    }
                    Some(Order::Channels(_) | Order::Letter(_)) => {}
                    None => return "nobody listens",
                },
                event = comes.recv(), if next.is_none() => match event {
                    Some(event) => next = Some(event),
                    None => return "hung up",
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, event)) = next.take()
                        && items.send(Item::Event(event)).await.is_err()
                    {
                        return "nobody listens";
                    }
                }
            }
        }
    }
}

/// What the bots of all processes handled, in that order.
#[derive(Clone, Default)]
pub(super) struct Handled(pub(super) Arc<Mutex<Vec<(u64, bool)>>>);

/// A bot that needs some time for each event.
pub(super) struct Slowly {
    pub(super) handled: Handled,
    pub(super) takes: Duration,
}

impl Bot for Slowly {
    fn handle(&self, delivery: Delivery, ack: Ack) {
        let id = delivery.event.id.as_deref().unwrap().parse().unwrap();
        let mut handled = self.handled.0.lock().unwrap();
        handled.push((id, delivery.may_repeat));
        let takes = self.takes;
        tokio::spawn(async move {
            sleep(takes).await;
            ack.done();
        });
    }
}

impl Handled {
    /// How many of 1 to `said` nobody handled, and how many somebody handled twice without a
    /// mark.
    pub(super) fn judge(&self, said: u64) -> (u64, u64) {
        let handled = self.0.lock().unwrap();
        let mut times = BTreeMap::<u64, u64>::new();
        for (id, marked) in handled.iter() {
            *times.entry(*id).or_default() += u64::from(!marked);
        }
        let lost = (1..=said).filter(|id| !times.contains_key(id)).count() as u64;
        let twice = times.values().map(|times| times.saturating_sub(1)).sum();
        (lost, twice)
    }
}

/// Which unit every test has.
pub(super) const UNIT: ShardId = ShardId(0);
