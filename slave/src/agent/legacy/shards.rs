//! What the shards say, and what is done here because no master does it:
//! permits, and the once-per-bot work.

use baton_protocol::{
    ShardId,
    go::ToMaster,
    message::{self, Holding},
};

use super::{
    LegacyAgent, Part,
    pace::{Next, Want},
};
use crate::{
    agent::{table::Entry, work::Done},
    shard::{FromShard, Said},
};

impl LegacyAgent {
    pub(super) fn said(&mut self, from: FromShard) {
        let shard = from.shard;
        match from.said {
            Said::Progress { .. }
            | Said::Died(_)
            | Said::Session(_)
            | Said::StateAck { .. }
            | Said::StateReady { .. }
            | Said::Dialled { .. }
            | Said::SealsLate
            | Said::CopyOvertaken
            | Said::Trying(_)
            | Said::SetAside(_)
            | Said::Overtaken { .. }
            | Said::Prepares { .. }
            | Said::Letter(_)
            | Said::StateBroken { .. } => return,
            Said::Identify(_) => {
                self.starting.remove(&shard);
            }
            // RESUMED; or READY, where the session of the ticket was over.
            Said::Serving { .. } => {
                if let Some(order) = self.owed.remove(&shard) {
                    self.moves_on(self.part);
                    self.say(&ToMaster::Resume(order));
                }
                if self.part == Part::Target && !self.waits_for_master() && self.owed.is_empty() {
                    tracing::info!(shards = self.count, "all shards are here");
                    self.part = Part::Bystander;
                }
            }
            Said::Sealed(_) => {
                self.starting.remove(&shard);
                self.serve_again(shard);
            }
            Said::Settled { .. } => {}
            Said::Failed { close_code, detail } => {
                self.starting.remove(&shard);
                tracing::error!(
                    %shard, close_code, detail,
                    "cannot serve this shard, and the wire has no word for it"
                );
            }
        }
        self.changed = true;
    }

    /// Lets shards IDENTIFY, at the pace that Discord allows.
    pub(super) fn grant_permits(&mut self) {
        self.permit_at = None;
        if self.base.is_leaving() {
            return;
        }
        loop {
            let starting = &self.starting;
            let wants = self.base.table.entries().map(|(shard, entry)| {
                let waits = entry.waiting().is_some();
                let want = match entry.holding() {
                    Some(Holding::Starting | Holding::Resuming) if waits => Want::Permit,
                    Some(_) if starting.contains(&shard) => Want::Soon,
                    Some(_) | None => Want::Nothing,
                };
                (shard, want)
            });
            match self.pace.next(tokio::time::Instant::now(), wants) {
                Next::Permit(shard) => self.permit(shard),
                Next::At(then) => {
                    self.permit_at = Some(then);
                    return;
                }
                Next::Nothing => return,
            }
        }
    }

    fn permit(&mut self, shard: ShardId) {
        if let Some(epoch) = self.base.table.get(shard).map(Entry::epoch) {
            self.base.table.permit(shard, epoch);
        }
        if self.pace.is_exhausted() {
            tracing::error!("this was the last IDENTIFY for a day: one more might cost the token");
        }
    }

    /// The work runs where all shards are.
    pub(super) fn begin_work(&mut self) {
        // One that was ordered to stop may not have said so yet.
        let stops = |shard| self.asked.contains_key(&shard) || self.take_back.contains(&shard);
        let serves = |shard| {
            let entry = self.base.table.get(shard);
            entry.is_some_and(|entry| entry.is(Holding::Serving)) && !stops(shard)
        };
        // What it wrote down when it stopped is not known before it has.
        let busy = self.works || self.base.work.is_busy();
        if busy || self.base.is_leaving() || !(0..self.count).map(ShardId).all(serves) {
            return;
        }
        self.works = true;
        self.work_epoch = self.work_epoch.next();
        // Never answered at once: the epoch is new.
        let _ = self.base.work.start(message::Work {
            epoch: self.work_epoch,
            ticket: self.work_ticket.clone(),
        });
    }

    pub(super) fn stop_work(&mut self) {
        if std::mem::take(&mut self.works) {
            // Never answered at once: it ran.
            let _ = self.base.work.stop(None);
        }
    }

    /// Whether the work is not over.
    pub(super) fn works_yet(&self) -> bool {
        self.works || self.base.work.is_busy()
    }

    pub(super) fn work_done(&mut self, done: Done) {
        if let Done::Stopped(work) = done {
            // For the case that the shards come back.
            self.work_ticket = work.ticket;
        }
        self.changed = true;
    }
}
