//! What the history says of deploys.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::news::Brought;

/// The deploy that runs, for a client that starts to look in the middle of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Underway {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// Its command, and the one before.
    #[serde(flatten)]
    pub brought: Brought,
    /// The build that serves the slot when it begins; absent: none does.
    pub from: Option<String>,
    /// The build that its shards go to; absent: it has not joined yet.
    pub to: Option<String>,
    /// When it began, in microseconds of the host's monotonic clock, as events are
    /// told.
    pub began_us: u64,
    /// For how long it has run.
    pub took_ms: u64,
    /// When the first shard was to seal, and when the last one served again, as
    /// `began_us`; absent: none was sealed.
    pub migrates_us: Option<(u64, u64)>,
    /// Shards that were sealed and serve again, at the new slave or taken back.
    pub handed_over: u32,
    /// The longest gap so far; absent: no shard was sealed.
    pub slowest: Option<Slowest>,
    /// When each step began.
    pub steps: Vec<StepAt>,
}

/// A gap, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slowest {
    /// The shard.
    pub shard: u32,
    /// For how long it had no owner, in milliseconds.
    pub ms: f64,
}

/// A deploy that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployed {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// The build that served the slot when it began; absent: none did.
    pub from: Option<String>,
    /// The build that its shards were to go to; absent: it never joined.
    pub to: Option<String>,
    /// Its command, and the one before.
    #[serde(flatten)]
    pub brought: Brought,
    /// `done`, `aborted`, `rolled_back`, `forced`, `handed_on`.
    pub outcome: Cow<'static, str>,
    /// Why, where it was not `done`.
    pub reason: Option<String>,
    /// The outcome with the reason, for a person.
    pub text: String,
    /// Sessions that its slot lost meanwhile, each with a span of events.
    pub sessions_lost: u32,
    /// Events that were given up alone meanwhile.
    pub events_given_up: u32,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: u64,
    /// From the trigger to the end.
    pub took_ms: u64,
    /// From the first seal to the last RESUMED.
    pub migrating_ms: u64,
    /// Shards that the new slave served then.
    pub shards: u32,
    /// The longest gap of each shard that was sealed, ascending, in milliseconds.
    pub gaps_ms: Vec<f64>,
    /// When each step began.
    pub steps: Vec<StepAt>,
}

/// When a step of a deploy began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepAt {
    /// Milliseconds after the trigger.
    pub at_ms: u64,
    /// Which.
    pub step: Cow<'static, str>,
}

/// The deploy that ended last, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LastDeploy {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// `done`, `aborted`, `rolled_back`, `forced`, `handed_on`.
    pub outcome: Cow<'static, str>,
    /// The same with the reason, for a person.
    pub text: String,
    /// Sessions that its slot lost meanwhile, each with a span of events.
    pub sessions_lost: u32,
    /// Events that were given up alone meanwhile.
    pub events_given_up: u32,
    /// Shards that the new slave served then.
    pub moved: u32,
    /// From the first seal to the last RESUMED, in milliseconds.
    pub migrating_ms: u64,
    /// From the trigger to the end.
    pub total_ms: u64,
    /// How long ago it ended.
    pub ended_ms_ago: u64,
    /// For how long its shards had no owner; absent: none was sealed.
    pub gap: Option<Gaps>,
}

/// The gaps of the shards of a deploy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// Of how many shards.
    pub shards: u32,
    /// Half of them were shorter, in milliseconds.
    pub p50_ms: u64,
    /// All but one in a hundred were shorter.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl Deployed {
    /// For how long its shards had no owner; `None`: none was sealed.
    #[must_use]
    pub fn spread(&self) -> Option<Gaps> {
        spread(&self.gaps_ms)
    }

    /// Whether what it brought serves.
    #[must_use]
    pub fn came_through(&self) -> bool {
        self.outcome == "done" || self.outcome == "forced"
    }
}

/// Of gaps that ascend.
pub(super) fn spread(gaps_ms: &[f64]) -> Option<Gaps> {
    let last = gaps_ms.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates"
    )]
    let at = |percent: usize| gaps_ms[(last * percent).div_ceil(100)] as u64;
    Some(Gaps {
        shards: u32::try_from(gaps_ms.len()).unwrap_or(u32::MAX),
        p50_ms: at(50),
        p99_ms: at(99),
        max_ms: at(100),
    })
}
