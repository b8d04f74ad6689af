//! The operator's interface: HTTP over a unix socket that only the master's
//! user can open.
//!
//! | | |
//! |---|---|
//! | `GET /v1/status` | the fleet ([`View`]) and under `master`, facts of this process |
//! | `POST /v1/deploy` | [`DeployRequest`], every field optional: 202 `{"deploy": N}`, or 409 `{"error": "..."}` |
//! | `POST /v1/abort` | 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/pause`, `POST /v1/continue` | 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/fence` | [`FenceRequest`]: 200 `{"slave": "..."}`, or 409 `{"error": "..."}` |
//! | `GET /v1/events` | server-sent events, see [`json`](mod@json) |
//! | `GET /metrics` | counts and times for Prometheus, see [`metrics`](crate::metrics) |
//! | `GET /healthz` | 200 while the driver answers |
//! | `GET /readyz` | 200 once the adopt grace is over |

pub mod client;
mod guard;
pub mod json;
mod metrics;

pub use self::guard::guarded;

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use baton_protocol::Term;
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::check_command,
    core::{
        event::{DeployOrder, Pause},
        view::View,
    },
    counters::Counts,
    driver::{Kill, Notice, Told},
    peer::Context,
};

/// The driver answers within this time, or is said not to.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest body of a request.
const MAX_BODY: usize = 256 * 1024;

/// An event stream says at least so often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What the requests need.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to ask the driver.
    pub notices: mpsc::Sender<Notice>,
    /// Where news come from.
    pub news: broadcast::Sender<Arc<Told>>,
    /// For the counts.
    pub peers: Arc<Context>,
    /// What a deploy is where the request does not say.
    pub defaults: watch::Receiver<DeployOrder>,
    /// Facts of this process.
    pub facts: Facts,
    /// When this master started.
    pub started: Instant,
    /// When set, streams end.
    pub closing: CancellationToken,
}

/// Facts of a master that do not change while it runs.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Which start of which fleet.
    pub term: Term,
    /// Version of the program.
    pub version: &'static str,
    /// Process id.
    pub pid: u32,
    /// TCP address for slaves.
    pub listen: String,
    /// Directory of the sockets.
    pub runtime_dir: PathBuf,
    /// Directory of the journal.
    pub data_dir: PathBuf,
}

/// Body of `POST /v1/deploy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeployRequest {
    /// Which slot; absent: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Program and arguments of the new build; absent: the slot's own again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Shards that move alone, first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// Shards that move at once, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// How long the old slave stays ready, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak_ms: Option<u64>,
    /// Whether shards are sealed late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_seal: Option<bool>,
}

/// Body of `POST /v1/fence`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FenceRequest {
    /// Which slave: its id, or the beginning of it that no other's has.
    pub slave: String,
    /// Whether a process that lives and can be signalled is killed.
    #[serde(default)]
    pub kill: bool,
}

impl Admin {
    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/status", get(status))
            .route("/v1/deploy", post(deploy))
            .route("/v1/abort", post(abort))
            .route("/v1/pause", post(pause))
            .route("/v1/continue", post(go_on))
            .route("/v1/fence", post(fence))
            .route("/v1/events", get(events))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::new(self))
    }

    async fn ask<T>(&self, notice: Notice, answer: oneshot::Receiver<T>) -> Result<T, Failure> {
        let asked = async {
            self.notices.send(notice).await.ok()?;
            answer.await.ok()
        };
        match timeout(ANSWER, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure(
                StatusCode::SERVICE_UNAVAILABLE,
                "the master is leaving".to_owned(),
            )),
            Err(_) => Err(Failure(
                StatusCode::GATEWAY_TIMEOUT,
                "the master did not answer in time".to_owned(),
            )),
        }
    }

    async fn view(&self) -> Result<View, Failure> {
        let (answer, view) = oneshot::channel();
        self.ask(Notice::Look { answer }, view).await
    }

    async fn hold(&self, pause: Pause) -> Result<Response, Failure> {
        let (answer, answered) = oneshot::channel();
        match self.ask(Notice::Pause { pause, answer }, answered).await? {
            Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response()),
            Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
        }
    }

    fn order(&self, request: DeployRequest) -> Result<DeployOrder, String> {
        let DeployRequest {
            slot,
            command,
            canary,
            width,
            soak_ms,
            late_seal,
        } = request;
        if width == Some(0) {
            return Err("width is zero: at least one shard must move at once".to_owned());
        }
        if let Some(command) = &command {
            check_command(command)?;
        }
        let defaults = self.defaults.borrow().clone();
        Ok(DeployOrder {
            slot: slot.unwrap_or(defaults.slot),
            command,
            canary: canary.unwrap_or(defaults.canary),
            width: width.unwrap_or(defaults.width),
            soak: soak_ms.map_or(defaults.soak, Duration::from_millis),
            late_seal: late_seal.unwrap_or(defaults.late_seal),
        })
    }
}

/// A request that was not done: why.
#[derive(Debug)]
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    view: View,
    master: MasterStatus,
}

#[derive(Serialize)]
struct MasterStatus {
    #[serde(flatten)]
    facts: Facts,
    uptime_ms: u64,
    links: Counts,
}

async fn status(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let master = MasterStatus {
        facts: admin.facts.clone(),
        uptime_ms: u64::try_from(admin.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        links: admin.peers.counters.read(),
    };
    Ok(Json(Status { view, master }).into_response())
}

async fn deploy(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<DeployRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let wrong = |reason| Failure(StatusCode::BAD_REQUEST, reason);
    let Json(request) = request.map_err(|rejection| wrong(rejection.body_text()))?;
    let order = admin.order(request).map_err(wrong)?;
    let (answer, answered) = oneshot::channel();
    let notice = Notice::Deploy {
        order,
        answer: Some(answer),
    };
    match admin.ask(notice, answered).await? {
        Ok(deploy) => Ok((StatusCode::ACCEPTED, Json(json!({ "deploy": deploy }))).into_response()),
        Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
    }
}

async fn abort(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let (answer, answered) = oneshot::channel();
    match admin.ask(Notice::Abort { answer }, answered).await? {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response()),
        Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
    }
}

async fn pause(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    admin.hold(Pause::Hold).await
}

async fn go_on(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    admin.hold(Pause::Continue).await
}

async fn fence(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<FenceRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let wrong = |reason| Failure(StatusCode::BAD_REQUEST, reason);
    let Json(FenceRequest { slave, kill }) =
        request.map_err(|rejection| wrong(rejection.body_text()))?;
    let kill = if kill { Kill::First } else { Kill::Never };
    let (answer, answered) = oneshot::channel();
    let notice = Notice::Fence {
        slave,
        kill,
        answer,
    };
    match (admin.ask(notice, answered).await, kill) {
        (Ok(Ok(slave)), _) => Ok(Json(json!({ "slave": slave })).into_response()),
        (Ok(Err(reason)), _) => Err(Failure(StatusCode::CONFLICT, reason)),
        (Err(Failure(code @ StatusCode::GATEWAY_TIMEOUT, _)), Kill::First) => Err(Failure(
            code,
            "it was killed and is not known to be dead yet; its shards wait until it is".to_owned(),
        )),
        (Err(failure), _) => Err(failure),
    }
}

async fn events(
    State(admin): State<Arc<Admin>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(
        (admin.news.subscribe(), admin.closing.clone()),
        |(mut news, closing)| async move {
            let told = tokio::select! {
                biased;
                told = news.recv() => told,
                () = closing.cancelled() => return None,
            };
            let object = match told {
                Ok(told) => json::object(&told),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    json!({"type": "missed", "count": missed})
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            let event = Event::default().data(object.to_string());
            Some((Ok(event), (news, closing)))
        },
    );
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

async fn health(State(admin): State<Arc<Admin>>) -> Result<&'static str, Failure> {
    admin.view().await.map(|_| "ok\n")
}

async fn ready(State(admin): State<Arc<Admin>>) -> Result<&'static str, Failure> {
    if admin.view().await?.adopting {
        return Err(Failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "reports are still collected after the start".to_owned(),
        ));
    }
    Ok("ready\n")
}
