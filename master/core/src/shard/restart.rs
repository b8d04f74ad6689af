//! One shard restarts in place: its owner seals it and RESUMEs it at the next epoch, on a new
//! connection. This heals a connection that is open and useless. It is the way back of a
//! migration (`handover.rs`), so nothing is lost and nothing comes twice, no matter what
//! dies meanwhile.
//!
//! An operator asks for it, or a slave says that a connection is open and silent.
//! Nobody else may notice: the service keeps that connection, and no event comes. A slave
//! closes one whose heartbeats are not answered; this is for whatever it does not see. A
//! false alarm costs a round trip and loses nothing.

use std::time::Duration;

use baton_protocol::{ShardId, SlaveId, text};

use crate::{
    deploy::Succession,
    event::{News, RequestId},
};

/// A shard is restarted for its silence once in this time: if that does not help, an
/// operator must look.
const AGAIN: Duration = Duration::from_secs(600);

impl Succession<'_> {
    pub(crate) fn restart_asked(&mut self, request: RequestId, id: ShardId) {
        if let Err(reason) = self.restart(id) {
            self.out.tell(News::RequestRefused { request, reason });
        }
    }

    pub(crate) fn restart(&mut self, id: ShardId) -> Result<(), String> {
        let Some(shard) = self.fleet.shards.get(id) else {
            let last = self.settings.shard_count.saturating_sub(1);
            return Err(format!(
                "this fleet has no shard {id}: they are 0 to {last}"
            ));
        };
        if let Some(deploy) = self.deploys.of(shard.slot) {
            return Err(deploy.busy());
        }
        self.may_move()?;
        let Some(claim) = shard.phase.claim().filter(|_| shard.phase.is_at_rest()) else {
            let is_free = shard.phase.free().is_some();
            if let Some(trouble) = shard.trouble.as_ref().filter(|_| is_free) {
                return Err(format!("shard {id} failed: {trouble}"));
            }
            let why = self.picture().why(id, shard, self.out.now);
            let why = why.unwrap_or_else(|| {
                "the master sees to it already; baton-master status shows it".to_owned()
            });
            return Err(format!("shard {id} does not serve: {why}"));
        };
        let owner = claim.owner;
        if shard.ticket.is_none() {
            return Err(format!("shard {id} has no session that could be resumed"));
        }
        if self.fleet.slots[shard.slot].owner != Some(owner) || !self.fleet.can_take(owner) {
            return Err(format!(
                "slave {owner} of shard {id} is not connected or is leaving"
            ));
        }
        self.handover().seal(id, claim, owner);
        Ok(())
    }

    /// A slave says for how long a shard of its has heard nothing.
    pub(crate) fn heal(&mut self, slave: SlaveId, (silent, id): (Duration, ShardId)) {
        let most = self.settings.silent;
        let now = self.out.now;
        if most.is_zero() || silent < most {
            return;
        }
        let Some(shard) = self.fleet.shards.get(id) else {
            return;
        };
        let claimant = shard.phase.claimant();
        if claimant.is_none_or(|(owner, _)| owner != slave) {
            return;
        }
        let of_late = shard.healed.is_some_and(|at| now.since(at) < AGAIN);
        if of_late || self.restart(id).is_err() {
            return;
        }
        self.fleet.shards[id].healed = Some(now);
        self.out.alarm(format!(
            "shard {id} heard nothing for {} on an open connection: it is \
             restarted by RESUME. If it happens again, look at the host's network",
            text::span(silent)
        ));
    }
}
