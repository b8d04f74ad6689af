//! Shards move from the main slave to a new one, one after the other: the happy
//! way, and what is said again to a slave that comes back in the middle of it.

use baton_protocol::go::{self, Session, ToSlave};
use bytes::Bytes;

use super::{
    Flow, MAX_KEPT_STATE, STEP,
    parts::{Handed, Migration, Peer, Phase},
    resume, stop,
};
use baton_core::event::Time;

impl Flow {
    pub(super) fn migrate_next(&mut self, now: Time) {
        let held_up = self.restore.is_some()
            || self.main_missed.is_some()
            // Others who have a part of the shards may still be on their way.
            || self.collecting.is_some();
        if self.migration.is_some() || held_up || !self.others.is_empty() {
            return;
        }
        let (Some(main), Some(new)) = (self.main, self.waiting.front().copied()) else {
            return;
        };
        self.waiting.pop_front();
        self.tell(format!("migration from connection {} to {}", main.0, new.0));
        self.migration = Some(Migration {
            new,
            new_missed: None,
            shards: 0,
            phase: Phase::Preparing,
            deadline: now.after(STEP),
            handed: Vec::new(),
            kept: 0,
        });
        self.send(main, migration_start(true, 0));
    }

    pub(super) fn ready(&mut self, now: Time, peer: Peer, start: go::Migration) {
        let main = self.main;
        if let Some(restore) = &self.restore
            && restore.told.is_none()
            && main == Some(peer)
        {
            self.restore_last(now, start.num_shards.checked_sub(1));
            return;
        }
        let Some(migration) = self
            .migration
            .as_mut()
            .filter(|m| m.phase == Phase::Preparing)
        else {
            return;
        };
        if start.from_this_slave && main == Some(peer) {
            migration.shards = start.num_shards;
            let new = migration.new;
            self.send(new, migration_start(false, start.num_shards));
        } else if !start.from_this_slave && migration.new == peer {
            self.stop_next(now, 0);
        }
    }

    /// `4{k}` for the next shard; for `k = N` it means "everything moved".
    fn stop_next(&mut self, now: Time, shard: u32) {
        let (Some(main), Some(migration)) = (self.main, self.migration.as_mut()) else {
            return;
        };
        migration.deadline = now.after(STEP);
        migration.phase = if shard < migration.shards {
            migration.handed.push(Handed::default());
            Phase::Stopping(shard)
        } else {
            Phase::Retiring
        };
        self.send(main, stop(shard));
    }

    pub(super) fn guild_state(&mut self, peer: Peer, state: Bytes) {
        if self.main != Some(peer) {
            return;
        }
        if let Some(restore) = &mut self.restore {
            restore.states.push(state);
            return;
        }
        let Some(migration) = self.migration.as_mut() else {
            return;
        };
        if !matches!(migration.phase, Phase::Stopping(_)) {
            return;
        }
        if let Some(handed) = migration.handed.last_mut()
            && migration.kept + state.len() <= MAX_KEPT_STATE
        {
            migration.kept += state.len();
            handed.states.push(state.clone());
        }
        let new = migration.new;
        self.send(new, ToSlave::GuildState(state));
    }

    pub(super) fn stopped(&mut self, now: Time, peer: Peer, ticket: Session) {
        if self.main != Some(peer) {
            return;
        }
        if self
            .restore
            .as_ref()
            .is_some_and(|restore| restore.told == Some(ticket.shard))
        {
            self.give_back(now, peer, ticket);
            return;
        }
        let Some(migration) = self.migration.as_mut() else {
            return;
        };
        if migration.phase != Phase::Stopping(ticket.shard) {
            return;
        }
        if let Some(handed) = migration.handed.last_mut() {
            handed.session_id.clone_from(&ticket.session_id);
            handed.sequence = ticket.sequence;
        }
        migration.phase = Phase::Resuming(ticket.shard);
        migration.deadline = now.after(STEP);
        let new = migration.new;
        self.send(
            new,
            resume(ticket.shard, ticket.session_id, ticket.sequence),
        );
    }

    pub(super) fn resumed(&mut self, now: Time, peer: Peer, ack: &Session) {
        if self.is_new(peer)
            && self.migration.as_ref().map(|m| m.phase) == Some(Phase::Resuming(ack.shard))
        {
            self.tell(format!("shard {} moved", ack.shard));
            self.stop_next(now, ack.shard + 1);
        }
    }

    pub(super) fn moved(&mut self, now: Time, new: Peer) {
        self.migration = None;
        self.become_main(new);
        self.tell(format!("migration done: connection {} serves", new.0));
        self.migrate_next(now);
    }

    pub(super) fn repeat_to_main(&mut self) {
        let (Some(main), Some(migration)) = (self.main, self.migration.as_ref()) else {
            return;
        };
        let order = match migration.phase {
            Phase::Preparing => migration_start(true, 0),
            Phase::Stopping(shard) => stop(shard),
            Phase::Retiring => stop(migration.shards),
            Phase::Resuming(_) => return,
        };
        self.send(main, order);
    }

    pub(super) fn repeat_to_new(&mut self) {
        let Some(migration) = self.migration.as_ref() else {
            return;
        };
        if let (Phase::Resuming(shard), Some(handed)) = (migration.phase, migration.handed.last()) {
            let order = resume(shard, handed.session_id.clone(), handed.sequence);
            self.send(migration.new, order);
        }
    }
}

fn migration_start(from_this_slave: bool, num_shards: u32) -> ToSlave {
    ToSlave::ShardMigrationStart(go::Migration {
        from_this_slave,
        num_shards,
    })
}
