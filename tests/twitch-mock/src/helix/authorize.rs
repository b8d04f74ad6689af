//! The page on which a user lets an application act: the flow with an authorisation code.
//!
//! ```text
//! GET  /oauth2/authorize?...            a page, which asks who one is and whether the application may
//! POST /oauth2/authorize  login, decision   302 to the application, with a code or an error
//! POST /oauth2/token      code          a token with the scopes that were granted, once
//! ```
//!
//! At Twitch a user is logged in; here the form asks for the login. Whoever grants `channel:bot`
//! has let the application into its channel from then on.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    helix::{Reply, Request, tokens},
    state::{Shared, State},
};

/// By this scope a broadcaster lets bots into the chat.
const CHANNEL_BOT: &str = "channel:bot";

/// Scopes that exist, as far as chat goes.
const KNOWN: [&str; 7] = [
    CHANNEL_BOT,
    "chat:edit",
    "chat:read",
    "user:bot",
    "user:read:chat",
    "user:write:chat",
    "moderator:read:chatters",
];

/// Codes that are kept.
const CODES: usize = 10_000;

/// A code is worth a token for so long.
const CODE_LIFE: Duration = Duration::from_secs(600);

/// What was granted, and is fetched once.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) login: String,
    pub(crate) scopes: Vec<String>,
    redirect: String,
    until: Instant,
}

/// What an application asks a user.
struct Asked {
    client: String,
    redirect: String,
    scopes: Vec<String>,
    state: String,
}

/// `GET /oauth2/authorize`: the page.
pub(crate) fn page(shared: &Shared, request: &Request) -> Reply {
    match asked(shared, &request.query) {
        Ok(asked) => html(200, &form(&asked)),
        Err(why) => html(400, &escaped(why)),
    }
}

/// `POST /oauth2/authorize`: what the user decided.
pub(crate) fn decide(shared: &Shared, state: &mut State, request: &Request) -> Reply {
    let pairs = tokens::pairs_of(&request.body);
    let asked = match asked(shared, &pairs) {
        Ok(asked) => asked,
        Err(why) => return html(400, &escaped(why)),
    };
    let login = value(&pairs, "login");
    if !crate::config::is_login(login) || state.user(login).is_none() {
        return html(400, "who are you? The field login is no login");
    }
    if value(&pairs, "decision") != "allow" {
        let denied = "error=access_denied&error_description=The+user+denied+you+access";
        return back(&asked, denied);
    }
    if asked.scopes.iter().any(|scope| scope == CHANNEL_BOT)
        && let Ok(channel) = state.known_channel(login)
    {
        state.channels[channel].grants_bot = true;
    }
    if state.codes.len() >= CODES {
        state.codes.pop_first();
    }
    let code = format!("once-{}", state.uuid());
    let granted = Granted {
        login: login.to_owned(),
        scopes: asked.scopes.clone(),
        redirect: asked.redirect.clone(),
        until: Instant::now() + CODE_LIFE,
    };
    let scopes = encoded(&asked.scopes.join(" "));
    let query = format!("code={code}&scope={scopes}");
    state.codes.insert(code, granted);
    back(&asked, &query)
}

/// A code is fetched: what it stands for. Never twice.
pub(crate) fn fetch(state: &mut State, code: &str, redirect: &str) -> Option<Granted> {
    // It is used up, whoever comes with it.
    let granted = state.codes.remove(code)?;
    (granted.redirect == redirect && Instant::now() < granted.until).then_some(granted)
}

fn asked(shared: &Shared, pairs: &[(String, String)]) -> Result<Asked, &'static str> {
    let config = &shared.config;
    if value(pairs, "client_id") != config.client_id {
        return Err("invalid client");
    }
    let redirect = value(pairs, "redirect_uri");
    let is_registered = match config.redirects.is_empty() {
        true => redirect.starts_with("http://") || redirect.starts_with("https://"),
        false => config.redirects.iter().any(|known| known == redirect),
    };
    // Never to an address that nobody registered.
    if !is_registered {
        return Err("Parameter redirect_uri does not match registered URI");
    }
    if value(pairs, "response_type") != "code" {
        return Err("response_type: only code is here");
    }
    let scopes: BTreeSet<&str> = value(pairs, "scope").split_whitespace().collect();
    if scopes.iter().any(|scope| !KNOWN.contains(scope)) {
        return Err("invalid scope requested");
    }
    Ok(Asked {
        client: config.client_id.clone(),
        redirect: redirect.to_owned(),
        scopes: scopes.into_iter().map(str::to_owned).collect(),
        state: value(pairs, "state").to_owned(),
    })
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let mut of = pairs.iter().filter(|(key, _)| key == name);
    of.next().map_or("", |(_, value)| value.as_str())
}

/// The browser goes back to the application.
fn back(asked: &Asked, query: &str) -> Reply {
    let mut to = asked.redirect.clone();
    to.push(if to.contains('?') { '&' } else { '?' });
    to.push_str(query);
    if !asked.state.is_empty() {
        to.push_str("&state=");
        to.push_str(&encoded(&asked.state));
    }
    Reply {
        headers: vec![("location", to)],
        ..Reply::json(302, Value::Null)
    }
}

fn form(asked: &Asked) -> String {
    let scopes = asked.scopes.join(" ");
    let hidden = [
        ("response_type", "code"),
        ("client_id", &asked.client),
        ("redirect_uri", &asked.redirect),
        ("scope", &scopes),
        ("state", &asked.state),
    ];
    let hidden = hidden.map(|(name, value)| {
        let value = escaped(value);
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
    });
    format!(
        "<form method=\"post\" action=\"/oauth2/authorize\">{hidden}\
         <p>May {client} do this: {scopes}?</p>\
         <p>Your login: <input name=\"login\"></p>\
         <button name=\"decision\" value=\"allow\">Authorize</button>\
         <button name=\"decision\" value=\"deny\">Cancel</button></form>",
        hidden = hidden.concat(),
        client = escaped(&asked.client),
        scopes = escaped(&scopes),
    )
}

fn html(status: u16, body: &str) -> Reply {
    let page = format!("<!doctype html><title>Simulated Twitch</title>{body}");
    Reply {
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        ..Reply::json(status, Value::String(page))
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// For a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
