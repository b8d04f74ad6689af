//! What a slave reports when it joins, compared with what we believe: claims are
//! confirmed, orders that were lost are repeated, and what is void is forgotten.

use std::collections::BTreeMap;

use baton_protocol::{
    ShardId, SlaveId, ToSlave,
    message::{Checkpoint, CheckpointEntry, Held, Holding, Report, ResumeAfter, Sealed, Unit},
};

use crate::{
    Core,
    event::{Basis, Durability, Entry, Hold},
    fleet::{Fleet, Origin, Past},
    master_stage::MasterStage,
    out::Out,
    shard::{Claim, ClaimStage, Doubt, How, Phase, Reach, Start},
};

impl Core {
    /// Compares everything that a slave holds with what we believe.
    pub(crate) fn report_in(&mut self, slave: SlaveId, report: &Report) {
        let mut said = BTreeMap::new();
        // Rows of shards that it brings, saved together.
        let mut rows = Vec::new();
        if let Some(known) = self.fleet.slaves.get_mut(&slave)
            && !report.shards.is_empty()
        {
            known.past = Past::Served;
        }
        for held in &report.shards {
            said.insert(held.ticket.shard, held.epoch);
            let held = self.fleet.believable(slave, held, &mut self.out);
            self.claim(slave, &held, &mut rows);
        }
        self.out.save(rows, Durability::Soon);
        let known = self.fleet.slaves.get(&slave);
        debug_assert!(known.is_some(), "slave {slave} has joined");
        let Some(holds) = known.map(|slave| slave.holds.clone()) else {
            return;
        };
        for id in holds {
            let ours = self.fleet.shards[id].phase.claimant();
            if ours.is_some_and(|(_, epoch)| said.get(&id) != Some(&epoch)) {
                self.unclaimed(slave, id);
            }
        }
        // Copies to this slave ended with its connection, and what it had dialled
        // may be gone.
        for id in self.handover().copies_to(slave) {
            self.handover().said_again(id);
        }
        self.work
            .reported(slave, report.work, &self.fleet, &mut self.out);
    }

    fn claim(&mut self, slave: SlaveId, held: &Held, rows: &mut Vec<Entry>) {
        let id = held.ticket.shard;
        let shard = &self.fleet.shards[id];
        let claimant = shard.phase.claimant();
        if claimant == Some((slave, held.epoch)) {
            self.claim_confirmed(slave, held);
            return;
        }
        if held.holding == Holding::Sealed {
            let sealed = (held.epoch, &held.ticket);
            self.fleet.seals_again(slave, id, sealed, &mut self.out);
        }
        let shard = &self.fleet.shards[id];
        let is_newer = held.epoch > shard.epoch;
        let may_be_its = match &shard.phase {
            // A row at a higher epoch is a reservation that was never used: the
            // seal comes first.
            Phase::Unknown { row } => {
                is_newer
                    || held.epoch == shard.epoch
                    || (matches!(row, Some((_, Hold::Reserved))) && self.fleet.is_journaled(slave))
            }
            // Believed dead by mistake, and no slave was told since.
            Phase::Free(free) => {
                is_newer || (held.epoch == shard.epoch && free.after == ResumeAfter::Death)
            }
            Phase::Claimed(_) => is_newer,
        };
        match held.holding {
            Holding::Starting | Holding::Resuming | Holding::Serving if may_be_its => {
                self.adopt(slave, held, rows);
            }
            Holding::Sealed if may_be_its => self.adopt_sealed(slave, held),
            Holding::Failed if may_be_its => self.fleet.adopt_failed(slave, held),
            Holding::Sealed
                if self.is_needed_frozen(slave, id) || self.fleet.settles(slave, held) =>
            {
                let shard = &mut self.fleet.shards[id];
                let stands = held.ticket.state_at.max(held.ticket.highest());
                shard.copies.insert(slave, stands);
                self.doubt_again(slave, held);
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
            | Holding::Failed => self.fleet.forget(slave, id, &mut self.out),
        }
    }

    /// Whether frozen state may be gone back to: in a deploy, and while it is not
    /// known whether one is under way.
    fn is_needed_frozen(&self, slave: SlaveId, id: ShardId) -> bool {
        let deploy = self.deploys.of(self.fleet.shards[id].slot);
        self.stage == MasterStage::Adopting
            || deploy.is_some_and(|deploy| deploy.from == Some(slave) || deploy.to() == Some(slave))
    }

    /// It still has what we believe that it has.
    fn claim_confirmed(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        let has_session = held.ticket.has_session();
        if held.holding == Holding::Serving && has_session {
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
            self.fleet
                .checkpoint(slave, Checkpoint { shards }, &mut self.out);
        }
        let now = self.out.now;
        let shard = &mut self.fleet.shards[id];
        if held.holding == Holding::Serving && shard.away.is_some() {
            // It may have resumed meanwhile; if it has not, it says so after its report.
            shard.is_live_again(now);
        }
        if !held.untouched {
            // That something came was said on a connection that is over.
            shard.phase.dispatched();
        }
        self.fleet
            .may_wait_for_settled(held, self.settings.drained(), &mut self.out);
        if held.holding == Holding::Starting && !has_session {
            // The session with which it was to go on is over.
            self.needs_session(id);
        }
        match held.holding {
            Holding::Starting | Holding::Resuming => self.handover().said_again(id),
            Holding::Serving => {
                self.served(slave, id, held.epoch);
                self.handover().serves_again(id);
            }
            Holding::Sealed => {
                let sealed = Sealed {
                    epoch: held.epoch,
                    ticket: held.ticket.clone(),
                };
                self.sealed(slave, sealed);
                self.ask_settled_again(slave, held);
            }
            Holding::Failed => {
                let failed = baton_protocol::message::Failed {
                    shard: id,
                    epoch: held.epoch,
                    close_code: 0,
                    detail: "the slave reports that it cannot serve it".to_owned(),
                };
                self.failed(slave, &failed);
            }
        }
    }

    /// Its report does not name a shard that we believe is its, at our epoch.
    fn unclaimed(&mut self, slave: SlaveId, id: ShardId) {
        let shard = &self.fleet.shards[id];
        debug_assert!(
            shard
                .phase
                .claimant()
                .is_some_and(|(owner, _)| owner == slave),
            "shard {id} is held by slave {slave}"
        );
        match (shard.phase.starting(), shard.phase.start()) {
            // The order was lost with the connection.
            (Some(_), _) => self.order_again(id),
            // So was the order to start; then there is nothing to seal.
            (
                None,
                Some(Start {
                    how: How::Resume(after),
                    reach: Reach::Nothing,
                }),
            ) => self.set_free(id, after),
            (None, _) => {
                self.out.alarm(format!(
                    "slave {slave} does not serve shard {id} any more, which was its own; it is \
                     resumed from its last checkpoint"
                ));
                self.set_free(id, ResumeAfter::Death);
            }
        }
    }

    /// The shard is its reporter's.
    fn adopt(&mut self, slave: SlaveId, held: &Held, rows: &mut Vec<Entry>) {
        let id = held.ticket.shard;
        let shard = &mut self.fleet.shards[id];
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
            self.fleet.drop_doubt(id, &mut self.out);
        }
        self.enter(id, Phase::Claimed(claim));
        self.out.ticket_changed(id);
        self.fleet
            .may_wait_for_settled(held, self.settings.drained(), &mut self.out);
        self.fleet.tell_settled(id, &mut self.out);
        if let Some((other, _)) = before
            && other != slave
        {
            self.fleet.forget(other, id, &mut self.out);
        }
    }

    fn adopt_sealed(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        self.fleet.adopt_ticket(slave, held, ResumeAfter::Seal);
        let shard = &mut self.fleet.shards[id];
        let stands = held.ticket.state_at.max(held.ticket.highest());
        shard.copies.insert(slave, stands);
        let kept = shard.ticket.as_ref();
        let is_newest = kept.is_none_or(|kept| kept.epoch == held.epoch);
        // The slave that resumed from this seal waits for the events in doubt at it.
        let is_waited_for = shard.basis == Basis::Seal(held.epoch) && shard.doubt.is_none();
        if is_newest || is_waited_for {
            let in_doubt = held.ticket.in_doubt.clone();
            self.fleet.doubt(
                id,
                slave,
                held.epoch,
                in_doubt,
                self.settings.drained(),
                &mut self.out,
            );
        }
        self.ask_settled_again(slave, held);
    }

    /// A slave still has what it sealed, and the shard is another's: that one may
    /// wait to be told what was in doubt, and the master that knew is no more.
    fn doubt_again(&mut self, slave: SlaveId, held: &Held) {
        let id = held.ticket.shard;
        let shard = &self.fleet.shards[id];
        let known = shard.doubt.as_ref().and_then(Doubt::sealer);
        let forgotten = shard.basis == Basis::Seal(held.epoch) && known.is_none();
        if forgotten {
            self.fleet.doubt(
                id,
                slave,
                held.epoch,
                held.ticket.in_doubt.clone(),
                self.settings.drained(),
                &mut self.out,
            );
        }
        self.ask_settled_again(slave, held);
    }

    /// The word that settles a seal may have been lost with the connection: the
    /// same question brings it again.
    fn ask_settled_again(&mut self, slave: SlaveId, held: &Held) {
        if self.fleet.settles(slave, held) {
            self.handover()
                .send_stop(held.ticket.shard, slave, held.epoch);
        }
    }
}

impl Fleet {
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
