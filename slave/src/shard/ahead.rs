//! A connection that is dialled ahead: as far as HELLO, and held there.
//!
//! What is left to do when the shard is handed over is one RESUME, which twilight
//! sends at the first poll behind HELLO. So a held connection is not polled; it
//! cannot heartbeat meanwhile, and is dialled again after a while. It is never
//! closed with a frame either: that takes a poll. It is dropped.
//!
//! ```text
//! Nothing ──order──▶ Dialling ──HELLO──▶ Held ──taken──▶ Nothing
//!                       ▲ └─ failed ─▶ Nothing │ │
//!                       └──── held too long ◀──┘ └─overtake─▶ Overtaking ──taken──▶ Nothing
//! ```
//!
//! For a late seal it goes one step further before it is taken: it resumes, which
//! ends the owner's connection, and keeps what comes. Nothing of that is looked at
//! before the ticket is here; then it is received like any replay.

use std::{future::pending, time::Duration};

use baton_protocol::{Epoch, Sequence};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    gateway::{Buffered, Gateway},
    session::Session,
};

/// An unused connection is dialled again so often, then let go.
const RENEWALS: u32 = 15;

/// The connection of one shard that is dialled ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    aim: Option<Aim>,
    stage: Stage,
    renewals: u32,
}

/// What it is dialled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Aim {
    /// Of the shard's present owner.
    pub(super) epoch: Epoch,
    pub(super) session: Session,
    /// Where the RESUME will begin.
    pub(super) from: Sequence,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Nothing,
    /// One task, which ends with this stage.
    Dialling(JoinSet<Result<Gateway, String>>),
    Held {
        gateway: Box<Gateway>,
        until: Instant,
    },
    Overtaking {
        gateway: Box<Gateway>,
        until: Instant,
        resumed: bool,
    },
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Change {
    /// HELLO came.
    Held(Box<Gateway>),
    /// It could not be dialled.
    Failed(String),
    /// It was held for too long.
    Old,
    /// Something came on one that overtakes.
    Buffered(Buffered),
}

/// What the agent is told, and the shard has to do.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// Dial for this.
    Dial(Aim),
    /// It is held, or why not.
    Dialled(Epoch, Result<(), String>),
    /// RESUMED came on it.
    Overtook(Epoch),
    /// It is gone before RESUMED came on it, or the agent knows of that already.
    Lost {
        /// Whom to tell, and why.
        tell: Option<(Epoch, String)>,
        /// Whether Discord asked for a pause before the next RESUME.
        pause: bool,
    },
}

impl Ahead {
    /// Dial for this. Asked again, the same is answered again.
    pub(super) fn dial(&mut self, aim: Aim) -> Step {
        // Behind another copy it begins elsewhere.
        let same = self.aim.as_ref() == Some(&aim);
        match self.stage {
            Stage::Held { .. } if same => Step::Dialled(aim.epoch, Ok(())),
            // Answered when it is through.
            Stage::Dialling(_) if same => {
                self.renewals = 0;
                Step::Nothing
            }
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } | Stage::Overtaking { .. } => {
                *self = Self {
                    aim: Some(aim.clone()),
                    ..Self::default()
                };
                Step::Dial(aim)
            }
        }
    }

    /// It is being dialled.
    pub(super) fn dials(&mut self, task: JoinSet<Result<Gateway, String>>) {
        debug_assert!(self.aim.is_some(), "dialled for nothing");
        self.stage = Stage::Dialling(task);
    }

    /// Something happened to it; it is held for so long.
    pub(super) fn changed(&mut self, change: Change, hold: Duration) -> Step {
        debug_assert!(self.aim.is_some(), "dialled for nothing: {change:?}");
        let Some(aim) = &self.aim else {
            return Step::Nothing;
        };
        let epoch = aim.epoch;
        match change {
            Change::Held(gateway) => {
                let until = Instant::now() + hold;
                self.stage = Stage::Held { gateway, until };
                // Reported once: later ones are renewed silently.
                if self.renewals == 0 {
                    return Step::Dialled(epoch, Ok(()));
                }
                Step::Nothing
            }
            Change::Failed(why) => {
                let first = self.renewals == 0;
                *self = Self::default();
                if first {
                    return Step::Dialled(epoch, Err(why));
                }
                Step::Nothing
            }
            Change::Buffered(buffered) => self.buffered(epoch, buffered),
            Change::Old if self.overtakes() => {
                let nothing = Buffered::Nothing {
                    why: "nobody took it".to_owned(),
                    pause: false,
                };
                self.buffered(epoch, nothing)
            }
            Change::Old if self.renewals < RENEWALS => {
                self.renewals += 1;
                Step::Dial(aim.clone())
            }
            Change::Old => {
                *self = Self::default();
                Step::Nothing
            }
        }
    }

    fn buffered(&mut self, epoch: Epoch, buffered: Buffered) -> Step {
        let Stage::Overtaking { resumed, .. } = &mut self.stage else {
            debug_assert!(false, "only one that overtakes is read: {buffered:?}");
            return Step::Nothing;
        };
        match buffered {
            Buffered::Something => Step::Nothing,
            Buffered::Resumed => {
                *resumed = true;
                Step::Overtook(epoch)
            }
            Buffered::Nothing { why, pause } => {
                let tell = (!*resumed).then_some((epoch, why));
                *self = Self::default();
                Step::Lost { tell, pause }
            }
        }
    }

    /// Resume on the connection that is held. `false`: there is none for this.
    pub(super) fn overtake(&mut self, epoch: Epoch, hold: Duration) -> bool {
        let ours = self.aim.as_ref().is_some_and(|aim| aim.epoch == epoch);
        match std::mem::take(&mut self.stage) {
            Stage::Held { gateway, .. } if ours => {
                self.stage = Stage::Overtaking {
                    gateway,
                    until: Instant::now() + hold,
                    resumed: false,
                };
                true
            }
            // Answered when RESUMED comes.
            stage @ Stage::Overtaking { .. } if ours => {
                self.stage = stage;
                true
            }
            stage @ (Stage::Nothing
            | Stage::Dialling(_)
            | Stage::Held { .. }
            | Stage::Overtaking { .. }) => {
                self.stage = stage;
                false
            }
        }
    }

    /// Whether there is a connection that need not be dialled.
    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Held { .. } | Stage::Overtaking { .. })
    }

    pub(super) const fn overtakes(&self) -> bool {
        matches!(self.stage, Stage::Overtaking { .. })
    }

    /// The next thing that happens to it; pending where there is nothing. Survives
    /// being cancelled.
    pub(super) async fn change(&mut self) -> Change {
        match &mut self.stage {
            Stage::Nothing => pending().await,
            Stage::Dialling(dialling) => match dialling.join_next().await {
                Some(Ok(Ok(gateway))) => Change::Held(Box::new(gateway)),
                Some(Ok(Err(why))) => Change::Failed(why),
                Some(Err(error)) => Change::Failed(error.to_string()),
                // What it gave was taken, and the stage with it.
                None => pending().await,
            },
            Stage::Held { until, .. } => {
                sleep_until(*until).await;
                Change::Old
            }
            Stage::Overtaking { gateway, until, .. } => tokio::select! {
                buffered = gateway.buffer() => Change::Buffered(buffered),
                () = sleep_until(*until) => Change::Old,
            },
        }
    }

    /// A held connection of this session that misses nothing behind `received`, and
    /// does not ask for more than Discord replays; anything else is let go. After a
    /// death it is not one that has resumed: what the dead owner handled need not be
    /// behind its RESUMED, and is replayed once more to be known by that.
    pub(super) fn take(
        &mut self,
        session: Option<&Session>,
        received: Sequence,
        after_death: bool,
    ) -> Option<Gateway> {
        let Self { aim, stage, .. } = std::mem::take(self);
        let fits = aim.zip(session).is_some_and(|(aim, session)| {
            let behind = received.get().checked_sub(aim.from.get());
            aim.session == *session && behind.is_some_and(|behind| behind <= session.reach())
        });
        match stage {
            Stage::Held { gateway, .. } if fits => Some(*gateway),
            Stage::Overtaking { gateway, .. } if fits && !after_death => Some(*gateway),
            Stage::Overtaking { gateway, .. } if fits && mutant!("kept-after-death") => {
                Some(*gateway)
            }
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } | Stage::Overtaking { .. } => {
                None
            }
        }
    }
}
