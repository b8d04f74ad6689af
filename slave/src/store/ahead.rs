//! States that a process has open though their shards are another's: it stands by, and may be
//! given any of them when that process dies. Opening a state takes longer than claiming it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{MutexGuard, PoisonError, atomic::Ordering},
};

use baton_protocol::{FleetId, ShardId};
use baton_store::Store;

use super::Guilds;

impl Guilds {
    /// Opens every state of the fleet that is there. What cannot be opened is said where it is
    /// claimed.
    pub(super) fn stands_by_for(&self, fleet: FleetId) {
        let Some(folder) = self.inner.folder.get() else {
            return;
        };
        match folder.at(fleet) {
            Ok(_) => self.inner.stands_by.store(true, Ordering::Relaxed),
            Err(error) => return tracing::debug!(%error, "no state is opened ahead"),
        }
        self.look_ahead();
    }

    /// Opens what came, and closes what is not where the state is any more: it would take
    /// memory for nothing.
    pub(super) fn look_ahead(&self) {
        let ahead = self.ahead().clone();
        for (shard, store) in ahead {
            if self.shard(shard).is_some() || !store.is_there() {
                // It is closed behind this, where no claim waits for the lock.
                self.ahead().remove(&shard);
            }
        }
        if let Some(dir) = self.dir() {
            self.open_ahead(dir, baton_store::shards(dir).unwrap_or_default());
        }
    }

    /// Opens those of these that are not open yet, as long as the process stands by.
    pub(super) fn open_ahead(&self, dir: &Path, shards: impl IntoIterator<Item = ShardId>) {
        for shard in shards {
            if !self.stands_by() {
                return;
            }
            if self.shard(shard).is_some() || self.ahead().contains_key(&shard) {
                continue;
            }
            let opened = Store::open(dir, shard, self.inner.options.clone());
            match opened {
                Ok(store) if store.is_there() => drop(self.ahead().insert(shard, store)),
                // Its first owner has only begun.
                Ok(_) => {}
                Err(error) => {
                    // The same may be in the way of each.
                    let dir = dir.display();
                    tracing::debug!(%shard, %dir, %error, "no state is opened ahead");
                    return;
                }
            }
        }
    }

    /// One that is open; it is its owner's from now on. Nothing else is opened ahead then: of
    /// those that are, the process will get some more.
    pub(super) fn take_ahead(&self, shard: ShardId) -> Option<Store> {
        self.inner.stands_by.store(false, Ordering::Relaxed);
        self.ahead().remove(&shard)
    }

    fn stands_by(&self) -> bool {
        self.inner.stands_by.load(Ordering::Relaxed)
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, BTreeMap<ShardId, Store>> {
        let ahead = self.inner.ahead.lock();
        ahead.unwrap_or_else(PoisonError::into_inner)
    }
}
