//! The listener: one task per connection, from the accepted socket to
//! the HTTP server.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{Shared, http};
use crate::{
    faults::AtAccept,
    wire::{
        delay,
        link::{LinkControl, Wire},
    },
};

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 20_000;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long a TLS handshake may take beside its round trips.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause before the next accept after one failed, for example without a free
/// file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the server stops.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut listener: TcpListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
) {
    let free = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.faults.until_refusing() => {
                drop(listener);
                let Some(again) = refuse(&shared, address).await else {
                    return;
                };
                listener = again;
                continue;
            }
            () = shared.stop.cancelled() => return,
        };
        let Ok((socket, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (task, acceptor) = (Arc::clone(&shared), acceptor.clone());
        shared.tasks.spawn(async move {
            connection(task, socket, acceptor).await;
            drop(place);
        });
    }
}

/// Lets connections be refused until the fault is over, then listens again.
/// Meanwhile the port stays bound: no other process gets it, and no client that dials
/// from it meets itself.
async fn refuse(shared: &Shared, address: SocketAddr) -> Option<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, io::Error>(socket)
    };
    loop {
        let listening = match bind() {
            Ok(socket) => {
                tokio::select! {
                    () = shared.faults.until_listening() => {}
                    () = shared.stop.cancelled() => return None,
                }
                socket.listen(BACKLOG)
            }
            Err(error) => Err(error),
        };
        match listening {
            Ok(listener) => return Some(listener),
            Err(error) => {
                tracing::warn!(%error, "address is taken, trying again");
                tokio::select! {
                    () = sleep(ACCEPT_PAUSE) => {}
                    () = shared.stop.cancelled() => return None,
                }
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream, acceptor: Option<TlsAcceptor>) {
    match shared.faults.at_accept() {
        AtAccept::Serve => {}
        AtAccept::Close => return,
    }
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(&socket).set_keepalive(true);
    let control = LinkControl::default();
    let wire = Wire::new(socket, control.clone(), shared.graveyard.clone());
    serve(shared, wire, control, acceptor).await;
}

/// Serves a link that was accepted just now.
pub(super) async fn serve<S>(
    shared: Arc<Shared>,
    wire: S,
    control: LinkControl,
    acceptor: Option<TlsAcceptor>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let rtt = shared.config.rtt;
    if rtt.is_zero() {
        secure(shared, wire, control, acceptor).await;
    } else {
        let near = delay::line(wire, rtt, Instant::now(), control.clone());
        secure(shared, near, control, acceptor).await;
    }
}

async fn secure<S>(
    shared: Arc<Shared>,
    link: S,
    control: LinkControl,
    acceptor: Option<TlsAcceptor>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(acceptor) = acceptor else {
        return http::serve(shared, link, control).await;
    };
    let patience = HANDSHAKE + shared.config.rtt * 4;
    if let Ok(Ok(stream)) = timeout(patience, acceptor.accept(link)).await {
        http::serve(shared, stream, control).await;
    }
}
