//! What is said for services other than Discord: permits that have names, and what the once-per-bot
//! work and the units say to each other.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::ShardId;

/// Id 42, slave → master: this process needs so many permits of this name (`join/LOGIN` say).
/// It takes the place of what the slave asked for before, and is said again on every new
/// connection. Answer: [`PermitsLeased`], when it is their turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PermitsWanted {
    /// Their name; at most [`MAX_PERMIT`] bytes.
    pub name: String,
    /// How many it waits for; `0`: none any more.
    pub count: u32,
}

/// Id 43, master → slave: so many permits of this name are this process' own. One that is not
/// used within [`PermitsLeased::valid_ms`] is void.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PermitsLeased {
    /// Their name.
    pub name: String,
    /// How many. `0`: the master knows no such permit.
    pub count: u32,
    /// For how long, from when this is read.
    pub valid_ms: u64,
}

/// Longer names of permits are refused.
pub const MAX_PERMIT: usize = 64;

/// Id 44, both ways: a letter between the once-per-bot work, a unit and an operator, whose text
/// no master reads. It is delivered at most once, and not kept: who writes again until an
/// answer comes loses nothing.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Post {
    /// Who wrote it. The master puts in what is true.
    pub from: Correspondent,
    /// Who gets it.
    pub to: Correspondent,
    /// What it says; at most [`Post::MAX_BYTES`].
    pub body: Bytes,
}

impl Post {
    /// A longer body is refused.
    pub const MAX_BYTES: usize = 256 * 1024;
}

impl fmt::Debug for Post {
    /// Without the body, which is the bot's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// Who writes a [`Post`], or gets one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correspondent {
    /// The once-per-bot work, wherever it runs.
    #[default]
    Work,
    /// A unit, wherever it is served.
    Unit(ShardId),
    /// An operator who asked this question.
    Operator(u64),
}
