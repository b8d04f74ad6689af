//! Sending chat messages, and users.

use serde_json::{Value, json};

use crate::{
    chat::{self, Refusal},
    faults::FaultName,
    helix::{Reply, Request, tokens::Token},
    state::{Shared, State},
};

/// Users in one request.
const USERS: usize = 100;

fn missing(what: &str) -> Reply {
    Reply::error(400, &format!("The parameter {what} is missing or invalid"))
}

pub(crate) fn send(
    shared: &Shared,
    state: &mut State,
    request: &Request,
    token: &Token,
) -> Result<Reply, Reply> {
    let body = request.object()?;
    let field = |name: &str| body[name].as_str().ok_or_else(|| missing(name));
    let text = field("message")?;
    let channel = state.channel_by_id(field("broadcaster_id")?);
    let channel = channel.ok_or_else(|| missing("broadcaster_id"))?;
    let sender = match &token.user {
        Some(login) if state.id_of(login).to_string() == field("sender_id")? => login.clone(),
        Some(_) => return Err(Reply::error(401, "sender_id is not the token's user")),
        None => {
            let login = state.login_of(field("sender_id")?);
            login.ok_or_else(|| missing("sender_id"))?.to_string()
        }
    };
    let fault = state.fire(FaultName::ChatDropped, |_| true);
    let said = if fault {
        Err(Refusal::Empty)
    } else {
        chat::say(shared, state, &sender, channel, text, None)
    };
    let data = match said {
        Ok(message) => {
            json!({ "message_id": &*message.id, "is_sent": true, "drop_reason": null })
        }
        Err(Refusal::Banned) => {
            let why =
                "The sender is not permitted to send chat messages to the broadcaster's chat room";
            return Err(Reply::error(403, why));
        }
        Err(Refusal::TooLong) => return Err(Reply::error(422, "The message is too large")),
        Err(refusal) => {
            let name = &state.channels[channel].login;
            let reason = json!({ "code": refusal.id(), "message": refusal.text(name) });
            json!({ "message_id": "", "is_sent": false, "drop_reason": reason })
        }
    };
    Ok(Reply::json(200, json!({ "data": [data] })))
}

pub(crate) fn users(state: &mut State, request: &Request, token: &Token) -> Result<Reply, Reply> {
    let ids: Vec<&str> = request.values("id").collect();
    let mut logins: Vec<String> = request
        .values("login")
        .map(str::to_ascii_lowercase)
        .collect();
    if ids.len() + logins.len() > USERS {
        return Err(Reply::error(400, "at most 100 ids and logins"));
    }
    for id in &ids {
        logins.extend(state.login_of(id).map(|login| login.to_string()));
    }
    if ids.is_empty() && logins.is_empty() {
        let own = token.user.clone();
        logins.push(own.ok_or_else(|| missing("id or login"))?);
    }
    // A token makes its user known.
    if let Some(own) = &token.user {
        state.user(own);
    }
    let known =
        |login: &String| state.channel(login).is_some() || state.users.contains_key(login.as_str());
    let data: Vec<Value> = logins
        .iter()
        .filter(|login| known(login))
        .map(|login| {
            json!({
                "id": state.id_of(login).to_string(),
                "login": login,
                "display_name": login,
                "type": "",
                "broadcaster_type": "",
                "description": "",
                "profile_image_url": "",
                "offline_image_url": "",
                "view_count": 0,
                "created_at": "2016-12-14T20:32:28Z",
            })
        })
        .collect();
    Ok(Reply::json(200, json!({ "data": data })))
}
