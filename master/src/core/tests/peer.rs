//! A model slave: what it does with its orders, and how it gets further.

use baton_protocol::{message::Unit, state::StateFrame};
use bytes::Bytes;

use super::{
    model::{Row, World, ticket_of},
    *,
};

impl World {
    pub(super) fn say(&mut self, id: SlaveId, message: ToMaster) {
        if let Some(slave) = self.slaves.get_mut(&id)
            && slave.connected
        {
            slave.to_master.push_back(message);
        }
    }

    /// The master hears the next thing that a slave said.
    pub(super) fn hear(&mut self, id: SlaveId) {
        let Some(message) = self
            .slaves
            .get_mut(&id)
            .and_then(|s| s.to_master.pop_front())
        else {
            return;
        };
        if let Some(slave) = self.slaves.get_mut(&id) {
            slave.said = Some(message.clone());
        }
        let ends = message == ToMaster::Shutdown;
        self.input(Input::Said { slave: id, message });
        if ends {
            self.die(id);
        }
    }

    /// The master hears something again.
    pub(super) fn hear_twice(&mut self, id: SlaveId) {
        let again = self
            .slaves
            .get(&id)
            .filter(|s| s.connected)
            .and_then(|s| s.said.clone());
        if let Some(message) = again {
            self.input(Input::Said { slave: id, message });
        }
    }

    /// A slave obeys the next order.
    pub(super) fn obey(&mut self, id: SlaveId) {
        let Some(slave) = self.slaves.get_mut(&id).filter(|slave| !slave.hangs) else {
            return;
        };
        let Some(order) = slave.to_slave.pop_front() else {
            return;
        };
        if slave.leaving && !matches!(order, ToSlave::StopShard(_) | ToSlave::Shutdown) {
            return;
        }
        match order {
            ToSlave::FullStart(start) => {
                for unit in start.start.unwrap().shards {
                    self.started(id, unit, Holding::Starting, ticket_of(unit, 0));
                }
            }
            ToSlave::Resume(resume) => {
                let extra = resume.extra.unwrap();
                let unit = Unit {
                    shard: ShardId(resume.shard),
                    epoch: extra.epoch,
                };
                self.started(id, unit, Holding::Resuming, extra.ticket.unwrap());
            }
            ToSlave::StopShard(stop) => {
                let shard = ShardId(stop.shard);
                let epoch = stop.extra.unwrap().epoch;
                if let Some(row) = slave.rows.get_mut(&shard)
                    && row.epoch == epoch
                    && row.doing != Holding::Failed
                {
                    row.doing = Holding::Sealed;
                    let ticket = row.ticket.clone();
                    self.say(id, sealed_with(epoch.get(), ticket));
                    self.say(id, settled(stop.shard, epoch.get(), &[]));
                }
            }
            ToSlave::IdentifyPermit(unit) => {
                if let Some(row) = slave.rows.get_mut(&unit.shard)
                    && row.epoch == unit.epoch
                    && row.doing == Holding::Starting
                {
                    self.sessions += 1;
                    row.doing = Holding::Serving;
                    row.ticket = ticket_of(unit, self.sessions);
                    self.say_serving(id, unit);
                }
            }
            ToSlave::CopyState(unit) => {
                let mut body = vec![0; 24];
                body[..4].copy_from_slice(&unit.shard.get().to_le_bytes());
                body[8..16].copy_from_slice(&unit.epoch.get().to_le_bytes());
                let frame = StateFrame::from_body(101, Bytes::from(body)).unwrap();
                self.say(id, ToMaster::State(frame));
            }
            ToSlave::State(frame) => {
                let header = frame.header();
                self.say(id, state_ready(header.shard.get(), header.epoch.get(), 1));
            }
            ToSlave::ShardMigrationStart(start) => self.say(id, prepared(start.from_this_slave)),
            ToSlave::SoftStart => self.say(id, ToMaster::SoftStartComplete),
            ToSlave::Shutdown => {
                slave.leaving = false;
                self.terminate(id);
            }
            ToSlave::StopWork(work) => {
                if slave.work <= work.epoch {
                    slave.work = Epoch(0);
                    self.say(id, ToMaster::StopWork(work));
                }
            }
            ToSlave::StartWork(work) => {
                if slave.work <= work.epoch {
                    slave.work = work.epoch;
                    let epoch = work.epoch;
                    self.say(id, ToMaster::StartWork(work));
                    let by = self.worked.insert(epoch, id);
                    assert!(
                        by.is_none_or(|by| by == id),
                        "work at {epoch} by {by:?} and {id:?}"
                    );
                }
            }
            ToSlave::Forget(unit) => {
                if slave
                    .rows
                    .get(&unit.shard)
                    .is_some_and(|row| row.epoch < unit.epoch)
                {
                    slave.rows.remove(&unit.shard);
                }
            }
            ToSlave::Accepted(_) | ToSlave::Settled(_) | ToSlave::StateAck(_) => {}
            ToSlave::GuildState(_)
            | ToSlave::Welcome(_)
            | ToSlave::Refused(_)
            | ToSlave::Ping(_) => panic!("the core never says {order:?}"),
        }
        self.judge();
    }

    fn started(&mut self, id: SlaveId, unit: Unit, doing: Holding, ticket: Ticket) {
        let by = self.told.insert((unit.shard, unit.epoch), id);
        assert!(
            by.is_none_or(|by| by == id),
            "{unit:?} for {by:?} and {id:?}"
        );
        let slave = self.slaves.get_mut(&id).unwrap();
        match slave.rows.get(&unit.shard) {
            Some(row) if row.epoch > unit.epoch => return,
            Some(row) if row.epoch == unit.epoch => {
                if row.doing == Holding::Serving {
                    self.say_serving(id, unit);
                }
                return;
            }
            Some(_) | None => {}
        }
        let row = Row {
            epoch: unit.epoch,
            doing,
            ticket,
        };
        slave.rows.insert(unit.shard, row);
        if doing == Holding::Starting {
            let ask = wants_permit(unit.shard.get(), unit.epoch.get(), IdentifyCause::Cold);
            self.say(id, ask);
        }
    }

    fn say_serving(&mut self, id: SlaveId, unit: Unit) {
        let (shard, epoch) = (unit.shard.get(), unit.epoch.get());
        let Some(row) = self
            .slaves
            .get(&id)
            .and_then(|slave| slave.rows.get(&unit.shard))
        else {
            return;
        };
        let entry = CheckpointEntry {
            shard: unit.shard,
            epoch: unit.epoch,
            handled: row.ticket.handled,
            session: Some(row.ticket.clone()),
            ..CheckpointEntry::default()
        };
        let shards = vec![entry];
        self.say(id, ToMaster::Checkpoint(Checkpoint { shards }));
        self.say(id, progress(shard, epoch, Step::Serving));
        self.say(id, resumed(shard, epoch));
    }

    /// A slave that does not hang gets further with one of its shards.
    pub(super) fn live(&mut self, id: SlaveId, may_fail: bool) {
        let fails = may_fail && self.dice.one_in(12);
        let Some(slave) = self.slaves.get_mut(&id).filter(|slave| !slave.hangs) else {
            return;
        };
        let resuming = slave
            .rows
            .iter_mut()
            .find(|(_, row)| row.doing == Holding::Resuming);
        if let Some((&shard, row)) = resuming {
            let epoch = row.epoch;
            let unit = Unit { shard, epoch };
            if fails {
                row.doing = Holding::Failed;
                self.say(id, failed(shard.get(), epoch.get()));
            } else {
                row.doing = Holding::Serving;
                self.say_serving(id, unit);
            }
        } else if let Some((&shard, row)) = slave
            .rows
            .iter_mut()
            .find(|(_, row)| row.doing == Holding::Serving)
        {
            row.ticket.handled.0 += 1;
            row.ticket.state_at = row.ticket.handled;
            let entry = CheckpointEntry {
                shard,
                epoch: row.epoch,
                handled: row.ticket.handled,
                session: Some(row.ticket.clone()),
                ..CheckpointEntry::default()
            };
            let shards = vec![entry];
            self.say(id, ToMaster::Checkpoint(Checkpoint { shards }));
        }
        self.judge();
    }
}
