//! What comes in.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tokio_websockets::Message;

use super::{Connection, Phase};
use crate::wire::{end::End, payload::Payload};

/// Payloads that a client may send in a minute, heartbeats left out: it is asked for those.
const PER_MINUTE: usize = 120;
const MINUTE: Duration = Duration::from_secs(60);

/// A client says which events it has handled. None of Discord's.
const HANDLED: u64 = 1000;

/// When the payloads of the last minute came.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Instant>);

impl Pace {
    /// Counts one; `false`: it is one too many.
    fn count(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|at| now - *at >= MINUTE) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len() <= PER_MINUTE
    }
}

impl Connection {
    pub(super) async fn receive(&mut self, message: Message) -> Result<(), End> {
        if let Some((code, _)) = message.as_close() {
            return Err(End::Client(code.into()));
        }
        if !message.is_text() && !message.is_binary() {
            return Ok(());
        }
        let Payload { op, data } = Payload::read(message.as_payload())?;
        match op {
            1 => return self.heartbeat(&data).await,
            HANDLED => return self.handled(&data),
            _ if !self.pace.count(Instant::now()) => {
                return Err(End::close(
                    4008,
                    "rate limited: more than 120 payloads in 60 s",
                ));
            }
            _ => {}
        }
        match (op, &self.phase) {
            (2, Phase::Waiting) => self.identify(&data).await,
            (6, Phase::Waiting) => self.resume(&data).await,
            (2 | 6, _) => Err(End::close(4005, "already authenticated")),
            (3 | 4 | 8 | 31 | 43, Phase::Waiting | Phase::Arriving(..) | Phase::Settling(..)) => {
                Err(End::close(
                    4003,
                    "not authenticated: IDENTIFY or RESUME comes first",
                ))
            }
            (3 | 4 | 8 | 31 | 43, Phase::Greeting(_) | Phase::Live(_) | Phase::Leaving { .. }) => {
                self.command(op, &data)
            }
            (_, _) => Err(End::because(4001, format!("unknown opcode {op}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_has_room_for_a_hundred_and_twenty() {
        let mut pace = Pace::default();
        assert!((0..PER_MINUTE).all(|_| pace.count(Instant::now())));
        assert!(!pace.count(Instant::now()));
        advance(MINUTE).await;
        assert!(pace.count(Instant::now()));
    }
}
