//! The steps of a deploy and of each migration in it, how it ended and what it cost.

use std::fmt;

use baton_protocol::ShardId;
use serde::{Serialize, Serializer};

/// What a slot lost while it was deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sessions that ended, each with a span of events.
    pub sessions: u32,
    /// Events that were given up alone.
    pub events: u32,
}

impl Losses {
    /// Whether it lost anything.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Losses {
    /// What follows the outcome; nothing where nothing was lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = match self.sessions {
            0 => None,
            1 => Some("1 session was lost, with events in it".to_owned()),
            more => Some(format!("{more} sessions were lost, with events in them")),
        };
        let events = match self.events {
            0 => None,
            1 => Some("1 event was given up".to_owned()),
            more => Some(format!("{more} events were given up")),
        };
        let lost: Vec<String> = sessions.into_iter().chain(events).collect();
        match lost.is_empty() {
            true => Ok(()),
            false => write!(f, ", but {}", lost.join(", and ")),
        }
    }
}

/// Steps of a deploy, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeployStep {
    /// M1: the new slave starts and says hello.
    Starting,
    /// The new slave builds its bot.
    Preparing,
    /// The canary moves.
    Canary,
    /// The other shards move.
    Moving,
    /// An operator holds it: no further shard begins.
    Paused,
    /// The once-per-bot work moves.
    Work,
    /// M7: everything moved, the old slave stays ready.
    Soaking,
    /// The master orders the old slave to leave.
    Retiring,
    /// Shards go back.
    RollingBack,
}

/// Where one migration is (`M2` to `M6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MovePhase {
    /// M2: its state is copied while the old slave serves.
    Copying,
    /// M3: the new slave dials the service while the old one serves.
    Dialling,
    /// Still M3: the next epoch is reserved and the old slave is told to seal. Then M4: its
    /// ticket is on its way.
    Sealing,
    /// M5: the new slave has the ticket.
    Resuming,
    /// M6: the service said RESUMED.
    Moved,
    /// It is being taken back.
    TakingBack,
    /// The old slave serves it again.
    Back,
}

/// How a deploy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every shard moved, the old slave is dead.
    Done,
    /// Nothing had moved.
    Aborted {
        /// Why.
        reason: String,
    },
    /// What had moved is back where it was.
    RolledBack {
        /// The shard that failed, if one did.
        shard: Option<ShardId>,
        /// Why.
        reason: String,
    },
    /// The old slave died on the way; the new one has everything.
    Forced {
        /// Why.
        reason: String,
    },
    /// The master leaves: some shards moved, the next master goes on.
    HandedOn,
}

/// The reason of a deploy that an operator aborted.
pub const STOPPED: &str = "the operator stopped it";

impl Outcome {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled_back",
            Self::Forced { .. } => "forced",
            Self::HandedOn => "handed_on",
        }
    }

    /// Why it ended like this; `None`: there is nothing to say.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Aborted { reason }
            | Self::Forced { reason }
            | Self::RolledBack { reason, .. } => Some(reason),
            Self::Done | Self::HandedOn => None,
        }
    }

    /// The shard that failed, if one did.
    #[must_use]
    pub const fn shard(&self) -> Option<ShardId> {
        match self {
            Self::RolledBack { shard, .. } => *shard,
            Self::Aborted { .. } | Self::Forced { .. } | Self::Done | Self::HandedOn => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Aborted { reason } => write!(f, "aborted before anything moved: {reason}"),
            Self::RolledBack {
                shard: Some(shard),
                reason,
            } => write!(f, "rolled back: shard {shard}: {reason}"),
            Self::RolledBack {
                shard: None,
                reason,
            } => write!(f, "rolled back: {reason}"),
            Self::HandedOn => f.write_str("the master leaves, the next one goes on"),
            Self::Forced { reason } => write!(f, "completed without the old slave: {reason}"),
        }
    }
}

macro_rules! lower_case_names {
    ($type:ident { $($variant:ident => $name:literal),* $(,)? }) => {
        impl $type {
            /// Its name in logs, JSON and on the screen.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

lower_case_names!(DeployStep {
    Starting => "starting",
    Preparing => "preparing",
    Canary => "canary",
    Moving => "moving",
    Paused => "paused",
    Work => "work",
    Soaking => "soaking",
    Retiring => "retiring",
    RollingBack => "rolling back",
});

lower_case_names!(MovePhase {
    Copying => "copying",
    Dialling => "dialling",
    Sealing => "sealing",
    Resuming => "resuming",
    Moved => "moved",
    TakingBack => "taking back",
    Back => "back",
});
