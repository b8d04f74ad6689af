//! The TCP door for operators: TLS for who is on another host, in clear only for who is on
//! this one.
//!
//! ```text
//! dials ──first byte──▶ TLS ──certificate of the fleet──▶ who it says it is
//!             │          ├─ none ──▶ nobody: a browser, a monitor, a probe
//!             │          └─ another fleet's, expired, an older TLS: told, counted
//!             └──▶ in clear, from the loopback: a program of this host
//!                  in clear, from another host: told to speak TLS, counted
//! ```
//!
//! Without a certificate of the master nothing is TLS. Then the configuration sees to it that
//! the port is on the loopback, or only shows.

use std::{net::SocketAddr, time::Duration};

use baton_protocol::{Peer, PeerRole, tls};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::secure::{is_of_this_host, read_out, untrusted};
use crate::peer::Context;

/// TLS is there within this time.
const DEADLINE: Duration = Duration::from_secs(5);

/// A refused client may read the reason for so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is said to who speaks in clear from another host.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
                         Content-Length: 51\r\nConnection: close\r\n\r\n\
                         this port speaks TLS to other hosts: use https://.\n";

/// Who is at the other end of a connection of the operators' port, as far as the connection
/// tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A program of this host.
    Here,
    /// Somebody on another host, whom everybody on the way can hear.
    InClear,
    /// Somebody who speaks TLS, and whom no certificate names.
    Nobody,
    /// Who a certificate of the fleet says it is.
    Known(Peer),
}

impl Asker {
    /// Whether its certificate is that of an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        match self {
            Self::Known(peer) => peer.role == PeerRole::Operator || mutant!("any-role-operates"),
            Self::Here | Self::InClear | Self::Nobody => false,
        }
    }
}

/// A connection whose first byte of HTTP comes next.
#[derive(Debug)]
pub enum Opened {
    /// In clear.
    Clear(TcpStream, Asker),
    /// By TLS.
    Tls(Box<tls::Accepted<TcpStream>>, Asker),
}

/// Finds out who dialled `from` there; `None`: it is not let in, and was told and counted.
pub async fn open(context: &Context, socket: TcpStream, from: SocketAddr) -> Option<Opened> {
    let near = is_of_this_host(from);
    let Some(held) = context.secure.held() else {
        let asker = if near { Asker::Here } else { Asker::InClear };
        return Some(Opened::Clear(socket, asker));
    };
    let mut first = [0];
    let seen = timeout(DEADLINE, socket.peek(&mut first)).await;
    match seen {
        // A browser dials ahead and says nothing.
        Ok(Ok(0) | Err(_)) | Err(_) => return None,
        Ok(Ok(_)) => {}
    }
    if first != [tls::FIRST_BYTE] {
        if near || mutant!("clear-from-afar") {
            return Some(Opened::Clear(socket, Asker::Here));
        }
        let _ = timeout(FAREWELL, refuse(socket)).await;
        untrusted(
            context,
            from,
            "it speaks in clear to the operators' port: have it use https://",
        );
        return None;
    }
    let accepted = timeout(DEADLINE, tls::accept_operator(held.operators(), socket)).await;
    let reason = match accepted {
        Ok(Ok((stream, peer))) => {
            let asker = peer.map_or(Asker::Nobody, Asker::Known);
            return Some(Opened::Tls(Box::new(stream), asker));
        }
        Ok(Err((error, socket))) => {
            if let Some(socket) = socket {
                let _ = timeout(FAREWELL, read_out(socket)).await;
            }
            error.to_string()
        }
        Err(_) => format!(
            "no handshake within {}",
            humantime::format_duration(DEADLINE)
        ),
    };
    untrusted(context, from, &reason);
    None
}

async fn refuse(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(SPEAK_TLS.as_bytes()).await?;
    read_out(socket).await
}

#[cfg(test)]
mod tests;
