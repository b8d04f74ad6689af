//! The way back: the old slave takes back what it gave, and the stop and start of
//! its last shard that wakes its plugins.

use baton_protocol::go::{Session, ToSlave};
use bytes::Bytes;

use super::{
    Flow, STEP,
    parts::{Peer, Phase, Restore},
    resume, stop,
};
use baton_core::event::Time;

impl Flow {
    /// The old slave takes back what it gave. It deleted the states that it sent,
    /// and starts its plugins again when its last shard is resumed.
    pub(super) fn roll_back(&mut self, now: Time, reason: &str) {
        let Some(migration) = self.migration.take() else {
            return;
        };
        let Some(main) = self.main else { return };
        if migration.new_missed.is_none() {
            self.send(migration.new, ToSlave::Shutdown);
        }
        self.alarm(format!("migration rolled back: {reason}"));
        let in_hand = match migration.phase {
            Phase::Stopping(shard) => Some(shard),
            Phase::Preparing | Phase::Resuming(_) | Phase::Retiring => None,
        };
        let count = migration.handed.len() - usize::from(in_hand.is_some());
        let restarted = migration.shards > 0 && count as u64 == u64::from(migration.shards);
        for (shard, handed) in (0..).zip(migration.handed.into_iter().take(count)) {
            self.give(
                main,
                shard,
                handed.states,
                handed.session_id,
                handed.sequence,
            );
        }
        if restarted {
            self.migrate_next(now);
            return;
        }
        self.restore = Some(Restore {
            told: in_hand,
            last: migration
                .shards
                .checked_sub(1)
                .filter(|last| Some(*last) != in_hand),
            states: Vec::new(),
            deadline: now.after(STEP),
        });
        if in_hand.is_none() && migration.shards > 0 {
            self.restore_last(now, migration.shards.checked_sub(1));
        }
    }

    pub(super) fn restore_last(&mut self, now: Time, last: Option<u32>) {
        match (self.main, last) {
            (Some(main), Some(last)) => {
                self.restore = Some(Restore {
                    told: Some(last),
                    last: None,
                    states: Vec::new(),
                    deadline: now.after(STEP),
                });
                self.send(main, stop(last));
            }
            _ => {
                self.restore = None;
                self.migrate_next(now);
            }
        }
    }

    pub(super) fn give_back(&mut self, now: Time, main: Peer, ticket: Session) {
        let Some(restore) = self.restore.take() else {
            return;
        };
        self.give(
            main,
            ticket.shard,
            restore.states,
            ticket.session_id,
            ticket.sequence,
        );
        self.restore_last(now, restore.last);
    }

    fn give(
        &mut self,
        peer: Peer,
        shard: u32,
        states: Vec<Bytes>,
        session_id: String,
        sequence: u64,
    ) {
        for state in states {
            self.send(peer, ToSlave::GuildState(state));
        }
        self.send(peer, resume(shard, session_id, sequence));
    }
}
