//! Copying a shard's state out for its next owner.
//!
//! State that stays where it is is copied only to a reader that is somewhere else: another
//! host, another kind of state, a build that cannot read it. Whether it is, nobody knows but
//! the reader, which looks into its own place for the owner's claim. So the first frame goes
//! out alone and names an offer, and the reader answers in the place itself, before it
//! acknowledges that frame. A reader that knows nothing of offers acknowledges it too.

use baton_protocol::{Epoch, Version};
use tokio::task::spawn_blocking;

use super::{Shard, staying::key_of_event};
use crate::{
    bot::Event,
    state::{
        CopyOut, Exported, Form, Heartbeat, StateChannel, Way, offer_of,
        stays::{key_of, key_on_its_way},
    },
    unique::unique,
};

impl Shard {
    pub(super) async fn begin_copy(
        &mut self,
        epoch: Epoch,
        reader: Version,
        way: Way,
        channel: StateChannel,
    ) {
        if epoch != self.epoch {
            return;
        }
        if self.staying.is_compacting() {
            Self::compacted(self.staying.is_compacted().await);
        }
        let offer = self.staying.is_whole().then(|| unique() as u64);
        let session = self.session_of_copy();
        let first = match (&session, self.current.tag(), offer) {
            (Some(_), Some(tag), Some(offer)) => Some(offer_of(&tag, offer)),
            (session, _, _) => session.clone(),
        };
        let keys = match offer {
            Some(_) => Vec::new(),
            None => self.keys_that_travel(),
        };
        let compression = self.context.config.state_compression;
        let copy = CopyOut::new(
            Form::of_reader(reader, compression, way),
            self.id,
            epoch,
            self.events.window().received(),
            first.as_deref(),
            keys,
            channel.budget(),
        );
        let copy = match offer {
            Some(offer) => copy.with_offer(offer),
            None => copy,
        };
        self.keeping.copy_out(copy, channel);
    }

    /// What names the session of a copy; `None`: there is no state. What is left of lost state
    /// must not pass for whole at the next owner.
    fn session_of_copy(&self) -> Option<String> {
        let lost = match self.context.keeps_state() {
            true => self.keeping.is_lost(),
            false if self.context.stays.is_some() => !self.staying.is_whole(),
            false => return None,
        };
        let session = self.current.session()?;
        Some(if lost {
            String::new()
        } else {
            session.tag.to_string()
        })
    }

    fn keys_that_travel(&self) -> Vec<u64> {
        if self.keeping.is_lost() {
            return Vec::new();
        }
        let keys = self.with_state(|state, shard| state.export(shard));
        keys.unwrap_or_default()
    }

    /// The reader has taken the offer in, and answered it if it shares the place.
    pub(super) async fn copy_heard(&mut self) {
        let offer = self.keeping.copying_out().and_then(|copy| copy.offered());
        let (Some(offer), Some(place)) = (offer, self.context.stays.clone()) else {
            return;
        };
        let of = self.of();
        let accepted = spawn_blocking(move || place.is_accepted(of, offer)).await;
        let accepted = match accepted {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(refusal)) => {
                tracing::warn!(why = refusal.text(), "what stays is copied");
                false
            }
            // The process ends.
            Err(_) => return,
        };
        let beside = self.context.keeps_state();
        let mut keys = self.keys_that_travel();
        if !accepted {
            let stays = self.staying.keys().into_iter();
            keys.extend(stays.map(|key| key_on_its_way(key, beside)));
        }
        let session = self.session_of_copy().unwrap_or_default();
        let at = self.events.window().received();
        if let Some(copy) = self.keeping.copying_out() {
            if accepted && !beside {
                copy.is_needless();
            } else {
                copy.goes_on(at, &session, keys);
            }
        }
    }

    pub(super) fn copy_step(&mut self, heartbeat: Option<Heartbeat>) {
        let (context, shard, staying) = (&self.context, self.id, &self.staying);
        let beside = context.keeps_state();
        let export = |key| match key_of(key, beside) {
            Some(key) if context.stays.is_some() => staying.piece(key),
            Some(_) | None => {
                let piece = context.with_state(|state| state.export_piece(shard, key));
                piece.flatten().map(Exported::from)
            }
        };
        let at = self.events.window().received();
        self.keeping.copy_step(heartbeat, at, self.epoch, export);
    }

    /// An event changes a piece of what stays, of which a copy is going out.
    pub(super) fn changes_what_stays(&mut self, event: &Event) {
        if !self.keeping.copies_out() || !self.staying.is_whole() {
            return;
        }
        let beside = self.context.keeps_state();
        if let Some(key) = key_of_event(event.kind(), event.json(), beside) {
            self.keeping.changed(key, event.sequence());
        }
    }
}
