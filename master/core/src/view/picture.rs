//! What the core knows, as a picture for people. Costs a walk over everything;
//! asked for by `status` only.

use std::time::Duration;

use baton_protocol::{
    ProcessIdentity, ShardId, SlaveId,
    message::{Hello, agent::Stands},
};

use crate::{
    Core, Time,
    deploy::{Carrier, Deploy, Deploys, Stage},
    event::{Arranging, DeployOrder, Planned, whole_millis as millis},
    fleet::{Fleet, Presence, Slave, Slot, SlotId, Standing},
    learnt::Late,
    master_stage::MasterStage,
    permits::Permits,
    saves::Saves,
    service::{About, Order},
    settings::Settings,
    shard::{ClaimStage, Phase, Shard, reach::Replays},
    view::{DeployView, MovesView, ShardView, SinkView, SlaveView, SlotView, UnfinishedView, View},
};

/// The rooms that a picture is taken of: nothing of them is changed.
pub(crate) struct Picture<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) deploys: &'a Deploys,
    pub(crate) permits: &'a Permits,
    pub(crate) settings: &'a Settings,
    pub(crate) stage: MasterStage,
    pub(crate) saves: &'a Saves,
}

impl Core {
    /// A picture of the fleet. Never holds a session.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        let picture = Picture {
            fleet: &self.fleet,
            deploys: &self.deploys,
            permits: &self.permits,
            settings: &self.settings,
            stage: self.stage,
            saves: &self.out.saves,
        };
        let left = self.permits.left(now);
        let outlook = self.permits.outlook(&self.settings, now);
        let slots = self.fleet.slots.iter();
        let slaves = self.fleet.slaves.iter();
        let shards = self.fleet.shards.iter();
        let deploys = self.deploys.iter();
        let deploys = deploys.map(|deploy| picture.deploy_view(deploy, self.out.now));
        let deploys: Vec<_> = deploys.collect();
        let replays = self.learnt.replays(&self.settings);
        let mut bot = None;
        let shards = shards.map(|(id, shard)| {
            let about = picture.about(shard);
            bot = bot.or(about.bot);
            picture.shard_view(id, shard, (about, replays), now)
        });
        let shards = shards.collect();
        View {
            adopting: self.stage == MasterStage::Adopting,
            journal_fails: self.out.saves.fail(),
            shard_count: self.settings.shard_count,
            slots: slots
                .map(|(id, slot)| picture.slot_view(id, slot))
                .collect(),
            slaves: slaves
                .map(|(&id, slave)| picture.slave_view(id, slave, now))
                .collect(),
            shards,
            hosts: Vec::new(),
            deploy: deploys.first().cloned(),
            deploys,
            moves: picture.moves_view(),
            cordoned: self.fleet.cordoned.iter().cloned().collect(),
            held: self.fleet.held,
            // A number of 64 bits is a text: a browser would round it.
            bot: bot.map(|id| id.to_string()),
            late_seal_refused: self.learnt.late() == Late::Refused,
            work: self.work.owner().map(|id| id.to_string()),
            identifies_left: left.map(|(left, ..)| left),
            identifies_limit: left.map(|(_, limit, _)| limit),
            identifies_reset_ms: left.map(|(.., wait)| millis(wait)),
            identify_every_ms: millis(self.settings.identify_window / self.permits.at_once()),
            identifies_reserve: outlook.reserve,
            identifies_waiting: outlook.waiting,
            identifies_refused: outlook.refused,
            identify_pause_ms: outlook.next().map(millis),
            identifies_held: outlook.held.as_ref().map(|held| held.why.clone()),
            identifies_held_ms: outlook.held.as_ref().map(|held| millis(held.since)),
            overlaps: self.settings.service.order() == Order::Overlap,
            identifies_trial: (outlook.held.as_ref()).and_then(|held| Some(held.trial?.get())),
        }
    }

    /// What a slave said of itself that is not known to be dead.
    #[must_use]
    pub fn hello(&self, id: SlaveId) -> Option<&Hello> {
        self.fleet.slaves.get(&id).map(|slave| &slave.hello)
    }

    /// How a slave stands, for who started it.
    #[must_use]
    pub fn stands(&self, id: SlaveId) -> Stands {
        let Some(slave) = self.fleet.slaves.get(&id) else {
            return Stands {
                slave: id,
                ..Stands::default()
            };
        };
        let deploy = self.deploys.of(slave.slot);
        let deploying = deploy.is_some_and(|it| !matches!(it.stage, Stage::Retiring { .. }));
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Stands {
            slave: id,
            owner: self.fleet.slots[slave.slot].owner == Some(id),
            deploying,
            shards: number(slave.holds.len()),
            serving: number(slave.serving),
        }
    }

    /// The host that the slaves of this slot run on, as the configuration says; `None`: the
    /// master's own.
    #[must_use]
    pub fn host_of(&self, slot: &str) -> Option<&str> {
        let mut slots = self.settings.slots.iter();
        slots.find(|known| known.name == slot)?.host.as_deref()
    }

    /// Which slave that is not known to be dead has this process.
    #[must_use]
    pub fn slave_in(&self, process: &ProcessIdentity) -> Option<SlaveId> {
        self.fleet.slave_in(process)
    }

    /// What an order on where shards are to be comes to; nothing is done.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn would_arrange(&mut self, order: &Arranging) -> Result<Vec<Planned>, String> {
        self.succession().plan(order)
    }

    /// Why a deploy is refused; `None`: it would begin.
    #[must_use]
    pub fn deploy_refused(&mut self, order: &DeployOrder) -> Option<String> {
        self.succession().deploy_slot(order).err()
    }

    /// Why the operator's word that this slave is dead is not taken; `None`: it would be.
    #[must_use]
    pub fn fence_refused(&self, id: SlaveId, now: Time) -> Option<String> {
        self.fleet.is_not_dead(id, now, self.settings.answers)
    }
}

impl Picture<'_> {
    /// What the service says of the session of a shard, which is opened once for it.
    fn about(&self, shard: &Shard) -> About {
        let session = shard.ticket.as_ref().map(|kept| &kept.ticket.session);
        let about = session.map(|session| self.settings.service.about(session));
        about.unwrap_or_default()
    }

    fn slot_view(&self, id: SlotId, slot: &Slot) -> SlotView {
        let standbys = self.fleet.standbys(id);
        let built = standbys.iter().filter(|(_, built)| *built).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        SlotView {
            name: slot.name.clone(),
            shards: slot.members.to_string(),
            slave: slot.owner.map(|id| id.to_string()),
            command: None,
            command_before: None,
            failed_launches: slot.failed_launches,
            host: slot.host.clone(),
            lease_ms: slot.lease.map(millis),
            cannot_start: slot.cannot_start().filter(|_| !slot.fills_itself()),
            standbys: number(standbys.len()),
            standbys_built: number(built),
            standbys_wanted: if slot.launches {
                self.settings.standbys
            } else {
                0
            },
        }
    }

    fn slave_view(&self, id: SlaveId, slave: &Slave, now: Time) -> SlaveView {
        let connected = slave.presence == Presence::Joined;
        let answered = now.since(slave.heard);
        let slot = &self.fleet.slots[slave.slot];
        let role = match slave.standing {
            Standing::Leaving | Standing::Condemned => "leaving",
            Standing::Standby => "standby",
            Standing::Waiting | Standing::Active => {
                if slot.owner == Some(id) || !slave.holds.is_empty() {
                    "owner"
                } else {
                    "candidate"
                }
            }
        };
        let deployed = slot.deployed(now).filter(|_| slot.owner == Some(id));
        SlaveView {
            slave: id.to_string(),
            slot: slot.name.clone(),
            build: slave.hello.build.clone(),
            pid: slave.hello.process.pid,
            host: self.fleet.host_of(id),
            role,
            connected,
            answered_ms_ago: connected.then(|| millis(answered)),
            hangs: connected && answered > self.settings.answers,
            lease_ms: slave.lease.keeps.map(millis),
            lease_left_ms: self.fleet.lease_left(id, now).map(millis),
            lease_refused: slave.lease.refuses,
            shards: u32::try_from(slave.holds.len()).unwrap_or(u32::MAX),
            finished: slave.record.finished,
            failed: slave.record.failed,
            full_percent: slave.backpressure.part.percent,
            full_because: (slave.backpressure.part.percent > 0)
                .then_some(slave.backpressure.part.because),
            lag_ms: slave.lag.map(millis),
            deployed_ms_ago: deployed.map(|done| millis(done.ago)),
            lag_before_ms: deployed.and_then(|done| done.lag_before).map(millis),
            silent_ms: slave.hearing.map(|hearing| millis(hearing.silent.0)),
            silent_shard: slave.hearing.map(|hearing| hearing.silent.1.get()),
            heartbeat_ms: slave.hearing.map(|hearing| millis(hearing.heartbeat.0)),
            heartbeat_shard: slave.hearing.map(|hearing| hearing.heartbeat.1.get()),
            store: slave.store.as_deref().cloned(),
            clients: slave.clients.clone(),
            sink: slave.sink.as_ref().map(|sink| {
                let report = sink.report.clone();
                let is_troubled = report.is_troubled();
                Box::new(SinkView {
                    report,
                    troubled_ms: is_troubled.then(|| millis(sink.troubled(now))),
                    covered_ms: sink.covered(now).map(millis),
                })
            }),
            memory: slave.memory,
        }
    }

    fn shard_view(
        &self,
        id: ShardId,
        known: &Shard,
        (about, replays): (About, Replays),
        now: Time,
    ) -> ShardView {
        let claimant = known.phase.claimant();
        let reachable = claimant.is_none_or(|(owner, _)| self.fleet.is_joined(owner));
        let moves = self.deploys.moves.goes_back(id);
        let going_back = moves.unwrap_or_else(|| self.deploys.goes_back(known.slot));
        let state = match &known.phase {
            _ if !reachable => "unreachable",
            Phase::Unknown { row } if row.is_some() => "unreachable",
            Phase::Unknown { .. } => "idle",
            Phase::Free(free) if free.parked.is_some() => "failed",
            Phase::Free(_) => "idle",
            phase if phase.has_no_session() && known.session_lost => "no session",
            phase if phase.has_no_session() => "starting",
            phase if phase.serves() && known.away.is_some() => "reconnecting",
            Phase::Claimed(claim) => match claim.stage {
                ClaimStage::Starting(_) | ClaimStage::Sealing { .. } if going_back => "taking back",
                ClaimStage::Starting(_) => "resuming",
                ClaimStage::Serving => "serving",
                ClaimStage::Copying { .. } => "copying",
                ClaimStage::Dialling { .. } => "dialling",
                ClaimStage::Sealing { .. } => "sealing",
            },
        };
        let row = known.phase.row().map(|(owner, _)| owner);
        let budget = known.replay_budget(now, self.settings.replay_buffer);
        ShardView {
            shard: id.get(),
            epoch: claimant.map_or(known.epoch, |(_, epoch)| epoch).get(),
            slot: self.fleet.slots[known.slot].name.clone(),
            moves_to: known
                .is_stray()
                .then(|| self.fleet.slots[known.home].name.clone()),
            owner: claimant.map(|(id, _)| id).or(row).map(|id| id.to_string()),
            state,
            reason: self.why(id, known, now),
            handled: known
                .ticket
                .as_ref()
                .map_or(0, |kept| kept.ticket.handled.get()),
            behind: known.ticket.as_ref().map_or(0, |kept| {
                known
                    .highest()
                    .get()
                    .saturating_sub(kept.ticket.handled.get())
            }),
            replayed_at_most: replays.of_one(about.replays),
            unfinished: known.oldest.as_ref().map(|oldest| UnfinishedView {
                sequence: oldest.event.sequence.get(),
                kind: oldest.event.kind.clone(),
                guild: oldest.event.guild,
                age_ms: millis(oldest.age(now)),
            }),
            session_began_unix_ms: about.began_unix_ms,
            events_per_1000_s: known.events_in_1000_s(now),
            away_ms: known
                .away
                .filter(|_| state == "reconnecting")
                .map(|since| millis(now.since(since))),
            replay_budget_seconds: (budget != Duration::MAX).then_some(budget.as_secs()),
        }
    }

    fn moves_view(&self) -> MovesView {
        let shards = self.fleet.shards.iter();
        let left = shards.filter(|(_, shard)| shard.is_stray()).count();
        let in_hand = self.deploys.moves.ids().count();
        MovesView {
            left: u32::try_from(left).unwrap_or(u32::MAX),
            in_hand: u32::try_from(in_hand).unwrap_or(u32::MAX),
        }
    }

    fn deploy_view(&self, deploy: &Deploy, now: Time) -> DeployView {
        let to = deploy.to();
        let moved = to.map_or(0, |to| self.fleet.serving(to));
        DeployView {
            deploy: deploy.id.get(),
            slot: deploy.order.slot.clone(),
            step: deploy.step().name(),
            from: deploy.from.map(|id| id.to_string()),
            to: to.map(|id| id.to_string()),
            moved: u32::try_from(moved).unwrap_or(u32::MAX),
            total: u32::try_from(deploy.size(self.fleet)).unwrap_or(u32::MAX),
            in_hand: u32::try_from(deploy.in_flight.len()).unwrap_or(u32::MAX),
            at_once: u32::try_from(deploy.at_once(
                self.fleet,
                now,
                self.settings.replay_buffer,
                self.deploys.beside(Carrier::Deploy(deploy.slot)),
            ))
            .unwrap_or(u32::MAX),
            soak_asked_ms: millis(deploy.order.soak),
            soak_ms: deploy.soak.map(millis),
        }
    }
}
