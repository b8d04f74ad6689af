//! How much memory this process has, and whether that is more than it may have.
//!
//! The kernel says it in `/proc/self/statm`, in pages: what is resident, with the files of the
//! program and what is shared with other processes. A single look may come at a moment at which
//! much is in hand, so several in a row have to be above the limit, and one that is not begins
//! anew.

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_protocol::message::MemoryUse;
use tokio::{task::spawn_blocking, time::Instant};

/// It is looked at anew if the last look is this old and a master asks.
const EVERY: Duration = Duration::from_secs(2);

/// So many looks in a row are above the limit.
const LOOKS: u32 = 5;

/// While it stays above, an operator reads so in the log this often.
const SAY: Duration = Duration::from_secs(600);

/// See the module. All clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// When the last look began.
    looked: Option<Instant>,
    /// What it saw; zero: nothing yet.
    resident: u64,
    /// Looks in a row that were above the limit.
    above: u32,
    /// When that was said last.
    said: Option<Instant>,
}

impl Memory {
    /// What is known. Has it looked at once more, if that was long ago.
    pub(crate) fn tell(&self, limit: u64) -> Option<MemoryUse> {
        let now = Instant::now();
        if self.is_due(now) {
            let all = self.clone();
            // The kernel may take its time for it.
            spawn_blocking(move || {
                if let Some(resident) = resident() {
                    all.saw(resident, limit, now);
                }
            });
        }
        let known = self.known();
        (known.resident > 0).then(|| MemoryUse {
            resident: known.resident,
            limit,
            is_above: known.above >= LOOKS,
        })
    }

    fn is_due(&self, now: Instant) -> bool {
        let mut known = self.known();
        let is_due = known
            .looked
            .is_none_or(|at| now.duration_since(at) >= EVERY);
        if is_due {
            known.looked = Some(now);
        }
        is_due
    }

    fn saw(&self, resident: u64, limit: u64, now: Instant) {
        let mut known = self.known();
        known.resident = resident;
        if limit == 0 || resident <= limit {
            (known.above, known.said) = (0, None);
            return;
        }
        known.above = known.above.saturating_add(1);
        let is_due = known.said.is_none_or(|at| now.duration_since(at) >= SAY);
        if known.above >= LOOKS && is_due {
            known.said = Some(now);
            tracing::warn!(
                resident,
                limit,
                "more memory than the limit: the master is asked for a successor, and this process \
                 serves until it is there"
            );
        }
    }

    // Nothing panics in here.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are resident; `None`: the system does not say so.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    pages(&statm)?.checked_mul(page)
}

/// The second number: what is resident, in pages.
fn pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    #[test]
    fn what_is_resident_is_the_second_number_of_statm() {
        assert_eq!(pages("2301 512 377 7 0 130 0\n"), Some(512));
        assert_eq!(pages("2301"), None);
        assert_eq!(pages("2301 many"), None);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[tokio::test(start_paused = true)]
    async fn several_looks_in_a_row_are_above_the_limit_before_a_successor_is_asked_for() {
        let memory = Memory::default();
        let is_above = || {
            // Nothing looks by itself here.
            memory.known().looked = Some(Instant::now());
            memory.tell(LIMIT).is_some_and(|told| told.is_above)
        };
        for _ in 1..LOOKS {
            memory.saw(LIMIT + 1, LIMIT, Instant::now());
            assert!(!is_above());
        }
        memory.saw(LIMIT, LIMIT, Instant::now());
        for _ in 1..LOOKS {
            memory.saw(LIMIT + 1, LIMIT, Instant::now());
            assert!(!is_above(), "one that was not above began anew");
        }
        memory.saw(LIMIT + 1, LIMIT, Instant::now());
        assert!(is_above());
        memory.saw(LIMIT - 1, LIMIT, Instant::now());
        assert!(!is_above());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_at_from_time_to_time_and_without_a_limit_nothing_is_above_it() {
        let memory = Memory::default();
        assert!(memory.is_due(Instant::now()));
        assert!(!memory.is_due(Instant::now()));
        tokio::time::advance(EVERY).await;
        assert!(memory.is_due(Instant::now()));
        for _ in 0..2 * LOOKS {
            memory.saw(u64::MAX, 0, Instant::now());
        }
        let told = memory.tell(0).expect("it was looked at");
        assert_eq!((told.resident, told.is_above), (u64::MAX, false));
    }
}
