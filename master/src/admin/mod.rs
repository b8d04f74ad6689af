//! The operator's interface: HTTP over a unix socket that only the master's
//! user can open.
//!
//! | | |
//! |---|---|
//! | `GET /v1/status` | the fleet ([`View`]) and under `master`, facts of this process |
//! | `POST /v1/deploy` | [`DeployRequest`], every field optional: 202 `{"deploy": N}` with the slot, its `command` and the one `before`, and the build that serves (`from`); or 409 `{"error": "..."}` |
//! | `POST /v1/rollback` | the same without `command`: the one that the slot had before, or that deploy `to` brought |
//! | `POST /v1/abort` | the deploy goes back; with `{"moves": true}`, shards that have not moved to another slot yet stay where they are: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/move` | [`MoveRequest`]: 202 with what moves, `{"moves": [{"shards": "0-3", "from": "a", "to": "b"}]}`; 200 with the same if `dry_run`; or 409 `{"error": "..."}` |
//! | `POST /v1/drain`, `/v1/cordon`, `/v1/uncordon` | [`HostsRequest`], answered the same way |
//! | `POST /v1/rebalance` | [`RebalanceRequest`], which may be left out, answered the same way |
//! | `POST /v1/hold` | [`HoldRequest`], which may be left out: nothing begins by itself, or it does again |
//! | `POST /v1/pause`, `POST /v1/continue` | 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/restart-shard` | [`RestartRequest`]: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/fence` | [`FenceRequest`]: 200 `{"slave": "..."}`, or 409 `{"error": "..."}` |
//! | `POST /v1/fence-host` | [`FenceHostRequest`]: 200 `{"slaves": [...]}`, all of that host; or 409 `{"error": "..."}` |
//! | `GET /v1/history` | under `events`, what happened, also under earlier masters, the newest last; `?since=T` only what was later than T, in milliseconds since 1970 ([`chronicle`](crate::history::chronicle)) |
//! | `GET /v1/deploys` | under `deploys`, those that ended, also under earlier masters, at most 50, the newest last ([`Deployed`](crate::history::Deployed)); under `running`, the one that runs ([`Underway`](crate::history::Underway)) |
//! | `GET /v1/doctor` | under `findings`, what each check saw ([`Finding`](crate::doctor::Finding)); `GET /v1/status` has those that are not well under `doctor` |
//! | `GET /v1/events` | server-sent events, each piece of news as [`Stamped::to_json`] has it; at most [`MAX_STREAMS`] at each door, then 503 |
//! | `GET /v1/access` | `{"operate": true}`, or false and `why` |
//! | `GET /metrics` | counts and times for Prometheus, see [`metrics`](crate::metrics) |
//! | `GET /`, `GET /page/*` | the page for operators |
//! | `GET /healthz` | 200 while the driver answers |
//! | `POST /v1/retry-late-seal` | forgets that Discord refused a late seal: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/work` | asks the once-per-bot work: the body as it is; 200 with what it answers, or 409 `{"error": "..."}` |
//! | `POST /v1/identify` | shards without a session try now, the reserve may be spent: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/step-down` | `{"force": false}`: another master leads: 202 with its `standbys`, or 409 `{"error": "..."}` |
//! | `GET /readyz` | 200 once the adopt grace is over, every shard gets its events, and the store answers; else 503 and why; of one host, or of any one slave: `?host=NAME`, `&at_least_one` |

mod arranging;
pub mod client;
mod disks;
mod guard;
mod metrics;
mod orders;
mod page;
mod past;
mod ready;
mod status;

pub use self::{
    arranging::{HoldRequest, HostsRequest, MoveRequest, RebalanceRequest},
    disks::Disks,
    guard::Guard,
    orders::{DeployRequest, FenceHostRequest, FenceRequest, RestartRequest},
};

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use baton_core::{event::DeployOrder, view::View};
use baton_protocol::Term;
use serde::Serialize;
use serde_json::json;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    doors::Places, history::History, keeper::Kept, news::Stamped, notice::Notice, peer::Context,
};

/// The driver answers within this time, or is reported.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest body of a request.
const MAX_BODY: usize = 256 * 1024;

/// Streams of events at one door.
pub const MAX_STREAMS: usize = 64;

/// What the requests need.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to ask the driver.
    pub notices: mpsc::Sender<Notice>,
    /// Where news come from.
    pub news: broadcast::Sender<Arc<Stamped>>,
    /// For the counts.
    pub peers: Arc<Context>,
    /// What a deploy is where the request does not say.
    pub defaults: watch::Receiver<DeployOrder>,
    /// What became of deploys.
    pub history: Arc<History>,
    /// Slots whose slaves the agents of other hosts start.
    pub elsewhere: Arc<BTreeSet<String>>,
    /// Facts of this process.
    pub facts: Facts,
    /// When this master started.
    pub started: Instant,
    /// The places of each door, by the key that opens it.
    pub doors: Vec<(&'static str, Arc<Places>)>,
    /// Room for streams of events.
    pub streams: Arc<Semaphore>,
    /// Who asks the host's disks.
    pub disks: Disks,
    /// What is wrong in the runtime directory.
    pub kept: Kept,
    /// When set, streams end.
    pub closing: CancellationToken,
}

/// Facts of a master that do not change while it runs.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// What the fleet is called, where the configuration says so.
    pub name: Option<String>,
    /// The host's name.
    pub host: String,
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
    /// The directory in which the master and what it launches run.
    pub working_dir: PathBuf,
}

impl Admin {
    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/status", get(status::status))
            .route("/v1/deploy", post(orders::deploy))
            .route("/v1/rollback", post(orders::rollback))
            .route("/v1/abort", post(orders::abort))
            .route("/v1/pause", post(orders::pause))
            .route("/v1/continue", post(orders::go_on))
            .route("/v1/move", post(arranging::moves))
            .route("/v1/drain", post(arranging::drain))
            .route("/v1/cordon", post(arranging::cordon))
            .route("/v1/uncordon", post(arranging::uncordon))
            .route("/v1/rebalance", post(arranging::rebalance))
            .route("/v1/hold", post(arranging::hold))
            .route("/v1/restart-shard", post(orders::restart))
            .route("/v1/fence", post(orders::fence))
            .route("/v1/fence-host", post(orders::fence_host))
            .route("/v1/deploys", get(past::deploys))
            .route("/v1/history", get(past::what_happened))
            .route("/v1/doctor", get(status::doctor))
            .route("/v1/events", get(past::events))
            .route("/v1/access", get(guard::access))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(status::health))
            .route("/v1/identify", post(orders::identify))
            .route("/v1/work", post(orders::ask_work))
            .route("/v1/retry-late-seal", post(orders::retry_late_seal))
            .route("/v1/step-down", post(orders::step_down))
            .route("/readyz", get(ready::ready))
            .merge(page::router())
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
}

/// A request that was not done: why.
#[derive(Debug)]
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

const fn wrong(reason: String) -> Failure {
    Failure(StatusCode::BAD_REQUEST, reason)
}
