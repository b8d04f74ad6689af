//! The bodies of ids 2, 3, 4, 5 and 8: the fields of the Go wire under their Go names.
//!
//! What Baton adds to a body is under the one key `Baton`, which a Go decoder
//! ignores and a Go encoder never writes. Without it a body is, byte for byte,
//! the Go wire's.
//!
//! The Go decoder takes nil for a zero number or an empty string, refuses it for
//! a truth value, fills a missing key with zero and ignores an unknown key; so do
//! these types.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    body::millis,
    id::{DeployId, Epoch, Sequence},
    message::ResumeAfter,
    ranges::SequenceRanges,
};

/// Id 8.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HelloBody<B> {
    #[serde(rename = "Running")]
    pub(super) running: bool,
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub(super) baton: Option<B>,
}

/// Id 2. The Go wire's has no body at all.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StartBody<B> {
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub(super) baton: Option<B>,
}

/// Id 3, both ways.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MigrationBody<B> {
    #[serde(rename = "FromThisSlave")]
    pub(super) from_this_slave: bool,
    #[serde(rename = "NumShards", deserialize_with = "nil_is_default")]
    pub(super) shards: u32,
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub(super) baton: Option<B>,
}

/// Ids 4 and 5, both ways.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SessionBody<B> {
    #[serde(rename = "Shard", deserialize_with = "nil_is_default")]
    pub(super) shard: u32,
    #[serde(rename = "SessionID", deserialize_with = "nil_is_default")]
    pub(super) session_id: String,
    #[serde(rename = "Sequence", deserialize_with = "nil_is_default")]
    pub(super) sequence: u64,
    #[serde(rename = "Baton", skip_serializing_if = "Option::is_none")]
    pub(super) baton: Option<B>,
}

/// What a 3 says beyond the Go wire.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Migrating {
    pub(super) deploy: DeployId,
}

/// What a 4 says beyond the Go wire: the order has no ticket, the answer has one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sealing<T> {
    pub(super) epoch: Epoch,
    #[serde(rename = "drain_ms", with = "millis")]
    pub(super) drain: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) begins: Option<Sequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<T>,
}

/// What a 5 says beyond the Go wire: the order has a ticket, the answer has none.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Resuming<T> {
    pub(super) epoch: Epoch,
    pub(super) after: ResumeAfter,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) state_too_old: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) alone: bool,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub(super) deadly: SequenceRanges,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub(super) skipped: SequenceRanges,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<T>,
}

/// Takes nil as the default, as Go does.
fn nil_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
