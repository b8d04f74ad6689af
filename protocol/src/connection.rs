//! The one type that owns a socket between a master and a slave.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    codec::{self, Frame, HEADER, Trust},
    error::ConnectionError,
};

/// A frame that was begun is whole within this time.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(10);

/// A peer that takes no byte for this long is given up.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Moves whole frames over one socket. Nothing else sees its bytes.
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    sender: Sender,
}

impl Connection {
    /// Takes the socket over. The peer is a stranger until
    /// [`trust`](Receiver::trust) says otherwise.
    pub fn new<S>(socket: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(socket);
        Self {
            receiver: Receiver {
                reader: Box::new(reader),
                buffer: BytesMut::new(),
                ahead: AT_LEAST,
                trust: Trust::Stranger,
                begun: None,
            },
            sender: Sender {
                writer: Box::new(writer),
            },
        }
    }

    /// See [`Receiver::recv`].
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<Frame>, ConnectionError> {
        self.receiver.recv().await
    }

    /// See [`Sender::send`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        self.sender.send(frame).await
    }

    /// See [`Receiver::trust`].
    pub fn trust(&mut self, trust: Trust) {
        self.receiver.trust(trust);
    }

    /// The two directions, for two tasks.
    #[must_use]
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }
}

/// The receiving direction of a [`Connection`].
pub struct Receiver {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    /// Room that a new buffer has at least.
    ahead: usize,
    trust: Trust,
    /// When the frame at the head of `buffer` must be whole.
    begun: Option<Instant>,
}

impl Receiver {
    /// The next frame; `None` when the peer closed between two frames.
    ///
    /// Survives being cancelled: what was read of a frame stays here.
    ///
    /// # Errors
    /// The socket failed or was closed inside a frame, the frame is larger than
    /// its id allows, or it was begun and not whole after [`FRAME_DEADLINE`].
    /// After an error the connection is useless.
    pub async fn recv(&mut self) -> Result<Option<Frame>, ConnectionError> {
        loop {
            if let Some(frame) = codec::decode(&mut self.buffer, self.trust)? {
                self.begun = None;
                self.expect_after(frame.body.len());
                return Ok(Some(frame));
            }
            let want = codec::wanted(&self.buffer, self.trust)?;
            self.make_room(want);
            if self.buffer.is_empty() {
                self.begun = None;
            } else if self.begun.is_none() {
                self.begun = Some(Instant::now() + FRAME_DEADLINE);
            }
            let have = self.buffer.len();
            let read = self.reader.read_buf(&mut self.buffer);
            let read = match self.begun {
                None => read.await?,
                Some(deadline) => match timeout_at(deadline, read).await {
                    Ok(read) => read?,
                    Err(_) => {
                        return Err(ConnectionError::Stalled {
                            have,
                            want,
                            after: FRAME_DEADLINE,
                        });
                    }
                },
            };
            if read == 0 {
                return match have {
                    0 => Ok(None),
                    _ => Err(ConnectionError::CutInside { have, want }),
                };
            }
        }
    }

    /// Large frames come in numbers: while they do, one read brings several, and
    /// what a buffer's end cuts in two is copied seldom.
    fn expect_after(&mut self, length: usize) {
        self.ahead = if length >= LARGE {
            AHEAD
        } else {
            (self.ahead / 2).max(AT_LEAST)
        };
    }

    /// Room for a frame of which so much is wanted.
    fn make_room(&mut self, want: usize) {
        let missing = want - self.buffer.len();
        if self.buffer.capacity() - self.buffer.len() < missing {
            let ahead = if want >= LARGE { AHEAD } else { self.ahead };
            self.buffer.reserve(missing.max(ahead));
        }
    }

    /// How much the peer may send from now on.
    pub fn trust(&mut self, trust: Trust) {
        self.trust = trust;
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("buffered", &self.buffer.len())
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// The sending direction of a [`Connection`].
pub struct Sender {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Sender {
    /// Sends a frame, header and body in one write (the Go code reads its
    /// header without retrying a short read).
    ///
    /// Does not survive being cancelled: half a frame may be sent. Never put it
    /// into a branch of a `select!` that can lose.
    ///
    /// # Errors
    /// The socket failed, or the peer took no byte for [`WRITE_DEADLINE`].
    pub async fn send(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        let header = frame.header();
        // Copying a small body costs less than a vectored write.
        if frame.body.len() <= SMALL {
            let mut bytes = [0; HEADER + SMALL];
            let length = HEADER + frame.body.len();
            bytes[..HEADER].copy_from_slice(&header);
            bytes[HEADER..length].copy_from_slice(&frame.body);
            self.write(&mut &bytes[..length]).await?;
        } else if self.writer.is_write_vectored() {
            let mut bytes = Buf::chain(&header[..], &frame.body[..]);
            self.write(&mut bytes).await?;
        } else {
            self.write(&mut frame.to_bytes()).await?;
        }
        self.flush().await
    }

    async fn write(&mut self, bytes: &mut impl Buf) -> Result<(), ConnectionError> {
        while bytes.has_remaining() {
            match timeout(WRITE_DEADLINE, self.writer.write_buf(bytes)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    return Err(ConnectionError::Blocked {
                        after: WRITE_DEADLINE,
                    });
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        match timeout(WRITE_DEADLINE, self.writer.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(ConnectionError::Blocked {
                after: WRITE_DEADLINE,
            }),
        }
    }

    /// Sends what is buffered and closes this direction.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn close(&mut self) -> Result<(), ConnectionError> {
        Ok(self.writer.shutdown().await?)
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Bodies up to this length are copied behind their header.
const SMALL: usize = 1024;

/// Bodies from this length on seldom come alone.
const LARGE: usize = 16 * 1024;

/// Room of a buffer into which large frames are read.
const AHEAD: usize = 256 * 1024;

/// Room of any other: no more than a stranger's hello may take.
const AT_LEAST: usize = codec::MAX_HELLO_BODY;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::error::DecodeError;

    fn frame(id: u32, length: usize) -> Frame {
        Frame {
            id,
            body: Bytes::from(vec![7; length]),
        }
    }

    fn connection() -> (Connection, DuplexStream) {
        let (ours, peer) = duplex(64);
        (Connection::new(ours), peer)
    }

    #[tokio::test]
    async fn frames_arrive_however_they_are_split() {
        let (mut connection, mut peer) = connection();
        let frames = [frame(1, 0), frame(4, 29), frame(7, 3000)];
        let expected = frames.clone();
        tokio::spawn(async move {
            for frame in frames {
                for byte in frame.to_bytes() {
                    peer.write_all(&[byte]).await.expect("it is read");
                }
            }
        });
        for frame in expected {
            let received = connection.recv().await.expect("whole frames");
            assert_eq!(received, Some(frame));
        }
        assert_eq!(connection.recv().await.expect("a clean end"), None);
    }

    #[tokio::test]
    async fn large_and_small_frames_arrive_in_their_order_and_buffers_stay_bounded() {
        let (ours, mut peer) = duplex(1 << 20);
        let mut connection = Connection::new(ours);
        connection.trust(Trust::Known);
        let large = |at: usize| at % 7 < 4;
        let length = move |at: usize| if large(at) { 65_536 - at } else { at };
        tokio::spawn(async move {
            for at in 0..200 {
                let bytes = frame(100, length(at).max(24)).to_bytes();
                peer.write_all(&bytes).await.expect("it is read");
            }
        });
        let mut kept = Vec::new();
        for at in 0..200 {
            let received = connection.recv().await.expect("whole frames");
            let received = received.expect("a frame");
            assert_eq!(received, frame(100, length(at).max(24)));
            // Some are used later than others.
            if at % 3 == 0 {
                kept.push(received);
            }
            assert!(connection.receiver.buffer.capacity() <= 2 * AHEAD);
        }
        assert_eq!(connection.recv().await.expect("a clean end"), None);
    }

    #[tokio::test]
    async fn receiving_survives_being_cancelled() {
        let (mut connection, mut peer) = connection();
        let bytes = frame(4, 29).to_bytes();
        for half in [&bytes[..11], &bytes[11..20]] {
            peer.write_all(half).await.expect("it fits");
            let mut recv = std::pin::pin!(connection.recv());
            let polled = futures_now(recv.as_mut()).await;
            assert!(polled.is_none(), "the frame is not whole");
        }
        peer.write_all(&bytes[20..]).await.expect("it fits");
        let received = connection.recv().await.expect("a whole frame");
        assert_eq!(received, Some(frame(4, 29)));
    }

    #[tokio::test]
    async fn a_frame_cut_inside_says_how_much_of_it_came() {
        let (mut connection, mut peer) = connection();
        peer.write_all(&frame(4, 29).to_bytes()[..20])
            .await
            .expect("it fits");
        drop(peer);
        let error = connection.recv().await.expect_err("a cut frame");
        assert!(matches!(
            error,
            ConnectionError::CutInside { have: 20, want: 37 }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_never_completes_is_given_up() {
        let (mut connection, mut peer) = connection();
        peer.write_all(&[8, 0, 0]).await.expect("it fits");
        let error = connection.recv().await.expect_err("a stalled header");
        assert!(matches!(
            error,
            ConnectionError::Stalled {
                have: 3,
                want: 8,
                after: FRAME_DEADLINE
            }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_now_and_then_does_not_move_the_deadline() {
        let (mut connection, mut peer) = connection();
        tokio::spawn(async move {
            for byte in frame(4, 29).to_bytes() {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if peer.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        });
        let error = connection.recv().await.expect_err("too slow");
        assert!(matches!(error, ConnectionError::Stalled { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_frames_is_no_error() {
        let (mut connection, mut peer) = connection();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            peer.write_all(&frame(6, 0).to_bytes())
                .await
                .expect("it fits");
        });
        let received = connection.recv().await.expect("a late frame");
        assert_eq!(received, Some(frame(6, 0)));
    }

    #[tokio::test]
    async fn a_stranger_may_not_announce_more_than_a_hello() {
        let (mut connection, mut peer) = connection();
        peer.write_all(&[8, 0, 0, 0, 1, 16, 0, 0])
            .await
            .expect("it fits");
        let error = connection.recv().await.expect_err("too long");
        assert!(matches!(
            error,
            ConnectionError::Decode(DecodeError::TooLong {
                id: 8,
                length: 4097,
                limit: 4096
            })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (mut connection, _peer) = connection();
        let error = connection
            .send(&frame(7, 5000))
            .await
            .expect_err("nobody reads");
        assert!(matches!(
            error,
            ConnectionError::Blocked {
                after: WRITE_DEADLINE
            }
        ));
    }

    /// What a future has after one poll.
    async fn futures_now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
