//! The processes of the fleet: launched, watched, killed, and known dead.
//!
//! ```text
//!            launch, give up, kill                       ┌──▶ Launches   what it starts
//!  driver ───────────────────────────▶ Supervisor ──▶ Local ──▶ Watches    whose end it is told
//!    ▲                                     │             │
//!    ├──── Notice: Started, Exited, Died, Seen, Ended ◀──┘ (tasks)
//!    │                                     └──▶ Remote, one for each other host ──▶ its agent
//!    └──── Notice: Agent ◀───────────────────────────────────────────────────────────┘
//! ```
//!
//! It decides nothing: what a process did goes back as an input for the core, which the
//! driver hands on, or as the death that it tells its observers. Nothing here waits: what
//! may take time is a task, and its result comes as a [`Notice`]. What is done at one host a
//! [`Hand`] does.

mod hand;
mod hosts;
mod launches;
mod local;
mod remote;
#[cfg(test)]
mod tests;
mod watches;

use std::{collections::BTreeMap, time::Duration};

use baton_core::event::{EndedBy, Input};
use baton_protocol::{ProcessIdentity, SlaveId, message::Hello};
use tokio::{sync::mpsc, time::Instant};

use self::{hand::Hand, hosts::Hosts, local::Local};
pub(crate) use self::{
    hosts::{Missing, Word},
    launches::LaunchOrder,
    local::Exit,
};
use crate::{
    notice::Notice,
    process::{Child, Launcher, Watch},
};

/// A dead slave's connection is read to its end for at most this long: its last
/// words, tickets perhaps, count. Its end is there at once, unless another
/// process holds the socket.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// The processes of one fleet.
#[derive(Debug)]
pub(crate) struct Supervisor {
    launcher: Launcher,
    local: Local,
    /// The hands on other hosts.
    hosts: Hosts,
    /// An agent may be away for so long before an operator hears of it.
    patience: Duration,
    /// Dead slaves whose connection is not read to its end yet, and when the
    /// core hears of it anyway.
    dying: BTreeMap<SlaveId, Instant>,
}

impl Supervisor {
    /// Of a fleet none of whose processes is known yet.
    pub(crate) fn new(
        launcher: Launcher,
        patience: Duration,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        let named = launcher.hosts().map(|(host, _)| host.to_owned());
        Self {
            hosts: Hosts::new(named.collect(), notices.clone()),
            local: Local::new(notices),
            launcher,
            patience,
            dying: BTreeMap::new(),
        }
    }

    /// Whose hand a slave's process is in.
    fn hand(&self, slave: SlaveId) -> &dyn Hand {
        match self.hosts.hand(slave) {
            Some(remote) => remote,
            None => &self.local,
        }
    }

    /// The same, to do something.
    fn hand_mut(&mut self, slave: SlaveId) -> &mut dyn Hand {
        match self.hosts.hand_mut(slave) {
            Some(remote) => remote,
            None => &mut self.local,
        }
    }

    /// The host whose agent sees to this slave's process: the one that it says, or that of
    /// its slot. `None`: this master does.
    fn host_of(&self, hello: &Hello) -> Option<String> {
        let said = Some(hello.host.as_str()).filter(|host| !host.is_empty());
        let host = said.or_else(|| self.launcher.host_of(&hello.slot));
        host.map(str::to_owned)
    }

    // ---- commands ------------------------------------------------------------

    /// The command of a slot; `None`: it has none.
    pub(crate) fn command(&self, slot: &str) -> Option<Vec<String>> {
        self.launcher.present(slot).map(<[String]>::to_vec)
    }

    /// There are these slots from now on. What one is launched with that was there before
    /// stays. Gives what the core hears of their hosts when it knows the slots: an agent may
    /// have been here before any slot named its host.
    pub(crate) fn take_slots(&mut self, slots: &[crate::config::Slot]) -> Vec<Input> {
        self.launcher.take_slots(slots);
        self.hosts.name(self.launcher.hosts().map(|(host, _)| host))
    }

    /// The command that a slot had before the present one.
    pub(crate) fn command_before(&self, slot: &str) -> Option<Vec<String>> {
        self.launcher.former(slot).map(<[String]>::to_vec)
    }

    /// The command that a rollback deploys.
    ///
    /// # Errors
    /// There is none: why, and what to do.
    pub(crate) fn way_back(&self, slot: &str) -> Result<Vec<String>, String> {
        self.launcher.before(slot)
    }

    /// A deploy brought this command into a slot; it is in the journal.
    pub(crate) fn remember(&mut self, slot: &str, command: &[String]) {
        self.launcher.remember(slot, command);
    }

    // ---- launched processes --------------------------------------------------

    /// Starts a process into a slot: [`Hand::launch`].
    pub(crate) fn launch(&mut self, slot: String, order: LaunchOrder) -> Option<Input> {
        let host = self.launcher.host_of(&slot).map(str::to_owned);
        match host {
            Some(host) => self.hosts.at(&host).launch(&self.launcher, slot, order),
            None => self.local.launch(&self.launcher, slot, order),
        }
    }

    /// Nobody waits for what is launched into a slot any more.
    pub(crate) fn give_up(&mut self, slot: &str) {
        match self.launcher.host_of(slot).map(str::to_owned) {
            Some(host) => self.hosts.at(&host).give_up(slot),
            None => self.local.give_up(slot),
        }
    }

    /// A process of this host is there, or is not: what the core hears of it.
    pub(crate) fn started(
        &mut self,
        slot: &str,
        started: Result<(u32, Child), String>,
    ) -> Option<Input> {
        self.local.started(&self.launcher, slot, started)
    }

    /// A slave is known from the journal. One of another host its agent is asked about as
    /// soon as it is here; whether it is of another host.
    pub(crate) fn expect(&mut self, hello: &Hello) -> bool {
        let Some(host) = self.host_of(hello) else {
            return false;
        };
        let remote = self.hosts.meets(&host, hello.slave);
        let process = &hello.process;
        remote.meet(hello.slave, process, None, &|_| true);
        remote.recognise(&mut hello.clone());
        true
    }

    /// A slave says hello, or had said it before it was known what was launched:
    /// [`Hand::recognise`].
    pub(crate) fn recognise(&mut self, hello: &mut Hello) -> Vec<Input> {
        self.hand_mut(hello.slave).recognise(hello)
    }

    /// A launched process of this host ended; `None`: it is not one of ours.
    pub(crate) fn exited(
        &mut self,
        pid: u32,
        ending: EndedBy,
        last_lines: Vec<String>,
    ) -> Option<Exit> {
        self.local.exited(pid, ending, last_lines)
    }

    /// The order that waited for the process before.
    pub(crate) fn launch_next(&mut self, slot: &str) -> Option<Input> {
        self.local.launch_next(&self.launcher, slot)
    }

    /// The core refuses a slave: what the asker of its launch hears at once.
    pub(crate) fn refused(&self, slave: SlaveId, detail: &str) -> Vec<Input> {
        self.hand(slave).refused(slave, detail)
    }

    // ---- watched processes ---------------------------------------------------

    /// Whether the death of this slave will be known.
    pub(crate) fn is_watched(&self, slave: SlaveId) -> bool {
        self.hand(slave).is_watched(slave)
    }

    /// Whether this slave can be killed from here; `None`: its process is not seen.
    pub(crate) fn may_kill(&self, slave: SlaveId) -> Option<bool> {
        self.hand(slave).may_kill(slave)
    }

    /// Tells the end of this slave's process, which is of this host, from now on.
    pub(crate) fn watch(&mut self, slave: SlaveId, watch: Watch) {
        self.local.watch(slave, watch);
    }

    /// A slave joins, with its process where that could be seen. Whether it is watched
    /// from now on and was not before.
    pub(crate) fn meet(
        &mut self,
        hello: &Hello,
        watch: Option<Watch>,
        is_known: impl Fn(SlaveId) -> bool,
    ) -> bool {
        let (slave, process) = (hello.slave, &hello.process);
        self.hosts.keep(|known| known == slave || is_known(known));
        match self.host_of(hello) {
            Some(host) => {
                let remote = self.hosts.meets(&host, slave);
                remote.meet(slave, process, watch, &is_known)
            }
            None => self.local.meet(slave, process, watch, &is_known),
        }
    }

    /// Looks again and again at a process that could not be seen, until it can, or until
    /// its slave is no longer known.
    pub(crate) fn look_for(
        &mut self,
        slave: SlaveId,
        process: ProcessIdentity,
        is_known: impl Fn(SlaveId) -> bool,
    ) {
        self.local.look_for(slave, process, is_known);
    }

    /// The process of a slave that could not be seen was looked at again.
    pub(crate) fn was_looked_for(&mut self, slave: SlaveId) {
        self.local.was_looked_for(slave);
    }

    /// `SIGKILL`. [`Notice::Died`] follows. Where it cannot be done, a person is told.
    pub(crate) fn kill(&mut self, slave: SlaveId, why: &'static str) {
        self.hand_mut(slave).kill(slave, why);
    }

    /// A slave is known to be dead. Whether this one's death was waited for, so that it is
    /// news to the core.
    pub(crate) fn is_dead(&mut self, slave: SlaveId) -> bool {
        self.hand_mut(slave).is_dead(slave)
    }

    /// Tells how a slave ended that this master did not launch: its launcher knows.
    /// Of one that it did launch, `Exited` tells, before this or after. `hello`: as it
    /// introduced itself; `None`: nobody knows it.
    pub(crate) fn tell_death(&mut self, slave: SlaveId, hello: Option<&Hello>) {
        match self.hosts.hand_mut(slave) {
            Some(remote) => remote.tell_death(&self.launcher, slave, hello),
            None => self.local.tell_death(&self.launcher, slave, hello),
        }
    }

    /// Nothing of this slave's process is its any more: nobody is told its end, and it is
    /// not killed for what another one does.
    pub(crate) fn forget(&mut self, slave: SlaveId) {
        self.hand_mut(slave).forget(slave);
        self.hosts.forget(slave);
        self.dying.remove(&slave);
    }

    // ---- last words ----------------------------------------------------------

    /// A connected slave is dead: what it said last is heard first.
    pub(crate) fn hear_out(&mut self, slave: SlaveId) {
        self.dying.insert(slave, Instant::now() + LAST_WORDS);
    }

    /// The connection of a slave ended. Whether it is dead, and said everything now.
    pub(crate) fn was_heard_out(&mut self, slave: SlaveId) -> bool {
        self.dying.remove(&slave).is_some()
    }

    /// A dead slave whose connection does not end; each once.
    pub(crate) fn overdue(&mut self) -> Option<SlaveId> {
        let over = Instant::now();
        let mut dying = self.dying.iter();
        let slave = dying.find_map(|(slave, until)| (*until <= over).then_some(*slave))?;
        self.dying.remove(&slave);
        Some(slave)
    }

    /// When the next one is overdue, or an agent has been away for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dying = self.dying.values().min().copied();
        let missing = self.hosts.deadline(self.patience);
        dying.into_iter().chain(missing).min()
    }
}

#[cfg(test)]
impl Supervisor {
    /// How many processes are watched, looked for, and known by their group.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.local.counts()
    }

    /// As if this process had been launched.
    pub(crate) fn pretend_launched(&mut self, slot: &str, pid: u32) {
        self.local.pretend_launched(slot, pid);
    }

    /// The slave that joined from a launched process.
    pub(crate) fn joined_from(&self, pid: u32) -> Option<SlaveId> {
        self.local.joined_from(pid)
    }
}
