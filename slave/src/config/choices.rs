//! What an author or an operator chooses between.

use std::str::FromStr;

/// What becomes of a shard whose state was lost with its former owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostState {
    /// Resume: no event is lost, the bot hears [`StateStatus::Lost`](crate::StateStatus).
    #[default]
    Resume,
    /// Ask for a new session: it brings every guild again, and loses a span of
    /// events.
    Identify,
}

/// What becomes of an event that killed each process that had it. Either way the master
/// keeps it in a file, and says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadlyEvent {
    /// It is not handed out any more.
    #[default]
    Skip,
    /// It is handed out once more, and [`Event::is_deadly`](crate::Event::is_deadly) says
    /// what it is. If it kills once more, it is skipped.
    HandOut,
}

impl FromStr for OnDeadlyEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "skip" => Ok(Self::Skip),
            "hand-out" => Ok(Self::HandOut),
            other => Err(format!(
                "on_deadly_event is {other:?}: give skip or hand-out"
            )),
        }
    }
}

/// How state is packed on its way to the next owner of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateCompression {
    /// Packed where it crosses the network between two hosts, as the master says with each
    /// copy; as it is on one host.
    #[default]
    BetweenHosts,
    /// Not at all.
    None,
    /// Each frame as one zstd block, at the level that costs least; on one host too.
    Zstd,
}

impl FromStr for StateCompression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "between-hosts" => Ok(Self::BetweenHosts),
            "none" => Ok(Self::None),
            "zstd" => Ok(Self::Zstd),
            other => Err(format!(
                "state_compression `{other}` is unknown: give between-hosts, none or zstd"
            )),
        }
    }
}
