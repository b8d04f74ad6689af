//! What this process holds, over HTTP: `GET /status` and `GET /guild/ID`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_slave::{Error, Monitor};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

use crate::relay::Relay;

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket file; a stale one is replaced.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(address) => Err(format!(
                "inspect: {address} can be reached from other hosts: give a loopback address or unix:PATH"
            )),
            Err(_) => Err(format!(
                "inspect: `{text}` is no address: give 127.0.0.1:PORT or unix:PATH"
            )),
        }
    }
}

type Shared = State<(Arc<Relay>, Monitor)>;

/// Binds, and serves in the background until the process ends.
pub(crate) async fn serve(
    address: &Address,
    relay: Arc<Relay>,
    monitor: Monitor,
) -> Result<(), Error> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/guild/{id}", get(guild))
        .with_state((relay, monitor));
    let taken = |error: std::io::Error| Error::Config(format!("inspect: {address:?}: {error}"));
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(taken)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Address::Unix(path) => {
            // A process that died left it there.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path).map_err(taken)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
    }
    Ok(())
}

async fn status(State((relay, monitor)): Shared) -> Response {
    let Some(status) = monitor.status().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let cache = relay.cache().inner().stats();
    Json(json!({
        "pid": std::process::id(),
        "slave": status,
        "cache": {"guilds": cache.guilds(), "users": cache.users(), "members": cache.members()},
    }))
    .into_response()
}

async fn guild(State((relay, _)): Shared, Path(id): Path<u64>) -> Response {
    match relay.cache().guild_create(id) {
        Some(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
