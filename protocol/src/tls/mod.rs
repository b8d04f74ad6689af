//! TLS 1.3 between the hosts of a fleet: both sides have a certificate of the fleet's own
//! authority, and who a peer is stands in it ([`CertificateName`](crate::CertificateName)).
//!
//! No name of the DNS, no authority of the system and no file of the other side is believed:
//! a peer proves that it has a key which the fleet's authority signed for a role on a host.
//! The proof of the fleet's secret ([`crate::auth`]) comes on top, inside.

mod capped;
mod identity;
mod verify;

use std::{fmt, io, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub use self::capped::Capped;
pub use self::identity::{Identity, name_in};
use crate::peer::Peer;

/// Environment variable that names the folder with a process's certificate.
pub const TLS_DIR_VARIABLE: &str = "BATON_TLS_DIR";

/// The authorities of the fleet, in the folder.
pub const CA_FILE: &str = "ca.pem";

/// The process's own certificate, in the folder.
pub const CERTIFICATE_FILE: &str = "cert.pem";

/// Its key, in the folder: for this user alone.
pub const KEY_FILE: &str = "key.pem";

/// At most so many bytes of a peer are read before it has proved who it is: its certificate,
/// for which a fleet's own authority needs about 1 KiB, and the first frame, which may come
/// along with it.
pub const MAX_UNPROVED: usize = 2 * crate::codec::MAX_HELLO_BODY;

/// The first byte of a connection that begins with TLS. No first message of a connection in
/// clear has an id that begins with it.
pub const FIRST_BYTE: u8 = 0x16;

/// A connection that a peer with a certificate dialled.
pub type Accepted<S> = server::TlsStream<Capped<S>>;

/// A connection to a master with a certificate.
pub type Dialled<S> = client::TlsStream<Capped<S>>;

/// Why a certificate cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of the folder.
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The library refused what stands in them.
    Refused(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Refused(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// The side that was dialled. Gives the connection and who the peer is.
///
/// # Errors
/// The peer has no certificate of this fleet, one that is not valid now, speaks no TLS 1.3,
/// or says something else; the library's error says which, and was told to the peer. The
/// socket comes back: closed with unread bytes in it, it would take that word back.
pub async fn accept<S>(
    config: Arc<ServerConfig>,
    socket: S,
) -> Result<(Accepted<S>, Peer), (io::Error, Option<Capped<S>>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match accept_operator(config, socket).await? {
        (stream, Some(peer)) => Ok((stream, peer)),
        // The verifier wanted one.
        (_, None) => Err((io::Error::other("the peer has no certificate"), None)),
    }
}

/// The same with a configuration [for operators](Identity::server_for_operators): the peer
/// may have no certificate.
///
/// # Errors
/// As [`accept`]; a certificate that is shown is of this fleet, and valid now.
pub async fn accept_operator<S>(
    config: Arc<ServerConfig>,
    socket: S,
) -> Result<(Accepted<S>, Option<Peer>), (io::Error, Option<Capped<S>>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = Capped::new(socket, MAX_UNPROVED);
    let accepting = TlsAcceptor::from(config).accept(socket).into_fallible();
    let mut stream = accepting
        .await
        .map_err(|(error, socket)| (error, Some(socket)))?;
    let (capped, session) = stream.get_mut();
    capped.lift();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    // The verifier read its name.
    let name = leaf.map(name_in).transpose();
    let name = name.map_err(|reason| (io::Error::other(reason), None))?;
    Ok((stream, name.map(|name| name.peer)))
}

/// The side that dials. The master is one of the fleet of `config`, or this fails.
///
/// # Errors
/// The other side is no master of this fleet, or the connection failed.
pub async fn connect<S>(config: Arc<ClientConfig>, socket: S) -> io::Result<Dialled<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Not looked at by the verifier, and not sent.
    let name = ServerName::try_from("baton").map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(config)
        .connect(name, Capped::new(socket, MAX_UNPROVED))
        .await?;
    stream.get_mut().0.lift();
    Ok(stream)
}

/// What the library says in an error of a connection, if it was the library that failed:
/// the peer's certificate, or the peer's word on ours.
#[must_use]
pub fn refusal(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
