//! Knows its guilds, and knows them still after a deploy and after a crash: they are in
//! memory that all processes of the host see.

use std::sync::Arc;

use baton_slave::{
    Error, Event, Intents, ShardHandle, Slave, SlaveConfig, from_fn_with,
    store::{Guilds, Resources},
    twilight_model::{
        gateway::event::EventType,
        guild::Permissions,
        id::{
            Id,
            marker::{ChannelMarker, UserMarker},
        },
    },
};
use serde::Deserialize;

/// Who wrote where.
#[derive(Deserialize)]
struct Message {
    author: Author,
    channel_id: Id<ChannelMarker>,
}

#[derive(Deserialize)]
struct Author {
    id: Id<UserMarker>,
}

async fn look_up(store: Arc<Guilds>, event: Event, _shard: ShardHandle) {
    if event.event_type() != Some(EventType::MessageCreate) {
        return;
    }
    let (Some(guild), Ok(message)) = (event.guild_id(), event.data::<Message>()) else {
        return;
    };
    let (user, channel) = (message.author.id, message.channel_id);
    let member = store.member(guild, user);
    let nick = member.as_ref().and_then(|member| member.get().text("nick"));
    let may = store.permissions_in(user, channel);
    tracing::info!(
        %guild, nick = ?nick,
        moderates = may.is_some_and(|may| may.contains(Permissions::MANAGE_MESSAGES)),
        "a message"
    );
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let intents = Intents::GUILDS | Intents::GUILD_MEMBERS | Intents::GUILD_MESSAGES;
    let config = SlaveConfig::from_env()?.with_intents(intents);
    let store = Guilds::new().with_resources(Resources::default() - Resources::PRESENCE);
    let bot = from_fn_with(Arc::new(store.clone()), look_up);
    Slave::builder(bot).store(store).config(config).run().await
}
