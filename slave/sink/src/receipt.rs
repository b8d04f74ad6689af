//! What is kept of an event until the broker has it.

use std::fmt;

use baton_slave::Ack;

/// Keeps an event unfinished. **Only [`confirm`](Self::confirm) finishes it**: a receipt that
/// is dropped by anything else (a panic, the end of the process) is forgotten, so that the
/// next owner of the shard hands the event out again.
pub(crate) struct Receipt(Option<Box<dyn Kept>>);

/// What is kept. Dropped, its event is finished.
pub(crate) trait Kept: Send {
    /// The broker has never heard of the event, and hears nothing of it from here.
    fn give_back(self: Box<Self>);
}

impl Kept for Ack {
    fn give_back(self: Box<Self>) {
        Self::give_back(*self);
    }
}

/// Something that can be dropped and nothing else.
struct Plain<T>(T);

impl<T: Send> Kept for Plain<T> {
    fn give_back(self: Box<Self>) {
        std::mem::forget(self);
    }
}

impl Receipt {
    pub(crate) fn new(kept: impl Send + 'static) -> Self {
        Self::of(Plain(kept))
    }

    pub(crate) fn of(kept: impl Kept + 'static) -> Self {
        Self(Some(Box::new(kept)))
    }

    /// The broker has confirmed the event.
    pub(crate) fn confirm(mut self) {
        self.0.take();
    }

    /// The broker has never heard of the event: it is the next owner's.
    pub(crate) fn give_back(mut self) {
        if let Some(kept) = self.0.take() {
            kept.give_back();
        }
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
pub(crate) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Says what became of an event.
    #[derive(Clone, Default)]
    pub(crate) struct Fate(Arc<AtomicBool>, Arc<AtomicBool>);

    impl Fate {
        pub(crate) fn is_finished(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        pub(crate) fn is_given_back(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }

        pub(crate) fn receipt(&self) -> Receipt {
            Receipt::of(Told(self.clone()))
        }
    }

    struct Told(Fate);

    impl Kept for Told {
        fn give_back(self: Box<Self>) {
            self.0.1.store(true, Ordering::Relaxed);
            std::mem::forget(self);
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_event_is_finished_by_a_confirm_and_by_nothing_else() {
        let [dropped, returned, confirmed] = [(); 3].map(|()| Fate::default());
        drop(dropped.receipt());
        returned.receipt().give_back();
        confirmed.receipt().confirm();
        let fates = [&dropped, &returned, &confirmed];
        let is = fates.map(|fate| (fate.is_finished(), fate.is_given_back()));
        assert_eq!(is, [(false, false), (false, true), (true, false)]);
        let kept = Arc::new(());
        Receipt::new(Arc::clone(&kept)).give_back();
        assert_eq!(Arc::strong_count(&kept), 2, "it is not finished");
    }
}
