//! What a connection has yielded and nobody looked at yet: of one that is held, what is read
//! ahead, and what was put back.

use std::{future::poll_fn, pin::pin, task::Poll};

use super::{End, Gateway, Incoming};

/// What [`Gateway::buffer`] took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Buffered {
    Something,
    /// RESUMED is behind everything that was missed.
    Resumed,
    /// The connection is over, or holds as much as it may: nothing more will come.
    Nothing {
        why: String,
        /// Whether Discord asked for a pause before the next RESUME.
        pause: bool,
    },
}

/// Dispatches that a connection buffers, at most: more than Discord replays, and
/// what comes within seconds.
const MOST_BUFFERED: usize = 8192;

/// Bytes of them, at most.
const MOST_BUFFERED_BYTES: usize = 32 << 20;

impl Gateway {
    /// The next thing that the connection yields; pending for ever once it is
    /// over. Heartbeats leave only in here. Survives being cancelled.
    pub(crate) async fn next(&mut self) -> Incoming {
        match self.buffer.pop_front() {
            Some(incoming) => incoming,
            None => self.read().await,
        }
    }

    /// Buffers the next thing that the connection yields for [`next`](Self::next).
    /// Survives being cancelled.
    pub(crate) async fn buffer(&mut self) -> Buffered {
        let incoming = self.read().await;
        let buffered = match &incoming {
            Incoming::Ended(end) => Buffered::Nothing {
                why: end.to_string(),
                pause: matches!(end, End::InvalidSession { .. }),
            },
            Incoming::Dispatch { kind, json, .. } => {
                self.buffer_bytes += json.len();
                if self.buffer.len() >= MOST_BUFFERED || self.buffer_bytes > MOST_BUFFERED_BYTES {
                    Buffered::Nothing {
                        why: format!("more than {MOST_BUFFERED} events came"),
                        pause: false,
                    }
                } else if &**kind == "RESUMED" {
                    Buffered::Resumed
                } else {
                    Buffered::Something
                }
            }
            Incoming::Hello | Incoming::Alive => return Buffered::Something,
        };
        self.buffer.push_back(incoming);
        buffered
    }

    /// What came and was not looked at, without waiting: dispatches of one session, `most` at
    /// the most. They are to be [put back](Self::put_back).
    pub(crate) async fn take_ready(&mut self, most: usize) -> Vec<Incoming> {
        while self.buffer.len() < most && self.fetch().await {}
        let of_session = |incoming: &&Incoming| matches!(incoming, Incoming::Dispatch { kind, .. } if &**kind != "READY");
        let ready = self.buffer.iter().take(most).take_while(of_session).count();
        self.buffer.drain(..ready).collect()
    }

    /// These are looked at next.
    pub(crate) fn put_back(&mut self, incoming: Vec<Incoming>) {
        for incoming in incoming.into_iter().rev() {
            self.buffer.push_front(incoming);
        }
    }

    /// What was put back, or came before it was wanted.
    pub(crate) fn take_back(&mut self) -> Option<Incoming> {
        self.buffer.pop_front()
    }

    /// Sends what waits to be sent: an IDENTIFY whose permit came. What comes meanwhile
    /// is kept for [`next`](Self::next).
    pub(crate) async fn push(&mut self) {
        self.fetch().await;
    }

    /// Reads once, without waiting. False: nothing came.
    async fn fetch(&mut self) -> bool {
        let came = {
            let mut read = pin!(self.read());
            poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
        };
        let Poll::Ready(incoming) = came else {
            return false;
        };
        self.buffer.push_back(incoming);
        true
    }
}
