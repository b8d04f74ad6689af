//! The connection to a Go master: ids 1 to 10, no handshake, one
//! write a frame.

use std::{io, time::Duration};

use baton_protocol::{
    Connection, Frame, Trust,
    connection::{Receiver, Sender},
    go::{ToMaster, ToSlave},
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::super::{link::last_words, link_error::LinkError, link_state::Wire};
use crate::config::Address;

/// Answers that wait for a master that does not read. One more and its
/// connection is given up.
const ANSWER_QUEUE: usize = 1024;

/// Orders read and not yet looked at; beyond it the master waits, by TCP.
const ORDER_QUEUE: usize = 64;

/// A connection on which the hello was said.
pub(crate) struct Link {
    /// When it was.
    pub(super) since: Instant,
    orders: mpsc::Receiver<ToSlave>,
    answers: mpsc::Sender<Frame>,
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
}

/// What a dial needs to know.
pub(super) struct Introduction {
    pub(super) address: Address,
    /// Whether shards are owned here.
    pub(super) running: bool,
    /// How long the hello is held back, so that others can say theirs first.
    pub(super) grace: Duration,
    pub(super) deadline: Duration,
}

impl Link {
    /// Dials and says hello.
    pub(super) async fn dial(introduction: Introduction) -> Result<Self, LinkError> {
        let Introduction {
            address,
            running,
            grace,
            deadline,
        } = introduction;
        let connection = timeout(deadline, connect(&address))
            .await
            .map_err(|_| LinkError::Slow(deadline))??;
        let (mut receiver, mut sender) = connection.split();
        // The Go master says nothing before the hello.
        if let Ok(said) = timeout(grace, receiver.recv()).await
            && said?.is_none()
        {
            return Err(LinkError::Closed);
        }
        sender.send(&ToMaster::Hello { running }.to_frame()).await?;
        let (answers, frames) = mpsc::channel(ANSWER_QUEUE);
        let (order, orders) = mpsc::channel(ORDER_QUEUE);
        Ok(Self {
            since: Instant::now(),
            orders,
            answers,
            writer: tokio::spawn(write(sender, frames)),
            reader: tokio::spawn(read(receiver, order)),
        })
    }

    /// Queues an answer; `false`: the link is over, or the master does not read.
    pub(super) fn say(&self, message: &ToMaster) -> bool {
        self.answers.try_send(message.to_frame()).is_ok()
    }

    /// Sends what is queued and closes, within `patience`.
    pub(super) async fn finish(mut self, patience: Duration) {
        let (nothing, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.answers, nothing));
        last_words(&mut self.writer, &mut self.orders, patience).await;
    }
}

impl Wire for Link {
    type Order = ToSlave;

    async fn order(&mut self) -> Option<ToSlave> {
        self.orders.recv().await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.abort();
        self.reader.abort();
    }
}

/// A name may lead elsewhere than its text says, so the peer is looked at too.
async fn connect(address: &Address) -> Result<Connection, LinkError> {
    let failed = |source| LinkError::Dial {
        address: address.clone(),
        source,
    };
    let Address::Tcp(to) = address else {
        return Err(failed(io::ErrorKind::Unsupported.into()));
    };
    let socket = TcpStream::connect(to).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    if !socket.peer_addr().map_err(failed)?.ip().is_loopback() {
        return Err(LinkError::Untrusted(
            "a legacy master proves nothing, and this one is not on this host".to_owned(),
        ));
    }
    let mut connection = Connection::new(socket);
    connection.trust(Trust::Known);
    Ok(connection)
}

/// As the Go client: a frame that means nothing to us is skipped.
async fn read(mut receiver: Receiver, orders: mpsc::Sender<ToSlave>) {
    loop {
        let frame = match receiver.recv().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the link to the master broke");
                return;
            }
        };
        let id = frame.id;
        match ToSlave::from_frame(frame) {
            // The Go slave's own: no code here can read it.
            Ok(ToSlave::GuildState(_)) => tracing::trace!(id, "a frame without a meaning here"),
            Ok(order) => {
                if orders.send(order).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(id, %error, "a frame that is no order"),
        }
    }
}

async fn write(mut sender: Sender, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = sender.send(&frame).await {
            tracing::warn!(%error, "the link to the master broke");
            return;
        }
    }
    let _ = sender.close().await;
}
