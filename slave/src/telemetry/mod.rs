//! What a slave says about itself: where its shards stand, what it counted, how busy it
//! is and what it hears of Discord. Nothing here decides anything.

mod checkpoints;
mod counters;
mod fullness;
mod hearing;
mod lag;
mod memory;
mod stores;

use std::time::Duration;

pub use self::counters::Counts;
pub(crate) use self::{
    checkpoints::{Checkpoints, Oldest, Position, Standing},
    counters::Counters,
    fullness::{Full, Fullness, Why},
    hearing::{Hearing, Listening},
    lag::{Lag, Samples},
    memory::Memory,
    stores::{HeldUp, Stores},
};

/// Milliseconds, as they are said.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
