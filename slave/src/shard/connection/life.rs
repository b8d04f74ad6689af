//! What one connection knows of itself.

use baton_protocol::{Sequence, ShardId};
use tokio::time::{Duration, Instant};

use crate::{
    shard::backoff::Wait,
    telemetry::{Full, Fullness, Hearing, Listening, Why},
};

/// The master hears so often that the slave waits for an answer, on a connection that is
/// open or in a pause that Discord asks for: limits that have grown are longer than its own.
pub(in crate::shard) const TELL_WAITING: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Dialling,
    Replaying,
    Waiting,
    Serving,
}

pub(super) struct Life {
    pub(super) stage: Stage,
    /// When what is waited for was asked for, or when something came last.
    pub(super) asked: Instant,
    /// When the stage is given up.
    pub(super) deadline: Option<Instant>,
    /// When it is said next that it is waited for.
    pub(super) tell_at: Option<Instant>,
    /// Since when nothing is taken, and why.
    pub(super) full_since: Option<(Instant, Full)>,
    /// When a replay is given up, however far it is.
    pub(super) replay_until: Instant,
    pub(super) replayed: u64,
    /// Since when RESUMED is waited for.
    pub(super) resumes_since: Instant,
    /// Behind what it resumes.
    pub(super) from: Sequence,
    pub(super) told: Instant,
    /// Whether it was dialled ahead.
    pub(super) ahead: bool,
    /// Whether it resumed before its ticket was made.
    pub(super) overtook: bool,
    /// While it serves and is polled.
    pub(super) listening: Option<Listening>,
}

impl Life {
    pub(super) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            stage: Stage::Dialling,
            asked: now,
            deadline: Some(now + limit),
            tell_at: Some(now + TELL_WAITING),
            full_since: None,
            replay_until: now,
            replayed: 0,
            resumes_since: now,
            from: Sequence(0),
            told: now,
            ahead: false,
            overtook: false,
            listening: None,
        }
    }

    /// What passed when its deadline did.
    pub(super) fn passed(&self) -> Option<Wait> {
        match self.stage {
            Stage::Dialling => Some(Wait::Hello),
            Stage::Replaying if Instant::now() >= self.replay_until => Some(Wait::Resumed),
            Stage::Replaying => Some(Wait::Progress),
            Stage::Waiting => Some(Wait::Ready),
            Stage::Serving => None,
        }
    }

    /// Nothing is taken from now on, or something is.
    pub(super) fn is_full(&mut self, why: Option<Why>, fullness: &Fullness) {
        self.full_since = match (self.full_since.take(), why) {
            (_, None) => None,
            (Some((since, full)), Some(why)) if full.why() == why => Some((since, full)),
            (before, Some(why)) => {
                let since = before.map_or_else(Instant::now, |(since, _)| since);
                Some((since, fullness.begin(why)))
            }
        };
    }

    /// Whether nothing was read for so long.
    pub(super) fn is_crowded(&self, limit: Duration) -> bool {
        let since = self.full_since.as_ref().map(|(since, _)| *since);
        since.is_some_and(|since| since.elapsed() >= limit)
    }

    /// It was dialled ahead, and nothing came on it since.
    pub(super) const fn is_untried(&self) -> bool {
        self.ahead && self.replayed == 0
    }

    pub(super) fn serves(&mut self) {
        self.stage = Stage::Serving;
        self.deadline = None;
        self.tell_at = None;
    }

    /// While nothing is read, silence says nothing of Discord.
    pub(super) fn listens(&mut self, polled: bool, hearing: &Hearing, shard: ShardId) {
        if !polled || self.stage != Stage::Serving {
            self.listening = None;
        } else if self.listening.is_none() {
            self.listening = Some(hearing.listen(shard));
        }
    }
}
