//! Copying out: piece after piece, between events, at the pace at which the
//! next owner acknowledges.
//!
//! A piece that changed after it was exported is exported again at the end, a few
//! times over: so the copy as a whole stands close to the present, and the next
//! owner's replay stays far inside Discord's bounded replay buffer, however long
//! the copy took. Where events change most pieces faster than they can be exported, another
//! round would take as long as the last one and end as far behind, so there is none.
//!
//! A heartbeat names what was received, and a server might forget everything up to
//! there. The seal follows the copy within a few round trips. So a copy that would
//! end just before a heartbeat ends just after it: then no slave resumes below what
//! a heartbeat named.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use baton_protocol::{
    Epoch, Sequence, ShardId, Version,
    message::CopyState,
    state::{Outgoing, StateFrame, StateWriter},
};
use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{SESSION_PIECE, pack::Packer};
use crate::config::StateCompression;

/// Pieces are exported for so long before the copy makes room for others. A rest is
/// a timer, and one behind each piece of a small state would be most of what the
/// copy takes.
const BURST: Duration = Duration::from_millis(1);

/// Rounds in which what changed is exported again.
const ROUNDS: u32 = 4;
/// So few pieces are exported again in any case.
const FEW: usize = 16;

/// The seal comes within this time after a copy. Discord's heartbeats are 41 s
/// apart: one copy in forty waits, half of this time on average.
const UNTIL_SEALED: Duration = Duration::from_secs(1);

/// A heartbeat that is due is looked for after this time.
const LOOK: Duration = Duration::from_millis(5);

/// Where a copy goes, as the master says with the order for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// All of its way is on one host.
    OnHost,
    /// It crosses the network.
    BetweenHosts,
}

impl Way {
    /// What an order says of it.
    pub(crate) const fn of(copy: &CopyState) -> Self {
        match copy.unacknowledged {
            0 => Self::OnHost,
            _ => Self::BetweenHosts,
        }
    }
}

/// In which form a copy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As every version reads it; also what a snapshot's file holds.
    Plain,
    /// With checksums, packed or not.
    Checked(Packed),
}

/// Whether frames are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    /// Each as one zstd block.
    Zstd,
    /// They go as they are.
    No,
}

impl Form {
    /// The best form that a reader of this version takes.
    pub(crate) fn of_reader(version: Version, compression: StateCompression, way: Way) -> Self {
        if version < Version::CHECKED_STATE {
            return Self::Plain;
        }
        Self::Checked(match (compression, way) {
            (StateCompression::Zstd, _) | (StateCompression::BetweenHosts, Way::BetweenHosts) => {
                Packed::Zstd
            }
            (StateCompression::None, _) | (StateCompression::BetweenHosts, Way::OnHost) => {
                Packed::No
            }
        })
    }

    fn writer(self, shard: ShardId, epoch: Epoch) -> StateWriter {
        match self {
            Self::Plain => StateWriter::new(shard, epoch),
            Self::Checked(Packed::No) => StateWriter::checked(shard, epoch, None),
            // Without memory for a context the frames go as they are.
            Self::Checked(Packed::Zstd) => {
                let packer = Packer::new().map(|packer| Box::new(packer) as _);
                StateWriter::checked(shard, epoch, packer)
            }
        }
    }
}

/// The heartbeats of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    /// When the last one was sent.
    pub(crate) sent: Instant,
    /// When the next one is due.
    pub(crate) due: Instant,
}

impl Heartbeat {
    /// Whether one may go out before the next owner has resumed, if the shard is sealed
    /// `now`. It would name what came meanwhile, and a server might forget everything up to
    /// there.
    pub(crate) fn is_near(self, now: Instant) -> bool {
        self.due < now + UNTIL_SEALED
    }
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
    /// Pieces of this round, or of the whole copy.
    in_round: usize,
    writer: Option<StateWriter>,
    /// The piece that is being cut. Frames are cut one at a time, when there is room
    /// for them: so of a large piece there is never a second copy in memory, and it
    /// is not packed in one go.
    piece: Option<Outgoing>,
    frames: VecDeque<StateFrame>,
    /// Bytes that may be on their way, for all copies of this process.
    budget: Arc<Semaphore>,
    not_before: Instant,
    /// What was spent on the copy since it made room for others.
    spent: Duration,
    pace: Pace,
    /// What the shard had received when the last burst was over.
    heard: Sequence,
    /// A burst is over, and there is no event to rest for.
    yields: bool,
    /// Since when it could end.
    whole: Option<Instant>,
    /// Whether the reader is asked first whether it needs a copy.
    offer: Option<u64>,
}

/// A piece as it is exported.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) bytes: Bytes,
    /// Where it stands; `None`: where the shard does.
    pub(crate) stands: Option<Sequence>,
}

impl From<Bytes> for Exported {
    fn from(bytes: Bytes) -> Self {
        let stands = None;
        Self { bytes, stands }
    }
}

/// How a copy divides a shard's time with its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Half of it while events come; all of it while none do.
    Shared,
    /// A tenth of it.
    Gentle,
}

impl CopyOut {
    /// Begins a copy at `began`. `session` names the session
    /// that the sequences are of; `None`: the bot keeps no state, the copy is empty.
    pub(crate) fn new(
        form: Form,
        shard: ShardId,
        epoch: Epoch,
        began: Sequence,
        session: Option<&str>,
        keys: Vec<u64>,
        budget: Arc<Semaphore>,
    ) -> Self {
        let mut writer = form.writer(shard, epoch);
        let mut frames = VecDeque::new();
        let mut piece = None;
        let writer = match session {
            Some(session) => {
                let session = Bytes::copy_from_slice(session.as_bytes());
                // A session's tag is short.
                piece = Outgoing::new(SESSION_PIECE, began, session).ok();
                frames.extend(add(&mut writer, &mut piece));
                Some(writer)
            }
            None => {
                frames.extend(writer.end(Sequence(0)));
                None
            }
        };
        let keys: VecDeque<u64> = keys
            .into_iter()
            .filter(|key| *key != SESSION_PIECE)
            .collect();
        Self {
            epoch,
            changed: BTreeMap::new(),
            round: 0,
            in_round: keys.len(),
            keys,
            writer,
            piece,
            frames,
            budget,
            not_before: Instant::now(),
            spent: Duration::ZERO,
            pace: Pace::Shared,
            heard: began,
            yields: false,
            whole: None,
            offer: None,
        }
    }

    /// The first frame goes out alone, and the copy waits for what the reader makes of the
    /// offer in it: [`goes_on`](Self::goes_on) or [`is_needless`](Self::is_needless).
    pub(crate) fn with_offer(mut self, offer: u64) -> Self {
        if let Some(writer) = &mut self.writer {
            self.frames.extend(writer.flush());
            self.offer = Some(offer);
        }
        self
    }

    /// The offer that the reader has had by now, if it was not asked yet what became of it.
    pub(crate) fn offered(&self) -> Option<u64> {
        self.offer.filter(|_| self.frames.is_empty())
    }

    /// The reader needs these pieces, of the session that is named here.
    pub(crate) fn goes_on(&mut self, at: Sequence, session: &str, keys: Vec<u64>) {
        debug_assert!(self.offer.is_some(), "it waits for what its reader says");
        let Some(writer) = &mut self.writer else {
            debug_assert!(false, "a copy that is over goes on");
            return;
        };
        self.offer = None;
        let session = Bytes::copy_from_slice(session.as_bytes());
        self.piece = Outgoing::new(SESSION_PIECE, at, session).ok();
        self.frames.extend(add(writer, &mut self.piece));
        self.changed.clear();
        let keys = keys.into_iter().filter(|key| *key != SESSION_PIECE);
        self.keys = keys.collect();
        self.in_round = self.keys.len();
    }

    /// The reader needs nothing.
    pub(crate) fn is_needless(&mut self) {
        debug_assert!(self.offer.is_some(), "it waits for what its reader says");
        self.offer = None;
        if let Some(writer) = self.writer.take() {
            self.frames.extend(writer.end(Sequence(0)));
        }
    }

    /// Takes a tenth of the task's time.
    pub(crate) const fn gently(mut self) -> Self {
        self.pace = Pace::Gentle;
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
    pub(crate) async fn ready(&mut self) -> bool {
        let Some(frame) = self.frames.front() else {
            if self.offer.is_some() {
                pending::<()>().await;
            }
            // A timer takes a millisecond even where nothing is to be waited for.
            if Instant::now() < self.not_before {
                sleep_until(self.not_before).await;
            } else if std::mem::take(&mut self.yields) {
                yield_now().await;
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

    /// One step after [`ready`](Self::ready): a frame to send, the next one cut, or
    /// one more piece exported by `export`.
    pub(crate) fn step<P: Into<Exported>>(
        &mut self,
        at: Sequence,
        export: impl FnOnce(u64) -> Option<P>,
    ) -> Option<StateFrame> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        debug_assert!(self.offer.is_none(), "it waits for a word");
        let began = Instant::now();
        let writer = self.writer.as_mut()?;
        if self.piece.is_some() {
            self.frames.extend(add(writer, &mut self.piece));
        } else if let Some(key) = self.keys.pop_front() {
            let piece = export(key).map(|piece| {
                let Exported { bytes, stands } = piece.into();
                Outgoing::new(key, stands.unwrap_or(at), bytes)
            });
            match piece {
                Some(Ok(piece)) => {
                    self.piece = Some(piece);
                    self.frames.extend(add(writer, &mut self.piece));
                    self.changed.remove(&key);
                }
                Some(Err(error)) => {
                    tracing::error!(key, %error, "a piece is too large to move");
                }
                None => {}
            }
        } else if self.has_another_round() {
            self.round += 1;
            self.in_round = self.changed.len();
            self.keys.extend(self.changed.keys());
        } else {
            let stands = self.stands(at);
            self.frames.extend(self.writer.take()?.end(stands));
        }
        self.spent += began.elapsed().min(Duration::from_millis(250));
        if self.spent >= BURST {
            self.make_room(at);
        }
        None
    }

    /// Whether what changed is exported again: another round takes half as long, or is short.
    fn has_another_round(&self) -> bool {
        let changed = self.changed.len();
        let shrinks =
            changed <= FEW || changed <= self.in_round / 2 || mutant!("rounds-that-gain-nothing");
        changed > 0 && self.round < ROUNDS && shrinks
    }

    /// The rest of this task's time is for events, if there are any.
    fn make_room(&mut self, received: Sequence) {
        let heard = std::mem::replace(&mut self.heard, received);
        let times = match self.pace {
            Pace::Gentle => 9,
            Pace::Shared if received > heard => 1,
            Pace::Shared => 0,
        };
        self.yields = times == 0;
        self.not_before = Instant::now() + self.spent * times;
        self.spent = Duration::ZERO;
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
            && self.piece.is_none()
            && self.keys.is_empty()
            && !self.has_another_round();
        let Some(heartbeat) = heartbeat.filter(|_| is_whole) else {
            return false;
        };
        let now = Instant::now();
        let since = *self.whole.get_or_insert(now);
        let is_near = heartbeat.sent < since && heartbeat.is_near(since);
        // One that is late is not waited for for ever.
        if !is_near || now >= since + UNTIL_SEALED * 2 || mutant!("heartbeat-unheeded") {
            return false;
        }
        self.round = 0;
        self.in_round = usize::MAX;
        self.not_before = heartbeat.due.max(now) + LOOK;
        true
    }

    /// Whether everything was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.writer.is_none() && self.frames.is_empty()
    }
}

/// As much of the piece as goes into one frame.
fn add(writer: &mut StateWriter, piece: &mut Option<Outgoing>) -> Option<StateFrame> {
    let full = writer.add(piece.as_mut()?);
    piece.take_if(|piece| piece.is_cut());
    full
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
