//! A way to a broker that can be cut: connections go through it, and what the broker says
//! can be held back.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::broadcast,
    time::sleep,
};

use super::until;

/// See the [module](self).
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    mute: Arc<Mute>,
    cut: broadcast::Sender<()>,
}

/// Whether answers are lost.
#[derive(Default)]
struct Mute {
    now: AtomicBool,
    /// So many were.
    lost: AtomicU64,
}

/// Where a way leads.
#[derive(Clone)]
pub(crate) enum To {
    /// A port of this host.
    Port(u16),
    /// A socket file.
    File(PathBuf),
}

type Sides = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

impl To {
    async fn connect(&self) -> std::io::Result<Sides> {
        Ok(match self {
            Self::Port(port) => {
                let (read, write) = TcpStream::connect(("127.0.0.1", *port)).await?.into_split();
                (Box::new(read), Box::new(write))
            }
            Self::File(path) => {
                let (read, write) = UnixStream::connect(path).await?.into_split();
                (Box::new(read), Box::new(write))
            }
        })
    }
}

impl Cutter {
    pub(crate) async fn start(to: To) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mute = Arc::<Mute>::default();
        let (cut, _) = broadcast::channel(1);
        let (is_mute, cuts) = (Arc::clone(&mute), cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (is_mute, mut cut) = (Arc::clone(&is_mute), cuts.subscribe());
                let to = to.clone();
                tokio::spawn(async move {
                    let Ok((from_broker, to_broker)) = to.connect().await else {
                        return;
                    };
                    let (from_client, to_client) = client.into_split();
                    let never = Arc::default();
                    tokio::select! {
                        () = pass(from_client, to_broker, never) => {}
                        () = pass(from_broker, to_client, is_mute) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, mute, cut }
    }

    /// What clients say arrives for a while, and no answer does, of which there is one at
    /// least; then every connection ends.
    pub(crate) async fn cut_without_answers(&self, after: Duration) {
        let lost = || self.mute.lost.load(Ordering::Relaxed);
        let before = lost();
        self.mute.now.store(true, Ordering::Relaxed);
        sleep(after).await;
        until("an answer is lost", || lost() > before).await;
        let _ = self.cut.send(());
        self.mute.now.store(false, Ordering::Relaxed);
    }
}

/// Ends with either side. What comes while it is mute is lost.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mute: Arc<Mute>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if mute.now.load(Ordering::Relaxed) {
            mute.lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
