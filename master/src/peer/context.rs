//! What every connection of this master shares, and where one came from.

use std::{sync::Arc, time::Duration};

use baton_protocol::{Peer, Term, auth::Secret};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    counters::Counters,
    doors::{Hush, Places, Secure, share},
    metrics::Metrics,
    notice::Notice,
    post::Post,
    process::Dialled,
};

/// Connections of joined slaves at one time.
pub const MAX_JOINED: usize = 256;

/// Connections in their handshake at one time, for each listener; fewer where few files
/// may be open.
pub const MAX_STRANGERS: usize = 64;

/// Places for handshakes.
#[derive(Debug)]
pub struct Strangers {
    /// Of those who come by TCP.
    pub tcp: Arc<Places>,
    /// Of those who come by the unix socket.
    pub unix: Arc<Places>,
}

impl Default for Strangers {
    fn default() -> Self {
        let places = || Places::new(share(MAX_STRANGERS, 16, 8));
        Self {
            tcp: places(),
            unix: places(),
        }
    }
}

/// What a stranger can have logged.
#[derive(Debug)]
pub struct Hushes {
    /// A connection could not be taken.
    pub untaken: Hush,
    /// All places for handshakes are taken.
    pub crowded: Hush,
    /// A connection was dropped for what came over it.
    pub garbage: Hush,
    /// TLS or a certificate was not as it must be.
    pub untrusted: Hush,
    /// A slave was refused.
    pub refused: Hush,
    /// A slave's death cannot be known.
    pub elsewhere: Hush,
}

impl Default for Hushes {
    fn default() -> Self {
        Self {
            untaken: Hush::new("connections that could not be taken"),
            crowded: Hush::new("strangers hold all places for a handshake"),
            garbage: Hush::new("connections dropped for what came over them"),
            untrusted: Hush::new("connections not trusted"),
            refused: Hush::new("slaves refused"),
            elsewhere: Hush::new("slaves whose death cannot be known"),
        }
    }
}

/// What every connection needs to know.
#[derive(Debug)]
pub struct Context {
    /// This master's term.
    pub term: Term,
    /// The fleet's secret.
    pub secret: Secret,
    /// The certificate with which those of other hosts are let in.
    pub secure: Secure,
    /// This master's process.
    pub own: u32,
    /// How often a slave sends checkpoints.
    pub checkpoint: Duration,
    /// How often a slave is pinged.
    pub ping: Duration,
    /// A slave that answers no ping for this long hangs.
    pub hang: Duration,
    /// Where to tell the driver.
    pub notices: mpsc::Sender<Notice>,
    /// What was seen.
    pub counters: Counters,
    /// What Prometheus gets.
    pub metrics: Arc<Metrics>,
    /// Places for handshakes.
    pub strangers: Strangers,
    /// What a stranger can have logged.
    pub hush: Hushes,
    /// Where this master stands among those that share its store; `None`: it shares none.
    pub post: Option<Arc<Post>>,
    /// Room for joined slaves.
    pub room: Arc<Semaphore>,
    /// When set, every connection closes.
    pub closing: CancellationToken,
}

/// Where a connection came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// TCP in clear, from this host: it must prove that it knows the secret.
    Tcp,
    /// TLS, from who has this certificate: it must prove that too.
    Tls(Peer),
    /// The unix socket, from another user: the same.
    UnixStranger(Dialled),
    /// The unix socket, from the master's own user: no proof is needed.
    UnixOwner(Dialled),
}

impl Origin {
    /// The kernel's word for who dialled.
    #[must_use]
    pub const fn dialled(&self) -> Dialled {
        match self {
            Self::Tcp | Self::Tls(_) => Dialled::Remote,
            Self::UnixStranger(dialled) | Self::UnixOwner(dialled) => *dialled,
        }
    }

    /// Who a certificate says that it is; `None`: it came without one.
    #[must_use]
    pub const fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Tls(peer) => Some(peer),
            Self::Tcp | Self::UnixStranger(_) | Self::UnixOwner(_) => None,
        }
    }
}

#[cfg(test)]
impl Context {
    /// Of a master in a test: its slaves live in this process, and say what they have
    /// every 10 ms.
    pub(crate) fn for_test(secret: Secret, notices: mpsc::Sender<Notice>) -> Self {
        use baton_protocol::FleetId;

        Self {
            term: Term {
                fleet: FleetId(7),
                counter: 3,
            },
            secret,
            secure: Secure::default(),
            // The slaves of these tests live in this process.
            own: 0,
            checkpoint: Duration::from_millis(10),
            ping: Duration::from_secs(5),
            hang: Duration::from_secs(30),
            notices,
            counters: Counters::default(),
            metrics: Arc::default(),
            strangers: Strangers::default(),
            hush: Hushes::default(),
            post: None,
            room: Arc::new(Semaphore::new(MAX_JOINED)),
            closing: CancellationToken::new(),
        }
    }
}
