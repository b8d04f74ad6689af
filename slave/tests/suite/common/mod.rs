//! A small master that says what a test tells it to, and slaves in this process.

pub mod ancestor;
mod truth;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_gateway::{Gateway, GatewayConfig, LogLine, Traffic, What};
use baton_protocol::{
    Connection, Epoch, Sequence, SequenceRanges, ShardId, Term, Ticket, ToMaster, ToSlave, Trust,
    Version,
    auth::Secret,
    connection::Sender,
    message::{
        Accepted, Checkpoint, FullStart, Hello, Proof, Refused, RefusedReason, Report, Resume,
        ResumeAfter, ResumeExtra, Settled, StartExtra, StopExtra, StopShard, Unit, Welcome,
    },
};
use baton_slave::{
    Ack, Address, Bot, Error, Event, ImportError, Mark, Monitor, SecretSource, ShardHandle, Slave,
    SlaveConfig, State, cache::Cache,
};
use bytes::Bytes;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use self::truth::{difference, moment};

pub const INTENTS: u64 = 53_608_447;
/// Longer than anything takes; a test that waits for it fails.
pub const LONG: Duration = Duration::from_secs(20);

pub async fn gateway(change: impl FnOnce(&mut GatewayConfig)) -> Gateway {
    let mut config = GatewayConfig::quick();
    change(&mut config);
    Gateway::start(config).await.unwrap()
}

pub fn traffic(gateway: &Gateway, rate: f64) {
    let traffic = Traffic {
        rate,
        ..Traffic::default()
    };
    gateway.set_traffic(None, &traffic).unwrap();
}

/// Everything that the gateway logged of one kind.
pub fn logged(gateway: &Gateway, what: What) -> Vec<LogLine> {
    let mut lines = gateway.log(0);
    lines.retain(|line| line.what == what);
    lines
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

pub struct FakeMaster {
    listener: TcpListener,
    pub secret: Secret,
    pub term: Term,
    pub shard_count: u32,
}

/// One slave's connection to the fake master.
pub struct Peer {
    pub hello: Hello,
    pub running: bool,
    pub report: Report,
    sender: Sender,
    said: mpsc::UnboundedReceiver<ToMaster>,
    _reader: AbortOnDropHandle<()>,
    /// Said and not yet waited for.
    kept: Vec<ToMaster>,
    /// IdentifyRequests are answered at once.
    pub permits: bool,
    pub identifies: Vec<baton_protocol::message::IdentifyRequest>,
    /// The newest ticket of each shard, from checkpoints.
    pub checkpoints: BTreeMap<ShardId, Ticket>,
}

impl FakeMaster {
    pub async fn new(shard_count: u32) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            secret: Secret::random().unwrap(),
            term: Term {
                counter: 1,
                ..Term::default()
            },
            shard_count,
        }
    }

    pub fn address(&self) -> Address {
        Address::Tcp(self.listener.local_addr().unwrap().to_string())
    }

    /// The next slave, accepted.
    pub async fn accept(&self) -> Peer {
        timeout(LONG, self.try_accept())
            .await
            .expect("a slave dials")
    }

    /// Refuses the next slave that dials.
    pub async fn refuse(&self, reason: RefusedReason) {
        let (socket, _) = timeout(LONG, self.listener.accept())
            .await
            .expect("a slave dials")
            .unwrap();
        let mut connection = Connection::new(socket);
        receive(&mut connection).await;
        let refused = Refused {
            reason,
            detail: "because of a test".to_owned(),
        };
        send(&mut connection, ToSlave::Refused(refused)).await;
    }

    /// The next slave, which reported; its connection stays as it is until it is
    /// accepted.
    pub async fn meet(&self) -> Met {
        timeout(LONG, self.try_meet()).await.expect("a slave dials")
    }

    async fn try_accept(&self) -> Peer {
        self.try_meet().await.accepted().await
    }

    async fn try_meet(&self) -> Met {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut connection = Connection::new(socket);
        let ToMaster::SlaveHello(hello) = receive(&mut connection).await else {
            panic!("no hello");
        };
        let running = hello.running;
        let hello = *hello.hello.expect("a versioned hello");
        connection.trust(Trust::Known);
        let challenge = Bytes::from_static(b"0123456789abcdef");
        send(
            &mut connection,
            ToSlave::Welcome(Welcome {
                version: Version::NEWEST,
                term: self.term,
                proof: self.secret.master_proof(&hello.nonce, hello.slave),
                challenge: challenge.clone(),
                checkpoint_ms: 10,
            }),
        )
        .await;
        let ToMaster::Proof(Proof { proof }) = receive(&mut connection).await else {
            panic!("no proof");
        };
        assert_eq!(proof, self.secret.slave_proof(&challenge, hello.slave));
        let mut report = Report::default();
        while !report.last {
            let ToMaster::Report(part) = receive(&mut connection).await else {
                panic!("no report");
            };
            report.shards.extend(part.shards);
            report.work = part.work;
            report.ready = part.ready;
            report.last = part.last;
        }
        Met {
            connection,
            hello,
            running,
            report,
            shard_count: self.shard_count,
        }
    }
}

/// A slave that reported and was not accepted.
pub struct Met {
    connection: Connection,
    hello: Hello,
    running: bool,
    pub report: Report,
    shard_count: u32,
}

impl Met {
    pub async fn accepted(self) -> Peer {
        let Self {
            mut connection,
            hello,
            running,
            report,
            shard_count,
        } = self;
        let accepted = Accepted { shard_count };
        send(&mut connection, ToSlave::Accepted(accepted)).await;
        let (mut receiver, sender) = connection.split();
        let (say, said) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                if say.send(ToMaster::from_frame(frame).unwrap()).is_err() {
                    return;
                }
            }
        });
        Peer {
            hello,
            running,
            report,
            sender,
            said,
            _reader: AbortOnDropHandle::new(reader),
            kept: Vec::new(),
            permits: true,
            identifies: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }
}

async fn receive(connection: &mut Connection) -> ToMaster {
    let frame = connection.recv().await.unwrap().expect("a frame");
    ToMaster::from_frame(frame).unwrap()
}

async fn send(connection: &mut Connection, message: ToSlave) {
    connection.send(&message.to_frame()).await.unwrap();
}

impl Peer {
    pub async fn order(&mut self, order: ToSlave) {
        self.sender.send(&order.to_frame()).await.unwrap();
    }

    /// Takes in what is said, answers requests for permits, and gives the first
    /// thing that `pick` wants.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&ToMaster) -> Option<T>) -> T {
        if let Some((at, picked)) = self
            .kept
            .iter()
            .enumerate()
            .find_map(|(at, message)| Some((at, pick(message)?)))
        {
            self.kept.remove(at);
            return picked;
        }
        loop {
            let said = timeout(LONG, self.said.recv()).await;
            let Ok(Some(message)) = said else {
                panic!("{what} never came ({said:?}), but {:?}", self.kept);
            };
            self.note(&message).await;
            if let Some(picked) = pick(&message) {
                return picked;
            }
            self.kept.push(message);
        }
    }

    /// Takes in whatever was said up to now.
    pub async fn catch_up(&mut self) {
        while let Ok(message) = self.said.try_recv() {
            self.note(&message).await;
            self.kept.push(message);
        }
    }

    async fn note(&mut self, message: &ToMaster) {
        match message {
            ToMaster::IdentifyRequest(request) => {
                self.identifies.push(*request);
                if self.permits {
                    self.order(ToSlave::IdentifyPermit(Unit {
                        shard: request.shard,
                        epoch: request.epoch,
                    }))
                    .await;
                }
            }
            ToMaster::Checkpoint(Checkpoint { shards }) => {
                for entry in shards {
                    if let Some(session) = &entry.session {
                        self.checkpoints.insert(entry.shard, session.clone());
                    }
                    let ticket = self.checkpoints.get_mut(&entry.shard).expect("a session");
                    ticket.handled = entry.handled;
                    ticket.finished_above = entry.finished_above.clone();
                    ticket.state_at = entry.handled;
                    ticket.in_doubt = SequenceRanges::new();
                }
            }
            _ => {}
        }
    }

    /// Starts shards cold, and waits until they serve.
    pub async fn start(&mut self, shards: &[u32], epoch: u64, shard_count: u32) {
        let unit = |shard: &u32| Unit {
            shard: ShardId(*shard),
            epoch: Epoch(epoch),
        };
        self.order(ToSlave::FullStart(FullStart {
            start: Some(StartExtra {
                shards: shards.iter().map(unit).collect(),
                shard_count,
            }),
        }))
        .await;
        for shard in shards {
            self.serving(*shard).await;
        }
    }

    /// READY, or RESUMED without an order.
    pub async fn serving(&mut self, shard: u32) {
        use baton_protocol::message::Step;
        self.wait("serving", |message| match message {
            ToMaster::Progress(progress)
                if progress.shard.get() == shard && progress.step == Step::Serving =>
            {
                Some(())
            }
            _ => None,
        })
        .await;
    }

    pub async fn seal(&mut self, shard: u32, epoch: u64, drain: Duration) -> Ticket {
        self.order(ToSlave::StopShard(StopShard {
            shard,
            extra: Some(Box::new(StopExtra {
                epoch: Epoch(epoch),
                drain_ms: drain.as_millis() as u64,
                ticket: None,
            })),
            ..StopShard::default()
        }))
        .await;
        self.ticket(shard).await
    }

    pub async fn ticket(&mut self, shard: u32) -> Ticket {
        self.wait("a ticket", |message| match message {
            ToMaster::StopShard(stop) if stop.shard == shard => stop.extra.clone()?.ticket,
            _ => None,
        })
        .await
    }

    pub async fn settled(&mut self, shard: u32) -> SequenceRanges {
        self.wait("settled", |message| match message {
            ToMaster::Settled(settled) if settled.shard.get() == shard => {
                Some(settled.unfinished.clone())
            }
            _ => None,
        })
        .await
    }

    pub async fn settle(&mut self, shard: u32, epoch: u64, unfinished: SequenceRanges) {
        self.order(ToSlave::Settled(Settled {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            unfinished,
        }))
        .await;
    }

    /// Gives a shard, without waiting for the answer.
    pub async fn give(&mut self, epoch: u64, after: ResumeAfter, ticket: Ticket) {
        self.order(ToSlave::Resume(Resume {
            shard: ticket.shard.get(),
            session_id: ticket.session_id.clone(),
            sequence: ticket.resume_from().get(),
            extra: Some(Box::new(ResumeExtra {
                epoch: Epoch(epoch),
                after,
                ticket: Some(ticket),
            })),
        }))
        .await;
    }

    /// Gives a shard and waits until Discord said RESUMED.
    pub async fn resume(&mut self, epoch: u64, after: ResumeAfter, ticket: Ticket) {
        let shard = ticket.shard.get();
        self.give(epoch, after, ticket).await;
        self.resumed(shard, epoch).await;
    }

    pub async fn resumed(&mut self, shard: u32, epoch: u64) {
        self.wait("RESUMED", |message| match message {
            ToMaster::Resume(resume) if resume.shard == shard => {
                let extra = resume.extra.as_ref()?;
                (extra.epoch == Epoch(epoch)).then_some(())
            }
            _ => None,
        })
        .await;
    }
}

/// One thing that a bot was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub shard: u32,
    pub epoch: u64,
    pub sequence: u64,
    pub session: String,
    pub kind: String,
    pub mark: Mark,
    /// Words about the state that were said before.
    pub states: usize,
}

/// What the bot of a test does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    Finish,
    /// Keeps it until it is let go.
    Keep,
    Panic,
    /// Lets go of it and panics then.
    FinishAndPanic,
    Retry,
}

/// A bot that remembers everything and keeps a cache.
#[derive(Default)]
pub struct Recorder {
    pub told: Mutex<Vec<Told>>,
    pub finished: AtomicU64,
    pub states: Mutex<Vec<(u32, State)>>,
    pub kept: Mutex<BTreeMap<u64, Ack>>,
    pub cache: Option<Cache>,
    pub doing: Mutex<Option<Box<dyn Fn(&Event) -> Doing + Send>>>,
    pub handle: Mutex<Option<ShardHandle>>,
    pub work: Mutex<Vec<String>>,
}

impl Recorder {
    pub fn with_cache() -> Self {
        Self {
            cache: Some(Cache::new()),
            ..Self::default()
        }
    }

    pub fn does(&self, doing: impl Fn(&Event) -> Doing + Send + 'static) {
        *self.doing.lock().unwrap() = Some(Box::new(doing));
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    pub fn sequences(&self) -> Vec<u64> {
        self.told().iter().map(|told| told.sequence).collect()
    }

    pub fn let_go(&self) {
        self.kept.lock().unwrap().clear();
    }
}

impl Bot for Recorder {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        *self.handle.lock().unwrap() = Some(shard.clone());
        self.told.lock().unwrap().push(Told {
            shard: event.shard().get(),
            epoch: event.epoch().get(),
            sequence: event.sequence().get(),
            session: event.session().to_owned(),
            kind: event.kind().to_owned(),
            mark: event.mark(),
            states: self.states.lock().unwrap().len(),
        });
        let doing = match &*self.doing.lock().unwrap() {
            Some(doing) => doing(&event),
            None => Doing::Finish,
        };
        match doing {
            Doing::Finish => {
                self.finished.fetch_add(1, Ordering::Relaxed);
            }
            Doing::Keep => {
                self.kept
                    .lock()
                    .unwrap()
                    .insert(event.sequence().get(), ack);
            }
            Doing::Panic => panic!("a handler that panics on purpose"),
            Doing::FinishAndPanic => {
                drop(ack);
                panic!("a handler that panics on purpose, later");
            }
            Doing::Retry => ack.retry(),
        }
    }

    fn state(&self, shard: &ShardHandle, state: State) {
        self.states
            .lock()
            .unwrap()
            .push((shard.shard().get(), state));
    }

    fn apply(&self, event: &Event) {
        if let Some(cache) = &self.cache {
            cache.apply(event);
        }
    }

    fn keeps_state(&self) -> bool {
        self.cache.is_some()
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        self.cache
            .as_ref()
            .map_or_else(Vec::new, |cache| cache.export(shard))
    }

    fn export_piece(&self, _: ShardId, key: u64) -> Option<Bytes> {
        self.cache.as_ref()?.export_piece(key)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        _: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        self.cache
            .as_ref()
            .map_or(Ok(()), |cache| cache.import_piece(shard, key, &piece))
    }

    fn drop_shard_state(&self, shard: ShardId) {
        if let Some(cache) = &self.cache {
            cache.drop_shard(shard);
        }
    }

    fn start_work(&self, ticket: Option<Bytes>) {
        self.work.lock().unwrap().push(format!("start {ticket:?}"));
    }

    fn stop_work(&self) -> Bytes {
        self.work.lock().unwrap().push("stop".to_owned());
        Bytes::from_static(b"next job at noon")
    }
}

/// A slave in this process.
pub struct Running {
    pub bot: Arc<Recorder>,
    pub monitor: Monitor,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), Error>>,
}

pub fn config(master: &FakeMaster, gateway: &Gateway) -> SlaveConfig {
    let mut config = SlaveConfig::new("token");
    config.master = master.address();
    config.secret = SecretSource::Given(master.secret.clone());
    config.gateway_url = Some(gateway.url());
    config.intents = INTENTS;
    config.build = "test".to_owned();
    let timings = &mut config.timings;
    timings.redial_first = Duration::from_millis(50);
    timings.redial_max = Duration::from_millis(400);
    timings.invalid_session = Duration::from_millis(20);
    timings.progress = Duration::from_secs(2);
    timings.hello = Duration::from_secs(2);
    timings.retry_delay = Duration::from_millis(20);
    config
}

pub fn run(config: SlaveConfig, bot: Recorder) -> Running {
    let bot = Arc::new(bot);
    let stop = CancellationToken::new();
    let builder = Slave::builder_of(bot.clone())
        .config(config)
        .stop(stop.clone());
    Running {
        bot,
        monitor: builder.monitor(),
        stop,
        task: tokio::spawn(builder.run()),
    }
}

impl Running {
    pub async fn ends(self) -> Result<(), Error> {
        timeout(LONG, self.task).await.expect("it ends").unwrap()
    }

    pub async fn counts(&self) -> baton_slave::Counts {
        self.monitor.status().await.expect("it runs").counters
    }
}
