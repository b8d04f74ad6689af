//! Taking state in, on threads that may be busy for long.
//!
//! A bot's tables grow with what it takes in, and one that is copied to twice its
//! size takes a tenth of a second: on a thread of the runtime that would hold up
//! every shard of the process, among them the ones that are being handed over.

use std::thread::available_parallelism;

use baton_protocol::{
    Epoch,
    state::{MAX_UNACKNOWLEDGED, StateFrame},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Frozen, Said, Shard};
use crate::state::{Copied, Piece, Taken};

/// Discord keeps so many events of every session for a replay, at least.
const SURELY_REPLAYED: u64 = 100;

/// Who may take state in: as many at once as there are processors. More would only
/// take them from events.
#[derive(Debug)]
pub(crate) struct Imports(Semaphore);

impl Imports {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(
            available_parallelism().map_or(1, usize::from),
        ))
    }
}

impl Shard {
    pub(super) async fn take_state(&mut self, frame: &StateFrame) {
        let copied = frame.header().epoch;
        if self.taken_in.is_some_and(|(epoch, _)| epoch != copied) {
            self.acknowledge();
        }
        let imported = self.import_frame(frame).await;
        let (_, taken_in) = self.taken_in.get_or_insert((copied, 0));
        *taken_in += frame.body().len() as u64;
        // No slave listens to acknowledgements of a copy that is complete, or broken.
        if *taken_in >= MAX_UNACKNOWLEDGED / 2 || frame.is_end() || imported.is_err() {
            self.acknowledge();
        }
        match imported {
            Ok(Some(complete)) => {
                self.say(Said::StateReady {
                    copied,
                    state_at: complete.lowest,
                    pieces: complete.count(),
                });
                self.copied = Some(complete);
            }
            Ok(None) => {}
            Err(detail) => self.say(Said::StateBroken { copied, detail }),
        }
    }

    /// One word for all frames that were taken in since the last one: it wakes every
    /// process on its way.
    pub(super) fn acknowledge(&mut self) {
        if let Some((copied, bytes)) = self.taken_in.take() {
            self.say(Said::StateAck { copied, bytes });
        }
    }

    /// `Some`: the copy is complete.
    async fn import_frame(&mut self, frame: &StateFrame) -> Result<Option<Copied>, String> {
        if !self.context.keeps_state() {
            // Whatever another build has of it.
            return Ok(frame.is_end().then(Copied::default));
        }
        if self.epoch > Epoch(0) && self.prefers_own(frame) {
            let ends = frame.is_end() && frame.header().epoch > self.epoch;
            return Ok(ends.then(|| Copied::own(self.window.received())));
        }
        let pieces = match self.import.take(frame) {
            Taken::Begins(pieces) => {
                self.copied = None;
                self.with_state(|state, shard| state.drop_shard(shard));
                pieces
            }
            Taken::Pieces(pieces) => pieces,
            Taken::Complete(complete) => return Ok(Some(complete)),
            Taken::Broken(why) => return Err(why),
            Taken::Ignored => return Ok(None),
        };
        self.import_pieces(pieces).await.map(|()| None)
    }

    /// It was ours. What is here, frozen, is as good as any copy of it, unless the
    /// copy begins further ahead than every replay reaches back: then it makes room.
    fn prefers_own(&mut self, frame: &StateFrame) -> bool {
        let header = frame.header();
        let own = self.window.received().get();
        let reached = header.sequence.get() <= own.saturating_add(SURELY_REPLAYED);
        let begins = header.chunk == 0 && header.epoch > self.epoch;
        if self.frozen == Frozen::Own && begins && !reached && !cfg!(mutant = "frozen-preferred") {
            tracing::info!(
                own, copy = %header.sequence, "the frozen state makes room for a copy"
            );
            self.frozen = Frozen::GivenUp;
        }
        self.frozen != Frozen::GivenUp
    }

    /// Takes pieces in when it is this shard's turn. The task that waits for this does
    /// nothing else with the shard.
    pub(super) async fn import_pieces(&mut self, pieces: Vec<Piece>) -> Result<(), String> {
        if pieces.is_empty() {
            return Ok(());
        }
        let (context, shard, span) = (self.context.clone(), self.id, self.span.clone());
        let _turn = self.context.imports.0.acquire().await;
        let imported = spawn_blocking(move || {
            let _in = span.enter();
            for piece in pieces {
                let Piece {
                    key,
                    sequence,
                    bytes,
                } = piece;
                context
                    .with_state(|state| state.import_piece(shard, key, sequence, bytes))
                    .ok_or_else(|| format!("importing piece {key} panicked"))?
                    .map_err(|error| format!("piece {key}: {error}"))?;
            }
            Ok(())
        });
        imported
            .await
            .unwrap_or_else(|_| Err("the process ends".to_owned()))
    }
}
