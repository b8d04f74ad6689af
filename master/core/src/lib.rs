//! The core: decides who serves which shard. Pure: an [`Input`] and the time go
//! in, [`Action`]s and the next deadline come out. It has no tokio, clock,
//! randomness or I/O, so that one seed replays one run.
//!
//! ```text
//!   Input ──▶ handle ──┬─ fleet/    who is there, whose shard is whose (the indexes)
//!   (+ time)           │    join       a slave comes; report: what it holds, lies: what of
//!                      │               that cannot be; end: it goes, dies
//!                      │    adopt      after a restart: whose every shard is
//!                      │    placement  a free shard gets a slave; launch: an empty slot a process
//!                      │    standby    somebody is ready to take over
//!                      │    leave      a slave is to end; fence: the operator says that it is dead
//!                      │    fares      what it says of itself: does it keep up
//!                      ├─ shard/    one shard, and what is known to hand it on
//!                      │    phase      whose it is; ticket: what its next owner goes on from
//!                      │    handover   a served shard moves:  copy ▶ dial ▶ seal ▶ resume
//!                      │    copy       its state on the way; resync: once more, after a lost link
//!                      │    in_doubt   what was running at the seal; late: a seal without silence
//!                      │    progress   what its owner says; plausible: what of that can be
//!                      │    reach      what is too old to be replayed; rate: how soon it will be
//!                      │    restart    it restarts in place; setback: what goes wrong
//!                      │    deaths     events that kill the process that has them
//!                      ├─ deploy/   a slot moves
//!                      │    begin      by whose wish; steps: canary ▶ width ▶ work ▶ soak ▶ retire
//!                      │    schedule   whose turn it is; in_flight: how many at once
//!                      │    gate       whether the new build is any good; bake: its canary,
//!                      │               dark: does it get anything at all
//!                      │    rollback   or not: aborted, rolled back, forced
//!                      │    pause      the operator holds it; report: what is told of it
//!                      ├─ work      the once-per-bot work follows
//!                      ├─ permits/  IDENTIFYs in legal pace: window, budget;
//!                      │               refusals: which fail, probe: one shard tries for all
//!                      ├─ learnt    what the service was found to refuse
//!                      ├─ master_stage  the master itself comes and leaves
//!                      └─ invariants    what holds between two inputs
//!   Action ◀── poll_action          out: what each part wants done, in its order
//!   Time   ◀── deadline             saves/: they stand before the sends that rely on them; timers
//! ```
//!
//! Two ways through it are worth reading first:
//!
//! - *A ticket*, from the answer to a seal to the RESUME of the next owner: here (`said`),
//!   `shard/handover` (`sealed`, `set_free`), `fleet/in_doubt`, `fleet/placement`
//!   (`place_free`, `start`, `send_resume`); what it says is judged in `shard/ticket`.
//! - *A deploy*, from its order to its end: `deploy/begin`, `deploy/steps`,
//!   `deploy/schedule`, `deploy/gate` and, where it fails, `deploy/rollback`.
//!
//! Each room changes its own state: the fleet with its shards, the deploys, the permits, the
//! work, and what was learnt of the service. It is handed the settings and an outbox
//! (`out.rs`) for everything else; the core itself only lets one room hear of what another
//! one did. What is a service's own is asked of a [`service::Service`], which is handed in.
//!
//! Three rules carry everything else:
//!
//! - A shard has one *claimant*, the only slave that may be serving it, at one
//!   epoch. It comes free only by the claimant's own word at that epoch, or when
//!   the claimant is known dead (`shard/phase.rs`). What anybody says at another epoch
//!   changes nothing.
//! - Every order to serve names an epoch that was never used before, and the
//!   reservation of that epoch is durable before the seal that it belongs to.
//! - A slot has one *target*: the slave that its shards are to be at. A deploy
//!   moves the target; failure moves it back. Free shards go to the target at
//!   once, served ones by migration. So going back is the same code as going on.

#[macro_use]
#[path = "../../../scripts/mutant.rs"]
mod mutants;

mod deploy;
pub mod event;
mod fleet;
mod invariants;
mod learnt;
mod master_stage;
mod out;
mod permits;
mod saves;
pub mod service;
pub mod settings;
mod shard;
#[cfg(test)]
mod tests;
mod timers;
pub mod view;
mod work;

use baton_protocol::{ShardId, SlaveId, ToMaster, message::Pong};

use self::{
    deploy::Deploys,
    event::JournalState,
    fleet::{Fleet, SlotId},
    learnt::Learnt,
    master_stage::MasterStage,
    out::Out,
    permits::Permits,
    shard::Phase,
    timers::Timer,
    work::WorkUnit,
};
pub use self::{
    event::{Action, Input, LastDeploy, Recovered, Time},
    settings::Settings,
    view::View,
};

/// The state of the whole fleet, and what is to be done about it.
///
/// Drive it with one loop: [`handle`](Self::handle) an input, carry out every
/// [`poll_action`](Self::poll_action) in order, sleep until the next input or
/// the [`deadline`](Self::deadline), which is answered by [`Input::Tick`].
#[derive(Clone, Debug)]
pub struct Core {
    settings: Settings,
    stage: MasterStage,
    // The rooms. Each has its own state and changes nothing of another.
    fleet: Fleet,
    deploys: Deploys,
    permits: Permits,
    work: WorkUnit,
    learnt: Learnt,
    // What they want done.
    out: Out,
}

impl Core {
    /// A core that knows what a journal gave back. It decides nothing until the
    /// adopt grace is over, or every slave of a whole journal that is alive joined
    /// (at the first start: at once).
    #[must_use]
    pub fn new(settings: Settings, recovered: Recovered, now: Time) -> Self {
        let journal = recovered.journal;
        let restarted = !recovered.shards.is_empty() || journal == JournalState::Lost;
        let (work, floor) = (recovered.work, recovered.floor);
        let (last, given_up) = (recovered.last_deploy.clone(), recovered.given_up.clone());
        let learnt = Learnt::new(recovered.late_seal_refused);
        let fleet = Fleet::new(&settings, recovered, now);
        let mut core = Self {
            out: Out::new(now),
            deploys: Deploys::recovered(last, given_up),
            permits: Permits::new(settings.permits_at_once),
            work: WorkUnit::new(work, journal, floor, settings.home(&fleet)),
            stage: MasterStage::Adopting,
            learnt,
            fleet,
            settings,
        };
        if restarted {
            core.permits
                .hold_off(now.after(core.settings.identify_window));
        }
        core.out.start(Timer::Adopt, core.settings.adopt_grace);
        core.out.start(Timer::Seen, core.settings.seen);
        core.end_adoption_early();
        core
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.out.begin(now, &input) {
            self.touch_all();
        }
        match input {
            Input::Joined { hello, report } => self.joined(*hello, report),
            Input::Said { slave, message } => self.said(slave, message),
            Input::Left { slave } => self.left(slave),
            Input::Died { slave, evidence } => self.died(slave, evidence),
            Input::Silent { slave } => self.silent(slave),
            Input::Launched { launch, pid } => self.candidate_launched(launch, pid),
            Input::LaunchFailed { launch, reason } => {
                // One that nobody waits for any more is of no interest.
                if !self.candidate_launch_failed(launch, &reason) {
                    self.fleet
                        .launch_failed(launch, &reason, &self.settings, &mut self.out);
                }
            }
            Input::Deploy { request, order } => self.deploy_asked(request, order),
            Input::Abort { request, slot } => self.abort_asked(request, slot.as_deref()),
            Input::Pause {
                request,
                slot,
                pause,
            } => self.pause_asked(request, slot.as_deref(), pause),
            Input::Restart { request, shard } => self.restart_asked(request, shard),
            Input::LateSealsAgain { request } => {
                self.learnt.try_late_again(request, &mut self.out);
            }
            Input::Identify { request } => {
                self.permits
                    .release(request, &self.fleet, &self.settings, &mut self.out);
            }
            Input::Settings(settings) => {
                self.settings.change(*settings);
                self.work_may_move();
                // There may be more standbys to start, or fewer.
                self.touch_all();
            }
            Input::Fence { request, slave } => self.fence(request, slave),
            Input::Leave => self.leave(),
            Input::Budget(budget) => {
                self.permits
                    .set_budget(budget, &self.fleet, &self.settings, &mut self.out)
            }
            Input::SaveFailed { reason } => self.save_failed(&reason),
            Input::Resumed => {
                self.out.restart_all();
                // No slave was heard.
                let slaves: Vec<SlaveId> = self.fleet.slaves.keys().copied().collect();
                slaves.into_iter().for_each(|slave| self.heard(slave));
            }
            Input::Tick => {
                while let Some(timer) = self.out.pop_due() {
                    self.due(timer);
                    self.advance();
                }
            }
        }
        self.advance();
        while self.deploys.make_room() {
            // For what another deploy has to move.
            self.out.touch_all(&self.deploys.slots());
            self.advance();
        }
        self.check_invariants();
    }

    /// The next thing to do. Carry it out before the next poll. When a save
    /// fails, poll no further and hand in [`Input::SaveFailed`]: the core takes
    /// back what is still queued.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.poll()
    }

    /// When [`Input::Tick`] is wanted next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.out.deadline()
    }

    /// What a joined slave said. A slave that has not joined is not listened to.
    fn heard(&mut self, slave: SlaveId) {
        let now = self.out.now;
        if let Some(slave) = self.fleet.slaves.get_mut(&slave) {
            slave.heard = now;
        }
    }

    fn said(&mut self, slave: SlaveId, message: ToMaster) {
        if !self.fleet.is_joined(slave) {
            return;
        }
        self.heard(slave);
        if shard_in(&message).is_some_and(|id| self.fleet.shards.get(id).is_none()) {
            return;
        }
        match message {
            ToMaster::ShardMigrationStart(answer) => self.prepared(slave, &answer),
            ToMaster::Sealed(sealed) => self.sealed(slave, *sealed),
            ToMaster::Resumed(unit) => {
                let now = self.out.now;
                self.fleet.resumed_late(slave, unit.shard, unit.epoch, now);
                self.served(slave, unit.shard, unit.epoch);
            }
            ToMaster::Shutdown => self.leaves_by_itself(slave),
            ToMaster::SoftStartComplete => self.fleet.built(slave),
            ToMaster::IdentifyRequest(request) => self.identify_asked(slave, request),
            ToMaster::Progress(progress) => self.progress(slave, &progress),
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
                self.hand_over(|handover| handover.dialled(slave, &dialled));
            }
            ToMaster::SealLate(unit) => self.fleet.seals_late(slave, unit, &mut self.out),
            ToMaster::Overtaken(overtaken) => self.handover().overtaken(slave, &overtaken),
            ToMaster::CopyAnew(unit) => self.handover().copy_asked_anew(slave, unit),
            ToMaster::Leave => self.asks_to_leave(slave),
            ToMaster::StateAck(ack) => self.fleet.state_ack(slave, ack, &mut self.out),
            ToMaster::State(frame) => {
                self.hand_over(|handover| handover.state_frame(slave, frame));
            }
            ToMaster::StopWork(answer) => self.work.stopped(slave, answer, &mut self.out),
            ToMaster::StartWork(answer) => self.work.started(slave, &answer, &mut self.out),
            ToMaster::Failed(failed) => self.failed(slave, &failed),
            ToMaster::Pong(pong) => self.pong(slave, pong),
        }
    }

    /// A deadline came.
    fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Adopt => self.end_adoption(),
            Timer::Leave => self.exit(),
            Timer::Deploy(slot) => self.deploy_due(slot),
            Timer::Work => self.work_due(),
            Timer::Tickets => self.fleet.write_tickets(&mut self.out),
            Timer::Seen => self.out.note_seen(self.settings.seen),
            Timer::Saves => self.save_again(),
            Timer::Budget => self
                .permits
                .budget_resets(&self.fleet, &self.settings, &mut self.out),
            Timer::Slot(slot) => {
                if self.is_idle(slot) {
                    self.fleet.slot_due(slot, &self.settings, &mut self.out);
                }
            }
            Timer::Standby(slot) => {
                let idle = self.is_idle(slot);
                self.fleet
                    .standby_due(slot, idle, &self.settings, &mut self.out);
            }
            Timer::Slave(slave) => self.slave_due(slave),
            Timer::Away(slave) => self.away_due(slave),
            Timer::Shard(shard) => self.shard_due(shard),
            Timer::Settle(shard) => self.fleet.settle_due(shard, &mut self.out),
            Timer::Permit(permit) => {
                self.permits
                    .due(permit, &self.fleet, &self.settings, &mut self.out)
            }
            Timer::Probe => self
                .permits
                .probe_due(&self.fleet, &self.settings, &mut self.out),
        }
    }

    /// Draws the conclusions of an input: free shards are placed, the deploy and
    /// the work take their next steps. Only slots that the input touched.
    fn advance(&mut self) {
        while let Some(slot) = self.out.pop_touched() {
            if self.stage == MasterStage::Adopting {
                continue;
            }
            // First the shards that no slave serves: they are in their gap.
            self.place_free(slot);
            self.advance_deploy(slot);
            self.place_free(slot);
            if self.is_idle(slot) {
                self.fleet.fill_slot(slot, &self.settings, &mut self.out);
                self.fleet
                    .keep_standbys(slot, &self.settings, &mut self.out);
            }
            self.advance_work();
        }
        if self.stage == MasterStage::Running {
            self.fleet.journal_is_intact_again(&mut self.out);
        }
        self.leave_when_done();
        let soon = self.settings.checkpoint_to_disk;
        self.out.write_tickets_soon(soon);
    }

    /// A slave says how it fares.
    fn pong(&mut self, id: SlaveId, mut pong: Pong) {
        let unfinished = std::mem::take(&mut pong.unfinished);
        self.fleet.unfinished_named(id, unfinished, self.out.now);
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        let silent = slave.fares(self.out.now, &pong);
        slave.keeps(pong.store.take());
        slave.backlog(id, &mut self.out);
        slave.clients_fare(id, pong.clients.take(), &mut self.out);
        self.heal(id, silent);
        self.judge(id, pong.number);
    }

    /// Whether this master sees to a slot, and no deploy of it does.
    fn is_idle(&self, slot: SlotId) -> bool {
        self.stage == MasterStage::Running && self.deploys.of(slot).is_none()
    }

    /// Something changed that may concern every slot.
    fn touch_all(&mut self) {
        self.out.touch_all(&self.fleet.slots.ids());
    }

    /// Puts a shard into a phase; the deadline of its phase before is void.
    fn enter(&mut self, shard: ShardId, phase: Phase) {
        self.fleet.enter(shard, phase, &mut self.out);
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
        | ToMaster::StopWork(_)
        | ToMaster::StartWork(_)
        | ToMaster::Pong(_) => return None,
    })
}
