//! The TCP door for slaves and agents: TLS with certificates of the fleet; in clear only for
//! who is on this host.
//!
//! ```text
//! dials ──first byte──▶ TLS ──certificate of the fleet──▶ known by it ──▶ hello
//!             │          └─ none, another fleet's, expired, an older TLS: told, counted
//!             └──▶ in clear, from the loopback: hello
//!                  in clear, from another host: counted
//! ```

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use baton_protocol::{Peer, tls};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::{debug, warn};

use super::Place;
use crate::{
    certs::Held,
    peer::{self, Context, Origin},
};

/// What a peer says until it is known by its certificate comes within this time.
const DEADLINE: Duration = Duration::from_secs(5);

/// A refused peer may read the reason for so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// The certificate of a master, as it is now. Connections that are open keep the one with
/// which they were let in.
#[derive(Debug, Default)]
pub struct Secure(RwLock<Option<Arc<Held>>>);

impl Secure {
    /// With this certificate; `None`: nothing but what is on this host is let in.
    #[must_use]
    pub fn new(held: Option<Arc<Held>>) -> Self {
        Self(RwLock::new(held))
    }

    /// The certificate that counts now.
    #[must_use]
    pub fn held(&self) -> Option<Arc<Held>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Another one counts from now on.
    pub fn take_up(&self, held: Option<Arc<Held>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

/// What became of a connection before its first frame.
enum Opened {
    Clear(TcpStream),
    Known(Box<tls::Accepted<TcpStream>>, Peer),
    /// It said nothing and closed.
    Ended,
    /// What is wrong with it.
    Untrusted(String),
}

/// Serves a connection that `from` dialled, until it ends.
pub async fn serve(context: Arc<Context>, socket: TcpStream, from: SocketAddr, place: Place) {
    let Some(held) = context.secure.held() else {
        if is_of_this_host(from) {
            return peer::serve(context, socket, Origin::Tcp, place).await;
        }
        return untrusted(&context, from, "this master has no certificate");
    };
    let opened = tokio::select! {
        () = context.closing.cancelled() => return,
        () = place.lost() => return,
        opened = timeout(DEADLINE, open(&held, socket, from)) => opened,
    };
    match opened {
        Ok(Opened::Clear(socket)) => peer::serve(context, socket, Origin::Tcp, place).await,
        Ok(Opened::Known(stream, peer)) => {
            peer::serve(context, *stream, Origin::Tls(peer), place).await;
        }
        Ok(Opened::Ended) => debug!(%from, "a connection ended before its hello"),
        Ok(Opened::Untrusted(reason)) => untrusted(&context, from, &reason),
        Err(_) => {
            let deadline = humantime::format_duration(DEADLINE);
            untrusted(&context, from, &format!("nothing whole within {deadline}"));
        }
    }
}

/// Whether nobody on the way can have heard or said anything.
pub(super) fn is_of_this_host(from: SocketAddr) -> bool {
    from.ip().to_canonical().is_loopback()
}

async fn open(held: &Held, socket: TcpStream, from: SocketAddr) -> Opened {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) => return Opened::Ended,
        Ok(_) => {}
        Err(error) => return Opened::Untrusted(error.to_string()),
    }
    if first != [tls::FIRST_BYTE] {
        if is_of_this_host(from) {
            return Opened::Clear(socket);
        }
        return Opened::Untrusted(
            "it speaks in clear from another host: have it dial tls:// with a certificate of its \
             host"
                .to_owned(),
        );
    }
    match tls::accept(held.server(), socket).await {
        Ok((stream, peer)) => Opened::Known(Box::new(stream), peer),
        Err((error, socket)) => {
            if let Some(socket) = socket {
                let _ = timeout(FAREWELL, read_out(socket)).await;
            }
            Opened::Untrusted(error.to_string())
        }
    }
}

/// A socket that is closed with unread bytes in it takes back what was said to the peer.
pub(super) async fn read_out(mut socket: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    socket.shutdown().await?;
    let mut few = [0; 512];
    while socket.read(&mut few).await? > 0 {}
    Ok(())
}

pub(super) fn untrusted(context: &Context, from: SocketAddr, reason: &str) {
    let count = context.counters.untrusted.add();
    if context.hush.untrusted.lets() {
        warn!(%from, reason, count, "connection not trusted");
    }
}

#[cfg(test)]
mod tests;
