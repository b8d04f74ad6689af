//! What goes wrong with one shard: a deadline of its phase comes, or its owner cannot serve it.
//!
//! ```text
//! Copying    no progress ───────────▶ the deploy fails; on the way back: copied again
//! Dialling   no word ───────────────▶ the deploy fails, unless the shard waits for its turn
//! Sealing    no ticket ─────────────▶ an owner that hangs is killed, one that is cut off, or whose
//!                                     host is, is waited for
//! Starting   no progress ───────────▶ the deploy fails: the new slave is asked to seal
//! Free       its backoff is over ───▶ it is placed again
//! ```

use std::time::Duration;

use baton_protocol::{
    ShardId, SlaveId,
    message::{Failed, ResumeAfter},
    text,
};

use crate::{
    deploy::{Deploy, Deploys},
    fleet::{Fleet, Silence},
    out::Out,
    settings::{Settings, doubled},
    shard::{ClaimStage, Free, Handover, How, Phase, Reach, Sealing, Shard, Start, Stuck},
    timers::Timer,
};

impl Handover<'_> {
    /// The deadline of a shard's phase.
    pub(crate) fn shard_due(&mut self, id: ShardId) -> Result<(), Stuck> {
        let shard = &self.fleet.shards[id];
        let claim = match shard.phase {
            // Its backoff is over.
            Phase::Free(free) => {
                self.fleet.enter(id, free.unparked(), self.out);
                return Ok(());
            }
            Phase::Claimed(claim) => claim,
            Phase::Unknown { .. } => {
                debug_assert!(false, "nothing of shard {id} was begun");
                return Ok(());
            }
        };
        match claim.stage {
            ClaimStage::Copying { .. } => return self.copy_stalled(id),
            ClaimStage::Dialling { .. } => return self.dial_stalled(id),
            ClaimStage::Sealing { order, .. } => match order {
                Sealing::Late => self.ask_to_seal(id, claim),
                // Neither a piece nor a seal. It may have sealed, and its word was lost on the
                // way: that one is asked for again.
                Sealing::CopyAnew if self.fleet.is_joined(claim.owner) => {
                    self.ask_to_seal(id, claim);
                }
                Sealing::CopyAnew | Sealing::Seal => return self.seal_unanswered(id, claim.owner),
            },
            ClaimStage::Starting(_) => return self.resume_stalled(id, claim.owner),
            // Nothing of it is waited for.
            ClaimStage::Serving => debug_assert!(false, "shard {id} serves"),
        }
        Ok(())
    }

    /// A hanging owner is killed; one that is cut off may be serving and is
    /// waited for. Either way the shard stays its until it speaks or is dead.
    fn seal_unanswered(&mut self, id: ShardId, owner: SlaveId) -> Result<(), Stuck> {
        self.out.start(Timer::Shard(id), self.settings.seal);
        if self.fleet.is_joined(owner) {
            let healthy = self.fleet.is_healthy(owner);
            let why = "it did not answer a seal";
            let hangs = self.hangs_unless_unseen(owner, self.settings.seal, why);
            if healthy {
                return hangs;
            }
        } else {
            self.out.alarm(format!(
                "shard {id} waits: slave {owner} was told to seal it and is not connected. If it \
                 is dead, run: baton-master fence {owner}"
            ));
        }
        Ok(())
    }

    /// A copy makes no progress. Before the seal that fails the deploy. On the way
    /// back there is nothing else to do than to try again: the shard is served.
    fn copy_stalled(&mut self, id: ShardId) -> Result<(), Stuck> {
        let span = self.settings.copy;
        if self.goes_back(id) {
            self.out.alarm(format!(
                "shard {id} goes back, and the copy of its state made no progress for {span}; \
                 it is served meanwhile and copied again",
                span = text::span(span)
            ));
            self.out.start(Timer::Shard(id), span);
            self.said_again(id);
            Ok(())
        } else {
            let why = format!(
                "the copy of its state made no progress for {span}{who}",
                span = text::span(span),
                who = self.who_is_silent(id)
            );
            Err(self.stuck(id, why))
        }
    }

    /// The new slave says nothing about its dial.
    fn dial_stalled(&mut self, id: ShardId) -> Result<(), Stuck> {
        let span = self.settings.copy;
        let hand = self.deploys.hand(self.carrier(id));
        if hand.is_some_and(|hand| hand.is_waiting(id)) {
            self.out.start(Timer::Shard(id), span);
            return Ok(());
        }
        let why = format!(
            "the new slave did not connect within {span}{who}",
            span = text::span(span),
            who = self.who_is_silent(id)
        );
        Err(self.stuck(id, why))
    }

    /// No progress between the ticket and RESUMED. The new slave may still be about
    /// to resume. One that can be asked is asked to seal that shard, as every other
    /// that goes back: it serves the rest meanwhile, and hands over exactly what it
    /// knows. Its pings and that seal show whether it hangs. One that is cut
    /// off is killed first, and its shards wait until it is dead; if its whole host is, it is
    /// asked when it is back.
    fn resume_stalled(&mut self, id: ShardId, owner: SlaveId) -> Result<(), Stuck> {
        let slot = self.fleet.shards[id].slot;
        let span = self.settings.no_progress;
        let moves = self.deploys.moves.of(id);
        let has_way_back = match (moves, self.deploys.of(slot)) {
            // Its new slave serves other shards: one that is cut off is waited for.
            (Some(it), _) => {
                it.to.1 == owner
                    && !it.goes_back
                    && self.fleet.is_joined(owner)
                    && self.fleet.can_take(it.from.1)
            }
            (None, Some(deploy)) => {
                deploy.to() == Some(owner)
                    && deploy.from.is_some_and(|from| self.fleet.is_healthy(from))
            }
            (None, None) => return Ok(()),
        };
        if has_way_back {
            let is_cut_off = !self.fleet.is_joined(owner) || mutant!("stalled-is-killed");
            let is_seen = self.fleet.is_in_sight(owner, self.settings, self.out.now);
            if is_cut_off && is_seen && moves.is_none() {
                let why = "it is cut off, and its resume stands still";
                self.fleet
                    .condemn(owner, why, self.settings.retire, self.out);
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
                    who = self.who_is_silent(id)
                )
            };
            return Err(self.stuck(id, why));
        }
        if self.goes_back(id) && self.fleet.is_replaying(id) && self.fleet.is_joined(owner) {
            self.is_back_and_behind(id);
        } else {
            self.out.start(Timer::Shard(id), span);
        }
        Ok(())
    }

    /// A slave does not do its part: it is killed. If it is the new one of a deploy, that
    /// cannot go on.
    pub(crate) fn hangs(
        &mut self,
        slave: SlaveId,
        killed: &'static str,
        why: &str,
    ) -> Result<(), Stuck> {
        self.fleet
            .condemn(slave, killed, self.settings.retire, self.out);
        self.deploys.lost_soon(slave, why)
    }

    /// The same for one that did not do its part for `limit`, if it is not its host that is cut
    /// off. If it may be, this is to be asked again after `limit`.
    pub(crate) fn hangs_unless_unseen(
        &mut self,
        slave: SlaveId,
        limit: Duration,
        why: &'static str,
    ) -> Result<(), Stuck> {
        let now = self.out.now;
        match self.fleet.silence(slave, limit, self.settings, now) {
            Silence::Hangs => self.hangs(slave, why, why),
            Silence::Doubted | Silence::Unseen => Ok(()),
        }
    }

    pub(super) fn stuck(&self, id: ShardId, why: String) -> Stuck {
        Stuck {
            slot: self.fleet.shards[id].slot,
            shard: Some(id),
            why,
        }
    }

    fn who_is_silent(&self, id: ShardId) -> String {
        let deploy = self.deploys.of(self.fleet.shards[id].slot);
        let silent = |it: &Deploy| it.who_is_silent(self.fleet, self.settings, self.out.now);
        deploy.map(silent).unwrap_or_default()
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
        let slot = self.fleet.shards[id].slot;
        if self.deploys.moves.served(id, claim, self.out).is_some() {
            self.fleet.look_for(id);
        } else {
            self.deploys.tell_served(slot, id, claim, false, self.out);
        }
        self.out.alarm(format!(
            "shard {id} is back at slave {owner:.8}, which is behind: its window is full of \
             running events, and the rest is replayed as they end. If more come than end, it \
             never catches up: make handlers faster, or give the slot more processes"
        ));
    }
}

impl Deploys {
    /// A slave is being killed, or does not do its part: the deploy that it is the new one
    /// of cannot go on.
    pub(crate) fn lost_soon(&self, slave: SlaveId, why: &str) -> Result<(), Stuck> {
        match self.with(slave) {
            Some(deploy) if deploy.to() == Some(slave) => Err(Stuck {
                slot: deploy.slot,
                shard: None,
                why: format!("the new slave: {why}"),
            }),
            Some(_) | None => Ok(()),
        }
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
