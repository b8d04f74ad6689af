//! What goes wrong with one shard: a deadline of its phase comes, or its owner cannot serve it.
//!
//! ```text
//! Copying    no progress ───────────▶ the deploy fails; on the way back: copied again
//! Dialling   no word ───────────────▶ the deploy fails, unless the shard waits for its turn
//! Sealing    no ticket ─────────────▶ an owner that hangs is killed, one that is cut off is waited for
//! Starting   no progress ───────────▶ the deploy fails: the new slave is asked to seal
//! Free       its backoff is over ───▶ it is placed again
//! ```

use baton_protocol::{
    ShardId, SlaveId,
    message::{Failed, ResumeAfter},
    text,
};

use crate::{
    deploy::{Deploy, Succession},
    fleet::{Fleet, SlotId},
    out::Out,
    settings::{Settings, doubled},
    shard::{ClaimStage, Free, How, Phase, Reach, Sealing, Shard, Start},
    timers::Timer,
};

impl Succession<'_> {
    /// The deadline of a shard's phase.
    pub(crate) fn shard_due(&mut self, id: ShardId) {
        let shard = &self.fleet.shards[id];
        let claim = match shard.phase {
            // Its backoff is over.
            Phase::Free(free) => return self.fleet.enter(id, free.unparked(), self.out),
            Phase::Claimed(claim) => claim,
            Phase::Unknown { .. } => {
                debug_assert!(false, "nothing of shard {id} was begun");
                return;
            }
        };
        match claim.stage {
            ClaimStage::Copying { .. } => self.copy_stalled(id),
            ClaimStage::Dialling { .. } => self.dial_stalled(id),
            ClaimStage::Sealing { order, .. } => match order {
                Sealing::Late => self.handover().ask_to_seal(id, claim),
                // Neither a piece nor a seal. It may have sealed, and its word was lost on the
                // way: that one is asked for again.
                Sealing::CopyAnew if self.fleet.is_joined(claim.owner) => {
                    self.handover().ask_to_seal(id, claim);
                }
                Sealing::CopyAnew | Sealing::Seal => self.seal_unanswered(id, claim.owner),
            },
            ClaimStage::Starting(_) => self.resume_stalled(id, claim.owner),
            // Nothing of it is waited for.
            ClaimStage::Serving => debug_assert!(false, "shard {id} serves"),
        }
    }

    /// A hanging owner is killed; one that is cut off may be serving and is
    /// waited for. Either way the shard stays its until it speaks or is dead.
    pub(crate) fn seal_unanswered(&mut self, id: ShardId, owner: SlaveId) {
        self.out.start(Timer::Shard(id), self.settings.seal);
        if self.fleet.is_joined(owner) {
            let healthy = self.fleet.is_healthy(owner);
            self.condemn(owner, "it did not answer a seal");
            if healthy {
                self.deploy_lost_soon(owner, "it did not answer a seal");
            }
        } else {
            self.out.alarm(format!(
                "shard {id} waits: slave {owner} was told to seal it and is not connected. If it \
                 is dead, run: baton-master fence {owner}"
            ));
        }
    }

    /// A copy makes no progress. Before the seal that fails the deploy. On the way
    /// back there is nothing else to do than to try again: the shard is served.
    pub(crate) fn copy_stalled(&mut self, id: ShardId) {
        let span = self.settings.copy;
        if self.deploys.goes_back(self.fleet.shards[id].slot) {
            self.out.alarm(format!(
                "shard {id} goes back, and the copy of its state made no progress for {span}; \
                 it is served meanwhile and copied again",
                span = text::span(span)
            ));
            self.out.start(Timer::Shard(id), span);
            self.handover().said_again(id);
        } else {
            let slot = self.fleet.shards[id].slot;
            let why = format!(
                "the copy of its state made no progress for {span}{who}",
                span = text::span(span),
                who = self.who_is_silent(slot)
            );
            self.fail_deploy(slot, Some(id), why);
        }
    }

    /// Which of the slaves of the deploy is connected and silent: then what did not come to
    /// pass is no fault of the other. Begins with a comma, or is empty.
    pub(crate) fn who_is_silent(&self, slot: SlotId) -> String {
        let Some(deploy) = self.deploys.of(slot) else {
            return String::new();
        };
        let silent = |(which, id): (&str, Option<SlaveId>)| {
            let id = id.filter(|&id| self.fleet.is_joined(id))?;
            let slave = self.fleet.slaves.get(&id)?;
            // Two pings are answered within `answers`, and one within two thirds of it.
            let quiet = self.out.now.since(slave.heard);
            (quiet > self.settings.answers / 3 * 2).then(|| {
                format!(
                    ", because the {which} slave {id:.8} (build {build}) hangs: it has said nothing \
                     for {quiet}. The master kills it after limits.hang",
                    build = slave.hello.build,
                    quiet = text::span(quiet)
                )
            })
        };
        let both = [("old", deploy.from), ("new", deploy.to())];
        both.into_iter().find_map(silent).unwrap_or_default()
    }

    /// The new slave says nothing about its dial.
    pub(crate) fn dial_stalled(&mut self, id: ShardId) {
        let span = self.settings.copy;
        let waits = |deploy: &Deploy| deploy.in_flight.is_waiting(id);
        let slot = self.fleet.shards[id].slot;
        if self.deploys.of(slot).is_some_and(waits) {
            self.out.start(Timer::Shard(id), span);
            return;
        }
        let why = format!(
            "the new slave did not connect within {span}{who}",
            span = text::span(span),
            who = self.who_is_silent(slot)
        );
        self.fail_deploy(slot, Some(id), why);
    }

    /// No progress between the ticket and RESUMED. The new slave may still be about
    /// to resume. One that can be asked is asked to seal that shard, as every other
    /// that goes back: it serves the rest meanwhile, and hands over exactly what it
    /// knows. Its pings and that seal show whether it hangs. One that is cut
    /// off is killed first, and its shards wait until it is dead.
    pub(crate) fn resume_stalled(&mut self, id: ShardId, owner: SlaveId) {
        let slot = self.fleet.shards[id].slot;
        let Some(deploy) = self.deploys.of(slot) else {
            return;
        };
        let span = self.settings.no_progress;
        if deploy.to() == Some(owner) && deploy.from.is_some_and(|from| self.fleet.is_healthy(from))
        {
            if !self.fleet.is_joined(owner) || mutant!("stalled-is-killed") {
                self.condemn(owner, "it is cut off, and its resume stands still");
            }
            let why = if self.fleet.is_replaying(id) {
                format!(
                    "its replay stood still for {span}: its window is full of running events, and \
                     none of them ends. A full shard cannot be moved: make handlers faster, or give \
                     the slot more processes",
                    span = text::span(span)
                )
            } else {
                format!(
                    "its resume made no progress for {span}{who}",
                    span = text::span(span),
                    who = self.who_is_silent(slot)
                )
            };
            self.fail_deploy(slot, Some(id), why);
        } else if self.deploys.goes_back(slot)
            && self.fleet.is_replaying(id)
            && self.fleet.is_joined(owner)
        {
            self.is_back_and_behind(id);
        } else {
            self.out.start(Timer::Shard(id), span);
        }
    }

    /// A shard that goes back is replayed to the old slave, whose handlers are full: it
    /// has the session, hands events out as its handlers end, and may never come to the
    /// end of a replay that grows as fast. It is where it was, and the way back does not
    /// wait for more.
    fn is_back_and_behind(&mut self, id: ShardId) {
        let now = self.out.now;
        let shard = &mut self.fleet.shards[id];
        debug_assert!(shard.phase.starting().is_some(), "shard {id} is resumed");
        let Some(claim) = shard.phase.claim() else {
            return;
        };
        let owner = claim.owner;
        shard.alone = None;
        shard.away = Some(now);
        self.fleet
            .enter(id, claim.at(ClaimStage::Serving), self.out);
        self.deploys
            .tell_served(self.fleet.shards[id].slot, id, claim, false, self.out);
        self.out.alarm(format!(
            "shard {id} is back at slave {owner:.8}, which is behind: its window is full of \
             running events, and the rest is replayed as they end. If more come than end, it \
             never catches up: make handlers faster, or give the slot more processes"
        ));
    }
}

/// What a shard is left with by an owner that could not serve it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// From what its next owner goes on.
    pub(crate) after: ResumeAfter,
    had_session: bool,
    /// It is the one so many in a row.
    in_row: u32,
}

impl Shard {
    /// Its owner cannot serve it.
    pub(crate) fn fails(&mut self) -> Failure {
        self.failures = self.failures.saturating_add(1);
        let start = self.phase.start();
        Failure {
            after: start.map_or(ResumeAfter::Death, Start::leaves),
            had_session: self.ticket.is_some(),
            in_row: self.failures,
        }
    }
}

impl Fleet {
    /// The owner that let go of a shard is the one that it is to be at: it is tried again
    /// after a while, or waits for another build.
    pub(crate) fn waits_after(
        &mut self,
        failure: Failure,
        from: SlaveId,
        failed: &Failed,
        settings: &Settings,
        out: &mut Out,
    ) {
        let (id, service) = (failed.shard, settings.service);
        self.park(id, from, out);
        let (backoff, backoff_max) = (settings.backoff, settings.backoff_max);
        // A token that served a moment ago is hardly wrong: the service said so once.
        let once_more =
            service.refuses_token(failed.close_code) && failure.had_session && failure.in_row == 1;
        let wait = match failed.close_code {
            0 => Some(doubled(backoff, backoff_max, failure.in_row)),
            _ => once_more.then_some(backoff_max),
        };
        let then = match wait {
            Some(wait) if once_more => {
                format!(
                    "the same token served a moment ago, so it is tried once more in {wait}",
                    wait = text::span(wait)
                )
            }
            Some(wait) => format!("it is tried again in {wait}", wait = text::span(wait)),
            None => "it waits for another build: repair what is refused, and deploy".to_owned(),
        };
        let trouble = format!("{why}; {then}", why = service.words(failed));
        out.alarm(format!("shard {id} failed: {trouble}"));
        self.shards[id].trouble = Some(trouble);
        if let Some(wait) = wait {
            out.start(Timer::Shard(id), wait);
        }
    }

    fn park(&mut self, id: ShardId, at: SlaveId, out: &mut Out) {
        let free = self.shards[id].phase.free();
        debug_assert!(free.is_some(), "slave {at} let go of shard {id}");
        if let Some(free) = free {
            let parked = Some(at);
            self.enter(id, Phase::Free(Free { parked, ..free }), out);
        }
    }

    /// Whether the service took the RESUME of a starting shard: events came.
    fn is_replaying(&self, id: ShardId) -> bool {
        let start = self.shards[id].phase.starting();
        start.is_some_and(|start| start.how != How::Full && start.reach == Reach::Dispatches)
    }
}
