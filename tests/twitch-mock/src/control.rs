//! The control port: HTTP and JSON, loopback only. The README names every path.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    chat,
    error::Error,
    faults::{self, Fault},
    ledger::Kind,
    state::Shared,
    traffic::Traffic,
    twitch::{self, ChannelChange},
    verdict::{self, Scope, Verdict},
};

/// Entries in one answer.
const PAGE: usize = 100_000;
/// Bytes of a request: a verdict over a million ids.
const BODY: usize = 64 << 20;

type Twitch = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/messages", get(messages))
        .route("/deliveries", get(deliveries))
        .route("/log", get(log))
        .route("/traffic", post(traffic))
        .route("/happen", post(happen))
        .route("/faults", post(fault))
        .route("/channels/{login}", post(channel))
        .route("/verdict", post(judge))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(shared)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.to_string() }));
        (StatusCode::BAD_REQUEST, body).into_response()
    }
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    from: usize,
    #[serde(default = "page")]
    limit: usize,
}

const fn page() -> usize {
    PAGE
}

/// A page of a list. `next` is where the next one begins.
fn listed<T: Serialize>(range: &Range, items: &[T], overflow: u64) -> Json<Value> {
    Json(json!({
        "items": items,
        "next": range.from + items.len(),
        "overflow": overflow,
    }))
}

async fn status(State(shared): Twitch) -> Json<Value> {
    Json(twitch::status(&shared))
}

async fn messages(State(shared): Twitch, Query(range): Query<Range>) -> Json<Value> {
    let items = shared.ledger.messages(range.from, range.limit.min(PAGE));
    listed(&range, &items, shared.ledger.extents().messages.overflow)
}

async fn deliveries(State(shared): Twitch, Query(range): Query<Range>) -> Json<Value> {
    let items = shared.ledger.deliveries(range.from, range.limit.min(PAGE));
    listed(&range, &items, shared.ledger.extents().deliveries.overflow)
}

async fn log(State(shared): Twitch, Query(range): Query<Range>) -> Json<Value> {
    let items = shared.ledger.lines(range.from, range.limit.min(PAGE));
    listed(&range, &items, shared.ledger.extents().log.overflow)
}

async fn traffic(
    State(shared): Twitch,
    Json(traffic): Json<Traffic>,
) -> Result<Json<Value>, Error> {
    twitch::set_traffic(&shared, traffic)?;
    Ok(Json(json!({ "ok": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happen {
    kind: Kind,
    channel: String,
    author: String,
    #[serde(default)]
    text: String,
}

async fn happen(State(shared): Twitch, Json(what): Json<Happen>) -> Result<Json<Value>, Error> {
    let Happen {
        kind,
        channel,
        author,
        text,
    } = what;
    let message = chat::happen(&shared, kind, &channel, &author, &text)?;
    Ok(Json(json!(message)))
}

async fn fault(State(shared): Twitch, Json(fault): Json<Fault>) -> Result<Json<Value>, Error> {
    let hit = faults::play(&shared, fault)?;
    Ok(Json(json!({ "hit": hit })))
}

async fn channel(
    State(shared): Twitch,
    Path(login): Path<String>,
    Json(change): Json<ChannelChange>,
) -> Result<Json<Value>, Error> {
    twitch::change_channel(&shared, &login, &change)?;
    Ok(Json(json!({ "ok": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judge {
    seen: Vec<String>,
    #[serde(default)]
    scope: Scope,
}

async fn judge(State(shared): Twitch, Json(what): Json<Judge>) -> Json<Verdict> {
    Json(verdict::judge(&shared.ledger, &what.seen, &what.scope))
}
