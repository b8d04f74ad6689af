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
    backoff::random,
    inputs::{Input, Turn},
    run::Phase,
};
use crate::{
    bot::StateStatus,
    config::OnLostState,
    state::{
        Copied, CopyOut, Form,
        snapshot::{Of, Outcome, Read, Reading, Writing},
    },
};

/// A snapshot that takes longer to read is given up: the session is not held
/// for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The master hears so often that reading goes on.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// So soon a snapshot is tried again for which there were too many others.
const CROWDED: Duration = Duration::from_secs(1);

/// What a shard knows of its snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// When the next one is due; `None`: the shard is not owned.
    pub(super) due: Option<Instant>,
    /// The one that is being exported.
    pub(super) copy: Option<CopyOut>,
    /// The one that is exported, or being exported, and not known to be written.
    writing: Option<Writing>,
    /// The one that is being read.
    pub(super) reading: Option<Reading>,
    /// Attempts that failed in a row.
    failures: u32,
    /// Generation and sequence at which the last one stands.
    last: Option<(u64, Sequence)>,
    /// Whether the state is from a snapshot, and behind what was handled until the
    /// replay has brought the rest.
    behind: bool,
}

impl Snapshot {
    /// The shard is not this process' any more, or its session is another one:
    /// what is being written or read is of no use.
    pub(super) fn stop(&mut self) {
        self.copy = None;
        self.writing = None;
        self.reading = None;
        self.last = None;
        self.behind = false;
    }

    /// Survives being cancelled.
    pub(super) async fn read(reading: &mut Option<Reading>) -> Read {
        match reading {
            Some(reading) => reading.next().await,
            None => std::future::pending().await,
        }
    }
}

impl Shard {
    /// The shard is owned from now on. Not all shards write at the same time.
    pub(super) fn plan_snapshots(&mut self) {
        let store = self.context.snapshots.as_ref();
        let store = store.filter(|_| self.context.keeps_state());
        self.snapshot.due =
            store.map(|store| Instant::now() + store.every().mul_f64(0.25 + 0.75 * random()));
    }

    /// Begins a snapshot that is due, unless nothing happened since the last.
    pub(super) fn snapshot_due(&mut self, now: Instant) {
        if self.snapshot.due.is_none_or(|due| due > now) {
            return;
        }
        let Some(store) = &self.context.snapshots else {
            return;
        };
        if let Some(writing) = &mut self.snapshot.writing {
            let outcome = writing.outcome();
            match outcome {
                None => {
                    self.snapshot.due = Some(now + store.every());
                    return;
                }
                Some(Outcome::Written) => {
                    self.context.counters.snapshots.add();
                    self.snapshot.failures = 0;
                }
                Some(Outcome::Dropped) => {}
                Some(Outcome::Failed) => {
                    self.context.counters.snapshots_failed.add();
                    self.snapshot.failures += 1;
                    self.snapshot.last = None;
                }
            }
            self.snapshot.writing = None;
            self.snapshot.copy = None;
        }
        let pause = store.every() * 2_u32.pow(self.snapshot.failures.min(5));
        self.snapshot.due = Some(now + pause);
        self.begin_snapshot(now);
    }

    fn begin_snapshot(&mut self, now: Instant) {
        let (Some(store), Some(session)) = (&self.context.snapshots, &self.session) else {
            return;
        };
        let at = self.window.received();
        let known = self.snapshot.last == Some((self.generation, at));
        if self.state_lost || self.copy_out.is_some() || known {
            return;
        }
        let session = session.tag.clone();
        let keys = self.with_state(|state, shard| state.export(shard));
        let keys = keys.unwrap_or_default();
        let of = Of {
            shard: self.id,
            epoch: self.epoch,
            session: session.clone(),
        };
        let Some(writing) = store.write(of, keys.len() as u64) else {
            self.snapshot.due = Some(now + CROWDED);
            return;
        };
        let budget = writing.budget.clone();
        // The file has a checksum of its own, and packs what it holds.
        let form = Form::Plain;
        let copy = CopyOut::new(form, self.id, self.epoch, at, Some(&session), keys, budget);
        self.snapshot.copy = Some(copy.gently());
        self.snapshot.writing = Some(writing);
    }

    /// A frame for the writer, or one more piece exported.
    pub(super) fn snapshot_step(&mut self) {
        let Some(mut copy) = self.snapshot.copy.take() else {
            return;
        };
        let frame = copy.step(self.window.received(), |key| {
            self.with_state(|state, shard| state.export_piece(shard, key))
                .flatten()
        });
        if let (Some(frame), Some(writing)) = (frame, &self.snapshot.writing) {
            if frame.is_end() {
                self.snapshot.last = Some((self.generation, frame.header().sequence));
            }
            writing.frame(frame);
        }
        if !copy.is_over() {
            self.snapshot.copy = Some(copy);
        }
    }

    /// The session goes on here, and no copy of the state came.
    pub(super) fn recall_or_lose(&mut self) -> Phase {
        let Some(store) = &self.context.snapshots else {
            return self.lose_state();
        };
        let session = self.session.as_ref().map(|session| session.tag.clone());
        let of = Of {
            shard: self.id,
            epoch: self.epoch,
            session: session.unwrap_or_default(),
        };
        self.snapshot.reading = Some(store.read(of, self.window.handled()));
        // Until the replay has brought the rest; also if this is interrupted.
        self.state_lost = true;
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
                Input::Permit | Input::Gateway(_) | Input::Finished => {}
            }
        };
        if let (Some(why), Some(store)) = (why, &self.context.snapshots) {
            tracing::warn!(
                file = %store.file(self.id).display(), why,
                "the snapshot is not used"
            );
        }
        self.snapshot.reading = None;
        self.lose_state()
    }

    fn turn_while_recalling(&mut self, turn: Turn) -> Option<Phase> {
        let reading = self.snapshot.reading.take();
        let phase = self.turn(turn);
        if phase.is_none() {
            self.snapshot.reading = reading;
        }
        phase
    }

    fn recalled(&mut self, copied: Copied) -> Phase {
        self.snapshot.reading = None;
        self.snapshot.behind = true;
        self.window.replay_from(copied.lowest);
        tracing::info!(
            written_at = %copied.epoch,
            stands = %copied.lowest, handled = %self.window.handled(),
            pieces = copied.count(), "state from a snapshot"
        );
        self.copied = Some(copied);
        Phase::Serving
    }

    /// Says so, and what follows from it.
    pub(super) fn lose_state(&mut self) -> Phase {
        tracing::error!("the state of this shard is lost");
        self.with_state(|state, shard| state.drop_shard(shard));
        if self.context.config.on_lost_state == OnLostState::Identify {
            self.cause = IdentifyCause::StateLost;
            self.without_session();
        } else {
            let lost = if cfg!(mutant = "lost-said-complete") {
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
        let is_whole = replayed.is_none_or(|sequence| sequence > self.window.handled());
        if self.snapshot.behind && is_whole {
            self.snapshot.behind = false;
            self.context.counters.snapshots_used.add();
            self.tell_state(StateStatus::Complete);
        }
    }
}
