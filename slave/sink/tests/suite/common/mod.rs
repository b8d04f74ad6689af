//! Traffic for a broker, and the judge of what comes out of it.

pub(crate) mod cutter;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use baton_sink::{Dispatch, Epoch, Sequence, ShardId, Sink};
use bytes::Bytes;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Events that a shard hands out before the first is finished.
const WINDOW: usize = 256;

/// Event number `sequence` of a shard, of one of some guilds, or of none.
pub(crate) fn event(shard: u32, sequence: u64) -> Dispatch {
    let guild = sequence * 7 % 13;
    let payload = format!(
        r#"{{"t":"MESSAGE_CREATE","s":{sequence},"op":0,"d":{{"guild_id":"{guild}","content":"{:x>200}"}}}}"#,
        "ä"
    );
    Dispatch {
        shard: ShardId(shard),
        shards: 2,
        epoch: Epoch(7),
        session: format!("{shard:08x}aabbccdd"),
        sequence: Sequence(sequence),
        kind: "MESSAGE_CREATE".to_owned(),
        may_repeat: false,
        guild: (guild > 0).then_some(guild),
        payload: Bytes::from(payload),
    }
}

/// What came out of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) shard: u32,
    pub(crate) sequence: u64,
    pub(crate) guild: Option<u64>,
    pub(crate) epoch: u64,
    pub(crate) is_marked: bool,
}

impl Came {
    /// By the headers of an envelope.
    pub(crate) fn read(header: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| header(name).unwrap().parse().unwrap();
        Self {
            shard: u32::try_from(number("baton-shard")).unwrap(),
            sequence: number("baton-sequence"),
            guild: header("baton-guild").map(|guild| guild.parse().unwrap()),
            epoch: number("baton-epoch"),
            is_marked: header("baton-mark").is_some_and(|mark| mark == "may-repeat"),
        }
    }
}

/// The events `1..=last` of a shard: all came, those of each guild in their order. Gives how
/// often one came again, of which each was marked.
pub(crate) fn judge(came: &[Came], shard: u32, last: u64) -> usize {
    let came: Vec<_> = came
        .iter()
        .filter(|one| one.shard == shard)
        .cloned()
        .collect();
    let of_guild = in_order(&came);
    let again = came.len() - of_guild.values().map(Vec::len).sum::<usize>();
    let mut all: Vec<u64> = of_guild.into_values().flatten().collect();
    all.sort_unstable();
    let lost: Vec<u64> = (1..=last)
        .filter(|at| all.binary_search(at).is_err())
        .collect();
    assert_eq!(lost, [0; 0], "lost of shard {shard}");
    assert_eq!(all.len() as u64, last);
    again
}

/// The events of each guild came in their order, each once but for marked ones. Gives their
/// sequences.
pub(crate) fn in_order(came: &[Came]) -> BTreeMap<Option<u64>, Vec<u64>> {
    let mut of_guild = BTreeMap::<_, Vec<u64>>::new();
    for one in came {
        let seen = of_guild.entry(one.guild).or_default();
        let newest = seen.last().copied().unwrap_or(0);
        if one.sequence > newest {
            seen.push(one.sequence);
        } else {
            let known = seen.binary_search(&one.sequence).is_ok();
            assert!(known, "{one:?} came behind {newest}");
            assert!(one.is_marked, "{one:?} came twice and does not say so");
        }
    }
    of_guild
}

/// A shard that hands out events as a slave does: with a window, without an end.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
    task: JoinHandle<u64>,
}

impl Traffic {
    /// With a pause between two events.
    pub(crate) fn start(sink: Arc<Sink>, shard: u32, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let finished = Arc::new(AtomicU64::new(0));
        let (ends, count) = (Arc::clone(&stop), Arc::clone(&finished));
        let task = tokio::spawn(async move {
            let unfinished = Arc::new(AtomicUsize::new(0));
            let mut sequence = 0;
            while !ends.load(Ordering::Relaxed) {
                if unfinished.load(Ordering::Relaxed) < WINDOW {
                    sequence += 1;
                    unfinished.fetch_add(1, Ordering::Relaxed);
                    let kept = Kept(Arc::clone(&unfinished), Arc::clone(&count));
                    sink.publish(event(shard, sequence), kept);
                }
                if pause.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    sleep(pause).await;
                }
            }
            while unfinished.load(Ordering::Relaxed) > 0 {
                sleep(Duration::from_millis(2)).await;
            }
            sequence
        });
        Self {
            stop,
            finished,
            task,
        }
    }

    /// Events that were finished.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Waits until so many more events are finished.
    pub(crate) async fn more(&self, events: u64) {
        let goal = self.finished() + events;
        until("more events are finished", || self.finished() >= goal).await;
    }

    /// Hands out nothing more, and waits until all is finished; gives the last sequence.
    pub(crate) async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("every event is finished")
            .unwrap()
    }
}

/// In the place of an `Ack`.
struct Kept(Arc<AtomicUsize>, Arc<AtomicU64>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// In the place of an `Ack`, for single events: says which were finished.
#[derive(Clone, Default)]
pub(crate) struct Finished(Arc<Mutex<Vec<u64>>>);

impl Finished {
    /// What is kept of an event.
    pub(crate) fn when_dropped(&self, sequence: u64) -> impl Send + 'static {
        struct One(Finished, u64);
        impl Drop for One {
            fn drop(&mut self) {
                self.0.0.lock().unwrap().push(self.1);
            }
        }
        One(self.clone(), sequence)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Waits until the broker does not take events, for this reason.
pub(crate) async fn until_trouble(sink: &Sink, reason: &str) {
    let is_it = || {
        let trouble = sink.status().trouble;
        trouble.is_some_and(|trouble| trouble.reason.contains(reason))
    };
    until(reason, is_it).await;
}

/// Waits for a condition that takes time to look at.
pub(crate) async fn until_true(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
