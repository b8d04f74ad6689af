//! Every kind of dispatch is read by the models of a library that we did not
//! write.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::common::{Client, identify, resume, resume_url, session_of, start};
use baton_discord::{DiscordConfig, EventKind, Traffic};
use serde::de::DeserializeSeed;
use serde_json::{Value, json};
use twilight_model::gateway::event::{DispatchEvent, GatewayEvent, GatewayEventDeserializer};

#[tokio::test]
async fn every_kind_of_dispatch_is_read_by_twilight() {
    let discord = start(DiscordConfig {
        commands_per_minute: 10_000,
        ..DiscordConfig::quick()
    })
    .await;
    // Of this one twilight-model 0.18 wants the metadata in another form.
    let mut seen = BTreeSet::from([EventKind::RateLimited.name().to_owned()]);
    let mut client = Client::hello(&discord.url()).await;
    client.send(identify((0, 1))).await;
    let ready = read(&client.payload().await, &mut seen);
    let guild = ready["d"]["guilds"][0]["id"].as_str().unwrap().to_owned();
    let voice = voice_channel(&discord.truth_guild(guild.parse().unwrap()).unwrap());
    client
        .send(json!({"op": 4, "d": {"guild_id": guild, "channel_id": voice}}))
        .await;
    client.send(json!({"op": 3, "d": {"status": "idle", "afk": false, "activities": [], "since": null}})).await;
    let members =
        json!({"guild_id": guild, "query": "", "limit": 0, "presences": true, "nonce": "n\"1"});
    client.send(json!({"op": 8, "d": members})).await;
    client
        .send(json!({"op": 31, "d": {"guild_ids": [guild]}}))
        .await;
    // Every kind equally often, so that the rare ones come soon.
    discord
        .set_traffic(
            None,
            &Traffic {
                rate: 2000.0,
                mix: Traffic::kinds().map(|kind| (kind.to_owned(), 1)).collect(),
                ..Traffic::default()
            },
        )
        .unwrap();
    let last = loop {
        let payload = read(&client.payload().await, &mut seen);
        if seen.len() == EventKind::ALL.len() - 1 {
            break payload["s"].as_u64().unwrap();
        }
    };
    client.close(4000).await;
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), last)).await;
    while !seen.contains("RESUMED") {
        read(&client.payload().await, &mut seen);
    }
    let all: BTreeSet<String> = EventKind::ALL
        .iter()
        .map(|kind| kind.name().to_owned())
        .collect();
    assert_eq!(seen, all);
}

/// A cache that only follows the dispatches must arrive at the truth.
#[tokio::test]
async fn what_is_told_of_a_guild_is_what_it_is() {
    let discord = start(DiscordConfig {
        guilds_per_shard: 2,
        ..DiscordConfig::quick()
    })
    .await;
    let mut client = Client::hello(&discord.url()).await;
    client.send(identify((0, 1))).await;
    discord
        .set_traffic(None, &Traffic::at_rate(3000.0))
        .unwrap();
    let mut guilds: BTreeMap<String, Cached> = BTreeMap::new();
    let mut last = 0;
    while last < 6000 {
        last = follow(&mut guilds, &client.payload().await);
    }
    discord.set_traffic(None, &Traffic::default()).unwrap();
    // The generator may still finish the step it is in.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let end = discord.ledger(0, usize::MAX).last().unwrap().seq;
    while last < end {
        last = follow(&mut guilds, &client.payload().await);
    }
    assert_eq!(guilds.len(), 2);
    for (id, cached) in &guilds {
        let truth: Value =
            serde_json::from_str(&discord.truth_guild(id.parse().unwrap()).unwrap()).unwrap();
        assert_eq!(*cached, Cached::of(&truth["guild"]), "guild {id}");
        let told = truth["sequence_by_session"].as_object().unwrap();
        assert_eq!(told.len(), 1);
    }
}

/// What a cache holds of a guild, keyed by id.
#[derive(Debug, PartialEq)]
struct Cached {
    name: Value,
    count: usize,
    members: BTreeMap<String, Value>,
    channels: BTreeMap<String, Value>,
    roles: BTreeMap<String, Value>,
    presences: BTreeMap<String, Value>,
    voices: BTreeMap<String, Value>,
}

impl Cached {
    fn of(guild: &Value) -> Self {
        let keyed = |key: &str, id: fn(&Value) -> &Value| {
            let items = guild[key].as_array().unwrap().iter();
            items.map(|item| (text(id(item)), bare(item))).collect()
        };
        Self {
            name: guild["name"].clone(),
            count: usize::try_from(guild["member_count"].as_u64().unwrap()).unwrap(),
            members: keyed("members", |item| &item["user"]["id"]),
            channels: keyed("channels", |item| &item["id"]),
            roles: keyed("roles", |item| &item["id"]),
            presences: keyed("presences", |item| &item["user"]["id"]),
            voices: keyed("voice_states", |item| &item["user_id"]),
        }
    }
}

/// Applies a dispatch and returns its number.
fn follow(guilds: &mut BTreeMap<String, Cached>, payload: &Value) -> u64 {
    apply(guilds, payload);
    payload["s"].as_u64().unwrap()
}

fn apply(guilds: &mut BTreeMap<String, Cached>, payload: &Value) {
    let (kind, data) = (payload["t"].as_str().unwrap(), &payload["d"]);
    if kind == "GUILD_CREATE" {
        guilds.insert(text(&data["id"]), Cached::of(data));
        return;
    }
    let id = if kind == "GUILD_UPDATE" {
        &data["id"]
    } else {
        &data["guild_id"]
    };
    let Some(guild) = id.as_str().and_then(|id| guilds.get_mut(id)) else {
        return;
    };
    match kind {
        "GUILD_UPDATE" => guild.name = data["name"].clone(),
        "GUILD_MEMBER_ADD" => {
            guild.count += 1;
            guild.members.insert(text(&data["user"]["id"]), bare(data));
        }
        "GUILD_MEMBER_UPDATE" => {
            let before = guild.members.insert(text(&data["user"]["id"]), bare(data));
            assert!(before.is_some());
        }
        "GUILD_MEMBER_REMOVE" => {
            guild.count -= 1;
            assert!(guild.members.remove(&text(&data["user"]["id"])).is_some());
        }
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" => {
            guild.channels.insert(text(&data["id"]), bare(data));
        }
        "CHANNEL_DELETE" => assert!(guild.channels.remove(&text(&data["id"])).is_some()),
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => {
            guild
                .roles
                .insert(text(&data["role"]["id"]), bare(&data["role"]));
        }
        "GUILD_ROLE_DELETE" => assert!(guild.roles.remove(&text(&data["role_id"])).is_some()),
        "PRESENCE_UPDATE" => {
            guild
                .presences
                .insert(text(&data["user"]["id"]), bare(data));
        }
        "VOICE_STATE_UPDATE" if data["channel_id"].is_null() => {
            guild.voices.remove(&text(&data["user_id"]));
        }
        "VOICE_STATE_UPDATE" => {
            guild.voices.insert(text(&data["user_id"]), bare(data));
        }
        _ => {}
    }
}

/// A part of a guild without what only a dispatch says.
fn bare(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("guild_id");
        fields.remove("member");
    }
    item
}

fn text(id: &Value) -> String {
    id.as_str().unwrap().to_owned()
}

fn voice_channel(truth: &str) -> String {
    let truth: Value = serde_json::from_str(truth).unwrap();
    let channels = truth["guild"]["channels"].as_array().unwrap();
    text(
        &channels
            .iter()
            .find(|channel| channel["type"] == 2)
            .unwrap()["id"],
    )
}

/// Reads a dispatch with twilight's models and remembers its kind.
fn read(payload: &Value, seen: &mut BTreeSet<String>) -> Value {
    let raw = payload.to_string();
    let kind = payload["t"].as_str().unwrap().to_owned();
    let reader = GatewayEventDeserializer::from_json(&raw).unwrap();
    let mut json = serde_json::Deserializer::from_str(&raw);
    // Twilight has no model for these.
    if !matches!(&*kind, "SOUNDBOARD_SOUNDS" | "AN_EVENT_OF_NEXT_YEAR") {
        match reader.deserialize(&mut json) {
            Ok(GatewayEvent::Dispatch(seq, event)) => {
                assert_eq!(Some(seq), payload["s"].as_u64());
                if let DispatchEvent::InteractionCreate(interaction) = event {
                    assert!(interaction.data.is_some() && interaction.is_guild());
                }
            }
            other => panic!("{other:?}: {raw}"),
        }
    }
    seen.insert(kind);
    payload.clone()
}
