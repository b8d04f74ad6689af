//! What each route answers.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Asked,
    answers::{self, Answer},
    answers_first,
};
use crate::{
    clock::{iso8601, unix_ms},
    server::Shared,
    world::guild::BOT_ID,
};

/// Characters of a message. Source: "Create Message".
const CONTENT: usize = 2000;

/// Answers a request that is allowed. A route that no bot knows is Discord's 404.
pub(super) fn answer(shared: &Shared, asked: &Asked) -> Answer {
    let parts: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    let method = asked.method.as_str();
    let answer = match parts.as_slice() {
        ["users", ..] | ["oauth2", ..] => of_user(shared, method, &parts, &asked.body),
        ["applications", ..] => of_application(shared, method, &parts, &asked.body),
        ["interactions", id, token, "callback"] if asked.method == Method::POST => {
            Some(callback(shared, (id, token), asked))
        }
        ["webhooks", ..] => of_webhook(shared, method, &parts, asked),
        ["channels", channel, rest @ ..] if channel.parse::<u64>().is_ok() => {
            of_channel(shared, method, channel, rest, &asked.body)
        }
        ["guilds", guild, rest @ ..] => match guild.parse() {
            Ok(guild) => of_guild(shared, method, guild, rest, &asked.body),
            Err(_) => None,
        },
        _ => None,
    };
    answer.unwrap_or_else(answers::not_found)
}

fn ok(body: &Value) -> Option<Answer> {
    Some(answers::json(StatusCode::OK, body))
}

fn done() -> Option<Answer> {
    Some(answers::empty(StatusCode::NO_CONTENT))
}

fn of_user(shared: &Shared, method: &str, parts: &[&str], body: &Value) -> Option<Answer> {
    match (method, &parts[1..]) {
        ("GET", ["@me"]) => ok(&current_user()),
        ("PATCH", ["@me"]) => ok(&changed(current_user(), body)),
        ("GET", ["applications", "@me"]) => ok(&application()),
        ("GET", ["@me", "guilds"]) => ok(&guilds(shared)),
        ("DELETE", ["@me", "guilds", _]) => done(),
        ("POST", ["@me", "channels"]) => ok(&json!({
            "id": shared.ids.next().to_string(), "type": 1, "last_message_id": null,
            "recipients": [user(body["recipient_id"].as_str().unwrap_or("0"))],
        })),
        ("GET", [id]) if id.parse::<u64>().is_ok() => ok(&user(id)),
        (_, _) => None,
    }
}

fn of_application(shared: &Shared, method: &str, parts: &[&str], body: &Value) -> Option<Answer> {
    match (method, &parts[1..]) {
        ("GET", ["@me"]) => ok(&application()),
        ("PATCH", ["@me"]) => ok(&changed(application(), body)),
        ("GET", [_, "emojis"]) => ok(&json!({ "items": [] })),
        (_, [_, "commands", rest @ ..]) => commands(shared, method, rest, None, body),
        (_, [_, "guilds", guild, "commands", rest @ ..]) => {
            commands(shared, method, rest, Some(guild), body)
        }
        (_, _) => None,
    }
}

fn commands(
    shared: &Shared,
    method: &str,
    rest: &[&str],
    guild: Option<&str>,
    body: &Value,
) -> Option<Answer> {
    let command = |id: String, of: &Value| {
        let mut command = json!({
            "id": id, "application_id": BOT_ID.to_string(), "version": id, "type": 1,
            "name": "", "description": "", "default_member_permissions": null, "nsfw": false,
        });
        if let Some(guild) = guild {
            command["guild_id"] = json!(guild);
        }
        changed(command, of)
    };
    let next = || shared.ids.next().to_string();
    match (method, rest) {
        ("GET", [] | ["permissions"]) => ok(&json!([])),
        ("PUT", []) => {
            let all = body.as_array()?;
            ok(&all.iter().map(|of| command(next(), of)).collect())
        }
        ("POST", []) => Some(answers::json(StatusCode::CREATED, &command(next(), body))),
        ("GET" | "PATCH", [id]) => ok(&command((*id).to_owned(), body)),
        ("DELETE", [_]) => done(),
        (_, _) => None,
    }
}

/// The answer to an interaction, once.
fn callback(shared: &Shared, (id, token): (&str, &str), asked: &Asked) -> Answer {
    if asked.body["type"].as_u64().is_none() {
        return answers::error(StatusCode::BAD_REQUEST, 50035, "Invalid Form Body");
    }
    if !answers_first(shared, token) {
        return answers::error(
            StatusCode::BAD_REQUEST,
            40060,
            "Interaction has already been acknowledged.",
        );
    }
    if !asked.query.contains("with_response=true") {
        return answers::empty(StatusCode::NO_CONTENT);
    }
    let message = message(shared, "0", None, &asked.body["data"]);
    answers::json(
        StatusCode::OK,
        &json!({
            "interaction": {"id": id, "type": 2, "response_message_id": message["id"],
                "response_message_loading": asked.body["type"] == 5,
                "response_message_ephemeral": false},
            "resource": {"type": asked.body["type"], "message": message},
        }),
    )
}

fn of_webhook(shared: &Shared, method: &str, parts: &[&str], asked: &Asked) -> Option<Answer> {
    let is_interaction = parts.get(1) == Some(&BOT_ID.to_string().as_str());
    match (method, &parts[1..]) {
        ("POST", [_, _]) => {
            let sent = checked(shared, "0", None, &asked.body);
            // A follow-up is always shown, a webhook's message where it is asked for.
            if is_interaction || asked.query.contains("wait=true") || !sent.status().is_success() {
                Some(sent)
            } else {
                done()
            }
        }
        ("GET" | "PATCH", [_, _, "messages", id]) => {
            ok(&message(shared, "0", id.parse().ok(), &asked.body))
        }
        ("DELETE", [_, _, "messages", _] | [_] | [_, _]) => done(),
        ("GET" | "PATCH", [id] | [id, _]) => ok(&webhook(id, "0", &asked.body)),
        (_, _) => None,
    }
}

fn webhook(id: &str, channel: &str, body: &Value) -> Value {
    let webhook = json!({
        "id": id, "type": 1, "channel_id": channel, "guild_id": null, "name": "webhook",
        "avatar": null, "application_id": BOT_ID.to_string(), "token": "webhook-token",
        "user": current_user(),
    });
    changed(webhook, body)
}

fn of_channel(
    shared: &Shared,
    method: &str,
    channel: &str,
    rest: &[&str],
    body: &Value,
) -> Option<Answer> {
    let next = || shared.ids.next().to_string();
    match (method, rest) {
        ("GET" | "PATCH" | "DELETE", []) => match channel_of(shared, channel) {
            Some(known) => ok(&changed(known, body)),
            None => unknown(10003, "Unknown Channel"),
        },
        ("GET", ["messages" | "pins" | "invites" | "webhooks" | "thread-members"])
        | ("GET", ["messages", _, "reactions", _]) => ok(&json!([])),
        ("POST", ["messages"]) => Some(checked(shared, channel, None, body)),
        ("PATCH", ["messages", id]) => Some(checked(shared, channel, Some(id.parse().ok()?), body)),
        ("GET", ["messages", id]) | ("POST", ["messages", id, "crosspost"]) => {
            ok(&message(shared, channel, Some(id.parse().ok()?), body))
        }
        ("POST", ["typing"] | ["messages", "bulk-delete"])
        | ("DELETE", ["messages", _] | ["messages", _, "reactions", ..])
        | ("PUT", ["messages", _, "reactions", _, "@me"])
        | ("PUT" | "DELETE", ["pins" | "permissions" | "thread-members", _])
        | ("PUT" | "DELETE", ["messages", "pins", _]) => done(),
        ("POST", ["threads"] | ["messages", _, "threads"]) => {
            let thread = json!({
                "id": next(), "type": 11, "parent_id": channel, "owner_id": BOT_ID.to_string(),
                "name": "", "message_count": 0, "member_count": 1, "rate_limit_per_user": 0,
                "thread_metadata": {"archived": false, "auto_archive_duration": 1440,
                    "archive_timestamp": now(), "locked": false},
            });
            Some(answers::json(StatusCode::CREATED, &changed(thread, body)))
        }
        ("POST", ["invites"]) => ok(&json!({
            "code": next(), "type": 0, "channel": {"id": channel}, "uses": 0, "max_uses": 0,
            "max_age": 86_400, "temporary": false, "created_at": now(), "expires_at": null,
        })),
        ("POST", ["webhooks"]) => ok(&webhook(&next(), channel, body)),
        (_, _) => None,
    }
}

fn of_guild(
    shared: &Shared,
    method: &str,
    guild: u64,
    rest: &[&str],
    body: &Value,
) -> Option<Answer> {
    let Some(known) = guild_of(shared, guild) else {
        return unknown(10004, "Unknown Guild");
    };
    let next = || shared.ids.next().to_string();
    match (method, rest) {
        ("GET" | "PATCH", []) => ok(&changed(known, body)),
        ("GET", [list @ ("channels" | "roles" | "emojis" | "stickers" | "members")]) => {
            ok(&known[list])
        }
        ("GET", ["members", "search"] | ["bans" | "invites" | "webhooks" | "integrations"]) => {
            ok(&json!([]))
        }
        ("GET", ["bans", _]) => unknown(10026, "Unknown Ban"),
        ("GET", ["audit-logs"]) => ok(&json!({
            "application_commands": [], "audit_log_entries": [], "auto_moderation_rules": [],
            "guild_scheduled_events": [], "integrations": [], "threads": [], "users": [],
            "webhooks": [],
        })),
        ("GET" | "POST", ["prune"]) => ok(&json!({ "pruned": 0 })),
        ("GET", ["auto-moderation", "rules"]) => ok(&json!([])),
        ("POST", ["auto-moderation", "rules"]) => {
            let rule = json!({
                "id": next(), "guild_id": guild.to_string(), "creator_id": BOT_ID.to_string(),
                "name": "", "event_type": 1, "trigger_type": 1, "trigger_metadata": {},
                "actions": [], "enabled": false, "exempt_roles": [], "exempt_channels": [],
            });
            ok(&changed(rule, body))
        }
        ("DELETE", ["auto-moderation", "rules", _]) => done(),
        ("GET" | "PATCH" | "PUT", ["members", id]) => match member_of(&known, id) {
            Some(member) => ok(&changed(member, body)),
            None => unknown(10007, "Unknown Member"),
        },
        ("GET" | "PATCH", [list @ ("roles" | "emojis" | "stickers"), id]) => {
            match element(&known, list, id) {
                Some(one) => ok(&changed(one, body)),
                None => unknown(10011, "Unknown Role"),
            }
        }
        ("POST", ["channels"]) => {
            let new = json!({
                "id": next(), "type": 0, "name": "", "guild_id": guild.to_string(),
                "position": 0, "permission_overwrites": [], "parent_id": null,
            });
            Some(answers::json(StatusCode::CREATED, &changed(new, body)))
        }
        ("POST", ["roles"]) => {
            let new = json!({
                "id": next(), "name": "new role", "color": 0, "hoist": false, "managed": false,
                "mentionable": false, "permissions": "0", "position": 1, "flags": 0,
                "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null},
            });
            ok(&changed(new, body))
        }
        ("POST", ["bulk-ban"]) => {
            ok(&json!({ "banned_users": body["user_ids"], "failed_users": [] }))
        }
        ("PATCH", ["roles" | "channels"]) => ok(&known["roles"]),
        ("PUT" | "DELETE", ["bans" | "roles" | "emojis" | "stickers", _])
        | ("PUT" | "DELETE", ["members", _, "roles", _])
        | ("DELETE", ["members", _]) => done(),
        (_, _) => None,
    }
}

fn unknown(code: u32, what: &str) -> Option<Answer> {
    Some(answers::error(StatusCode::NOT_FOUND, code, what))
}

/// A guild as the world has it.
fn guild_of(shared: &Shared, guild: u64) -> Option<Value> {
    let truth: Value = serde_json::from_str(&shared.truth_guild(guild)?).ok()?;
    truth.get("guild").cloned()
}

/// A channel of the world: its guild's id is part of its own.
fn channel_of(shared: &Shared, channel: &str) -> Option<Value> {
    let id: u64 = channel.parse().ok()?;
    let guild = guild_of(shared, id >> 22 << 22)?;
    element(&guild, "channels", channel)
}

fn element(guild: &Value, list: &str, id: &str) -> Option<Value> {
    let mut all = guild[list].as_array()?.iter();
    all.find(|one| one["id"] == id).cloned()
}

fn member_of(guild: &Value, id: &str) -> Option<Value> {
    let id = if id == "@me" {
        BOT_ID.to_string()
    } else {
        id.to_owned()
    };
    let mut all = guild["members"].as_array()?.iter();
    all.find(|member| member["user"]["id"] == id.as_str())
        .cloned()
}

fn guilds(shared: &Shared) -> Value {
    let shards = 0..shared.config.shards;
    let ids = shards
        .filter_map(|shard| shared.truth_guilds(shard))
        .flatten();
    ids.take(200)
        .map(|id| {
            json!({
                "id": id.to_string(), "name": "guild", "icon": null, "banner": null,
                "owner": false, "permissions": "0", "features": [],
            })
        })
        .collect()
}

/// A message that somebody sends or edits, if it is one.
fn checked(shared: &Shared, channel: &str, id: Option<u64>, body: &Value) -> Answer {
    let content = body["content"].as_str().unwrap_or("");
    if content.chars().count() > CONTENT {
        return answers::error(StatusCode::BAD_REQUEST, 50035, "Invalid Form Body");
    }
    let filled = |name: &str| body[name].as_array().is_some_and(|list| !list.is_empty());
    let lists = [
        "embeds",
        "components",
        "sticker_ids",
        "attachments",
        "files",
    ];
    let is_something =
        !content.is_empty() || lists.into_iter().any(filled) || body["poll"].is_object();
    if id.is_none() && !is_something && !body["message_reference"].is_object() {
        return answers::error(
            StatusCode::BAD_REQUEST,
            50006,
            "Cannot send an empty message",
        );
    }
    answers::json(StatusCode::OK, &message(shared, channel, id, body))
}

fn message(shared: &Shared, channel: &str, id: Option<u64>, sent: &Value) -> Value {
    let list = |name: &str| Value::from(sent[name].as_array().cloned().unwrap_or_default());
    let edited = id.map_or(Value::Null, |_| Value::from(now()));
    json!({
        "id": id.unwrap_or_else(|| shared.ids.next()).to_string(), "channel_id": channel, "type": 0,
        "content": sent["content"].as_str().unwrap_or(""), "timestamp": now(),
        "edited_timestamp": edited, "tts": sent["tts"] == true, "mention_everyone": false,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": list("embeds"),
        "components": list("components"), "pinned": false,
        "flags": sent["flags"].as_u64().unwrap_or(0), "author": current_user(),
        "nonce": sent["nonce"],
    })
}

/// A thing with what a request says about it.
fn changed(mut thing: Value, by: &Value) -> Value {
    let empty = Map::new();
    for (name, value) in by.as_object().unwrap_or(&empty) {
        thing[name] = value.clone();
    }
    thing
}

fn now() -> String {
    iso8601(unix_ms())
}

fn user(id: &str) -> Value {
    json!({
        "id": id, "username": format!("user{id}"), "discriminator": "0", "global_name": null,
        "avatar": null, "bot": false, "public_flags": 0, "flags": 0,
    })
}

/// The bot's own user.
pub(crate) fn current_user() -> Value {
    json!({
        "id": BOT_ID.to_string(), "username": "baton", "discriminator": "0001",
        "global_name": null, "avatar": null, "banner": null, "accent_color": null,
        "avatar_decoration_data": null, "collectibles": null, "primary_guild": null, "clan": null,
        "bot": true, "system": false, "mfa_enabled": false, "verified": true, "email": null,
        "locale": "en-US", "flags": 0, "public_flags": 0, "premium_type": 0,
    })
}

fn application() -> Value {
    json!({
        "id": BOT_ID.to_string(), "name": "baton", "icon": null, "description": "",
        "summary": "", "type": null, "bot_public": true, "bot_require_code_grant": false,
        "verify_key": "0".repeat(64), "flags": 0, "hook": true, "rpc_origins": [],
        "redirect_uris": [], "interactions_endpoint_url": null, "tags": [], "team": null,
        "role_connections_verification_url": null, "approximate_guild_count": 0,
        "owner": {
            "id": (BOT_ID - 1).to_string(), "username": "owner", "discriminator": "0",
            "global_name": null, "avatar": null, "public_flags": 0, "flags": 0,
        },
        "bot": current_user(),
    })
}
