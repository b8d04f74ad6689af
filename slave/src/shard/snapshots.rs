//! A shard's snapshots: written while it serves, read when it is taken over and
//! it got no copy of the state.
//!
//! State from a snapshot is behind what was handled, and only a replay that
//! reaches back to it makes it whole. So the bot hears that it is complete when
//! the replay has come up to what was handled, and not before. That Discord takes
//! the RESUME proves that it has everything since: a server that has not refuses.
//! Numbers prove nothing. They order dispatches, and some never come: a RESUMED that
//! the former owner heard has one, and is in no replay.

use baton_protocol::{
    Sequence,
    message::{IdentifyCause, Step},
};
use tokio::time::{Duration, Instant};

use super::{
    Shard,
    order::Turn,
    phase::{Input, Phase},
};
use crate::{
    bot::StateStatus,
    config::OnLostState,
    state::{
        Copied, CopyOut, Form,
        snapshot::{Of, Read},
    },
};

/// A snapshot that takes longer to read is given up: the session is not held
/// for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The master hears so often that reading goes on.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Shard {
    /// The shard is owned from now on.
    pub(super) fn plan_snapshots(&mut self) {
        let store = self.context.snapshots.as_ref();
        self.snapshot
            .plan(store.filter(|_| self.context.keeps_state()));
    }

    /// Begins a snapshot that is due, unless nothing happened since the last.
    pub(super) fn snapshot_due(&mut self, now: Instant) {
        let Some(store) = &self.context.snapshots else {
            return;
        };
        if !self.snapshot.begins(now, store, &self.context.counters) {
            return;
        }
        let Some(session) = self.current.tag() else {
            return;
        };
        let known = self.snapshot.is_of(self.events.moment());
        if self.keeping.is_lost() || self.keeping.copies_out() || known {
            return;
        }
        let keys = self.with_state(|state, shard| state.export(shard));
        let keys = keys.unwrap_or_default();
        let of = Of {
            shard: self.id,
            epoch: self.epoch,
            session: session.clone(),
        };
        let Some(writing) = store.write(of, keys.len() as u64) else {
            return self.snapshot.waits(now);
        };
        // The file has a checksum of its own, and packs what it holds.
        let copy = CopyOut::new(
            Form::Plain,
            self.id,
            self.epoch,
            self.events.window().received(),
            Some(&session),
            keys,
            writing.budget.clone(),
        );
        self.snapshot.begin(copy, writing);
    }

    /// A frame for the writer, or one more piece exported.
    pub(super) fn snapshot_step(&mut self) {
        let (context, shard) = (&self.context, self.id);
        let export = |key| {
            let piece = context.with_state(|state| state.export_piece(shard, key));
            piece.flatten()
        };
        self.snapshot.step(self.events.moment(), export);
    }

    /// The session goes on here, and no copy of the state came.
    pub(super) fn recall_or_lose(&mut self) -> Phase {
        let Some(store) = &self.context.snapshots else {
            return self.lose_state();
        };
        let session = self.current.tag();
        let of = Of {
            shard: self.id,
            epoch: self.epoch,
            session: session.unwrap_or_default(),
        };
        self.recall
            .begin(store.read(of, self.events.window().handled()));
        // Until the replay has brought the rest; also if this is interrupted.
        self.keeping.set_lost(true);
        Phase::Recalling
    }

    /// Takes the snapshot in. The connection waits for it: state comes before the
    /// replay.
    pub(super) async fn recall(&mut self) -> Phase {
        self.with_state(|state, shard| state.drop_shard(shard));
        self.progress(Step::Dialling, 0);
        let until = Instant::now() + PATIENCE;
        let mut told = Instant::now();
        let why = loop {
            match self.input(None, false, Some(until)).await {
                Input::Read(Read::Pieces(pieces)) => {
                    if let Err(why) = self.import_pieces(pieces).await {
                        break Some(why);
                    }
                    if told.elapsed() >= TELL_EVERY {
                        told = Instant::now();
                        self.progress(Step::Dialling, 0);
                    }
                }
                Input::Read(Read::Complete(copied)) => return self.recalled(copied),
                Input::Read(Read::Nothing) => break None,
                Input::Read(Read::Unusable(why)) => break Some(why),
                Input::Due => break Some(format!("it takes more than {PATIENCE:?} to read")),
                Input::Turn(turn) => {
                    if let Some(phase) = self.turn_while_recalling(turn) {
                        return phase;
                    }
                }
                Input::Permit | Input::Gateway(_) | Input::Finished | Input::Claimed(_) => {}
            }
        };
        if let (Some(why), Some(store)) = (why, &self.context.snapshots) {
            tracing::warn!(
                file = %store.file(self.id).display(), why,
                "the snapshot is not used"
            );
        }
        self.recall.failed();
        self.lose_state()
    }

    fn turn_while_recalling(&mut self, turn: Turn) -> Option<Phase> {
        let reading = self.recall.pause();
        let phase = self.turn(turn);
        if phase.is_none() {
            self.recall.go_on(reading);
        }
        phase
    }

    fn recalled(&mut self, copied: Copied) -> Phase {
        self.recall.complete();
        self.events.replay_from(copied.lowest);
        tracing::info!(
            written_at = %copied.epoch,
            stands = %copied.lowest, handled = %self.events.window().handled(),
            pieces = copied.count(), "state from a snapshot"
        );
        self.keeping.is_as(copied);
        Phase::Serving
    }

    /// Says so, and what follows from it.
    pub(super) fn lose_state(&mut self) -> Phase {
        debug_assert!(self.context.keeps_state(), "there was some");
        tracing::error!("the state of this shard is lost");
        self.with_state(|state, shard| state.drop_shard(shard));
        if self.context.config.on_lost_state == OnLostState::Identify {
            self.without_session(IdentifyCause::StateLost);
        } else {
            let lost = if mutant!("lost-said-complete") {
                StateStatus::Complete
            } else {
                StateStatus::Lost
            };
            self.tell_state(lost);
        }
        Phase::Serving
    }

    /// Discord takes the RESUME: this dispatch of its replay came and is not taken in
    /// yet, or RESUMED, which ends it.
    pub(super) fn resume_accepted(&mut self, replayed: Option<Sequence>) {
        let handled = self.events.window().handled();
        let is_whole = replayed.is_none_or(|sequence| sequence > handled);
        if is_whole && self.recall.has_caught_up() {
            self.context.counters.snapshots_used.add();
            self.tell_state(StateStatus::Complete);
        }
    }
}
