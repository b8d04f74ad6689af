//! What an operator says of where shards are to be: `move`, `drain`, `cordon`, `uncordon`,
//! `rebalance`, `hold`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use baton_core::{Members, event::Arranging};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Admin, Failure, orders::body, wrong};
use crate::notice::Notice;

/// Body of `POST /v1/move`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Which shards, as `0-31,40`.
    pub shards: Members,
    /// The slot that they are to be in.
    pub to: String,
    /// Whether it is only asked what that comes to.
    #[serde(default)]
    pub dry_run: bool,
}

/// Body of `POST /v1/drain`, `/v1/cordon` and `/v1/uncordon`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostsRequest {
    /// Which hosts, at least one; `local` is the master's own.
    pub hosts: Vec<String>,
    /// Whether it is only asked what that comes to.
    #[serde(default)]
    pub dry_run: bool,
}

/// Body of `POST /v1/rebalance`, which may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RebalanceRequest {
    /// Whether it is only asked what that comes to.
    pub dry_run: bool,
}

/// Body of `POST /v1/hold`, which may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoldRequest {
    /// Whether things begin by themselves again.
    pub release: bool,
}

/// More hosts in one order are refused.
const MOST_HOSTS: usize = 256;

impl Admin {
    async fn arrange(&self, order: Arranging, dry_run: bool) -> Result<Response, Failure> {
        let (answer, answered) = oneshot::channel();
        let notice = Notice::Arrange {
            order,
            dry_run,
            answer,
        };
        match self.ask(notice, answered).await? {
            Ok(moves) => {
                let code = match dry_run {
                    true => StatusCode::OK,
                    false => StatusCode::ACCEPTED,
                };
                Ok((code, Json(json!({ "moves": moves }))).into_response())
            }
            Err(reason) => Err(Failure(StatusCode::CONFLICT, reason)),
        }
    }

    async fn arrange_hosts(
        &self,
        request: Result<Json<HostsRequest>, JsonRejection>,
        order: fn(Vec<String>) -> Arranging,
    ) -> Result<Response, Failure> {
        let HostsRequest { hosts, dry_run } = body(request)?;
        if hosts.is_empty() || hosts.len() > MOST_HOSTS {
            return Err(wrong(format!("hosts: name 1 to {MOST_HOSTS} hosts")));
        }
        self.arrange(order(hosts), dry_run).await
    }
}

pub(super) async fn moves(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    let MoveRequest {
        shards,
        to,
        dry_run,
    } = body(request)?;
    admin.arrange(Arranging::Move { shards, to }, dry_run).await
}

pub(super) async fn drain(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<HostsRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    admin.arrange_hosts(request, Arranging::Drain).await
}

pub(super) async fn cordon(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<HostsRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    admin.arrange_hosts(request, Arranging::Cordon).await
}

pub(super) async fn uncordon(
    State(admin): State<Arc<Admin>>,
    request: Result<Json<HostsRequest>, JsonRejection>,
) -> Result<Response, Failure> {
    admin.arrange_hosts(request, Arranging::Uncordon).await
}

pub(super) async fn rebalance(
    State(admin): State<Arc<Admin>>,
    request: Bytes,
) -> Result<Response, Failure> {
    let request: RebalanceRequest = maybe(&request)?;
    admin.arrange(Arranging::Rebalance, request.dry_run).await
}

pub(super) async fn hold(
    State(admin): State<Arc<Admin>>,
    request: Bytes,
) -> Result<Response, Failure> {
    let order = match maybe::<HoldRequest>(&request)?.release {
        true => Arranging::Release,
        false => Arranging::Hold,
    };
    admin.arrange(order, false).await
}

/// Shards that have not moved yet stay where they are.
pub(super) async fn stay(admin: &Admin) -> Result<Response, Failure> {
    admin.arrange(Arranging::Stay, false).await
}

/// A body that may be left out.
pub(super) fn maybe<T: Default + for<'de> Deserialize<'de>>(request: &[u8]) -> Result<T, Failure> {
    if request.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let request: Option<T> =
        serde_json::from_slice(request).map_err(|error| wrong(format!("the body: {error}")))?;
    Ok(request.unwrap_or_default())
}
