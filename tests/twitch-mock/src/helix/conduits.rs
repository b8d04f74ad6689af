//! Conduits and their shards.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    eventsub::conduit::{self, Conduit},
    faults::FaultName,
    helix::{Reply, Request, tokens::Token},
    state::{Shared, State},
};

/// Shards in one page.
const PAGE: u32 = 100;

pub(crate) fn list(state: &State, token: &Token) -> Reply {
    let own = state.conduits.values();
    let own = own.filter(|conduit| conduit.client_id == token.client_id);
    let data: Vec<Value> = own.map(Conduit::json).collect();
    Reply::json(200, json!({ "data": data }))
}

fn count(shared: &Shared, body: &Value) -> Result<u32, Reply> {
    let most = shared.config.helix.shards;
    let count = body["shard_count"].as_u64();
    count
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| Reply::error(400, &format!("shard_count must be 1 to {most}")))
}

pub(crate) fn create(
    shared: &Shared,
    state: &mut State,
    request: &Request,
    token: &Token,
) -> Result<Reply, Reply> {
    let count = count(shared, &request.object()?)?;
    if state.conduits.len() >= shared.config.helix.conduits {
        return Err(Reply::error(429, "Conduit limit reached"));
    }
    let id = state.uuid();
    let conduit = Conduit::new(Arc::clone(&id), &token.client_id, count);
    let data = [conduit.json()];
    state.conduits.insert(id, conduit);
    Ok(Reply::json(200, json!({ "data": data })))
}

fn known(state: &State, id: Option<&str>) -> Result<Arc<str>, Reply> {
    let id = id.ok_or_else(|| Reply::error(400, "The conduit's id is missing"))?;
    let known = state.conduits.get_key_value(id);
    known
        .map(|(id, _)| Arc::clone(id))
        .ok_or_else(|| Reply::error(404, "Conduit not found"))
}

pub(crate) fn resize(
    shared: &Shared,
    state: &mut State,
    request: &Request,
) -> Result<Reply, Reply> {
    let body = request.object()?;
    let id = known(state, body["id"].as_str())?;
    conduit::resize(state, &id, count(shared, &body)?);
    let data: Vec<Value> = state
        .conduits
        .get(&id)
        .map(Conduit::json)
        .into_iter()
        .collect();
    Ok(Reply::json(200, json!({ "data": data })))
}

pub(crate) fn delete(state: &mut State, request: &Request) -> Result<Reply, Reply> {
    let id = known(state, request.value("id"))?;
    conduit::remove(state, &id);
    Ok(Reply::json(204, Value::Null))
}

pub(crate) fn shards(state: &State, request: &Request) -> Result<Reply, Reply> {
    let id = known(state, request.value("conduit_id"))?;
    let from: u32 = match request.value("after") {
        Some(after) => after
            .parse()
            .map_err(|_| Reply::error(400, "The cursor is invalid"))?,
        None => 0,
    };
    let wanted = request.value("status");
    let (mut data, mut next) = (Vec::new(), None);
    if let Some(conduit) = state.conduits.get(&id) {
        for number in from..conduit.count() {
            let Some(shard) = conduit.shard_json(number) else {
                continue;
            };
            if wanted.is_some_and(|wanted| shard["status"] != wanted) {
                continue;
            }
            if data.len() >= PAGE as usize {
                next = Some(number.to_string());
                break;
            }
            data.push(shard);
        }
    }
    let pagination = next.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
    let body = json!({ "data": data, "pagination": pagination });
    Ok(Reply::json(200, body))
}

/// Each shard succeeds or fails by itself.
pub(crate) fn assign(
    shared: &Shared,
    state: &mut State,
    request: &Request,
) -> Result<Reply, Reply> {
    let body = request.object()?;
    let id = known(state, body["conduit_id"].as_str())?;
    let shards = body["shards"].as_array().map_or(&[][..], Vec::as_slice);
    let most = shared.config.unknown.shards_in_a_patch;
    if shards.is_empty() || shards.len() > most {
        return Err(Reply::error(400, &format!("shards must be 1 to {most}")));
    }
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    for shard in shards {
        let name = shard["id"].as_str().unwrap_or_default();
        let set = match name.parse::<u32>() {
            _ if state.fire(FaultName::ShardError, |_| true) => Err("fault".to_owned()),
            _ if shard["transport"]["method"] != "websocket" => {
                Err("The transport method is not supported".to_owned())
            }
            Ok(number) => {
                let session = shard["transport"]["session_id"].as_str();
                let session = session.unwrap_or_default();
                conduit::assign(shared, state, &id, number, session).map(|()| number)
            }
            Err(_) => Err("The shard id is not a number".to_owned()),
        };
        match set {
            Ok(number) => {
                let conduit = state.conduits.get(&id);
                data.extend(conduit.and_then(|conduit| conduit.shard_json(number)));
                shared
                    .ledger
                    .log(format!("conduit/{id}/{number}"), "shard_set", "");
            }
            Err(message) => errors.push(json!({
                "id": name,
                "message": message,
                "code": "invalid_parameter",
            })),
        }
    }
    let body = json!({ "data": data, "errors": errors });
    Ok(Reply::json(202, body))
}
