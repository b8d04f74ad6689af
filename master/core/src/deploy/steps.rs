//! The steps of a deploy, downwards, when nothing goes wrong.

use std::time::Duration;

use baton_protocol::{ShardId, SlaveId, text};

use crate::{
    deploy::{Answer, Bake, Carrier, Deploy, Deploys, Pace, Soak, Stage, Succession},
    event::{Done, Durability, Entry, LastDeploy, News, Outcome},
    fleet::{Fleet, SlotId},
    master_stage::MasterStage,
    out::Out,
    timers::Timer,
};

impl Succession<'_> {
    /// Takes every step that can be taken now.
    pub(crate) fn advance_deploy(&mut self, slot: SlotId) {
        while self.deploy_steps_on(slot) {}
    }

    fn deploy_steps_on(&mut self, slot: SlotId) -> bool {
        let Some(from) = self.deploys.of(slot).map(|deploy| deploy.from) else {
            return false;
        };
        // What is on its way into or out of the slot gets there first.
        let is_crossed = self.deploys.moves.involve(slot);
        let Some(deploy) = self.deploys.of_mut(slot) else {
            return false;
        };
        match deploy.stage {
            Stage::Starting { .. } | Stage::Soaking { .. } | Stage::Retiring { .. } => false,
            Stage::Preparing { to, new, old } => {
                let ready = new == Answer::Given && (old == Answer::Given || from.is_none());
                if ready
                    && !is_crossed
                    && self.stage == MasterStage::Running
                    && !self.out.saves.fail()
                {
                    self.start_moving(slot, to);
                    return true;
                }
                false
            }
            Stage::Moving { to, pace } => {
                // There may be none (any more) that has a session.
                let none_left = deploy.queue.is_empty() && deploy.in_flight.is_empty();
                if let Pace::Canary { shards, .. } = pace
                    && (self.fleet.serving(to) >= shards || none_left)
                {
                    if !deploy.is_baked(self.fleet, self.settings, self.out) {
                        return false;
                    }
                    let pace = Pace::Width;
                    deploy.go_to(Stage::Moving { to, pace }, self.out);
                    return true;
                }
                let nothing_in_flight = deploy.in_flight.is_empty();
                let complete = self.is_all_at(slot, to);
                if complete && nothing_in_flight && self.stage == MasterStage::Running {
                    self.go_to(slot, Stage::Work { to });
                    return true;
                }
                self.begin_moves(slot);
                false
            }
            Stage::Work { to } => {
                if !self.work.is_of(slot) || self.work.is_at(to) {
                    self.start_soak(slot, to);
                    return true;
                }
                false
            }
            Stage::RollingBack { .. } => {
                self.begin_moves(slot);
                self.end_rollback_when_done(slot)
            }
        }
    }

    /// Begins as many shards as may move at once.
    fn begin_moves(&mut self, slot: SlotId) {
        self.handover().seal_next(Carrier::Deploy(slot));
        while let Some((id, to)) = self.next_to_move(slot) {
            self.handover().begin_move(id, to);
        }
    }

    fn next_to_move(&mut self, slot: SlotId) -> Option<(ShardId, SlaveId)> {
        let beside = self.deploys.beside(Carrier::Deploy(slot));
        let deploy = self.deploys.of_mut(slot)?;
        if self.stage != MasterStage::Running || self.out.saves.fail() || deploy.is_paused() {
            return None;
        }
        let replay_buffer = self.settings.replay_buffer;
        let (fleet, permits, now) = (&*self.fleet, self.permits, self.out.now);
        deploy.next_to_move(fleet, permits, now, replay_buffer, beside)
    }

    fn start_moving(&mut self, slot: SlotId, to: SlaveId) {
        self.out.stop(Timer::Deploy(slot));
        let Some(deploy) = self.deploys.stepping(slot) else {
            return;
        };
        let shards = match deploy.from {
            // What gets no events shows nothing of a build.
            Some(from) => usize::try_from(deploy.order.canary)
                .unwrap_or(usize::MAX)
                .min(deploy.size(self.fleet))
                .min(self.fleet.serving(from)),
            None => 0,
        };
        deploy.queue_behind_canary(to, shards, self.fleet, self.out.now);
        let bake = Bake::Raw;
        let pace = match shards {
            0 => Pace::Width,
            _ => Pace::Canary { shards, bake },
        };
        deploy.go_to(Stage::Moving { to, pace }, self.out);
    }

    /// M7: everything moved; the old slave stays ready to take it back.
    fn start_soak(&mut self, slot: SlotId, to: SlaveId) {
        let Some(deploy) = self.deploys.stepping(slot) else {
            return;
        };
        debug_assert!(deploy.in_flight.is_empty(), "everything has moved");
        if deploy.from.is_none() {
            let outcome = deploy.success();
            self.commit(slot, to);
            self.end_deploy(slot, outcome);
            return;
        }
        let (fleet, out) = (&*self.fleet, &mut *self.out);
        let length = deploy.soak_within_budget(fleet, self.settings.replay_buffer, out);
        deploy.soak = Some(length);
        let soak = Soak::begins(to, &deploy.before, fleet, out.now);
        deploy.go_to(Stage::Soaking { to, soak }, out);
        out.start(Timer::Deploy(slot), length);
        deploy.ask_how_it_fares(to, out);
    }

    /// From here there is no way back: the slot is the new slave's.
    fn commit(&mut self, slot: SlotId, to: SlaveId) {
        let Some(deploy) = self.deploys.stepping(slot) else {
            return;
        };
        let last = LastDeploy {
            deploy: deploy.id,
            slot: deploy.order.slot.clone(),
            command: deploy.order.command.clone(),
            done: Some(Done {
                deploy: deploy.id,
                ago: Duration::ZERO,
                // An empty slot has nothing to be compared with.
                lag_before: deploy.from.and(deploy.before.lag),
            }),
        };
        let command = last.command.clone().map(|command| Entry::Command {
            slot: last.slot.clone(),
            command,
        });
        self.fleet.slots[slot].deploys(last.clone(), self.out.now);
        self.deploys.done(&last);
        let entries = command.into_iter().chain([Entry::Deploy(last)]).collect();
        self.out.save(entries, Durability::Soon);
        self.fleet.dismiss_standbys(slot, self.settings, self.out);
        self.fleet.fill(slot, to, self.out);
    }

    /// A step took too long, or the soak is over.
    pub(crate) fn deploy_due(&mut self, slot: SlotId) {
        // Its deadline was stopped with it.
        debug_assert!(self.deploys.of(slot).is_some(), "a deadline of no deploy");
        let Some(deploy) = self.deploys.of(slot) else {
            return;
        };
        let ready = self.settings.ready;
        match deploy.stage {
            Stage::Starting { .. } => {
                self.fail_deploy(
                    slot,
                    None,
                    format!(
                        "the new slave did not join within {ready}",
                        ready = text::span(ready)
                    ),
                );
            }
            Stage::Preparing {
                to,
                new: Answer::Due,
                ..
            } => {
                self.condemn(to, "it was not ready in time");
                self.fail_deploy(
                    slot,
                    None,
                    format!(
                        "the new slave was not ready within {ready}",
                        ready = text::span(ready)
                    ),
                );
            }
            Stage::Preparing {
                old: Answer::Given, ..
            } => {
                let why = format!(
                    "a shard has been on its way into or out of the slot for {ready}; \
                     baton-master status shows it",
                    ready = text::span(ready)
                );
                self.fail_deploy(slot, None, why);
            }
            Stage::Preparing { .. } => {
                let why = format!(
                    "the old slave did not answer within {ready}{who}",
                    ready = text::span(ready),
                    who = deploy.who_is_silent(self.fleet, self.settings, self.out.now)
                );
                self.fail_deploy(slot, None, why);
            }
            Stage::Soaking { to, .. } => self.soak_over(slot, to),
            Stage::Moving { .. } => deploy.look_at_canary(self.out),
            // What they wait for has deadlines of its own.
            Stage::Work { .. } | Stage::Retiring { .. } | Stage::RollingBack { .. } => {
                debug_assert!(false, "no deadline of {:?}", deploy.stage);
            }
        }
    }

    fn soak_over(&mut self, slot: SlotId, to: SlaveId) {
        let is_whole = self.is_whole(slot, to);
        let patience = self.settings.no_progress;
        let Some(deploy) = self.deploys.stepping(slot) else {
            return;
        };
        let soak = deploy.soak_of(to);
        debug_assert!(soak.is_some(), "slave {to} soaks");
        let asked = soak.is_some_and(|soak| std::mem::take(&mut soak.asked));
        if !is_whole {
            // Cut off, or just resuming: the commit waits until it is whole.
            self.out.start(Timer::Deploy(slot), patience);
        } else if mutant!("commit-unasked") {
            self.soaked(slot, to);
        } else if asked {
            // It does not live: it is killed, and its shards go back when it is dead.
            self.condemn(to, "it did not answer at the end of its soak");
            self.fail_deploy(
                slot,
                None,
                format!(
                    "the new slave did not answer for {patience} at the end of the soak",
                    patience = text::span(patience)
                ),
            );
        } else {
            deploy.ask_if_alive(to, patience, self.out);
        }
    }

    /// Whether every shard of a slot is where it is to be.
    fn is_all_at(&self, slot: SlotId, slave: SlaveId) -> bool {
        let held_up = self.permits.are_held_up(self.settings, self.out.now);
        self.deploys.is_all_at(slot, slave, self.fleet, held_up)
    }

    fn is_whole(&self, slot: SlotId, to: SlaveId) -> bool {
        self.is_all_at(slot, to)
            && (!self.work.is_of(slot) || self.work.is_at(to))
            && self.fleet.can_take(to)
            && !self.out.saves.fail()
    }

    /// The soak is over and the new slave lives.
    pub(crate) fn soaked(&mut self, slot: SlotId, to: SlaveId) {
        debug_assert!(
            self.deploys.of(slot).is_some_and(|it| it.to() == Some(to)),
            "slave {to} is the new one"
        );
        if !self.is_whole(slot, to) {
            self.out
                .start(Timer::Deploy(slot), self.settings.no_progress);
            return;
        }
        self.out.stop(Timer::Deploy(slot));
        self.commit(slot, to);
        self.go_to(slot, Stage::Retiring { to });
        if let Some(from) = self.deploys.of(slot).and_then(|deploy| deploy.from) {
            self.fleet.dismiss(from, self.settings.retired(), self.out);
        }
    }

    fn go_to(&mut self, slot: SlotId, stage: Stage) {
        if let Some(deploy) = self.deploys.stepping(slot) {
            deploy.go_to(stage, self.out);
        }
    }

    /// Tells how it ended; the slot goes on without it.
    pub(crate) fn end_deploy(&mut self, slot: SlotId, outcome: Outcome) {
        self.handover().cancel_copies(slot);
        let ended = self.deploys.end(slot);
        debug_assert!(ended.is_some(), "a deploy ends once");
        let Some(deploy) = ended else {
            return;
        };
        self.out.stop(Timer::Deploy(slot));
        for slave in deploy.slaves() {
            self.out.stop(Timer::Away(slave));
        }
        let moved = deploy.to().map_or(0, |to| self.fleet.serving(to));
        let dark: usize = deploy
            .slaves()
            .filter_map(|id| self.fleet.slaves.get(&id))
            .map(|slave| slave.without_session)
            .sum();
        if dark > 0 {
            self.out.alarm(format!(
                "deploy {} ends while {dark} of its shards have no session: they get no events \
                 until they may IDENTIFY. baton-master status shows which, and what they wait for",
                deploy.id
            ));
        }
        let migrating = match (deploy.first_stop, deploy.last_served) {
            (Some(first), Some(last)) => last.since(first),
            (None, _) | (_, None) => Duration::ZERO,
        };
        match outcome {
            Outcome::Aborted { .. } | Outcome::RolledBack { .. } => {
                self.deploys.give_up(deploy.id, self.out);
            }
            Outcome::Done | Outcome::Forced { .. } | Outcome::HandedOn => {}
        }
        self.out.tell(News::DeployEnded {
            deploy: deploy.id,
            outcome,
            moved: u32::try_from(moved).unwrap_or(u32::MAX),
            migrating,
            total: self.out.now.since(deploy.began),
            losses: self.fleet.slots[slot].losses,
        });
        self.fleet.forget_settled(slot);
        self.out.touch(slot);
        // What it had in hand is room for the others.
        self.out.touch_all(&self.deploys.slots());
        self.may_leave_now(deploy.from);
    }
}

impl Deploys {
    /// Whether every shard of a slot is where it is to be. One without a session is as
    /// far as it can be where the slot comes from another slave, or where permits are held up;
    /// in a cold start it is waited for.
    pub(crate) fn is_all_at(
        &self,
        slot: SlotId,
        slave: SlaveId,
        fleet: &Fleet,
        held_up: bool,
    ) -> bool {
        let size = fleet.slots[slot].size;
        let moves = self.of(slot).is_some_and(|deploy| {
            deploy.from.is_some() || matches!(deploy.stage, Stage::Soaking { .. })
        });
        fleet.serving(slave) == size || ((moves || held_up) && fleet.placed(slave) == size)
    }
}

impl Deploy {
    /// The soak that was asked for, at most half the tightest replay budget of the
    /// slot's shards. Walks over the slot's shards, once a deploy.
    fn soak_within_budget(&self, fleet: &Fleet, replay_buffer: u32, out: &mut Out) -> Duration {
        let (now, asked) = (out.now, self.order.soak);
        let budget = |id: ShardId| {
            let shard = &fleet.shards[id];
            (shard.replay_budget(now, replay_buffer), id, shard)
        };
        let members = &fleet.slots[self.slot].members;
        let budgets = members.iter().map(budget);
        let Some((budget, id, shard)) = budgets.min_by_key(|&(budget, id, _)| (budget, id)) else {
            return asked;
        };
        let (soak, per_1000_s) = (budget / 2, shard.events_in_1000_s(now));
        if soak >= asked || mutant!("soak-unbounded") {
            return asked;
        }
        out.tell(News::SoakShortened {
            deploy: self.id,
            shard: id,
            per_second: per_1000_s.div_ceil(1000),
            asked,
            soak,
        });
        soak
    }
}
