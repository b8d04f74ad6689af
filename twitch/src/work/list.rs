//! The list of channels, for a task that may not block.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Shared, WorkConfig, may_block};
use crate::channels::{Anybody, Database, Error, Manager};

/// See the module. Clones are the same list.
#[derive(Clone)]
pub(super) struct List(Shared<Box<dyn Manager>>);

impl List {
    /// Opens it.
    ///
    /// # Errors
    /// The file cannot be opened, or is another one.
    pub(super) async fn open(config: &WorkConfig) -> Result<Self, String> {
        let (path, anybody) = (config.list.clone(), config.anybody);
        let opened = may_block(move || -> Result<Box<dyn Manager>, Error> {
            Ok(match anybody {
                true => Box::new(Anybody::open(&path)?),
                false => Box::new(Database::open(&path)?),
            })
        });
        let gone = || "the process ends".to_owned();
        let opened = opened.await.ok_or_else(gone)?;
        let opened = opened.map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Mutex::new(opened))))
    }

    /// Does something with it.
    ///
    /// # Errors
    /// What could not be done, for a person.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Manager) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, String> {
        let list = Arc::clone(&self.0);
        let done = may_block(move || {
            // A panic leaves it as it was: each call is done wholly or not at all.
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut **list)
        });
        let gone = || "the process ends".to_owned();
        done.await
            .ok_or_else(gone)?
            .map_err(|error| error.to_string())
    }
}
