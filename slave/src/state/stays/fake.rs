//! A state that stays where it is, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baton_protocol::{Epoch, Sequence, ShardId, message::StoreRoom};

use super::{Change, Claim, Claimed, Exported, Of, Owned, Refusal, Stays};

/// A place with nothing in it, and no room for anything.
pub(crate) struct Nowhere;

impl Stays for Nowhere {
    fn claim(&self, _: &Claim) -> Result<Claimed, Refusal> {
        Err(nowhere())
    }

    fn is_shared(&self, _: Of, _: Epoch, _: &str) -> Result<bool, Refusal> {
        Err(nowhere())
    }

    fn accept(&self, _: Of, _: u64) -> Result<(), Refusal> {
        Err(nowhere())
    }

    fn is_accepted(&self, _: Of, _: u64) -> Result<bool, Refusal> {
        Err(nowhere())
    }

    fn receive(&self, _: Of, _: Epoch) -> Result<(), Refusal> {
        Err(nowhere())
    }

    fn import(&self, _: ShardId, _: u64, _: &[u8]) -> Result<(), String> {
        Err("nowhere".to_owned())
    }

    fn received(&self, _: ShardId, _: &str, _: Sequence, _: Sequence) -> Result<(), Refusal> {
        Err(nowhere())
    }

    fn room(&self) -> Option<StoreRoom> {
        None
    }

    fn is_in_memory(&self) -> bool {
        true
    }

    fn leave(&self, _: ShardId) {}
}

fn nowhere() -> Refusal {
    Refusal::Unusable("nowhere".to_owned())
}

/// Where a state stands, and what was applied to it. All clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Kept>>);

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) stands: Sequence,
    pub(crate) applied: Vec<(u64, String)>,
    /// How often nothing fits yet.
    pub(crate) full: u32,
}

impl Fake {
    pub(crate) fn at(stands: u64) -> Self {
        let fake = Self::default();
        fake.kept().stands = Sequence(stands);
        fake
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owned for Fake {
    fn stands(&self) -> Sequence {
        self.kept().stands
    }

    fn apply(&mut self, _: &str, batch: &[Change<'_>], _: bool) -> Result<(), Refusal> {
        let mut kept = self.kept();
        if kept.full > 0 {
            kept.full -= 1;
            return Err(Refusal::NoRoom("full".to_owned()));
        }
        for change in batch {
            kept.stands = change.sequence;
            let applied = (change.sequence.get(), change.kind.to_owned());
            kept.applied.push(applied);
        }
        Ok(())
    }

    fn begin(&mut self, _: &str, above: Sequence) -> Result<(), Refusal> {
        self.kept().stands = above;
        Ok(())
    }

    fn keys(&self) -> Vec<u64> {
        Vec::new()
    }

    fn piece(&self, _: u64) -> Option<Exported> {
        None
    }

    fn is_compact_asked(&self) -> bool {
        false
    }

    fn compact(&mut self) -> Result<String, Refusal> {
        Ok(String::new())
    }

    fn seal(&mut self) -> Sequence {
        self.stands()
    }
}
