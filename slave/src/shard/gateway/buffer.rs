//! What a connection has yielded and nobody looked at yet: of one that is held, what is read
//! ahead, and what was put back.

use std::{collections::VecDeque, future::poll_fn, pin::pin, task::Poll};

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

/// How much is taken at once. Guilds come by the hundred, each as large as a thousand other
/// events: they are counted in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Most {
    /// Whether one more would be too much.
    fn is_reached(self, buffer: &VecDeque<Incoming>) -> bool {
        buffer.len() >= self.events || self.fitting(buffer) < buffer.len()
    }

    /// How many of these are taken: dispatches of one session.
    fn of(self, buffer: &VecDeque<Incoming>) -> usize {
        let fitting = buffer.iter().take(self.fitting(buffer));
        fitting.take_while(|incoming| incoming.goes_on()).count()
    }

    fn fitting(self, buffer: &VecDeque<Incoming>) -> usize {
        let mut bytes = 0;
        let fits = |incoming: &&Incoming| {
            bytes += incoming.bytes();
            bytes <= self.bytes
        };
        buffer.iter().take(self.events).take_while(fits).count()
    }
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

    /// What came and was not looked at, without waiting: dispatches of one session, not more
    /// than this. They are to be [put back](Self::put_back).
    pub(crate) async fn take_ready(&mut self, most: Most) -> Vec<Incoming> {
        while !most.is_reached(&self.buffer) && self.fetch().await {}
        let ready = most.of(&self.buffer);
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

#[cfg(test)]
mod tests {
    use baton_protocol::Sequence;

    use super::*;

    fn dispatch(kind: &str, bytes: usize) -> Incoming {
        Incoming::Dispatch {
            sequence: Sequence(1),
            kind: kind.into(),
            json: " ".repeat(bytes),
        }
    }

    #[test]
    fn what_is_taken_at_once_ends_at_its_events_at_its_bytes_and_at_another_session() {
        let most = Most {
            events: 3,
            bytes: 100,
        };
        let small = || dispatch("MESSAGE_CREATE", 10);
        let large = || dispatch("GUILD_CREATE", 70);
        let cases = [
            (vec![], 0, false),
            (vec![small(), small()], 2, false),
            (vec![small(), small(), small(), small()], 3, true),
            (vec![large(), small()], 2, false),
            (vec![large(), large(), small()], 1, true),
            (vec![dispatch("GUILD_CREATE", 101)], 0, true),
            (vec![small(), dispatch("READY", 10), small()], 1, true),
            (vec![small(), Incoming::Alive], 1, false),
        ];
        for (buffer, taken, reached) in cases {
            let buffer = VecDeque::from(buffer);
            let found = (most.of(&buffer), most.is_reached(&buffer));
            assert_eq!(found, (taken, reached), "{buffer:?}");
        }
    }
}
