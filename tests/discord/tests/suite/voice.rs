//! The voice gateway.

use baton_discord::DiscordConfig;
use serde_json::{Value, json};

use crate::common::{Client, start};

/// What the bot was told of its channel: guild, session, and where with which token.
struct Told {
    guild: String,
    state: Value,
    server: Value,
}

async fn joins(bot: &mut Client, ready: &Value, discord: &baton_discord::Discord) -> Told {
    let guild = ready["d"]["guilds"][0]["id"].as_str().unwrap().to_owned();
    let truth = discord.truth_guild(guild.parse().unwrap()).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let mut channels = truth["guild"]["channels"].as_array().unwrap().iter();
    let channel = &channels.find(|channel| channel["type"] == 2).unwrap()["id"];
    let ask =
        json!({"guild_id": guild, "channel_id": channel, "self_mute": false, "self_deaf": false});
    bot.send(json!({"op": 4, "d": ask})).await;
    let state = bot.event("VOICE_STATE_UPDATE").await["d"].clone();
    let server = bot.event("VOICE_SERVER_UPDATE").await["d"].clone();
    Told {
        guild,
        state,
        server,
    }
}

impl Told {
    async fn open(&self) -> Client {
        let endpoint = self.server["endpoint"].as_str().unwrap();
        let mut client = Client::open_url(&format!("ws://{endpoint}/?v=8"), "").await;
        assert_eq!(client.payload().await["op"], 8);
        client
    }

    fn identify(&self) -> Value {
        json!({
            "server_id": self.guild, "user_id": self.state["user_id"],
            "session_id": self.state["session_id"], "token": self.server["token"],
        })
    }
}

#[tokio::test]
async fn a_voice_connection_is_for_who_knows_what_the_bot_was_told_and_ends_when_the_bot_leaves() {
    let discord = start(DiscordConfig::quick()).await;
    let (mut bot, ready) = Client::ready(&discord.url(), (0, 1)).await;
    let told = joins(&mut bot, &ready, &discord).await;

    let mut early = told.open().await;
    early.send(json!({"op": 1, "d": {}})).await;
    assert_eq!(early.end().await, 4003);
    for (field, wrong, code) in [
        ("token", "0000000000000000", 4004),
        ("session_id", "00000000000000000000000000000000", 4006),
        ("user_id", "1", 4006),
        ("server_id", "1", 4011),
    ] {
        let mut client = told.open().await;
        let mut identify = told.identify();
        identify[field] = wrong.into();
        client.send(json!({"op": 0, "d": identify})).await;
        assert_eq!(client.end().await, code, "{field}");
    }

    let mut client = told.open().await;
    client.send(json!({"op": 0, "d": told.identify()})).await;
    let ready = client.payload().await;
    assert_eq!(ready["op"], 2);
    let mode = &ready["d"]["modes"][0];
    let select =
        json!({"protocol": "udp", "data": {"address": "127.0.0.1", "port": 1, "mode": mode}});
    client.send(json!({"op": 1, "d": select})).await;
    assert_eq!(client.payload().await["op"], 4);
    client.send(json!({"op": 3, "d": {"t": 7}})).await;
    assert_eq!(client.payload().await, json!({"op": 6, "d": {"t": 7}}));
    bot.close(1000).await;
    assert_eq!(client.end().await, 4014);
}
