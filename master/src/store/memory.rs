//! A store in memory, for tests: several masters may have it, as they may have one of
//! another host.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use baton_core::event::Durability;

use super::{ApplyError, Batch, Kept, Revision, Snapshot, Store, StoreError, TERM};

/// Clones are the same store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    entries: Snapshot,
    revision: u64,
    /// Why nothing can be written.
    full: Option<&'static str>,
}

impl Memory {
    /// What is there now, as a copy that is put back one day.
    pub(crate) fn copied(&self) -> Self {
        let held = self.held();
        Self(Arc::new(Mutex::new(Held {
            entries: held.entries.clone(),
            revision: held.revision,
            full: None,
        })))
    }

    /// Refuses what is to be written from now on, or takes it again.
    pub(crate) fn refuse(&self, why: Option<&'static str>) {
        self.held().full = why;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn read(&mut self) -> Result<Snapshot, StoreError> {
        Ok(self.held().entries.clone())
    }

    fn revision(&mut self, key: &str) -> Result<Option<Revision>, StoreError> {
        Ok(self.held().entries.get(key).map(|kept| kept.revision))
    }

    fn newest(&self) -> Option<Revision> {
        Some(Revision(self.held().revision))
    }

    fn apply(&mut self, batch: &Batch, _durability: Durability) -> Result<Revision, ApplyError> {
        let mut held = self.held();
        if held.entries.get(TERM).map(|kept| kept.revision) != batch.term {
            return Err(ApplyError::Deposed);
        }
        if let Some(why) = held.full {
            return Err(StoreError::Damaged(why.to_owned()).into());
        }
        held.revision += 1;
        let revision = Revision(held.revision);
        for (key, value) in &batch.changes {
            match value {
                Some(value) => {
                    let value = value.clone();
                    let age = None;
                    let kept = Kept {
                        value,
                        revision,
                        age,
                    };
                    held.entries.insert(key.clone(), kept);
                }
                None => drop(held.entries.remove(key)),
            }
        }
        Ok(revision)
    }
}

/// A batch of texts.
pub(super) fn batch(term: Option<Revision>, changes: &[(&str, Option<&str>)]) -> Batch {
    let changes = changes.iter().map(|(key, value)| {
        let value = value.map(|value| value.as_bytes().to_vec());
        ((*key).to_owned(), value)
    });
    Batch {
        term,
        changes: changes.collect::<BTreeMap<_, _>>(),
    }
}
