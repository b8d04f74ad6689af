//! What all rings together may have.
//!
//! ```text
//!  half: an equal part for each shard   half: who asks first
//! ├────┬────┬────┬────┬────────────────┼──────────────────────┤
//! ```
//!
//! The bot's shards have parts, whether they are here or not: a shard that comes finds its own.
//!
//! What is open is counted here, and history is not: that has what nothing open needs, in
//! equal parts, and gives way at once. So no number of stopped clients takes the part of the
//! others, and what is kept for a RESUME never holds Discord back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes of all rings. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Sums>);

#[derive(Debug)]
struct Sums {
    limit: usize,
    /// So many parts there are.
    parts: AtomicUsize,
    open: AtomicUsize,
    /// Of what is open: what is above the rings' own parts.
    extra: AtomicUsize,
    history: AtomicUsize,
}

/// What one ring has of it. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Part {
    of: Arc<Sums>,
    open: usize,
    extra: usize,
    history: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(Sums {
            limit,
            parts: AtomicUsize::new(1),
            open: AtomicUsize::new(0),
            extra: AtomicUsize::new(0),
            history: AtomicUsize::new(0),
        }))
    }

    /// The bot has so many shards.
    pub(crate) fn is_for(&self, shards: u32) {
        let shards = usize::try_from(shards).unwrap_or(usize::MAX);
        self.0.parts.fetch_max(shards, Ordering::Relaxed);
    }

    /// The part of one ring.
    pub(crate) fn part(&self) -> Part {
        Part {
            of: Arc::clone(&self.0),
            open: 0,
            extra: 0,
            history: 0,
        }
    }

    /// Bytes of what is open, and of history.
    pub(crate) fn used(&self) -> (usize, usize) {
        let Sums { open, history, .. } = &*self.0;
        (
            open.load(Ordering::Relaxed),
            history.load(Ordering::Relaxed),
        )
    }
}

impl Sums {
    fn each(&self, bytes: usize) -> usize {
        bytes / self.parts.load(Ordering::Relaxed)
    }
}

/// Brings a sum up to what one of its parts is now.
fn change(sum: &AtomicUsize, part: &mut usize, now: usize) {
    if now > *part {
        sum.fetch_add(now - *part, Ordering::Relaxed);
    } else if now < *part {
        sum.fetch_sub(*part - now, Ordering::Relaxed);
    }
    *part = now;
}

impl Part {
    /// The ring has so many bytes now.
    pub(crate) fn has(&mut self, open: usize, history: usize) {
        let extra = open.saturating_sub(self.own());
        change(&self.of.open, &mut self.open, open);
        change(&self.of.extra, &mut self.extra, extra);
        change(&self.of.history, &mut self.history, history);
    }

    /// What the ring has for certain.
    fn own(&self) -> usize {
        self.of.each(self.of.limit / 2)
    }

    /// Whether one more event is within it. Each ring may be above it by one.
    pub(crate) fn has_room(&self) -> bool {
        let common = self.of.limit - self.of.limit / 2;
        let own = if mutant!("parts-of-nobody") {
            0
        } else {
            self.own()
        };
        self.open < own || self.of.extra.load(Ordering::Relaxed) < common
    }

    /// Bytes of history that the ring may keep.
    pub(crate) fn history(&self) -> usize {
        let open = self.of.open.load(Ordering::Relaxed);
        self.of.each(self.of.limit.saturating_sub(open))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.has(0, 0);
    }
}
