//! The tasks of shards: how they begin, and what the table knows of each.

use std::sync::Arc;

use baton_protocol::{Epoch, ShardId};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    caught::caught,
    shard::{Context, FromShard, Left, Said, Shard},
    telemetry::{Position, Standing},
    unit::{Begins, Seat, Service},
};

/// Begins them.
pub(super) struct Tasks {
    context: Arc<Context>,
    begun: u64,
    say: mpsc::UnboundedSender<FromShard>,
}

/// The task of one shard.
pub(super) struct Task {
    instance: u64,
    handle: JoinHandle<()>,
    standing: Standing,
    /// Tickets heard of it.
    tickets: u64,
    say: mpsc::UnboundedSender<FromShard>,
}

impl Tasks {
    /// And where they say something.
    pub(super) fn new(context: Arc<Context>) -> (Self, mpsc::UnboundedReceiver<FromShard>) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a shard never waits for its agent"
        )]
        let (say, said) = mpsc::unbounded_channel();
        let tasks = Self {
            context,
            begun: 0,
            say,
        };
        (tasks, said)
    }

    /// Begins one, with what the one before it left; `begins`: that one panicked. It runs once
    /// `before` has ended.
    pub(super) fn begin(
        &mut self,
        shard: ShardId,
        left: Left,
        begins: Option<Begins>,
        before: Option<JoinHandle<()>>,
    ) -> Task {
        self.begun += 1;
        let (instance, say) = (self.begun, self.say.clone());
        let standing = self.context.checkpoints.standing(shard);
        let (context, noted, said) = (self.context.clone(), standing.clone(), say.clone());
        let handle = match context.service.clone() {
            Some(service) => {
                let seat = Seat::new(shard, instance, context, noted, said, left, begins);
                spawn_unit(service, seat, before)
            }
            None => {
                let mut life = Shard::new(shard, instance, context, noted, said, left);
                if let Some(begins) = begins {
                    life = life.after_a_panic(begins.served, begins.not_before, begins.orders);
                }
                spawn(life, before)
            }
        };
        Task {
            instance,
            handle,
            standing,
            tickets: 0,
            say,
        }
    }
}

impl Task {
    /// Whether it was this one that said it.
    pub(super) const fn said(&self, from: &FromShard) -> bool {
        self.instance == from.instance
    }

    /// It said this.
    pub(super) fn heard(&mut self, said: &Said) {
        self.tickets += u64::from(matches!(said, Said::Session(_) | Said::Sealed(_)));
    }

    /// Says this in its place.
    pub(super) fn say_for(&self, shard: ShardId, epoch: Epoch, said: Said) {
        if let Said::Session(_) | Said::Sealed(_) = said {
            self.standing.says_ticket();
        }
        // The receiver is gone: the process is ending.
        let _ = self.say.send(self.word(shard, epoch, said));
    }

    pub(super) const fn word(&self, shard: ShardId, epoch: Epoch, said: Said) -> FromShard {
        FromShard {
            shard,
            instance: self.instance,
            epoch,
            said,
        }
    }

    /// Where it stands, if that is new.
    pub(super) fn position(&self, epoch: Epoch) -> Option<Position> {
        let position = self.standing.take(epoch, self.tickets)?;
        debug_assert_eq!(position.epoch, epoch, "of its present owner");
        Some(position)
    }

    /// It was ordered to end.
    pub(super) fn ends(self) -> JoinHandle<()> {
        self.handle
    }
}

/// If a shard's task panics, it says with its last word what is left of it: no other task
/// waits for its end.
fn spawn(mut life: Shard, before: Option<JoinHandle<()>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        if caught(life.run()).await.is_err() {
            life.last_word();
        }
    })
}

/// The same of a unit.
fn spawn_unit(
    service: Arc<dyn Service>,
    seat: Seat,
    before: Option<JoinHandle<()>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        let watched = seat.watched();
        if caught(service.serve(seat)).await.is_err() {
            watched.last_word();
        }
    })
}
