//! A unit of IRC with the simulated Twitch, in memory and in stepped time.

mod joins;
mod renewals;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use baton_protocol::ShardId;
use baton_slave::unit::Rehearsal;
use tokio::time::{interval, sleep, timeout};
use twitch_mock::{Config, Fault, FaultName, Kind, Twitch};

use super::*;
use crate::irc::{Connection, Error};

const SECOND: Duration = Duration::from_secs(1);

/// One process with one unit, a master that gives leave or is away, and Twitch.
struct Scene {
    twitch: Arc<Twitch>,
    has_master: Arc<AtomicBool>,
    /// So many of the next connections cannot be opened.
    refused: Arc<AtomicU32>,
    opened: Arc<AtomicU32>,
    /// Logging in takes so many seconds.
    slow: Arc<AtomicU32>,
    link: Link,
    /// What it told the work of its channels.
    told: Vec<FromUnit>,
}

fn login_of(name: &str) -> Login {
    name.parse().unwrap()
}

fn channels(version: u64, count: u32) -> Channels {
    Channels {
        version,
        account: Some(login_of("bot")),
        channels: (1..=count)
            .map(|number| login_of(&format!("channel{number}")))
            .collect(),
    }
}

impl Scene {
    fn start(config: Config, count: u32) -> Self {
        let twitch = Arc::new(Twitch::without_network(config).unwrap());
        let office = Office::new();
        let has_master = Arc::new(AtomicBool::new(true));
        {
            let (office, has_master) = (office.clone(), Arc::clone(&has_master));
            tokio::spawn(async move {
                // As many as Twitch takes.
                let mut looks = interval(SECOND);
                loop {
                    looks.tick().await;
                    if has_master.load(Ordering::SeqCst) {
                        Rehearsal::leases(&office, "auth/bot", 1);
                        Rehearsal::leases(&office, "join/bot", 1);
                    }
                }
            });
        }
        let (refused, opened) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let slow = Arc::<AtomicU32>::default();
        let opens: Opens = {
            let slow = Arc::clone(&slow);
            let (twitch, refused, opened) = (
                Arc::clone(&twitch),
                Arc::clone(&refused),
                Arc::clone(&opened),
            );
            Arc::new(move |account| {
                let less = |left: u32| left.checked_sub(1);
                let is_refused = refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
                let stream = twitch.irc();
                opened.fetch_add(1, Ordering::SeqCst);
                let slow = slow.load(Ordering::SeqCst);
                Box::pin(async move {
                    match is_refused {
                        Ok(_) => Err(Error::Unreachable("refused by the test".to_owned())),
                        Err(_) => {
                            let connection = Connection::over(stream, account).await;
                            sleep(Duration::from_secs(slow.into())).await;
                            connection
                        }
                    }
                })
            })
        };
        let accounts = [(login_of("bot"), "token".to_owned())].into();
        let transport = Irc::of(opens, accounts, Duration::ZERO, office);
        let link = transport.open(Opened {
            unit: ShardId(0),
            units: 1,
            channels: Some(channels(1, count)),
        });
        Self {
            twitch,
            has_master,
            refused,
            opened,
            slow,
            link,
            told: Vec::new(),
        }
    }

    /// It is in its channels, and serves.
    async fn live(config: Config, count: u32) -> Self {
        let mut scene = Self::start(config, count);
        scene.until(|item| matches!(item, Item::Ready)).await;
        scene.link.tell(Order::Take);
        scene.until(|item| matches!(item, Item::Live)).await;
        scene
    }

    fn master(&self, is_there: bool) {
        self.has_master.store(is_there, Ordering::SeqCst);
    }

    fn happens(&self, name: FaultName) {
        self.twitch.fault(Fault::new(name)).unwrap();
    }

    fn says(&self, text: &str) {
        let said = self
            .twitch
            .happen(Kind::Message, "channel1", "viewer", text);
        said.unwrap();
    }

    fn opened(&self) -> u32 {
        self.opened.load(Ordering::SeqCst)
    }

    /// The next item within a time. Letters are kept.
    async fn next(&mut self, within: Duration) -> Option<Item> {
        let item = timeout(within, self.link.next()).await.ok()?;
        if let Item::Letter(letter) = &item {
            self.told.push(serde_json::from_slice(letter).unwrap());
        }
        Some(item)
    }

    async fn until(&mut self, wanted: impl Fn(&Item) -> bool) -> Item {
        loop {
            let item = self.next(300 * SECOND).await.expect("something comes");
            if wanted(&item) {
                return item;
            }
            assert!(!matches!(item, Item::Ended { .. }), "{item:?}");
        }
    }

    /// Somebody says something, and it is heard, within two seconds.
    async fn hears(&mut self, text: &str) {
        self.says(text);
        let until = Instant::now() + 2 * SECOND;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let item = self.next(left).await;
            let item = item.unwrap_or_else(|| panic!("{text} is not heard"));
            match item {
                Item::Event(event) if event.text.ends_with(&format!(":{text}")) => return,
                Item::Ended { why, .. } => panic!("{text}: {why}"),
                _ => {}
            }
        }
    }

    /// What comes in a while, but no end.
    async fn passes(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while let Some(item) = self
            .next(until.saturating_duration_since(Instant::now()))
            .await
        {
            assert!(!matches!(item, Item::Ended { .. }), "{item:?}");
        }
    }

    /// Why a channel was not joined, as the work heard it last.
    fn failure(&self, channel: &str) -> Option<&str> {
        let channel = login_of(channel);
        let told = self.told.iter().rev().find_map(|letter| match letter {
            FromUnit::Channels { failed, .. } => failed.get(&channel),
            _ => None,
        });
        told.map(String::as_str)
    }
}
