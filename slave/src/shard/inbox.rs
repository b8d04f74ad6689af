//! The orders that a shard has not carried out.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::order::{Order, Turn};

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    /// What it begins with.
    first: VecDeque<Order>,
    orders: mpsc::Receiver<Order>,
}

impl Inbox {
    pub(super) const fn new(orders: mpsc::Receiver<Order>) -> Self {
        Self {
            first: VecDeque::new(),
            orders,
        }
    }

    /// These are carried out before all others.
    pub(super) fn begin_with(&mut self, first: Vec<Order>) {
        debug_assert!(self.first.is_empty(), "it begins once");
        self.first = first.into();
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.orders.is_empty()
    }

    /// The next order; where none will come any more, to leave. Survives being cancelled.
    pub(super) async fn next(&mut self) -> Order {
        match self.first.pop_front() {
            Some(order) => order,
            None => self.orders.recv().await.unwrap_or(Order::Turn(Turn::Leave)),
        }
    }

    /// For a task behind this one. What this one was to begin with stands in the table.
    pub(super) fn into_orders(self) -> mpsc::Receiver<Order> {
        self.orders
    }
}
