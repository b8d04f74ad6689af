//! A master's core with slaves that answer it, in virtual time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use baton_core::{
    Core,
    event::{Action, AgentIs, Durability, Evidence, Input, News, Recovered, Time},
    settings::Settings,
};
use baton_protocol::{
    DeployId, Epoch, LaunchId, Sequence, ShardId, SlaveId, Ticket, ToMaster, ToSlave, Version,
    discord::{Session, SessionParameters},
    message::{
        Checkpoint, CheckpointEntry, Dialled, Hello, IdentifyCause, IdentifyRequest, Pong,
        Progress, Report, Role, Seal, Sealed, Settled, StateReady, Step, Unit, Work,
    },
    state::StateWriter,
};

/// How long what the core orders takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Takes {
    /// From an order of the master to the answer of a slave that does nothing meanwhile.
    pub(super) link: Duration,
    /// From a question to the service to its answer.
    pub(super) service: Duration,
    /// From the launch of a process to its hello.
    pub(super) launch: Duration,
}

/// Round trips to the service until a connection can be resumed on: TCP, TLS, and the
/// websocket with its first message.
const DIAL: u32 = 3;

/// What comes to the master.
enum Coming {
    Said(SlaveId, ToMaster),
    Joins(Box<Hello>),
    Ends(SlaveId),
}

/// The fleet.
pub(super) struct VirtualFleet {
    core: Core,
    takes: Takes,
    now: Time,
    /// By the time at which it comes, then in order.
    coming: BTreeMap<(Time, u64), Coming>,
    ordered: u64,
    joined: u128,
    /// Sessions that began.
    pub(super) identified: u32,
    /// Shards that came back from a RESUME.
    pub(super) resumed: u32,
    /// Slaves that ended as they were told.
    pub(super) gone: u32,
    /// Deploys that ended, with how.
    pub(super) ended: Vec<String>,
    /// Inputs of the core, and what it took for them.
    pub(super) inputs: u64,
    pub(super) spent: Duration,
    /// The longest that it took for one.
    pub(super) longest: Duration,
    /// Rows of the journal, and saves that it waited for.
    pub(super) rows: u32,
    pub(super) syncs: u32,
}

impl VirtualFleet {
    pub(super) fn new(settings: Settings, takes: Takes) -> Self {
        let now = Time(Duration::from_secs(1000));
        Self {
            core: Core::new(settings, Recovered::default(), now),
            takes,
            now,
            coming: BTreeMap::new(),
            ordered: 0,
            joined: 0,
            identified: 0,
            resumed: 0,
            gone: 0,
            ended: Vec::new(),
            inputs: 0,
            spent: Duration::ZERO,
            longest: Duration::ZERO,
            rows: 0,
            syncs: 0,
        }
    }

    /// Virtual time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.0.saturating_sub(Duration::from_secs(1000))
    }

    /// The host's agent is here.
    pub(super) fn agent(&mut self, host: &str) {
        let host = host.to_owned();
        let is = AgentIs::Here;
        self.input(Input::Agent { host, is });
    }

    /// A slave that nobody launched joins at once.
    pub(super) fn join(&mut self, slot: &str, role: Role) -> SlaveId {
        let hello = self.hello(slot, role);
        let slave = hello.slave;
        self.later(Duration::ZERO, Coming::Joins(Box::new(hello)));
        slave
    }

    /// A slave says something.
    pub(super) fn say(&mut self, slave: SlaveId, message: ToMaster) {
        self.later(Duration::ZERO, Coming::Said(slave, message));
    }

    /// A slave is dead, and said nothing before.
    pub(super) fn dies(&mut self, slave: SlaveId, evidence: Evidence) {
        self.input(Input::Left { slave });
        self.input(Input::Died { slave, evidence });
    }

    /// The slaves of a slot that the core knows of.
    pub(super) fn slaves_of(&self, slot: &str) -> Vec<SlaveId> {
        let view = self.core.view(self.now);
        let slaves = view.slaves.into_iter().filter(|slave| slave.slot == slot);
        slaves
            .filter_map(|slave| slave.slave.parse().ok())
            .collect()
    }

    /// Whether nobody has anything to say.
    pub(super) fn is_at_rest(&self) -> bool {
        self.coming.is_empty()
    }

    /// How many shards each slot has, in order.
    pub(super) fn loads(&self) -> Vec<u32> {
        let view = self.core.view(self.now);
        let mut loads: BTreeMap<String, u32> =
            view.slots.into_iter().map(|slot| (slot.name, 0)).collect();
        for shard in view.shards {
            if shard.owner.is_some() {
                *loads.entry(shard.slot).or_default() += 1;
            }
        }
        loads.into_values().collect()
    }

    /// What comes is taken in and deadlines pass, until it is so and nothing more comes at
    /// that time.
    ///
    /// # Panics
    /// Nothing more is to happen: a bug of the core, not a measurement.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        loop {
            self.drain();
            if done(self) {
                return;
            }
            let next = self.coming.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.core.deadline().map(|at| at.max(self.now));
            self.now = match (next, deadline) {
                (Some(at), deadline) if deadline.is_none_or(|deadline| at <= deadline) => at,
                (_, Some(deadline)) => {
                    self.now = deadline;
                    self.input(Input::Tick);
                    continue;
                }
                (_, None) => panic!("nothing more is to happen"),
            };
        }
    }

    /// What is to come now is taken in.
    pub(super) fn drain(&mut self) {
        while let Some(first) = self.coming.first_entry()
            && first.key().0 <= self.now
        {
            let coming = first.remove();
            self.comes(coming);
        }
    }

    fn comes(&mut self, coming: Coming) {
        match coming {
            Coming::Said(slave, message) => self.input(Input::Said { slave, message }),
            Coming::Joins(hello) => self.input(Input::Joined {
                hello,
                report: Report::default(),
            }),
            Coming::Ends(slave) => {
                self.gone += 1;
                self.dies(slave, Evidence::Process);
            }
        }
    }

    fn later(&mut self, after: Duration, coming: Coming) {
        self.ordered += 1;
        let at = Time(self.now.0 + after);
        self.coming.insert((at, self.ordered), coming);
    }

    fn hello(&mut self, slot: &str, role: Role) -> Hello {
        self.joined += 1;
        Hello {
            slave: SlaveId(self.joined),
            role,
            slot: slot.to_owned(),
            version: Version::NEWEST,
            parameters: SessionParameters {
                intents: 1,
                ..SessionParameters::default()
            }
            .seal(),
            ..Hello::default()
        }
    }

    /// Timed.
    pub(super) fn input(&mut self, input: Input) {
        let began = Instant::now();
        self.core.handle(self.now, input);
        let actions: Vec<_> = std::iter::from_fn(|| self.core.poll_action()).collect();
        let spent = began.elapsed();
        self.spent += spent;
        self.longest = self.longest.max(spent);
        self.inputs += 1;
        for action in actions {
            match action {
                Action::Send(to, order) => self.obey(to, order),
                Action::Save(rows, durability) => {
                    self.rows += rows.len() as u32;
                    self.syncs += u32::from(durability == Durability::Now);
                }
                Action::Launch {
                    slot,
                    role,
                    deploy,
                    launch,
                    ..
                } => self.launch(&slot, role, deploy, launch),
                Action::Tell(News::DeployEnded { outcome, .. }) => {
                    self.ended.push(outcome.to_string());
                }
                Action::Refuse(..)
                | Action::GiveUp { .. }
                | Action::Kill(..)
                | Action::HangUp(_)
                | Action::Keep(_)
                | Action::Tell(_)
                | Action::Exit => {}
            }
        }
    }

    fn launch(&mut self, slot: &str, role: Role, deploy: Option<DeployId>, launch: LaunchId) {
        let mut hello = self.hello(slot, role);
        hello.deploy = deploy.unwrap_or_default();
        hello.launch = launch;
        self.later(self.takes.launch, Coming::Joins(Box::new(hello)));
    }

    /// What a slave answers, as soon as it can.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest needs no answer")]
    fn obey(&mut self, slave: SlaveId, order: ToSlave) {
        let (link, service) = (self.takes.link, self.takes.service);
        let mut say = |after, message| self.later(after, Coming::Said(slave, message));
        match order {
            ToSlave::FullStart(start) => {
                for unit in start.shards {
                    let request = IdentifyRequest {
                        shard: unit.shard,
                        epoch: unit.epoch,
                        cause: IdentifyCause::Cold,
                    };
                    say(link, ToMaster::IdentifyRequest(request));
                }
            }
            ToSlave::IdentifyPermit(unit) => {
                let shards = vec![entry(unit.shard, unit.epoch)];
                let checkpoint = ToMaster::Checkpoint(Checkpoint { shards });
                say(link + service, checkpoint);
                say(link + service, serves(unit));
                self.identified += 1;
            }
            ToSlave::ShardMigrationStart(start) => {
                say(link, ToMaster::ShardMigrationStart(start));
            }
            // A bot whose state stays where it is copies nothing.
            ToSlave::CopyState(copy) => {
                let end = StateWriter::new(copy.shard, copy.epoch).end(Sequence(90));
                for frame in end {
                    say(link, ToMaster::State(frame));
                }
            }
            ToSlave::State(frame) if frame.is_end() => {
                let header = frame.header();
                let ready = StateReady {
                    shard: header.shard,
                    epoch: header.epoch,
                    state_at: Sequence(90),
                    pieces: 1,
                };
                say(link, ToMaster::StateReady(ready));
            }
            ToSlave::Dial(dial) => {
                let dialled = Dialled {
                    shard: dial.shard,
                    epoch: dial.epoch,
                    failed: String::new(),
                };
                say(link + service * DIAL, ToMaster::Dialled(dialled));
            }
            ToSlave::Seal(Seal { shard, epoch, .. }) => {
                let ticket = ticket(shard);
                let sealed = Sealed { epoch, ticket };
                say(link, ToMaster::Sealed(Box::new(sealed)));
                let settled = Settled {
                    shard,
                    epoch,
                    ..Settled::default()
                };
                say(link, ToMaster::Settled(settled));
            }
            ToSlave::Resume(resume) => {
                let unit = Unit {
                    shard: resume.shard(),
                    epoch: resume.epoch,
                };
                say(link + service, ToMaster::Resumed(unit));
                self.resumed += 1;
            }
            ToSlave::StopWork(work) => say(link, ToMaster::StopWork(work)),
            ToSlave::StartWork(work) => {
                let started = Work {
                    epoch: work.epoch,
                    ..Work::default()
                };
                say(link, ToMaster::StartWork(started));
            }
            ToSlave::Ping(ping) => {
                let pong = Pong {
                    number: ping.number,
                    ..Pong::default()
                };
                say(link, ToMaster::Pong(pong));
            }
            ToSlave::Shutdown => self.later(link, Coming::Ends(slave)),
            _ => {}
        }
    }
}

/// What a checkpoint says of a shard.
pub(super) fn entry(shard: ShardId, epoch: Epoch) -> CheckpointEntry {
    CheckpointEntry {
        shard,
        epoch,
        handled: Sequence(100),
        session: Some(ticket(shard)),
        ..CheckpointEntry::default()
    }
}

fn serves(unit: Unit) -> ToMaster {
    ToMaster::Progress(Progress {
        shard: unit.shard,
        epoch: unit.epoch,
        step: Step::Serving,
        ..Progress::default()
    })
}

fn ticket(shard: ShardId) -> Ticket {
    Ticket {
        shard,
        session: Session::with_id(format!("session of {shard}")).seal(),
        handled: Sequence(100),
        state_at: Sequence(100),
        ..Ticket::default()
    }
}
