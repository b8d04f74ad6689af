//! The way of finished events back to their shard.
//!
//! Most events are finished before [`Bot::handle`](super::Bot::handle) returns, in
//! the shard's own task. A channel would wake that task for each of them, while it
//! runs, and another thread to run it: a third of what an event costs. So the
//! task says while it works that it will look again before it sleeps, and is not woken.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use baton_protocol::Sequence;

use super::Event;

/// What became of one event that was handed out.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Which of the shard's sessions it is of.
    pub(crate) generation: u64,
    pub(crate) sequence: Sequence,
    pub(crate) how: How,
}

#[derive(Debug)]
pub(crate) enum How {
    Done,
    Panicked,
    /// Given back before it was begun. It does not count.
    NotBegun {
        event: Event,
        attempt: u32,
    },
    /// Given back, after so many times handed out.
    Retry {
        event: Event,
        attempt: u32,
    },
}

/// Where a shard finds what became of its events. Bounded by what it handed out.
#[derive(Debug, Default)]
pub(crate) struct Reports(Reporter);

/// Where any thread reports it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporter(Arc<Mutex<Inbox>>);

#[derive(Debug, Default)]
struct Inbox {
    finished: VecDeque<Finished>,
    /// Of a shard that sleeps.
    waker: Option<Waker>,
    /// The shard is gone, and with it the counting task.
    closed: bool,
}

impl Reports {
    /// For an [`Ack`](super::Ack).
    pub(crate) fn reporter(&self) -> Reporter {
        self.0.clone()
    }

    /// The shard works: it is not woken, and looks again before it sleeps.
    pub(crate) fn attend(&self) {
        self.0.inbox().waker = None;
    }

    /// Reports that were not taken yet, in their order.
    pub(crate) fn try_take(&self) -> Option<Finished> {
        self.0.inbox().finished.pop_front()
    }

    /// Waits for the next. Survives being cancelled.
    pub(crate) async fn take(&self) -> Finished {
        poll_fn(|cx| self.poll_take(cx)).await
    }

    fn poll_take(&self, cx: &Context<'_>) -> Poll<Finished> {
        let mut inbox = self.0.inbox();
        if let Some(finished) = inbox.finished.pop_front() {
            return Poll::Ready(finished);
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let mut inbox = self.0.inbox();
        inbox.closed = true;
        inbox.waker = None;
        let left = std::mem::take(&mut inbox.finished);
        drop(inbox);
        drop(left);
    }
}

impl Reporter {
    pub(super) fn tell(&self, finished: Finished) {
        let mut inbox = self.inbox();
        if inbox.closed {
            return;
        }
        inbox.finished.push_back(finished);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // Nothing panics in here.
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn finished(sequence: u64) -> Finished {
        Finished {
            generation: 0,
            sequence: Sequence(sequence),
            how: How::Done,
        }
    }

    #[test]
    fn a_shard_that_sleeps_is_woken_once_and_one_that_works_is_not() {
        let (reports, woken) = (Reports::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let sleeps = |cx: &mut Context<'_>| reports.poll_take(cx).is_pending();

        assert!(sleeps(&mut cx));
        reports.reporter().tell(finished(1));
        reports.reporter().tell(finished(2));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);

        let first = reports.try_take().map(|finished| finished.sequence);
        assert_eq!(first, Some(Sequence(1)));
        assert!(!sleeps(&mut cx), "the second is there");
        assert!(sleeps(&mut cx));
        reports.attend();
        reports.reporter().tell(finished(3));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(!sleeps(&mut cx), "it looks again before it sleeps");
    }

    #[test]
    fn nothing_is_kept_for_a_shard_that_is_gone() {
        let reports = Reports::default();
        let reporter = reports.reporter();
        reporter.tell(finished(1));
        drop(reports);
        reporter.tell(finished(2));
        assert!(reporter.inbox().finished.is_empty());
    }
}
