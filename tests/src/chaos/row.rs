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
