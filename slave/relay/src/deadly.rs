//! An event that kills this process, for tests of what becomes of such a one: the
//! first that comes when a file says `armed`. Which one it was is written there, so
//! that the next process dies of it too.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use baton_slave::Event;

/// Nothing is killed before this stands in the file.
const ARMED: &str = "armed";

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Deadly {
    file: Mutex<PathBuf>,
}

impl Deadly {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self {
            file: Mutex::new(file),
        }
    }

    /// Does not return where this is the event, unless it comes as one that kills.
    pub(crate) fn meets(&self, event: &Event) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(says) = fs::read_to_string(&*file) else {
            return;
        };
        let this = format!("{} {}", event.session(), event.sequence());
        if says == ARMED && event.kind() == "MESSAGE_CREATE" {
            let _ = fs::write(&*file, &this);
            std::process::abort();
        }
        if says == this && !event.is_deadly() {
            std::process::abort();
        }
    }
}
