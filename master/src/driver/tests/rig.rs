//! A driver with a real core, a disk that a test plays, and peers over pipes.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use baton_core::{
    event::{Durability, Entry, Hold, Recovered},
    settings::Settings,
    view::View,
};
use baton_protocol::{
    Connection, Frame, ProcessIdentity, ToSlave, Version,
    auth::Secret,
    discord::SessionParameters,
    handshake,
    message::{Hello, Report},
};
use tokio::{
    io::duplex,
    sync::{broadcast, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::super::*;
use crate::{
    config::Slot,
    doors::Places,
    journal::SaveError,
    news::{STREAM, Stamped},
    peer::{Context, Origin, serve},
    process::Dialled,
};

/// Only a broken test waits this long.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// A driver with a real core, a disk that can be full, and peers over pipes.
pub(super) struct Rig {
    pub(super) disk: Arc<Disk>,
    pub(super) context: Arc<Context>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) news: broadcast::Receiver<Arc<Stamped>>,
    pub(super) driver: JoinHandle<Ending>,
    /// Which process the kernel says that dials.
    pub(super) dialler: Dialled,
}

#[derive(Default)]
pub(super) struct Disk {
    pub(super) full: AtomicBool,
    /// Another master has taken the term.
    pub(super) deposed: AtomicBool,
    /// Saves that were tried.
    pub(super) tries: AtomicUsize,
    /// The next save panics.
    pub(super) broken: AtomicBool,
    /// How many milliseconds a save takes.
    pub(super) takes: AtomicU64,
    pub(super) saved: Mutex<Vec<(Entry, Durability)>>,
}

impl Disk {
    pub(super) async fn save(
        &self,
        entries: Vec<Entry>,
        durability: Durability,
    ) -> Result<(), SaveError> {
        assert!(!self.broken.load(Ordering::SeqCst), "on purpose");
        self.tries.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(self.takes.load(Ordering::SeqCst))).await;
        if self.deposed.load(Ordering::SeqCst) {
            return Err(SaveError::Deposed("another one has it".to_owned()));
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(SaveError::Refused("disk full".to_owned()));
        }
        let entries = entries.into_iter().map(|entry| (entry, durability));
        self.saved.lock().unwrap().extend(entries);
        Ok(())
    }

    pub(super) fn reserved(&self) -> Vec<u32> {
        self.reservations().map(|(shard, _)| shard).collect()
    }

    pub(super) fn durable(&self) -> bool {
        self.reservations().all(|(_, how)| how == Durability::Now)
    }

    pub(super) fn reservations(&self) -> impl Iterator<Item = (u32, Durability)> {
        let saved = self.saved.lock().unwrap().clone();
        saved.into_iter().filter_map(|(entry, how)| {
            let Entry::Owner {
                shard,
                hold: Hold::Reserved,
                ..
            } = entry
            else {
                return None;
            };
            Some((shard.get(), how))
        })
    }
}

/// A driver that does not run yet.
pub(super) struct Stage {
    pub(super) driver: Driver,
    pub(super) queue: mpsc::Receiver<Notice>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) news: broadcast::Receiver<Arc<Stamped>>,
    pub(super) disk: Arc<Disk>,
    pub(super) secret: Secret,
}

impl Stage {
    pub(super) fn new(command: Option<Vec<String>>) -> Self {
        Self::at(None, command)
    }

    /// Its slot's slaves are at this host.
    pub(super) fn at(host: Option<&str>, command: Option<Vec<String>>) -> Self {
        let host = host.map(str::to_owned);
        let (notices, queue) = mpsc::channel(QUEUE);
        let (told, news) = broadcast::channel(STREAM);
        let slot = Slot {
            name: "main".to_owned(),
            command: command.clone(),
            shards: None,
            host: host.clone(),
            lease: None,
            env: BTreeMap::new(),
            log: None,
            listen: None,
        };
        let mut settings = Settings {
            shard_count: 2,
            contact: Duration::from_millis(100),
            adopt_grace: Duration::ZERO,
            ..Settings::default()
        };
        settings.slots[0].launches = command.is_some();
        settings.slots[0].host = host;
        if command.is_some() {
            settings.contact = Duration::from_secs(1);
            settings.ready = Duration::from_millis(500);
        }
        let disk = Arc::new(Disk::default());
        let saved = Arc::clone(&disk);
        let secret = Secret::random().unwrap();
        let nowhere = Path::new("/nonexistent");
        let driver = Driver::new(Parts {
            aside: Aside::default(),
            core: Core::new(settings, Recovered::default(), Time::default()),
            journal: Journal::played(move |entries, how| {
                let disk = Arc::clone(&saved);
                async move { disk.save(entries, how).await }
            }),
            launcher: Launcher::new(nowhere, nowhere, secret.clone(), &[slot], BTreeMap::new()),
            watches: BTreeMap::new(),
            unseen: BTreeMap::new(),
            notices: notices.clone(),
            observers: vec![Arc::new(told)],
            shard_in_hand: Duration::from_secs(1),
            elsewhere: Vec::new(),
            agent_patience: Duration::from_secs(10),
            fail_on_error: false,
        });
        Self {
            driver,
            queue,
            notices,
            news,
            disk,
            secret,
        }
    }
}

impl Rig {
    pub(super) fn start(command: Option<&str>) -> Self {
        Self::start_with(command.map(|command| vec![command.to_owned()]))
    }

    pub(super) fn start_with(command: Option<Vec<String>>) -> Self {
        Self::of(Stage::new(command))
    }

    pub(super) fn of(stage: Stage) -> Self {
        let Stage {
            driver,
            queue,
            notices,
            news,
            disk,
            secret,
        } = stage;
        let context = Context::for_test(secret, notices.clone());
        Self {
            disk,
            context: Arc::new(context),
            notices,
            news,
            driver: tokio::spawn(async move { driver.run(queue).await.0 }),
            dialler: Dialled::Local(Some(std::process::id())),
        }
    }

    /// A slave that said hello and reported that it holds nothing.
    pub(super) async fn join(&mut self, hello: Hello) -> Slave {
        let mut slave = self.greet(hello).await;
        slave.report().await;
        slave
    }

    pub(super) async fn greet(&mut self, hello: Hello) -> Slave {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(
            Arc::clone(&self.context),
            ours,
            Origin::UnixOwner(self.dialler),
            Places::new(1).take().0.expect("a place"),
        ));
        let mut slave = Slave(Connection::new(theirs));
        let hello = handshake::ToMaster::Hello {
            running: false,
            hello: Box::new(hello),
        };
        slave.say(hello).await;
        let frame = slave.0.recv().await.unwrap().expect("a welcome");
        let answer = handshake::ToSlave::from_frame(frame).unwrap();
        assert!(matches!(answer, handshake::ToSlave::Welcome(_)));
        slave
    }

    pub(super) async fn look(&self) -> View {
        let (answer, view) = oneshot::channel();
        self.notices.send(Notice::Look { answer }).await.unwrap();
        view.await.unwrap()
    }

    pub(super) async fn until(&mut self, is: impl Fn(&View) -> bool) {
        let seen = async {
            while !is(&self.look().await) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, seen).await.unwrap();
    }
}

pub(super) struct Slave(Connection);

impl Slave {
    pub(super) async fn report(&mut self) {
        let report = Report {
            last: true,
            ..Report::default()
        };
        self.say(handshake::ToMaster::Report(report)).await;
    }

    pub(super) async fn say(&mut self, message: impl Into<Frame>) {
        self.0.send(&message.into()).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Option<ToSlave> {
        let frame = self.0.recv().await.ok()??;
        Some(ToSlave::from_frame(frame).unwrap())
    }

    pub(super) async fn hear(&mut self) -> ToSlave {
        self.next().await.expect("a message")
    }

    pub(super) async fn until(&mut self, is: impl Fn(&ToSlave) -> bool) {
        while !is(&self.hear().await) {}
    }

    pub(super) async fn end(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(super) fn hello(slave: u128) -> Hello {
    Hello {
        version: Version::NEWEST,
        lowest: Version::OLDEST,
        slave: SlaveId(slave),
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        parameters: SessionParameters {
            intents: 1,
            api_version: 10,
            encoding: "json".to_owned(),
            large_threshold: 50,
            ..SessionParameters::default()
        }
        .seal(),
        process: ProcessIdentity::current().unwrap(),
        nonce: "0123456789abcdef".into(),
        ..Hello::default()
    }
}
