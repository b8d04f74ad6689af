//! One event that a file chooses, for tests of what becomes of an event that kills its
//! process, or that is never finished: the first message that comes while the file says
//! `armed`. Which one it was is written there, so that the next process knows it too.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use baton_slave::Event;

/// Nothing is chosen before this stands in the file.
const ARMED: &str = "armed";

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Chosen {
    file: Mutex<PathBuf>,
}

impl Chosen {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self {
            file: Mutex::new(file),
        }
    }

    /// Whether this is the event.
    pub(crate) fn is(&self, event: &Event) -> bool {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(says) = fs::read_to_string(&*file) else {
            return false;
        };
        let this = format!("{} {}", event.session(), event.sequence());
        if says == ARMED && event.kind() == "MESSAGE_CREATE" {
            let _ = fs::write(&*file, &this);
            return true;
        }
        says == this
    }
}
