//! Who may come in: sockets, TLS, HTTP.

mod http;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{proxy::Shared, wire::encode::Effort};

/// Accepting failed, for example for want of a file descriptor: it is tried again after this.
const AGAIN: Duration = Duration::from_millis(100);

/// How often an address is tried that another process has.
const TAKEN: Duration = Duration::from_millis(20);

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Whoever comes.
    Open,
    /// Nobody. They wait in the socket's queue for whoever has it too, or has it next.
    Shut,
    /// Nobody, and an own address is another's to take.
    Left,
}

/// Where clients come in.
pub(crate) enum Socket {
    /// Bound by this process; `None`: as soon as the address is free.
    Own(Option<TcpListener>),
    /// Other processes have it too.
    Passed(TcpListener),
}

/// Takes connections in while they are admitted, until the proxy stops.
pub(crate) async fn serve(shared: Arc<Shared>, mut socket: Socket) {
    let mut admission = shared.admission.subscribe();
    loop {
        let now = *admission.borrow_and_update();
        match (now, &mut socket) {
            (Admission::Open, Socket::Passed(listener) | Socket::Own(Some(listener))) => {
                tokio::select! {
                    () = take(&shared, listener) => {}
                    _ = admission.changed() => {}
                    () = shared.stop.cancelled() => return,
                }
            }
            (Admission::Open, Socket::Own(none @ None)) => {
                tokio::select! {
                    listener = when_free(&shared) => *none = Some(listener),
                    _ = admission.changed() => {}
                    () = shared.stop.cancelled() => return,
                }
            }
            (Admission::Left, Socket::Own(own @ Some(_))) => *own = None,
            (Admission::Shut | Admission::Left, Socket::Own(_) | Socket::Passed(_)) => {
                tokio::select! {
                    _ = admission.changed() => {}
                    () = shared.stop.cancelled() => return,
                }
            }
        }
    }
}

/// Listens as soon as nobody else does.
async fn when_free(shared: &Shared) -> TcpListener {
    let address = shared.config.listen;
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "clients are served");
                return listener;
            }
            Err(error) if !said => {
                tracing::warn!(%address, %error, "clients wait until this address is free");
                said = true;
            }
            Err(_) => {}
        }
        sleep(TAKEN).await;
    }
}

/// Takes connections in until it is dropped.
async fn take(shared: &Arc<Shared>, listener: &TcpListener) {
    shared.listens();
    let acceptor = shared.config.tls.clone().map(TlsAcceptor::from);
    loop {
        let (socket, effort) = match listener.accept().await {
            Ok((socket, from)) => (socket, Effort::for_peer(from.ip())),
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
        let (one, acceptor) = (Arc::clone(shared), acceptor.clone());
        shared.tasks.spawn(async move {
            connection(one, (socket, effort), acceptor, slot).await;
        });
    }
}

/// A place among the connections that may be open; given back when it is dropped.
pub(crate) type Slot = tokio::sync::OwnedSemaphorePermit;

async fn connection(
    shared: Arc<Shared>,
    (socket, effort): (TcpStream, Effort),
    acceptor: Option<TlsAcceptor>,
    slot: Slot,
) {
    // An event is one small write, and the next may be long in coming.
    let _ = socket.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return http::serve(shared, socket, effort, slot).await;
    };
    let patience = shared.config.timings.head;
    if let Ok(Ok(stream)) = timeout(patience, acceptor.accept(socket)).await {
        http::serve(shared, stream, effort, slot).await;
    }
}
