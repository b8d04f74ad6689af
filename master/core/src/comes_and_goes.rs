//! A slave comes, comes back, loses its link, or is known dead: every room hears of it, in
//! the order in which one relies on the other.
//!
//! ```text
//! Joined ─▶ the fleet lets it in ─▶ what it holds ─▶ the work that it does ─▶ what it is for
//! Died ───▶ its shards are free, one by one ─▶ the fleet forgets it ─▶ the work is free
//!           ─▶ its deploy goes on without it, or fails
//! ```
//!
//! This is the core's and no room's: what a slave holds is compared with the fleet, and
//! what it says of that counts for its deploy, its permits and its handovers.

use std::collections::BTreeMap;

use baton_protocol::{
    ShardId, SlaveId, ToSlave,
    message::{Failed, Held, Hello, Holding, RefusedReason, Report, ResumeAfter, Sealed},
    text,
};

use crate::{
    Core,
    event::{Action, Durability, Entry, Evidence, News, RequestId},
    fleet::{Lies, Past, Presence, Silence, Slave, Standing},
    master_stage::MasterStage,
    shard::{Handover, How, Reach, Start},
    timers::Timer,
};

impl Core {
    // ---- it comes ------------------------------------------------------------

    pub(crate) fn joined(&mut self, hello: Hello, report: Report) {
        let id = hello.slave;
        let (report, lies) = self.fleet.without_lies(id, report, &self.work);
        let report = &report;
        if self.fleet.fenced.contains(&id) && !mutant!("fenced-believed") {
            self.fleet
                .fenced_came(hello, report, &self.settings, &mut self.out);
        } else if self.fleet.slaves.contains_key(&id) {
            self.came_back(hello, report, &lies);
        } else {
            self.came_new(hello, report, &lies);
        }
        self.end_adoption_early();
    }

    fn came_new(&mut self, hello: Hello, report: &Report, lies: &Lies) {
        let id = hello.slave;
        // A slave that serves shards is never sent away: they would have no owner.
        let held = report.shards.iter();
        let mut held = held.filter_map(|held| self.fleet.shards.get(held.ticket.shard));
        let of_shards = || held.next().map(|shard| shard.slot);
        let slot = self.fleet.slots.named(&hello.slot).or_else(of_shards);
        let Some(slot) = slot else {
            let detail = format!("this fleet has no slot {:?}", hello.slot);
            self.out.refuse(id, RefusedReason::Slot, detail);
            return;
        };
        if report.shards.is_empty()
            && let Err((reason, detail)) = self.succession().may_come(&hello, slot, lies)
        {
            self.out.refuse(id, reason, detail);
            self.fleet.refute(id, lies, &self.work, &mut self.out);
            return;
        }
        let pin = self.fleet.pin(&hello, &self.settings, self.out.now);
        let entries = pin
            .into_iter()
            .chain([Entry::Slave(Box::new(hello.clone()))])
            .collect();
        self.fleet
            .slaves
            .insert(id, Slave::new(hello, slot, Presence::Joined));
        self.out.save(entries, Durability::Now);
        if !lies.is_empty()
            && let Some(slave) = self.fleet.slaves.get_mut(&id)
        {
            // A slave that comes with shards, its own or not, is no new build.
            slave.past = Past::Served;
        }
        self.fleet
            .accept(id, report, false, self.settings.shard_count, &mut self.out);
        self.fleet.refute(id, lies, &self.work, &mut self.out);
        self.report_in(id, report);
        self.succession().decide_standing(id);
    }

    fn came_back(&mut self, hello: Hello, report: &Report, lies: &Lies) {
        let id = hello.slave;
        debug_assert!(self.fleet.is_known(id), "slave {id} was here before");
        let Some(slave) = self.fleet.slaves.get_mut(&id) else {
            return;
        };
        slave.hello.role = hello.role;
        slave.hello.version = hello.version;
        slave.hello.deploy = hello.deploy;
        slave.hello.launch = hello.launch;
        slave.presence = Presence::Joined;
        slave.doubted = None;
        let (slot, standing) = (slave.slot, slave.standing);
        self.out.stop(Timer::Away(id));
        self.fleet
            .accept(id, report, true, self.settings.shard_count, &mut self.out);
        self.fleet.refute(id, lies, &self.work, &mut self.out);
        self.report_in(id, report);
        if self.stage != MasterStage::Adopting {
            // A shard that it does not report, and might have held, has no owner.
            let drained = self.settings.drained();
            self.fleet.resolve_unknown(slot, drained, &mut self.out);
        }
        match standing {
            Standing::Waiting => self.succession().decide_standing(id),
            Standing::Active => {
                if self.stage == MasterStage::Running {
                    // Others may have come meanwhile, and fill the slot.
                    self.succession().settle_slot(slot);
                }
                self.succession().deploy_rejoined(id);
            }
            Standing::Standby => self.fleet.soft_start(id, &mut self.out),
            Standing::Leaving => {
                if self.fleet.holds_nothing(id) {
                    self.out.send(id, ToSlave::Shutdown);
                }
            }
            Standing::Condemned => {}
        }
        self.permits
            .again(&self.fleet, &self.settings, &mut self.out);
        self.out.touch(slot);
    }

    /// Compares everything that a slave holds with what we believe.
    fn report_in(&mut self, slave: SlaveId, report: &Report) {
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
            let frozen = self.is_needed_frozen(slave, held.ticket.shard);
            let (settings, out) = (&self.settings, &mut self.out);
            if (self.fleet).claims(slave, &held, frozen, &mut rows, settings, out) {
                self.claim_confirmed(slave, &held, report.lapsed);
            }
            self.ownership()
                .move_is_over_if_another_has(held.ticket.shard);
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

    /// Whether frozen state may be gone back to: in a deploy, and while it is not
    /// known whether one is under way.
    fn is_needed_frozen(&self, slave: SlaveId, id: ShardId) -> bool {
        let deploy = self.deploys.of(self.fleet.shards[id].slot);
        let moves = self.deploys.moves.of(id);
        self.stage == MasterStage::Adopting
            || moves.is_some_and(|it| it.from.1 == slave || it.to.1 == slave)
            || deploy.is_some_and(|deploy| deploy.from == Some(slave) || deploy.to() == Some(slave))
    }

    /// It still has what we believe that it has: what it says of it counts as ever.
    fn claim_confirmed(&mut self, slave: SlaveId, held: &Held, lapsed: bool) {
        let id = held.ticket.shard;
        self.fleet
            .confirms(slave, held, self.settings.drained(), &mut self.out);
        if held.holding == Holding::Starting && !held.ticket.has_session() {
            // The session with which it was to go on is over.
            self.ownership().needs_session(id);
        }
        match held.holding {
            Holding::Starting | Holding::Resuming => self.handover().said_again(id),
            Holding::Serving => {
                self.ownership().served(slave, id, held.epoch);
                self.handover().serves_again(id);
            }
            Holding::Sealed => {
                let sealed = Sealed {
                    epoch: held.epoch,
                    ticket: held.ticket.clone(),
                };
                if lapsed {
                    // Not because it leaves: its lease was over, and it goes on from here.
                    self.ownership().sealed(slave, sealed);
                } else {
                    self.sealed(slave, sealed);
                }
                self.fleet
                    .ask_settled_again(slave, held, self.settings.drain, &mut self.out);
            }
            Holding::Failed => {
                let failed = Failed {
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
            (Some(_), _) => self.handover().order_again(id),
            // So was the order to start; then there is nothing to seal.
            (
                None,
                Some(Start {
                    how: How::Resume(after),
                    reach: Reach::Nothing,
                }),
            ) => self.ownership().set_free(id, after),
            (None, _) => {
                self.out.alarm(format!(
                    "slave {slave} does not serve shard {id} any more, which was its own; it is \
                     resumed from its last checkpoint"
                ));
                self.ownership().set_free(id, ResumeAfter::Death);
            }
        }
    }

    // ---- it goes -------------------------------------------------------------

    /// It is connected and answered no ping for the hang time: it hangs, or its host is cut off.
    /// Then its connection is closed, so that it counts as what it is: out of reach.
    pub(crate) fn silent(&mut self, id: SlaveId) {
        let slave = self.fleet.slaves.get(&id);
        let is_condemned = slave.is_some_and(|slave| slave.standing == Standing::Condemned);
        if !self.fleet.is_joined(id) || is_condemned {
            return;
        }
        let (now, ping) = (self.out.now, self.settings.answers);
        match self.fleet.silence(id, ping, &self.settings, now) {
            Silence::Hangs => {
                let killed = "it answered no ping for limits.hang";
                let hangs = |way: &mut Handover<'_>| way.hangs(id, killed, "it hangs");
                self.succession().hand_over(hangs);
            }
            Silence::Doubted => {}
            Silence::Unseen => self.out.order(Action::HangUp(id)),
        }
    }

    /// Nothing moves: its process may well be alive and serving.
    pub(crate) fn left(&mut self, id: SlaveId) {
        let Some(slot) = self.fleet.link_ends(id, &mut self.out) else {
            return;
        };
        self.deploys
            .link_lost(id, self.settings.no_progress, &mut self.out);
        self.permits.asks_anew(id);
        self.named.asks_anew(id);
        self.out.touch(slot);
        if mutant!("left-is-dead") {
            self.died(id, Evidence::Process);
        }
    }

    /// A slave is dead. One that may come back in spite of that is remembered, on the disk
    /// before anything relies on it (`fleet/fence.rs`).
    pub(crate) fn died(&mut self, id: SlaveId, evidence: Evidence) {
        let row = match evidence {
            Evidence::Process => {
                self.fleet.fenced.remove(&id);
                (Entry::Gone(id), Durability::Soon)
            }
            Evidence::Lease | Evidence::Operator => {
                if !self.fleet.slaves.contains_key(&id) {
                    return;
                }
                self.fleet.remember_fenced(id);
                (Entry::Fenced(id), Durability::Now)
            }
        };
        self.slave_gone(id, evidence, row);
    }

    /// Nothing is heard of a slave that seals itself then: whatever its process does, it
    /// serves no more.
    pub(crate) fn lease_due(&mut self, id: SlaveId) {
        let Some(left) = self.fleet.lease_left(id, self.out.now) else {
            return;
        };
        if !left.is_zero() {
            return self.out.start(Timer::Lease(id), left);
        }
        let keeps = self.fleet.slaves[&id].lease.keeps.unwrap_or_default();
        self.out.alarm(format!(
            "slave {id:.8} said nothing for longer than its lease of {}: it has sealed itself, and \
             its shards go on elsewhere. See what became of its host",
            text::span(keeps)
        ));
        self.died(id, Evidence::Lease);
    }

    /// A slave is dead, as its row is to say.
    fn slave_gone(&mut self, id: SlaveId, evidence: Evidence, row: (Entry, Durability)) {
        let Some(dead) = self.fleet.dies(id, evidence, &mut self.out) else {
            return;
        };
        let slot = dead.slot;
        for shard in dead.holds {
            let after = self.fleet.never_told(shard, &mut self.out);
            let after = after.unwrap_or(ResumeAfter::Death);
            self.ownership().set_free(shard, after);
        }
        self.fleet
            .is_no_more(id, slot, row, &self.settings, &mut self.out);
        if dead.standing == Standing::Standby
            && self.stage == MasterStage::Running
            && self.fleet.slots.has(slot)
        {
            self.fleet.standby_died(slot, &self.settings, &mut self.out);
        }
        self.work.slave_gone(id, &mut self.out);
        self.succession().deploy_lost(id, evidence.told());
        self.succession().moves_lost(id, evidence.told());
        if self.stage != MasterStage::Adopting {
            let drained = self.settings.drained();
            self.fleet.resolve_unknown(slot, drained, &mut self.out);
        }
        self.end_adoption_early();
        self.out.touch(slot);
        self.fleet.forget_slots();
    }

    /// The operator's word that a slave is dead (`fleet/fence.rs`).
    pub(crate) fn fence(&mut self, request: RequestId, id: SlaveId) {
        if let Some(reason) = self.fence_refused(id, self.out.now) {
            self.out.tell(News::RequestRefused { request, reason });
            return;
        }
        self.died(id, Evidence::Operator);
        self.out.tell(News::Fenced { request, slave: id });
    }

    /// A rule that is broken on purpose: whoever is to be killed counts as dead at once.
    pub(crate) fn killed_are_dead(&mut self) {
        if mutant!("kill-not-awaited") {
            let slaves = self.fleet.slaves.iter();
            let killed = slaves.filter(|(_, slave)| slave.standing == Standing::Condemned);
            let killed: Vec<_> = killed.map(|(&id, _)| id).collect();
            for id in killed {
                self.died(id, Evidence::Process);
            }
        }
    }
}
