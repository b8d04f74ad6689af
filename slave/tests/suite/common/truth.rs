//! What Discord says of its guilds, beside what a bot has cached.

use std::collections::BTreeMap;

use baton_discord::Discord;
use baton_protocol::ShardId;
use bytes::Bytes;
use serde_json::Value;

use super::{Recorder, traffic, until};

/// Truth and cache of a shard, taken while nothing was on its way.
#[derive(Debug)]
pub struct Moment {
    /// The cache's pieces.
    pub pieces: BTreeMap<u64, Bytes>,
    truth: BTreeMap<u64, Value>,
}

/// Ends the traffic and waits for such a moment. That the bot has the last event
/// is not enough: Discord may still be making what was due before.
pub async fn moment(discord: &Discord, shard: u32, bot: &Recorder) -> Moment {
    traffic(discord, 0.0);
    let mut found = None;
    until("a moment at which the bot has everything", || {
        found = take(discord, shard, bot);
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn take(discord: &Discord, shard: u32, bot: &Recorder) -> Option<Moment> {
    let before = discord.ledger_counts();
    let ledger = discord.ledger(0, usize::MAX);
    let sent = ledger
        .iter()
        .rfind(|entry| entry.shard == shard && entry.kind.name() != "RESUMED");
    let told = bot.told.lock().unwrap();
    let last = told.iter().rfind(|told| told.shard == shard);
    if last?.sequence != sent?.seq {
        return None;
    }
    drop(told);
    let pieces = bot.pieces(ShardId(shard))?;
    let truth = discord.truth_guilds(shard)?.into_iter().map(|guild| {
        let mut truth: Value = serde_json::from_str(&discord.truth_guild(guild).unwrap()).unwrap();
        (guild, truth["guild"].take())
    });
    let moment = Moment {
        pieces,
        truth: truth.collect(),
    };
    // The truth and its event are written in one step.
    (discord.ledger_counts() == before).then_some(moment)
}

impl Moment {
    /// The same truth, beside other pieces.
    pub fn with_pieces(self, pieces: BTreeMap<u64, Bytes>) -> Self {
        Self { pieces, ..self }
    }

    /// What of the truth is not cached like that; `None`: everything is.
    pub fn difference(&self) -> Option<String> {
        self.truth.iter().find_map(|(guild, truth)| {
            let Some(piece) = self.pieces.get(guild) else {
                return Some(format!("guild {guild} is not cached"));
            };
            let cached: Value = serde_json::from_slice(piece).unwrap();
            if truth["unavailable"] == true {
                let said = cached["unavailable"] == true;
                return (!said).then(|| format!("guild {guild} has an outage"));
            }
            Some(format!("guild {guild}: {}", difference(truth, &cached)?))
        })
    }
}

/// The first difference between how a guild is and how it is cached: name,
/// members (id, nick, roles), channels, roles, voice states, presences, member
/// count.
pub fn difference(truth: &Value, cached: &Value) -> Option<String> {
    fn plain(value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::Array(items) => {
                let mut items: Vec<String> = items.iter().map(plain).collect();
                items.sort();
                items.join(",")
            }
            other => other.to_string(),
        }
    }
    for field in ["name", "owner_id", "member_count"] {
        if plain(&truth[field]) != plain(&cached[field]) {
            return Some(format!("{field}: {} / {}", truth[field], cached[field]));
        }
    }
    let lists: [(&str, &[&str], &[&str]); 5] = [
        ("channels", &["id"], &["name", "type", "topic"]),
        ("roles", &["id"], &["name", "permissions", "position"]),
        ("members", &["user", "id"], &["nick", "roles"]),
        ("voice_states", &["user_id"], &["channel_id", "self_mute"]),
        ("presences", &["user", "id"], &["status"]),
    ];
    for (list, key, fields) in lists {
        let items = |guild: &Value| -> BTreeMap<String, String> {
            let item = |item: &Value| {
                let id = key.iter().fold(item, |value, name| &value[*name]);
                let shown: Vec<String> = fields.iter().map(|field| plain(&item[*field])).collect();
                (plain(id), shown.join(" "))
            };
            guild[list]
                .as_array()
                .into_iter()
                .flatten()
                // The same as no presence.
                .filter(|item| item["status"] != "offline")
                .map(item)
                .collect()
        };
        let (is, cached) = (items(truth), items(cached));
        if is != cached {
            return Some(format!("{list}: {is:?} / {cached:?}"));
        }
    }
    None
}
