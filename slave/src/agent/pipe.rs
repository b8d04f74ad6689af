//! The two tasks that move the frames of a link, over any wire.

use std::{ops::ControlFlow, time::Duration};

use baton_protocol::{
    Frame,
    connection::{Receiver, Sender},
};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};

use super::link_error::LinkError;
use crate::config::Address;

/// Orders read and not yet looked at; beyond it the master waits, by TCP.
pub(super) const ORDER_QUEUE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Pipe<O> {
    orders: mpsc::Receiver<O>,
    words: mpsc::Sender<Frame>,
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
}

/// What a frame of the master says, if it means anything here. `Break`: no master sends
/// such a one, and the link is over.
pub(super) type Read<O> = ControlFlow<(), Option<O>>;

impl<O: Send + 'static> Pipe<O> {
    /// `queue`: words that wait for a master that does not read, at most. `state`: frames
    /// that go out behind all words.
    pub(super) fn start(
        (receiver, sender): (Receiver, Sender),
        queue: usize,
        state: Option<mpsc::UnboundedReceiver<Frame>>,
        understand: fn(Frame) -> Read<O>,
    ) -> Self {
        let (words, frames) = mpsc::channel(queue);
        let (order, orders) = mpsc::channel(ORDER_QUEUE);
        Self {
            orders,
            words,
            writer: tokio::spawn(write(sender, frames, state)),
            reader: tokio::spawn(read(receiver, order, understand)),
        }
    }

    /// Queues a word; `false`: the link is over, or the master does not read.
    pub(super) fn say(&self, word: Frame) -> bool {
        self.words.try_send(word).is_ok()
    }

    /// The next order; `None`: the link is over. Survives being cancelled.
    pub(super) async fn order(&mut self) -> Option<O> {
        self.orders.recv().await
    }

    /// Sends what is queued, says that nothing more comes, and reads until the master
    /// closes, within `patience`. A socket that is closed over unread orders resets the
    /// connection (RFC 1122, 4.2.2.13), and what was sent last is lost with it.
    pub(super) async fn finish(mut self, patience: Duration) {
        let (nothing, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.words, nothing));
        let last = async {
            let _ = (&mut self.writer).await;
            while self.orders.recv().await.is_some() && !mutant!("orders-left-unread") {}
        };
        // Late or failed: the process ends anyway.
        let _ = timeout(patience, last).await;
    }
}

impl<O> Drop for Pipe<O> {
    fn drop(&mut self) {
        self.writer.abort();
        self.reader.abort();
    }
}

/// A name may lead elsewhere than its text says, so the peer is looked at too: what is said
/// in clear does not leave the host.
///
/// # Errors
/// The other end is on another host.
pub(super) fn stays_on_host(address: &Address, socket: &TcpStream) -> Result<(), LinkError> {
    let peer = socket.peer_addr().map_err(|source| LinkError::Dial {
        address: address.clone(),
        source,
    })?;
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(LinkError::Untrusted(format!(
        "{address} leads to {peer}, which is not on this host, and TCP in clear stays on its \
         host: give tls://{address}"
    )))
}

/// Connects to `to`, which `address` names.
pub(super) async fn connect_tcp(address: &Address, to: &str) -> Result<TcpStream, LinkError> {
    let failed = |source| LinkError::Dial {
        address: address.clone(),
        source,
    };
    let socket = TcpStream::connect(to).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    Ok(socket)
}

async fn read<O>(
    mut receiver: Receiver,
    orders: mpsc::Sender<O>,
    understand: fn(Frame) -> Read<O>,
) {
    loop {
        let frame = match receiver.recv().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::info!(%error, "the link to the master broke");
                return;
            }
        };
        match understand(frame) {
            ControlFlow::Continue(Some(order)) => {
                if orders.send(order).await.is_err() {
                    return;
                }
            }
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(()) => return,
        }
    }
}

async fn write(
    mut sender: Sender,
    mut words: mpsc::Receiver<Frame>,
    mut state: Option<mpsc::UnboundedReceiver<Frame>>,
) {
    loop {
        let behind = async {
            match &mut state {
                Some(state) => state.recv().await,
                None => None,
            }
        };
        let frame = tokio::select! {
            biased;
            frame = words.recv() => frame,
            Some(frame) = behind => Some(frame),
        };
        let Some(frame) = frame else {
            let _ = sender.close().await;
            return;
        };
        if let Err(error) = sender.send(&frame).await {
            tracing::info!(%error, "the link to the master broke");
            return;
        }
    }
}
