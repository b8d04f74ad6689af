//! How the conduit comes to have as many shards as it is to have.
//!
//! ```text
//! more:   new units open sessions ─▶ the conduit grows shard by shard, each to its session
//! fewer:  the conduit shrinks ─▶ the last units hear what was on its way, and rest
//! ```
//!
//! Which channels a shard has is Twitch's matter, and Twitch takes shards away from the end: so
//! it is always the last unit that goes, whatever its load.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use baton_protocol::message::Correspondent;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    desk::{Open, Ways, unix},
    question::refused,
};
use crate::{notices::Kind, unit::FromUnit};

/// A conduit is given so many shards at once, at most.
const AT_ONCE: u32 = 10;

/// New units have so long to open their sessions; an operator waits for longer.
const SESSIONS: Duration = Duration::from_secs(6);

/// After the conduit could not be changed, so long later.
const AGAIN: Duration = Duration::from_secs(60);

/// Questions of operators that wait while units open their sessions.
const MOST_LATER: usize = 256;

/// What waits for something.
#[derive(Default)]
pub(super) struct Resizing {
    /// Questions that came while units opened their sessions.
    later: VecDeque<(Correspondent, Bytes)>,
    /// It failed: not before this.
    again: Option<Instant>,
}

impl Resizing {
    /// The next question that came meanwhile.
    pub(super) fn next(&mut self) -> Option<(Correspondent, Bytes)> {
        self.later.pop_front()
    }
}

impl Open {
    /// The conduit's shards follow the channels, unless an operator's number holds. Whether
    /// there is more to do at once.
    pub(super) async fn resizes(&mut self, channels: usize) -> bool {
        let waits = self.resizing.again.is_some_and(|at| Instant::now() < at);
        let Ways::Conduit(way) = &mut self.ways else {
            return false;
        };
        // Until a master said how many units there are, there are none.
        if waits || way.office().units() == 0 {
            return false;
        }
        let channels = u64::try_from(channels).unwrap_or(u64::MAX);
        let resized = match way.wanted(channels, unix()).await {
            Ok((has, wanted)) if has == wanted => return false,
            Ok((_, wanted)) => self.nearer(wanted).await.map(|has| has != wanted),
            Err(error) => Err(error),
        };
        self.resizing.again = None;
        resized.unwrap_or_else(|error| {
            tracing::warn!(
                error,
                again = ?AGAIN,
                "the conduit cannot be given the shards that it is to have"
            );
            self.resizing.again = Some(Instant::now() + AGAIN);
            false
        })
    }

    /// An operator says how many shards there are to be.
    pub(super) async fn holds(&mut self, number: u32) -> Result<(), String> {
        let Ways::Conduit(way) = &mut self.ways else {
            return Ok(());
        };
        let most = way.office().units();
        if number == 0 || number > most {
            return Err(format!("a conduit of this bot has 1 to {most} units"));
        }
        way.hold(number, unix()).await?;
        self.resizing.again = Some(Instant::now() + AGAIN);
        while self.nearer(number).await? != number {}
        self.resizing.again = None;
        Ok(())
    }

    /// Gives the conduit so many shards, or some of them: each session waits for its shard for a
    /// few seconds only. How many it has then.
    async fn nearer(&mut self, number: u32) -> Result<u32, String> {
        let Ways::Conduit(way) = &mut self.ways else {
            return Ok(number);
        };
        let before = way.shards().await?;
        let next = number.min(before.saturating_add(AT_ONCE));
        let sessions = self.sessions(before.min(next)..next).await?;
        if let Ways::Conduit(way) = &mut self.ways {
            way.resize(next, &sessions).await?;
        }
        if next != before {
            let kind = match next > before {
                true => Kind::ScaledOut,
                false => Kind::ScaledIn,
            };
            let what = format!("{next} units instead of {before}");
            self.tidings.note(kind, &what);
        }
        Ok(next)
    }

    /// The sessions of these units, which come: each is open before the conduit is larger, so
    /// no message goes to a shard that nobody serves.
    async fn sessions(&mut self, come: Range<u32>) -> Result<BTreeMap<u32, String>, String> {
        let Ways::Conduit(way) = &self.ways else {
            return Ok(BTreeMap::new());
        };
        way.announces(come.clone());
        let office = way.office().clone();
        let until = Instant::now() + SESSIONS;
        let mut sessions = BTreeMap::new();
        while sessions.len() < come.len() {
            let Ok((from, body)) = timeout_at(until, office.letter()).await else {
                let (open, all) = (sessions.len(), come.len());
                return Err(format!(
                    "{open} of {all} new units opened a session: the conduit is left as it is, and \
                     is tried again"
                ));
            };
            match from {
                Correspondent::Unit(unit) => match serde_json::from_slice(&body) {
                    Ok(FromUnit::Session(id)) if come.contains(&unit.get()) => {
                        sessions.insert(unit.get(), id);
                    }
                    _ => self.hears(unit.get(), &body).await,
                },
                Correspondent::Operator(_) if self.resizing.later.len() < MOST_LATER => {
                    self.resizing.later.push_back((from, body));
                }
                Correspondent::Operator(_) => {
                    let busy = refused("the units are being changed: ask again");
                    office.write(from, busy.to_string().into());
                }
                Correspondent::Work => {}
            }
        }
        Ok(sessions)
    }
}
