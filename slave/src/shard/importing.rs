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
use crate::state::{
    Copied, Piece, Taken, offer_in,
    stays::{Refusal, key_of},
};

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
        if !self.context.keeps_state() && self.context.stays.is_none() {
            // The piece may come from another build.
            return Ok(frame.is_end().then(Copied::default));
        }
        let begins = frame.header().chunk == 0;
        let offered = begins && self.look_at_offer(frame).await?;
        if self.staying.comes_shared() && !self.context.keeps_state() {
            frame.check().map_err(|error| error.to_string())?;
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
                self.receive_what_stays(frame.header().epoch, offered)
                    .await?;
                pieces
            }
            Taken::Pieces(pieces) => pieces,
            Taken::Complete(complete) => {
                self.has_received(&complete).await?;
                return Ok(Some(complete));
            }
            Taken::Broken(why) => return Err(why),
            Taken::Ignored => return Ok(None),
        };
        self.import_pieces(pieces).await.map(|()| None)
    }

    /// A copy begins. If its owner offers state that stays, and this process finds it in its
    /// own place, it says so there. Whether there was an offer.
    ///
    /// A place that this process cannot use is said now, while the owner serves.
    async fn look_at_offer(&mut self, frame: &StateFrame) -> Result<bool, String> {
        self.staying.comes_anew();
        let Some(place) = self.context.stays.clone() else {
            return Ok(false);
        };
        if frame.check().is_err() {
            // It is said where it is read.
            return Ok(false);
        }
        let Some((tag, offer)) = offer_in(frame) else {
            return Ok(false);
        };
        let (of, owner) = (self.of(), frame.header().epoch);
        let looks = spawn_blocking(move || {
            let is_shared = place.is_shared(of, owner, &tag)? && !mutant!("offers-ignored");
            if is_shared {
                place.accept(of, offer)?;
            }
            Ok(is_shared)
        });
        let is_shared = looks.await.unwrap_or(Ok(false));
        if is_shared.map_err(|refusal: Refusal| refusal.text().to_owned())? {
            self.staying.is_shared();
        }
        Ok(true)
    }

    /// Pieces of what stays come in the form of a copy: for all of it, or beside what travels.
    async fn receive_what_stays(&mut self, owner: Epoch, offered: bool) -> Result<(), String> {
        let beside = self.context.keeps_state();
        let comes = !self.staying.comes_shared() && (offered || !beside);
        let Some(place) = self.context.stays.clone().filter(|_| comes) else {
            return Ok(());
        };
        let of = self.of();
        may_block(move || place.receive(of, owner)).await?;
        self.staying.comes_in_pieces();
        Ok(())
    }

    /// All of a copy was taken in.
    async fn has_received(&mut self, copied: &Copied) -> Result<(), String> {
        let session = copied.session.clone();
        let (Some(place), Some(session)) = (self.context.stays.clone(), session) else {
            return Ok(());
        };
        if !self.staying.takes_pieces() || session.is_empty() {
            return Ok(());
        }
        let (shard, lowest, whole_at) = (self.id, copied.lowest, copied.highest());
        may_block(move || place.received(shard, &session, lowest, whole_at)).await?;
        self.staying.has_come(copied.clone());
        Ok(())
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
                if let Some(place) = &context.stays
                    && let Some(key) = key_of(key, context.keeps_state())
                {
                    place
                        .import(shard, key, &bytes)
                        .map_err(|error| format!("piece {key}: {error}"))?;
                    continue;
                }
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

/// Does something with a place where state stays, on a thread that may block.
async fn may_block(
    work: impl FnOnce() -> Result<(), Refusal> + Send + 'static,
) -> Result<(), String> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(|refusal| refusal.text().to_owned()),
        Err(_) => Err("the process ends".to_owned()),
    }
}
