//! The master's core alone, in virtual time: a fleet is started and deployed,
//! its slaves answer at once, then checkpoints come in. What one input costs must
//! not depend on how many shards there are.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use baton_core::{
    Core,
    event::{Action, Durability, Evidence, Input, Recovered, Time},
    settings::{Settings, SlotSettings},
};
use baton_protocol::{
    Epoch, Sequence, ShardId, SlaveId, Ticket, ToMaster, ToSlave, Version,
    discord::{Session, SessionParameters},
    message::{
        Checkpoint, CheckpointEntry, Dialled, Hello, IdentifyCause, IdentifyRequest, Pong,
        Progress, Report, Role, Seal, Sealed, Settled, StateReady, Step, Unit, Work,
    },
};
use serde::{Deserialize, Serialize};

/// What the core took for a number of shards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoreCost {
    /// Shards of the bot.
    pub shards: u32,
    /// Inputs of a cold start and one deploy of every shard.
    pub deploy_inputs: u64,
    /// Time for each of them, in microseconds.
    pub deploy_input_us: f64,
    /// Time for a checkpoint of one shard, in microseconds.
    pub checkpoint_us: f64,
    /// Rows of the journal that a deploy writes, for each shard.
    pub deploy_rows: f64,
    /// Saves that it waits for until they are on the disk, for each shard, at most:
    /// the driver puts those together that come at once.
    pub deploy_syncs: f64,
}

/// Checkpoints that are timed.
const CHECKPOINTS: u32 = 50_000;

const OLD: SlaveId = SlaveId(1);
const NEW: SlaveId = SlaveId(2);

/// Measures it.
///
/// # Panics
/// The core does not end the deploy: a bug, not a measurement.
#[must_use]
pub fn cost(shards: u32) -> CoreCost {
    let mut fleet = Fleet::new(shards);
    fleet.join(OLD, Role::Relaunch);
    fleet.run_until(|fleet| fleet.serving == shards);
    let (rows, syncs) = (fleet.rows, fleet.syncs);
    fleet.join(NEW, Role::Candidate);
    fleet.run_until(|fleet| fleet.gone);
    let (rows, syncs) = (fleet.rows - rows, fleet.syncs - syncs);
    let (inputs, spent) = (fleet.inputs, fleet.spent);

    let spent_before = fleet.spent;
    for number in 0..CHECKPOINTS {
        let shard = ShardId(number % shards);
        let mut entry = fleet.entry(shard, Epoch(2));
        entry.handled = Sequence(1000 + u64::from(number));
        let checkpoint = Checkpoint {
            shards: vec![entry],
        };
        fleet
            .inbox
            .push_back((NEW, ToMaster::Checkpoint(checkpoint)));
        fleet.drain();
    }
    let checkpoints = fleet.spent - spent_before;
    CoreCost {
        shards,
        deploy_inputs: inputs,
        deploy_input_us: spent.as_secs_f64() * 1e6 / inputs as f64,
        checkpoint_us: checkpoints.as_secs_f64() * 1e6 / f64::from(CHECKPOINTS),
        deploy_rows: f64::from(rows) / f64::from(shards),
        deploy_syncs: f64::from(syncs) / f64::from(shards),
    }
}

struct Fleet {
    core: Core,
    now: Time,
    inbox: VecDeque<(SlaveId, ToMaster)>,
    serving: u32,
    gone: bool,
    inputs: u64,
    spent: Duration,
    rows: u32,
    syncs: u32,
}

impl Fleet {
    fn new(shards: u32) -> Self {
        let settings = Settings {
            slots: vec![SlotSettings {
                name: "main".to_owned(),
                shards: None,
                launches: true,
                ..SlotSettings::default()
            }],
            shard_count: shards,
            permits_at_once: 16,
            adopt_grace: Duration::ZERO,
            service: &baton_master::discord::Discord,
            ..Settings::default()
        };
        let now = Time(Duration::from_secs(1000));
        Self {
            core: Core::new(settings, Recovered::default(), now),
            now,
            inbox: VecDeque::new(),
            serving: 0,
            gone: false,
            inputs: 0,
            spent: Duration::ZERO,
            rows: 0,
            syncs: 0,
        }
    }

    fn join(&mut self, slave: SlaveId, role: Role) {
        let hello = Hello {
            slave,
            role,
            slot: "main".to_owned(),
            version: Version::NEWEST,
            parameters: SessionParameters {
                intents: 1,
                ..SessionParameters::default()
            }
            .seal(),
            ..Hello::default()
        };
        self.input(Input::Joined {
            hello: Box::new(hello),
            report: Report::default(),
        });
    }

    /// Answers everything; where nothing is left, the next deadline comes.
    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        loop {
            self.drain();
            if done(self) {
                return;
            }
            let next = self.core.deadline();
            self.now = next.expect("something is still to happen").max(self.now);
            self.input(Input::Tick);
        }
    }

    fn drain(&mut self) {
        while let Some((slave, message)) = self.inbox.pop_front() {
            self.input(Input::Said { slave, message });
        }
    }

    fn input(&mut self, input: Input) {
        let began = Instant::now();
        self.core.handle(self.now, input);
        let actions: Vec<_> = std::iter::from_fn(|| self.core.poll_action()).collect();
        self.spent += began.elapsed();
        self.inputs += 1;
        for action in actions {
            match action {
                Action::Send(to, order) => self.obey(to, order),
                Action::Save(rows, durability) => {
                    self.rows += rows.len() as u32;
                    self.syncs += u32::from(durability == Durability::Now);
                }
                Action::Refuse(..)
                | Action::Launch { .. }
                | Action::GiveUp { .. }
                | Action::Kill(..)
                | Action::Keep(_)
                | Action::Tell(_)
                | Action::Exit => {}
            }
        }
    }

    fn entry(&self, shard: ShardId, epoch: Epoch) -> CheckpointEntry {
        CheckpointEntry {
            shard,
            epoch,
            handled: Sequence(100),
            session: Some(ticket(shard)),
            ..CheckpointEntry::default()
        }
    }

    /// What a slave answers, at once.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest needs no answer")]
    fn obey(&mut self, slave: SlaveId, order: ToSlave) {
        let mut say = |message| self.inbox.push_back((slave, message));
        match order {
            ToSlave::FullStart(start) => {
                for unit in start.shards {
                    say(ToMaster::IdentifyRequest(IdentifyRequest {
                        shard: unit.shard,
                        epoch: unit.epoch,
                        cause: IdentifyCause::Cold,
                    }));
                }
            }
            ToSlave::IdentifyPermit(unit) => {
                let entry = self.entry(unit.shard, unit.epoch);
                let shards = vec![entry];
                let checkpoint = ToMaster::Checkpoint(Checkpoint { shards });
                self.inbox.push_back((slave, checkpoint));
                self.inbox.push_back((slave, serves(unit)));
                self.serving += 1;
            }
            ToSlave::ShardMigrationStart(start) => say(ToMaster::ShardMigrationStart(start)),
            ToSlave::CopyState(unit) => {
                let ready = StateReady {
                    shard: unit.shard,
                    epoch: unit.epoch,
                    state_at: Sequence(90),
                    pieces: 1,
                };
                self.inbox.push_back((NEW, ToMaster::StateReady(ready)));
            }
            ToSlave::Dial(dial) => say(ToMaster::Dialled(Dialled {
                shard: dial.shard,
                epoch: dial.epoch,
                failed: String::new(),
            })),
            ToSlave::Seal(Seal { shard, epoch, .. }) => {
                let ticket = ticket(shard);
                say(ToMaster::Sealed(Box::new(Sealed { epoch, ticket })));
                say(ToMaster::Settled(Settled {
                    shard,
                    epoch,
                    ..Settled::default()
                }));
            }
            ToSlave::Resume(resume) => say(ToMaster::Resumed(Unit {
                shard: resume.shard(),
                epoch: resume.epoch,
            })),
            ToSlave::StopWork(work) => say(ToMaster::StopWork(work)),
            ToSlave::StartWork(work) => say(ToMaster::StartWork(Work {
                epoch: work.epoch,
                ..Work::default()
            })),
            ToSlave::Ping(ping) => say(ToMaster::Pong(Pong {
                number: ping.number,
                ..Pong::default()
            })),
            ToSlave::Shutdown => {
                self.gone = true;
                self.input(Input::Left { slave });
                self.input(Input::Died {
                    slave,
                    evidence: Evidence::Process,
                });
            }
            _ => {}
        }
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
