//! What a model slave does by itself: dial Discord, receive, hand out, finish,
//! tell, leave, die.

use baton_protocol::Version;

use super::{
    slave::{Conn, Flaw, Leaving},
    window::Receipt,
    *,
};

/// An event that is received is finished at once, one in so many times.
const AT_ONCE: u64 = 3;

impl World {
    pub(super) fn launch_by_hand(&mut self, role: Role, flaw: Flaw) -> SlaveId {
        let slot = self.dice.below(self.settings.slots.len());
        let slot = self.settings.slots[slot].name.clone();
        self.make_slave(role, slot, flaw)
    }

    pub(super) fn make_slave(&mut self, role: Role, slot: String, flaw: Flaw) -> SlaveId {
        let id = SlaveId(self.next_slave);
        self.next_slave += 1;
        let mut hello = hello(id, role);
        hello.slot = slot;
        // Builds of before and after a connection could be dialled ahead.
        hello.lowest = Version::OLDEST;
        hello.version = if self.dice.one_in(4) {
            Version(2)
        } else {
            Version::NEWEST
        };
        // Good builds ask for what the fleet has.
        if let Some(pinned) = &self.disk.synced.rows.pinned {
            let wrong = u64::from(flaw == Flaw::Intents);
            hello.parameters = parameters(intents(pinned) + wrong);
        }
        self.note(|| format!("{id:?} starts as {role:?}, {flaw:?}"));
        self.slaves.insert(id, Slave::new(hello, flaw));
        id
    }

    /// One step of one slave, if there is anything to do.
    pub(super) fn live(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        if slave.is_stopped() {
            return;
        }
        self.look_at_lease(id);
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        if slave.link.is_none() {
            self.dial(id);
            return;
        }
        let shards: Vec<_> = slave.rows.keys().copied().collect();
        if let Some(shard) = self.dice.pick(&shards) {
            self.live_shard(id, shard);
        }
        self.leave_when_done(id);
    }

    fn live_shard(&mut self, id: SlaveId, shard: ShardId) {
        if self.dice.one_in(4) {
            self.tell_checkpoint(id, shard);
            return;
        }
        let (now, flaw) = (self.now, self.slaves[&id].flaw);
        let row = self.row(id, shard).unwrap();
        match (row.holding, row.conn) {
            (Some(Holding::Starting), _) if row.permit => self.identify(id, shard),
            (Some(Holding::Starting), _) if row.waiting.is_none() => {
                row.waiting = Some(IdentifyCause::Cold);
                let epoch = row.epoch.get();
                self.say(id, wants_permit(shard.get(), epoch, IdentifyCause::Cold));
            }
            (Some(Holding::Starting), _) => {}
            (Some(Holding::Resuming | Holding::Serving), Conn::Closed) => match flaw {
                Flaw::Stalls => {}
                Flaw::FailsResume(code) => self.fail(id, shard, code),
                _ => self.resume_session(id, shard),
            },
            (Some(Holding::Resuming | Holding::Serving), Conn::Replaying | Conn::Up) => {
                if self.dice.one_in(2) {
                    self.finish_one(id, shard);
                } else {
                    self.receive(id, shard);
                }
            }
            (Some(Holding::Sealed), _) => {
                let settled = row.window.is_settled();
                if row.settled.is_none() && (settled || now >= row.drain_until) {
                    self.settle(id, shard);
                } else {
                    self.finish_one(id, shard);
                }
            }
            (Some(Holding::Failed) | None, _) => {}
        }
    }

    fn identify(&mut self, id: SlaveId, shard: ShardId) {
        if self.discord.is_down {
            return;
        }
        self.judge_identify(id, shard);
        let session = self.discord.identify(shard, id);
        let row = self.row(id, shard).unwrap();
        row.session = Some(session);
        row.window = window::Window::fresh();
        row.permit = false;
        row.conn = Conn::Up;
        row.ordered = false;
        row.session_told = false;
        let epoch = row.epoch.get();
        self.say(id, progress(shard.get(), epoch, Step::Hello));
        self.serves(id, shard);
    }

    fn resume_session(&mut self, id: SlaveId, shard: ShardId) {
        if self.discord.is_down {
            return;
        }
        let now = self.now;
        let row = self.row(id, shard).unwrap();
        let (epoch, session, from) = (row.epoch, row.session.unwrap(), row.window.received);
        if self.discord.resume(session, from, id, now) {
            let row = self.row(id, shard).unwrap();
            row.conn = Conn::Replaying;
            self.note(|| format!("{id:?} shard {shard}@{epoch} RESUME from {from}"));
            self.say(id, progress(shard.get(), epoch.get(), Step::Hello));
        } else {
            self.note(|| format!("{id:?} shard {shard}@{epoch} session lost"));
            let row = self.row(id, shard).unwrap();
            row.without_session();
            row.holding = Some(Holding::Starting);
            let cause = IdentifyCause::SessionLost;
            row.waiting = Some(cause);
            self.say(id, progress(shard.get(), epoch.get(), Step::SessionLost));
            self.say(id, wants_permit(shard.get(), epoch.get(), cause));
        }
    }

    fn receive(&mut self, id: SlaveId, shard: ShardId) {
        let row = self.row(id, shard).unwrap();
        let (session, conn, epoch) = (row.session.unwrap(), row.conn, row.epoch);
        if self.discord.sessions[session].connected != Some(id) {
            // Discord closed it, or another slave took it over.
            let row = self.row(id, shard).unwrap();
            row.conn = Conn::Closed;
            if row.late {
                let until = self.now + self.settings.drain;
                self.judge.sealed_late += 1;
                self.seal(id, shard, epoch, until);
                return;
            }
            self.say(id, progress(shard.get(), epoch.get(), Step::Reconnecting));
            return;
        }
        let last = self.discord.last(session);
        let row = self.row(id, shard).unwrap();
        if row.window.received < last {
            if conn == Conn::Replaying && std::mem::take(&mut row.untouched) {
                self.say(id, progress(shard.get(), epoch.get(), Step::Replaying));
            }
            let row = self.row(id, shard).unwrap();
            let (sequence, receipt) = row.window.receive(row.after_death);
            row.changed = true;
            if let Receipt::HandOut { marked } = receipt {
                self.judge_handed(id, shard, epoch, session, sequence, marked);
                if self.slaves[&id].flaw == Flaw::DiesOfEvents {
                    self.die(id);
                } else if self.dice.one_in(AT_ONCE) {
                    self.finish(id, shard, sequence);
                }
            }
        } else if conn == Conn::Replaying {
            row.conn = Conn::Up;
            row.after_death = false;
            row.session_told = false;
            self.serves(id, shard);
        }
    }

    /// READY or RESUMED.
    fn serves(&mut self, id: SlaveId, shard: ShardId) {
        let row = self.row(id, shard).unwrap();
        row.holding = Some(Holding::Serving);
        row.waiting = None;
        row.changed = true;
        let (ordered, epoch) = (std::mem::take(&mut row.ordered), row.epoch.get());
        self.tell_checkpoint(id, shard);
        let answer = if ordered {
            resumed(shard.get(), epoch)
        } else {
            progress(shard.get(), epoch, Step::Serving)
        };
        self.say(id, answer);
        self.note(|| format!("{id:?} serves shard {shard}@{epoch}"));
    }

    fn finish_one(&mut self, id: SlaveId, shard: ShardId) {
        let running: Vec<_> = self.row(id, shard).unwrap().window.running().collect();
        if let Some(sequence) = self.dice.pick(&running) {
            let slow = self.slaves[&id].flaw == Flaw::SlowHandlers;
            if !slow || self.dice.one_in(16) {
                self.finish(id, shard, sequence);
            }
        }
    }

    fn finish(&mut self, id: SlaveId, shard: ShardId, sequence: u64) {
        let row = self.row(id, shard).unwrap();
        row.window.finish(sequence);
        row.changed = true;
        let session = row.session.unwrap();
        self.discord.seen(session, sequence).finished = true;
    }

    fn tell_checkpoint(&mut self, id: SlaveId, shard: ShardId) {
        let accepted = self.slaves[&id].accepted;
        let row = self.row(id, shard).unwrap();
        let owned = row.acts() && row.session.is_some();
        if !accepted || !row.changed || !owned {
            return;
        }
        row.changed = false;
        let told = std::mem::replace(&mut row.session_told, true);
        let entry = CheckpointEntry {
            shard,
            epoch: row.epoch,
            handled: Sequence(row.window.handled),
            finished_above: row.window.finished_above(),
            received: Sequence(0),
            session: (!told).then(|| row.ticket(shard)),
        };
        let shards = vec![entry];
        self.say(id, ToMaster::Checkpoint(Checkpoint { shards }));
    }

    fn settle(&mut self, id: SlaveId, shard: ShardId) {
        let row = self.row(id, shard).unwrap();
        let unfinished = row.window.in_doubt();
        let settled = Settled {
            shard,
            epoch: row.epoch,
            unfinished: unfinished.clone(),
            events: Vec::new(),
        };
        row.settled = Some(settled.clone());
        if let Some(session) = row.session {
            // What another slave finished meanwhile is known by that one's word.
            for sequence in unfinished.iter() {
                let seen = self.discord.seen(session, sequence.get());
                seen.unsettled |= !seen.finished;
            }
        }
        self.say(id, ToMaster::Settled(settled));
    }

    fn fail(&mut self, id: SlaveId, shard: ShardId, code: u16) {
        let row = self.row(id, shard).unwrap();
        row.holding = Some(Holding::Failed);
        let (epoch, session) = (row.epoch, row.session);
        let touched = row.window.received > row.window.handled || !row.window.open.is_empty();
        if touched || !row.ordered {
            self.may_repeat(session);
        }
        if let Some(session) = session {
            // What it was may be known to nobody but a slave that gave it up.
            self.discord.sessions[session].excused = true;
        }
        self.say(
            id,
            ToMaster::Failed(Failed {
                shard,
                epoch,
                close_code: code,
                detail: "a bad build".to_owned(),
            }),
        );
    }

    /// SIGTERM, or told to: everything is sealed.
    pub(super) fn leave(&mut self, id: SlaveId, asked: bool) {
        let until = self.now + self.settings.drain;
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        if slave.is_stopped() || slave.leaving.is_some() {
            return;
        }
        slave.leaving = Some(Leaving { asked, until });
        let rows = slave.rows.iter();
        let owned: Vec<_> = rows
            .filter(|(_, row)| row.acts() || row.holding == Some(Holding::Failed))
            .map(|(&shard, row)| (shard, row.epoch))
            .collect();
        let work = std::mem::take(&mut slave.work);
        if work > Epoch(0) {
            self.say(id, ToMaster::StopWork(super::super::work(work.get(), b"")));
        }
        self.note(|| format!("{id:?} leaves"));
        for (shard, epoch) in owned {
            self.seal(id, shard, epoch, until);
        }
    }

    fn leave_when_done(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        let Some(leaving) = slave.leaving else {
            return;
        };
        let settled = slave.rows.values().all(|row| match row.holding {
            Some(Holding::Sealed) => row.settled.is_some(),
            Some(_) => false,
            None => true,
        });
        if settled || self.now >= leaving.until + SECOND / 2 {
            self.say(id, ToMaster::Shutdown);
            self.exit(id);
        }
    }

    /// `kill -9`.
    pub(super) fn die(&mut self, id: SlaveId) {
        self.note(|| format!("{id:?} is killed"));
        self.exit(id);
    }

    /// The process is no more. What it had said is still on its way.
    pub(super) fn exit(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get(&id) else {
            return;
        };
        let rows: Vec<_> = slave
            .rows
            .iter()
            .map(|(&s, row)| (s, row.clone()))
            .collect();
        for (shard, row) in rows {
            self.judge_end(id, shard, &row);
            for session in row.connections() {
                self.discord.close(session, id, self.now);
            }
        }
        self.judge_orders_lost(id);
        self.hang_up(id);
        self.slaves.remove(&id);
        self.dead.push(id);
        self.launched_exited(id);
        self.note(|| format!("{id:?} is dead"));
    }
}
