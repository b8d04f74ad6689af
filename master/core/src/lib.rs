//! The core: decides who serves which shard. Pure: an [`Input`] and the time go
//! in, [`Action`]s and the next deadline come out. It has no tokio, clock,
//! randomness or I/O, so that one seed replays one run.
//!
//! ```text
//!   Input ──▶ handle ──┬─ dispatch    which part it goes to, and what follows from it
//!   (+ time)           ├─ comes_and_goes  a slave comes or dies: every room hears of it
//!                      ├─ master_stage    the master itself comes and leaves
//!                      ├─ fleet/    who is there, whose shard is whose (the indexes)
//!                      │    join       a slave is let in; report: what it holds, lies: what of
//!                      │               that cannot be; end: it goes, dies
//!                      │    adopt      after a restart: whose every shard is
//!                      │    placement  a free shard gets a slave; launch: an empty slot a process
//!                      │    standby    somebody is ready to take over
//!                      │    leave      a slave is to end; fence: the operator says that it is dead,
//!                      │               lease: its silence does
//!                      │    fares      what it says of itself: does it keep up
//!                      │    deaths, reach, in_doubt   what follows from the rules of the same
//!                      │               names in shard/
//!                      ├─ shard/    one shard, and what is known to hand it on
//!                      │    phase      whose it is; ticket: what its next owner goes on from
//!                      │    ownership  its owner sealed it, or serves it; progress: how far it is
//!                      │    handover   a served shard moves:  copy ▶ dial ▶ seal ▶ resume
//!                      │    copy       its state on the way; resync: once more, after a lost link
//!                      │    in_doubt   what was running at the seal; late: a seal without silence
//!                      │    plausible  what of its owner's words can be
//!                      │    reach      what is too old to be replayed; rate: how soon it will be
//!                      │    restart    it restarts in place; setback: what goes wrong
//!                      │    deaths     events that kill the process that has them
//!                      ├─ deploy/   a slot moves
//!                      │    succession what decides which slave a slot is at
//!                      │    begin      by whose wish; steps: canary ▶ width ▶ work ▶ soak ▶ retire
//!                      │    schedule   whose turn it is; in_flight: how many at once
//!                      │    gate       whether the new build is any good; bake: its canary,
//!                      │               dark: does it get anything at all
//!                      │    rollback   or not: aborted, rolled back, forced
//!                      │    pause      the operator holds it, ends it; report: what is told of it
//!                      ├─ work      the once-per-bot work follows
//!                      ├─ post      letters between the work, units and operators
//!                      ├─ permits/  IDENTIFYs in legal pace: window, budget; named: by name;
//!                      │               refusals: which fail, probe: one shard tries for all,
//!                      │               breaker: whose sessions do not last, held: what that means
//!                      ├─ learnt    what the service was found to refuse
//!                      └─ invariants    what holds between two inputs
//!   Action ◀── poll_action          out: what each part wants done, in its order
//!   Time   ◀── deadline             saves/: they stand before the sends that rely on them; timers
//! ```
//!
//! Two ways through it are worth reading first:
//!
//! - *A ticket*, from the answer to a seal to the RESUME of the next owner: `dispatch`
//!   (`said`, then `advance`), `shard/ownership` (`sealed`, `set_free`), `fleet/in_doubt`,
//!   `fleet/placement` (`place_free`, `start`, `send_resume`); what it says is judged in
//!   `shard/ticket`.
//! - *A deploy*, from its order to its end: `deploy/begin`, `deploy/steps`,
//!   `deploy/schedule`, `deploy/gate` and, where it fails, `deploy/rollback`.
//!
//! `shard/handover` joins them: a deploy gives each shard to `begin_move`, and the way of the
//! ticket begins when the old slave answers `seal`.
//!
//! Each room changes its own state: the fleet with its shards, the deploys, the permits, the
//! work, and what was learnt of the service. It is handed the settings and an outbox
//! (`out.rs`) for everything else. What concerns several rooms is handed these rooms, and
//! no other: `Handover`, `Ownership`, `Succession`. The core itself only says who gets
//! an input, and lets one room hear of what another one did. What is a service's own is
//! asked of a [`service::Service`], which is handed in.
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

mod comes_and_goes;
mod deploy;
mod dispatch;
pub mod event;
mod fleet;
mod invariants;
mod learnt;
mod master_stage;
mod members;
mod moves;
mod out;
mod permits;
mod post;
mod saves;
pub mod service;
pub mod settings;
mod shard;
#[cfg(test)]
mod tests;
mod timers;
pub mod view;
mod work;

use baton_protocol::SlaveId;

use self::{
    deploy::{Deploys, Succession},
    event::JournalState,
    fleet::Fleet,
    learnt::Learnt,
    master_stage::MasterStage,
    out::Out,
    permits::{NamedPermits, Permits},
    post::Letters,
    shard::{Handover, Ownership},
    timers::Timer,
    work::WorkUnit,
};
pub use self::{
    event::{Action, Input, LastDeploy, Recovered, Time},
    members::{Members, NoMembers},
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
    named: NamedPermits,
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
        let permits = Permits::new(&settings, recovered.identifies.as_ref(), now);
        let fleet = Fleet::new(&settings, recovered, now);
        let mut core = Self {
            out: Out::new(now),
            deploys: Deploys::recovered(last, given_up),
            permits,
            named: NamedPermits::new(restarted.then_some(now)),
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
        let slaves: Vec<_> = core.fleet.slaves.keys().copied().collect();
        for slave in slaves {
            core.fleet.watch_lease(slave, &mut core.out);
        }
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
            Input::Agent { host, is } => {
                self.fleet
                    .agent_is(&host, is, &self.settings, &mut self.out);
            }
            Input::Launched { launch, pid } => self.deploys.candidate_launched(launch, pid),
            Input::LaunchFailed { launch, reason } => {
                // One that nobody waits for any more is of no interest.
                if !self.succession().candidate_launch_failed(launch, &reason) {
                    self.fleet
                        .launch_failed(launch, &reason, &self.settings, &mut self.out);
                }
            }
            Input::Deploy { request, order } => {
                if self.succession().deploy_asked(request, order) {
                    // What kept sessions from being given may be mended by it.
                    self.permits
                        .may_be_tried(&self.fleet, &self.settings, &mut self.out);
                }
            }
            Input::Abort { request, slot } => {
                self.succession().abort_asked(request, slot.as_deref());
            }
            Input::Pause {
                request,
                slot,
                pause,
            } => self
                .succession()
                .pause_asked(request, slot.as_deref(), pause),
            Input::Arrange { request, order } => {
                self.succession().arrange_asked(request, order);
            }
            Input::Restart { request, shard } => {
                self.succession().restart_asked(request, shard);
            }
            Input::LateSealsAgain { request } => {
                self.learnt.try_late_again(request, &mut self.out);
            }
            Input::Ask { request, body } => self.letters().ask(request, body),
            Input::Identify { request } => {
                self.permits
                    .release(request, &self.fleet, &self.settings, &mut self.out);
            }
            Input::Settings(settings) => {
                self.settings.change(*settings);
                let home = self.settings.home(&self.fleet);
                self.work.belongs_to(home, &mut self.out);
                // There may be more standbys to start, or fewer.
                self.touch_all();
            }
            Input::Slots { request, slots } => {
                if self.succession().recut_asked(request, &slots) {
                    self.settings.slots = slots;
                    let home = self.settings.home(&self.fleet);
                    self.work.belongs_to(home, &mut self.out);
                }
            }
            Input::Fence { request, slave } => self.fence(request, slave),
            Input::Leave => self.leave(),
            Input::Budget(budget) => {
                self.permits
                    .set_budget(budget, &self.fleet, &self.settings, &mut self.out)
            }
            Input::SaveFailed { reason } => {
                self.handover().save_failed(&reason);
                self.succession().deploys_cannot_save(&reason);
            }
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

    // ---- what a part is handed ------------------------------------------------

    /// The way of a shard from owner to owner.
    const fn handover(&mut self) -> Handover<'_> {
        Handover {
            fleet: &mut self.fleet,
            deploys: &mut self.deploys,
            learnt: &mut self.learnt,
            settings: &self.settings,
            out: &mut self.out,
        }
    }

    /// The way of letters.
    const fn letters(&mut self) -> Letters<'_> {
        Letters {
            fleet: &self.fleet,
            work: &self.work,
            out: &mut self.out,
        }
    }

    /// Who fills which slot.
    const fn succession(&mut self) -> Succession<'_> {
        Succession {
            fleet: &mut self.fleet,
            deploys: &mut self.deploys,
            learnt: &mut self.learnt,
            permits: &self.permits,
            work: &self.work,
            stage: self.stage,
            settings: &self.settings,
            out: &mut self.out,
        }
    }

    /// What the word of an owner about its shard may change.
    const fn ownership(&mut self) -> Ownership<'_> {
        Ownership {
            fleet: &mut self.fleet,
            deploys: &mut self.deploys,
            permits: &mut self.permits,
            learnt: &mut self.learnt,
            settings: &self.settings,
            out: &mut self.out,
        }
    }
}
