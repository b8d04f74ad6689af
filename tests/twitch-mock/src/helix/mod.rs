//! Helix and OAuth. A request is answered at one moment, under the lock; HTTP only carries
//! it.

pub(crate) mod authorize;
mod chat;
mod conduits;
mod subscriptions;
pub(crate) mod tokens;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State as Extract},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    clock::unix_ms,
    faults::FaultName,
    limits::{Bucket, Points},
    state::{Shared, State},
};

use self::tokens::Token;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// In upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `Client-Id`.
    pub client_id: Option<String>,
    /// The body.
    pub body: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body; null is none, and a text is a page.
    pub body: Value,
    /// How much later it is sent.
    pub delay: Duration,
}

impl Request {
    /// A request with the token of somebody and the client id `client`.
    pub fn new(method: &str, target: &str, token: &str, body: &Value) -> Self {
        let uri: Uri = target.parse().unwrap_or_default();
        Self {
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query: pairs(&uri),
            authorization: Some(format!("Bearer {token}")),
            client_id: Some("client".to_owned()),
            body: if body.is_null() {
                String::new()
            } else {
                body.to_string()
            },
        }
    }

    /// The first value of a name in the query.
    pub(crate) fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }

    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.query.iter().filter(move |(key, _)| key == name);
        of.map(|(_, value)| value.as_str())
    }

    /// The body as an object.
    pub(crate) fn object(&self) -> Result<Value, Reply> {
        let value: Option<Value> = serde_json::from_str(&self.body).ok();
        let object = value.filter(Value::is_object);
        object.ok_or_else(|| Reply::error(400, "The body is not a JSON object"))
    }
}

impl Reply {
    pub(crate) const fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            delay: Duration::ZERO,
        }
    }

    /// As Helix says that something is wrong.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let error = code.canonical_reason().unwrap_or_default();
        let body = json!({ "error": error, "status": status, "message": message });
        Self::json(status, body)
    }

    /// As OAuth does.
    pub(crate) fn oauth_error(status: u16, message: &str) -> Self {
        Self::json(status, json!({ "status": status, "message": message }))
    }
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map_or_else(|_| Vec::new(), |Query(pairs)| pairs)
}

/// Answers a request.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Reply {
    let mut state = shared.state();
    let name = format!("{} {}", request.method, request.path);
    if state.counters.requests.len() < 100 || state.counters.requests.contains_key(&name) {
        *state.counters.requests.entry(name.clone()).or_default() += 1;
    }
    let mut reply = if request.path.starts_with("/oauth2/") {
        match name.as_str() {
            "POST /oauth2/token" => tokens::grant(shared, &mut state, request),
            "GET /oauth2/authorize" => authorize::page(shared, request),
            "POST /oauth2/authorize" => authorize::decide(shared, &mut state, request),
            "GET /oauth2/validate" => tokens::validate(shared, &state, request),
            _ => Reply::oauth_error(404, "not found"),
        }
    } else {
        with_token(shared, &mut state, request, &name)
    };
    let slow = state.take_fault(FaultName::HelixSlow, |fault| fault.is_of_request(&name));
    reply.delay = slow.map_or(Duration::ZERO, |fault| fault.duration());
    shared
        .ledger
        .log("helix", "request", format!("{name}: {}", reply.status));
    reply
}

fn with_token(shared: &Shared, state: &mut State, request: &Request, name: &str) -> Reply {
    let token = match authorised(shared, state, request) {
        Ok(token) => token,
        Err(refused) => return refused,
    };
    let points = take_point(shared, state, &token);
    let mut reply = if points.granted {
        let fault = state.take_fault(FaultName::HelixStatus, |fault| fault.is_of_request(name));
        match fault.and_then(|fault| fault.code) {
            Some(code) => Reply::error(code, "fault"),
            None => route(shared, state, request, &token, name),
        }
    } else {
        state.counters.limited += 1;
        Reply::error(429, "Too Many Requests")
    };
    let full_at = unix_ms() / 1000 + points.full_in.as_secs_f64().ceil() as u64;
    reply.headers = vec![
        ("ratelimit-limit", points.limit.to_string()),
        ("ratelimit-remaining", points.remaining.to_string()),
        ("ratelimit-reset", full_at.to_string()),
    ];
    reply
}

fn authorised(shared: &Shared, state: &State, request: &Request) -> Result<Token, Reply> {
    let header = request.authorization.as_deref().unwrap_or_default();
    let Some(text) = header.strip_prefix("Bearer ") else {
        return Err(Reply::error(401, "OAuth token is missing"));
    };
    let Some(token) = tokens::find(shared, state, text.trim()) else {
        return Err(Reply::error(401, "Invalid OAuth token"));
    };
    match request.client_id.as_deref() {
        None => Err(Reply::error(401, "Client-Id header required")),
        Some(id) if id != token.client_id => {
            Err(Reply::error(401, "Client ID and OAuth token do not match"))
        }
        Some(_) => Ok(token),
    }
}

fn take_point(shared: &Shared, state: &mut State, token: &Token) -> Points {
    let limit = shared.config.helix.points;
    let now = Instant::now();
    let owner = token.user.as_deref().unwrap_or_default();
    let owner = format!("{}/{owner}", token.client_id);
    let bucket = state.points.entry(owner);
    bucket
        .or_insert_with(|| Bucket::full(limit, now))
        .take(now, limit)
}

fn route(
    shared: &Shared,
    state: &mut State,
    request: &Request,
    token: &Token,
    name: &str,
) -> Reply {
    let result = match name {
        "GET /helix/users" => chat::users(state, request, token),
        "POST /helix/chat/messages" => chat::send(shared, state, request, token),
        "GET /helix/eventsub/subscriptions" => subscriptions::list(shared, state, request, token),
        "POST /helix/eventsub/subscriptions" => {
            subscriptions::create(shared, state, request, token)
        }
        "DELETE /helix/eventsub/subscriptions" => subscriptions::delete(state, request),
        _ if token.user.is_some() && name.contains("/eventsub/conduits") => Err(Reply::error(
            401,
            "This endpoint takes an app access token only",
        )),
        "GET /helix/eventsub/conduits" => Ok(conduits::list(state, token)),
        "POST /helix/eventsub/conduits" => conduits::create(shared, state, request, token),
        "PATCH /helix/eventsub/conduits" => conduits::resize(shared, state, request),
        "DELETE /helix/eventsub/conduits" => conduits::delete(state, request),
        "GET /helix/eventsub/conduits/shards" => conduits::shards(state, request),
        "PATCH /helix/eventsub/conduits/shards" => conduits::assign(shared, state, request),
        _ => Err(Reply::error(404, "Not Found")),
    };
    result.unwrap_or_else(|refused| refused)
}

/// The HTTP of Helix and OAuth.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(carry).with_state(shared)
}

async fn carry(
    Extract(shared): Extract<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(ToOwned::to_owned)
    };
    let request = Request {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: pairs(&uri),
        authorization: header("authorization"),
        client_id: header("client-id"),
        body,
    };
    let reply = answer(&shared, &request);
    if !reply.delay.is_zero() {
        sleep(reply.delay).await;
    }
    let mut builder = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    let text = match reply.body {
        Value::Null => String::new(),
        // A page, whose type is among the headers.
        Value::String(page) => page,
        body @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
            body.to_string()
        }
    };
    match builder.body(text.into()) {
        Ok(response) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
