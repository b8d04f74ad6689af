//! A small world around the core: slaves that keep the protocol, links that
//! lose, a journal, and a judge that knows who serves what.
//!
//! A model slave is *acting* on a shard from the moment in which it was told to
//! start or resume it until it sealed it, failed, forgot it or died: from there
//! on it could hand out events. The judge allows one at a time, and one slave for
//! each epoch of a shard.

use std::collections::{BTreeMap, VecDeque};

use baton_protocol::{
    DeployId,
    message::{Refused, Unit},
};

use super::*;
use crate::core::event::RecoveredTicket;

/// Numbers from a seed (splitmix64): the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }
}

#[derive(Clone, Debug)]
pub(super) struct Slave {
    hello: Hello,
    pub(super) rows: BTreeMap<ShardId, Row>,
    pub(super) work: Epoch,
    pub(super) connected: bool,
    /// Does nothing, hears nothing; its rows act on.
    pub(super) hangs: bool,
    /// Said, and not yet arrived.
    pub(super) to_master: VecDeque<ToMaster>,
    pub(super) to_slave: VecDeque<ToSlave>,
    /// What arrived last: comes twice sometimes.
    pub(super) said: Option<ToMaster>,
    pub(super) leaving: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) epoch: Epoch,
    pub(super) doing: Holding,
    pub(super) ticket: Ticket,
}

/// What the disk has.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(pub(super) Recovered);

#[derive(Debug)]
pub(super) struct World {
    pub(super) dice: Dice,
    settings: Settings,
    pub(super) core: Core,
    pub(super) now: Time,
    pub(super) journal: Journal,
    pub(super) slaves: BTreeMap<SlaveId, Slave>,
    pub(super) next_slave: u128,
    /// Who was told to serve a shard at an epoch, ever.
    pub(super) told: BTreeMap<(ShardId, Epoch), SlaveId>,
    pub(super) worked: BTreeMap<Epoch, SlaveId>,
    pub(super) sessions: u64,
    /// Launches that the core asked for.
    pub(super) launches: VecDeque<Role>,
    /// Slaves that are dead, which the core has not been told.
    pub(super) dead: Vec<SlaveId>,
    pub(super) disk_is_full: bool,
    /// Deploys that began and did not end, of this master.
    pub(super) open_deploys: BTreeMap<DeployId, ()>,
    pub(super) ended: usize,
    pub(super) log: Vec<String>,
    left: bool,
}

impl World {
    pub(super) fn new(seed: u64, shards: u32) -> Self {
        let mut settings = settings(shards);
        settings.width = 2;
        let now = Time(SECOND);
        Self {
            dice: Dice(seed),
            core: Core::new(settings.clone(), Recovered::default(), now),
            settings,
            now,
            journal: Journal::default(),
            slaves: BTreeMap::new(),
            next_slave: 1,
            told: BTreeMap::new(),
            worked: BTreeMap::new(),
            sessions: 0,
            launches: VecDeque::new(),
            dead: Vec::new(),
            disk_is_full: false,
            open_deploys: BTreeMap::new(),
            ended: 0,
            log: Vec::new(),
            left: false,
        }
    }

    // ---- what can happen -----------------------------------------------------

    pub(super) fn input(&mut self, input: Input) {
        if self.left {
            return;
        }
        self.log
            .push(format!("{:?} {}", self.now.0, input_name(&input)));
        self.core.handle(self.now, input);
        self.carry_out();
    }

    /// The driver: actions in their order, saves before sends.
    fn carry_out(&mut self) {
        while let Some(action) = self.core.poll_action() {
            if let Some(name) = order_name(&action) {
                self.log.push(format!("    {name}"));
            }
            match action {
                Action::Save(entries, _) => {
                    if self.disk_is_full {
                        let reason = "disk full".to_owned();
                        self.core.handle(self.now, Input::SaveFailed { reason });
                        continue;
                    }
                    for entry in entries {
                        self.journal.write(entry);
                    }
                }
                Action::Send(slave, message) => self.send(slave, message),
                Action::Refuse(id, refused) => self.refused(id, &refused),
                Action::Launch { role, .. } => self.launches.push_back(role),
                Action::Kill(slave) => {
                    if self.slaves.contains_key(&slave) {
                        self.die(slave);
                    }
                }
                Action::Tell(news) => self.told_news(&news),
                Action::Exit => self.left = true,
            }
        }
    }

    fn told_news(&mut self, news: &News) {
        match news {
            News::DeployAccepted { deploy, .. } => {
                assert!(
                    self.open_deploys.insert(*deploy, ()).is_none(),
                    "{deploy} twice"
                );
            }
            News::DeployEnded {
                deploy, outcome, ..
            } => {
                self.log.push(format!("    deploy {deploy}: {outcome}"));
                assert!(
                    self.open_deploys.remove(deploy).is_some(),
                    "{deploy} ended twice"
                );
                self.ended += 1;
            }
            News::Alarm { detail } => self.log.push(format!("    ALARM {detail}")),
            _ => {}
        }
    }

    fn send(&mut self, id: SlaveId, message: ToSlave) {
        self.judge_order(id, &message);
        if let Some(slave) = self.slaves.get_mut(&id)
            && slave.connected
        {
            slave.to_slave.push_back(message);
        }
    }

    pub(super) fn launch(&mut self, role: Role) {
        let id = SlaveId(self.next_slave);
        self.next_slave += 1;
        let slave = Slave {
            hello: hello(id, role),
            rows: BTreeMap::new(),
            work: Epoch(0),
            connected: false,
            hangs: false,
            to_master: VecDeque::new(),
            to_slave: VecDeque::new(),
            said: None,
            leaving: false,
        };
        self.slaves.insert(id, slave);
        self.connect(id);
    }

    pub(super) fn connect(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.hangs || self.left {
            return;
        }
        slave.to_master.clear();
        slave.to_slave.clear();
        slave.connected = true;
        let rows = slave.rows.values().map(|row| Held {
            epoch: row.epoch,
            holding: row.doing,
            ticket: row.ticket.clone(),
        });
        let report = Report {
            shards: rows.collect(),
            work: slave.work,
            ready: true,
            last: true,
        };
        let asks: Vec<_> = slave
            .rows
            .values()
            .filter(|row| row.doing == Holding::Starting)
            .map(|row| wants_permit(row.ticket.shard.get(), row.epoch.get(), IdentifyCause::Cold))
            .collect();
        let hello = Box::new(slave.hello.clone());
        self.input(Input::Joined { hello, report });
        for ask in asks {
            self.say(id, ask);
        }
        if self.slaves.get(&id).is_some_and(|slave| slave.leaving) {
            self.say(id, ToMaster::Shutdown);
        }
    }

    /// The link breaks; what was on its way is lost.
    pub(super) fn disconnect(&mut self, id: SlaveId) {
        if let Some(slave) = self.slaves.get_mut(&id)
            && slave.connected
        {
            slave.connected = false;
            slave.to_master.clear();
            slave.to_slave.clear();
            self.input(Input::Left { slave: id });
        }
    }

    /// The process ends; the core hears of it later.
    pub(super) fn die(&mut self, id: SlaveId) {
        if self.slaves.remove(&id).is_some() {
            self.log.push(format!("    {id:?} is dead"));
            self.dead.push(id);
        }
    }

    pub(super) fn hear_of_death(&mut self, id: SlaveId) {
        self.dead.retain(|&dead| dead != id);
        self.input(Input::Left { slave: id });
        self.input(Input::Died { slave: id });
    }

    fn refused(&mut self, id: SlaveId, refused: &Refused) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        slave.connected = false;
        assert!(slave.rows.is_empty(), "an owner was refused: {refused:?}");
        self.slaves.remove(&id);
    }

    /// SIGTERM: everything is sealed unasked.
    pub(super) fn terminate(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.hangs || slave.leaving {
            return;
        }
        slave.leaving = true;
        let mut said = Vec::new();
        for row in slave.rows.values_mut() {
            if acts(row) {
                row.doing = Holding::Sealed;
                said.push(sealed_with(row.epoch.get(), row.ticket.clone()));
                said.push(settled(row.ticket.shard.get(), row.epoch.get(), &[]));
            }
        }
        slave.work = Epoch(0);
        said.push(ToMaster::Shutdown);
        for message in said {
            self.say(id, message);
        }
    }

    /// `kill -9` of the master and the start of the next one.
    pub(super) fn restart_master(&mut self) {
        self.log.push("the master restarts".to_owned());
        for slave in self.slaves.values_mut() {
            slave.connected = false;
            slave.to_master.clear();
            slave.to_slave.clear();
        }
        let mut recovered = self.journal.0.clone();
        recovered
            .slaves
            .retain(|id, _| self.slaves.contains_key(id));
        self.dead.clear();
        self.launches.clear();
        self.open_deploys.clear();
        self.left = false;
        self.core = Core::new(self.settings.clone(), recovered, self.now);
        self.carry_out();
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Time goes on to the next deadline, or a little.
    pub(super) fn tick(&mut self) {
        let soon = self.now.after(SECOND / 4);
        let next = self.core.deadline().unwrap_or(soon);
        self.now = self.now.max(next.min(soon));
        self.input(Input::Tick);
    }
}

/// An input in short.
fn input_name(input: &Input) -> String {
    match input {
        Input::Joined { hello, report } => {
            let held: Vec<_> = report
                .shards
                .iter()
                .map(|held| format!("{}@{} {:?}", held.ticket.shard, held.epoch, held.holding))
                .collect();
            let (id, role, work) = (hello.slave.0, hello.role, report.work);
            format!("{id:x} joined {role:?} work@{work} [{}]", held.join(", "))
        }
        Input::Said { slave, message } => format!("{:x} said {message:?}", slave.0),
        Input::Left { slave } => format!("{:x} left", slave.0),
        Input::Died { slave } => format!("{:x} died", slave.0),
        _ => format!("{input:?}"),
    }
}

pub(super) fn acts(row: &Row) -> bool {
    match row.doing {
        Holding::Starting | Holding::Resuming | Holding::Serving => true,
        Holding::Sealed | Holding::Failed => false,
    }
}

pub(super) fn ticket_of(unit: Unit, session: u64) -> Ticket {
    Ticket {
        shard: unit.shard,
        session_id: if session == 0 {
            String::new()
        } else {
            format!("session {session}")
        },
        handled: Sequence(u64::from(session != 0)),
        state_at: Sequence(u64::from(session != 0)),
        ..Ticket::default()
    }
}

impl Journal {
    fn write(&mut self, entry: Entry) {
        let rows = &mut self.0;
        match entry {
            Entry::Pinned(pinned) => rows.pinned = Some(pinned),
            Entry::Owner {
                shard,
                epoch,
                owner,
                hold,
            } => {
                let row = rows.shards.entry(shard).or_default();
                assert!(epoch >= row.0, "the epoch of {shard} went back");
                *row = (epoch, owner, hold);
            }
            Entry::Work { epoch, owner } => rows.work = Some((epoch, owner)),
            Entry::Slave(hello) => {
                rows.slaves.insert(hello.slave, *hello);
            }
            Entry::Gone(slave) => {
                rows.slaves.remove(&slave);
            }
            Entry::Ticket {
                epoch,
                after,
                ticket,
            } => {
                let row = RecoveredTicket {
                    epoch,
                    after,
                    ticket: *ticket,
                    age: Duration::ZERO,
                };
                rows.tickets.insert(row.ticket.shard, row);
            }
            Entry::Deploy(deploy) => rows.last_deploy = deploy,
            Entry::Command { .. } => {}
        }
    }
}
