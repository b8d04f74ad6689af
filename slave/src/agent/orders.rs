//! What the master says, and what is said to it.

use std::time::Duration;

use baton_protocol::{
    Epoch, ShardId, Ticket, ToMaster, ToSlave, discord,
    message::{
        self, Accepted, Correspondent, Dial, Dialled, Failed, FullStart, Holding, IdentifyRequest,
        Overtaken, Pong, Post, Progress, Refused, RefusedReason, Resume, Role, Sealed,
        ShardMigrationStart, StateAck, Step, Unit,
    },
};

use tokio::task::spawn_blocking;

use super::{Agent, link_state::Wire as _, work::Done};
use crate::{
    error::Error,
    shard::{Care, FromShard, Said},
    telemetry::millis,
};

impl Agent {
    pub(super) fn order(&mut self, order: ToSlave) -> Result<(), Error> {
        match order {
            ToSlave::Accepted(accepted) => self.accepted(accepted),
            ToSlave::Refused(refused) => return self.refused(&refused),
            ToSlave::Ping(ping) => self.pong(ping),
            ToSlave::SoftStart => self.say(&ToMaster::SoftStartComplete),
            ToSlave::FullStart(start) => self.full_start(start),
            ToSlave::ShardMigrationStart(migration) => self.migration_start(migration),
            ToSlave::Seal(seal) => self.base.table.seal(seal),
            ToSlave::SealLate(seal) => self.base.table.seal_late(seal),
            ToSlave::Resume(resume) => self.resume(*resume),
            ToSlave::Shutdown => {
                if !self.base.is_leaving() {
                    self.leave(true);
                }
            }
            ToSlave::IdentifyPermit(unit) => self.base.table.permit(unit.shard, unit.epoch),
            ToSlave::Settled(settled) => self.base.table.settled(settled),
            ToSlave::CopyState(copy) => {
                if let Some(link) = self.base.link_mut() {
                    let channel = link.state_channel(&copy);
                    self.base.table.copy(copy, channel);
                }
            }
            ToSlave::Dial(dial) => self.dial_ahead(*dial),
            ToSlave::Try(tried) => self.base.table.tried(&tried),
            ToSlave::Overtake(unit) => self.base.table.overtake(unit.shard, unit.epoch),
            ToSlave::PermitsLeased(leased) => {
                if let Some(office) = &self.base.office {
                    office.leased(&leased);
                }
            }
            ToSlave::Post(post) => self.post(post),
            ToSlave::State(frame) => self.base.table.state_in(frame),
            ToSlave::StateAck(ack) => {
                if let Some(link) = self.base.link_mut() {
                    link.acknowledged(ack.bytes);
                    self.base.table.copy_heard(ack.shard, ack.epoch);
                }
            }
            ToSlave::StopWork(work) => {
                if let Some(done) = self.base.work.stop(Some(work.epoch)) {
                    self.work_done(done);
                }
            }
            ToSlave::StartWork(work) => {
                if !self.base.is_leaving()
                    && let Some(done) = self.base.work.start(work)
                {
                    self.work_done(done);
                }
            }
            ToSlave::Forget(unit) => self.base.table.forget(unit.shard, unit.epoch),
        }
        Ok(())
    }

    /// Messages that had no receiver are repeated.
    fn accepted(&mut self, accepted: Accepted) {
        let Some(link) = self.base.link_mut() else {
            debug_assert!(false, "accepted on no link");
            return;
        };
        link.accepted = true;
        self.base.failures = 0;
        if !self.lease_accepted(accepted.lease_ms) {
            return;
        }
        self.turns.accepted();
        self.base.table.set_shard_count(accepted.shard_count);
        tracing::info!(term = %self.term, shard_count = accepted.shard_count, "accepted by the master");
        self.stands_by();
        let mut again = Vec::new();
        for (shard, entry) in self.base.table.entries() {
            if let Some(cause) = entry.waiting() {
                again.push(ToMaster::IdentifyRequest(IdentifyRequest {
                    shard,
                    epoch: entry.epoch(),
                    cause,
                }));
            }
            let progress = |step| {
                ToMaster::Progress(Progress {
                    shard,
                    epoch: entry.epoch(),
                    step,
                    ..Progress::default()
                })
            };
            if entry.touched_since_report() {
                again.push(progress(Step::Replaying));
            }
            match entry.since_report() {
                Some(Holding::Serving) => again.push(progress(Step::Serving)),
                Some(Holding::Sealed) => again.extend(self.sealed(entry.epoch(), entry.ticket())),
                Some(Holding::Failed) => again.push(ToMaster::Failed(Failed {
                    shard,
                    epoch: entry.epoch(),
                    close_code: 0,
                    detail: "it failed while there was no master".to_owned(),
                })),
                // What it waits for is asked above.
                Some(Holding::Starting | Holding::Resuming) | None => {}
            }
            if entry.is_away() {
                again.push(progress(Step::Reconnecting));
            }
            // Not that state was taken in: a copy ends with the connection.
            again.extend(entry.settled().cloned().map(ToMaster::Settled));
        }
        for message in again {
            self.say(&message);
        }
        self.checkpoint();
        if let Some(office) = &self.base.office {
            office.begins_anew(accepted.shard_count);
        }
    }

    /// What a standby can do ahead of a death is not on the way of its successor then.
    fn stands_by(&self) {
        let context = &self.base.context;
        let waits = context.config.role == Role::Standby && !self.base.table.owns_anything();
        if let Some(place) = context.stays.clone().filter(|_| waits) {
            let fleet = context.fleet();
            spawn_blocking(move || place.stand_by(fleet));
        }
    }

    /// A slave that owns nothing ends; one that owns shards never drops them
    /// because a master is odd.
    pub(super) fn refused(&mut self, refused: &Refused) -> Result<(), Error> {
        let detail = refused.detail.clone();
        if refused.reason == RefusedReason::NotLeading {
            tracing::debug!(detail, "this master does not lead");
            self.dialled_in_vain();
            return Ok(());
        }
        if !self.base.table.owns_anything() {
            if !refused.reason.may_pass() {
                return Err(Error::Refused {
                    reason: refused.reason,
                    detail,
                });
            }
            if refused.reason == RefusedReason::Busy
                && self.base.context.config.role == Role::Candidate
            {
                return Err(Error::Busy { detail });
            }
        }
        tracing::error!(reason = ?refused.reason, detail, "the master refused this slave; shards go on");
        self.base.failures = self.base.failures.max(16);
        self.dialled_in_vain();
        Ok(())
    }

    fn pong(&mut self, ping: message::Ping) {
        self.lease_pinged(ping.number, ping.heard);
        // Also before the report is accepted: the master may take its time.
        if let Some(link) = self.base.link() {
            let counts = self.base.context.counters.read();
            let lag = self.base.context.lag.read(|shard| {
                let entry = self.base.table.get(shard);
                entry.is_some_and(|entry| entry.is(Holding::Serving))
            });
            let worst = self.base.context.hearing.worst();
            let said = |worst: Option<(Duration, ShardId)>| {
                worst.map_or((0, ShardId(0)), |(time, shard)| (millis(time), shard))
            };
            let (silent_ms, silent_shard) = said(worst.silent);
            let (heartbeat_ms, heartbeat_shard) = said(worst.slowest);
            let context = &self.base.context;
            let full = context.fullness.read();
            let store = context.stores.tell(context.stays.as_ref());
            let clients = context.clients.as_deref();
            let sink = context.sink.as_deref();
            link.say(&ToMaster::Pong(Pong {
                number: ping.number,
                lease_ms: self.kept.millis(),
                finished: counts.finished,
                failed: counts.failed,
                full_ms: full.all,
                full_bot_ms: full.bot,
                full_store_ms: full.store,
                lag_ms: millis(lag),
                silent_ms,
                silent_shard,
                heartbeat_ms,
                heartbeat_shard,
                // One that was given back is handed out once more.
                handed: counts.handed.saturating_sub(counts.retried),
                unfinished: self.base.table.unfinished(),
                store: store.map(Box::new),
                clients: clients.map(|clients| Box::new(clients())),
                sink: sink.map(|sink| Box::new(sink())),
                memory: context.memory.tell(context.config.memory_limit),
            }));
        }
    }

    fn full_start(&mut self, start: FullStart) {
        self.base.table.set_shard_count(start.shard_count);
        for unit in start.shards {
            if unit.shard.get() >= start.shard_count {
                self.fail(
                    unit.shard,
                    unit.epoch,
                    "the bot has no such shard".to_owned(),
                );
            } else if !self.base.is_leaving() {
                self.base.table.start(unit.shard, unit.epoch);
            }
        }
    }

    fn migration_start(&mut self, order: ShardMigrationStart) {
        let shards = if order.from_this_slave {
            if let Some(link) = self.base.link_mut() {
                link.renew_budget();
            }
            let owned = self
                .base
                .table
                .entries()
                .filter(|(_, entry)| entry.is_owned());
            u32::try_from(owned.count()).unwrap_or(u32::MAX)
        } else {
            // The bot was built before the master was dialled.
            order.shards
        };
        self.say(&ToMaster::ShardMigrationStart(ShardMigrationStart {
            shards,
            ..order
        }));
    }

    fn resume(&mut self, order: Resume) {
        let shard = order.shard();
        let Resume {
            epoch,
            after,
            state_too_old,
            alone,
            deadly,
            skipped,
            ticket,
        } = order;
        let care = Care {
            alone,
            deadly,
            skipped,
        };
        if self.base.is_leaving() {
            self.fail(shard, epoch, "this slave is leaving".to_owned());
        } else if let Err(why) = self.resumable(&ticket) {
            self.fail(shard, epoch, why);
        } else {
            if state_too_old {
                self.base.table.give_up_state(shard, epoch);
            }
            if let Err(why) = self.base.table.resume(shard, epoch, after, ticket, care) {
                self.fail(shard, epoch, why);
            }
        }
    }

    /// A letter to a unit, or to the once-per-bot work.
    fn post(&mut self, post: Post) {
        match (post.to, &self.base.office) {
            (Correspondent::Unit(unit), _) => self.base.table.letter(unit, post.body),
            (Correspondent::Work, Some(office)) => office.came(post),
            (Correspondent::Work | Correspondent::Operator(_), _) => {}
        }
    }

    fn dial_ahead(&mut self, order: Dial) {
        let Dial {
            shard,
            epoch,
            ticket,
        } = order;
        if let Err(failed) = self.resumable(&ticket) {
            self.say(&ToMaster::Dialled(Dialled {
                shard,
                epoch,
                failed,
            }));
        } else {
            self.base.table.dial_ahead(shard, epoch, ticket);
        }
    }

    /// A session keeps what it was identified with: a build that asks for
    /// something else would not get its events.
    fn resumable(&self, ticket: &Ticket) -> Result<(), String> {
        if self.base.context.service.is_some() {
            return Ok(());
        }
        let ours = self.base.context.config.parameters(0);
        let session = discord::Session::open(&ticket.session);
        match session.parameters.difference(&ours) {
            Some(_) if mutant!("parameters-unchecked") => Ok(()),
            Some(difference) if ticket.has_session() => Err(difference.to_string()),
            Some(_) | None => Ok(()),
        }
    }

    fn fail(&mut self, shard: ShardId, epoch: Epoch, detail: String) {
        tracing::error!(%shard, %epoch, detail, "cannot serve this shard");
        self.say(&ToMaster::Failed(Failed {
            shard,
            epoch,
            close_code: 0,
            detail,
        }));
    }

    /// What a shard said, for the master.
    pub(super) fn said(&mut self, from: FromShard) {
        let FromShard {
            shard, epoch, said, ..
        } = from;
        let progress = |step, replayed, refused| {
            ToMaster::Progress(Progress {
                shard,
                epoch,
                step,
                replayed,
                refused,
            })
        };
        let message = match said {
            Said::Progress {
                step,
                replayed,
                refused,
            } => progress(step, replayed, refused),
            Said::Identify(cause) => ToMaster::IdentifyRequest(IdentifyRequest {
                shard,
                epoch,
                cause,
            }),
            Said::Session(_) => return,
            Said::Serving { resumed, replayed } => {
                // The ticket first: the master can rely on it when it hears that the shard serves.
                self.checkpoint();
                if resumed {
                    ToMaster::Resumed(Unit { shard, epoch })
                } else {
                    progress(Step::Serving, replayed, String::new())
                }
            }
            Said::Sealed(ticket) => {
                self.checkpoint();
                let Some(answer) = self.sealed(epoch, &ticket) else {
                    return;
                };
                answer
            }
            Said::SealsLate => ToMaster::SealLate(Unit { shard, epoch }),
            Said::CopyOvertaken => ToMaster::CopyAnew(Unit { shard, epoch }),
            Said::Settled { unfinished, events } => ToMaster::Settled(message::Settled {
                shard,
                epoch,
                unfinished,
                events,
            }),
            Said::Trying(event) => ToMaster::Trying(message::Trying {
                shard,
                epoch,
                sequence: event.sequence(),
                kind: event.kind().to_owned(),
                guild: event.guild_id().map_or(0, |guild| guild.get()),
            }),
            Said::SetAside(aside) => ToMaster::SetAside(aside),
            Said::Failed { close_code, detail } => ToMaster::Failed(Failed {
                shard,
                epoch,
                close_code,
                detail,
            }),
            Said::StateAck { copied, bytes } => ToMaster::StateAck(StateAck {
                shard,
                epoch: copied,
                bytes,
            }),
            Said::StateReady {
                copied,
                state_at,
                pieces,
            } => ToMaster::StateReady(message::StateReady {
                shard,
                epoch: copied,
                state_at,
                pieces,
            }),
            Said::Dialled { copied, failed } => ToMaster::Dialled(Dialled {
                shard,
                epoch: copied,
                failed,
            }),
            Said::Overtaken { copied, failed } => ToMaster::Overtaken(Overtaken {
                shard,
                epoch: copied,
                failed,
            }),
            Said::Prepares { copied, done } => ToMaster::Progress(Progress {
                shard,
                epoch: copied,
                step: Step::Dialling,
                replayed: done,
                refused: String::new(),
            }),
            Said::Letter(body) => ToMaster::Post(Post {
                from: Correspondent::Unit(shard),
                to: Correspondent::Work,
                body,
            }),
            Said::StateBroken { copied, detail } => {
                return self.fail(shard, copied, format!("state: {detail}"));
            }
            // The table has it begin again, and says that.
            Said::Died(_) => return,
        };
        self.say(&message);
    }

    /// No master waits for a ticket without a session that was not asked for.
    fn sealed(&self, epoch: Epoch, ticket: &Ticket) -> Option<ToMaster> {
        let unasked = self.base.leaving().is_some_and(|leaving| !leaving.asked);
        let idle = unasked && !ticket.has_session();
        let ticket = ticket.clone();
        (!idle).then(|| ToMaster::Sealed(Box::new(Sealed { epoch, ticket })))
    }

    pub(super) fn work_done(&mut self, done: Done) {
        let message = match done {
            Done::Started(epoch) => ToMaster::StartWork(message::Work {
                epoch,
                ticket: Default::default(),
            }),
            Done::Stopped(work) => ToMaster::StopWork(work),
        };
        self.say(&message);
    }
}
