//! Events that kill the process that has them: which ones, and what becomes of them. The
//! rules are those of `shard/deaths.rs`.

use std::collections::BTreeSet;

use baton_protocol::{
    ShardId, SlaveId, ToSlave, Version,
    message::{SetAside, Trying},
};

use crate::{
    event::Action,
    fleet::Fleet,
    out::Out,
    shard::{
        deaths::{DEADLY, SUSPECT, Tried},
        reach::shorten,
    },
};

impl Fleet {
    /// The owner of these shards is dead.
    pub(crate) fn owner_died(&mut self, holds: &BTreeSet<ShardId>, out: &mut Out) {
        let now = out.now;
        let (mut suspected, mut found) = (Vec::new(), Vec::new());
        for &id in holds {
            let shard = &mut self.shards[id];
            let Some(kept) = &shard.ticket else {
                continue;
            };
            let ticket = &kept.ticket;
            let finished = |sequence| ticket.is_finished(sequence);
            if let Some(deadly) = shard.care.owner_died(now, ticket.handled, finished) {
                found.push((id, deadly));
            }
            if shard.care.is_suspected() {
                suspected.push(id);
            }
        }
        if let (Some(first), Some(last)) = (suspected.first(), suspected.last()) {
            let count = suspected.len();
            out.alarm(format!(
                "{SUSPECT} slaves in a row died with the same events of {count} shards ({first} to \
                 {last}) in hand: one of these events may kill them. What is replayed is handed \
                 out one event at a time now, to find out which"
            ));
        }
        for (id, deadly) in found {
            let Tried {
                sequence,
                kind,
                guild,
            } = deadly;
            out.alarm(format!(
                "event {sequence} of shard {id} ({kind}, guild {guild}) killed each slave that had \
                 it, {DEADLY} of them while they had no other: it is set aside, and kept in the \
                 file set-aside.jsonl of data_dir. Repair the handler of {kind}"
            ));
        }
    }

    /// An event is about to be handed out alone: now it is known which.
    pub(crate) fn trying(&mut self, from: SlaveId, trying: Trying, out: &mut Out) {
        let shard = &mut self.shards[trying.shard];
        if !shard.phase.is_claimed_by(from, trying.epoch) {
            return;
        }
        let speaks = self.slaves.get(&from);
        if !speaks.is_some_and(|slave| slave.speaks(Version::TRIAL)) {
            return;
        }
        // It was replayed to it: its session lives.
        shard.phase.dispatched();
        let mut kind = trying.kind.clone();
        shorten(&mut kind);
        shard.care.tries(Tried {
            sequence: trying.sequence,
            kind,
            guild: trying.guild,
        });
        out.send(from, ToSlave::Try(trying));
    }

    /// An owner sets an event aside, as the master ordered.
    pub(crate) fn event_set_aside(&mut self, from: SlaveId, mut aside: SetAside, out: &mut Out) {
        let sequence = aside.event.sequence;
        let shard = &mut self.shards[aside.shard];
        if !shard.phase.is_claimed_by(from, aside.epoch) || !shard.care.is_deadly(sequence) {
            return;
        }
        let kind = &mut aside.event.kind;
        shorten(kind);
        if aside.handed_out {
            shard.care.tries(Tried {
                sequence,
                kind: kind.clone(),
                guild: aside.guild,
            });
        }
        if shard.care.keep(sequence) {
            out.order(Action::Keep(Box::new(aside)));
        }
    }
}
