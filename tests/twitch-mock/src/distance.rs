//! How far Twitch is: every byte takes half of the round trip, in each direction, and what comes
//! behind it waits for it.
//!
//! A connection costs two round trips before its first byte leaves, for TCP and for TLS: here is
//! neither, and at Twitch there are both. A byte is on its way beside others, so a long text is
//! late by half of the round trip and not by one for each piece.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf,
        WriteHalf,
    },
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::TaskTracker;

use crate::irc::pipe::Stream;

/// Round trips that go by before the first byte of a connection leaves.
const HANDSHAKES: u32 = 2;

/// Bytes that are read at a time.
const PIECE: usize = 16 * 1024;

/// Pieces on their way; behind them, the connection waits.
const ON_THE_WAY: usize = 1024;

/// A connection of somebody who is near, or far.
#[derive(Debug)]
pub(crate) enum Line<S> {
    Near(S),
    Far {
        stream: DuplexStream,
        /// Whether it ends with a RST.
        reset: Arc<AtomicBool>,
    },
}

impl<S: Stream + 'static> Line<S> {
    /// The end of a connection whose other end is so far away.
    pub(crate) fn new(stream: S, round_trip: Duration, tasks: &TaskTracker) -> Self {
        if round_trip.is_zero() {
            return Self::Near(stream);
        }
        let (here, there) = tokio::io::duplex(4 * PIECE);
        let reset = Arc::new(AtomicBool::new(false));
        tasks.spawn(carry(stream, there, round_trip, Arc::clone(&reset)));
        Self::Far {
            stream: here,
            reset,
        }
    }
}

/// Until the server has ended it and all of it has arrived.
async fn carry<S: Stream>(
    outside: S,
    inside: DuplexStream,
    round_trip: Duration,
    reset: Arc<AtomicBool>,
) {
    let one_way = round_trip / 2;
    let (mut from_client, mut to_client) = tokio::io::split(outside);
    let (mut from_server, mut to_server) = tokio::io::split(inside);
    let begins = Instant::now() + round_trip * HANDSHAKES;
    let inwards = travel(&mut from_client, &mut to_server, begins, one_way);
    let outwards = travel(&mut from_server, &mut to_client, begins, one_way);
    let inwards = async {
        inwards.await;
        // The server may still have something to say.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = inwards => {}
        () = outwards => {}
    }
    if reset.load(Ordering::Relaxed) {
        from_client.unsplit(to_client).reset();
    }
}

/// One direction, until it has ended.
async fn travel<A: AsyncRead, B: AsyncWrite>(
    from: &mut ReadHalf<A>,
    to: &mut WriteHalf<B>,
    begins: Instant,
    one_way: Duration,
) {
    let (leaves, mut arrives) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let departing = async move {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).await.unwrap_or(0);
            let due = Instant::now().max(begins) + one_way;
            // Nothing at all is the end, which takes its time, too.
            let left = leaves.send((due, piece[..read].to_vec())).await;
            if read == 0 || left.is_err() {
                return;
            }
        }
    };
    let arriving = async move {
        while let Some((due, piece)) = arrives.recv().await {
            sleep_until(due).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
        }
        // Whoever is gone needs no end.
        let _ = to.shutdown().await;
    };
    tokio::join!(departing, arriving);
}

impl<S: Stream> Stream for Line<S> {
    fn reset(&self) {
        match self {
            Self::Near(stream) => stream.reset(),
            Self::Far { reset, .. } => reset.store(true, Ordering::Relaxed),
        }
    }
}

impl<S: Stream> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Near(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Far { stream, .. } => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl<S: Stream> AsyncWrite for Line<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Near(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Far { stream, .. } => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Near(stream) => Pin::new(stream).poll_flush(cx),
            Self::Far { stream, .. } => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Near(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Far { stream, .. } => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A listener for HTTP whose clients are so far away.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) round_trip: Duration,
    pub(crate) tasks: TaskTracker,
}

impl Listener for Door {
    type Io = Line<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return (Line::new(stream, self.round_trip, &self.tasks), peer);
                }
                // Mostly no file descriptor is free: somebody has to end first.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
