//! A state that stays where it is, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baton_protocol::Sequence;

use super::{Change, Exported, Owned, Refusal};

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
