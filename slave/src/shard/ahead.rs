//! A connection that is dialled ahead: as far as HELLO, and held there.
//!
//! What is left to do when the shard is handed over is one RESUME, which twilight
//! sends at the first poll behind HELLO. So a held connection is not polled; it
//! cannot heartbeat meanwhile, and is dialled anew after a while. It is never
//! closed with a frame either: that takes a poll. It is dropped.
//!
//! ```text
//! Nothing ──order──▶ Dialling ──HELLO──▶ Held ──taken──▶ Nothing
//!                       ▲ └─ failed ─▶ Nothing │
//!                       └──── held too long ◀──┘
//! ```

use std::{future::pending, sync::Arc, time::Duration};

use baton_protocol::{Epoch, Sequence, ShardId, Ticket};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Context, Said, Shard,
    gateway::{Gateway, Incoming, Url},
    session::Session,
};
use crate::permits::Permits;

/// A connection that nobody takes is dialled anew so often, then let go.
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
    Dialling(AbortOnDropHandle<Result<Gateway, String>>),
    Held {
        gateway: Box<Gateway>,
        until: Instant,
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
}

impl Ahead {
    /// The next thing that happens to it; pending where there is nothing. Survives
    /// being cancelled.
    pub(super) async fn change(&mut self) -> Change {
        match &mut self.stage {
            Stage::Nothing => pending().await,
            Stage::Dialling(dialling) => match dialling.await {
                Ok(Ok(gateway)) => Change::Held(Box::new(gateway)),
                Ok(Err(why)) => Change::Failed(why),
                Err(error) => Change::Failed(error.to_string()),
            },
            Stage::Held { until, .. } => {
                sleep_until(*until).await;
                Change::Old
            }
        }
    }

    /// A held connection of this session that misses nothing behind `received`;
    /// anything else is let go.
    fn take(&mut self, session: Option<&Session>, received: Sequence) -> Option<Gateway> {
        let Self { order, stage, .. } = std::mem::take(self);
        let fits = order
            .zip(session)
            .is_some_and(|(order, session)| order.session == *session && order.from <= received);
        match stage {
            Stage::Held { gateway, .. } if fits => Some(*gateway),
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } => None,
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
            Stage::Nothing | Stage::Dialling(_) | Stage::Held { .. } => {
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
            self.ahead.stage = Stage::Dialling(AbortOnDropHandle::new(tokio::spawn(dialling)));
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
                // Said once: later ones are renewed for nobody but us.
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
            Change::Old if self.ahead.renewals < RENEWALS => {
                self.ahead.renewals += 1;
                self.begin_ahead();
            }
            Change::Old => self.ahead = Ahead::default(),
        }
    }

    /// A held connection that the shard can go on with.
    pub(super) fn take_ahead(&mut self) -> Option<Gateway> {
        self.ahead
            .take(self.session.as_ref(), self.window.received())
    }

    fn say_dialled(&self, copied: Epoch, failed: String) {
        if !failed.is_empty() {
            tracing::warn!(shard = %self.id, failed, "cannot dial ahead");
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
