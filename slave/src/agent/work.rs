//! The once-per-bot work: begun and stopped on a blocking thread, one after the
//! other, while the agent goes on.

use std::sync::Arc;

use baton_protocol::{Epoch, message};
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::bot::Work;

pub(crate) struct Worker {
    /// `None`: the bot has none. It is begun and stopped all the same.
    job: Option<Arc<dyn Work>>,
    /// At which it runs here; `0`: it does not.
    epoch: Epoch,
    /// What was written down when it stopped, for when it is asked again.
    stopped: Option<message::Work>,
    /// The call under way, and an order that waits for its end.
    call: Option<JoinHandle<Done>>,
    next: Option<Call>,
}

/// A call that is over.
#[derive(Debug)]
pub(crate) enum Done {
    Started(Epoch),
    Stopped(message::Work),
}

enum Call {
    Start(message::Work),
    Stop,
}

impl Worker {
    pub(crate) fn new(job: Option<Arc<dyn Work>>) -> Self {
        Self {
            job,
            epoch: Epoch(0),
            stopped: None,
            call: None,
            next: None,
        }
    }

    /// At which it runs here; `0`: it does not.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.call.is_some() || self.next.is_some()
    }

    /// Runs it from now on. Asked again at the same epoch: said again.
    pub(crate) fn start(&mut self, order: message::Work) -> Option<Done> {
        if order.epoch == self.epoch && !self.is_busy() {
            return Some(Done::Started(order.epoch));
        }
        if order.epoch > self.epoch {
            self.call(Call::Start(order));
        }
        None
    }

    /// Stops it, if it runs at `epoch` (`None`: at any). Asked again: the same
    /// ticket is repeated.
    pub(crate) fn stop(&mut self, epoch: Option<Epoch>) -> Option<Done> {
        if self.epoch > Epoch(0) && epoch.is_none_or(|epoch| epoch == self.epoch) {
            self.call(Call::Stop);
            return None;
        }
        let again = self.stopped.clone()?;
        (epoch == Some(again.epoch)).then_some(Done::Stopped(again))
    }

    fn call(&mut self, call: Call) {
        if self.call.is_some() {
            self.next = Some(call);
            return;
        }
        let job = self.job.clone();
        self.call = Some(match call {
            Call::Start(order) => {
                self.epoch = order.epoch;
                let ticket = (!order.ticket.is_empty()).then_some(order.ticket);
                tokio::task::spawn_blocking(move || {
                    if let Some(job) = job {
                        job.start(ticket);
                    }
                    Done::Started(order.epoch)
                })
            }
            Call::Stop => {
                let epoch = self.epoch;
                tokio::task::spawn_blocking(move || {
                    let mut ticket = job.map_or_else(Bytes::new, |job| job.stop());
                    if ticket.len() > message::Work::MAX_TICKET {
                        tracing::error!(
                            bytes = ticket.len(),
                            "the work's ticket is too long: dropped"
                        );
                        ticket = Bytes::new();
                    }
                    Done::Stopped(message::Work { epoch, ticket })
                })
            }
        });
    }

    /// Pending while no call is under way. Survives being cancelled.
    pub(crate) async fn done(&mut self) -> Done {
        let Some(call) = &mut self.call else {
            return std::future::pending().await;
        };
        let done = call.await;
        self.call = None;
        let done = done.unwrap_or_else(|_| {
            tracing::error!("the bot panicked over its once-per-bot work");
            Done::Stopped(message::Work {
                epoch: self.epoch,
                ticket: Bytes::new(),
            })
        });
        debug_assert!(
            !matches!(done, Done::Started(epoch) if epoch != self.epoch),
            "what was begun is what runs"
        );
        if let Done::Stopped(work) = &done {
            self.epoch = Epoch(0);
            self.stopped = Some(work.clone());
        }
        match self.next.take() {
            Some(start @ Call::Start(_)) => self.call(start),
            Some(Call::Stop) if self.epoch > Epoch(0) => self.call(Call::Stop),
            // Asked to stop while it was being stopped: once is enough.
            Some(Call::Stop) | None => {}
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Work for Counting {
        fn start(&self, _ticket: Option<Bytes>) {}

        fn stop(&self) -> Bytes {
            self.0.fetch_add(1, Ordering::Relaxed);
            Bytes::from_static(b"next at noon")
        }
    }

    #[tokio::test]
    async fn work_that_is_asked_twice_to_stop_stops_once() {
        let job = Arc::new(Counting::default());
        let mut work = Worker::new(Some(job.clone()));
        let order = message::Work {
            epoch: Epoch(1),
            ticket: Bytes::new(),
        };
        assert!(work.start(order).is_none());
        assert!(matches!(work.done().await, Done::Started(Epoch(1))));
        assert!(work.stop(Some(Epoch(1))).is_none());
        assert!(work.stop(None).is_none());
        while work.is_busy() {
            work.done().await;
        }
        assert_eq!(job.0.load(Ordering::Relaxed), 1);
        let Some(Done::Stopped(again)) = work.stop(Some(Epoch(1))) else {
            panic!("what was recorded is reported again");
        };
        assert_eq!(again.ticket, b"next at noon"[..]);
    }
}
