//! A line that delays every byte by half a round trip in each direction.
//!
//! It sits under TLS, so a handshake costs what it costs on a real line. Bytes
//! stay in order and are bounded: when a direction holds [`IN_FLIGHT`] pieces,
//! reading stops until the oldest is delivered. The TCP handshake happened in
//! the kernel without delay; it is made up for by one round trip before the
//! first byte is read.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::link::LinkControl;

/// Pieces on their way in one direction.
const IN_FLIGHT: usize = 512;
/// Bytes of one piece at most.
const PIECE: usize = 16 * 1024;
/// How long the far end may go on sending after the near end is done.
const LINGER: Duration = Duration::from_secs(1);

/// Puts `far` behind a line with this round-trip time, which must not be zero,
/// and returns the near end. `accepted` is when the connection came in.
pub(crate) fn line<S>(
    far: S,
    rtt: Duration,
    accepted: Instant,
    control: LinkControl,
) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (near, inner) = tokio::io::duplex(PIECE * 4);
    tokio::spawn(async move {
        let (far_read, far_write) = tokio::io::split(far);
        let (near_read, near_write) = tokio::io::split(inner);
        let inward = carry(far_read, near_write, accepted + rtt, rtt / 2);
        let outward = carry(near_read, far_write, accepted, rtt / 2);
        tokio::pin!(inward, outward);
        let both = async {
            let mut inward_done = false;
            tokio::select! {
                () = &mut outward => {}
                () = &mut inward => {
                    inward_done = true;
                    outward.await;
                }
            }
            // What the client still sends is read, or closing the socket would
            // turn into an RST that overtakes our last bytes.
            if !inward_done {
                let _ = timeout(LINGER, inward).await;
            }
        };
        tokio::select! {
            () = both => {}
            () = control.until_reset() => {}
        }
    });
    near
}

/// Carries one direction to its end. Nothing is read before `open`.
async fn carry<R, W>(from: ReadHalf<R>, to: WriteHalf<W>, open: Instant, half: Duration)
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let (enter, leave) = mpsc::channel(IN_FLIGHT);
    tokio::join!(take_in(from, enter, open, half), hand_on(to, leave));
}

async fn take_in<R: AsyncRead>(
    mut from: ReadHalf<R>,
    enter: mpsc::Sender<(Instant, Bytes)>,
    open: Instant,
    half: Duration,
) {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        let due = Instant::now().max(open) + half;
        let piece = Bytes::copy_from_slice(&buffer[..count]);
        if enter.send((due, piece)).await.is_err() || count == 0 {
            return;
        }
    }
}

async fn hand_on<W: AsyncWrite>(mut to: WriteHalf<W>, mut leave: mpsc::Receiver<(Instant, Bytes)>) {
    let mut broken = false;
    while let Some((due, piece)) = leave.recv().await {
        sleep_until(due).await;
        if piece.is_empty() {
            let _ = to.shutdown().await;
            return;
        }
        if broken {
            continue;
        }
        let written: io::Result<()> = async {
            to.write_all(&piece).await?;
            if leave.is_empty() {
                to.flush().await
            } else {
                Ok(())
            }
        }
        .await;
        broken = written.is_err();
    }
}
