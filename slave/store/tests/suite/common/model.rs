//! What a state should be: a plain map of JSON, which knows nothing of the store.

mod dump;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dump;

type Objects = BTreeMap<u64, Map<String, Value>>;

#[derive(Default)]
struct Guild {
    itself: Map<String, Value>,
    of: BTreeMap<&'static str, Objects>,
    messages: BTreeMap<(u64, u64), Map<String, Value>>,
}

/// See the module.
#[derive(Default)]
pub struct Model {
    /// `None`: unavailable.
    guilds: BTreeMap<u64, Option<Guild>>,
    users: Objects,
    bot: Option<Map<String, Value>>,
    pub sequence: u64,
}

/// List of GUILD_CREATE, kind, the field of its id.
const LISTS: [(&str, &str, &str); 11] = [
    ("channels", "channel", "id"),
    ("threads", "thread", "id"),
    ("roles", "role", "id"),
    ("members", "member", "user"),
    ("presences", "presence", "user"),
    ("voice_states", "voice_state", "user_id"),
    ("emojis", "emoji", "id"),
    ("stickers", "sticker", "id"),
    ("stage_instances", "stage_instance", "id"),
    ("guild_scheduled_events", "scheduled_event", "id"),
    ("soundboard_sounds", "sound", "sound_id"),
];

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn id_of(field: &str, object: &Value) -> Option<u64> {
    match field {
        "user" => number(&object["user"]["id"]),
        _ => number(&object[field]),
    }
}

fn without(object: &Value, names: &[&str]) -> Map<String, Value> {
    let mut all = object.as_object().cloned().unwrap_or_default();
    all.retain(|name, _| !names.contains(&name.as_str()));
    all
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Guild {
    fn get(&mut self, kind: &'static str) -> &mut Objects {
        self.of.entry(kind).or_default()
    }

    fn put(&mut self, kind: &'static str, field: &str, object: &Value) {
        let Some(id) = id_of(field, object) else {
            return;
        };
        let stored = match kind {
            "member" | "presence" => without(object, &["guild_id", "user", "permissions"]),
            "voice_state" => without(object, &["guild_id", "user_id", "member"]),
            _ => without(object, &["guild_id", field]),
        };
        self.get(kind).insert(id, stored);
    }

    /// The elements without an id stay with the guild.
    fn left(&mut self, list: &str, field: &str, all: &[Value]) {
        let left = all.iter().filter(|one| id_of(field, one).is_none());
        let left: Vec<_> = left.cloned().collect();
        self.itself.remove(list);
        if !left.is_empty() {
            self.itself.insert(list.to_owned(), Value::Array(left));
        }
    }

    fn replace(&mut self, list: &str, all: &Value) {
        let (_, kind, field) = LISTS.into_iter().find(|(name, ..)| *name == list).unwrap();
        self.get(kind).clear();
        for one in elements(all) {
            self.put(kind, field, one);
        }
        self.left(list, field, elements(all));
    }

    fn count(&mut self, by: i64) {
        if let Some(count) = self.itself.get_mut("member_count") {
            let now = count.as_i64().unwrap() + by;
            *count = json!(now.max(0));
        }
    }
}

impl Model {
    fn is_member(&self, user: u64) -> bool {
        let mut guilds = self.guilds.values().flatten();
        guilds.any(|guild| {
            guild
                .of
                .get("member")
                .is_some_and(|all| all.contains_key(&user))
        })
    }

    /// Users who are a member nowhere are forgotten.
    fn forget_users(&mut self) {
        let users: Vec<_> = self.users.keys().copied().collect();
        for user in users {
            if !self.is_member(user) {
                self.users.remove(&user);
            }
        }
    }

    fn user(&mut self, user: &Value) {
        if let Some(id) = number(&user["id"])
            && self.is_member(id)
        {
            self.users
                .entry(id)
                .or_default()
                .extend(without(user, &["id"]));
        }
    }

    fn member(&mut self, guild: u64, member: &Value, author: &Value, whole: bool) {
        let user = if member["user"].is_object() {
            &member["user"]
        } else {
            author
        };
        let Some(id) = number(&user["id"]) else {
            return;
        };
        let Some(Some(here)) = self.guilds.get_mut(&guild) else {
            return;
        };
        let stored = without(member, &["guild_id", "user", "permissions"]);
        let members = here.get("member");
        match members.get_mut(&id) {
            Some(old) if !whole => old.extend(stored),
            None if !whole && member.get("joined_at").is_none() => return,
            _ => {
                members.insert(id, stored);
            }
        }
        self.user(user);
    }

    pub fn apply(&mut self, sequence: u64, kind: &str, d: &Value) {
        self.sequence = sequence;
        match kind {
            "READY" => {
                *self = Self {
                    sequence,
                    ..Self::default()
                };
                self.bot = d["user"].as_object().cloned();
                for guild in elements(&d["guilds"]) {
                    self.guilds.insert(number(&guild["id"]).unwrap(), None);
                }
            }
            "USER_UPDATE" => {
                self.bot.get_or_insert_default().extend(without(d, &[]));
                self.user(d);
            }
            "GUILD_CREATE" => self.create(d),
            "GUILD_DELETE" => {
                let id = number(&d["id"]).unwrap();
                self.guilds.remove(&id);
                if d["unavailable"] == true {
                    self.guilds.insert(id, None);
                }
            }
            "GUILD_UPDATE" => self.within(number(&d["id"]), kind, d),
            _ => self.within(number(&d["guild_id"]), kind, d),
        }
        self.forget_users();
    }

    fn create(&mut self, d: &Value) {
        let id = number(&d["id"]).unwrap();
        self.guilds.insert(id, None);
        self.forget_users();
        if d["unavailable"] == true {
            return;
        }
        let lists: Vec<_> = LISTS.iter().map(|(list, ..)| *list).chain(["id"]).collect();
        let mut guild = Guild {
            itself: without(d, &lists),
            ..Guild::default()
        };
        for (list, kind, field) in LISTS {
            for one in elements(&d[list]) {
                if kind != "presence" || one["status"] != "offline" {
                    guild.put(kind, field, one);
                }
            }
            guild.left(list, field, elements(&d[list]));
        }
        self.guilds.insert(id, Some(guild));
        let mut last: BTreeMap<u64, &Value> = BTreeMap::new();
        for member in elements(&d["members"]) {
            if let Some(user) = number(&member["user"]["id"]) {
                last.insert(user, &member["user"]);
            }
        }
        for user in last.values() {
            self.user(user);
        }
    }

    fn within(&mut self, id: Option<u64>, kind: &str, d: &Value) {
        let Some(id) = id else { return };
        let bot = self.bot.as_ref().and_then(|bot| number(&bot["id"]));
        let Some(Some(guild)) = self.guilds.get_mut(&id) else {
            return;
        };
        match kind {
            "GUILD_UPDATE" => {
                for list in ["roles", "emojis", "stickers"] {
                    if d[list].is_array() {
                        guild.replace(list, &d[list]);
                    }
                }
                guild
                    .itself
                    .extend(without(d, &["id", "roles", "emojis", "stickers"]));
            }
            "GUILD_EMOJIS_UPDATE" => guild.replace("emojis", &d["emojis"]),
            "GUILD_STICKERS_UPDATE" => guild.replace("stickers", &d["stickers"]),
            "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => {
                guild.replace("soundboard_sounds", &d["soundboard_sounds"])
            }
            "GUILD_MEMBER_ADD" => {
                let user = number(&d["user"]["id"]).unwrap();
                if !guild.get("member").contains_key(&user) {
                    guild.count(1);
                }
                self.member(id, d, &Value::Null, true);
            }
            "GUILD_MEMBER_UPDATE" => self.member(id, d, &Value::Null, false),
            "GUILD_MEMBER_REMOVE" => {
                let user = number(&d["user"]["id"]).unwrap();
                let stored = guild.get("member").len() as i64;
                let counted = guild.itself.get("member_count").and_then(Value::as_i64);
                if guild.get("member").remove(&user).is_some()
                    || counted.is_some_and(|counted| stored < counted)
                {
                    guild.count(-1);
                }
                guild.get("presence").remove(&user);
                guild.get("voice_state").remove(&user);
            }
            "GUILD_MEMBERS_CHUNK" => {
                for member in elements(&d["members"]) {
                    self.member(id, member, &Value::Null, true);
                }
                for presence in elements(&d["presences"]) {
                    self.presence(id, presence);
                }
            }
            "PRESENCE_UPDATE" => self.presence(id, d),
            "VOICE_STATE_UPDATE" => {
                if d["channel_id"].is_null() {
                    guild
                        .get("voice_state")
                        .remove(&number(&d["user_id"]).unwrap());
                } else {
                    guild.put("voice_state", "user_id", d);
                }
                if d["member"].is_object() {
                    self.member(id, &d["member"], &Value::Null, false);
                }
            }
            "INTERACTION_CREATE" => self.member(id, &d["member"], &Value::Null, false),
            "CHANNEL_CREATE" | "CHANNEL_UPDATE" => guild.put("channel", "id", d),
            "CHANNEL_DELETE" => {
                let channel = number(&d["id"]).unwrap();
                guild.get("channel").remove(&channel);
                guild
                    .get("thread")
                    .retain(|_, thread| number(&thread["parent_id"]) != Some(channel));
                guild.messages.retain(|(of, _), _| *of != channel);
            }
            "CHANNEL_PINS_UPDATE" => {
                let channel = number(&d["channel_id"]).unwrap();
                for kind in ["channel", "thread"] {
                    if let Some(channel) = guild.get(kind).get_mut(&channel) {
                        channel.insert(
                            "last_pin_timestamp".to_owned(),
                            d["last_pin_timestamp"].clone(),
                        );
                    }
                }
            }
            "THREAD_CREATE" | "THREAD_UPDATE" => thread(guild, d),
            "THREAD_DELETE" => {
                guild.get("thread").remove(&number(&d["id"]).unwrap());
            }
            "THREAD_LIST_SYNC" => {
                let of: Option<Vec<_>> = d
                    .get("channel_ids")
                    .map(|ids| elements(ids).iter().filter_map(number).collect());
                let listed: Vec<_> = elements(&d["threads"])
                    .iter()
                    .filter_map(|one| number(&one["id"]))
                    .collect();
                guild.get("thread").retain(|id, thread| {
                    let parent = number(&thread["parent_id"]);
                    listed.contains(id)
                        || of
                            .as_ref()
                            .is_some_and(|of| parent.is_none_or(|parent| !of.contains(&parent)))
                });
                for one in elements(&d["threads"]) {
                    thread(guild, one);
                }
                for member in elements(&d["members"]) {
                    joins(guild, member, member);
                }
            }
            "THREAD_MEMBER_UPDATE" => joins(guild, d, d),
            "THREAD_MEMBERS_UPDATE" => {
                let thread = number(&d["id"]).unwrap();
                if let Some(thread) = guild.get("thread").get_mut(&thread) {
                    thread.insert("member_count".to_owned(), d["member_count"].clone());
                    if elements(&d["removed_member_ids"])
                        .iter()
                        .any(|gone| number(gone) == bot)
                    {
                        thread.remove("member");
                    }
                }
                let own = elements(&d["added_members"])
                    .iter()
                    .find(|added| added["user_id"].is_string() && number(&added["user_id"]) == bot);
                if let Some(own) = own {
                    joins(guild, d, own);
                }
            }
            "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => guild.put("role", "id", &d["role"]),
            "GUILD_ROLE_DELETE" => {
                guild.get("role").remove(&number(&d["role_id"]).unwrap());
            }
            "MESSAGE_CREATE" => {
                let key = (number(&d["channel_id"]).unwrap(), number(&d["id"]).unwrap());
                guild
                    .messages
                    .insert(key, without(d, &["guild_id", "id", "channel_id"]));
                while guild.messages.keys().filter(|(of, _)| *of == key.0).count() > 3 {
                    let oldest = *guild.messages.keys().find(|(of, _)| *of == key.0).unwrap();
                    guild.messages.remove(&oldest);
                }
                if d["member"].is_object() {
                    self.member(id, &d["member"], &d["author"], false);
                }
            }
            "MESSAGE_UPDATE" => {
                let key = (number(&d["channel_id"]).unwrap(), number(&d["id"]).unwrap());
                if let Some(old) = guild.messages.get_mut(&key) {
                    old.extend(without(d, &["guild_id", "id", "channel_id"]));
                }
            }
            "MESSAGE_DELETE" => {
                guild
                    .messages
                    .remove(&(number(&d["channel_id"]).unwrap(), number(&d["id"]).unwrap()));
            }
            "MESSAGE_DELETE_BULK" => {
                for gone in elements(&d["ids"]) {
                    guild
                        .messages
                        .remove(&(number(&d["channel_id"]).unwrap(), number(gone).unwrap()));
                }
            }
            other => things(guild, other, d),
        }
    }

    fn presence(&mut self, guild: u64, d: &Value) {
        let Some(user) = number(&d["user"]["id"]) else {
            return;
        };
        self.user(&d["user"]);
        let Some(Some(guild)) = self.guilds.get_mut(&guild) else {
            return;
        };
        if d["status"] == "offline" {
            guild.get("presence").remove(&user);
        } else {
            guild.put("presence", "user", d);
        }
    }
}

fn thread(guild: &mut Guild, d: &Value) {
    let Some(id) = number(&d["id"]) else { return };
    if d["thread_metadata"]["archived"] == true {
        guild.get("thread").remove(&id);
        return;
    }
    let joined = guild
        .get("thread")
        .get(&id)
        .and_then(|old| old.get("member"))
        .cloned();
    guild.put("thread", "id", d);
    if let (Some(joined), None) = (joined, d.get("member")) {
        let thread = guild.get("thread").get_mut(&id).unwrap();
        thread.insert("member".to_owned(), joined);
    }
}

/// The bot joins a thread.
fn joins(guild: &mut Guild, thread: &Value, member: &Value) {
    let Some(id) = number(&thread["id"]) else {
        return;
    };
    for kind in ["channel", "thread"] {
        if let Some(thread) = guild.get(kind).get_mut(&id) {
            let own = without(member, &["guild_id", "member", "presence"]);
            thread.insert("member".to_owned(), Value::Object(own));
        }
    }
}

/// What is created, changed and deleted, and nothing else.
fn things(guild: &mut Guild, event: &str, d: &Value) {
    let (kind, field) = match event {
        _ if event.starts_with("STAGE_INSTANCE") => ("stage_instance", "id"),
        _ if event.starts_with("GUILD_SCHEDULED_EVENT") => ("scheduled_event", "id"),
        _ if event.starts_with("GUILD_SOUNDBOARD") => ("sound", "sound_id"),
        _ if event.starts_with("INTEGRATION") => ("integration", "id"),
        _ => return,
    };
    if event.ends_with("DELETE") {
        guild.get(kind).remove(&id_of(field, d).unwrap());
    } else {
        guild.put(kind, field, d);
    }
}
