//! Knows its guilds, and knows them still after a deploy: twilight's cache moves with
//! the shards.

use std::sync::Arc;

use baton_slave::{
    Ack, Bot, Error, Event, Intents, ShardHandle, Slave, SlaveConfig, StateStatus, cache::Cache,
    twilight_model::gateway::event::EventType,
};

struct Counts {
    cache: Arc<Cache>,
}

impl Bot for Counts {
    // Called behind the change of the cache. What is quick needs no task.
    fn handle(&self, event: Event, _ack: Ack, _shard: &ShardHandle) {
        if event.event_type() != Some(EventType::MemberAdd) {
            return;
        }
        if let Some(guild) = event.guild_id() {
            let members = self.cache.inner().stats().guild_members(guild);
            tracing::info!(%guild, members, "one more");
        }
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        if status == StateStatus::Lost {
            // The process before died, and there was no snapshot.
            let shard = shard.shard();
            tracing::warn!(%shard, "guilds are unknown until Discord sends them again");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let config = SlaveConfig::from_env()?.with_intents(Intents::GUILDS | Intents::GUILD_MEMBERS);
    let cache = Arc::new(Cache::new());
    let bot = Counts {
        cache: Arc::clone(&cache),
    };
    Slave::builder(bot).state(cache).config(config).run().await
}
