//! What a unit asks Twitch, with the master's leave.

use std::{sync::PoisonError, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Inner, LOOK, Over, over};
use crate::helix::PERMIT;

impl Inner {
    /// How many shards the conduit has, as far as that is known and new.
    fn known(&self) -> Option<u32> {
        let known = *self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = known?;
        (at.elapsed() < LOOK).then_some(count)
    }

    pub(super) fn knows(&self, shards: u32) {
        let mut known = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), shards));
    }

    /// Whether the conduit has this shard. Waits for any time while there is no master.
    pub(super) async fn has(&self, shard: u32) -> Result<bool, Over> {
        if let Some(count) = self.known() {
            return Ok(shard < count);
        }
        let _one_for_all = self.asks.lock().await;
        if let Some(count) = self.known() {
            return Ok(shard < count);
        }
        self.leave().await?;
        let conduits = self.helix.conduits().await;
        let conduits = conduits.map_err(|error| over(&error, error.is_final()))?;
        let own = conduits.iter().find(|one| one.id == self.conduit);
        let own = own.ok_or_else(|| over("Twitch knows no such conduit", true))?;
        self.knows(own.shard_count);
        Ok(shard < own.shard_count)
    }

    /// The master's leave for one request. Waits for any time while there is no master.
    pub(super) async fn leave(&self) -> Result<(), Over> {
        let permit = self.office.permit(PERMIT).await;
        permit.map_err(|error| over(error, true))
    }

    /// Gives a shard to a session.
    pub(super) async fn assign(&self, shard: u32, session: &str) -> Result<(), Over> {
        let assigned = self.helix.assign(&self.conduit, &[(shard, session)]).await;
        match assigned {
            Ok(refused) => match refused.into_iter().next() {
                None => Ok(()),
                Some(refused) => Err(over(refused, false)),
            },
            Err(error) => {
                let fatal = error.is_final();
                if !fatal {
                    sleep(error.retry_after().unwrap_or(Duration::ZERO)).await;
                }
                Err(over(error, fatal))
            }
        }
    }
}
