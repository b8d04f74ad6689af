//! The operator's interface: HTTP over a unix socket that only the master's
//! user can open.
//!
//! | | |
//! |---|---|
//! | `GET /v1/status` | the fleet ([`View`]) and under `master`, facts of this process |
//! | `POST /v1/deploy` | [`DeployRequest`], every field optional: 202 `{"deploy": N}` with the slot, its `command` and the one `before`, and the build that serves (`from`); or 409 `{"error": "..."}` |
//! | `POST /v1/rollback` | the same without `command`: the one that the slot had before, or that deploy `to` brought |
//! | `POST /v1/abort` | 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/pause`, `POST /v1/continue` | 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/restart-shard` | [`RestartRequest`]: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/fence` | [`FenceRequest`]: 200 `{"slave": "..."}`, or 409 `{"error": "..."}` |
//! | `GET /v1/history` | under `events`, what happened, also under earlier masters, the newest last; `?since=T` only what was later than T, in milliseconds since 1970 ([`chronicle`](crate::history::chronicle)) |
//! | `GET /v1/deploys` | under `deploys`, those that ended, also under earlier masters, at most 50, the newest last ([`Deployed`](crate::history::Deployed)); under `running`, the one that runs ([`Underway`](crate::history::Underway)) |
//! | `GET /v1/doctor` | under `findings`, what each check saw ([`Finding`]); `GET /v1/status` has those that are not well under `doctor` |
//! | `GET /v1/events` | server-sent events, see [`json`](mod@json); at most [`MAX_STREAMS`] at each door, then 503 |
//! | `GET /v1/access` | `{"operate": true}`, or false and `why` |
//! | `GET /metrics` | counts and times for Prometheus, see [`metrics`](crate::metrics) |
//! | `GET /`, `GET /page/*` | the page for operators |
//! | `GET /healthz` | 200 while the driver answers |
//! | `POST /v1/retry-late-seal` | forgets that Discord refused a late seal: 202 `{}`, or 409 `{"error": "..."}` |
//! | `POST /v1/identify` | shards without a session try now, the reserve may be spent: 202 `{}`, or 409 `{"error": "..."}` |
//! | `GET /readyz` | 200 once the adopt grace is over and every shard gets its events; else 503 and why |

pub mod client;
mod disks;
mod guard;
pub mod json;
mod metrics;
mod page;

pub use self::{disks::Disks, guard::Guard};

use std::{collections::BTreeMap, convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use baton_core::{
    event::{DeployOrder, Pause},
    view::View,
};
use baton_protocol::{DeployId, ShardId, Term, message::MAX_NAME};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{check_command, whole_path},
    counters::Counts,
    doctor::{Doors, Finding, Host, examine, troubles},
    doors::Places,
    driver::{Answer, Kill, Notice, Told},
    history::{Deployed, Died, History, LastDeploy, Underway, unix_ms},
    keeper::Kept,
    peer::Context,
};

/// The driver answers within this time, or is said not to.
const ANSWER: Duration = Duration::from_secs(10);

/// So many deaths are in the status; the history has more.
const DEATHS: usize = 10;

/// Longest body of a request.
const MAX_BODY: usize = 256 * 1024;

/// An event stream says at least so often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Streams of events at one door.
pub const MAX_STREAMS: usize = 64;

/// A door that was full is said for so long.
const LATELY: Duration = Duration::from_secs(600);

/// A log that takes nothing for so long is read by nobody.
const UNREAD: Duration = Duration::from_secs(5);

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
    /// What became of deploys.
    pub history: Arc<History>,
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
    /// What the new build is called: its `BATON_BUILD`; absent: what it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Of a rollback: the deploy whose command comes back; absent: the command before
    /// the present one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
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

/// Body of `POST /v1/restart-shard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// Which shard begins anew at its owner, by RESUME.
    pub shard: u32,
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
            .route("/v1/rollback", post(rollback))
            .route("/v1/abort", post(abort))
            .route("/v1/pause", post(pause))
            .route("/v1/continue", post(go_on))
            .route("/v1/restart-shard", post(restart))
            .route("/v1/fence", post(fence))
            .route("/v1/deploys", get(deploys))
            .route("/v1/history", get(what_happened))
            .route("/v1/doctor", get(doctor))
            .route("/v1/events", get(events))
            .route("/v1/access", get(guard::access))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(health))
            .route("/v1/identify", post(identify))
            .route("/v1/retry-late-seal", post(retry_late_seal))
            .route("/readyz", get(ready))
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

    /// Asks for what is taken or refused.
    async fn want(&self, notice: impl FnOnce(Answer<()>) -> Notice) -> Result<Response, Failure> {
        let (answer, answered) = oneshot::channel();
        match self.ask(notice(answer), answered).await? {
            Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response()),
            Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
        }
    }

    /// Asks for a deploy.
    async fn deploy(
        &self,
        notice: impl FnOnce(Answer<DeployId>) -> Notice,
    ) -> Result<Response, Failure> {
        let (answer, answered) = oneshot::channel();
        match self.ask(notice(answer), answered).await? {
            Ok(deploy) => {
                let mut accepted = json!({ "deploy": deploy });
                // One that ended at once is not under way any more.
                if let Some(running) = self.history.running()
                    && running.deploy == deploy.get()
                {
                    accepted["slot"] = running.slot.into();
                    accepted["command"] = json!(running.brought.command);
                    accepted["before"] = json!(running.brought.before);
                    accepted["from"] = json!(running.from);
                }
                Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
            }
            Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
        }
    }

    async fn host(&self, view: &View) -> Result<Host, Failure> {
        let connected = view.slaves.iter().filter(|slave| slave.connected);
        let pids: Vec<u32> = connected.map(|slave| slave.pid).collect();
        let (runtime_dir, data_dir) = (self.facts.runtime_dir.clone(), self.facts.data_dir.clone());
        let look = move || Host::look(&runtime_dir, &data_dir, &pids);
        self.disks.ask(look).await.ok_or_else(|| {
            let reason = "the host's disk did not answer in time";
            Failure(StatusCode::GATEWAY_TIMEOUT, reason.to_owned())
        })
    }

    fn look_at_doors(&self) -> Doors {
        let crowded = self.doors.iter();
        let crowded = crowded.filter(|(_, places)| places.was_full(LATELY));
        let log = baton_log::stderr();
        Doors {
            crowded: crowded.map(|(key, _)| *key).collect(),
            log_stuck: log.is_stuck(UNREAD),
            log_dropped: log.dropped(),
        }
    }

    fn examine(&self, view: &View, host: &Host) -> Vec<Finding> {
        let mut findings = examine(view, host, &self.look_at_doors());
        let missing = view.slaves.iter().any(|slave| !slave.connected);
        findings.extend(self.kept.findings(missing));
        findings
    }

    async fn order(&self, request: DeployRequest) -> Result<DeployOrder, String> {
        let DeployRequest {
            slot,
            command,
            build: _,
            to: _,
            canary,
            width,
            soak_ms,
            late_seal,
        } = request;
        if width == Some(0) {
            return Err("width is zero: at least one shard must move at once".to_owned());
        }
        if let Some(command) = command.clone() {
            whole_path(&command)?;
            let found = self.disks.ask(move || check_command(&command)).await;
            found.ok_or("the disk of the command did not answer in time")??;
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
    /// The deploy that ended last, under this master.
    last_deploy: Option<LastDeploy>,
    /// The deploy that runs, with what it brings and how far it is.
    underway: Option<Underway>,
    /// Slaves that ended and were not to, the newest last.
    deaths: Vec<Died>,
    /// How many of them were in the last hour, by slot.
    died_last_hour: BTreeMap<String, usize>,
    /// What somebody should look at, the worst first.
    doctor: Vec<Finding>,
    master: MasterStatus,
}

#[derive(Serialize)]
struct MasterStatus {
    #[serde(flatten)]
    facts: Facts,
    uptime_ms: u64,
    /// The host's wall clock, in milliseconds since 1970: ages are counted by it, not
    /// by the clock of whoever reads.
    now_unix_ms: u64,
    links: Counts,
    /// Lines of its log that nobody read in time.
    log_lines_dropped: u64,
}

async fn status(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let host = admin.host(&view).await?;
    let master = MasterStatus {
        facts: admin.facts.clone(),
        uptime_ms: u64::try_from(admin.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        now_unix_ms: host.unix_ms,
        links: admin.peers.counters.read(),
        log_lines_dropped: baton_log::stderr().dropped(),
    };
    let mut deaths = admin.history.deaths();
    let mut died_last_hour = BTreeMap::new();
    let hour_ago = unix_ms().saturating_sub(3_600_000);
    for death in deaths.iter().filter(|death| death.at_unix_ms >= hour_ago) {
        *died_last_hour.entry(death.slot.clone()).or_default() += 1;
    }
    let status = Status {
        doctor: troubles(admin.examine(&view, &host)),
        view,
        last_deploy: admin.history.last(),
        underway: admin.history.running(),
        deaths: deaths.split_off(deaths.len().saturating_sub(DEATHS)),
        died_last_hour,
        master,
    };
    Ok(Json(status).into_response())
}

async fn doctor(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let findings = admin.examine(&view, &admin.host(&view).await?);
    Ok(Json(json!({ "findings": findings })).into_response())
}

async fn deploy(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<DeployRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let request = body(request)?;
    if request.to.is_some() {
        return Err(wrong("`to` is of a rollback".to_owned()));
    }
    let build = request.build.clone();
    if let Some(build) = &build {
        check_build(build).map_err(wrong)?;
    }
    let order = admin.order(request).await.map_err(wrong)?;
    let answer = |answer| Notice::Deploy {
        order,
        build,
        answer: Some(answer),
    };
    admin.deploy(answer).await
}

async fn rollback(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<DeployRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let mut request = body(request)?;
    if request.command.is_some() || request.build.is_some() {
        let reason = "a rollback brings a command back that the slot had before; name another \
                      one with a deploy";
        return Err(wrong(reason.to_owned()));
    }
    let Some(to) = request.to else {
        let order = admin.order(request).await.map_err(wrong)?;
        return admin
            .deploy(|answer| Notice::Rollback { order, answer })
            .await;
    };
    let conflict = |reason| Failure(StatusCode::CONFLICT, reason);
    let (slot, command) = way_back(&admin.history.deploys(), to).map_err(conflict)?;
    if request.slot.as_ref().is_some_and(|asked| *asked != slot) {
        return Err(conflict(format!("deploy {to} was of slot {slot:?}")));
    }
    request.slot = Some(slot);
    request.command = Some(command);
    let order = admin.order(request).await.map_err(wrong)?;
    let answer = |answer| Notice::Deploy {
        order,
        build: None,
        answer: Some(answer),
    };
    admin.deploy(answer).await
}

/// The slot and the command of a deploy that came through.
fn way_back(deploys: &[Deployed], to: u64) -> Result<(String, Vec<String>), String> {
    let usable = |deploy: &&Deployed| deploy.came_through() && deploy.brought.command.is_some();
    let known: Vec<String> = deploys
        .iter()
        .filter(usable)
        .map(|deploy| deploy.deploy.to_string())
        .collect();
    let known = match known.is_empty() {
        true => "none is known".to_owned(),
        false => format!("known are {}", known.join(", ")),
    };
    let Some(deploy) = deploys.iter().rfind(|deploy| deploy.deploy == to) else {
        return Err(format!(
            "no deploy {to} is remembered; of those that came through and had a command, {known}"
        ));
    };
    match &deploy.brought.command {
        _ if !deploy.came_through() => Err(format!(
            "deploy {to} did not come through ({}): nothing of it ever filled the slot; of those \
             that did, {known}",
            deploy.text
        )),
        None => Err(format!(
            "deploy {to} had no command: its slave was started by somebody else, who can start it \
             again; of those with a command, {known}"
        )),
        Some(command) => Ok((deploy.slot.clone(), command.clone())),
    }
}

/// Whether a build may be called this.
fn check_build(build: &str) -> Result<(), String> {
    if build.is_empty() || build.len() > MAX_NAME || build.chars().any(char::is_control) {
        return Err(format!(
            "build {build:?}: a name has 1 to {MAX_NAME} characters, and no control characters"
        ));
    }
    Ok(())
}

/// What of the history is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Since {
    since: u64,
}

#[derive(Serialize)]
struct Past<'a> {
    events: Vec<&'a serde_json::Value>,
}

async fn what_happened(
    State(admin): State<Arc<Admin>>,
    since: Result<Query<Since>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(Since { since }) = since.map_err(|rejection| wrong(rejection.body_text()))?;
    let kept = admin.history.events(since);
    let events = kept.iter().map(AsRef::as_ref).collect();
    Ok(Json(Past { events }).into_response())
}

async fn abort(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    admin.want(|answer| Notice::Abort { answer }).await
}

async fn pause(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let pause = Pause::Hold;
    admin.want(|answer| Notice::Pause { pause, answer }).await
}

async fn go_on(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let pause = Pause::Continue;
    admin.want(|answer| Notice::Pause { pause, answer }).await
}

async fn restart(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<RestartRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let shard = ShardId(body(request)?.shard);
    admin.want(|answer| Notice::Restart { shard, answer }).await
}

async fn retry_late_seal(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let notice = |answer| Notice::LateSealsAgain { answer };
    admin.want(notice).await
}

async fn identify(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    admin.want(|answer| Notice::Identify { answer }).await
}

async fn deploys(State(admin): State<Arc<Admin>>) -> Response {
    let history = &admin.history;
    Json(json!({ "deploys": history.deploys(), "running": history.running() })).into_response()
}

fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Failure> {
    let Json(request) = request.map_err(|rejection| wrong(rejection.body_text()))?;
    Ok(request)
}

const fn wrong(reason: String) -> Failure {
    Failure(StatusCode::BAD_REQUEST, reason)
}

async fn fence(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<FenceRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let FenceRequest { slave, kill } = body(request)?;
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
                Ok(told) => json::object(&told),
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

async fn health(State(admin): State<Arc<Admin>>) -> Result<&'static str, Failure> {
    admin.view().await.map(|_| "ok\n")
}

async fn ready(State(admin): State<Arc<Admin>>) -> Result<&'static str, Failure> {
    let view = admin.view().await?;
    if view.adopting {
        return Err(Failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "reports are still collected after the start".to_owned(),
        ));
    }
    let mut dark = view.shards.iter().filter(|shard| !shard.gets_events());
    let Some(first) = dark.next() else {
        return Ok("ready\n");
    };
    let (count, of) = (dark.count() + 1, view.shards.len());
    let (shard, state) = (first.shard, first.state);
    Err(Failure(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{count} of {of} shards get no events; shard {shard}: {state}"),
    ))
}
