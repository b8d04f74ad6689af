//! Who may come in: sockets, TLS, HTTP.

mod http;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::proxy::Shared;

/// Accepting failed, for example for want of a file descriptor: it is tried again after this.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes connections in until the proxy stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let acceptor = shared.config.tls.clone().map(TlsAcceptor::from);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(AGAIN).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&shared.slots).try_acquire_owned() else {
            shared.ends.count(503, "too many connections are open");
            tracing::warn!("a connection is turned away: too many are open");
            continue;
        };
        let (one, acceptor) = (Arc::clone(&shared), acceptor.clone());
        shared.tasks.spawn(async move {
            connection(one, socket, acceptor, slot).await;
        });
    }
}

/// A place among the connections that may be open; given back when it is dropped.
pub(crate) type Slot = tokio::sync::OwnedSemaphorePermit;

async fn connection(
    shared: Arc<Shared>,
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    slot: Slot,
) {
    // An event is one small write, and the next may be long in coming.
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return http::serve(shared, socket, slot).await;
    };
    let patience = shared.config.timings.head;
    if let Ok(Ok(stream)) = timeout(patience, acceptor.accept(socket)).await {
        http::serve(shared, stream, slot).await;
    }
}
