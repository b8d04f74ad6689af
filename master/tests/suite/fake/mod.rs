//! A slave without a bot and without Discord: it speaks the whole protocol and
//! is always at once where it is asked to be.

mod life;

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

use self::life::Life;

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
    /// From the next ping on it says nothing on the link that it has, which stays.
    pub(crate) mute: bool,
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
