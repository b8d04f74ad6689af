//! What is kept of an event until the broker has it.

use std::fmt;

/// Keeps an event unfinished. **Only [`confirm`](Self::confirm) finishes it**: a receipt that
/// is dropped by anything else (a panic, the end of the process) is forgotten, so that the
/// next owner of the shard hands the event out again.
pub(crate) struct Receipt(Option<Box<dyn Send>>);

impl Receipt {
    pub(crate) fn new(kept: impl Send + 'static) -> Self {
        Self(Some(Box::new(kept)))
    }

    /// The broker has confirmed the event.
    pub(crate) fn confirm(mut self) {
        self.0.take();
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_event_is_finished_by_a_confirm_and_by_nothing_else() {
        let event = Arc::new(());
        let finished = |event: &Arc<()>| Arc::strong_count(event) == 1;
        drop(Receipt::new(Arc::clone(&event)));
        assert!(!finished(&event));
        let event = Arc::new(());
        Receipt::new(Arc::clone(&event)).confirm();
        assert!(finished(&event));
    }
}
