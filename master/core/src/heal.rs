//! A connection that is open and silent is of no use, and nobody may notice: Discord
//! keeps it, no event comes. twilight closes one whose heartbeats are not answered;
//! this is for whatever it does not see. The shard is restarted by RESUME
//! (`restart.rs`), so a false alarm costs a round trip and loses nothing.

use std::time::Duration;

use baton_protocol::{ShardId, SlaveId};

use super::Core;

/// A shard is restarted for its silence once in this time: if that does not help, an
/// operator must look.
const AGAIN: Duration = Duration::from_secs(600);

impl Core {
    /// A slave says for how long a shard of its has heard nothing.
    pub(super) fn heal(&mut self, slave: SlaveId, (silent, id): (Duration, ShardId)) {
        let most = self.settings.silent;
        let now = self.now;
        if most.is_zero() || silent < most {
            return;
        }
        let shard = self.fleet.shards.get(&id);
        let claimant = shard.and_then(|shard| shard.phase.claimant());
        if claimant.is_none_or(|(owner, _)| owner != slave) {
            return;
        }
        self.healed.retain(|_, at| now.since(*at) < AGAIN);
        if self.healed.contains_key(&id) || self.restart(id).is_err() {
            return;
        }
        self.healed.insert(id, now);
        self.alarm(format!(
            "shard {id} heard nothing from Discord for {silent:?} on an open connection: it is \
             restarted by RESUME. If that comes again, look at the host's network"
        ));
    }
}
