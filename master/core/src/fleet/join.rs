//! A slave comes, or comes back.
//!
//! ```text
//! Joined ─┬─ refused: no such slot, other session parameters, slot taken, busy
//!         └─ accepted ─▶ report (report.rs) ─▶ owner │ candidate │ standby │ told to leave
//! ```

use std::time::Duration;

use baton_protocol::{
    SlaveId,
    message::{Hello, RefusedReason, Report, Role},
};

use crate::{
    deploy::Succession,
    event::{Beside, Entry, News, Time},
    fleet::{Fleet, Lies, Past, SlotId, Standing},
    master_stage::MasterStage,
    out::Out,
    settings::Settings,
    shard::Phase,
};

impl Succession<'_> {
    /// Whether a slave that owns nothing may come in, whatever it lies about.
    pub(crate) fn may_come(
        &self,
        hello: &Hello,
        slot: SlotId,
        lies: &Lies,
    ) -> Result<(), (RefusedReason, String)> {
        self.fleet.has_room()?;
        if lies.void.is_empty() {
            return self.admission(hello, slot);
        }
        Ok(())
    }

    /// Whether a slave that owns nothing may come in.
    fn admission(&self, hello: &Hello, slot: SlotId) -> Result<(), (RefusedReason, String)> {
        let place = &self.fleet.slots[slot];
        let is_unwanted = !hello.launch.is_said() && place.unwanted.contains(&hello.process.pid);
        if is_unwanted || self.deploys.gave_up(hello) {
            let detail = "the deploy that started this slave has ended".to_owned();
            return Err((RefusedReason::Superseded, detail));
        }
        if let Some(detail) = self.settings.service.refuses(&hello.parameters) {
            return Err((RefusedReason::Parameters, detail));
        }
        if let Some(pinned) = &self.fleet.pinned
            && let Some(detail) = self.settings.service.difference(pinned, &hello.parameters)
            && self
                .fleet
                .sessions_exist(self.out.now, self.settings.resume_window)
            && !mutant!("parameters-unchecked")
        {
            return Err((RefusedReason::Parameters, detail));
        }
        match self.stage {
            MasterStage::Adopting => return Ok(()),
            MasterStage::Running => {}
            MasterStage::Leaving | MasterStage::Left => {
                let detail = "the master is leaving; try again when the next one runs".to_owned();
                return Err((RefusedReason::Busy, detail));
            }
        }
        if hello.role == Role::Standby {
            return Ok(());
        }
        if let Some(deploy) = self.deploys.of(slot) {
            if deploy.expects(hello) {
                return Ok(());
            }
            return Err((RefusedReason::Busy, deploy.busy()));
        }
        if let Some(other) = self.deploys.iter().next()
            && place.owner.is_some()
        {
            return Err((RefusedReason::Busy, other.busy()));
        }
        match (place.owner, hello.role) {
            (None, Role::Candidate | Role::Relaunch | Role::Standby) => Ok(()),
            (Some(owner), Role::Relaunch) => Err((
                RefusedReason::Taken,
                format!("slave {owner} fills slot {:?}", place.name),
            )),
            (Some(owner), Role::Candidate | Role::Standby) => self
                .deploy_possible(slot, owner, Beside::Nothing)
                .map_err(|detail| (RefusedReason::Busy, detail)),
        }
    }

    /// What a slave is for, once it may be decided.
    pub(crate) fn decide_standing(&mut self, id: SlaveId) {
        let Some(slave) = self.fleet.slaves.get(&id) else {
            return;
        };
        if self.stage == MasterStage::Adopting || slave.standing != Standing::Waiting {
            return;
        }
        let (slot, role, past) = (slave.slot, slave.hello.role, slave.past);
        let given_up = self.deploys.gave_up(&slave.hello);
        let owner = self.fleet.slots[slot].owner;
        let deploy = self.deploys.of(slot);
        let expected = deploy.is_some_and(|deploy| deploy.expects(&slave.hello));
        if !slave.holds.is_empty() {
            self.fleet.stand(id, Standing::Active);
            self.settle_slot(slot);
        } else if owner == Some(id) {
            self.fleet.stand(id, Standing::Active);
            self.deploy_rejoined(id);
        } else if role == Role::Standby {
            self.fleet.stand(id, Standing::Standby);
            self.fleet.soft_start(id, self.out);
            self.fleet.standby_came(slot, id, self.out);
        } else if given_up {
            self.fleet.dismiss(id, self.settings.retire, self.out);
        } else if expected {
            self.fleet.stand(id, Standing::Active);
            self.candidate_came(slot, id);
        } else if owner.is_none() && self.deploys.of(slot).is_none() {
            self.fleet.fill(slot, id, self.out);
        } else if role == Role::Candidate
            && past == Past::Fresh
            && let Some(owner) = owner
            && self.deploy_possible(slot, owner, Beside::Nothing).is_ok()
        {
            self.fleet.stand(id, Standing::Active);
            self.deploy_candidate(slot, owner, id);
        } else {
            self.fleet.dismiss(id, self.settings.retire, self.out);
        }
        self.out.touch(slot);
    }
}

impl Fleet {
    /// A slave is in.
    pub(crate) fn accept(
        &mut self,
        id: SlaveId,
        report: &Report,
        back: bool,
        shard_count: u32,
        out: &mut Out,
    ) {
        debug_assert!(self.is_joined(id), "slave {id} is let in");
        let Some(slave) = self.slaves.get_mut(&id) else {
            return;
        };
        slave.built = report.ready;
        slave.heard = out.now;
        let build = slave.hello.build.clone();
        let slot = self.slots[slave.slot].name.clone();
        self.accept_with_lease(id, shard_count, out);
        let host = self.host_of(id);
        out.tell(News::SlaveJoined {
            slave: id,
            host,
            build,
            slot,
            back,
        });
    }

    /// Whether any session is known that a newcomer would have to resume. Walks
    /// over all shards; asked only when parameters differ.
    fn sessions_exist(&self, now: Time, window: Duration) -> bool {
        let mut shards = self.shards.iter().map(|(_, shard)| shard);
        shards.any(|shard| match &shard.phase {
            Phase::Unknown { row } => row.is_some() && shard.ticket.is_some(),
            Phase::Free(free) => shard.resumable(free.since, now, window).is_some(),
            Phase::Claimed(_) => true,
        })
    }

    /// Pins what the fleet's sessions are identified with: the first slave's
    /// parameters, or those of the slave that starts a dead fleet cold.
    pub(crate) fn pin(&mut self, hello: &Hello, settings: &Settings, now: Time) -> Option<Entry> {
        let service = settings.service;
        let pinned = self.pinned.as_ref();
        let agrees =
            pinned.is_some_and(|pinned| service.difference(pinned, &hello.parameters).is_none());
        if agrees || (pinned.is_some() && self.sessions_exist(now, settings.resume_window)) {
            return None;
        }
        let parameters = service.pin(&hello.parameters, settings.shard_count);
        self.pinned = Some(parameters.clone());
        Some(Entry::Pinned(parameters))
    }
}
