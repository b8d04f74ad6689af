//! The snapshots that a shard writes while it serves, one after the other.

use std::time::Duration;

use baton_protocol::Sequence;
use tokio::time::Instant;

use super::backoff::random;
use crate::{
    state::{
        CopyOut,
        snapshot::{Outcome, Store, Writing},
    },
    telemetry::Counters,
};

/// So soon a snapshot is tried again for which there were too many others.
const CROWDED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// When the next one is due; `None`: there are none, or the shard is not owned.
    due: Option<Instant>,
    /// The one that is being exported.
    copy: Option<CopyOut>,
    /// The one that is exported, or being exported, and not known to be written.
    writing: Option<Writing>,
    /// Attempts that failed in a row.
    failures: u32,
    /// Generation and sequence at which the last one stands.
    last: Option<(u64, Sequence)>,
}

impl Snapshot {
    /// The shard is not this process' any more, or its session is another one: what is
    /// being written is of no use.
    pub(super) fn stop(&mut self) {
        self.copy = None;
        self.writing = None;
        self.last = None;
    }

    /// The shard is owned from now on. Not all shards write at the same time.
    pub(super) fn plan(&mut self, store: Option<&Store>) {
        self.due =
            store.map(|store| Instant::now() + store.every().mul_f64(0.25 + 0.75 * random()));
    }

    /// When it is to be looked after.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks after the last one where it is time; whether the next one begins.
    pub(super) fn begins(&mut self, now: Instant, store: &Store, counters: &Counters) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        if let Some(writing) = &mut self.writing {
            match writing.outcome() {
                None => {
                    self.due = Some(now + store.every());
                    return false;
                }
                Some(Outcome::Written) => {
                    counters.snapshots.add();
                    self.failures = 0;
                }
                Some(Outcome::Dropped) => {}
                Some(Outcome::Failed) => {
                    counters.snapshots_failed.add();
                    self.failures += 1;
                    self.last = None;
                }
            }
            self.writing = None;
            self.copy = None;
        }
        let pause = store.every() * 2_u32.pow(self.failures.min(5));
        self.due = Some(now + pause);
        true
    }

    /// Whether the last one stands at this moment.
    pub(super) fn is_of(&self, moment: (u64, Sequence)) -> bool {
        self.last == Some(moment)
    }

    /// There are too many others.
    pub(super) fn waits(&mut self, now: Instant) {
        self.due = Some(now + CROWDED);
    }

    /// One begins.
    pub(super) fn begin(&mut self, copy: CopyOut, writing: Writing) {
        debug_assert!(self.writing.is_none(), "the last one is over");
        self.copy = Some(copy.gently());
        self.writing = Some(writing);
    }

    pub(super) const fn copying(&mut self) -> Option<&mut CopyOut> {
        self.copy.as_mut()
    }

    pub(super) const fn copies(&self) -> bool {
        self.copy.is_some()
    }

    /// It is not exported any further.
    pub(super) fn stop_copy(&mut self) {
        self.copy = None;
    }

    /// An event changed a piece.
    pub(super) fn changed(&mut self, key: u64, sequence: Sequence) {
        if let Some(copy) = &mut self.copy {
            copy.changed(key, sequence);
        }
    }

    /// One step of the export: a frame for the writer, or one more piece exported.
    pub(super) fn step(
        &mut self,
        (generation, at): (u64, Sequence),
        export: impl FnOnce(u64) -> Option<bytes::Bytes>,
    ) {
        debug_assert!(self.writing.is_some(), "it is written somewhere");
        let Some(copy) = &mut self.copy else {
            debug_assert!(false, "a step of no snapshot");
            return;
        };
        let frame = copy.step(at, export);
        let is_over = copy.is_over();
        if let (Some(frame), Some(writing)) = (frame, &self.writing) {
            if frame.is_end() {
                self.last = Some((generation, frame.header().sequence));
            }
            writing.frame(frame);
        }
        if is_over {
            self.copy = None;
        }
    }
}
