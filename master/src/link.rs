//! The driver's end of a connection: a bounded outbox that it never waits for.

use std::time::Duration;

use baton_protocol::{
    ConnectionError, Frame, ToSlave,
    connection::Sender,
    message::agent::ToAgent,
    state::{MAX_UNACKNOWLEDGED, StateHeader},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{process::Dialled, test_hooks::crash};

/// Control messages that wait for one peer: eight for each of 1,024 shards.
const CONTROL: usize = 8192;

/// State frames that wait for one peer. The sending slave keeps at most so many
/// bytes unacknowledged, and packed frames may be as short as their header.
const STATE: usize = MAX_UNACKNOWLEDGED as usize / StateHeader::LENGTH;

/// A peer that takes no whole frame for this long is dropped.
pub(crate) const STUCK: Duration = Duration::from_secs(10);

/// Number of a connection since the master started; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// The peer's outbox is full: it takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// What the driver holds of a connection. Dropped: what is queued is still
/// written, then the connection closes.
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    dialled: Dialled,
    control: mpsc::Sender<ToSlave>,
    state: mpsc::Sender<ToSlave>,
    cut: CancellationToken,
}

impl Link {
    /// A link and the outbox behind it.
    pub(crate) fn new(id: LinkId, dialled: Dialled) -> (Self, Outbox) {
        let (control, control_queue) = mpsc::channel(CONTROL);
        let (state, state_queue) = mpsc::channel(STATE);
        let cut = CancellationToken::new();
        let outbox = Outbox {
            control: control_queue,
            state: state_queue,
            cut: cut.clone(),
        };
        let link = Self {
            id,
            dialled,
            control,
            state,
            cut,
        };
        (link, outbox)
    }

    /// A link that ended: it takes everything and drops it.
    #[cfg(test)]
    pub(crate) fn to_nobody(id: LinkId, dialled: Dialled) -> Self {
        Self::new(id, dialled).0
    }

    /// Which connection this is.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// The kernel's word for who dialled.
    #[must_use]
    pub const fn dialled(&self) -> Dialled {
        self.dialled
    }

    /// Queues a message; state frames go behind everything else.
    ///
    /// # Errors
    /// The outbox is full. A connection that already ended takes everything and
    /// drops it.
    pub fn send(&self, message: ToSlave) -> Result<(), Overflow> {
        let queue = if matches!(message, ToSlave::State(_)) {
            &self.state
        } else {
            &self.control
        };
        match queue.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
        }
    }

    /// Closes the connection at once; what is queued is lost.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    pub(crate) fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// For pings: does not keep the outbox open.
    pub(crate) fn pings(&self) -> mpsc::WeakSender<ToSlave> {
        self.control.downgrade()
    }
}

/// What the driver holds of the connection of an agent. Dropped: what is queued is still
/// written, then the connection closes.
#[derive(Debug)]
pub struct AgentLink {
    id: LinkId,
    orders: mpsc::Sender<ToAgent>,
    cut: CancellationToken,
}

impl AgentLink {
    /// A link, the queue behind it, and what is set when it is cut.
    pub(crate) fn new(id: LinkId) -> (Self, mpsc::Receiver<ToAgent>, CancellationToken) {
        let (orders, queue) = mpsc::channel(CONTROL);
        let cut = CancellationToken::new();
        let link = Self {
            id,
            orders,
            cut: cut.clone(),
        };
        (link, queue, cut)
    }

    /// Which connection this is.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// Queues an order.
    ///
    /// # Errors
    /// The queue is full. A connection that already ended takes everything and drops it.
    pub fn send(&self, order: ToAgent) -> Result<(), Overflow> {
        match self.orders.try_send(order) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
        }
    }

    /// Closes the connection at once; what is queued is lost.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// For pings: does not keep the queue open.
    pub(crate) fn pings(&self) -> mpsc::WeakSender<ToAgent> {
        self.orders.downgrade()
    }
}

/// The writing task's end.
pub(crate) struct Outbox {
    control: mpsc::Receiver<ToSlave>,
    state: mpsc::Receiver<ToSlave>,
    pub(crate) cut: CancellationToken,
}

impl Outbox {
    /// Writes what is queued, control messages first, until the link is dropped;
    /// then closes and lets the peer read for `farewell`.
    ///
    /// # Errors
    /// The connection failed, or took no whole frame for [`STUCK`].
    pub(crate) async fn write(
        mut self,
        mut sender: Sender,
        farewell: Duration,
    ) -> Result<(), ConnectionError> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.cut.cancelled() => return Ok(()),
                message = self.control.recv() => message,
                Some(message) = self.state.recv() => Some(message),
            };
            let Some(message) = message else { break };
            let frame = message.to_frame();
            crash::before(&message);
            if !send(&mut sender, &frame, &self.cut).await? {
                return Ok(());
            }
            crash::after(&message);
        }
        close(sender, &self.cut, farewell).await
    }
}

/// Sends a frame, unless the link is cut. Losing it is harmless then: nothing is sent after a
/// cut. `false`: it is cut.
///
/// # Errors
/// The connection failed, or took no whole frame for [`STUCK`].
pub(crate) async fn send(
    sender: &mut Sender,
    frame: &Frame,
    cut: &CancellationToken,
) -> Result<bool, ConnectionError> {
    tokio::select! {
        () = cut.cancelled() => Ok(false),
        sent = timeout(STUCK, sender.send(frame)) => match sent {
            Ok(sent) => sent.map(|()| true),
            Err(_) => Err(ConnectionError::Blocked { after: STUCK }),
        },
    }
}

/// Closes a connection, and lets the peer read for `farewell`.
///
/// # Errors
/// The connection failed.
pub(crate) async fn close(
    mut sender: Sender,
    cut: &CancellationToken,
    farewell: Duration,
) -> Result<(), ConnectionError> {
    sender.close().await?;
    // The reader notices when the peer has closed too.
    let _ = timeout(farewell, cut.cancelled()).await;
    Ok(())
}
