//! The way of checkpoints to the agent: a shard notes where it stands, and the agent
//! collects what changed on a line of time, for all shards at once.
//!
//! A shard is not woken for it and sets no timer: at a thousand shards a hundred
//! checkpoints a second each would cost more than their events.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use baton_protocol::{Epoch, Sequence, SequenceRanges, ShardId};
use tokio::time::Instant;

/// How often checkpoints are made until a master says how often it wants them.
const FIRST_INTERVAL: u64 = 10;

/// Where a shard stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    /// Changes with the session.
    pub(crate) generation: u64,
    pub(crate) received: Sequence,
    pub(crate) handled: Sequence,
    pub(crate) finished_above: SequenceRanges,
    /// The oldest unfinished event, where that is worth a look.
    pub(crate) oldest: Option<Arc<Oldest>>,
}

/// An event that has not been finished for long, or has many behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub(crate) sequence: Sequence,
    pub(crate) kind: String,
    /// Zero: of no guild.
    pub(crate) guild: u64,
    /// When it was handed out.
    pub(crate) since: Instant,
}

/// Those of all shards of a process.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints(Arc<All>);

#[derive(Debug)]
struct All {
    started: Instant,
    interval_ms: AtomicU64,
    changed: Mutex<Changed>,
}

#[derive(Debug, Default)]
struct Changed {
    /// Each at most once.
    shards: Vec<ShardId>,
    /// Of an agent that waits for the first.
    waker: Option<Waker>,
}

/// One shard's place to note in, and its agent's to read.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    shard: ShardId,
    noted: Arc<Mutex<Noted>>,
    all: Checkpoints,
}

#[derive(Debug, Default)]
struct Noted {
    position: Position,
    /// Whether it was not taken yet.
    is_new: bool,
    /// Tickets that the shard said to its agent, now and when this was noted.
    tickets: u64,
    tickets_then: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self(Arc::new(All {
            started: Instant::now(),
            interval_ms: AtomicU64::new(FIRST_INTERVAL),
            changed: Mutex::default(),
        }))
    }
}

impl Checkpoints {
    /// Sets how often checkpoints are made: from 1 to 60,000 ms.
    pub(crate) fn set_interval(&self, ms: u64) {
        let ms = ms.clamp(1, 60_000);
        self.0.interval_ms.store(ms, Ordering::Relaxed);
    }

    /// When the next are due. All shards' fall on one line, so that they share a
    /// frame.
    pub(crate) fn next_line(&self) -> Instant {
        let every = self.0.interval_ms.load(Ordering::Relaxed);
        let lines = self.0.started.elapsed().as_millis() as u64 / every + 1;
        self.0.started + Duration::from_millis(lines * every)
    }

    /// A new shard's.
    pub(crate) fn standing(&self, shard: ShardId) -> Standing {
        Standing {
            shard,
            noted: Arc::default(),
            all: self.clone(),
        }
    }

    /// Waits until some shard noted something. Survives being cancelled.
    pub(crate) async fn changed(&self) {
        poll_fn(|cx| self.poll_changed(cx)).await;
    }

    fn poll_changed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut changed = lock(&self.0.changed);
        if changed.shards.is_empty() {
            changed.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        changed.waker = None;
        Poll::Ready(())
    }

    /// Shards that noted something since the last call.
    pub(crate) fn take(&self) -> Vec<ShardId> {
        std::mem::take(&mut lock(&self.0.changed).shards)
    }

    fn add(&self, shard: ShardId) {
        let mut changed = lock(&self.0.changed);
        changed.shards.push(shard);
        let waker = changed.waker.take();
        drop(changed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Standing {
    /// The shard stands here now.
    pub(crate) fn note(&self, position: Position) {
        let mut noted = lock(&self.noted);
        noted.position = position;
        noted.tickets_then = noted.tickets;
        let was_new = std::mem::replace(&mut noted.is_new, true);
        drop(noted);
        if !was_new {
            self.all.add(self.shard);
        }
    }

    /// The shard is about to say a ticket. It and what is noted go different ways:
    /// only what was noted after a ticket is of the session that the ticket names.
    pub(crate) fn says_ticket(&self) {
        lock(&self.noted).tickets += 1;
    }

    /// What was noted at `epoch` since the last call, by a shard of which the
    /// agent heard so many tickets. What is of a ticket that is still on its way
    /// is kept for the next call.
    pub(crate) fn take(&self, epoch: Epoch, heard: u64) -> Option<Position> {
        let mut noted = lock(&self.noted);
        if noted.tickets_then > heard {
            drop(noted);
            self.all.add(self.shard);
            return None;
        }
        let is_new = std::mem::take(&mut noted.is_new);
        let is_of_session = noted.tickets_then == heard || mutant!("note-of-another-session");
        let counts = is_of_session && noted.position.epoch == epoch;
        (is_new && counts).then(|| noted.position.clone())
    }
}

// Nothing panics in here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    const SHARD: ShardId = ShardId(3);
    const EPOCH: Epoch = Epoch(7);

    fn at(handled: u64) -> Position {
        Position {
            epoch: EPOCH,
            handled: Sequence(handled),
            ..Position::default()
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_waits_is_woken_once_for_whatever_many_shards_note() {
        let checkpoints = Checkpoints::default();
        let (one, other) = (
            checkpoints.standing(ShardId(1)),
            checkpoints.standing(SHARD),
        );
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(checkpoints.poll_changed(&cx).is_pending());
        for handled in 1..100 {
            one.note(at(handled));
            other.note(at(handled));
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(checkpoints.poll_changed(&cx).is_ready());
        assert_eq!(checkpoints.take(), [ShardId(1), SHARD]);
        assert_eq!(other.take(EPOCH, 0), Some(at(99)));
        assert_eq!(other.take(EPOCH, 0), None, "it was taken");
        assert!(checkpoints.poll_changed(&cx).is_pending());
        other.note(at(100));
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_noted_of_one_session_never_passes_for_another_s() {
        let checkpoints = Checkpoints::default();
        let standing = checkpoints.standing(SHARD);
        standing.note(at(5000));
        standing.says_ticket();
        assert_eq!(standing.take(EPOCH, 1), None, "older than the ticket");
        standing.note(at(2));
        checkpoints.take();
        assert_eq!(standing.take(EPOCH, 0), None, "of a ticket not yet heard");
        assert_eq!(checkpoints.take(), [SHARD], "kept for the next time");
        assert_eq!(standing.take(EPOCH, 1), Some(at(2)));
        standing.note(at(3));
        assert_eq!(standing.take(Epoch(8), 1), None, "of another epoch");
    }

    #[tokio::test(start_paused = true)]
    async fn all_checkpoints_fall_on_one_line_of_time() {
        let checkpoints = Checkpoints::default();
        checkpoints.set_interval(20);
        let first = checkpoints.next_line();
        tokio::time::advance(Duration::from_millis(19)).await;
        assert_eq!(checkpoints.next_line(), first);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(checkpoints.next_line(), first + Duration::from_millis(20));
        checkpoints.set_interval(0);
        assert!(checkpoints.next_line() > Instant::now());
    }
}
