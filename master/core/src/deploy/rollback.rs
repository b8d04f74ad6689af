//! What a deploy does when something goes wrong: the one place that decides
//! between "nothing happened", "everything goes back" and "there is no way back".
//!
//! ```text
//!                        old slave stays                    old slave is gone
//! not ready to move yet  Aborted, new one dismissed         Aborted, new one dismissed
//! nothing moved yet      Aborted, new one dismissed         new one healthy: Forced, else it ends
//! something moved        RollingBack ─▶ RolledBack          new one healthy: Forced, else it ends
//! ```
//!
//! That the old slave dies is no failure by itself: the deploy goes on without a way back, and
//! ends `Forced` (`deploy_lost`).

use baton_protocol::{LaunchId, ShardId, SlaveId, text};

use crate::{
    deploy::{Answer, Pace, Stage, Succession},
    event::Outcome,
    fleet::{SlotId, Standing},
    timers::Timer,
};

impl Succession<'_> {
    /// The deploy cannot go on.
    pub(crate) fn fail_deploy(&mut self, slot: SlotId, shard: Option<ShardId>, reason: String) {
        let Some(deploy) = self.deploys.of(slot) else {
            return;
        };
        let to = match deploy.stage {
            Stage::Starting { pid, .. } => {
                if let Some(pid) = pid {
                    self.fleet.slots[slot].refuse_pid(pid);
                }
                self.fleet.give_up(slot, self.out);
                self.end_deploy(slot, Outcome::Aborted { reason });
                return;
            }
            Stage::Retiring { .. } | Stage::RollingBack { .. } => return,
            Stage::Preparing { to, .. }
            | Stage::Moving { to, .. }
            | Stage::Work { to }
            | Stage::Soaking { to, .. } => to,
        };
        let preparing = matches!(deploy.stage, Stage::Preparing { .. });
        let way_back = deploy.from.filter(|&from| self.fleet.is_healthy(from));
        let forced = deploy.forced.clone();
        if preparing || (way_back.is_some() && deploy.moved_nothing(to, self.fleet)) {
            self.handover().cancel_copies(slot);
            self.fleet.dismiss(to, self.settings.retired(), self.out);
            let reason = match shard {
                Some(shard) => format!("shard {shard}: {reason}"),
                None => reason,
            };
            self.end_deploy(slot, Outcome::Aborted { reason });
        } else if way_back.is_some() {
            self.roll_back(slot, to, shard, reason);
        } else if self.fleet.is_healthy(to) {
            self.fleet.fill(slot, to, self.out);
            let reason = forced.unwrap_or(reason);
            self.end_deploy(slot, Outcome::Forced { reason });
        } else {
            self.end_deploy(slot, Outcome::RolledBack { shard, reason });
        }
    }

    /// The target goes back to the old slave: free shards are placed there, what
    /// the new one holds is sealed and follows.
    fn roll_back(&mut self, slot: SlotId, to: SlaveId, shard: Option<ShardId>, reason: String) {
        self.handover().cancel_copies(slot);
        self.handover().late_seals_end(slot);
        self.out.stop(Timer::Deploy(slot));
        if let Some(deploy) = self.deploys.stepping(slot) {
            debug_assert!(deploy.from.is_some(), "somebody takes it back");
            deploy.go_to(Stage::RollingBack { to, shard, reason }, self.out);
            let held = self.fleet.slaves.get(&to).map(|slave| slave.holds.clone());
            deploy.queue_for_the_way_back(&held.unwrap_or_default(), self.fleet);
        }
    }

    /// Everything is back when the new slave holds nothing.
    pub(crate) fn end_rollback_when_done(&mut self, at: SlotId) -> bool {
        let Some(deploy) = self.deploys.of(at) else {
            return false;
        };
        let Stage::RollingBack { to, shard, reason } = &deploy.stage else {
            debug_assert!(false, "it does not go back: {:?}", deploy.stage);
            return false;
        };
        let (to, shard, reason) = (*to, *shard, reason.clone());
        let slot = &self.fleet.slots[at];
        let work_is_back = !self.work.is_of(at) || self.work.owner() != Some(to);
        let done = deploy.in_flight.is_empty()
            && slot.free.is_empty()
            && self.fleet.holds_nothing(to)
            && work_is_back;
        if done {
            self.fleet.dismiss(to, self.settings.retired(), self.out);
            self.end_deploy(at, Outcome::RolledBack { shard, reason });
        }
        done
    }

    // ---- what makes it fail --------------------------------------------------

    /// A shard failed at one of its slaves.
    pub(crate) fn deploy_shard_failed(&mut self, id: ShardId, at: SlaveId, why: &str) {
        let slot = self.fleet.shards[id].slot;
        let Some(deploy) = self.deploys.of_mut(slot) else {
            return;
        };
        if deploy.to() == Some(at) {
            self.fail_deploy(slot, Some(id), why.to_owned());
        } else {
            deploy.in_flight.remove(&id);
        }
    }

    /// A slave of the deploy died, or is leaving by itself.
    pub(crate) fn deploy_lost(&mut self, id: SlaveId, why: &str) {
        let Some(deploy) = self.deploys.with_mut(id) else {
            return;
        };
        let slot = deploy.slot;
        if deploy.from == Some(id) {
            deploy.from = None;
            let lost = format!("the old slave was lost: {why}");
            match deploy.stage {
                Stage::Starting { .. } | Stage::Preparing { .. } => {
                    deploy.forced = Some(lost);
                    self.standby_steps_in(slot);
                }
                Stage::Moving { .. } | Stage::Work { .. } => deploy.forced = Some(lost),
                Stage::Soaking { to, .. } => {
                    deploy.forced = Some(lost);
                    // There is no way back: the soak has no point.
                    deploy.go_to(Stage::Work { to }, self.out);
                }
                Stage::Retiring { .. } => self.end_deploy(slot, Outcome::Done),
                Stage::RollingBack { to, shard, .. } => {
                    if self.fleet.is_healthy(to) {
                        deploy.forced = Some(lost);
                        self.handover().cancel_copies(slot);
                        self.goes_on(slot, to);
                    } else {
                        let reason = format!("both slaves were lost; {lost}");
                        self.end_deploy(slot, Outcome::RolledBack { shard, reason });
                    }
                }
            }
        } else if matches!(deploy.stage, Stage::Retiring { .. }) && !mutant!("retiring-waits") {
            // Committed: the slot is empty, and its next slave waits for no end of the old one.
            self.end_deploy(slot, Outcome::Done);
        } else {
            debug_assert_eq!(deploy.to(), Some(id), "it is one of the two");
            self.fail_deploy(slot, None, format!("the new slave was lost: {why}"));
        }
        self.out.touch(slot);
    }

    /// There is nobody to go back to: a deploy that rolls back goes on after all.
    fn goes_on(&mut self, slot: SlotId, to: SlaveId) {
        if let Some(deploy) = self.deploys.stepping(slot) {
            debug_assert!(deploy.from.is_none(), "nobody takes it back");
            let pace = Pace::Width;
            deploy.go_to(Stage::Moving { to, pace }, self.out);
            deploy.queue_slot(to, self.fleet, self.out.now);
        }
    }

    /// The old slave died before the new one was ready: a standby that is serves
    /// meanwhile.
    fn standby_steps_in(&mut self, slot: SlotId) {
        let Some((standby, _)) = self.fleet.of_slot(slot).find(|(id, slave)| {
            slave.standing == Standing::Standby && slave.built && self.fleet.is_joined(*id)
        }) else {
            return;
        };
        self.fleet.fill(slot, standby, self.out);
        if let Some(deploy) = self.deploys.stepping(slot) {
            deploy.from = Some(standby);
            deploy.forced = None;
            if let Stage::Preparing { old, .. } = &mut deploy.stage {
                *old = Answer::Due;
            }
        }
        self.deploy_rejoined(standby);
    }

    /// Whether the deploy stands still without this slave's connection.
    pub(crate) fn deploy_needs(&self, id: SlaveId) -> bool {
        self.deploys.with(id).is_some_and(|deploy| deploy.needs(id))
    }

    /// A slave of the deploy is back.
    pub(crate) fn deploy_rejoined(&mut self, id: SlaveId) {
        let deploy = self.deploys.with_mut(id);
        let Some(deploy) = deploy.filter(|deploy| deploy.needs(id)) else {
            return;
        };
        let slot = deploy.slot;
        match deploy.rejoined(id) {
            Ok(()) => deploy.ask_prepared(self.fleet, self.out),
            Err(why) => self.fail_deploy(slot, None, why),
        }
    }

    /// A slave of the deploy did not come back.
    pub(crate) fn away_due(&mut self, id: SlaveId) {
        if self.fleet.is_joined(id) || !self.deploy_needs(id) {
            return;
        }
        let span = self.settings.no_progress;
        let deploy = self.deploys.with(id);
        debug_assert!(deploy.is_some(), "a deploy needs slave {id}");
        let Some(deploy) = deploy else {
            return;
        };
        let slot = deploy.slot;
        if let Some(to) = deploy.to()
            && to == id
        {
            self.condemn(id, "it is cut off in the middle of its deploy");
            self.fail_deploy(
                slot,
                None,
                format!(
                    "the new slave is cut off for {span}",
                    span = text::span(span)
                ),
            );
            return;
        }
        let reason = format!(
            "the old slave is cut off for {span}; it keeps serving",
            span = text::span(span)
        );
        let preparing = matches!(deploy.stage, Stage::Preparing { .. });
        let to = deploy.to();
        if preparing || to.is_some_and(|to| deploy.moved_nothing(to, self.fleet)) {
            self.fail_deploy(slot, None, reason);
        } else {
            // What moved is served, what did not move is served: waiting is safe.
            self.out
                .alarm(format!("deploy {} waits: {reason}", deploy.id));
            self.out.start(Timer::Away(id), span);
        }
    }

    /// A launched candidate ended before it joined; whether there was one.
    pub(crate) fn candidate_launch_failed(&mut self, of: LaunchId, reason: &str) -> bool {
        let slot = self.deploys.launching(of).map(|deploy| deploy.slot);
        if let Some(slot) = slot {
            self.fail_deploy(slot, None, format!("the new slave {reason}"));
        }
        slot.is_some()
    }

    /// Nothing can be saved: a deploy that moved nothing ends, another waits.
    pub(crate) fn deploys_cannot_save(&mut self, reason: &str) {
        for slot in self.deploys.slots() {
            if self.deploy_can_just_end(slot) {
                let reason = format!("the journal cannot be written: {reason}");
                self.fail_deploy(slot, None, reason);
            }
        }
    }

    /// Whether the deploy of a slot may end as if it had never begun.
    pub(crate) fn deploy_can_just_end(&self, slot: SlotId) -> bool {
        let deploy = self.deploys.of(slot);
        deploy.is_some_and(|deploy| deploy.can_just_end(self.fleet))
    }
}
