//! What a slave says about itself.

use baton_protocol::{ShardId, SlaveId, discord, message::Holding};
use serde::Serialize;

use super::table::{Entry, Table};
use crate::{
    shard::{Context, session},
    telemetry::Counts,
};

/// One shard of a [`Status`].
#[derive(Clone, Debug, Serialize)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u32,
    /// Its epoch here; 0: only a copy of its state is here.
    pub epoch: u64,
    /// `starting`, `resuming`, `serving`, `sealed`, `failed`; null: a copy only.
    pub holding: Option<Holding>,
    /// The first 16 hex digits of the SHA-256 of its session id.
    pub session: Option<String>,
    /// The last dispatch such that it and all before it are finished.
    pub handled: u64,
    /// Finished above `handled`.
    pub finished_above: u64,
}

/// What a slave does right now.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// This run of the slave.
    pub slave: String,
    /// Its build.
    pub build: String,
    /// Its slot.
    pub slot: String,
    /// Whether a master accepted it on the present link.
    pub linked: bool,
    /// The term that it takes orders from.
    pub term: String,
    /// The epoch at which it runs the once-per-bot work; 0: it does not.
    pub work: u64,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
    /// What it counted.
    pub counters: Counts,
}

impl Status {
    /// Without what only an agent knows: link, term and work.
    pub(super) fn of(slave: SlaveId, context: &Context, table: &Table) -> Self {
        let config = &context.config;
        Self {
            slave: slave.to_string(),
            build: config.build.clone(),
            slot: config.slot.clone(),
            linked: false,
            term: String::new(),
            work: 0,
            shards: table
                .entries()
                .map(|(shard, entry)| ShardStatus::of(shard, entry))
                .collect(),
            counters: context.counters.read(),
        }
    }
}

impl ShardStatus {
    fn of(shard: ShardId, entry: &Entry) -> Self {
        Self {
            shard: shard.get(),
            epoch: entry.epoch().get(),
            holding: entry.holding(),
            session: entry.ticket().has_session().then(|| {
                let id = discord::Session::id_of(&entry.ticket().session);
                session::tag(id).to_string()
            }),
            handled: entry.ticket().handled.get(),
            finished_above: entry.ticket().finished_above.count(),
        }
    }
}
