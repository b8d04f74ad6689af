//! Answers `!ping`, through deploys and crashes.
//!
//! ```sh
//! baton-master run --token-file token -- target/debug/examples/pong
//! ```

use std::{error::Error, sync::Arc};

use baton_slave::{Event, Intents, ShardHandle, Slave, SlaveConfig, from_fn_with};
use twilight_http::Client;
use twilight_model::gateway::event::DispatchEvent;

async fn answer(http: Arc<Client>, event: Event, _shard: ShardHandle) {
    if event.kind() != "MESSAGE_CREATE" {
        return; // finished, and not even parsed
    }
    let Ok(DispatchEvent::MessageCreate(message)) = event.parse() else {
        return;
    };
    if message.content == "!ping" {
        let answer = http.create_message(message.channel_id).content("pong");
        if let Err(error) = answer.await {
            tracing::warn!(%error, "not answered");
        }
    }
} // The event is finished here: not before the answer is there.

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let _log = baton_slave::log::start();
    let config = SlaveConfig::from_env()?
        .with_intents(Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT)
        .with_build(env!("CARGO_PKG_VERSION"));
    let http = Arc::new(http(&config)?);
    let bot = from_fn_with(http, answer);
    Slave::builder(bot).config(config).run().await?;
    Ok(())
}

/// Sends to Discord, or where the configuration says: a test with a simulated Discord
/// must not act on real channels.
fn http(config: &SlaveConfig) -> Result<Client, Box<dyn Error>> {
    let http = Client::builder().token(std::env::var("DISCORD_TOKEN")?);
    let Some(url) = config.api_url() else {
        return Ok(http.build());
    };
    let is_plain = url.starts_with("http://");
    let host = url.split_once("://").map_or("", |(_, host)| host);
    Ok(http.proxy(host.to_owned(), is_plain).build())
}
