//! Copying out: piece after piece, between events, at the pace at which the
//! next owner acknowledges.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_protocol::{
    Epoch, Sequence, ShardId,
    state::{StateFrame, StateWriter},
};
use bytes::Bytes;
use tokio::{sync::Semaphore, time::sleep_until};

use super::SESSION_PIECE;

/// One copy under way.
#[derive(Debug)]
pub(crate) struct CopyOut {
    epoch: Epoch,
    began: Sequence,
    keys: VecDeque<u64>,
    writer: Option<StateWriter>,
    frames: VecDeque<StateFrame>,
    /// Bytes that may be on their way, for all copies of this process.
    budget: Arc<Semaphore>,
    not_before: tokio::time::Instant,
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
            began,
            keys: keys
                .into_iter()
                .filter(|key| *key != SESSION_PIECE)
                .collect(),
            writer,
            frames,
            budget,
            not_before: tokio::time::Instant::now(),
        }
    }

    /// The epoch that the copy is of.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Resolves when [`step`](Self::step) may be called; `false`: the link that
    /// the copy ran over is gone. Survives being cancelled.
    pub(crate) async fn ready(&self) -> bool {
        let Some(frame) = self.frames.front() else {
            sleep_until(self.not_before).await;
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
                        Ok(full) => self.frames.extend(full),
                        Err(error) => tracing::error!(key, %error, "a piece is too large to move"),
                    }
                }
                // At most half of this task's time goes into copying.
                let cost = began.elapsed().min(Duration::from_millis(250));
                self.not_before = tokio::time::Instant::now() + cost;
            }
            None => {
                let writer = self.writer.take()?;
                self.frames.extend(writer.end(self.began));
            }
        }
        None
    }

    /// Whether everything was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.writer.is_none() && self.frames.is_empty()
    }
}
