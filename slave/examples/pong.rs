//! The smallest bot: it logs each message.
//!
//! ```sh
//! DISCORD_TOKEN=... BATON_MASTER=unix:/run/baton/slave.sock cargo run --example pong
//! ```
//!
//! A master starts it too: `baton-master deploy -- target/debug/examples/pong`.

use baton_slave::{Ack, Bot, Error, Event, ShardHandle, Slave, SlaveConfig};

struct Pong;

impl Bot for Pong {
    fn handle(&self, event: Event, ack: Ack, _shard: &ShardHandle) {
        if event.kind() != "MESSAGE_CREATE" {
            return; // `ack` is dropped: the event is finished.
        }
        tokio::spawn(async move {
            // Slow work; later events of the shard do not wait for it.
            tracing::info!(guild = event.guild_id(), "a message");
            drop(ack);
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let _log = baton_slave::log::start();
    let mut config = SlaveConfig::from_env()?; // DISCORD_TOKEN, BATON_MASTER, ...
    config.intents = 1 << 9; // GUILD_MESSAGES
    Slave::builder(Pong).config(config).run().await
}
