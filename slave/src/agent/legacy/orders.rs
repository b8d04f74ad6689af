//! What the master says.

use baton_protocol::{
    Epoch, Sequence, ShardId, Ticket, discord,
    go::{Migration, Session, ToMaster, ToSlave},
    message::{Holding, ResumeAfter},
};
use tokio::time::Instant;

use super::{LegacyAgent, Part};
use crate::{agent::table::Entry, config::Legacy, shard::Care};

/// Discord's session ids have 32 characters.
const MAX_SESSION_ID: usize = 512;

impl LegacyAgent {
    pub(super) fn order(&mut self, order: ToSlave) {
        match order {
            // No master of 2018 sends it; its slave starts every shard, and takes
            // a 2 that follows for nothing new. So does this one.
            ToSlave::SoftStart | ToSlave::FullStart => self.full_start(),
            ToSlave::ShardMigrationStart(start) if start.from_this_slave => self.source(),
            ToSlave::ShardMigrationStart(start) => self.target(start.num_shards),
            ToSlave::StopShard(stop) => self.stop_shard(stop.shard),
            ToSlave::Resume(resume) => self.resume(resume),
            ToSlave::Shutdown => self.leave(true),
            // Not let through by the link.
            ToSlave::GuildState(_) => {}
        }
    }

    /// Never twice: the Go slave would IDENTIFY every shard again.
    fn full_start(&mut self) {
        if self.base.is_leaving() {
            return;
        }
        if self.base.table.owns_anything() || self.part == Part::Target {
            tracing::error!(
                "told to start every shard, while shards are here or on their way: ignored"
            );
            return;
        }
        self.set_count(self.legacy.shards.get());
        tracing::info!(shards = self.count, "cold start");
        for shard in (0..self.count).map(ShardId) {
            self.base.table.start(shard, Epoch(1));
            self.starting.insert(shard);
        }
        let hello = self.base.context.config.timings.hello;
        self.pace.in_order(Instant::now() + hello);
    }

    /// Shards are to leave. The answer is always the number of all shards: one
    /// that is not here is given without a session, so that the next slave starts
    /// it and nobody has to find out why it was missing.
    fn source(&mut self) {
        if self.base.is_leaving() {
            return;
        }
        let owned = self.owned().count();
        if owned < self.count as usize {
            tracing::error!(
                owned,
                shards = self.count,
                "not all shards are here: the next slave starts new sessions for the others; end every other slave of this bot"
            );
        }
        self.moves_on(Part::Source);
        tracing::info!(shards = self.count, "shards are to leave");
        self.say(&migration_start(true, self.count));
    }

    /// Shards are to come. Their number is that of the sessions, so it wins over
    /// the setting.
    fn target(&mut self, shards: u32) {
        if self.base.is_leaving() {
            return;
        }
        if self.base.table.owns_anything() {
            tracing::error!("told to take shards over, while shards are here: not answered");
            return;
        }
        if shards > Legacy::MAX_SHARDS {
            tracing::error!(shards, "no bot has so many shards: not answered");
            return;
        }
        let set = self.legacy.shards.get();
        if shards != set {
            tracing::error!(
                shards,
                set,
                "the sessions are of another number of shards than this slave was set to: theirs is used; change --shards"
            );
        }
        if shards > 0 {
            self.set_count(shards);
        }
        self.moves_on(Part::Target);
        tracing::info!(shards, "shards are to come");
        self.say(&migration_start(false, shards));
    }

    fn set_count(&mut self, count: u32) {
        self.count = count;
        self.base.table.set_shard_count(count);
    }

    /// The Go slave ends at any 4 outside a migration, with all its
    /// shards; and its master sends such ones when the slave before, or a
    /// connection, is lost at the wrong moment. So an owner stays. It does not
    /// answer either: the master would crash.
    fn stop_shard(&mut self, number: u32) {
        let shard = ShardId(number);
        self.in_hand = None;
        if self.part != Part::Source {
            if self.owns() {
                tracing::error!(
                    %shard, owned = self.owned().count(), shards = self.count,
                    "told to stop a shard outside a migration: ignored. If the slave before has died, deploy again"
                );
            } else {
                self.leave(true);
            }
        } else if number < self.count {
            self.seal(shard);
        } else if self.owns() {
            tracing::error!("told to end, while shards are here: ignored");
        } else {
            tracing::info!("all shards have moved");
            self.leave(true);
        }
    }

    /// A shard comes: from another slave, or back.
    fn resume(&mut self, order: Session) {
        let shard = ShardId(order.shard);
        if self.base.is_leaving() {
            return;
        }
        if order.shard >= self.count || order.session_id.len() > MAX_SESSION_ID {
            tracing::error!(%shard, shards = self.count, "no shard of this bot: ignored");
            return;
        }
        let holding = self.base.table.get(shard).and_then(Entry::holding);
        match holding {
            // An old frame out of a send queue: it is here.
            Some(Holding::Serving) => self.say(&ToMaster::Resume(order)),
            Some(Holding::Starting | Holding::Resuming) => {
                self.owed.insert(shard, order);
            }
            Some(Holding::Sealed) if !self.given.contains(&shard) => {
                tracing::error!(%shard, "a shard comes back before it was given: ignored");
            }
            Some(Holding::Sealed | Holding::Failed) | None => self.take(shard, order),
        }
    }

    fn take(&mut self, shard: ShardId, order: Session) {
        let (epoch, own) = match self.base.table.get(shard) {
            Some(entry) => (entry.epoch().next(), Some(entry.ticket())),
            None => (Epoch(1), None),
        };
        let session = discord::Session {
            parameters: self.base.context.config.parameters(self.count),
            ..discord::Session::with_id(&order.session_id)
        };
        let named = Ticket {
            shard,
            session: session.seal(),
            handled: Sequence(order.sequence),
            state_at: Sequence(order.sequence),
            ..Ticket::default()
        };
        let ticket = match own {
            // What is known of it here is more than the wire can say.
            Some(own) if own.session.is_same(&named.session) => Ticket {
                handled: own.handled.max(Sequence(order.sequence)),
                ..own.clone()
            },
            Some(_) | None => named,
        };
        self.given.remove(&shard);
        self.owed.insert(shard, order);
        if !ticket.has_session() {
            tracing::error!(%shard, "a shard comes without a session: it gets a new one");
            self.base.table.start(shard, epoch);
        } else if let Err(why) =
            self.base
                .table
                .resume(shard, epoch, ResumeAfter::Seal, ticket, Care::default())
        {
            tracing::error!(%shard, why, "cannot serve this shard");
        }
    }
}

fn migration_start(from_this_slave: bool, num_shards: u32) -> ToMaster {
    ToMaster::ShardMigrationStart(Migration {
        from_this_slave,
        num_shards,
    })
}
