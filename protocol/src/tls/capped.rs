//! A socket whose peer may send so many bytes, and then no more until it is known.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is read at once of a peer that is not known.
const PIECE: usize = 512;

/// A socket of a peer that may send so many bytes, until it has proved who it is.
#[derive(Debug)]
pub struct Capped<S> {
    socket: S,
    /// `None`: as many as it likes.
    left: Option<usize>,
}

impl<S> Capped<S> {
    pub(super) const fn new(socket: S, most: usize) -> Self {
        Self {
            socket,
            left: Some(most),
        }
    }

    /// The peer is known.
    pub(super) const fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Capped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        };
        if left == 0 {
            return Poll::Ready(Err(io::Error::other(
                "the peer sent too much before it proved who it is",
            )));
        }
        let mut few = [0; PIECE];
        let most = left.min(buf.remaining()).min(PIECE);
        let mut piece = ReadBuf::new(&mut few[..most]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        self.left = Some(left - piece.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Capped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_stranger_sends_so_much_and_a_known_peer_what_it_likes() {
        let (ours, mut peer) = tokio::io::duplex(8192);
        let mut capped = Capped::new(ours, 700);
        peer.write_all(&[7; 2000]).await.expect("room");
        let mut heard = vec![0; 700];
        capped.read_exact(&mut heard).await.expect("so much");
        assert_eq!(heard, [7; 700]);
        let error = capped.read(&mut heard).await.expect_err("no more");
        assert!(error.to_string().contains("too much"), "{error}");
        capped.lift();
        let mut rest = vec![0; 1300];
        capped.read_exact(&mut rest).await.expect("the rest");
        assert_eq!(rest, [7; 1300]);
    }
}
