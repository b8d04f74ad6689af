//! Every way that the smallest fleet with a lease can go: a slave that serves one shard, a
//! standby beside it, a link that brings each message as late as it likes or ends, a slave
//! that is stopped and woken, a master that dies. It is the core itself, and the very `Lease`
//! that a slave keeps, that are stepped here.
//!
//! Time goes in steps of ten seconds, and the clock of the slave is slower than the master's.
//! The standby is always reached, and answers at once. In no state may both serve the shard.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use baton_protocol::lease::Lease;

use super::*;

/// A step of time, and as many as there are.
const TICK: Duration = Duration::from_secs(10);
const TICKS: u32 = 4;

const SHARD: ShardId = ShardId(0);

/// Of the slave's clock, in thousandths of the master's.
const RATE: u32 = 960;

#[derive(Clone, Debug)]
enum Up {
    Hello(Report),
    Said(ToMaster),
}

/// The connection of `A`.
#[derive(Clone, Debug, Default)]
struct Link {
    up: VecDeque<Up>,
    down: VecDeque<ToSlave>,
    /// What is on its way may still come, up to any point.
    cut: bool,
    joined: bool,
    slave_open: bool,
    master_open: bool,
}

/// `A`.
#[derive(Clone, Debug, Default)]
struct Kept {
    lease: Lease,
    /// At which it has the shard; `0`: not at all.
    epoch: Epoch,
    sealed: bool,
    lapsed: bool,
    gone: bool,
    stopped: bool,
    work: Epoch,
}

#[derive(Clone, Debug)]
struct World {
    ticks: u32,
    master: Option<Core>,
    journal: Recovered,
    a: Kept,
    link: Link,
    /// The epoch at which `B` has the shard.
    b: Epoch,
    /// Faults that may still come.
    cuts: u8,
    stops: u8,
    kills: u8,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Tick,
    Hear,
    Obey,
    MasterSeesEnd,
    SlaveSeesEnd,
    Dial,
    Cut,
    Stop,
    Wake,
    Kill,
    Start,
}

impl World {
    fn new((cuts, stops, kills): (u8, u8, u8)) -> Self {
        let mut world = Self {
            ticks: 0,
            master: None,
            journal: Recovered::default(),
            a: Kept::default(),
            link: Link::default(),
            b: Epoch(0),
            cuts: 0,
            stops: 0,
            kills: 0,
        };
        world.start();
        world.dial();
        while !(world.link.up.is_empty() && world.link.down.is_empty()) {
            world.hear();
            world.obey();
        }
        assert!(world.a_acts(), "{world:?}");
        world.joins_b();
        (world.cuts, world.stops, world.kills) = (cuts, stops, kills);
        world
    }

    fn now(&self) -> Time {
        Time(SECOND * 1000 + TICK * self.ticks)
    }

    /// By the clock of `A`.
    fn clock(&self) -> Duration {
        SECOND * 1000 + TICK * self.ticks * RATE / 1000
    }

    fn a_acts(&self) -> bool {
        let a = &self.a;
        a.epoch > Epoch(0) && !a.sealed && !a.gone && !a.lease.is_over(self.clock())
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        if let Some(core) = &mut self.master {
            core.handle(now, input);
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.master.as_mut().and_then(Core::poll_action) {
            match action {
                Action::Save(entries, _) => {
                    for entry in entries {
                        rows::write(&mut self.journal, entry);
                    }
                }
                Action::Send(slave, message) if slave == B => self.tells_b(message),
                Action::Send(_, message)
                    if self.link.joined && self.link.slave_open && !self.link.cut =>
                {
                    self.link.down.push_back(message);
                }
                _ => {}
            }
        }
    }

    fn joins_b(&mut self) {
        let mut held = Report {
            ready: true,
            last: true,
            ..Report::default()
        };
        if self.b > Epoch(0) {
            held.shards
                .push(super::held(0, self.b.get(), Holding::Serving));
        }
        let hello = Box::new(hello(B, Role::Standby));
        self.input(Input::Joined {
            hello,
            report: held,
        });
    }

    /// `B` obeys at once.
    fn tells_b(&mut self, message: ToSlave) {
        let answer = match message {
            ToSlave::Resume(resume) => {
                self.b = resume.epoch;
                ToMaster::Resumed(unit(0, resume.epoch.get()))
            }
            ToSlave::FullStart(start) => {
                self.b = start.shards[0].epoch;
                return;
            }
            ToSlave::SoftStart => ToMaster::SoftStartComplete,
            ToSlave::StartWork(work) => ToMaster::StartWork(work),
            ToSlave::Ping(ping) => ToMaster::Pong(Pong {
                number: ping.number,
                lease_ms: 30_000,
                ..Pong::default()
            }),
            _ => return,
        };
        let now = self.now();
        if let Some(core) = &mut self.master {
            let slave = B;
            let message = answer;
            core.handle(now, Input::Said { slave, message });
        }
    }

    // ---- the steps -----------------------------------------------------------

    fn steps(&self) -> Vec<Step> {
        let link = &self.link;
        let mut steps = Vec::new();
        if self.ticks < TICKS {
            steps.push(Step::Tick);
        }
        if self.master.is_none() {
            steps.push(Step::Start);
        }
        if self.master.is_some() && link.master_open && !link.up.is_empty() {
            steps.push(Step::Hear);
        }
        if link.slave_open && !link.down.is_empty() && !self.a.stopped {
            steps.push(Step::Obey);
        }
        if link.cut && link.master_open && self.master.is_some() {
            steps.push(Step::MasterSeesEnd);
        }
        if link.cut && link.slave_open && !self.a.stopped {
            steps.push(Step::SlaveSeesEnd);
        }
        let may_dial = !link.slave_open && !link.master_open && !self.a.stopped && !self.a.gone;
        if may_dial && self.master.is_some() {
            steps.push(Step::Dial);
        }
        if self.cuts > 0 && link.slave_open && !link.cut {
            steps.push(Step::Cut);
        }
        if self.stops > 0 && !self.a.stopped {
            steps.push(Step::Stop);
        }
        if self.a.stopped {
            steps.push(Step::Wake);
        }
        if self.kills > 0 && self.master.is_some() {
            steps.push(Step::Kill);
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tick => self.tick(),
            Step::Hear => self.hear(),
            Step::Obey => self.obey(),
            Step::MasterSeesEnd => {
                self.link.up.clear();
                self.link.master_open = false;
                if std::mem::take(&mut self.link.joined) {
                    self.input(Input::Left { slave: A });
                }
            }
            Step::SlaveSeesEnd => {
                self.link.down.clear();
                self.link.slave_open = false;
            }
            Step::Dial => self.dial(),
            Step::Cut => {
                self.cuts -= 1;
                self.link.cut = true;
            }
            Step::Stop => {
                self.stops -= 1;
                self.a.stopped = true;
            }
            Step::Wake => self.a.stopped = false,
            Step::Kill => {
                self.kills -= 1;
                self.master = None;
                self.link.cut = true;
                self.link.master_open = false;
                self.link.joined = false;
                self.link.up.clear();
            }
            Step::Start => {
                self.start();
                self.joins_b();
            }
        }
    }

    fn tick(&mut self) {
        let end = self.now().after(TICK);
        while let Some(at) = (self.master.as_ref())
            .and_then(Core::deadline)
            .filter(|at| *at <= end)
        {
            if let Some(core) = &mut self.master {
                core.handle(at, Input::Tick);
            }
            self.carry_out();
        }
        self.ticks += 1;
        self.look();
    }

    fn start(&mut self) {
        let mut settings = leased(1);
        settings.slots[0].launches = false;
        settings.seen = TICK;
        settings.adopt_grace = SECOND;
        let recovered = self.journal.clone();
        self.master = Some(Core::new(settings, recovered, self.now()));
        self.carry_out();
    }

    /// If its lease is over it seals what it has.
    fn look(&mut self) {
        if !self.a.stopped && self.a.lease.is_over(self.clock()) && self.a.epoch > Epoch(0) {
            self.a.sealed = true;
            self.a.lapsed = true;
            self.a.work = Epoch(0);
        }
    }

    fn dial(&mut self) {
        self.look();
        self.a.lease.dials(self.clock());
        let mut report = Report {
            work: self.a.work,
            ready: true,
            lapsed: self.a.lapsed,
            last: true,
            ..Report::default()
        };
        if self.a.epoch > Epoch(0) {
            let holding = match self.a.sealed {
                true => Holding::Sealed,
                false => Holding::Serving,
            };
            report.shards.push(held(0, self.a.epoch.get(), holding));
        }
        self.link = Link {
            slave_open: true,
            master_open: true,
            ..Link::default()
        };
        self.link.up.push_back(Up::Hello(report));
    }

    fn hear(&mut self) {
        let Some(up) = self.link.up.pop_front() else {
            return;
        };
        match up {
            Up::Hello(report) => {
                self.link.joined = true;
                let hello = Box::new(hello(A, Role::Relaunch));
                self.input(Input::Joined { hello, report });
            }
            Up::Said(message) => self.input(Input::Said { slave: A, message }),
        }
    }

    fn say(&mut self, message: ToMaster) {
        if self.link.master_open && !self.link.cut {
            self.link.up.push_back(Up::Said(message));
        }
    }

    fn obey(&mut self) {
        let Some(order) = self.link.down.pop_front() else {
            return;
        };
        self.look();
        let clock = self.clock();
        match order {
            ToSlave::Accepted(accepted) => {
                let lease = Duration::from_millis(accepted.lease_ms);
                self.a.lease.accepted(Some(lease));
                self.a.lapsed = false;
            }
            ToSlave::Ping(ping) => {
                self.a.lease.is_heard(ping.heard);
                self.a.lease.answers(ping.number, clock);
                let lease = self.a.lease.length().unwrap_or_default();
                self.say(keeps(ping.number - FIRST_PING, lease));
            }
            ToSlave::FullStart(start) => self.owns(start.shards[0].epoch),
            ToSlave::Resume(resume) => self.owns(resume.epoch),
            ToSlave::StartWork(work) => {
                self.a.work = work.epoch;
                self.say(ToMaster::StartWork(work));
            }
            ToSlave::StopWork(work) => {
                self.a.work = Epoch(0);
                self.say(ToMaster::StopWork(work));
            }
            ToSlave::Forget(unit) if unit.epoch > self.a.epoch => self.a.epoch = Epoch(0),
            ToSlave::Shutdown => self.a.gone = true,
            _ => {}
        }
    }

    fn owns(&mut self, epoch: Epoch) {
        if epoch > self.a.epoch {
            (self.a.epoch, self.a.sealed) = (epoch, false);
            self.say(checkpoint(0, epoch.get(), 100));
            self.say(progress(0, epoch.get(), super::Step::Serving));
        }
    }

    /// Another process serves it, at a later epoch.
    fn both_act(&self) -> bool {
        self.b > self.a.epoch && self.a_acts()
    }

    fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }
}

/// Where a search has been.
#[derive(Default)]
struct Searched {
    known: HashSet<u64>,
    /// The steps to where it is.
    path: Vec<Step>,
    /// Whether the standby served in any state.
    taken_over: bool,
}

impl Searched {
    /// Everywhere from here, each state once.
    fn visit(&mut self, world: &World) {
        self.taken_over |= world.b > Epoch(0);
        for step in world.steps() {
            let mut next = world.clone();
            next.take(step);
            self.path.push(step);
            assert!(
                !next.both_act(),
                "both serve shard {SHARD}: {:?}\n{:?}",
                self.path,
                next.a
            );
            if self.known.insert(next.identity()) {
                self.visit(&next);
            }
            self.path.pop();
        }
    }
}

#[test]
fn no_shard_of_the_smallest_fleet_with_a_lease_has_two_owners_on_any_way() {
    for faults in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
        let began = std::time::Instant::now();
        let mut searched = Searched::default();
        searched.visit(&World::new(faults));
        let (states, took) = (searched.known.len(), began.elapsed());
        eprintln!("{faults:?}: {states} states, complete, {took:.1?}");
        assert!(searched.taken_over, "a lease that is over frees its shards");
    }
}
