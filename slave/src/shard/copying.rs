//! Copying a shard's state out for its next owner.

use baton_protocol::{Epoch, Version};

use super::Shard;
use crate::state::{CopyOut, Form, Heartbeat, StateChannel};

impl Shard {
    pub(super) fn begin_copy(&mut self, epoch: Epoch, reader: Version, channel: StateChannel) {
        if epoch != self.epoch {
            return;
        }
        let keeps = self.context.keeps_state();
        let keys = if keeps && !self.keeping.is_lost() {
            self.with_state(|state, shard| state.export(shard))
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        // What is left of lost state must not pass for whole at the next owner.
        let session = match self.current.session() {
            Some(_) if self.keeping.is_lost() => Some(""),
            Some(session) => Some(&*session.tag),
            None => None,
        };
        let compression = self.context.config.state_compression;
        let copy = CopyOut::new(
            Form::of_reader(reader, compression),
            self.id,
            epoch,
            self.events.window().received(),
            session.filter(|_| keeps),
            keys,
            channel.budget(),
        );
        self.keeping.copy_out(copy, channel);
    }

    pub(super) fn copy_step(&mut self, heartbeat: Option<Heartbeat>) {
        let (context, shard) = (&self.context, self.id);
        let export = |key| {
            let piece = context.with_state(|state| state.export_piece(shard, key));
            piece.flatten()
        };
        let at = self.events.window().received();
        self.keeping.copy_step(heartbeat, at, self.epoch, export);
    }
}
