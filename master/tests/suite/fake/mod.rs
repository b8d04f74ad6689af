//! A slave without a bot and without Discord: it speaks the whole protocol and
//! is always at once where it is asked to be.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_protocol::{
    Connection, Epoch, ProcessIdentity, Sequence, ShardId, SlaveId, Term, Ticket, ToMaster,
    ToSlave, Trust, Version,
    auth::Secret,
    connection::{Receiver, Sender},
    discord::{self, SessionParameters},
    handshake,
    message::{
        Checkpoint, CheckpointEntry, Dialled, Held, Hello, Holding, IdentifyCause, IdentifyRequest,
        Overtaken, Pong, Progress, Proof, Refused, RefusedReason, Report, Role, Seal, Sealed,
        Settled, ShardMigrationStart, StateAck, StateReady, Step, Unit, Work, event,
    },
    state::StateWriter,
};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// A master answers a hello within this time, or is dialled again.
const ANSWER: Duration = Duration::from_secs(2);

/// What is seen of a slave from outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Its shards: epoch and what it does with them.
    pub(crate) shards: BTreeMap<ShardId, (Epoch, Holding)>,
    /// The epoch of the once-per-bot work, 0: none.
    pub(crate) work: Epoch,
    /// Every IDENTIFY permit, in order.
    pub(crate) permits: Vec<(ShardId, std::time::Instant)>,
    /// Every order that names a shard: what, and which.
    pub(crate) orders: Vec<(&'static str, ShardId)>,
    /// How often it was accepted.
    pub(crate) accepted: u32,
    /// Highest term of which it took orders.
    pub(crate) term: Term,
    /// Why it was refused.
    pub(crate) refused: Option<Refused>,
}

/// A slave whose process is another one, so that it can die.
pub(crate) struct Fake {
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) process: ProcessIdentity,
    task: Mutex<JoinHandle<()>>,
    life: Life,
    /// Ours, if we started it.
    _child: Option<tokio::process::Child>,
}

impl Fake {
    /// A slave with a process of its own.
    pub(crate) fn start(socket: &Path, build: &str, role: Role, intents: u64) -> Self {
        let child = tokio::process::Command::new("sleep")
            .arg("1000")
            .kill_on_drop(true)
            .spawn()
            .expect("sleep is there");
        let pid = child.id().expect("it runs");
        let mut fake = Self::of(pid, socket, build, role, intents);
        fake._child = Some(child);
        fake
    }

    /// A slave whose death cannot be known: its process is in another namespace.
    pub(crate) fn elsewhere(socket: &Path, build: &str, role: Role) -> Self {
        let mut fake = Self::start(socket, build, role, 513);
        fake.cut_off();
        fake.life.hello.process.pid_namespace += 1;
        fake.come_back();
        fake
    }

    /// A slave in a process that the master did not start.
    pub(crate) fn launched(pid: u32, socket: &Path, build: &str) -> Self {
        let mut fake = Self::of(pid, socket, build, Role::Candidate, 513);
        fake.cut_off();
        let secret = std::fs::read_to_string(socket.with_file_name("secret"));
        fake.life.secret = Secret::from_hex(&secret.expect("a secret"));
        fake.come_back();
        fake
    }

    /// The same slave in another slot. It has not dialled yet: nothing was awaited since.
    pub(crate) fn of_slot(mut self, slot: &str) -> Self {
        self.life.hello.slot = slot.to_owned();
        self.come_back();
        self
    }

    /// The same slave, which dials this master too, when the other one does not lead.
    pub(crate) fn also_at(mut self, socket: &Path) -> Self {
        self.life.others.push_back(socket.to_owned());
        self.come_back();
        self
    }

    /// It reaches this master only, and dials it.
    pub(crate) fn only_at(mut self, socket: &Path) -> Self {
        self.life.others.clear();
        self.life.socket = socket.to_owned();
        self.come_back();
        self
    }

    /// Its connection ends; it does not dial again.
    pub(crate) fn cut_off(&self) {
        self.task().abort();
    }

    /// It dials again.
    pub(crate) fn come_back(&self) {
        self.cut_off();
        *self.task() = tokio::spawn(self.life.clone().live());
    }

    fn task(&self) -> MutexGuard<'_, JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slave that lives in process `pid`.
    pub(crate) fn of(pid: u32, socket: &Path, build: &str, role: Role, intents: u64) -> Self {
        let process = ProcessIdentity::of(pid).expect("it runs");
        let hello = Hello {
            version: Version::NEWEST,
            lowest: Version::OLDEST,
            slave: SlaveId::random().expect("randomness"),
            role,
            slot: "main".to_owned(),
            build: build.to_owned(),
            parameters: SessionParameters {
                intents,
                api_version: 10,
                encoding: "json".to_owned(),
                large_threshold: 50,
                ..SessionParameters::default()
            }
            .seal(),
            process: process.clone(),
            nonce: "0123456789abcdef".into(),
            ..Hello::default()
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let life = Life {
            hello,
            socket: socket.to_owned(),
            others: VecDeque::new(),
            secret: None,
            seen: Arc::clone(&seen),
        };
        Self {
            seen,
            process,
            task: Mutex::new(tokio::spawn(life.clone().live())),
            life,
            _child: None,
        }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many shards it serves.
    pub(crate) fn serving(&self) -> usize {
        let shards = &self.seen().shards;
        shards
            .values()
            .filter(|(_, holding)| *holding == Holding::Serving)
            .count()
    }

    /// `kill -9`.
    pub(crate) fn die(&self) {
        self.cut_off();
        kill(self.process.pid);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let _ = rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL);
}

#[derive(Clone)]
struct Life {
    hello: Hello,
    socket: PathBuf,
    /// Of standby masters, which it dials in turn.
    others: VecDeque<PathBuf>,
    /// What it proves itself by, over TCP.
    secret: Option<Secret>,
    seen: Arc<Mutex<Seen>>,
}

impl Life {
    async fn live(mut self) {
        loop {
            if let Some(connection) = self.dial().await
                && self.serve(connection).await.is_none()
            {
                kill(self.hello.process.pid);
                return;
            }
            if let Some(next) = self.others.pop_front() {
                let last = std::mem::replace(&mut self.socket, next);
                self.others.push_back(last);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unix socket takes the process that dials, and its children. Of a process
    /// that the master launched the kernel knows better: TCP tells nothing.
    async fn dial(&self) -> Option<Connection> {
        if self.secret.is_none() {
            let socket = UnixStream::connect(&self.socket).await.ok()?;
            return Some(Connection::new(socket));
        }
        let address = std::fs::read_to_string(self.socket.with_file_name("listens")).ok()?;
        let socket = TcpStream::connect(address).await.ok()?;
        Some(Connection::new(socket))
    }

    /// One connection; `None` when the slave is to end, else it dials again.
    async fn serve(&self, mut connection: Connection) -> Option<()> {
        connection.trust(Trust::Known);
        let (mut receiver, mut sender) = connection.split();
        match self.join(&mut receiver, &mut sender).await {
            Ok(()) => {}
            Err(Some(refused)) => {
                self.seen().refused = Some(refused);
                return None;
            }
            Err(None) => return Some(()),
        }
        loop {
            let Ok(Some(frame)) = receiver.recv().await else {
                return Some(());
            };
            let message = ToSlave::from_frame(frame).expect("a master's message");
            let ends = matches!(message, ToSlave::Shutdown | ToSlave::Refused(_));
            for answer in self.answer(message) {
                if say(&mut sender, answer).await.is_err() {
                    return Some(());
                }
            }
            if ends {
                return None;
            }
        }
    }

    /// Up to the last report; else why it was refused, or that the connection is lost.
    async fn join(
        &self,
        receiver: &mut Receiver,
        sender: &mut Sender,
    ) -> Result<(), Option<Refused>> {
        let mut hello = self.hello.clone();
        hello.term = self.seen().term;
        let hello = handshake::ToMaster::Hello {
            running: !self.seen().shards.is_empty(),
            hello: Box::new(hello),
        };
        sender.send(&hello.into()).await.map_err(|_| None)?;
        // A master that stands still has a socket that takes everything.
        let Ok(Ok(Some(frame))) = timeout(ANSWER, receiver.recv()).await else {
            return Err(None);
        };
        let welcome = match handshake::ToSlave::from_frame(frame).expect("a master's message") {
            handshake::ToSlave::Welcome(welcome) => welcome,
            handshake::ToSlave::Refused(refused) if refused.reason == RefusedReason::NotLeading => {
                self.seen().refused = Some(refused);
                return Err(None);
            }
            handshake::ToSlave::Refused(refused) => return Err(Some(refused)),
        };
        self.seen().term = welcome.term;
        if let Some(secret) = &self.secret {
            let proof = secret.slave_proof(&welcome.challenge, self.hello.slave);
            let proof = handshake::ToMaster::Proof(Proof { proof });
            sender.send(&proof.into()).await.map_err(|_| None)?;
        }
        let report = handshake::ToMaster::Report(report(&self.seen()));
        sender.send(&report.into()).await.map_err(|_| None)
    }

    fn answer(&self, message: ToSlave) -> Vec<ToMaster> {
        let mut seen = self.seen();
        match message {
            ToSlave::Accepted(_) => {
                seen.accepted += 1;
                Vec::new()
            }
            ToSlave::Refused(refused) => {
                seen.refused = Some(refused);
                Vec::new()
            }
            ToSlave::Ping(ping) => vec![ToMaster::Pong(Pong {
                number: ping.number,
                ..Pong::default()
            })],
            ToSlave::Try(_) => Vec::new(),
            ToSlave::SoftStart => vec![ToMaster::SoftStartComplete],
            ToSlave::FullStart(start) => {
                let units = start.shards.into_iter();
                units.map(|unit| begin(&mut seen, unit)).collect()
            }
            ToSlave::IdentifyPermit(unit) => {
                seen.permits.push((unit.shard, std::time::Instant::now()));
                let mut answers = serves(&mut seen, unit);
                answers.push(ToMaster::Progress(Progress {
                    shard: unit.shard,
                    epoch: unit.epoch,
                    step: Step::Serving,
                    ..Progress::default()
                }));
                answers
            }
            ToSlave::ShardMigrationStart(start) => {
                let shards = if start.from_this_slave {
                    u32::try_from(seen.shards.len()).expect("few shards")
                } else {
                    start.shards
                };
                vec![ToMaster::ShardMigrationStart(ShardMigrationStart {
                    shards,
                    ..start
                })]
            }
            ToSlave::CopyState(unit) => {
                seen.orders.push(("copy", unit.shard));
                let frames = StateWriter::new(unit.shard, unit.epoch).end(Sequence(5));
                frames.into_iter().map(ToMaster::State).collect()
            }
            ToSlave::State(frame) => {
                let header = frame.header();
                let ack = ToMaster::StateAck(StateAck {
                    shard: header.shard,
                    epoch: header.epoch,
                    bytes: frame.body().len() as u64,
                });
                let ready =
                    (frame.id() == event::STATE_END).then_some(ToMaster::StateReady(StateReady {
                        shard: header.shard,
                        epoch: header.epoch,
                        state_at: header.sequence,
                        pieces: 0,
                    }));
                [ack].into_iter().chain(ready).collect()
            }
            ToSlave::Dial(dial) => {
                seen.orders.push(("dial", dial.shard));
                vec![ToMaster::Dialled(Dialled {
                    shard: dial.shard,
                    epoch: dial.epoch,
                    failed: String::new(),
                })]
            }
            ToSlave::Seal(order) => seal(&mut seen, order),
            ToSlave::SealLate(late) => vec![ToMaster::SealLate(Unit {
                shard: late.shard,
                epoch: late.epoch,
            })],
            ToSlave::Overtake(unit) => vec![ToMaster::Overtaken(Overtaken {
                shard: unit.shard,
                epoch: unit.epoch,
                failed: String::new(),
            })],
            ToSlave::Resume(resume) => {
                let (shard, epoch) = (resume.shard(), resume.epoch);
                seen.orders.push(("resume", shard));
                let unit = Unit { shard, epoch };
                let mut answers = serves(&mut seen, unit);
                answers.push(ToMaster::Resumed(unit));
                answers
            }
            ToSlave::StopWork(work) => {
                seen.work = Epoch(0);
                vec![ToMaster::StopWork(Work {
                    epoch: work.epoch,
                    ticket: "where the work stands".into(),
                })]
            }
            ToSlave::StartWork(work) => {
                seen.work = work.epoch;
                vec![ToMaster::StartWork(Work {
                    epoch: work.epoch,
                    ..Work::default()
                })]
            }
            ToSlave::Shutdown => vec![ToMaster::Shutdown],
            ToSlave::Forget(unit) => {
                if seen
                    .shards
                    .get(&unit.shard)
                    .is_some_and(|(epoch, _)| *epoch < unit.epoch)
                {
                    seen.shards.remove(&unit.shard);
                }
                Vec::new()
            }
            ToSlave::Settled(_) | ToSlave::StateAck(_) => Vec::new(),
        }
    }
}

async fn say(
    sender: &mut Sender,
    message: ToMaster,
) -> Result<(), baton_protocol::ConnectionError> {
    sender.send(&message.to_frame()).await
}

fn report(seen: &Seen) -> Report {
    let held = |(shard, (epoch, holding)): (&ShardId, &(Epoch, Holding))| Held {
        epoch: *epoch,
        holding: *holding,
        ticket: ticket(*shard),
        untouched: false,
    };
    Report {
        shards: seen.shards.iter().map(held).collect(),
        work: seen.work,
        ready: true,
        lapsed: false,
        last: true,
    }
}

fn begin(seen: &mut Seen, unit: Unit) -> ToMaster {
    seen.orders.push(("start", unit.shard));
    seen.shards
        .insert(unit.shard, (unit.epoch, Holding::Starting));
    ToMaster::IdentifyRequest(IdentifyRequest {
        shard: unit.shard,
        epoch: unit.epoch,
        cause: IdentifyCause::Cold,
    })
}

fn serves(seen: &mut Seen, unit: Unit) -> Vec<ToMaster> {
    seen.shards
        .insert(unit.shard, (unit.epoch, Holding::Serving));
    let ticket = ticket(unit.shard);
    let entry = CheckpointEntry {
        shard: unit.shard,
        epoch: unit.epoch,
        handled: ticket.handled,
        session: Some(ticket),
        ..CheckpointEntry::default()
    };
    vec![ToMaster::Checkpoint(Checkpoint {
        shards: vec![entry],
    })]
}

fn seal(seen: &mut Seen, order: Seal) -> Vec<ToMaster> {
    let Seal { shard, epoch, .. } = order;
    seen.orders.push(("seal", shard));
    seen.shards.insert(shard, (epoch, Holding::Sealed));
    let ticket = ticket(shard);
    let sealed = ToMaster::Sealed(Box::new(Sealed { epoch, ticket }));
    let settled = ToMaster::Settled(Settled {
        shard,
        epoch,
        ..Settled::default()
    });
    vec![sealed, settled]
}

fn ticket(shard: ShardId) -> Ticket {
    Ticket {
        shard,
        session: discord::Session {
            resume_url: "ws://127.0.0.1:1".to_owned(),
            ..discord::Session::with_id(format!("session of {shard}"))
        }
        .seal(),
        handled: Sequence(9),
        state_at: Sequence(9),
        ..Ticket::default()
    }
}
