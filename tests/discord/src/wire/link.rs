//! The lowest layer of a connection: the socket, with the two faults that only
//! a socket can have.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};

/// Half-open sockets kept at most; the oldest is closed for the next.
const CUT_SOCKETS: usize = 4096;

// A state of zero is a link that is whole.
const RESET: u8 = 1;
const CUT: u8 = 2;

/// Sockets of connections that were cut: open for ever, silent for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graveyard(Arc<Mutex<VecDeque<TcpStream>>>);

impl Graveyard {
    fn bury(&self, socket: TcpStream) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.len() == CUT_SOCKETS {
            sockets.pop_front();
        }
        sockets.push_back(socket);
    }

    /// Closes all of them.
    pub(crate) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Tells a link from above what becomes of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkControl(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    state: AtomicU8,
    changed: Notify,
}

impl LinkControl {
    /// The socket is closed with an RST as soon as it is dropped; a delay line
    /// drops it at once.
    pub(crate) fn reset(&self) {
        self.set(RESET);
    }

    /// From now on no byte gets through in either direction, and the client is
    /// not told.
    pub(crate) fn cut(&self) {
        self.set(CUT);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state() == CUT
    }

    /// Completes when the connection is to be reset.
    pub(crate) async fn until_reset(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.state() == RESET {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, state: u8) {
        self.0.state.store(state, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }
}

/// A socket that can be reset and cut.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Option<TcpStream>,
    control: LinkControl,
    graveyard: Graveyard,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, control: LinkControl, graveyard: Graveyard) -> Self {
        Self {
            socket: Some(socket),
            control,
            graveyard,
        }
    }

    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.control.state() == RESET {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        match &mut self.socket {
            Some(socket) => Ok(Pin::new(socket)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        match self.control.state() {
            RESET => {
                // A linger time of zero turns the close into an RST.
                let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
            }
            CUT => self.graveyard.bury(socket),
            _ => {}
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.control.is_cut() {
            return Poll::Pending;
        }
        self.open()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.control.is_cut() {
            return Poll::Ready(Ok(buf.len()));
        }
        self.open()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.control.is_cut() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        self.open()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.is_cut() {
            return Poll::Ready(Ok(()));
        }
        self.open()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.control.is_cut() {
            return Poll::Ready(Ok(()));
        }
        self.open()?.poll_shutdown(cx)
    }
}
