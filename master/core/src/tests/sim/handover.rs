//! What a model slave does before it has a shard, and before it gives one away.

use baton_protocol::{
    message::{Dial, Dialled, Overtaken, Seal, Unit},
    state::{StateFrame, StateHeader},
};
use bytes::Bytes;

use super::{
    discord::session_of,
    slave::{Conn, Flaw, Row},
    *,
};

impl World {
    /// Seals when the connection ends; at once, where there is none.
    pub(super) fn seal_late(&mut self, id: SlaveId, late: Seal) {
        let Some(row) = self.row(id, late.shard) else {
            return;
        };
        if row.epoch == late.epoch && row.holding == Some(Holding::Serving) && row.conn == Conn::Up
        {
            row.late = true;
            let unit = Unit {
                shard: late.shard,
                epoch: late.epoch,
            };
            self.say(id, ToMaster::SealLate(unit));
        } else {
            let until = self.now + self.settings.drain;
            self.seal(id, late.shard, late.epoch, until);
        }
    }

    pub(super) fn overtake(&mut self, id: SlaveId, unit: Unit) {
        let held = self.row(id, unit.shard).and_then(|row| row.ahead);
        let failed = match held.filter(|held| held.0 == unit.epoch) {
            Some((_, session)) => self.discord.overtake(session, id, self.now),
            None => "no connection is held",
        };
        let overtaken = Overtaken {
            shard: unit.shard,
            epoch: unit.epoch,
            failed: failed.to_owned(),
        };
        self.judge.overtaken += u32::from(failed.is_empty());
        self.say(id, ToMaster::Overtaken(overtaken));
    }

    pub(super) fn copy_out(&mut self, id: SlaveId, unit: Unit) {
        let stateful = self.stateful;
        let Some(row) = self.row(id, unit.shard) else {
            return;
        };
        if row.epoch != unit.epoch || row.holding != Some(Holding::Serving) {
            return;
        }
        let mut body = vec![0; StateHeader::LENGTH];
        body[..4].copy_from_slice(&unit.shard.get().to_le_bytes());
        body[8..16].copy_from_slice(&unit.epoch.get().to_le_bytes());
        let at = if stateful { row.window.received } else { 0 };
        body[16..24].copy_from_slice(&at.to_le_bytes());
        body.extend((row.session.unwrap() as u64).to_le_bytes());
        let frame = StateFrame::from_body(101, Bytes::from(body)).unwrap();
        self.say(id, ToMaster::State(frame));
    }

    pub(super) fn copy_in(&mut self, id: SlaveId, frame: &StateFrame) {
        let header = frame.header();
        let number: [u8; 8] = frame.body()[StateHeader::LENGTH..].try_into().unwrap();
        let session = usize::try_from(u64::from_le_bytes(number)).unwrap();
        let slave = self.slaves.get_mut(&id).unwrap();
        let row = slave.rows.entry(header.shard).or_insert_with(Row::empty);
        let mut at = header.sequence;
        if row.epoch > Epoch(0) {
            if header.epoch <= row.epoch {
                return;
            }
            at = Sequence(row.window.received);
        } else if at > Sequence(0) {
            row.copied = Some((session, at.get()));
        }
        let ready = StateReady {
            shard: header.shard,
            epoch: header.epoch,
            state_at: at,
            pieces: u64::from(at > Sequence(0)),
        };
        row.state_ready = Some(ready);
        self.say(id, ToMaster::StateReady(ready));
    }

    pub(super) fn dial_discord(&mut self, id: SlaveId, dial: &Dial) {
        let failed = match self.slaves[&id].flaw {
            Flaw::DialsForEver => return,
            Flaw::FailsDial => "refused".to_owned(),
            Flaw::None
            | Flaw::NeverReady
            | Flaw::FailsResume(_)
            | Flaw::Stalls
            | Flaw::DiesOfEvents
            | Flaw::Intents
            | Flaw::SlowHandlers => String::new(),
        };
        if let Some(session) = session_of(&dial.ticket).filter(|_| failed.is_empty()) {
            let slave = self.slaves.get_mut(&id).unwrap();
            let row = slave.rows.entry(dial.shard).or_insert_with(Row::empty);
            row.ahead = Some((dial.epoch, session));
        }
        let dialled = Dialled {
            shard: dial.shard,
            epoch: dial.epoch,
            failed,
        };
        self.say(id, ToMaster::Dialled(dialled));
    }
}
