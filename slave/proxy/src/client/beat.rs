//! Heartbeats, and what they acknowledge.
//!
//! A gateway may ask for a heartbeat (op 1), and a client answers at once with the sequence
//! that it received last. So an answer says what has arrived, without the client knowing of
//! it. It may say less than that (a library may answer before it has read what it was sent);
//! then it is asked again.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::{At, Connection};
use crate::{shard::Asking, wire::end::End};

/// How soon one is asked again whose successor waits for the answer.
const SOON: Duration = Duration::from_millis(100);

/// How long a client may be silent.
pub(super) fn patience(heartbeat: Duration) -> Duration {
    heartbeat * 3 / 2
}

/// When a client is asked, and was.
#[derive(Debug, Default)]
pub(super) struct Asked {
    next: Option<Instant>,
    last: Option<Instant>,
}

impl Asked {
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// It is to be asked; `every`: not more often.
    fn plan(&mut self, asking: Asking, every: Duration, now: Instant) {
        self.next = match asking {
            Asking::Not => None,
            Asking::InTurn => Some(self.next.unwrap_or(now + every)),
            Asking::Soon => {
                let soon = self.last.map_or(now, |last| (last + SOON).max(now));
                Some(self.next.map_or(soon, |next| next.min(soon)))
            }
        };
    }

    fn asks(&mut self, now: Instant) {
        self.last = Some(now);
        self.next = None;
    }
}

impl Connection {
    pub(super) async fn heartbeat(&mut self, data: &str) -> Result<(), End> {
        let sequence: Option<u64> = serde_json::from_str(data)
            .map_err(|_| End::undecoded("the d of a heartbeat is a sequence or null"))?;
        let patience = patience(self.shared.config.timings.heartbeat);
        self.beat.as_mut().reset(Instant::now() + patience);
        if let (Some(sequence), Some(at)) = (sequence, self.at()) {
            let asking = at.shard.with(|core| {
                core.heard(at.key, self.id, sequence);
                core.asking(at.key)
            });
            self.plan_asking(asking);
        }
        self.send_plain(11, "null").await
    }

    /// When it is asked next, if it has to be.
    pub(super) fn plan_asking(&mut self, asking: Asking) {
        let every = self.shared.config.timings.ask;
        self.asked.plan(asking, every, Instant::now());
    }

    /// Asks, if that is due.
    pub(super) async fn ask(&mut self, at: &At) -> Result<(), End> {
        let now = Instant::now();
        if self.asked.next().is_none_or(|next| next > now) {
            return Ok(());
        }
        self.asked.asks(now);
        let asking = at.shard.with(|core| core.asking(at.key));
        self.plan_asking(asking);
        if asking == Asking::Not {
            return Ok(());
        }
        self.send_plain(1, "null").await
    }

    /// The client says which events it has handled: a sequence, a list of them, or up to
    /// which one all are.
    pub(super) fn handled(&self, data: &str) -> Result<(), End> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Handled {
            One(u64),
            Some(Vec<u64>),
            Through { through: u64 },
        }
        let handled: Handled = serde_json::from_str(data).map_err(|_| {
            End::undecoded(
                "the d of op 1000 is a sequence, a list of them, or {\"through\": sequence}",
            )
        })?;
        // Of a client that was taken over from it is too late.
        let Some(At { shard, key }) = self.at() else {
            return Ok(());
        };
        shard.with(|core| match handled {
            Handled::One(one) => core.says_handled(key, self.id, one, one),
            Handled::Some(all) => {
                for one in all {
                    core.says_handled(key, self.id, one, one);
                }
            }
            Handled::Through { through } => core.says_handled(key, self.id, 0, through),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_asked_in_turn_and_soon_where_somebody_waits() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        let every = Duration::from_secs(1);
        asked.plan(Asking::InTurn, every, now);
        asked.plan(Asking::InTurn, every, now + SOON);
        assert_eq!(
            asked.next(),
            Some(now + every),
            "more events put nothing off"
        );
        asked.plan(Asking::Soon, every, now);
        assert_eq!(asked.next(), Some(now));
        asked.asks(now);
        asked.plan(Asking::Soon, every, now);
        assert_eq!(asked.next(), Some(now + SOON));
        asked.plan(Asking::Not, every, now);
        assert_eq!(asked.next(), None);
    }
}
