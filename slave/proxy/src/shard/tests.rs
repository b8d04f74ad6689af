//! Random lives of a shard and its clients: whatever happens, each event is finished once,
//! not before a client received it, and each client sees every number once, in order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use baton_protocol::Sequence;
use tokio::{sync::Notify, time::Instant};

use super::{Attachment, Budget, Core, Event, Identified, Resumed, Take, Wish};
use crate::{
    config::ProxyConfig,
    upstream::{Begin, Dispatch},
};

/// A client as a test plays it.
#[derive(Debug, Default)]
struct Client {
    connection: u64,
    key: u64,
    id: String,
    /// The last sequence that it received.
    sequence: u64,
    /// A session, whether it is connected or not.
    is_live: bool,
    is_connected: bool,
}

struct World {
    core: Core,
    random: u64,
    /// The last sequence of Discord's.
    last: u64,
    /// Those of them that were no event.
    holes: BTreeSet<u64>,
    /// What clients have received.
    received: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    client: Client,
    connections: u64,
}

const FIRST: u64 = 1000;

impl World {
    fn new(seed: u64) -> Self {
        let config = ProxyConfig::default();
        let mut limits = config.limits;
        limits.history = 3000;
        let budget = Budget::new(limits.rings);
        let mut core = Core::new(limits, config.timings, budget, Instant::now());
        core.begin(&Begin::Resumed {
            handled: Sequence(FIRST),
        });
        Self {
            core,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            last: FIRST,
            holes: BTreeSet::new(),
            received: BTreeSet::new(),
            finished: BTreeSet::new(),
            client: Client::default(),
            connections: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % bound
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=3 => self.event(),
            4..=6 => drop(self.take(false)),
            7 | 8 => self.acknowledge(),
            9 => self.drop_connection(),
            10 => self.resume(),
            _ => self.identify(),
        }
        self.hear_finished();
    }

    fn hear_finished(&mut self) {
        for (first, last) in self.core.take_finished() {
            for sequence in first.get()..=last.get() {
                assert!(
                    self.finished.insert(sequence),
                    "{sequence} is finished twice"
                );
                let is_there = self.received.contains(&sequence) || self.holes.contains(&sequence);
                assert!(is_there, "{sequence} is finished and nobody received it");
            }
        }
    }

    fn event(&mut self) {
        if self.below(10) == 0 {
            self.last += 1;
            self.holes.insert(self.last);
        }
        self.last += 1;
        let dispatch = Dispatch {
            sequence: Sequence(self.last),
            kind: "E".to_owned(),
            json: format!(r#"{{"d":{}}}"#, self.last),
        };
        let event = Event::read(&dispatch);
        self.core.push(&dispatch, event);
    }

    fn attachment(&mut self) -> Attachment {
        self.connections += 1;
        Attachment {
            connection: self.connections,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Takes what there is, and receives all of it, or a part if the line breaks. `false`:
    /// there is nothing.
    fn take(&mut self, whole: bool) -> bool {
        if !self.client.is_connected {
            return false;
        }
        let bytes = 1 + usize::try_from(self.below(2000)).unwrap_or(1);
        let (key, connection) = (self.client.key, self.client.connection);
        match self.core.take(key, connection, bytes) {
            Take::Batch { dispatches, .. } => {
                let all = dispatches.len();
                let breaks = !whole && self.below(4) == 0;
                let part = usize::try_from(self.below(all as u64 + 1)).unwrap_or(all);
                let arrives = if breaks { part } else { all };
                for (sequence, event) in dispatches.into_iter().take(arrives) {
                    assert_eq!(sequence, self.client.sequence + 1, "no gap, nothing twice");
                    self.client.sequence = sequence;
                    if let Some(event) = event {
                        let own: Option<u64> = event.data.parse().ok();
                        self.received.extend(own);
                    }
                }
                if arrives < all {
                    // The rest was on the line when it broke.
                    self.drop_connection();
                }
            }
            Take::Resumed(sequence) => assert_eq!(sequence, self.client.sequence),
            Take::Nothing => return false,
            Take::Over(over) => panic!("it is over: {over:?}"),
        }
        true
    }

    /// Says what it has, or less.
    fn acknowledge(&mut self) {
        if self.client.is_connected {
            let less = self.below(4);
            let sequence = self.client.sequence.saturating_sub(less);
            let (key, connection) = (self.client.key, self.client.connection);
            self.core.heard(key, connection, sequence);
        }
    }

    fn drop_connection(&mut self) {
        if self.client.is_connected {
            let (key, connection) = (self.client.key, self.client.connection);
            self.core.detach(key, connection, false);
            self.client.is_connected = false;
        }
    }

    fn resume(&mut self) {
        if !self.client.is_live || self.client.is_connected {
            return;
        }
        let attachment = self.attachment();
        let (id, sequence) = (self.client.id.clone(), self.client.sequence);
        let resumed = self.core.resume(&attachment, &id, sequence);
        let Resumed::Here { key, .. } = resumed else {
            panic!("a client that missed nothing is refused: {resumed:?}");
        };
        self.client.key = key;
        self.client.connection = attachment.connection;
        self.client.is_connected = true;
    }

    /// A new client, also while one is here: that one answers or does not.
    fn identify(&mut self) {
        let attachment = self.attachment();
        let wish = Wish::default();
        let id = attachment.connection.to_string();
        let mut identified = self.core.identify(&attachment, &wish, &id, false, false);
        if matches!(identified, Identified::Settling) {
            let waited = self.below(2) == 0;
            if !waited {
                let (key, connection) = (self.client.key, self.client.connection);
                assert!(matches!(self.core.take(key, connection, 1), Take::Nothing));
                self.core.heard(key, connection, self.client.sequence);
            }
            identified = self.core.identify(&attachment, &wish, &id, true, waited);
        }
        let Identified::Begun { key, .. } = identified else {
            panic!("it does not begin: {identified:?}");
        };
        let greeting = 1 + self.below(5);
        self.core.greeted(key, greeting);
        self.client = Client {
            connection: attachment.connection,
            key,
            id,
            sequence: greeting,
            is_live: true,
            is_connected: true,
        };
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_each_event_is_received_in_order_and_then_finished_once() {
    for seed in 1..=300 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // One more client, which reads to the end.
        world.drop_connection();
        world.identify();
        while world.take(true) {}
        let Client {
            key,
            connection,
            sequence,
            ..
        } = world.client;
        world.core.heard(key, connection, sequence);
        world.hear_finished();
        let all: BTreeSet<u64> = (FIRST + 1..=world.last).collect();
        assert_eq!(world.finished, all, "seed {seed}");
    }
}
