//! What an operator asks for: deploys, the way back, and what is done to one shard or
//! slave.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use baton_core::event::{Beside, DeployOrder, Pause};
use baton_protocol::{DeployId, ShardId, message::MAX_NAME};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    Admin, Failure,
    arranging::{maybe, stay},
    wrong,
};
use crate::{
    config::{check_command, whole_path},
    history::Deployed,
    notice::{Answer, Kill, Notice, Rolling},
};

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
    /// Whether it may run beside the deploys of other slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<bool>,
    /// Whether it is of every slot, one after the other; `slot` is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of all slots, those that come first, in this order; the others follow as they are
    /// configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
    /// Of all slots, how many are deployed at once when the first one is done; absent: one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
    /// The build that the slot has: another one, and the request is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

/// Body of `POST /v1/abort`, which may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AbortRequest {
    /// Of which slot the deploy is; absent: the only one that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Whether it is about shards that move to another slot, and no deploy: those that have
    /// not moved yet stay where they are.
    pub moves: bool,
}

/// Body of `POST /v1/pause` and `/v1/continue`, which may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SlotRequest {
    /// Of which slot the deploy is; absent: the only one that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// Body of `POST /v1/restart-shard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// Which shard restarts at its owner, by RESUME.
    pub shard: u32,
}

/// Which host is gone, with all its slaves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FenceHostRequest {
    /// Its name.
    pub host: String,
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
                if let Some(running) = self.history.underway(deploy) {
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

    async fn hold(&self, pause: Pause, slot: Option<String>) -> Result<Response, Failure> {
        let notice = |answer| Notice::Pause {
            slot,
            pause,
            answer,
        };
        self.want(notice).await
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
            beside,
            expect,
            all: _,
            order: _,
            max_unavailable: _,
        } = request;
        if width == Some(0) {
            return Err("width is zero: at least one shard must move at once".to_owned());
        }
        let defaults = self.defaults.borrow().clone();
        let slot = slot.unwrap_or(defaults.slot);
        if let Some(command) = command.clone() {
            whole_path(&command)?;
            // At another host its agent looks.
            if !self.elsewhere.contains(&slot) {
                let found = self.disks.ask(move || check_command(&command)).await;
                found.ok_or("the disk of the command did not answer in time")??;
            }
        }
        Ok(DeployOrder {
            slot,
            command,
            canary: canary.unwrap_or(defaults.canary),
            width: width.unwrap_or(defaults.width),
            soak: soak_ms.map_or(defaults.soak, Duration::from_millis),
            late_seal: late_seal.unwrap_or(defaults.late_seal),
            beside: match beside.unwrap_or(false) {
                true => Beside::Others,
                false => Beside::Nothing,
            },
            expect,
        })
    }
}

pub(super) async fn deploy(
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
    let rolls = rolls(&request).map_err(wrong)?;
    let order = admin.order(request).await.map_err(wrong)?;
    if let Some((first, at_once)) = rolls {
        let rolling = Rolling {
            order,
            build,
            first,
            at_once,
        };
        return admin
            .deploy(|answer| Notice::RollOut { rolling, answer })
            .await;
    }
    let answer = |answer| Notice::Deploy {
        order,
        build,
        answer: Some(answer),
    };
    admin.deploy(answer).await
}

/// Which slots come first and how many are deployed at once, if it is of all of them.
fn rolls(request: &DeployRequest) -> Result<Option<(Vec<String>, usize)>, String> {
    if !request.all {
        return match (&request.order[..], request.max_unavailable) {
            ([], None) => Ok(None),
            (_, _) => Err("`order` and `max_unavailable` are of a deploy with `all`".to_owned()),
        };
    }
    if request.slot.is_some() {
        return Err("`slot` is of one slot, and `all` of every one: name one of them".to_owned());
    }
    let at_once = request.max_unavailable.unwrap_or(1);
    if at_once == 0 {
        return Err("max_unavailable is zero: at least one slot must be deployed".to_owned());
    }
    let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
    Ok(Some((request.order.clone(), at_once)))
}

pub(super) async fn rollback(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<DeployRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let mut request = body(request)?;
    if request.all {
        return Err(wrong("`all` is of a deploy".to_owned()));
    }
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
            "deploy {to} had no command: its slave was not started by the master; start it \
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

pub(super) async fn abort(
    State(admin): State<Arc<Admin>>,
    request: Bytes,
) -> Result<Response, Failure> {
    let AbortRequest { slot, moves } = maybe(&request)?;
    match (slot, moves) {
        (Some(_), true) => Err(wrong(
            "`slot` is of a deploy, and `moves` of no deploy: name one of them".to_owned(),
        )),
        (None, true) => stay(&admin).await,
        (slot, false) => admin.want(|answer| Notice::Abort { slot, answer }).await,
    }
}

pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    request: Bytes,
) -> Result<Response, Failure> {
    admin.hold(Pause::Hold, slot_of(&request)?).await
}

pub(super) async fn go_on(
    State(admin): State<Arc<Admin>>,
    request: Bytes,
) -> Result<Response, Failure> {
    admin.hold(Pause::Continue, slot_of(&request)?).await
}

/// Of which slot the deploy is that is meant. Without a body: of the only one.
fn slot_of(request: &[u8]) -> Result<Option<String>, Failure> {
    Ok(maybe::<SlotRequest>(request)?.slot)
}

pub(super) async fn restart(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<RestartRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let shard = ShardId(body(request)?.shard);
    admin.want(|answer| Notice::Restart { shard, answer }).await
}

pub(super) async fn retry_late_seal(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let notice = |answer| Notice::LateSealsAgain { answer };
    admin.want(notice).await
}

pub(super) async fn identify(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    admin.want(|answer| Notice::Identify { answer }).await
}

/// The body is the work's, and so is the answer.
pub(super) async fn ask_work(
    State(admin): State<Arc<Admin>>,
    body: Bytes,
) -> Result<Response, Failure> {
    let (answer, said) = oneshot::channel();
    let said = admin.ask(Notice::Ask { body, answer }, said).await?;
    let said = said.map_err(|reason| Failure(StatusCode::CONFLICT, reason))?;
    Ok(([(CONTENT_TYPE, "application/json")], said).into_response())
}

/// Body of `POST /v1/step-down`, which may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepDownRequest {
    /// Also where nobody else would lead.
    pub(super) force: bool,
}

pub(super) async fn step_down(
    State(admin): State<Arc<Admin>>,
    body: Bytes,
) -> Result<Response, Failure> {
    let StepDownRequest { force } = if body.is_empty() {
        StepDownRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?
    };
    let conflict = |reason: String| Failure(StatusCode::CONFLICT, reason);
    let Some(post) = &admin.peers.post else {
        let alone =
            "this master shares its journal with no other: set store, and start a second one";
        return Err(conflict(alone.to_owned()));
    };
    post.step_down(force).map_err(conflict)?;
    // A driver that is gone already leads no more either.
    let _ = admin.notices.send(Notice::Leave).await;
    let standbys = post.standing().standbys;
    Ok((StatusCode::ACCEPTED, Json(json!({ "standbys": standbys }))).into_response())
}

pub(super) fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Failure> {
    let Json(request) = request.map_err(|rejection| wrong(rejection.body_text()))?;
    Ok(request)
}

pub(super) async fn fence_host(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<FenceHostRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let host = body(request)?.host;
    let (answer, answered) = oneshot::channel();
    match admin
        .ask(Notice::FenceHost { host, answer }, answered)
        .await?
    {
        Ok(slaves) => Ok(Json(json!({ "slaves": slaves })).into_response()),
        Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
    }
}

pub(super) async fn fence(
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
