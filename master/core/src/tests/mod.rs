//! The core, driven by hand: one input, the actions that it must cause.
//!
//! The tests stand in the files below, what they share stands here: a [`Rig`]
//! owns a core and a clock, and speaks for the slaves.

// A test names what it looks for; the rest is of no interest.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
// What stands around the core has seeds from the environment, and may take its time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod adoption;
mod ahead;
mod back;
mod bake;
mod beside;
mod chain;
mod clocks;
mod cold;
mod copies;
mod dark;
mod deaths;
mod deploys;
mod exact;
mod failures;
mod fencing;
mod gate;
mod hostile;
mod hosts;
mod late;
mod launches;
mod lease;
mod leaving;
mod model;
mod moves;
mod named;
mod named_permits;
mod overlap;
mod pace;
mod pausing;
mod plausible;
mod post;
mod reach;
mod reasons;
mod recut;
mod relief;
mod restart;
mod resync;
mod rows;
mod saving;
mod schedule;
mod service;
mod sessions;
mod sim;
mod sinks;
mod slots;
mod stalls;
mod standbys;
mod storms;
mod words;

use std::time::Duration;

use baton_protocol::{
    DeployId, Epoch, LaunchId, ProcessIdentity, Sequence, SequenceRanges, Session, ShardId,
    SlaveId, Ticket, ToMaster, ToSlave, Version, discord,
    message::{
        Checkpoint, CheckpointEntry, Clients, Failed, Held, Hello, Holding, IdentifyCause,
        IdentifyRequest, MemoryUse, Pong, Progress, Refused, Report, Resume, ResumeAfter, Role,
        Sealed, Settled, ShardMigrationStart, SinkReport, StateReady, Step, StoreRoom, Unit, Work,
    },
};

use self::{
    named::*,
    service::{BROADCAST, GATEWAY, Gateway, intents, parameters, pinned, session},
};
use super::{
    Action, Core, Input, Members, Recovered, Settings, Time,
    event::{
        Basis, Beside, DeployOrder, Durability, Entry, Evidence, Hold, News, Outcome, RequestId,
        Row,
    },
    settings::SlotSettings,
    view::{ShardView, SinkView},
};

const A: SlaveId = SlaveId(0xa);
const B: SlaveId = SlaveId(0xb);
const C: SlaveId = SlaveId(0xc);
const D: SlaveId = SlaveId(0xd);
const SECOND: Duration = Duration::from_secs(1);

/// A core and its clock.
struct Rig {
    core: Core,
    now: Time,
    /// What it ordered to be launched, the last one last.
    launches: Vec<(Role, LaunchId)>,
}

/// The usual fleet: one slot with all shards.
fn settings(shards: u32) -> Settings {
    Settings {
        slots: vec![SlotSettings {
            name: "main".to_owned(),
            shards: None,
            launches: true,
            ..SlotSettings::default()
        }],
        shard_count: shards,
        permits_at_once: 16,
        identify_window: 5 * SECOND,
        // A deploy is not held up by its canary, where that is not what is tested.
        canary_time: Duration::ZERO,
        service: &GATEWAY,
        ..Settings::default()
    }
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self::restarted(settings, Recovered::default())
    }

    fn restarted(settings: Settings, recovered: Recovered) -> Self {
        let now = Time(SECOND * 1000);
        let core = Core::new(settings, recovered, now);
        Self {
            core,
            now,
            launches: Vec::new(),
        }
    }

    /// A fleet of `shards` that `A` serves, each at sequence 100, and the work.
    fn serving(shards: u32) -> Self {
        Self::serving_with(settings(shards))
    }

    fn serving_with(settings: Settings) -> Self {
        let shards = settings.shard_count;
        let mut rig = Self::new(settings);
        rig.join(A, Role::Relaunch);
        for shard in 0..shards {
            rig.ready(A, shard, 1);
        }
        rig.say(A, ToMaster::StartWork(work(1, b"")));
        rig
    }

    /// As [`serving`](Self::serving), and `B` came as a candidate; both are ready.
    fn moving(settings: Settings) -> (Self, Vec<Action>) {
        let mut rig = Self::serving_with(settings);
        rig.join(B, Role::Candidate);
        rig.say(A, prepared(true));
        let actions = rig.say(B, prepared(false));
        (rig, actions)
    }

    /// As [`moving`](Self::moving), and every shard moved; the deploy soaks.
    fn soaking(settings: Settings) -> Self {
        let shards = settings.shard_count;
        let (mut rig, _) = Self::moving(settings);
        for shard in 0..shards {
            rig.move_shard(A, B, shard, 1);
        }
        rig.say(A, ToMaster::StopWork(work(1, b"cron")));
        rig.say(B, ToMaster::StartWork(work(2, b"")));
        assert_eq!(rig.step(), Some("soaking"));
        rig
    }

    /// The soak of a deploy to `slave` ends, and it lives.
    fn soaked(&mut self, slave: SlaveId) -> Vec<Action> {
        let end = self.wait(10 * SECOND);
        assert_eq!(orders(&end), [format!("{:x} Ping", slave.0)]);
        self.say(slave, pong(0, 0))
    }

    /// One whole migration, from the copy to RESUMED.
    fn move_shard(&mut self, from: SlaveId, to: SlaveId, shard: u32, epoch: u64) {
        self.say(to, state_ready(shard, epoch, 90));
        self.say(from, sealed(shard, epoch, 100));
        self.say(from, settled(shard, epoch, &[]));
        self.say(to, resumed(shard, epoch + 1));
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        self.core.handle(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Action> {
        let actions: Vec<_> = std::iter::from_fn(|| self.core.poll_action()).collect();
        let launched = actions.iter().filter_map(|action| match action {
            Action::Launch { role, launch, .. } => Some((*role, *launch)),
            _ => None,
        });
        self.launches.extend(launched);
        actions
    }

    /// The last launch with this role.
    fn launch_of(&self, role: Role) -> LaunchId {
        let mut launches = self.launches.iter().rev();
        launches.find(|launch| launch.0 == role).unwrap().1
    }

    /// What was launched last with this role is this process.
    fn comes_up(&mut self, role: Role, pid: u32) -> Vec<Action> {
        let launch = self.launch_of(role);
        self.input(Input::Launched { launch, pid })
    }

    /// What was launched last with this role ended, or could not be started.
    fn launch_fails(&mut self, role: Role) -> Vec<Action> {
        let (launch, reason) = (self.launch_of(role), "no such file".to_owned());
        self.input(Input::LaunchFailed { launch, reason })
    }

    /// An answer to the question of a deploy names the one that runs.
    fn say(&mut self, slave: SlaveId, mut message: ToMaster) -> Vec<Action> {
        if let ToMaster::ShardMigrationStart(answer) = &mut message
            && let Some(deploy) = self.core.deploys.with(slave)
        {
            answer.deploy = deploy.id;
        }
        self.input(Input::Said { slave, message })
    }

    fn join(&mut self, slave: SlaveId, role: Role) -> Vec<Action> {
        self.join_with(slave, role, Report::default())
    }

    /// As `join`, of this version of the wire.
    fn join_speaking(&mut self, slave: SlaveId, role: Role, version: Version) -> Vec<Action> {
        let mut hello = hello(slave, role);
        hello.version = version;
        self.comes(hello, Report::default())
    }

    fn join_with(&mut self, slave: SlaveId, role: Role, report: Report) -> Vec<Action> {
        self.comes(hello(slave, role), report)
    }

    fn comes(&mut self, hello: Hello, report: Report) -> Vec<Action> {
        let hello = Box::new(hello);
        self.input(Input::Joined { hello, report })
    }

    fn die(&mut self, slave: SlaveId) -> Vec<Action> {
        self.input(Input::Left { slave });
        self.input(Input::Died {
            slave,
            evidence: Evidence::Process,
        })
    }

    /// READY: a new session.
    fn ready(&mut self, slave: SlaveId, shard: u32, epoch: u64) -> Vec<Action> {
        self.say(slave, checkpoint(shard, epoch, 100));
        self.say(slave, progress(shard, epoch, Step::Serving))
    }

    /// Time passes; every deadline on the way is kept.
    fn wait(&mut self, span: Duration) -> Vec<Action> {
        let end = self.now.after(span);
        let mut actions = Vec::new();
        while let Some(at) = self.core.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            actions.extend(self.input(Input::Tick));
        }
        self.now = end;
        actions
    }

    fn step(&self) -> Option<&'static str> {
        self.core.view(self.now).deploy.map(|deploy| deploy.step)
    }

    /// Owner and state of a shard.
    fn shard(&self, shard: usize) -> (Option<String>, &'static str) {
        let view = self.core.view(self.now).shards.swap_remove(shard);
        // Who does not serve has a reason, whatever is tested.
        assert_eq!(view.reason.is_none(), serves(&view), "{view:?}");
        (view.owner, view.state)
    }

    fn all_served_by(&self, slave: SlaveId) -> bool {
        let shards = self.core.view(self.now).shards;
        let owner = Some(slave.to_string());
        shards
            .iter()
            .all(|shard| shard.owner == owner && shard.state == "serving")
    }
}

/// Whether events of a shard come, by its state.
fn serves(shard: &ShardView) -> bool {
    matches!(shard.state, "serving" | "copying" | "dialling")
}

// ---- what slaves say ---------------------------------------------------------

fn hello(slave: SlaveId, role: Role) -> Hello {
    Hello {
        slave,
        role,
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        parameters: parameters(513),
        process: ProcessIdentity {
            pid: u32::try_from(slave.0).unwrap(),
            ..ProcessIdentity::default()
        },
        ..Hello::default()
    }
}

fn ticket(shard: u32, handled: u64) -> Ticket {
    Ticket {
        shard: ShardId(shard),
        session: session(format!("session of {shard}")),
        handled: Sequence(handled),
        state_at: Sequence(handled),
        ..Ticket::default()
    }
}

fn checkpoint(shard: u32, epoch: u64, handled: u64) -> ToMaster {
    ToMaster::Checkpoint(Checkpoint {
        shards: vec![CheckpointEntry {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            handled: Sequence(handled),
            session: Some(ticket(shard, handled)),
            ..CheckpointEntry::default()
        }],
    })
}

fn progress(shard: u32, epoch: u64, step: Step) -> ToMaster {
    ToMaster::Progress(Progress {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        step,
        replayed: 0,
        refused: String::new(),
    })
}

fn prepared(from_this_slave: bool) -> ToMaster {
    ToMaster::ShardMigrationStart(ShardMigrationStart {
        from_this_slave,
        ..ShardMigrationStart::default()
    })
}

fn state_ready(shard: u32, epoch: u64, state_at: u64) -> ToMaster {
    ToMaster::StateReady(StateReady {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        state_at: Sequence(state_at),
        pieces: 1,
    })
}

fn sealed(shard: u32, epoch: u64, handled: u64) -> ToMaster {
    sealed_with(epoch, ticket(shard, handled))
}

fn sealed_with(epoch: u64, ticket: Ticket) -> ToMaster {
    ToMaster::Sealed(Box::new(Sealed {
        epoch: Epoch(epoch),
        ticket,
    }))
}

fn settled(shard: u32, epoch: u64, unfinished: &[u64]) -> ToMaster {
    ToMaster::Settled(Settled {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        unfinished: ranges(unfinished),
        events: Vec::new(),
    })
}

fn resumed(shard: u32, epoch: u64) -> ToMaster {
    ToMaster::Resumed(unit(shard, epoch))
}

fn unit(shard: u32, epoch: u64) -> Unit {
    Unit {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
    }
}

fn failed(shard: u32, epoch: u64) -> ToMaster {
    ToMaster::Failed(Failed {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        close_code: 0,
        detail: "no".to_owned(),
    })
}

fn wants_permit(shard: u32, epoch: u64, cause: IdentifyCause) -> ToMaster {
    ToMaster::IdentifyRequest(IdentifyRequest {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        cause,
    })
}

fn pong(finished: u64, failed: u64) -> ToMaster {
    ToMaster::Pong(Pong {
        number: 0,
        finished,
        failed,
        full_ms: 0,
        lag_ms: 0,
        ..Pong::default()
    })
}

fn work(epoch: u64, ticket: &'static [u8]) -> Work {
    Work {
        epoch: Epoch(epoch),
        ticket: ticket.into(),
    }
}

fn held(shard: u32, epoch: u64, holding: Holding) -> Held {
    Held {
        epoch: Epoch(epoch),
        holding,
        ticket: ticket(shard, 100),
        untouched: false,
    }
}

fn report(shards: Vec<Held>) -> Report {
    Report {
        shards,
        ready: true,
        last: true,
        ..Report::default()
    }
}

/// A row of the journal, with the ticket of the epoch before.
fn row(shard: u32, epoch: u64, owner: SlaveId, hold: Hold) -> (ShardId, Row) {
    let basis = match epoch {
        1 => Basis::Cold,
        epoch => Basis::Seal(Epoch(epoch - 1)),
    };
    let epoch = Epoch(epoch);
    let row = Row {
        epoch,
        owner,
        hold,
        basis,
    };
    (ShardId(shard), row)
}

fn ranges(sequences: &[u64]) -> SequenceRanges {
    sequences.iter().copied().map(Sequence).collect()
}

fn order(command: Option<&str>) -> DeployOrder {
    DeployOrder {
        expect: None,
        slot: "main".to_owned(),
        command: command.map(|command| vec![command.to_owned()]),
        canary: 1,
        width: 16,
        soak: 10 * SECOND,
        late_seal: false,
        beside: Beside::Nothing,
    }
}
