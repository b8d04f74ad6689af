//! What a slave reports when it joins, compared with what we believe: claims are
//! confirmed, orders that were lost are repeated, and what is void is forgotten.

use std::time::Duration;

use baton_protocol::{
    ShardId, SlaveId, ToSlave,
    message::{Checkpoint, CheckpointEntry, Held, Holding, ResumeAfter, Seal, Unit},
};

use crate::{
    event::{Basis, Entry, Hold},
    fleet::{Fleet, Origin},
    out::Out,
    settings::Settings,
    shard::{Claim, ClaimStage, Doubt, How, Phase, Reach, Start},
};

impl Fleet {
    /// A slave says that it holds a shard. Whether that is what we believe, so that what it
    /// says of it counts as ever. `frozen`: whether its frozen state may be gone back to.
    pub(crate) fn claims(
        &mut self,
        slave: SlaveId,
        held: &Held,
        frozen: bool,
        rows: &mut Vec<Entry>,
        settings: &Settings,
        out: &mut Out,
    ) -> bool {
        let id = held.ticket.shard;
        let shard = &self.shards[id];
        let claimant = shard.phase.claimant();
        if claimant == Some((slave, held.epoch)) {
            return true;
        }
        if held.holding == Holding::Sealed {
            let sealed = (held.epoch, &held.ticket);
            self.seals_again(slave, id, sealed, out);
        }
        let shard = &self.shards[id];
        let is_newer = held.epoch > shard.epoch;
        let may_be_its = match &shard.phase {
            // A row at a higher epoch is a reservation that was never used: the
            // seal comes first.
            Phase::Unknown { row } => {
                is_newer
                    || held.epoch == shard.epoch
                    || (matches!(row, Some((_, Hold::Reserved))) && self.is_journaled(slave))
            }
            // Believed dead by mistake, and no slave was told since.
            Phase::Free(free) => {
                is_newer || (held.epoch == shard.epoch && free.after == ResumeAfter::Death)
            }
            Phase::Claimed(_) => is_newer,
        };
        match held.holding {
            Holding::Starting | Holding::Resuming | Holding::Serving if may_be_its => {
                self.adopt(slave, held, rows, settings.drained(), out);
            }
            Holding::Sealed if may_be_its => self.adopt_sealed(slave, held, rows, settings, out),
            Holding::Failed if may_be_its => self.adopt_failed(slave, held),
            Holding::Sealed if frozen || self.settles(slave, held) => {
                let shard = &mut self.shards[id];
                let stands = held.ticket.state_at.max(held.ticket.highest());
                shard.copies.insert(slave, stands);
                self.doubt_again(slave, held, settings, out);
            }
            // It is to have the shard again at a later epoch, which it has not
            // heard of: what it has is what it goes on with.
            Holding::Starting
            | Holding::Resuming
            | Holding::Serving
            | Holding::Sealed
            | Holding::Failed
                if claimant.is_some_and(|(owner, _)| owner == slave) => {}
            Holding::Starting
            | Holding::Resuming
            | Holding::Serving
            | Holding::Sealed
            | Holding::Failed => self.forget(slave, id, out),
        }
        false
    }

    /// It still has what we believe that it has.
    pub(crate) fn confirms(
        &mut self,
        slave: SlaveId,
        held: &Held,
        drained: Duration,
        out: &mut Out,
    ) {
        let id = held.ticket.shard;
        if held.holding == Holding::Serving && held.ticket.has_session() {
            // What it said of it before may have been lost with the connection.
            let entry = CheckpointEntry {
                shard: id,
                epoch: held.epoch,
                handled: held.ticket.handled,
                finished_above: held.ticket.finished_above.clone(),
                received: held.ticket.highest(),
                session: Some(held.ticket.clone()),
            };
            let shards = vec![entry];
            self.checkpoint(slave, Checkpoint { shards }, out);
        }
        let shard = &mut self.shards[id];
        if held.holding == Holding::Serving && shard.away.is_some() {
            // It may have resumed meanwhile; if it has not, it says so after its report.
            shard.is_live_again(out.now);
        }
        if !held.untouched {
            // That something came was said on a connection that is over.
            shard.phase.dispatched();
        }
        self.may_wait_for_settled(held, drained, out);
    }

    /// The shard is its reporter's.
    fn adopt(
        &mut self,
        slave: SlaveId,
        held: &Held,
        rows: &mut Vec<Entry>,
        drained: Duration,
        out: &mut Out,
    ) {
        let id = held.ticket.shard;
        let shard = &mut self.shards[id];
        let before = shard.phase.claimant();
        let hold = match held.holding {
            Holding::Serving => Hold::Owned,
            Holding::Starting | Holding::Resuming | Holding::Sealed | Holding::Failed => {
                Hold::Reserved
            }
        };
        let journaled = shard.phase.row() == Some((slave, hold));
        if held.epoch > shard.epoch {
            shard.basis = Basis::Death;
        }
        if held.epoch > shard.epoch || (held.epoch == shard.epoch && !journaled) {
            // A journal that was lost does not name it.
            rows.push(Entry::Owner {
                shard: id,
                epoch: held.epoch,
                owner: slave,
                hold,
                basis: shard.basis,
            });
        }
        shard.used_up(held.epoch, slave);
        shard.away = None;
        let after = match shard.basis {
            Basis::Cold | Basis::Seal(_) if held.epoch == shard.epoch => ResumeAfter::Seal,
            Basis::Cold | Basis::Seal(_) | Basis::Death => ResumeAfter::Death,
        };
        shard.replays = match held.holding {
            Holding::Resuming => after,
            Holding::Starting | Holding::Serving | Holding::Sealed | Holding::Failed => {
                ResumeAfter::Seal
            }
        };
        shard.keep(held.ticket.clone(), held.epoch, ResumeAfter::Death);
        let stage = match held.holding {
            Holding::Serving => ClaimStage::Serving,
            Holding::Starting | Holding::Resuming | Holding::Sealed | Holding::Failed => {
                ClaimStage::Starting(Start {
                    how: match shard.ticket {
                        Some(_) => How::Resume(after),
                        None => How::Full,
                    },
                    reach: Reach::of(held),
                })
            }
        };
        let claim = Claim {
            owner: slave,
            epoch: held.epoch,
            stage,
        };
        // What was in doubt when it was sealed for this slave still is.
        let of_this_seal = shard
            .doubt
            .as_ref()
            .is_some_and(|doubt| doubt.sealer() != Some(slave) && doubt.epoch() < held.epoch);
        if !of_this_seal {
            self.drop_doubt(id, out);
        }
        if let Some(slot) = self.slaves.get(&slave).map(|slave| slave.slot) {
            // It may be to be in another slot: then it moves.
            self.belongs(id, slot, out);
        }
        self.enter(id, Phase::Claimed(claim), out);
        out.ticket_changed(id);
        self.may_wait_for_settled(held, drained, out);
        self.tell_settled(id, out);
        if let Some((other, _)) = before
            && other != slave
        {
            self.forget(other, id, out);
        }
    }

    fn adopt_sealed(
        &mut self,
        slave: SlaveId,
        held: &Held,
        rows: &mut Vec<Entry>,
        settings: &Settings,
        out: &mut Out,
    ) {
        let id = held.ticket.shard;
        self.adopt_beginning(slave, held, rows);
        self.adopt_ticket(slave, held, ResumeAfter::Seal);
        let shard = &mut self.shards[id];
        let stands = held.ticket.state_at.max(held.ticket.highest());
        shard.copies.insert(slave, stands);
        let kept = shard.ticket.as_ref();
        let is_newest = kept.is_none_or(|kept| kept.epoch == held.epoch);
        // The slave that resumed from this seal waits for the events in doubt at it.
        let is_waited_for = shard.basis == Basis::Seal(held.epoch) && shard.doubt.is_none();
        if is_newest || is_waited_for {
            let in_doubt = held.ticket.in_doubt.clone();
            self.doubt(id, slave, held.epoch, in_doubt, settings.drained(), out);
        }
        self.ask_settled_again(slave, held, settings.drain, out);
    }

    /// A slave that was to go on after a death, and sealed another session than the one that
    /// was known, began that one at this epoch: nothing in it was replayed, and nobody had it
    /// before. No master was there when it did; it sealed itself, its lease being over.
    fn adopt_beginning(&mut self, slave: SlaveId, held: &Held, rows: &mut Vec<Entry>) {
        let id = held.ticket.shard;
        let shard = &mut self.shards[id];
        let Some((owner, hold)) = shard.phase.row() else {
            return;
        };
        let is_known = shard
            .ticket
            .as_ref()
            .is_some_and(|kept| kept.ticket.session.is_same(&held.ticket.session));
        let is_its = (owner, shard.epoch, shard.basis) == (slave, held.epoch, Basis::Death);
        if is_its && !is_known && held.ticket.has_session() {
            shard.basis = Basis::Cold;
            rows.push(Entry::Owner {
                shard: id,
                epoch: held.epoch,
                owner,
                hold,
                basis: Basis::Cold,
            });
        }
    }

    /// A slave still has what it sealed, and the shard is another's: that one may
    /// wait to be told what was in doubt, and the master that knew is no more.
    fn doubt_again(&mut self, slave: SlaveId, held: &Held, settings: &Settings, out: &mut Out) {
        let id = held.ticket.shard;
        let shard = &self.shards[id];
        let known = shard.doubt.as_ref().and_then(Doubt::sealer);
        let forgotten = shard.basis == Basis::Seal(held.epoch) && known.is_none();
        if forgotten {
            self.doubt(
                id,
                slave,
                held.epoch,
                held.ticket.in_doubt.clone(),
                settings.drained(),
                out,
            );
        }
        self.ask_settled_again(slave, held, settings.drain, out);
    }

    /// The word that settles a seal may have been lost with the connection: the
    /// same question brings it again.
    pub(crate) fn ask_settled_again(
        &self,
        slave: SlaveId,
        held: &Held,
        drain: Duration,
        out: &mut Out,
    ) {
        if self.settles(slave, held) {
            let seal = Seal {
                shard: held.ticket.shard,
                epoch: held.epoch,
                drain,
                begins: None,
            };
            out.send(slave, ToSlave::Seal(seal));
        }
    }

    /// Whether the journal named this slave: one that it does not was given up
    /// before, and what it says at an older epoch is void.
    fn is_journaled(&self, slave: SlaveId) -> bool {
        self.slaves
            .get(&slave)
            .is_some_and(|slave| slave.origin == Origin::Journal)
    }

    /// Whether its word is waited for: what was in doubt when it sealed.
    fn settles(&self, slave: SlaveId, held: &Held) -> bool {
        let doubt = self.shards[held.ticket.shard].doubt.as_ref();
        doubt.is_some_and(|doubt| doubt.waits_for(slave, held.epoch))
    }

    fn adopt_ticket(&mut self, slave: SlaveId, held: &Held, after: ResumeAfter) {
        let id = held.ticket.shard;
        let shard = &mut self.shards[id];
        if shard
            .ticket
            .as_ref()
            .is_none_or(|kept| kept.epoch <= held.epoch)
        {
            shard.used_up(held.epoch, slave);
            shard.keep(held.ticket.clone(), held.epoch, after);
        }
    }

    /// One that failed before anything came leaves the seal that it went on from. A
    /// row of a later epoch that goes on from there says so, too: the master before
    /// knew that nothing came.
    fn adopt_failed(&mut self, slave: SlaveId, held: &Held) {
        let shard = &mut self.shards[held.ticket.shard];
        match (shard.basis, &shard.ticket) {
            (Basis::Seal(seal), kept)
                if seal < held.epoch && (held.untouched || held.epoch < shard.epoch) =>
            {
                // Its sealer may have reported, and settled, more.
                if kept.as_ref().is_none_or(|kept| {
                    (kept.epoch, kept.after) != (seal, ResumeAfter::Seal)
                        && kept.epoch <= held.epoch
                }) {
                    shard.used_up(held.epoch, slave);
                    shard.keep(held.ticket.clone(), seal, ResumeAfter::Seal);
                }
            }
            (Basis::Cold | Basis::Death | Basis::Seal(_), _) => {
                self.adopt_ticket(slave, held, ResumeAfter::Death);
            }
        }
    }

    /// A higher epoch exists: everything this slave has of the shard is void.
    pub(crate) fn forget(&self, slave: SlaveId, id: ShardId, out: &mut Out) {
        let shard = &self.shards[id];
        let epoch = shard.epoch;
        out.send(slave, ToSlave::Forget(Unit { shard: id, epoch }));
    }
}
