//! The guard that says whether an event is finished.

use super::{
    Event,
    reports::{Finished, How, Reporter},
};

/// Goes with every event. **Dropped: the event is finished.** Dropped while its
/// thread panics: finished, and counted as failed. [`Ack::retry`]: not finished.
///
/// Move it into a task to finish an event later than the next one; a shard hands
/// out at most its window (256) of events that are not finished.
#[derive(Debug)]
#[must_use = "an event is finished when its Ack is dropped"]
pub struct Ack {
    report: Option<Report>,
}

#[derive(Debug)]
struct Report {
    to: Reporter,
    generation: u64,
    attempt: u32,
    event: Event,
}

impl Ack {
    pub(crate) fn new(to: Reporter, generation: u64, attempt: u32, event: Event) -> Self {
        Self {
            report: Some(Report {
                to,
                generation,
                attempt,
                event,
            }),
        }
    }

    /// One that no shard waits for, for a bot's own tests.
    pub const fn detached() -> Self {
        Self { report: None }
    }

    /// Not handled, and not even begun: the event is handed out again after a short delay, as
    /// often as that takes. Once the shard has left, its next owner hands it out.
    pub fn give_back(mut self) {
        if let Some(report) = self.report.take() {
            let how = |report: &Report| How::NotBegun {
                event: report.event.clone(),
                attempt: report.attempt,
            };
            report.send(how);
        }
    }

    /// Not finished: the event is handed out again after a short delay, a few
    /// times; at a seal, by the shard's next owner.
    pub fn retry(mut self) {
        if let Some(report) = self.report.take() {
            let how = |report: &Report| How::Retry {
                event: report.event.clone(),
                attempt: report.attempt,
            };
            report.send(how);
        }
    }
}

impl Report {
    fn send(self, how: impl FnOnce(&Self) -> How) {
        self.to.tell(Finished {
            generation: self.generation,
            sequence: self.event.sequence(),
            how: how(&self),
        });
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(report) = self.report.take() {
            report.send(|_| {
                if std::thread::panicking() {
                    How::Panicked
                } else {
                    How::Done
                }
            });
        }
    }
}
