//! Which part an input goes to: what a slave says, and a deadline. Then what follows from it
//! for each slot that it touched: free shards are placed, its deploy and the work go on.

use baton_protocol::{
    ShardId, SlaveId, ToMaster,
    message::{Failed, Pong, Sealed},
};

use crate::{
    Core, fleet::SlotId, master_stage::MasterStage, shard::Handover, timers::Timer, work::Overdue,
};

impl Core {
    /// A slave lives.
    pub(crate) fn heard(&mut self, slave: SlaveId) {
        let now = self.out.now;
        if let Some(slave) = self.fleet.slaves.get_mut(&slave) {
            slave.heard = now;
        }
    }

    /// What a joined slave said. A slave that has not joined is not listened to.
    pub(crate) fn said(&mut self, slave: SlaveId, message: ToMaster) {
        if !self.fleet.is_joined(slave) {
            return;
        }
        self.heard(slave);
        if shard_in(&message).is_some_and(|id| self.fleet.shards.get(id).is_none()) {
            return;
        }
        match message {
            ToMaster::ShardMigrationStart(answer) => {
                self.deploys.prepared(slave, &answer, &mut self.out);
            }
            ToMaster::Sealed(sealed) => self.sealed(slave, *sealed),
            ToMaster::Resumed(unit) => {
                let now = self.out.now;
                self.fleet.resumed_late(slave, unit.shard, unit.epoch, now);
                self.ownership().served(slave, unit.shard, unit.epoch);
            }
            ToMaster::Shutdown => self.succession().leaves_by_itself(slave),
            ToMaster::SoftStartComplete => self.fleet.built(slave),
            ToMaster::IdentifyRequest(request) => self.ownership().identify_asked(slave, request),
            ToMaster::Progress(progress) => {
                self.handover().prepares(slave, &progress);
                self.ownership().progress(slave, &progress);
            }
            ToMaster::Checkpoint(checkpoint) => {
                self.fleet.checkpoint(slave, checkpoint, &mut self.out)
            }
            ToMaster::Settled(settled) => {
                let replays = self.learnt.replays(&self.settings);
                self.fleet.settled(slave, settled, replays, &mut self.out);
            }
            ToMaster::Trying(trying) => self.fleet.trying(slave, trying, &mut self.out),
            ToMaster::SetAside(aside) => {
                self.fleet.event_set_aside(slave, *aside, &mut self.out);
            }
            ToMaster::StateReady(ready) => self.handover().state_ready(slave, ready),
            ToMaster::Dialled(dialled) => {
                let dialled = |way: &mut Handover<'_>| way.dialled(slave, &dialled);
                self.succession().hand_over(dialled);
            }
            ToMaster::SealLate(unit) => self.fleet.seals_late(slave, unit, &mut self.out),
            ToMaster::Overtaken(overtaken) => self.handover().overtaken(slave, &overtaken),
            ToMaster::CopyAnew(unit) => self.handover().copy_asked_anew(slave, unit),
            ToMaster::Leave => self.succession().asks_to_leave(slave),
            ToMaster::StateAck(ack) => self.fleet.state_ack(slave, ack, &mut self.out),
            ToMaster::State(frame) => {
                let passed_on = |way: &mut Handover<'_>| way.state_frame(slave, frame);
                self.succession().hand_over(passed_on);
            }
            ToMaster::StopWork(answer) => self.work.stopped(slave, answer, &mut self.out),
            ToMaster::StartWork(answer) => self.work.started(slave, &answer, &mut self.out),
            ToMaster::PermitsWanted(wanted) => {
                let (fleet, settings, out) = (&self.fleet, &self.settings, &mut self.out);
                self.named.wanted(slave, wanted, fleet, settings, out);
            }
            ToMaster::Post(post) => self.letters().posted(slave, post),
            ToMaster::Failed(failed) => self.failed(slave, &failed),
            ToMaster::Pong(pong) => self.pong(slave, pong),
        }
    }

    /// It sealed a shard. One that seals unasked leaves by itself.
    pub(crate) fn sealed(&mut self, from: SlaveId, sealed: Sealed) {
        if self.ownership().sealed(from, sealed) {
            self.succession().leaves_by_itself(from);
        }
    }

    /// Its owner cannot serve a shard and let go of it. In a deploy the target
    /// goes back; otherwise it is tried again after a while, or by another slave.
    pub(crate) fn failed(&mut self, from: SlaveId, failed: &Failed) {
        let id = failed.shard;
        if let Some((_, to)) = self.fleet.copying(id, failed.epoch)
            && to == from
        {
            let refused = |way: &mut Handover<'_>| way.copy_refused(id, &failed.detail);
            return self.succession().hand_over(refused);
        }
        let shard = &mut self.fleet.shards[id];
        if !shard.phase.is_claimed_by(from, failed.epoch) {
            return;
        }
        let failure = shard.fails();
        let why = self.settings.service.words(failed);
        let moves = self.deploys.moves.of(id);
        self.succession().move_refused(id, from, &why);
        self.ownership().set_free(id, failure.after);
        let slot = self.fleet.shards[id].slot;
        if moves.is_none() {
            self.succession().deploy_shard_failed(id, from, &why);
        }
        if self.deploys.target(slot, &self.fleet) == Some(from) {
            let (settings, out) = (&self.settings, &mut self.out);
            self.fleet.waits_after(failure, from, failed, settings, out);
        }
    }

    /// A slave says how it fares.
    fn pong(&mut self, id: SlaveId, mut pong: Pong) {
        self.fleet.lease_answered(id, &pong, &mut self.out);
        let unfinished = std::mem::take(&mut pong.unfinished);
        self.fleet.unfinished_named(id, unfinished, self.out.now);
        let of_sink = pong.sink.as_ref();
        let reach = of_sink.map(|_| self.fleet.reach(id, &self.settings, self.out.now));
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        let silent = slave.fares(self.out.now, &pong);
        slave.keeps(pong.store.take());
        slave.backlog(id, &mut self.out);
        slave.clients_fare(id, pong.clients.take(), &mut self.out);
        slave.sink_fares(id, pong.sink.take().zip(reach), &mut self.out);
        slave.memory = pong.memory;
        self.succession().heal(id, silent);
        self.succession().judge(id, pong.number);
        self.succession().relieves(id);
    }

    /// A deadline came.
    pub(crate) fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Adopt => self.end_adoption(),
            Timer::Leave => self.exit(),
            Timer::Deploy(slot) => self.succession().deploy_due(slot),
            Timer::Work => self.work_due(),
            Timer::Tickets => self.fleet.write_tickets(&mut self.out),
            Timer::Seen => {
                if self.out.note_seen(self.settings.seen) {
                    self.fleet.leads(&mut self.out);
                }
            }
            Timer::Saves => self.handover().save_again(),
            Timer::Budget => self
                .permits
                .budget_resets(&self.fleet, &self.settings, &mut self.out),
            Timer::Slot(slot) => {
                // Whoever is started while nothing can be saved gets no shard. That saves work
                // again touches every slot.
                let waits =
                    self.fleet.held || (self.out.saves.fail() && !mutant!("launched-unsaved"));
                if self.is_idle(slot) && !waits {
                    self.fleet.slot_due(slot, &self.settings, &mut self.out);
                }
            }
            Timer::Standby(slot) => {
                if !self.fleet.slots.has(slot) {
                    return;
                }
                let idle = self.is_idle(slot) && !self.fleet.held;
                self.fleet
                    .standby_due(slot, idle, &self.settings, &mut self.out);
            }
            Timer::Slave(slave) => {
                self.fleet.slave_due(slave, &self.settings, &mut self.out);
            }
            Timer::Lease(slave) => self.lease_due(slave),
            Timer::Moves => self.deploys.moves.due(&mut self.out),
            Timer::Away(slave) => self.succession().away_due(slave),
            Timer::Shard(shard) => self.succession().hand_over(|way| way.shard_due(shard)),
            Timer::Settle(shard) => self.fleet.settle_due(shard, &mut self.out),
            Timer::Permit(permit) => {
                self.permits
                    .due(permit, &self.fleet, &self.settings, &mut self.out)
            }
            Timer::Named => self.named.lease(&self.fleet, &self.settings, &mut self.out),
            Timer::Probe => self
                .permits
                .probe_due(&self.fleet, &self.settings, &mut self.out),
        }
    }

    /// Draws the conclusions of an input: free shards are placed, the deploy and
    /// the work take their next steps. Only slots that the input touched.
    pub(crate) fn advance(&mut self) {
        self.killed_are_dead();
        self.look_at_touched();
        while self.succession().advance_moves() {
            self.look_at_touched();
        }
        if self.stage == MasterStage::Running {
            self.fleet.journal_is_intact_again(&mut self.out);
        }
        self.leave_when_done();
        let soon = self.settings.checkpoint_to_disk;
        self.out.write_tickets_soon(soon);
    }

    fn look_at_touched(&mut self) {
        while let Some(slot) = self.out.pop_touched() {
            match self.stage {
                MasterStage::Adopting | MasterStage::Left => continue,
                MasterStage::Running | MasterStage::Leaving => {}
            }
            if !self.fleet.slots.has(slot) {
                continue;
            }
            // First the shards that no slave serves: they are in their gap.
            self.handover().place_free(slot);
            self.succession().advance_deploy(slot);
            self.handover().place_free(slot);
            if self.is_idle(slot) && !self.fleet.held {
                self.fleet.fill_slot(slot, &self.settings, &mut self.out);
                self.fleet
                    .keep_standbys(slot, &self.settings, &mut self.out);
            }
            self.advance_work();
        }
    }

    /// No answer. A slave that does not stop the work is killed, as one that does
    /// not seal; one that does not start it fails its deploy.
    fn work_due(&mut self) {
        let overdue = (self.work).due(&self.fleet, &self.settings, &mut self.out);
        let drained = self.settings.drained();
        self.succession().hand_over(|way| match overdue {
            Some(Overdue::Stop(owner)) => {
                let why = "it did not stop the once-per-bot work";
                way.hangs_unless_unseen(owner, drained, why)
            }
            Some(Overdue::Start(owner)) => {
                let why = "it did not start the once-per-bot work";
                way.deploys.lost_soon(owner, why)
            }
            None => Ok(()),
        });
    }

    /// The work takes its next step, where it is known to whom.
    fn advance_work(&mut self) {
        if self.stage != MasterStage::Running {
            return;
        }
        // Whose it was may be of another slot: the settings may have moved it.
        self.work
            .resolve(&self.fleet.missing_anywhere(), self.fleet.journal);
        // Where the next owner prepares, its units may wait for the work, which knows what they are
        // to do.
        let held_up =
            self.permits.are_held_up(&self.settings, self.out.now) || self.settings.overlaps();
        if let Some(target) = self.work.target(&self.fleet, &self.deploys, held_up) {
            let (fleet, settings) = (&self.fleet, &self.settings);
            self.work.advance(target, fleet, settings, &mut self.out);
        }
    }

    /// Whether this master sees to a slot, and no deploy of it does.
    fn is_idle(&self, slot: SlotId) -> bool {
        self.stage == MasterStage::Running
            && self.fleet.slots.has(slot)
            && self.deploys.of(slot).is_none()
    }

    /// Something changed that may concern every slot.
    pub(crate) fn touch_all(&mut self) {
        self.out.touch_all(&self.fleet.slots.ids());
    }
}

/// The one shard that a message is about. A checkpoint and a pong name several, and are
/// looked at one by one.
fn shard_in(message: &ToMaster) -> Option<ShardId> {
    Some(match message {
        ToMaster::Sealed(sealed) => sealed.ticket.shard,
        ToMaster::IdentifyRequest(request) => request.shard,
        ToMaster::Progress(progress) => progress.shard,
        ToMaster::Settled(settled) => settled.shard,
        ToMaster::Trying(trying) => trying.shard,
        ToMaster::SetAside(aside) => aside.shard,
        ToMaster::StateReady(ready) => ready.shard,
        ToMaster::Dialled(dialled) => dialled.shard,
        ToMaster::Resumed(unit) | ToMaster::SealLate(unit) | ToMaster::CopyAnew(unit) => unit.shard,
        ToMaster::Overtaken(overtaken) => overtaken.shard,
        ToMaster::StateAck(ack) => ack.shard,
        ToMaster::State(frame) => frame.header().shard,
        ToMaster::Failed(failed) => failed.shard,
        ToMaster::ShardMigrationStart(_)
        | ToMaster::Shutdown
        | ToMaster::SoftStartComplete
        | ToMaster::Checkpoint(_)
        | ToMaster::Leave
        | ToMaster::PermitsWanted(_)
        | ToMaster::Post(_)
        | ToMaster::StopWork(_)
        | ToMaster::StartWork(_)
        | ToMaster::Pong(_) => return None,
    })
}
