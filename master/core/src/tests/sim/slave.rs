//! A model slave: what it holds, and what it does with its orders.

use baton_protocol::{
    Version,
    lease::Lease,
    message::{Refused, RefusedReason, Unit},
};

use super::{
    discord::{session_name, session_of},
    links::LinkId,
    window::Window,
    *,
};

#[derive(Clone, Debug)]
pub(super) struct Slave {
    pub(super) hello: Hello,
    pub(super) link: Option<LinkId>,
    pub(super) accepted: bool,
    pub(super) rows: BTreeMap<ShardId, Row>,
    pub(super) work: Epoch,
    pub(super) stopped: Option<Real>,
    pub(super) leaving: Option<Leaving>,
    pub(super) flaw: Flaw,
    pub(super) refused_for_good: bool,
    /// Does one in so many of the steps that it could do.
    pub(super) pace: u64,
    pub(super) lease: Lease,
    /// Whether it sealed what it had because that was over, and nobody accepted it since.
    pub(super) lapsed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) asked: bool,
    pub(super) until: Real,
}

/// What is wrong with a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    NeverReady,
    /// Each resume fails, with this close code.
    FailsResume(u16),
    /// A resume gets nowhere.
    Stalls,
    /// Cannot reach Discord: each dial fails.
    FailsDial,
    /// Says nothing about its dials.
    DialsForEver,
    /// Dies over the first event that it is handed.
    DiesOfEvents,
    /// Asks for other intents.
    Intents,
    /// Its handlers take longer than a drain.
    SlowHandlers,
}

/// What a slave has of one shard.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) epoch: Epoch,
    /// `None`: nothing but an imported copy.
    pub(super) holding: Option<Holding>,
    pub(super) session: Option<usize>,
    pub(super) window: Window,
    pub(super) conn: Conn,
    /// RESUMED is to be confirmed.
    pub(super) ordered: bool,
    pub(super) after_death: bool,
    /// Whether nothing came since the order to resume; and whether it said so.
    pub(super) untouched: bool,
    pub(super) reported_untouched: bool,
    pub(super) permit: bool,
    pub(super) waiting: Option<IdentifyCause>,
    pub(super) seal: Option<Ticket>,
    pub(super) drain_until: Real,
    pub(super) settled: Option<Settled>,
    /// It is sealed when its connection ends.
    pub(super) late: bool,
    /// A connection that is held: for which epoch of the owner, and which session.
    pub(super) ahead: Option<(Epoch, usize)>,
    /// What the master heard of the seal: the ticket, and how it settled.
    pub(super) heard: (bool, bool),
    pub(super) state_ready: Option<StateReady>,
    /// An imported copy: of which session, and where it stands.
    pub(super) copied: Option<(usize, u64)>,
    pub(super) session_told: bool,
    pub(super) changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conn {
    Closed,
    Replaying,
    Up,
}

impl Row {
    pub(super) fn empty() -> Self {
        Self {
            epoch: Epoch(0),
            holding: None,
            session: None,
            window: Window::default(),
            conn: Conn::Closed,
            ordered: false,
            after_death: false,
            untouched: false,
            reported_untouched: false,
            permit: false,
            waiting: None,
            seal: None,
            drain_until: Duration::ZERO,
            settled: None,
            late: false,
            ahead: None,
            heard: (false, false),
            state_ready: None,
            copied: None,
            session_told: false,
            changed: false,
        }
    }

    fn owned(&mut self, epoch: Epoch, holding: Holding) {
        self.epoch = epoch;
        self.holding = Some(holding);
        self.untouched = holding == Holding::Resuming;
        self.conn = Conn::Closed;
        self.permit = false;
        self.waiting = None;
        self.seal = None;
        self.settled = None;
        self.late = false;
        self.ahead = None;
        self.heard = (false, false);
        self.state_ready = None;
    }

    pub(super) fn without_session(&mut self) {
        self.session = None;
        self.window = Window::default();
        self.after_death = false;
        self.copied = None;
        self.permit = false;
    }

    /// Whether it could hand events out.
    pub(super) fn acts(&self) -> bool {
        match self.holding {
            Some(Holding::Starting | Holding::Resuming | Holding::Serving) => true,
            Some(Holding::Sealed | Holding::Failed) | None => false,
        }
    }

    /// The sessions that it may have a connection of.
    pub(super) fn connections(&self) -> Vec<usize> {
        let held = self.ahead.map(|(_, session)| session);
        self.session.into_iter().chain(held).collect()
    }

    pub(super) fn ticket(&self, shard: ShardId) -> Ticket {
        let window = &self.window;
        Ticket {
            shard,
            session: self
                .session
                .map(session_name)
                .map(session)
                .unwrap_or_default(),
            handled: Sequence(window.handled),
            finished_above: window.finished_above(),
            in_doubt: window.in_doubt(),
            state_at: Sequence(window.handled),
            ..Ticket::default()
        }
    }
}

impl Slave {
    pub(super) fn new(hello: Hello, flaw: Flaw) -> Self {
        Self {
            hello,
            link: None,
            accepted: false,
            rows: BTreeMap::new(),
            work: Epoch(0),
            stopped: None,
            leaving: None,
            flaw,
            refused_for_good: false,
            pace: 1,
            lease: Lease::default(),
            lapsed: false,
        }
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(super) fn owns_anything(&self) -> bool {
        self.rows.values().any(|row| row.holding.is_some())
    }

    /// The master that ordered a late seal is out of reach.
    pub(super) fn link_lost(&mut self) {
        self.accepted = false;
        self.rows.values_mut().for_each(|row| row.late = false);
    }

    pub(super) fn introduce(&mut self) -> (Box<Hello>, Report) {
        let mut hello = self.hello.clone();
        if self.owns_anything() {
            hello.role = Role::Relaunch;
        }
        // Builds of before do not say it.
        let new_build = hello.version == Version::NEWEST;
        let held = self.rows.iter().filter_map(|(&shard, row)| {
            Some(Held {
                epoch: row.epoch,
                holding: row.holding?,
                ticket: row.seal.clone().unwrap_or_else(|| row.ticket(shard)),
                untouched: row.untouched && new_build,
            })
        });
        let report = Report {
            shards: held.collect(),
            work: self.work,
            ready: true,
            lapsed: self.lapsed,
            last: true,
        };
        for row in self.rows.values_mut() {
            row.reported_untouched = row.untouched;
            row.session_told = false;
            row.changed |= row.holding == Some(Holding::Serving);
        }
        (Box::new(hello), report)
    }
}

impl World {
    pub(super) fn order(&mut self, id: SlaveId, order: ToSlave) {
        self.note(|| match &order {
            ToSlave::Refused(refused) => format!("{id:?} is refused: {:?}", refused.reason),
            order => format!("{id:?} obeys {}", message_name(order)),
        });
        let (now, leaving) = (self.now, self.slaves[&id].leaving.is_some());
        match order {
            ToSlave::PermitsLeased(_) | ToSlave::Post(_) => panic!("nobody asked: {order:?}"),
            ToSlave::FullStart(start) if !leaving => {
                for unit in start.shards {
                    self.start(id, unit);
                }
            }
            ToSlave::FullStart(_) => {}
            ToSlave::Resume(resume) => self.resume(id, &resume, leaving),
            ToSlave::Seal(seal) => {
                self.seal(id, seal.shard, seal.epoch, now + self.settings.drain);
            }
            ToSlave::IdentifyPermit(unit) => {
                if let Some(row) = self.row(id, unit.shard) {
                    row.waiting = None;
                    row.permit |= row.epoch == unit.epoch && row.session.is_none();
                }
            }
            ToSlave::CopyState(copy) => self.copy_out(id, copy.unit()),
            ToSlave::Dial(dial) => self.dial_discord(id, &dial),
            ToSlave::SealLate(late) => self.seal_late(id, late),
            ToSlave::Overtake(unit) => self.overtake(id, unit),
            ToSlave::State(frame) => self.copy_in(id, &frame),
            ToSlave::ShardMigrationStart(start) => {
                if self.slaves[&id].flaw != Flaw::NeverReady {
                    self.say(id, ToMaster::ShardMigrationStart(start));
                }
            }
            ToSlave::SoftStart => self.say(id, ToMaster::SoftStartComplete),
            ToSlave::Shutdown => self.leave(id, true),
            ToSlave::StopWork(work) => {
                if self.slaves[&id].work == work.epoch {
                    self.slaves.get_mut(&id).unwrap().work = Epoch(0);
                }
                if self.slaves[&id].work == Epoch(0) {
                    self.say(id, ToMaster::StopWork(work));
                }
            }
            ToSlave::StartWork(work) => {
                if !leaving && self.slaves[&id].work <= work.epoch {
                    self.slaves.get_mut(&id).unwrap().work = work.epoch;
                    self.judge_work(id, work.epoch);
                    self.say(id, ToMaster::StartWork(work));
                }
            }
            // Told only to who asked.
            ToSlave::Try(_) => {}
            ToSlave::Forget(unit) => self.forget(id, unit),
            ToSlave::Settled(settled) => self.take_settled(id, &settled),
            ToSlave::Accepted(accepted) => {
                let slave = self.slaves.get_mut(&id).unwrap();
                slave.takes_lease(accepted.lease_ms);
                self.accepted(id);
            }
            ToSlave::Refused(refused) => self.refused(id, &refused),
            ToSlave::StateAck(_) => {}
            ToSlave::Ping(ping) => self.answer(id, ping.number, ping.heard),
        }
    }

    pub(super) fn row(&mut self, id: SlaveId, shard: ShardId) -> Option<&mut Row> {
        self.slaves.get_mut(&id)?.rows.get_mut(&shard)
    }

    fn start(&mut self, id: SlaveId, unit: Unit) {
        self.disconnect_shard(id, unit.shard, unit.epoch);
        let slave = self.slaves.get_mut(&id).unwrap();
        let row = slave.rows.entry(unit.shard).or_insert_with(Row::empty);
        if unit.epoch > row.epoch {
            row.owned(unit.epoch, Holding::Starting);
            row.without_session();
            self.judge_start(id, unit);
        }
    }

    fn resume(&mut self, id: SlaveId, resume: &Resume, leaving: bool) {
        let (shard, epoch, ticket) = (resume.shard(), resume.epoch, &resume.ticket);
        if leaving {
            self.say(id, failed(shard.get(), epoch.get()));
            return;
        }
        self.disconnect_shard(id, shard, epoch);
        let slave = self.slaves.get_mut(&id).unwrap();
        let row = slave.rows.entry(shard).or_insert_with(Row::empty);
        if epoch <= row.epoch {
            return;
        }
        let session = session_of(ticket).unwrap();
        let taken_back = row.session == Some(session) && row.epoch > Epoch(0);
        let copied = row.copied.take().filter(|copied| copied.0 == session);
        row.owned(epoch, Holding::Resuming);
        let state_at = match copied {
            _ if taken_back => row.window.received,
            Some((_, at)) => at,
            None => u64::MAX,
        };
        let own = taken_back.then_some(&row.window);
        row.window = Window::resumed(ticket, state_at, own);
        row.session = Some(session);
        row.after_death = resume.after == ResumeAfter::Death;
        row.ordered = true;
        self.judge_start(id, Unit { shard, epoch });
    }

    /// An order that makes it the owner at a later epoch ends its connection.
    fn disconnect_shard(&mut self, id: SlaveId, shard: ShardId, epoch: Epoch) {
        let now = self.now;
        if let Some(row) = self.row(id, shard)
            && epoch > row.epoch
            && let Some(session) = row.session
        {
            row.conn = Conn::Closed;
            self.discord.close(session, id, now);
        }
    }

    /// Seals at once; a repeated order gets the same answer.
    pub(super) fn seal(&mut self, id: SlaveId, shard: ShardId, epoch: Epoch, drain_until: Real) {
        let now = self.now;
        let Some(row) = self.row(id, shard) else {
            return;
        };
        if row.epoch != epoch || row.holding.is_none() {
            return;
        }
        if row.holding != Some(Holding::Sealed) {
            self.judge.sealed.insert((shard, epoch));
            let row = self.row(id, shard).unwrap();
            row.conn = Conn::Closed;
            row.late = false;
            row.holding = Some(Holding::Sealed);
            row.drain_until = drain_until;
            row.seal = Some(row.ticket(shard));
            row.changed = false;
            let session = row.session;
            if let Some(session) = session {
                self.discord.close(session, id, now);
            }
        }
        let row = self.row(id, shard).unwrap();
        let (ticket, settled) = (row.seal.clone().unwrap(), row.settled.clone());
        let unasked = self.slaves[&id]
            .leaving
            .is_some_and(|leaving| !leaving.asked);
        if !unasked || ticket.has_session() {
            self.say(id, sealed_with(epoch.get(), ticket));
        }
        if let Some(settled) = settled {
            self.say(id, ToMaster::Settled(settled));
        }
    }

    fn forget(&mut self, id: SlaveId, unit: Unit) {
        let now = self.now;
        if let Some(row) = self.row(id, unit.shard)
            && !(row.holding.is_some() && row.epoch >= unit.epoch)
        {
            for session in row.connections() {
                self.discord.close(session, id, now);
            }
            self.slaves.get_mut(&id).unwrap().rows.remove(&unit.shard);
        }
    }

    fn take_settled(&mut self, id: SlaveId, settled: &Settled) {
        let Some(row) = self.row(id, settled.shard) else {
            return;
        };
        let (epoch, session) = (row.epoch, row.session);
        let due = row.window.settle(&settled.unfinished);
        row.changed = true;
        for sequence in due {
            if let Some(session) = session {
                self.judge_handed(id, settled.shard, epoch, session, sequence, true);
            }
        }
    }

    fn accepted(&mut self, id: SlaveId) {
        let slave = self.slaves.get_mut(&id).unwrap();
        slave.accepted = true;
        let mut again = Vec::new();
        for (shard, row) in &slave.rows {
            let (number, epoch) = (shard.get(), row.epoch.get());
            again.extend(row.waiting.map(|cause| wants_permit(number, epoch, cause)));
            // What happened between the report and this was not reported.
            if row.reported_untouched && !row.untouched {
                again.push(progress(number, epoch, Step::Replaying));
            }
            match row.holding {
                Some(Holding::Serving) => again.push(progress(number, epoch, Step::Serving)),
                Some(Holding::Failed) => again.push(failed(number, epoch)),
                Some(Holding::Sealed) => {
                    again.push(sealed_with(epoch, row.seal.clone().unwrap()));
                }
                Some(Holding::Starting | Holding::Resuming) | None => {}
            }
            again.extend(row.settled.clone().map(ToMaster::Settled));
            again.extend(row.state_ready.map(ToMaster::StateReady));
        }
        for message in again {
            self.say(id, message);
        }
    }

    fn refused(&mut self, id: SlaveId, refused: &Refused) {
        let slave = &self.slaves[&id];
        let busy = refused.reason == RefusedReason::Busy && slave.hello.role == Role::Candidate;
        if !slave.owns_anything() && (busy || !refused.reason.may_pass()) {
            self.exit(id);
        }
    }
}
