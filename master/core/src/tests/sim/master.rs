//! The master's process: the core, and what the driver does around it.

use std::collections::{BTreeSet, VecDeque};

use baton_protocol::{DeployId, LaunchId};

use super::{
    disk::Journal,
    links::{Down, LinkId, Up},
    slave::Flaw,
    *,
};

/// The driver counts a gap this long for no process.
const GAP: Duration = Duration::from_secs(2);

/// Failed saves of one round, after which the driver pauses.
const MAX_FAILURES: u32 = 4;

#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) core: Core,
    pub(super) links: BTreeMap<SlaveId, LinkId>,
    /// The newest connection of each slave that was heard of.
    newest: BTreeMap<SlaveId, LinkId>,
    /// Whose death it would hear of.
    watched: BTreeSet<SlaveId>,
    /// Launched and not joined.
    launched: Vec<(String, SlaveId, LaunchId)>,
    pub(super) open_deploys: BTreeSet<DeployId>,
    pub(super) began: Real,
    /// Time in which it did not run.
    lost: Real,
    last_look: Real,
    pub(super) stopped: bool,
    /// After failed saves it carries nothing out until then.
    paused_until: Real,
    waiting: VecDeque<Input>,
}

impl Master {
    pub(super) fn time(&self) -> Time {
        Time(self.last_look - self.began - self.lost)
    }
}

impl World {
    /// The next master starts, with what the disk has.
    pub(super) fn start_master(&mut self) {
        if self.master.is_some() {
            return;
        }
        self.disk.starts += 1;
        let mut recovered = self.disk.recover(self.now, |id| self.may_live(id));
        recovered.launches = LaunchId(u128::from(self.disk.starts) << 64);
        self.disk.synced.rows.slaves = recovered.slaves.clone();
        self.note(|| {
            format!(
                "a master starts: {:?} {:?}",
                recovered.shards, recovered.journal
            )
        });
        self.judge_recovered(&recovered);
        self.dead = self.dead_of(&recovered.slaves);
        let core = Core::new(self.settings.clone(), recovered.clone(), Time::default());
        self.master = Some(Master {
            core,
            links: BTreeMap::new(),
            newest: BTreeMap::new(),
            watched: recovered.slaves.keys().copied().collect(),
            launched: Vec::new(),
            open_deploys: BTreeSet::new(),
            began: self.now,
            lost: Duration::ZERO,
            last_look: self.now,
            stopped: false,
            paused_until: Duration::ZERO,
            waiting: VecDeque::new(),
        });
        self.input(Input::Tick);
        self.agent_dials();
    }

    /// `kill -9`, at once.
    pub(super) fn crash_master(&mut self) {
        self.crash_in = None;
        if self.master.take().is_some() {
            self.note(|| "the master is killed".to_owned());
            if self.disk.crash(&mut self.dice) {
                self.judge_tail_lost();
            }
            self.master_is_gone();
        }
    }

    fn master_is_gone(&mut self) {
        for link in self.links.values_mut() {
            if link.master_open {
                link.master_open = false;
                link.broken = true;
                link.up.clear();
                let kept = self.dice.below(link.down.len() + 1);
                link.down.truncate(kept);
                link.down.push_back(Down::End);
            }
        }
        self.sweep();
        self.judge_master_gone();
    }

    /// The disk's content turns out to be damaged.
    pub(super) fn tear_journal(&mut self) {
        self.crash_master();
        self.note(|| "the journal is torn".to_owned());
        self.judge_tail_lost();
        self.judge.torn = true;
        self.disk.synced = Journal::torn(Epoch(self.disk.starts << 20));
    }

    /// Something for the core, as soon as the driver runs.
    pub(super) fn input(&mut self, input: Input) {
        let Some(master) = &mut self.master else {
            return;
        };
        master.waiting.push_back(input);
        self.round();
    }

    /// One round of the driver.
    pub(super) fn round(&mut self) {
        let now = self.now;
        let Some(master) = self.master.as_mut().filter(|master| !master.stopped) else {
            return;
        };
        let since = now - master.last_look;
        master.last_look = now;
        if since > GAP {
            master.lost += since;
            let time = master.time();
            master.core.handle(time, Input::Resumed);
        }
        while let Some(master) = &mut self.master
            && let Some(input) = master.waiting.pop_front()
        {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{now:>9.3?} core: {}", judge::input_name(&input)));
            }
            self.judge_input(&input);
            if let Some(master) = &mut self.master {
                let time = master.time();
                master.core.handle(time, input);
            }
        }
        let agent = self.agent_answers();
        if let Some(master) = &mut self.master {
            let time = master.time();
            if master.core.deadline().is_some_and(|at| at <= time) {
                if let Some(answers) = agent {
                    master.core.handle(time, answers);
                }
                master.core.handle(time, Input::Tick);
            }
        }
        // Several notices are one round, now and then.
        if !self.dice.one_in(8) {
            self.carry_out();
        }
    }

    /// Actions in their order: each is done before the next is polled.
    pub(super) fn carry_out(&mut self) {
        let mut failures = 0;
        loop {
            let mut caused = Vec::new();
            while let Some(master) = &mut self.master {
                if master.paused_until > self.now || master.stopped {
                    return;
                }
                let Some(action) = master.core.poll_action() else {
                    break;
                };
                if self.crash_in.is_some_and(|left| left == 0) {
                    self.crash_master();
                    return;
                }
                self.crash_in = self.crash_in.map(|left| left - 1);
                self.judge.actions += 1;
                if let Some(name) = order_name(&action) {
                    self.note(|| format!("    {name}"));
                }
                let Some(input) = self.carry(action) else {
                    continue;
                };
                if matches!(input, Input::SaveFailed { .. }) {
                    failures += 1;
                    caused.insert(0, input);
                    break;
                }
                caused.push(input);
            }
            let Some(master) = &mut self.master else {
                return;
            };
            if caused.is_empty() {
                return;
            }
            let time = master.time();
            for input in caused {
                master.core.handle(time, input);
            }
            if failures == MAX_FAILURES {
                master.paused_until = self.now + 100 * MILLI;
                return;
            }
        }
    }

    /// What it causes at once.
    fn carry(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Save(entries, durability) => {
                let saved = self.disk.save(self.now, entries, durability);
                if saved.is_err() {
                    self.judge.permits.save_failed = Some(self.now);
                }
                return saved.err().map(|reason| Input::SaveFailed { reason });
            }
            Action::Send(slave, message) => return self.send(slave, message),
            Action::Refuse(id, refused) => {
                let master = self.master.as_mut()?;
                let link = master.links.remove(&id)?;
                let detail = refused.detail.clone();
                if let Some(link) = self.links.get_mut(&link) {
                    link.down.push_back(Down::Order(ToSlave::Refused(refused)));
                }
                self.drop_link(link);
                let launch = *self.judge.launches.get(&id)?;
                return Some(Input::LaunchFailed {
                    launch,
                    reason: detail,
                });
            }
            Action::Launch {
                slot, role, launch, ..
            } => return Some(self.launch(slot, role, launch)),
            Action::GiveUp { slot } => self.give_up(&slot),
            Action::Kill(slave, _) => {
                if self.slaves.contains_key(&slave) && !self.is_blind() {
                    self.die(slave);
                }
            }
            Action::HangUp(slave) => {
                self.note(|| format!("nothing comes from the host of {slave:?}"));
                let link = self.master.as_mut()?.links.remove(&slave)?;
                self.drop_link(link);
                return Some(Input::Left { slave });
            }
            Action::Keep(_) => {}
            Action::Tell(News::SlaveGone {
                slave,
                dead: Some(Evidence::Lease),
                ..
            }) => self.judge_lease(slave),
            Action::Tell(News::Fenced { slave, .. }) => self.fenced(slave),
            Action::Tell(news) => self.judge_news(&news),
            Action::Exit => {
                self.note(|| "the master leaves".to_owned());
                self.master = None;
                self.crash_in = None;
                self.disk.close(self.now);
                self.master_is_gone();
            }
        }
        None
    }

    fn send(&mut self, id: SlaveId, message: ToSlave) -> Option<Input> {
        self.judge_order(id, &message);
        self.judge_permit(&message);
        let master = self.master.as_mut()?;
        let link = *master.links.get(&id)?;
        let queue = self.links.get_mut(&link)?;
        if queue.down.len() >= self.outbox {
            master.links.remove(&id);
            self.drop_link(link);
            return Some(Input::Left { slave: id });
        }
        if !queue.broken {
            queue.down.push_back(Down::Order(message));
        }
        None
    }

    /// At most one process of a slot is launched and has not joined.
    fn launch(&mut self, slot: String, role: Role, launch: LaunchId) -> Input {
        self.judge.launched += 1;
        let unjoined: Vec<_> = self
            .master
            .iter()
            .flat_map(|master| &master.launched)
            .filter(|launched| launched.0 == slot)
            .map(|launched| launched.1)
            .collect();
        for slave in unjoined {
            self.die(slave);
        }
        if self.judge.troubled && self.dice.one_in(5) {
            let reason = "bad luck".to_owned();
            return Input::LaunchFailed { launch, reason };
        }
        let flaw = match role {
            Role::Candidate if self.judge.troubled => self.some_flaw(),
            Role::Candidate | Role::Standby | Role::Relaunch => Flaw::None,
        };
        let id = self.make_slave(role, slot.clone(), flaw);
        self.judge.launches.insert(id, launch);
        // An older build does not say it.
        if id.0.is_multiple_of(2)
            && let Some(slave) = self.slaves.get_mut(&id)
        {
            slave.hello.launch = launch;
        }
        if let Some(master) = &mut self.master {
            master.launched.push((slot, id, launch));
        }
        let pid = u32::try_from(id.0).unwrap();
        Input::Launched { launch, pid }
    }

    /// Its end is not reported.
    fn give_up(&mut self, slot: &str) {
        let Some(master) = &mut self.master else {
            return;
        };
        let unwanted = master
            .launched
            .extract_if(.., |launched| launched.0 == slot)
            .collect::<Vec<_>>();
        for (_, slave, _) in unwanted {
            self.die(slave);
        }
    }

    /// Whether the core believes a living slave to be connected, and to stay: then
    /// it does not take the operator's word.
    pub(super) fn is_watched_and_connected(&self, id: SlaveId) -> bool {
        let master = self
            .master
            .as_ref()
            .filter(|master| master.waiting.is_empty());
        master.is_some_and(|master| master.core.fence_refused(id, Time::default()).is_some())
    }

    /// The driver forgets a slave that was fenced.
    pub(super) fn fenced(&mut self, id: SlaveId) {
        let Some(master) = &mut self.master else {
            return;
        };
        master.watched.remove(&id);
        if let Some(link) = master.links.remove(&id) {
            self.drop_link(link);
        }
        assert!(
            !self.slaves.contains_key(&id),
            "{id:?} answers and was fenced"
        );
    }

    /// A launched process ended before it joined.
    pub(super) fn launched_exited(&mut self, id: SlaveId) {
        let Some(master) = &mut self.master else {
            return;
        };
        let at = master.launched.iter().position(|launched| launched.1 == id);
        if let Some(at) = at {
            let (_, _, launch) = master.launched.remove(at);
            let reason = "it ended before it joined".to_owned();
            master
                .waiting
                .push_back(Input::LaunchFailed { launch, reason });
        }
    }

    /// The master hears what comes next on a connection.
    pub(super) fn hear(&mut self, id: LinkId) {
        if self.master.as_ref().is_none_or(|master| master.stopped) {
            return;
        }
        let Some(link) = self.links.get_mut(&id).filter(|link| link.can_be_heard()) else {
            return;
        };
        let slave = link.slave;
        let Some(up) = link.up.pop_front() else {
            return;
        };
        let master = self.master.as_mut().unwrap();
        let current = master.links.get(&slave) == Some(&id);
        match up {
            Up::Hello(hello, report) => {
                // As the driver: what it reported before it dialled again is past.
                let newest = master.newest.entry(slave).or_insert(id);
                let is_past = *newest > id;
                *newest = id.max(*newest);
                if is_past || !self.slaves.contains_key(&slave) {
                    self.drop_link(id);
                    return;
                }
                if let Some(old) = master.links.remove(&slave) {
                    master.waiting.push_back(Input::Left { slave });
                    self.drop_link(old);
                }
                let master = self.master.as_mut().unwrap();
                master.links.insert(slave, id);
                master.watched.insert(slave);
                master.launched.retain(|launched| launched.1 != slave);
                self.input(Input::Joined { hello, report });
            }
            Up::Said(message) if current => self.input(Input::Said { slave, message }),
            Up::Said(_) => {}
            Up::End => {
                if current {
                    master.links.remove(&slave);
                    master.waiting.push_back(Input::Left { slave });
                }
                self.drop_link(id);
                self.round();
            }
        }
    }

    /// The pidfd of a dead slave is readable, and everything that it had said
    /// was heard or cannot be.
    pub(super) fn hear_of_death(&mut self, id: SlaveId) {
        if self.is_blind() {
            return;
        }
        let Some(master) = self.master.as_mut().filter(|master| !master.stopped) else {
            return;
        };
        if let Some(link) = master.links.get(&id)
            && let Some(known) = self.links.get(link)
            && known.can_be_heard()
        {
            return;
        }
        self.dead.retain(|&dead| dead != id);
        if let Some(link) = master.links.remove(&id) {
            master.waiting.push_back(Input::Left { slave: id });
            self.drop_link(link);
        }
        let master = self.master.as_mut().unwrap();
        if master.watched.remove(&id) {
            self.input(Input::Died {
                slave: id,
                evidence: Evidence::Process,
            });
        }
    }

    /// When the core wants to be woken, by the clock of the world.
    pub(super) fn deadline(&self) -> Option<Real> {
        let master = self.master.as_ref()?;
        let at = master.core.deadline()?;
        Some(master.began + master.lost + at.0)
    }

    /// Whether the slave answers no ping for the hang time.
    pub(super) fn is_silent(&self, id: SlaveId, hang: Real) -> bool {
        let Some(master) = &self.master else {
            return false;
        };
        let cut_since = master
            .links
            .get(&id)
            .and_then(|link| self.links.get(link))
            .filter(|link| link.cut != links::Cut::None)
            .map(|link| link.cut_since);
        let stopped_since = self.slaves.get(&id).and_then(|slave| slave.stopped);
        let since = cut_since.into_iter().chain(stopped_since).min();
        since.is_some_and(|since| self.now - since.max(master.began) >= hang)
    }
}
