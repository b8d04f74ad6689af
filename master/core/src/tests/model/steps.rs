//! What can come next.

use super::{slave::Conn, *};
use crate::timers::Timer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    // ---- the world goes on ---------------------------------------------------
    /// The master takes what comes next on a connection.
    Hear(usize),
    /// So does a slave.
    Obey(usize),
    /// An end of a connection that was cut is seen.
    MasterSeesEnd(usize),
    SlaveSeesEnd(usize),
    /// A connection that lost a message is found broken.
    Break(usize),
    Dial(SlaveId),
    /// A slave sends its RESUME, receives the next event of the replay, RESUMED.
    Connect(SlaveId),
    Receive(SlaveId),
    Resumed(SlaveId),
    /// It sees the end of its connection, whose session another slave has.
    Closed(SlaveId),
    Finish(SlaveId, u8),
    Checkpoint(SlaveId),
    /// A drain is over, and something still runs.
    GiveUp(SlaveId),
    /// A slave that was ordered to leave has nothing left.
    Exit(SlaveId),
    /// Something happens at Discord.
    Happen,
    /// `SIGKILL` arrives.
    Die(SlaveId),
    HearOfDeath(SlaveId),
    WriteTickets,
    StartMaster,
    Deadline(Timer),
    // ---- faults --------------------------------------------------------------
    EarlyDeadline(Timer),
    Kill(SlaveId),
    KillMaster,
    /// The store forgets, and its master ends.
    Forget,
    /// The master dies in the step, before it carries out so many more actions.
    Within(Moment, usize),
    Cut(usize),
    LoseUp(usize),
    LoseDown(usize),
    HearTwice(usize),
    ObeyTwice(usize),
}

/// Steps in which the master does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Hear(usize),
    MasterSeesEnd(usize),
    HearOfDeath(SlaveId),
    StartMaster,
    Deadline(Timer),
}

impl Moment {
    const fn step(self) -> Step {
        match self {
            Self::Hear(at) => Step::Hear(at),
            Self::MasterSeesEnd(at) => Step::MasterSeesEnd(at),
            Self::HearOfDeath(id) => Step::HearOfDeath(id),
            Self::StartMaster => Step::StartMaster,
            Self::Deadline(timer) => Step::Deadline(timer),
        }
    }
}

impl Step {
    pub(super) const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::EarlyDeadline(_)
                | Self::Kill(..)
                | Self::KillMaster
                | Self::Forget
                | Self::Within(..)
                | Self::Cut(_)
                | Self::LoseUp(_)
                | Self::LoseDown(_)
                | Self::HearTwice(_)
                | Self::ObeyTwice(_)
        )
    }

    /// What no deadline overtakes.
    pub(super) const fn is_about_to_happen(self) -> bool {
        matches!(
            self,
            Self::Hear(_)
                | Self::Obey(_)
                | Self::MasterSeesEnd(_)
                | Self::SlaveSeesEnd(_)
                | Self::Dial(_)
                | Self::Connect(_)
                | Self::Receive(_)
                | Self::Resumed(_)
                | Self::Closed(_)
                | Self::Exit(_)
                | Self::Die(_)
                | Self::HearOfDeath(_)
                | Self::StartMaster
        )
    }

    /// Steps in which the master may die half way.
    const fn moment(self) -> Option<Moment> {
        Some(match self {
            Self::Hear(at) => Moment::Hear(at),
            Self::MasterSeesEnd(at) => Moment::MasterSeesEnd(at),
            Self::HearOfDeath(id) => Moment::HearOfDeath(id),
            Self::StartMaster => Moment::StartMaster,
            Self::Deadline(timer) => Moment::Deadline(timer),
            _ => return None,
        })
    }
}

impl World {
    /// Everything that can come next.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_at_its_end() || self.broken.is_some() {
            return steps;
        }
        self.steps_of_links(&mut steps);
        for (&id, slave) in &self.slaves {
            self.steps_of_slave(id, slave, &mut steps);
        }
        for &id in &self.dead {
            // Its last words first.
            let mut links = self.links.iter();
            let speaks = links.any(|link| link.slave == id && link.master_open);
            if self.master.is_some() && !speaks {
                steps.push(Step::HearOfDeath(id));
            }
        }
        if self.master.is_none() {
            steps.push(Step::StartMaster);
        }
        let calm = !steps.iter().any(|step| step.is_about_to_happen());
        if self.to_happen > 0 {
            steps.push(Step::Happen);
        }
        if self.journal.has_unsaved() && (self.master.is_none() || self.faults.crashes > 0) {
            steps.push(Step::WriteTickets);
        }
        self.steps_of_time(calm, &mut steps);
        self.faults(&mut steps);
        steps
    }

    fn steps_of_links(&self, steps: &mut Vec<Step>) {
        for (at, link) in self.links.iter().enumerate() {
            // Of two connections of one slave the older one is heard until the
            // newer one is.
            if self.can_be_heard(at) {
                steps.push(Step::Hear(at));
            }
            if self.master_can_see_end(at) {
                steps.push(Step::MasterSeesEnd(at));
            }
            if link.slave_open && !link.down.is_empty() {
                steps.push(Step::Obey(at));
            }
            if self.slave_can_see_end(at) {
                steps.push(Step::SlaveSeesEnd(at));
            }
            if link.lossy && !link.cut {
                steps.push(Step::Break(at));
            }
        }
    }

    fn steps_of_slave(&self, id: SlaveId, slave: &Slave, steps: &mut Vec<Step>) {
        if slave.doomed {
            steps.push(Step::Die(id));
        }
        let mut links = self.links.iter();
        let has_link = links.any(|link| link.slave == id && link.slave_open);
        if !has_link && self.master.is_some() {
            steps.push(Step::Dial(id));
        }
        let Some(row) = &slave.row else {
            if slave.leaving {
                steps.push(Step::Exit(id));
            }
            return;
        };
        match (row.acts(), row.conn) {
            (true, Conn::Closed) => steps.push(Step::Connect(id)),
            (true, _) if self.connected != Some(id) => steps.push(Step::Closed(id)),
            (true, _) if row.window.received < self.happened => steps.push(Step::Receive(id)),
            (true, Conn::Replaying) => steps.push(Step::Resumed(id)),
            (true, Conn::Up) | (false, _) => {}
        }
        for number in window::numbers(row.window.running) {
            steps.push(Step::Finish(id, number));
        }
        if row.changed && slave.accepted {
            steps.push(Step::Checkpoint(id));
        }
        if row.holding == Holding::Sealed && row.settled.is_none() {
            steps.push(Step::GiveUp(id));
        } else if slave.leaving && !row.acts() {
            steps.push(Step::Exit(id));
        }
    }

    fn steps_of_time(&self, calm: bool, steps: &mut Vec<Step>) {
        let Some(master) = &self.master else {
            return;
        };
        for timer in master.core.out.running() {
            // It changes nothing that is looked at here.
            if timer == Timer::Seen {
                continue;
            }
            // A slave's drain ends before the master's patience with it.
            let waits = match timer {
                Timer::Settle(_) | Timer::Slave(_) => self.drains(),
                _ => false,
            };
            if calm && !waits {
                steps.push(Step::Deadline(timer));
            } else if self.faults.early > 0 {
                steps.push(Step::EarlyDeadline(timer));
            }
        }
    }

    fn drains(&self) -> bool {
        self.slaves.values().any(|slave| {
            let row = slave.row.as_ref();
            row.is_some_and(|row| row.holding == Holding::Sealed && row.settled.is_none())
        })
    }

    fn faults(&self, steps: &mut Vec<Step>) {
        if self.faults.crashes > 0 {
            steps.extend(self.slaves.keys().map(|&id| Step::Kill(id)));
            if self.master.is_some() {
                steps.push(Step::KillMaster);
            }
        }
        if self.faults.forgets > 0 && self.master.is_some() {
            steps.push(Step::Forget);
        }
        for (at, link) in self.links.iter().enumerate() {
            let (hears, obeys) = (self.can_be_heard(at) && link.joined, !link.down.is_empty());
            if self.faults.cuts > 0 && !link.cut && link.slave_open && link.master_open {
                steps.push(Step::Cut(at));
            }
            if self.faults.lost > 0 && hears {
                steps.push(Step::LoseUp(at));
            }
            if self.faults.lost > 0 && obeys {
                steps.push(Step::LoseDown(at));
            }
            if self.faults.doubled > 0 && hears {
                steps.push(Step::HearTwice(at));
            }
            if self.faults.doubled > 0 && obeys {
                steps.push(Step::ObeyTwice(at));
            }
        }
    }

    /// A step in which the master does several things: it may die between two of
    /// them. Before the first is before the step, after the last is after it.
    pub(super) fn add_deaths_within(
        &self,
        step: Step,
        after: &Self,
        steps: &mut impl Extend<Step>,
    ) {
        if self.faults.crashes > 0
            && let Some(moment) = step.moment()
        {
            steps.extend((1..after.actions).map(|actions| Step::Within(moment, actions)));
        }
    }

    /// The world after one step.
    pub(super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        world.actions = 0;
        world.troubled |= step.is_fault();
        world.take(step);
        world
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Hear(at) => self.hear(at, false),
            Step::Obey(at) => self.obey(at, false),
            Step::MasterSeesEnd(at) => self.master_sees_end(at),
            Step::SlaveSeesEnd(at) => self.slave_sees_end(at),
            Step::Break(at) => self.links[at].cut = true,
            Step::Dial(id) => self.dial(id),
            Step::Connect(id) => self.connect(id),
            Step::Receive(id) => self.receive(id),
            Step::Resumed(id) => self.serves(id),
            Step::Closed(id) => self.closed(id),
            Step::Finish(id, number) => self.finish(id, number),
            Step::Checkpoint(id) => self.tell_checkpoint(id),
            Step::GiveUp(id) => self.settle(id),
            Step::Exit(id) => self.exit(id),
            Step::Happen => self.happen(),
            Step::Die(id) => self.kill(id),
            Step::HearOfDeath(id) => self.hear_of_death(id),
            Step::WriteTickets => self.journal.write_tickets(),
            Step::StartMaster => self.start_master(),
            Step::Deadline(timer) => self.due(timer),
            Step::EarlyDeadline(timer) => {
                self.faults.early -= 1;
                self.due(timer);
            }
            Step::Kill(id) => {
                self.faults.crashes -= 1;
                self.kill(id);
            }
            Step::KillMaster => {
                self.faults.crashes -= 1;
                self.kill_master();
            }
            Step::Forget => {
                self.faults.forgets -= 1;
                self.kill_master();
                self.journal.forget();
            }
            Step::Within(moment, actions) => {
                self.faults.crashes -= 1;
                self.dies_in = Some(actions);
                self.take(moment.step());
            }
            Step::Cut(at) => {
                self.faults.cuts -= 1;
                self.links[at].cut = true;
            }
            Step::LoseUp(at) => {
                self.faults.lost -= 1;
                self.links[at].lossy = true;
                self.links[at].up.pop_front();
            }
            Step::LoseDown(at) => {
                self.faults.lost -= 1;
                self.links[at].lossy = true;
                self.links[at].down.pop_front();
            }
            Step::HearTwice(at) => {
                self.faults.doubled -= 1;
                self.hear(at, true);
            }
            Step::ObeyTwice(at) => {
                self.faults.doubled -= 1;
                self.obey(at, true);
            }
        }
    }

    /// The event comes at once to the slave that serves.
    fn happen(&mut self) {
        self.to_happen -= 1;
        self.happened += 1;
        if let Some(id) = self.connected
            && self.row(id).is_some_and(|row| row.conn == Conn::Up)
        {
            self.receive(id);
        }
    }

    fn due(&mut self, timer: Timer) {
        if let Some(master) = &mut self.master {
            master.core.out.start(timer, Duration::ZERO);
        }
        self.input(Input::Tick);
    }
}
