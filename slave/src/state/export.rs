//! Copying out: piece after piece, between events, at the pace at which the
//! next owner acknowledges.
//!
//! A piece that changed after it was exported is exported again at the end, a few
//! times over: so the copy as a whole stands close to the present, and the next
//! owner's replay stays far inside Discord's bounded replay buffer, however long
//! the copy took.
//!
//! A heartbeat names what was received, and a server might forget everything up to
//! there. The seal follows the copy within a few round trips. So a copy that would
//! end just before a heartbeat ends just after it: then nobody resumes below what
//! a heartbeat named.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{
    Epoch, Sequence, ShardId,
    state::{StateFrame, StateWriter},
};
use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

use super::SESSION_PIECE;

/// Pieces are exported for so long before the copy rests. A rest is a timer, and
/// one behind each piece of a small state would be most of what the copy takes.
const BURST: Duration = Duration::from_millis(1);

/// Rounds in which what changed is exported again.
const ROUNDS: u32 = 4;

/// The seal comes within this time after a copy. Discord's heartbeats are 41 s
/// apart: one copy in forty waits, half of this time on average.
const UNTIL_SEALED: Duration = Duration::from_secs(1);

/// A heartbeat that is due is looked for after this time.
const LOOK: Duration = Duration::from_millis(5);

/// The heartbeats of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    /// When the last one was sent.
    pub(crate) sent: Instant,
    /// When the next one is due.
    pub(crate) due: Instant,
}

/// One copy under way.
#[derive(Debug)]
pub(crate) struct CopyOut {
    epoch: Epoch,
    keys: VecDeque<u64>,
    /// Pieces that changed since they were exported, and the first event that
    /// did it.
    changed: BTreeMap<u64, Sequence>,
    round: u32,
    writer: Option<StateWriter>,
    frames: VecDeque<StateFrame>,
    /// Bytes that may be on their way, for all copies of this process.
    budget: Arc<Semaphore>,
    not_before: Instant,
    /// What was spent on exports since the last rest.
    spent: Duration,
    /// How many times as long as it took to export a piece nothing is exported.
    rests: u32,
    /// Since when it could end.
    whole: Option<Instant>,
}

impl CopyOut {
    /// Begins a copy at `began`. `session` names the session that the sequences
    /// are of; `None`: the bot keeps no state, the copy is empty.
    pub(crate) fn new(
        shard: ShardId,
        epoch: Epoch,
        began: Sequence,
        session: Option<&str>,
        keys: Vec<u64>,
        budget: Arc<Semaphore>,
    ) -> Self {
        let mut writer = StateWriter::new(shard, epoch);
        let mut frames = VecDeque::new();
        let writer = match session {
            Some(session) => {
                let full = writer.piece(SESSION_PIECE, began, session.as_bytes());
                frames.extend(full.unwrap_or_default());
                Some(writer)
            }
            None => {
                frames.extend(writer.end(Sequence(0)));
                None
            }
        };
        Self {
            epoch,
            changed: BTreeMap::new(),
            round: 0,
            keys: keys
                .into_iter()
                .filter(|key| *key != SESSION_PIECE)
                .collect(),
            writer,
            frames,
            budget,
            not_before: Instant::now(),
            spent: Duration::ZERO,
            rests: 1,
            whole: None,
        }
    }

    /// Takes a tenth of the task's time instead of half.
    pub(crate) const fn gently(mut self) -> Self {
        self.rests = 9;
        self
    }

    /// The epoch that the copy is of.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// An event changed a piece, or removed it.
    pub(crate) fn changed(&mut self, key: u64, sequence: Sequence) {
        self.changed.entry(key).or_insert(sequence);
    }

    /// Resolves when [`step`](Self::step) may be called; `false`: the link that
    /// the copy ran over is gone. Survives being cancelled.
    pub(crate) async fn ready(&self) -> bool {
        let Some(frame) = self.frames.front() else {
            // A timer takes a millisecond even where nothing is to be waited for.
            if Instant::now() < self.not_before {
                sleep_until(self.not_before).await;
            }
            return true;
        };
        let bytes = u32::try_from(frame.body().len()).unwrap_or(u32::MAX);
        match self.budget.acquire_many(bytes).await {
            Ok(permits) => {
                // Given back by acknowledgements. A step takes the frame at once.
                permits.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// One step after [`ready`](Self::ready): a frame to send, or one more piece
    /// exported by `export`.
    pub(crate) fn step(
        &mut self,
        at: Sequence,
        export: impl FnOnce(u64) -> Option<Bytes>,
    ) -> Option<StateFrame> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        let writer = self.writer.as_mut()?;
        match self.keys.pop_front() {
            Some(key) => {
                let began = Instant::now();
                if let Some(piece) = export(key) {
                    match writer.piece(key, at, &piece) {
                        Ok(full) => {
                            self.frames.extend(full);
                            self.changed.remove(&key);
                        }
                        Err(error) => tracing::error!(key, %error, "a piece is too large to move"),
                    }
                }
                // The rest of this task's time is for events.
                self.spent += began.elapsed().min(Duration::from_millis(250));
                if self.spent >= BURST {
                    self.not_before = Instant::now() + self.spent * self.rests;
                    self.spent = Duration::ZERO;
                }
            }
            None if !self.changed.is_empty() && self.round < ROUNDS => {
                self.round += 1;
                self.keys.extend(self.changed.keys());
            }
            None => {
                let writer = self.writer.take()?;
                self.frames.extend(writer.end(self.stands(at)));
            }
        }
        None
    }

    /// Just below the first change that is not in the copy: a piece that is gone
    /// by now, or changed again. Its event is replayed to the next owner.
    fn stands(&self, at: Sequence) -> Sequence {
        let missing = self.changed.values().min();
        missing.map_or(at, |first| at.min(Sequence(first.get().saturating_sub(1))))
    }

    /// Whether the copy, complete as it is, waits for the `heartbeat` that is due.
    /// What changes meanwhile is exported again.
    pub(crate) fn outlasts(&mut self, heartbeat: Option<Heartbeat>) -> bool {
        let is_whole = self.frames.is_empty()
            && self.keys.is_empty()
            && (self.changed.is_empty() || self.round == ROUNDS);
        let Some(heartbeat) = heartbeat.filter(|_| is_whole) else {
            return false;
        };
        let now = Instant::now();
        let since = *self.whole.get_or_insert(now);
        let is_near = heartbeat.sent < since && heartbeat.due < since + UNTIL_SEALED;
        // One that is late is not waited for for ever.
        if !is_near || now >= since + UNTIL_SEALED * 2 || cfg!(mutant = "heartbeat-unheeded") {
            return false;
        }
        self.round = 0;
        self.not_before = heartbeat.due.max(now) + LOOK;
        true
    }

    /// Whether everything was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.writer.is_none() && self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of these pieces that begins at sequence 10.
    fn copy_of(pieces: Vec<u64>) -> CopyOut {
        let budget = Arc::new(Semaphore::new(1 << 20));
        CopyOut::new(
            ShardId(1),
            Epoch(4),
            Sequence(10),
            Some("tag"),
            pieces,
            budget,
        )
    }

    /// Steps a copy of pieces 7 and 8 from sequence 11 on; `happens` says which
    /// piece the event of a step changes. Gives what was exported, and where the
    /// copy stands.
    fn copy(happens: impl Fn(u64) -> Option<u64>, gone: &[u64]) -> (Vec<u64>, Sequence) {
        let mut copy = copy_of(vec![7, 8]);
        let mut exported = Vec::new();
        let mut stands = Sequence(0);
        let mut at = 10;
        while !copy.is_over() {
            at += 1;
            if let Some(key) = happens(at) {
                copy.changed(key, Sequence(at));
            }
            let frame = copy.step(Sequence(at), |key| {
                exported.push(key);
                (!gone.contains(&key)).then(|| Bytes::from_static(b"guild"))
            });
            stands = frame.map_or(stands, |frame| frame.header().sequence);
        }
        (exported, stands)
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_in_which_nothing_changed_stands_at_its_end() {
        assert_eq!(copy(|_| None, &[]), (vec![7, 8], Sequence(13)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_changed_is_exported_again() {
        let (exported, stands) = copy(|at| (at == 12).then_some(7), &[]);
        assert_eq!(exported, [7, 8, 7]);
        assert!(stands >= Sequence(14), "{stands}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_never_stops_changing_holds_the_copy_back_only_a_little() {
        let (exported, stands) = copy(|_| Some(8), &[]);
        assert_eq!(exported.len() as u32, 2 + ROUNDS);
        assert!(stands >= Sequence(10 + 2 * u64::from(ROUNDS)), "{stands}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_would_end_before_a_heartbeat_stands_behind_it() {
        let began = Instant::now();
        let due = began + UNTIL_SEALED / 2;
        // It is sent a little later than it was due.
        let late = due + LOOK * 3;
        let mut copy = copy_of(vec![7]);
        let piece = |_| Some(Bytes::from_static(b"guild"));
        let mut stands = Sequence(0);
        let mut at = 10;
        while !copy.is_over() {
            assert!(copy.ready().await);
            let sent = Instant::now() >= late;
            let heartbeat = Heartbeat {
                sent: if sent { late } else { began - UNTIL_SEALED },
                due: if sent { late + UNTIL_SEALED } else { due },
            };
            if copy.outlasts(Some(heartbeat)) {
                // Meanwhile events come, and the heartbeat names the last of them.
                at += 10;
                copy.changed(7, Sequence(at));
            } else if let Some(frame) = copy.step(Sequence(at), piece) {
                stands = frame.header().sequence;
            }
        }
        assert!(Instant::now() >= late);
        assert_eq!(stands, Sequence(at));
    }

    #[tokio::test(start_paused = true)]
    async fn small_pieces_are_exported_without_a_timer_between_them() {
        let began = Instant::now();
        let mut copy = copy_of((1..100).collect());
        while !copy.is_over() {
            assert!(copy.ready().await);
            copy.step(Sequence(11), |_| Some(Bytes::from_static(b"guild")));
        }
        assert_eq!(Instant::now(), began);
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_is_far_away_is_not_waited_for() {
        let began = Instant::now();
        let mut copy = copy_of(vec![7]);
        let heartbeat = Heartbeat {
            sent: began - UNTIL_SEALED,
            due: began + UNTIL_SEALED * 2,
        };
        while !copy.is_over() {
            assert!(copy.ready().await);
            assert!(!copy.outlasts(Some(heartbeat)));
            copy.step(Sequence(11), |_| None);
        }
        assert!(Instant::now() < heartbeat.due);
    }

    #[tokio::test(start_paused = true)]
    async fn the_event_that_removed_a_piece_is_replayed() {
        let (_, stands) = copy(|at| (at == 13).then_some(8), &[8]);
        assert_eq!(stands, Sequence(12));
    }
}
