//! Subscriptions: create, list, delete, and what they cost.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    eventsub::{
        conduit::ENABLED,
        subscription::{Subscription, TYPES, Target},
    },
    helix::{Reply, Request, tokens::Token},
    state::{Shared, State},
};

/// Subscriptions in one page.
const PAGE: usize = 100;
/// Subscriptions that are kept, disabled ones too.
const KEPT: usize = 200_000;

fn missing(what: &str) -> Reply {
    Reply::error(400, &format!("{what} is missing or invalid"))
}

pub(crate) fn create(
    shared: &Shared,
    state: &mut State,
    request: &Request,
    token: &Token,
) -> Result<Reply, Reply> {
    let body = request.object()?;
    let kind = body["type"].as_str().unwrap_or_default();
    let known = TYPES.iter().find(|(name, _)| *name == kind);
    let Some((_, fields)) = known.filter(|_| body["version"] == "1") else {
        return Err(Reply::error(400, "invalid subscription type and version"));
    };
    let condition: BTreeMap<String, String> =
        serde_json::from_value(body["condition"].clone()).map_err(|_| missing("condition"))?;
    if let Some(field) = fields.iter().find(|field| !condition.contains_key(**field)) {
        return Err(missing(&format!("condition.{field}")));
    }
    let user = token.user.as_deref().map(|login| state.id_of(login));
    let (target, connected_at) = target(shared, state, &body["transport"], token, user)?;
    let new = Subscription {
        id: state.uuid(),
        kind: kind.to_owned(),
        cost: 0,
        condition,
        target,
        status: ENABLED,
        user,
        created_at: String::new(),
        connected_at,
    };
    if state.subscriptions.has_like(&new) {
        return Err(Reply::error(409, "subscription already exists"));
    }
    let cost = cost(shared, state, &new)?;
    let most = most_cost(shared, user);
    if total_cost(state, user) + cost > most {
        return Err(Reply::error(429, "total cost exceeded"));
    }
    if state.subscriptions.len() >= KEPT {
        state.subscriptions.forget_disabled();
        if state.subscriptions.len() >= KEPT {
            return Err(Reply::error(429, "too many subscriptions"));
        }
    }
    let made = state.subscriptions.insert(Subscription { cost, ..new });
    if let Target::Session(id) = &made.target
        && let Some(session) = state.sessions.get_mut(id)
    {
        session.subscriptions.insert(Arc::clone(&made.id));
        session.user = user;
    }
    let body = json!({
        "data": [made.json()],
        "total": state.subscriptions.len(),
        "total_cost": total_cost(state, user),
        "max_total_cost": most,
    });
    Ok(Reply::json(202, body))
}

/// A conduit takes an application's token, a session a user's.
fn target(
    shared: &Shared,
    state: &State,
    transport: &Value,
    token: &Token,
    user: Option<u64>,
) -> Result<(Target, Option<String>), Reply> {
    let limits = &shared.config.eventsub;
    match (transport["method"].as_str(), &token.user) {
        (Some("conduit"), None) => {
            let id = transport["conduit_id"].as_str().unwrap_or_default();
            let known = state.conduits.get_key_value(id);
            let known = known.ok_or_else(|| Reply::error(404, "conduit not found"))?;
            Ok((Target::Conduit(Arc::clone(known.0)), None))
        }
        (Some("websocket"), Some(_)) => {
            let id = transport["session_id"].as_str().unwrap_or_default();
            let known = state.sessions.get_key_value(id);
            let gone = "websocket transport session does not exist or has already disconnected";
            let (id, session) = known.ok_or_else(|| Reply::error(400, gone))?;
            if !session.shards.is_empty() || session.user.is_some_and(|of| Some(of) != user) {
                return Err(Reply::error(400, "the session is not this user's"));
            }
            if session.subscriptions.len() >= limits.subscriptions {
                return Err(Reply::error(429, "number of subscriptions limit exceeded"));
            }
            let others = state.sessions.iter().filter(|(other, session)| {
                *other != id && session.user == user && !session.subscriptions.is_empty()
            });
            if others.count() >= limits.sessions {
                return Err(Reply::error(
                    429,
                    "number of websocket transports limit exceeded",
                ));
            }
            let at = Some(session.connected_at.clone());
            Ok((Target::Session(Arc::clone(id)), at))
        }
        (Some("conduit"), Some(_)) => Err(Reply::error(401, "conduits take an app access token")),
        (Some("websocket"), None) => Err(Reply::error(401, "websockets take a user access token")),
        (_, _) => Err(missing("transport.method")),
    }
}

/// What it costs, or that the bot may not read so many channels. A channel costs nothing
/// if its broadcaster granted `channel:bot`, or if the bot is moderator or broadcaster.
fn cost(shared: &Shared, state: &State, new: &Subscription) -> Result<u32, Reply> {
    let Some(broadcaster) = new.condition.get("broadcaster_user_id") else {
        return Ok(0);
    };
    let Some(channel) = state.channel_by_id(broadcaster) else {
        return Err(Reply::error(400, "the broadcaster does not exist"));
    };
    let Some(reader) = new.condition.get("user_id") else {
        return Ok(1);
    };
    let login = state.login_of(reader);
    let login = login.as_deref().unwrap_or_default();
    let bans = state.users.get(login).map(|user| &user.banned_in);
    if bans.is_some_and(|bans| bans.contains(&channel)) {
        return Err(Reply::error(
            403,
            "subscription missing proper authorization",
        ));
    }
    if is_free(state, login, channel) {
        return Ok(0);
    }
    // An application reads where it was let in, and nowhere else.
    if new.user.is_none() {
        return Err(Reply::error(
            403,
            "subscription missing proper authorization",
        ));
    }
    let cap = shared.config.irc.channel_cap as usize;
    let all = state.subscriptions.iter();
    let counted = all.filter(|(_, one)| {
        one.is_enabled()
            && one.kind == new.kind
            && one.condition.get("user_id") == Some(reader)
            && one.cost > 0
    });
    if cap > 0 && counted.count() >= cap {
        return Err(Reply::error(
            403,
            "the user reads too many channels at once",
        ));
    }
    Ok(1)
}

fn is_free(state: &State, login: &str, channel: usize) -> bool {
    state.channels[channel].grants_bot || state.is_privileged(login, channel)
}

fn total_cost(state: &State, user: Option<u64>) -> u32 {
    let all = state.subscriptions.iter();
    let own = all.filter(|(_, one)| one.user == user && one.is_enabled());
    own.map(|(_, one)| one.cost).sum()
}

const fn most_cost(shared: &Shared, user: Option<u64>) -> u32 {
    match user {
        Some(_) => shared.config.helix.max_user_cost,
        None => shared.config.helix.max_total_cost,
    }
}

pub(crate) fn list(
    shared: &Shared,
    state: &State,
    request: &Request,
    token: &Token,
) -> Result<Reply, Reply> {
    let from: u64 = match request.value("after") {
        Some(after) => after
            .parse()
            .map_err(|_| Reply::error(400, "The cursor is invalid"))?,
        None => 0,
    };
    let user = token.user.as_deref().map(|login| state.id_of(login));
    let fits = |one: &Subscription| {
        let user_id = request.value("user_id");
        one.user == user
            && request
                .value("status")
                .is_none_or(|wanted| one.status == wanted)
            && request
                .value("type")
                .is_none_or(|wanted| one.kind == wanted)
            && request
                .value("subscription_id")
                .is_none_or(|wanted| *one.id == *wanted)
            && user_id.is_none_or(|wanted| one.condition.values().any(|value| value == wanted))
    };
    let own: Vec<_> = state
        .subscriptions
        .iter()
        .filter(|(_, one)| fits(one))
        .collect();
    let mut page = own.iter().filter(|(at, _)| *at > from);
    let shown: Vec<_> = page.by_ref().take(PAGE).collect();
    let more = page.next().and(shown.last());
    let pagination = more.map_or_else(|| json!({}), |(at, _)| json!({ "cursor": at.to_string() }));
    let body = json!({
        "data": shown.iter().map(|(_, one)| one.json()).collect::<Vec<_>>(),
        "total": own.len(),
        "total_cost": total_cost(state, user),
        "max_total_cost": most_cost(shared, user),
        "pagination": pagination,
    });
    Ok(Reply::json(200, body))
}

pub(crate) fn delete(state: &mut State, request: &Request) -> Result<Reply, Reply> {
    let id = request.value("id").ok_or_else(|| missing("id"))?;
    let gone = state.subscriptions.remove(id);
    let gone = gone.ok_or_else(|| Reply::error(404, "subscription not found"))?;
    if let Target::Session(session) = &gone.target
        && let Some(session) = state.sessions.get_mut(session)
    {
        session.subscriptions.remove(&gone.id);
        session.mind_unused();
    }
    Ok(Reply::json(204, Value::Null))
}
