//! Taking state in, on threads that may be busy for long.
//!
//! A bot's tables grow with what it takes in, and one that is copied to twice its
//! size takes a tenth of a second: on a thread of the runtime that would hold up
//! every shard of the process, among them the ones that are being handed over.

use baton_protocol::{
    Epoch,
    state::{MAX_UNACKNOWLEDGED, StateFrame},
};
use tokio::task::spawn_blocking;

use super::{Shard, order::Said};
use crate::state::{Copied, Piece, Taken};

impl Shard {
    pub(super) async fn take_state(&mut self, frame: &StateFrame) {
        let copied = frame.header().epoch;
        if self.keeping.owes_another(copied) {
            self.acknowledge();
        }
        let imported = self.import_frame(frame).await;
        let taken_in = self.keeping.took_in(copied, frame.body().len() as u64);
        // No slave listens to acknowledgements of a copy that is complete, or broken.
        if taken_in >= MAX_UNACKNOWLEDGED / 2 || frame.is_end() || imported.is_err() {
            self.acknowledge();
        }
        match imported {
            Ok(Some(complete)) => {
                self.say(Said::StateReady {
                    copied,
                    state_at: complete.lowest,
                    pieces: complete.count(),
                });
                self.keeping.is_as(complete);
            }
            Ok(None) => {}
            Err(detail) => self.say(Said::StateBroken { copied, detail }),
        }
    }

    /// One word for all frames that were taken in since the last one: it wakes every
    /// process on its way.
    pub(super) fn acknowledge(&mut self) {
        if let Some((copied, bytes)) = self.keeping.acknowledge() {
            self.say(Said::StateAck { copied, bytes });
        }
    }

    /// `Some`: the copy is complete.
    async fn import_frame(&mut self, frame: &StateFrame) -> Result<Option<Copied>, String> {
        if !self.context.keeps_state() {
            // The piece may come from another build.
            return Ok(frame.is_end().then(Copied::default));
        }
        let own = self.events.window().received();
        if self.epoch > Epoch(0) && self.keeping.prefers_own(frame, self.epoch, own) {
            let ends = frame.is_end() && frame.header().epoch > self.epoch;
            return Ok(ends.then(|| Copied::own(own)));
        }
        let pieces = match self.keeping.read(frame) {
            Taken::Begins(pieces) => {
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

    /// Takes pieces in when it is this shard's turn. The task that waits for this does
    /// nothing else with the shard.
    pub(super) async fn import_pieces(&mut self, pieces: Vec<Piece>) -> Result<(), String> {
        if pieces.is_empty() {
            return Ok(());
        }
        let (context, shard, span) = (self.context.clone(), self.id, self.span.clone());
        let _turn = self.context.imports.turn().await;
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
