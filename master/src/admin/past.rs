//! What happened, and what happens now.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast;

use super::{Admin, Failure, MAX_STREAMS, wrong};

/// An event stream says at least so often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What of the history is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Since {
    since: u64,
}

#[derive(Serialize)]
struct Past<'a> {
    events: Vec<&'a serde_json::Value>,
}

pub(super) async fn what_happened(
    State(admin): State<Arc<Admin>>,
    since: Result<Query<Since>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(Since { since }) = since.map_err(|rejection| wrong(rejection.body_text()))?;
    let kept = admin.history.events(since);
    let events = kept.iter().map(AsRef::as_ref).collect();
    Ok(Json(Past { events }).into_response())
}

pub(super) async fn deploys(State(admin): State<Arc<Admin>>) -> Response {
    let history = &admin.history;
    Json(json!({ "deploys": history.deploys(), "running": history.running() })).into_response()
}

pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let Ok(room) = Arc::clone(&admin.streams).try_acquire_owned() else {
        return Err(Failure(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{MAX_STREAMS} streams of events are open here: close one, or ask again later"),
        ));
    };
    let events = stream::unfold(
        (admin.news.subscribe(), admin.closing.clone(), room),
        |(mut news, closing, room)| async move {
            let told = tokio::select! {
                biased;
                told = news.recv() => told,
                () = closing.cancelled() => return None,
            };
            let object = match told {
                Ok(told) => told.to_json(),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    json!({"type": "missed", "count": missed})
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            let event = Event::default().data(object.to_string());
            Some((Ok(event), (news, closing, room)))
        },
    );
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}
