//! A bot with a cache that moves with its shards: it logs how many members a guild has.
//!
//! A deploy copies the cache while the old process serves. With
//! `BATON_SNAPSHOTS=FOLDER` it survives a crash too.

use baton_slave::{
    Ack, Bot, Error, Event, ImportError, Sequence, ShardHandle, ShardId, Slave, SlaveConfig, State,
    cache::Cache,
};
use bytes::Bytes;
use twilight_model::id::Id;

#[derive(Default)]
struct Cached {
    cache: Cache,
}

impl Bot for Cached {
    fn handle(&self, event: Event, _ack: Ack, _shard: &ShardHandle) {
        if let Some(guild) = event.guild_id().and_then(Id::new_checked) {
            let members = self.cache.inner().stats().guild_members(guild);
            tracing::info!(%guild, ?members, kind = event.kind(), "an event");
        }
    }

    fn state(&self, shard: &ShardHandle, state: State) {
        if state == State::Lost {
            tracing::warn!(shard = %shard.shard(), "the guilds of this shard are unknown");
        }
    }

    // The rest forwards to the cache.
    fn apply(&self, event: &Event) {
        self.cache.apply(event);
    }

    fn keeps_state(&self) -> bool {
        true
    }

    fn export(&self, shard: ShardId) -> Vec<u64> {
        self.cache.export(shard)
    }

    fn export_piece(&self, _shard: ShardId, key: u64) -> Option<Bytes> {
        self.cache.export_piece(key)
    }

    fn import_piece(
        &self,
        shard: ShardId,
        key: u64,
        _at: Sequence,
        piece: Bytes,
    ) -> Result<(), ImportError> {
        self.cache.import_piece(shard, key, &piece)
    }

    fn drop_shard_state(&self, shard: ShardId) {
        self.cache.drop_shard(shard);
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let mut config = SlaveConfig::from_env()?;
    config.intents = 1 | 1 << 1; // GUILDS, GUILD_MEMBERS
    Slave::builder(Cached::default()).config(config).run().await
}
