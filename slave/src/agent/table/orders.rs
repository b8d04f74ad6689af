//! The way of orders to the task of one shard.
//!
//! It is bounded, and who gives an order never waits: the agent's task serves every shard
//! of the process. If a shard does not take its orders, because the bot holds its task up
//! for example, there is no room at some time. Then the order is not given, and the agent
//! lets go of the master that gives so many. The master hears where everything is when
//! the slave dials again, and orders what is still to be done.
//!
//! Two orders need no room: the last one, and the word that a late seal is void.

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::shard::Order;

/// Orders that wait for one shard, at most. An honest master has far fewer on their way:
/// 256 KiB of state in pieces of a guild each, and a few others.
pub(crate) const MOST_ORDERS: usize = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Orders(mpsc::Sender<Order>);

/// Room for one order that must not be lost.
pub(super) type Room = mpsc::OwnedPermit<Order>;

impl Orders {
    /// The way, and its end for the task.
    pub(super) fn new() -> (Self, mpsc::Receiver<Order>) {
        // Only what waits takes memory.
        let (way, end) = mpsc::channel(MOST_ORDERS);
        (Self(way), end)
    }

    /// Gives an order; `false`: there is no room.
    pub(super) fn give(&self, order: Order) -> bool {
        match self.0.try_send(order) {
            // Closed: the process is ending.
            Ok(()) | Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(_)) => false,
        }
    }

    /// Keeps room for an order that may have to be given later; `None`: there is none.
    pub(super) fn reserve(&self) -> Option<Room> {
        self.0.clone().try_reserve_owned().ok()
    }

    /// Gives the last order. Where there is no room for it, the end of all orders is
    /// one: [`Turn::Leave`](crate::shard::Turn::Leave).
    pub(super) fn end(self, order: Order) {
        let _ = self.give(order);
    }
}

#[cfg(test)]
mod tests {
    use baton_protocol::Epoch;

    use super::*;

    #[test]
    fn a_shard_that_takes_no_orders_gets_so_many_and_besides_what_must_not_be_lost() {
        let (orders, mut end) = Orders::new();
        let room = orders.reserve().expect("room");
        let permit = || Order::Permit { epoch: Epoch(1) };
        let given = (0..2 * MOST_ORDERS).filter(|_| orders.give(permit()));
        assert_eq!(given.count(), MOST_ORDERS - 1);
        assert!(orders.reserve().is_none());
        room.send(Order::ServeOn);
        orders.end(permit());
        let mut waiting = Vec::new();
        while let Ok(order) = end.try_recv() {
            waiting.push(order);
        }
        assert_eq!(waiting.len(), MOST_ORDERS);
        assert!(matches!(waiting.last(), Some(Order::ServeOn)));
        assert!(end.is_closed(), "nothing more comes");
    }
}
