//! A master for the tests of a [`Service`](super::Service): it gives the orders that a test
//! wants, and hears what the unit says.

use std::{collections::BTreeMap, sync::Arc};

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, Ticket,
    message::{CarriedEvent, PermitsLeased},
};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Office, Order, Seat};
use crate::{
    bot::{Ack, Bot, Event, ShardHandle},
    config::SlaveConfig,
    error::Error,
    shard::{self, Care, Context, FromShard, Left, Said, Turn},
};

/// See the module.
#[derive(Debug)]
pub struct Rehearsal {
    orders: mpsc::Sender<shard::Order>,
    said: mpsc::UnboundedReceiver<FromShard>,
}

/// What a unit said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Word {
    /// [`Seat::prepares`].
    Prepares(u64),
    /// [`Seat::prepared`].
    Prepared(Result<(), String>),
    /// [`Seat::session`].
    Session(Box<Ticket>),
    /// [`Seat::serving`]: whether it went on.
    Serving(bool),
    /// [`Seat::sealed`].
    Sealed(Box<Ticket>),
    /// [`Seat::settled`].
    Settled(SequenceRanges, Vec<CarriedEvent>),
    /// [`Seat::failed`].
    Failed(String),
    /// [`Seat::write_to_work`].
    Letter(Bytes),
    /// How far it is: nothing follows from it.
    Progress,
}

struct Nothing;

impl Bot for Nothing {
    fn handle(&self, _: Event, _: Ack, _: &ShardHandle) {}
}

impl Rehearsal {
    /// A seat of this unit, and its master.
    ///
    /// # Errors
    /// The system's TLS certificates cannot be loaded.
    pub fn new(unit: ShardId) -> Result<(Seat, Self), Error> {
        let config = SlaveConfig::new("rehearsal");
        let context = Arc::new(Context::new(config, Arc::new(Nothing), None, None, None)?);
        let (orders, end) = mpsc::channel(1024);
        #[expect(clippy::disallowed_methods, reason = "as in the table of a slave")]
        let (say, said) = mpsc::unbounded_channel();
        let standing = context.checkpoints.standing(unit);
        let left = Left::of(end, BTreeMap::<Sequence, Event>::new());
        let seat = Seat::new(unit, 1, context, standing, say, left, None);
        Ok((seat, Self { orders, said }))
    }

    /// Gives so many permits of a name to whoever waits for them in this office.
    pub fn leases(office: &Office, name: &str, count: u32) {
        office.leased(&PermitsLeased {
            name: name.to_owned(),
            count,
            valid_ms: 1000,
        });
    }

    /// Gives an order.
    pub async fn order(&self, order: Order) {
        // The unit is gone: it obeys nothing.
        let _ = self.orders.send(written(order)).await;
    }

    /// What the unit says next, and at which epoch; `None`: it is gone.
    pub async fn said(&mut self) -> Option<(Epoch, Word)> {
        let from = self.said.recv().await?;
        Some((from.epoch, word(from.said)))
    }
}

fn written(order: Order) -> shard::Order {
    match order {
        Order::Start { epoch } => shard::Order::Turn(Turn::Start { epoch }),
        Order::Prepare { epoch, ticket } => shard::Order::Dial { epoch, ticket },
        Order::GoLive {
            epoch,
            after,
            ticket,
        } => shard::Order::Turn(Turn::Resume {
            epoch,
            after,
            ticket,
            care: Care::default(),
        }),
        Order::Seal { epoch, drain } => shard::Order::Turn(Turn::Seal {
            epoch,
            drain,
            begins: None,
        }),
        Order::Settled { unfinished, events } => shard::Order::Settled { unfinished, events },
        Order::Letter(body) => shard::Order::Letter(body),
        Order::Forget { epoch } => shard::Order::Turn(Turn::Forget { epoch }),
        Order::Leave => shard::Order::Turn(Turn::Leave),
    }
}

fn word(said: Said) -> Word {
    match said {
        Said::Prepares { done, .. } => Word::Prepares(done),
        Said::Dialled { failed, .. } => Word::Prepared(match failed.is_empty() {
            true => Ok(()),
            false => Err(failed),
        }),
        Said::Session(ticket) => Word::Session(ticket),
        Said::Serving { resumed, .. } => Word::Serving(resumed),
        Said::Sealed(ticket) => Word::Sealed(ticket),
        Said::Settled { unfinished, events } => Word::Settled(unfinished, events),
        Said::Failed { detail, .. } => Word::Failed(detail),
        Said::Letter(body) => Word::Letter(body),
        Said::Progress { .. }
        | Said::Identify(_)
        | Said::SealsLate
        | Said::CopyOvertaken
        | Said::Trying(_)
        | Said::SetAside(_)
        | Said::StateAck { .. }
        | Said::StateReady { .. }
        | Said::Overtaken { .. }
        | Said::StateBroken { .. }
        | Said::Died(_) => Word::Progress,
    }
}
