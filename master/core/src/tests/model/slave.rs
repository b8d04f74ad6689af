//! A slave: it obeys, and what it does by itself.

use std::rc::Rc;

use baton_protocol::{
    Version,
    message::{Dialled, Overtaken, RefusedReason, Seal, Unit},
    state::StateWriter,
};

use super::{
    links::{Sent, Up},
    *,
};

#[derive(Clone, Debug)]
pub(super) struct Slave {
    pub(super) hello: Rc<Hello>,
    pub(super) accepted: bool,
    pub(super) row: Option<Row>,
    pub(super) work: Epoch,
    pub(super) leaving: bool,
    /// `SIGKILL` is on its way.
    pub(super) doomed: bool,
}

/// What it has of the shard.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) epoch: Epoch,
    pub(super) holding: Holding,
    pub(super) window: Window,
    pub(super) conn: Conn,
    /// RESUMED is to be confirmed.
    pub(super) ordered: bool,
    pub(super) after_death: bool,
    pub(super) seal: Option<Ticket>,
    pub(super) settled: Option<Settled>,
    pub(super) session_told: bool,
    pub(super) changed: bool,
    /// It is sealed when its connection ends.
    pub(super) late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Conn {
    Closed,
    Replaying,
    Up,
}

impl Row {
    fn of(epoch: Epoch, holding: Holding, window: Window) -> Self {
        Self {
            epoch,
            holding,
            window,
            conn: Conn::Closed,
            ordered: false,
            after_death: false,
            seal: None,
            settled: None,
            session_told: false,
            changed: false,
            late: false,
        }
    }

    /// Whether it could hand events out.
    pub(super) fn acts(&self) -> bool {
        matches!(
            self.holding,
            Holding::Starting | Holding::Resuming | Holding::Serving
        )
    }
}

impl Slave {
    pub(super) fn new(id: SlaveId, role: Role) -> Self {
        let mut hello = hello(id, role);
        hello.lowest = Version::OLDEST;
        hello.version = Version::NEWEST;
        Self {
            hello: Rc::new(hello),
            accepted: false,
            row: None,
            work: Epoch(0),
            leaving: false,
            doomed: false,
        }
    }

    /// It is of this slot.
    pub(super) fn fills(&mut self, slot: &str) {
        let mut hello = Hello::clone(&self.hello);
        slot.clone_into(&mut hello.slot);
        self.hello = Rc::new(hello);
    }

    fn introduce(&mut self) -> Up {
        let mut hello = Box::new(Hello::clone(&self.hello));
        let held = self.row.iter_mut().map(|row| {
            hello.role = Role::Relaunch;
            row.session_told = false;
            row.changed |= row.holding == Holding::Serving;
            Held {
                epoch: row.epoch,
                holding: row.holding,
                ticket: row.seal.clone().unwrap_or_else(|| row.window.ticket()),
                untouched: false,
            }
        });
        let mut report = report(held.collect());
        report.work = self.work;
        Up::Hello(hello, report)
    }
}

impl World {
    fn slave(&mut self, id: SlaveId) -> &mut Slave {
        self.slaves.get_mut(&id).unwrap()
    }

    pub(super) fn row(&mut self, id: SlaveId) -> Option<&mut Row> {
        self.slaves.get_mut(&id)?.row.as_mut()
    }

    pub(super) fn dial(&mut self, id: SlaveId) {
        let hello = self.slave(id).introduce();
        let mut link = Link::new(id);
        link.up.push_back(Sent::new(hello));
        self.links.push(link);
    }

    /// A slave takes its next order.
    pub(super) fn obey(&mut self, at: usize, stays: bool) {
        let link = &mut self.links[at];
        let id = link.slave;
        let Some(sent) = link.down.front().cloned() else {
            return;
        };
        if !stays {
            link.down.pop_front();
        }
        match sent.message {
            ToSlave::FullStart(start) => self.start_cold(id, start.shards[0].epoch),
            ToSlave::Resume(resume) => self.resume(id, &resume),
            ToSlave::Seal(seal) => self.seal(id, seal.epoch),
            ToSlave::SealLate(late) => self.seal_late(id, late),
            ToSlave::PermitsLeased(_) | ToSlave::Post(_) => {
                panic!("nobody asked: {:?}", sent.message)
            }
            ToSlave::Overtake(unit) => {
                self.connected = Some(id);
                let overtaken = Overtaken {
                    shard: unit.shard,
                    epoch: unit.epoch,
                    failed: String::new(),
                };
                self.say(id, ToMaster::Overtaken(overtaken));
            }
            ToSlave::CopyState(copy) => self.copy_out(id, copy.unit()),
            ToSlave::State(frame) => {
                let header = frame.header();
                self.say(
                    id,
                    ToMaster::StateReady(StateReady {
                        shard: header.shard,
                        epoch: header.epoch,
                        ..StateReady::default()
                    }),
                );
            }
            ToSlave::Dial(dial) => {
                let dialled = Dialled {
                    shard: dial.shard,
                    epoch: dial.epoch,
                    failed: String::new(),
                };
                self.say(id, ToMaster::Dialled(dialled));
            }
            ToSlave::ShardMigrationStart(start) => {
                self.say(id, ToMaster::ShardMigrationStart(start));
            }
            ToSlave::SoftStart => self.say(id, ToMaster::SoftStartComplete),
            ToSlave::Shutdown => self.leave(id),
            ToSlave::StopWork(work) => {
                let slave = self.slave(id);
                if slave.work <= work.epoch {
                    slave.work = Epoch(0);
                    self.say(id, ToMaster::StopWork(work));
                }
            }
            ToSlave::StartWork(work) => {
                let slave = self.slave(id);
                if !slave.leaving && slave.work <= work.epoch {
                    slave.work = work.epoch;
                    self.judge_work(id);
                    self.say(id, ToMaster::StartWork(work));
                }
            }
            // Told only to who asked.
            ToSlave::Try(_) => {}
            ToSlave::Forget(unit) => {
                if self.row(id).is_some_and(|row| row.epoch < unit.epoch) {
                    self.disconnect(id);
                    self.slave(id).row = None;
                }
            }
            ToSlave::Settled(settled) => self.take_settled(id, &settled),
            ToSlave::Accepted(_) => self.accepted(id),
            ToSlave::Refused(refused) => {
                let slave = self.slave(id);
                let may_pass = refused.reason.may_pass() && refused.reason != RefusedReason::Busy;
                if slave.row.is_none() && !may_pass {
                    self.end(id);
                }
            }
            ToSlave::Ping(_) => self.say(id, pong(0, 0)),
            ToSlave::IdentifyPermit(_) | ToSlave::StateAck(_) => {}
        }
    }

    /// P4: only the very first start may be cold.
    fn start_cold(&mut self, id: SlaveId, epoch: Epoch) {
        if epoch != Epoch(1) {
            self.breaks(|| format!("P4: {id:?} is told to identify the shard at {epoch}"));
        }
        if self.row(id).is_none_or(|row| row.epoch < epoch) {
            let mut row = Row::of(epoch, Holding::Starting, Window::default());
            row.conn = Conn::Up;
            row.session_told = false;
            self.slave(id).row = Some(row);
            self.connected = Some(id);
            self.judge_start(id);
            self.serves(id);
        }
    }

    fn resume(&mut self, id: SlaveId, resume: &Resume) {
        let epoch = resume.epoch;
        if self.slave(id).leaving {
            self.say(id, failed(resume.shard().get(), epoch.get()));
            return;
        }
        if self.row(id).is_some_and(|row| row.epoch >= epoch) {
            return;
        }
        self.disconnect(id);
        self.judge_ticket(&resume.ticket);
        let own = self.row(id).map(|row| row.window);
        let window = Window::resumed(&resume.ticket, own.as_ref());
        let mut row = Row::of(epoch, Holding::Resuming, window);
        row.after_death = resume.after == ResumeAfter::Death;
        row.ordered = true;
        self.slave(id).row = Some(row);
        self.judge_start(id);
    }

    fn disconnect(&mut self, id: SlaveId) {
        if self.connected == Some(id) {
            self.connected = None;
        }
        if let Some(row) = self.row(id) {
            row.conn = Conn::Closed;
        }
    }

    /// Seals at once; asked again, it says the same again.
    fn seal(&mut self, id: SlaveId, epoch: Epoch) {
        let Some(row) = self.row(id).filter(|row| row.epoch == epoch) else {
            return;
        };
        if row.holding != Holding::Sealed {
            row.holding = Holding::Sealed;
            row.seal = Some(row.window.ticket());
            row.changed = false;
            row.late = false;
            self.disconnect(id);
        }
        let row = self.row(id).unwrap();
        let (ticket, settled) = (row.seal.clone().unwrap(), row.settled.clone());
        self.say(id, sealed_with(epoch.get(), ticket));
        match settled {
            Some(settled) => self.say(id, ToMaster::Settled(settled)),
            None => self.settle_if_settled(id),
        }
    }

    /// Seals when the connection ends; at once, where none serves.
    fn seal_late(&mut self, id: SlaveId, late: Seal) {
        match self.row(id) {
            Some(row)
                if (row.epoch, row.holding, row.conn)
                    == (late.epoch, Holding::Serving, Conn::Up) =>
            {
                row.late = true;
                let unit = Unit {
                    shard: late.shard,
                    epoch: late.epoch,
                };
                self.say(id, ToMaster::SealLate(unit));
            }
            Some(_) | None => self.seal(id, late.epoch),
        }
    }

    fn settle_if_settled(&mut self, id: SlaveId) {
        if let Some(row) = self.row(id)
            && row.holding == Holding::Sealed
            && row.settled.is_none()
            && row.window.is_settled()
        {
            self.settle(id);
        }
    }

    /// Everything in doubt is finished, or the drain is over.
    pub(super) fn settle(&mut self, id: SlaveId) {
        let row = self.row(id).unwrap();
        let unfinished = row.window.in_doubt();
        let settled = Settled {
            shard: SHARD,
            epoch: row.epoch,
            unfinished: unfinished.clone(),
            events: Vec::new(),
        };
        row.settled = Some(settled.clone());
        self.given_up |= window::set(&unfinished);
        self.say(id, ToMaster::Settled(settled));
    }

    fn copy_out(&mut self, id: SlaveId, unit: Unit) {
        let row = self.row(id);
        if row.is_some_and(|row| row.epoch == unit.epoch && row.holding == Holding::Serving) {
            for frame in StateWriter::new(unit.shard, unit.epoch).end(Sequence(0)) {
                self.say(id, ToMaster::State(frame));
            }
        }
    }

    fn take_settled(&mut self, id: SlaveId, settled: &Settled) {
        let Some(row) = self.row(id) else {
            return;
        };
        let called_finished = row.window.held & !window::set(&settled.unfinished);
        let now = row.window.settle(&settled.unfinished);
        row.changed = true;
        self.judge_finished(called_finished);
        for number in window::numbers(now) {
            self.hand_out(id, number, true);
        }
        self.settle_if_settled(id);
    }

    /// What happened between the report and this was not reported.
    fn accepted(&mut self, id: SlaveId) {
        let slave = self.slave(id);
        slave.accepted = true;
        let Some(row) = &slave.row else {
            return;
        };
        let epoch = row.epoch.get();
        let again = match row.holding {
            Holding::Serving => Some(progress(0, epoch, Step::Serving)),
            Holding::Failed => Some(failed(0, epoch)),
            Holding::Sealed => row.seal.clone().map(|ticket| sealed_with(epoch, ticket)),
            Holding::Starting | Holding::Resuming => None,
        };
        let settled = row.settled.clone().map(ToMaster::Settled);
        for message in again.into_iter().chain(settled) {
            self.say(id, message);
        }
    }

    // ---- what it does by itself ----------------------------------------------

    /// RESUME.
    pub(super) fn connect(&mut self, id: SlaveId) {
        self.connected = Some(id);
        let row = self.row(id).unwrap();
        row.conn = Conn::Replaying;
        let epoch = row.epoch.get();
        self.say(id, progress(0, epoch, Step::Hello));
    }

    /// Another slave has its session.
    pub(super) fn closed(&mut self, id: SlaveId) {
        let row = self.row(id).unwrap();
        row.conn = Conn::Closed;
        let epoch = row.epoch;
        if row.late {
            self.seal(id, epoch);
        }
    }

    pub(super) fn receive(&mut self, id: SlaveId) {
        let row = self.row(id).unwrap();
        row.changed = true;
        let after_death = row.after_death;
        if let Receipt::HandOut { number, marked } = row.window.receive(after_death) {
            self.hand_out(id, number, marked);
        }
    }

    /// READY or RESUMED.
    pub(super) fn serves(&mut self, id: SlaveId) {
        let row = self.row(id).unwrap();
        row.conn = Conn::Up;
        row.holding = Holding::Serving;
        row.after_death = false;
        row.session_told = false;
        row.changed = true;
        let (ordered, epoch) = (std::mem::take(&mut row.ordered), row.epoch.get());
        self.tell_checkpoint(id);
        let answer = if ordered {
            resumed(0, epoch)
        } else {
            progress(0, epoch, Step::Serving)
        };
        self.say(id, answer);
    }

    pub(super) fn finish(&mut self, id: SlaveId, number: u8) {
        let row = self.row(id).unwrap();
        row.window.finish(number);
        row.changed = row.holding != Holding::Sealed;
        self.finished |= window::event(number);
        self.settle_if_settled(id);
    }

    pub(super) fn tell_checkpoint(&mut self, id: SlaveId) {
        let slave = self.slave(id);
        let accepted = slave.accepted;
        let Some(row) = slave.row.as_mut().filter(|row| accepted && row.changed) else {
            return;
        };
        row.changed = false;
        let told = std::mem::replace(&mut row.session_told, true);
        let ticket = row.window.ticket();
        let entry = CheckpointEntry {
            shard: SHARD,
            epoch: row.epoch,
            handled: ticket.handled,
            finished_above: ticket.finished_above.clone(),
            received: Sequence(0),
            session: (!told).then_some(ticket),
        };
        let shards = vec![entry];
        self.say(id, ToMaster::Checkpoint(Checkpoint { shards }));
    }

    /// Told to: what it still has is sealed.
    fn leave(&mut self, id: SlaveId) {
        let slave = self.slave(id);
        if std::mem::replace(&mut slave.leaving, true) {
            return;
        }
        let work = std::mem::take(&mut slave.work);
        let acting = slave.row.as_ref().filter(|row| row.acts());
        let epoch = acting.map(|row| row.epoch);
        if work > Epoch(0) {
            self.say(id, ToMaster::StopWork(super::super::work(work.get(), b"")));
        }
        if let Some(epoch) = epoch {
            self.seal(id, epoch);
        }
    }

    pub(super) fn exit(&mut self, id: SlaveId) {
        self.say(id, ToMaster::Shutdown);
        self.end(id);
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, id: SlaveId) {
        if let Some(link) = self.link_of(id) {
            link.cut = true;
        }
        self.end(id);
    }

    /// The process is no more. What it had said is still on its way.
    fn end(&mut self, id: SlaveId) {
        self.disconnect(id);
        self.slaves.remove(&id);
        self.dead.push(id);
        if let Some(link) = self.link_of(id) {
            link.slave_open = false;
            link.down.clear();
        }
        self.sweep();
    }
}
