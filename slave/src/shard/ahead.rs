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

use std::{future::pending, sync::Arc, time::Duration};

use baton_protocol::{Epoch, Sequence, ShardId, Ticket};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Context, Said, Shard,
    backoff::invalid_session,
    gateway::{Buffered, Gateway, Incoming, Url},
    session::Session,
};
use crate::permits::Permits;

/// An unused connection is dialled again so often, then let go.
const RENEWALS: u32 = 15;

/// The connection of one shard that is dialled ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    order: Option<Order>,
    stage: Stage,
    renewals: u32,
}

/// What it is dialled for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    /// Of the shard's present owner.
    epoch: Epoch,
    session: Session,
    /// Where the RESUME will begin.
    from: Sequence,
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

impl Ahead {
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
    fn take(
        &mut self,
        session: Option<&Session>,
        received: Sequence,
        after_death: bool,
    ) -> Option<Gateway> {
        let Self { order, stage, .. } = std::mem::take(self);
        let fits = order.zip(session).is_some_and(|(order, session)| {
            let behind = received.get().checked_sub(order.from.get());
            order.session == *session && behind.is_some_and(|behind| behind <= session.reach())
        });
        match stage {
            Stage::Held { gateway, .. } if fits => Some(*gateway),
            Stage::Overtaking { gateway, .. } if fits && !after_death => Some(*gateway),
            Stage::Overtaking { gateway, .. } if fits && cfg!(mutant = "kept-after-death") => {
                Some(*gateway)
            }
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } | Stage::Overtaking { .. } => {
                None
            }
        }
    }
}

impl Shard {
    /// An order to dial ahead. Asked again, the same is answered again.
    pub(super) fn dial_ahead(&mut self, epoch: Epoch, ticket: &Ticket) {
        let Some(session) = Session::of_ticket(ticket) else {
            return self.say_dialled(epoch, "the ticket has no session".to_owned());
        };
        let order = Order {
            epoch,
            session,
            from: ticket.resume_from(),
        };
        // Behind another copy it begins elsewhere.
        let same = self.ahead.order.as_ref() == Some(&order);
        match self.ahead.stage {
            Stage::Held { .. } if same => self.say_dialled(epoch, String::new()),
            // Answered when it is through.
            Stage::Dialling(_) if same => self.ahead.renewals = 0,
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } | Stage::Overtaking { .. } => {
                self.ahead = Ahead {
                    order: Some(order),
                    ..Ahead::default()
                };
                self.begin_ahead();
            }
        }
    }

    fn begin_ahead(&mut self) {
        if let Some(order) = &self.ahead.order {
            self.context.counters.dials.add();
            let dialling = to_hello(
                self.context.clone(),
                self.id,
                self.permits.clone(),
                order.session.clone(),
                order.from,
            );
            let mut task = JoinSet::new();
            task.spawn(dialling);
            self.ahead.stage = Stage::Dialling(task);
        }
    }

    pub(super) fn ahead_changed(&mut self, change: Change) {
        let Some(epoch) = self.ahead.order.as_ref().map(|order| order.epoch) else {
            return;
        };
        match change {
            Change::Held(gateway) => {
                let until = Instant::now() + self.context.config.timings.hold;
                self.ahead.stage = Stage::Held { gateway, until };
                // Reported once: later ones are renewed silently.
                if self.ahead.renewals == 0 {
                    self.say_dialled(epoch, String::new());
                }
            }
            Change::Failed(why) => {
                let first = self.ahead.renewals == 0;
                self.ahead = Ahead::default();
                if first {
                    self.say_dialled(epoch, why);
                }
            }
            Change::Buffered(buffered) => self.buffered(buffered),
            Change::Old if self.ahead.overtakes() => {
                self.buffered(Buffered::Nothing {
                    why: "nobody took it".to_owned(),
                    pause: false,
                });
            }
            Change::Old if self.ahead.renewals < RENEWALS => {
                self.ahead.renewals += 1;
                self.begin_ahead();
            }
            Change::Old => self.ahead = Ahead::default(),
        }
    }

    /// An order to resume on the connection that is held.
    pub(super) fn overtake(&mut self, epoch: Epoch) {
        let ordered = self.ahead.order.as_ref().map(|order| order.epoch);
        match std::mem::take(&mut self.ahead.stage) {
            Stage::Held { gateway, .. } if ordered == Some(epoch) => {
                self.ahead.stage = Stage::Overtaking {
                    gateway,
                    until: Instant::now() + self.context.config.timings.hold,
                    resumed: false,
                };
            }
            // Answered when RESUMED comes.
            stage @ Stage::Overtaking { .. } if ordered == Some(epoch) => self.ahead.stage = stage,
            stage @ (Stage::Nothing
            | Stage::Dialling(_)
            | Stage::Held { .. }
            | Stage::Overtaking { .. }) => {
                self.ahead.stage = stage;
                self.say_overtaken(epoch, "no connection is held".to_owned());
            }
        }
    }

    fn buffered(&mut self, buffered: Buffered) {
        let Stage::Overtaking { resumed, .. } = &mut self.ahead.stage else {
            return;
        };
        let Some(epoch) = self.ahead.order.as_ref().map(|order| order.epoch) else {
            return;
        };
        match buffered {
            Buffered::Something => {}
            Buffered::Resumed => {
                *resumed = true;
                self.say_overtaken(epoch, String::new());
            }
            Buffered::Nothing { why, pause } => {
                let told = *resumed;
                self.ahead = Ahead::default();
                if pause {
                    let pause = invalid_session(&self.context.config.timings);
                    self.not_before = Some(Instant::now() + pause);
                }
                if !told {
                    self.say_overtaken(epoch, why);
                }
            }
        }
    }

    /// A held connection that the shard can go on with.
    pub(super) fn take_ahead(&mut self) -> Option<Gateway> {
        self.ahead.take(
            self.session.as_ref(),
            self.window.received(),
            self.after_death,
        )
    }

    fn say_overtaken(&self, copied: Epoch, failed: String) {
        if !failed.is_empty() {
            tracing::warn!(failed, "cannot resume beside the owner");
        }
        self.say(Said::Overtaken { copied, failed });
    }

    fn say_dialled(&self, copied: Epoch, failed: String) {
        if !failed.is_empty() {
            tracing::warn!(failed, "cannot dial ahead");
        }
        self.say(Said::Dialled { copied, failed });
    }
}

/// Dials up to HELLO: where READY said, and if that fails, the gateway's own
/// address.
async fn to_hello(
    context: Arc<Context>,
    shard: ShardId,
    permits: Permits,
    session: Session,
    from: Sequence,
) -> Result<Gateway, String> {
    let count = context.shard_count();
    let patience = context.config.timings.hello;
    let mut failed = String::new();
    for url in [Url::OfSession, Url::Default] {
        let session = Some((&session, from));
        let mut gateway = context.connector.dial(shard, count, &permits, session, url);
        failed = match timeout(patience, hello(&mut gateway)).await {
            Ok(Ok(())) => {
                if cfg!(mutant = "ahead-not-held") {
                    // One more poll, which sends RESUME.
                    let _ = timeout(Duration::from_millis(50), gateway.next()).await;
                }
                return Ok(gateway);
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no HELLO within {patience:?}"),
        };
    }
    Err(failed)
}

async fn hello(gateway: &mut Gateway) -> Result<(), String> {
    loop {
        match gateway.next().await {
            Incoming::Hello => return Ok(()),
            Incoming::Alive => {}
            Incoming::Dispatch { kind, .. } => return Err(format!("{kind} before HELLO")),
            Incoming::Ended(end) => return Err(end.to_string()),
        }
    }
}
