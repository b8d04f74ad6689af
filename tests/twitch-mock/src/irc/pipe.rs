//! The two ways by which IRC travels: TCP, and websocket.

use std::{
    fmt,
    future::Future,
    io::{self, Cursor},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_websockets::{Limits, Message, ServerBuilder, WebSocketStream};

/// Bytes that are read at a time, and the longest message of a websocket.
const READ: usize = 16 * 1024;
/// The longest request for a websocket.
const REQUEST: usize = 8 * 1024;

/// A way for text in both directions.
pub(crate) trait Pipe: Send {
    /// The next piece of text, which may end within a line; `None` at the end. Nothing is
    /// lost when the wait is given up.
    fn recv(&mut self) -> impl Future<Output = io::Result<Option<String>>> + Send;

    /// Sends whole lines.
    fn send(&mut self, text: &str) -> impl Future<Output = io::Result<()>> + Send;

    /// Ends it in order.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Makes the end a RST, where there is such a thing.
    fn reset(&mut self);
}

/// A stream that may be able to end with a RST.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {
    /// Makes the end a RST.
    fn reset(&self) {}
}

impl Stream for TcpStream {
    fn reset(&self) {
        // Without it the end is a FIN, which is wrong but no harm.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Stream for tokio::io::DuplexStream {}

/// IRC over TCP.
#[derive(Debug)]
pub(crate) struct Tcp<S> {
    stream: S,
    /// The first bytes of a character that has not come in full.
    begun: Vec<u8>,
    split: usize,
}

impl<S: Stream> Tcp<S> {
    /// Writes pieces of at most `split` bytes; 0 writes whole lines.
    pub(crate) const fn new(stream: S, split: usize) -> Self {
        Self {
            stream,
            begun: Vec::new(),
            split,
        }
    }
}

impl<S: Stream> Pipe for Tcp<S> {
    async fn recv(&mut self) -> io::Result<Option<String>> {
        let mut buffer = [0; READ];
        let read = self.stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        self.begun.extend_from_slice(&buffer[..read]);
        let whole = match std::str::from_utf8(&self.begun) {
            Ok(_) => self.begun.len(),
            // Cut within a character: the rest comes.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.begun.len(),
        };
        let left = self.begun.split_off(whole);
        let text = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun = left;
        Ok(Some(text))
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        let piece = if self.split == 0 {
            text.len().max(1)
        } else {
            self.split
        };
        for part in text.as_bytes().chunks(piece) {
            self.stream.write_all(part).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        // Whoever is gone already needs no end.
        let _ = self.stream.shutdown().await;
    }

    fn reset(&mut self) {
        self.stream.reset();
    }
}

/// IRC over websocket: each message of the server has one or more whole lines.
#[derive(Debug)]
pub(crate) struct WebSocket<S>(WebSocketStream<S>);

/// A stream whose first bytes were read already.
#[derive(Debug)]
pub(crate) struct Reread<S> {
    head: Cursor<Vec<u8>>,
    stream: S,
}

impl<S: Stream> WebSocket<Reread<S>> {
    /// Answers the request for a websocket. Whoever asks for the subprotocol `irc` gets
    /// it: some clients end the connection otherwise, others if they did not ask.
    pub(crate) async fn accept(mut stream: S) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if head.len() > REQUEST || stream.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let asked = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let mut builder =
            ServerBuilder::new().limits(Limits::default().max_payload_len(Some(READ)));
        if asked.contains("\r\nsec-websocket-protocol:") {
            builder = builder
                .add_header(
                    http::header::SEC_WEBSOCKET_PROTOCOL,
                    http::HeaderValue::from_static("irc"),
                )
                .map_err(io::Error::other)?;
        }
        let stream = Reread {
            head: Cursor::new(head),
            stream,
        };
        let accepted = builder.accept(stream).await.map_err(io::Error::other)?;
        Ok(Self(accepted.1))
    }
}

impl<S: Stream> Pipe for WebSocket<Reread<S>> {
    async fn recv(&mut self) -> io::Result<Option<String>> {
        loop {
            let Some(message) = self.0.next().await else {
                return Ok(None);
            };
            let message = message.map_err(io::Error::other)?;
            if message.is_close() {
                return Ok(None);
            }
            if let Some(text) = message.as_text() {
                // Each message ends a line, with or without its end.
                return Ok(Some(format!("{text}\n")));
            }
        }
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        let message = Message::text(text.to_owned());
        self.0.send(message).await.map_err(io::Error::other)
    }

    async fn close(&mut self) {
        let _ = self.0.close().await;
    }

    fn reset(&mut self) {
        self.0.get_ref().stream.reset();
    }
}

mod reread {
    //! Reading begins with what was read already.

    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::{Reread, Stream};

    impl<S: Stream> AsyncRead for Reread<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let at = usize::try_from(self.head.position()).unwrap_or(usize::MAX);
            if at < self.head.get_ref().len() {
                return Pin::new(&mut self.head).poll_read(cx, into);
            }
            Pin::new(&mut self.stream).poll_read(cx, into)
        }
    }

    impl<S: Stream> AsyncWrite for Reread<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
