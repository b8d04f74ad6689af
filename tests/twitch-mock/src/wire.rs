//! What waits for a connection: events on their way, and orders.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::ledger::Recipient;

/// A text for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    /// When it arrives.
    pub(crate) due: Instant,
    pub(crate) text: Arc<str>,
    pub(crate) note: Option<Note>,
}

/// What has to be written into the ledger when it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) number: u64,
    pub(crate) to: Recipient,
    /// The conduit it came through, and whether another shard was tried already.
    pub(crate) conduit: Option<(Arc<str>, bool)>,
}

/// What a connection is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// To send this.
    Out(Out),
    /// To send what is due and to end; the code is for EventSub.
    Close(u16, &'static str),
    /// To neither read nor write from now on, and to stay open.
    HalfOpen,
    /// To end with a RST.
    Reset,
    /// To neither read nor write for so long.
    Stall(Duration),
    /// To send no keepalive and no PONG any more.
    Silence,
    /// Nothing uses the session any more.
    Unused,
    /// To end after so long.
    CloseIn(Duration, u16, &'static str),
}

/// The way to a connection.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    /// Ends the connection when it reads too slowly.
    pub(crate) kill: CancellationToken,
    last_due: Instant,
    /// How much longer its events take than others'.
    pub(crate) extra: Duration,
}

impl Handle {
    /// A way with room for so many orders, and its end.
    pub(crate) fn new(backlog: usize) -> (Self, mpsc::Receiver<Order>) {
        let (orders, end) = mpsc::channel(backlog.min(1 << 20));
        let handle = Self {
            orders,
            kill: CancellationToken::new(),
            last_due: Instant::now(),
            extra: Duration::ZERO,
        };
        (handle, end)
    }

    /// Sends an event, which arrives after `travel` and after those before it.
    ///
    /// # Errors
    ///
    /// Gives it back if the connection is gone or takes no more. Then it ends.
    pub(crate) fn event(
        &mut self,
        now: Instant,
        travel: Duration,
        text: Arc<str>,
        note: Option<Note>,
    ) -> Result<(), Out> {
        self.last_due = self.last_due.max(now + travel + self.extra);
        let due = self.last_due;
        let out = Out { due, text, note };
        if let Ok(room) = self.orders.try_reserve() {
            room.send(Order::Out(out));
            return Ok(());
        }
        self.kill.cancel();
        Err(out)
    }

    /// Tells the connection something; one that does not listen is ended.
    pub(crate) fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            self.kill.cancel();
        }
    }
}

/// Texts in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct DelayLine {
    heap: BinaryHeap<Waiting>,
    count: u64,
}

#[derive(Debug)]
struct Waiting(u64, Out);

impl Ord for Waiting {
    /// The greatest is the one that arrives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.1.due, other.0).cmp(&(self.1.due, self.0))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl DelayLine {
    pub(crate) fn push(&mut self, out: Out) {
        self.count += 1;
        self.heap.push(Waiting(self.count, out));
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next one arrives.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.heap.peek().map(|waiting| waiting.1.due)
    }

    /// The next one that has arrived.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Out> {
        if self.due()? > now {
            return None;
        }
        self.heap.pop().map(|waiting| waiting.1)
    }

    /// All that have not arrived, in their order.
    pub(crate) fn drain(&mut self) -> Vec<Out> {
        let mut left = Vec::with_capacity(self.heap.len());
        while let Some(waiting) = self.heap.pop() {
            left.push(waiting.1);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(due: Instant, text: &str) -> Out {
        Out {
            due,
            text: text.into(),
            note: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn texts_come_in_the_order_of_their_arrival_and_equal_ones_in_that_of_sending() {
        let now = Instant::now();
        let mut line = DelayLine::default();
        line.push(out(now + Duration::from_secs(2), "later"));
        line.push(out(now, "a"));
        line.push(out(now, "b"));
        let mut next = |at| line.pop(at).map(|out| out.text.to_string());
        assert_eq!(next(now).as_deref(), Some("a"));
        assert_eq!(next(now).as_deref(), Some("b"));
        assert_eq!(next(now), None);
        let then = now + Duration::from_secs(2);
        assert_eq!(next(then).as_deref(), Some("later"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_way_overtakes_no_event_of_its_connection() {
        let (mut handle, mut orders) = Handle::new(8);
        let now = Instant::now();
        let slow = Duration::from_secs(3);
        handle.event(now, slow, "first".into(), None).ok();
        handle
            .event(now, Duration::ZERO, "second".into(), None)
            .ok();
        for _ in 0..2 {
            let order = orders.recv().await;
            assert!(matches!(order, Some(Order::Out(out)) if out.due == now + slow));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_no_more_is_ended() {
        let (mut handle, _orders) = Handle::new(1);
        let now = Instant::now();
        assert!(handle.event(now, Duration::ZERO, "a".into(), None).is_ok());
        let back = handle.event(now, Duration::ZERO, "b".into(), None);
        assert!(back.is_err_and(|out| &*out.text == "b"));
        assert!(handle.kill.is_cancelled());
    }
}
