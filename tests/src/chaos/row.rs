//! A row of the fault matrix, as data.

use std::time::Duration;

use super::{
    expect::Expect,
    phase::Phase,
    scene::{Setup, Who},
    wire::{Harm, Way},
};

/// One row.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name, as `--row` takes it.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// The phases in which it is struck.
    pub phases: &'static [Phase],
    /// The phase that stands for all of them in a quick run.
    pub quick: Phase,
    /// What happens.
    pub blow: Blow,
    /// What is special about its fleet.
    pub setup: fn(&mut Setup),
    /// What must come of it.
    pub expect: fn(Phase) -> Expect,
    /// The same where shards are sealed late, if that is something else.
    pub late_expect: Option<fn(Phase) -> Expect>,
    /// Whether shards are sealed late.
    pub late: bool,
    /// Whether a quick run leaves it out: another row stands for it.
    pub unhurried: bool,
    /// Whether an agent launches the slaves, and not the master.
    pub agent: bool,
}

impl Row {
    /// What must come of it.
    #[must_use]
    pub fn expected(&self, phase: Phase) -> Expect {
        let late = self.late_expect.filter(|_| self.late);
        late.unwrap_or(self.expect)(phase)
    }
}

/// What happens to a fleet.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    /// Nothing: the row is about how its fleet is set up.
    Nothing,
    /// `kill -9`, all at once.
    Kill(&'static [Who]),
    /// `SIGSTOP` for so long.
    Freeze(&'static [Who], Duration),
    /// `SIGSTOP`, and nobody wakes it.
    Hang(Who),
    /// `SIGTERM`.
    Leave(Who),
    /// The wire between slaves and master is harmed for so long; `None`: of all
    /// slaves.
    ToMaster(Option<Who>, Harm, Duration),
    /// The wire between the agent and the master, likewise.
    AgentToMaster(Harm, Duration),
    /// The wire between slaves and the simulated Discord, likewise.
    ToDiscord(Option<Who>, Harm, Duration),
    /// The simulated Discord gets these faults, as JSON objects.
    Discord(&'static [&'static str]),
    /// The deploy brings this.
    Build(Build),
    /// The operator does this.
    Operator(Act),
    /// These are killed, and the wall clock jumps by so many seconds.
    Clock(i64, &'static [Who]),
    /// A resource is short for so long.
    Short(Resource, Duration),
    /// The master is killed, its journal damaged before the next one starts.
    Journal(Damage),
    /// The master is killed. The next one does not see the process of the old slave, and
    /// cannot reach it either, for so long.
    Unseen(Duration),
    /// What the master has in its runtime folder is removed, while it runs and while it
    /// does not.
    Emptied,
    /// An event comes that kills each process that handles it.
    DeadlyEvent,
    /// Everything is killed, and what was not on the disk yet is gone.
    PowerCut,
    /// The master kills itself at a point of its own.
    Crash(Crash),
    /// The old slave, or the store that it writes.
    Store(StoreHarm),
    /// The bot whose gateway the slaves are.
    Clients(ClientHarm),
    /// The broker that the slaves publish to.
    Broker(BrokerHarm),
    /// The one of two masters that leads.
    Leader(LeaderHarm),
    /// The store that two masters share.
    Shared(SharedHarm),
    /// The host that the agent and all slaves are on.
    Host(HostHarm),
}

/// What can happen to the one of two masters that leads. Unless another thing is said,
/// another one leads behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderHarm {
    /// `kill -9`, and its host does not start it again until another one leads.
    Killed,
    /// The same, and `kill -9` of the old slave in the same moment.
    KilledWithOld,
    /// `kill -9`, and its host starts it again at once: whichever leads then.
    KilledAndStarted,
    /// `SIGSTOP` until another one leads; then it wakes.
    Paused,
    /// The same, and operators order it to deploy as it wakes: each order is refused.
    WokenWithOrders,
    /// Nothing goes between it and the store until another one leads and the slaves are there.
    CutFromStore,
    /// Nothing goes between it and the slaves and agents.
    CutFromSlaves,
    /// The operator has it step down.
    SteppedDown,
}

/// What can happen to the store that two masters share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedHarm {
    /// `kill -9`, and it is started again with what is on its disk.
    Killed,
    /// `kill -9`, and `kill -9` of the old slave while it is away.
    KilledThenOld,
    /// It stands still for so long, and its sockets stay.
    Paused(Duration),
    /// `kill -9`, and it is started again with nothing.
    Emptied,
}

/// What can happen to a host of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHarm {
    /// Nothing goes this way between it and the master, for so long.
    Cut(Way, Duration),
    /// Everything on it ends, and the operator says so before it is started again.
    Lost,
    /// Nothing goes either way, and the operator says that it is dead, which it is not.
    CutAndFenced,
}

/// What can happen to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerHarm {
    /// `kill -9`, and it is started again with what is on its disk.
    Killed,
    /// It stands still for so long, and its sockets stay.
    Paused(Duration),
    /// It takes nothing more for a while, as one that is full.
    Full,
    /// Everything between it and the slaves takes longer, for a while.
    Slow,
    /// `kill -9`, and it is started again with nothing.
    Emptied,
    /// Connections are cut in the middle of what it answers, several times.
    Cut,
}

/// What can happen to the bot whose gateway a slave is, on all of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHarm {
    /// It is killed, and another process comes.
    Killed,
    /// Another process comes while it runs.
    Replaced,
    /// It is killed, the next one too: behind READY, before its last guild.
    KilledInReady,
    /// It is killed, the next one too: among the events that its RESUME brings.
    KilledInReplay,
    /// It is slow for so long.
    Slow(Duration),
    /// It reads nothing for so long.
    Stopped(Duration),
    /// The same, while so many events come on each shard at once.
    StoppedInAFlood(Duration, u32),
    /// Nobody is behind its connections, and nothing says so.
    HalfOpen,
    /// It sends what is no payload.
    Garbage,
}

/// What can happen to a store and its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHarm {
    /// The writer is killed in the middle of a change.
    KilledInAChange,
    /// It is stopped there, and woken before any limit.
    NapsInAChange,
    /// It is stopped there, and nobody wakes it.
    HangsInAChange,
    /// The writer's disk is full for a while.
    NoRoom,
    /// Its states have met their size limit: it serves, takes nothing, and says so.
    AtItsLimit,
    /// The writer is killed, and its states are no store's any more.
    Damaged,
    /// The writer is killed, and the files of its states are gone.
    Deleted,
    /// The writer is killed, and its states are of a format that no build knows.
    OtherFormat,
}

/// Where a master kills itself, and in what it is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The point's name.
    pub at: &'static str,
    /// What it is doing.
    pub during: During,
}

/// What a master is doing when it kills itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// The first start of the fleet.
    ColdStart,
    /// A deploy, from the phase on.
    Deploy,
    /// A deploy that the operator stops in the phase.
    Abort,
    /// Its start, after it was killed in the phase.
    Restart,
    /// The same, and the journal was gone.
    RestartWithoutJournal,
}

/// What a deploy can bring instead of a good build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// It ends at once, with this code.
    Exits(i32),
    /// It runs and never says hello.
    Silent,
    /// There is no such program.
    Absent,
    /// It aborts on its first event.
    Aborts,
    /// It panics on every event.
    Panics,
    /// The same, and the master watches the canary: nothing else moves.
    PanicsAtCanary,
    /// Its handlers never finish.
    Hangs,
    /// What is launched ends, and leaves a slave behind that says hello a second later.
    Forks,
    /// It has another token.
    WrongToken,
    /// Its handlers are so slow that it falls behind.
    TooSlow,
    /// It asks for other intents.
    OtherIntents,
    /// It was built with another transport compression.
    OtherCompression,
    /// It says garbage instead of hello.
    Garbage,
}

/// What an operator can do in the middle of a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Another deploy.
    SecondDeploy,
    /// `baton-master abort`.
    Abort,
    /// The same, and another deploy as soon as everything is back.
    AbortAndAgain,
    /// `abort`, if there is still anything to stop, and another deploy; each ends.
    AbortFull,
    /// Nothing, until the deploy has ended; and another one, which ends.
    AwaitFull,
    /// Nothing, until an alarm says that handlers do not keep up, and they have.
    AwaitAlarm,
    /// `baton-master pause`, and, when Discord replays no more what the moved shards
    /// got since, `abort`.
    LateAbort,
    /// The same, and then the new slave is killed.
    LateKill,
    /// A second master for the same folder.
    SecondMaster,
    /// A slave is started by hand.
    SecondCandidate,
    /// A deploy of the build that serves.
    SameBuild,
}

/// What can run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The disk under the master's journal.
    MasterDisk,
    /// A disk under the master's journal that keeps only what it is ordered to.
    MasterSync,
    /// The files that somebody may open.
    Files(Who),
    /// The master's port, while it is started again.
    MasterPort,
}

/// What can happen to a journal between two masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The end of its write-ahead log is missing.
    Torn,
    /// Garbage stands in the middle of it.
    Corrupt,
    /// It is gone.
    Gone,
    /// The bytes of its write-ahead log that came last were never written.
    Unsynced,
}
