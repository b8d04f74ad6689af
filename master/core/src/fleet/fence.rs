//! The operator's word that a slave is dead, for when the master cannot know it: its host is
//! gone, or it lives in another pid namespace. A lease that ran out is such a word too: no
//! process is known to have ended.
//!
//! ```text
//! not connected, or not killed ──word───▶ dead: its shards go on elsewhere
//! comes back in spite of that ──────────▶ accepted, ordered to forget everything and
//!                                         to end; nothing that it says is believed
//! ```
//!
//! The word is on the disk before anything relies on it, so the next master does
//! not wait for that slave either. It ends when the slave is known to be dead.

use std::time::Duration;

use baton_protocol::{
    Epoch, SlaveId, ToSlave,
    message::{Hello, RefusedReason, Report, Unit, Work},
};
use bytes::Bytes;

use crate::{
    event::Time,
    fleet::{Fleet, Presence, Slave, Standing},
    out::Out,
    settings::Settings,
    timers::Timer,
};

/// Shards that an alarm names at most.
const MOST_NAMED: usize = 8;

/// Slaves that are remembered at most; the lowest ids go first.
const MAX_FENCED: usize = 256;

impl Fleet {
    /// Why the operator's word on this slave is not taken; `None`: it would be. One that
    /// is connected and says nothing may hang: that is not answering.
    pub(crate) fn is_not_dead(&self, id: SlaveId, now: Time, answers: Duration) -> Option<String> {
        let Some(slave) = self.slaves.get(&id) else {
            return Some(format!("no slave {id} is known"));
        };
        let answered = now.since(slave.heard);
        let lives = slave.presence == Presence::Joined
            && slave.standing != Standing::Condemned
            && answered <= answers;
        let pid = slave.hello.process.pid;
        lives.then(|| {
            format!(
                "slave {id:.8} (process {pid}) is connected and answers (the last time {} ms ago): it \
                 is not dead. Replace it with `baton-master deploy`, or end its process",
                answered.as_millis()
            )
        })
    }

    /// Should this slave come back, it has nothing any more.
    pub(crate) fn remember_fenced(&mut self, id: SlaveId) {
        if self.fenced.len() >= MAX_FENCED {
            self.fenced.pop_first();
        }
        self.fenced.insert(id);
    }

    /// A slave comes back that was said to be dead.
    pub(crate) fn fenced_came(
        &mut self,
        hello: Hello,
        report: &Report,
        settings: &Settings,
        out: &mut Out,
    ) {
        let id = hello.slave;
        let Some(slot) = self.slots.named(&hello.slot) else {
            let detail = "this slave was fenced".to_owned();
            out.refuse(id, RefusedReason::Superseded, detail);
            return;
        };
        let slave = Slave::new(hello, slot, Presence::Joined);
        self.slaves.insert(id, slave);
        self.stand(id, Standing::Leaving);
        self.accept(id, report, true, settings.shard_count, out);
        for held in &report.shards {
            let shard = held.ticket.shard;
            let ours = self.shards.get(shard).map(|shard| shard.epoch);
            // It lets go for a higher epoch only, and one may not be used yet.
            let epoch = ours.unwrap_or_default().max(held.epoch.next());
            out.send(id, ToSlave::Forget(Unit { shard, epoch }));
        }
        if report.work > Epoch(0) {
            let (epoch, ticket) = (report.work, Bytes::new());
            out.send(id, ToSlave::StopWork(Work { epoch, ticket }));
        }
        out.send(id, ToSlave::Shutdown);
        if report.lapsed {
            let finished = report.shards.iter().take(MOST_NAMED).map(|held| {
                let (shard, handled) = (held.ticket.shard, held.ticket.handled);
                format!("shard {shard} up to {handled}")
            });
            let finished: Vec<_> = finished.collect();
            out.alarm(format!(
                "slave {id} is back, which sealed itself when its lease was over: its shards went on \
                 elsewhere, and the master orders it to end. What it had finished and could not tell \
                 was handed out once more, marked ({})",
                finished.join(", ")
            ));
        } else {
            out.alarm(format!(
                "slave {id} is alive although it was fenced; the master orders it to forget its shards \
                 and to end. Events that it handled since may have been handled twice"
            ));
        }
        out.start(Timer::Slave(id), settings.retire);
    }
}
