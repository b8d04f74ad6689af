//! The control port: HTTP and JSON, loopback only. Every endpoint is described
//! in `docs/simulated-discord.md`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    config::traffic::{Burst, Traffic},
    error::Error,
    faults::FaultName,
    ledger::Bounded,
    server::Shared,
    settings::SettingsChange,
    wire::tls::Tls,
};

/// Lines that are written out at a time.
const LINES: usize = 4096;

type Discord = State<Arc<Shared>>;

/// Serves until the server stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let stop = shared.stop.clone();
    let router = Router::new()
        .route("/status", get(get_status))
        .route("/ledger", get(get_ledger))
        .route("/log", get(get_log))
        .route("/commands", get(get_commands))
        .route("/rest", get(get_rest))
        .route("/traffic", post(post_traffic))
        .route("/probe", post(post_probe))
        .route("/settings", post(post_settings))
        .route("/truth/guilds", get(get_guilds))
        .route("/truth/guild/{id}", get(get_guild))
        .route(
            "/faults",
            get(get_faults).post(post_fault).delete(delete_faults),
        )
        .with_state(shared);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "control port failed");
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (
            StatusCode::BAD_REQUEST,
            Json(json!({ "error": self.to_string() })),
        )
            .into_response()
    }
}

fn done() -> Response {
    Json(json!({ "ok": true })).into_response()
}

/// Settings, addresses and counters.
pub(crate) fn status(shared: &Shared) -> Value {
    let config = &shared.config;
    let sessions = shared.sessions();
    let connected = sessions
        .iter()
        .filter(|session| session.is_connected())
        .count();
    let limit = shared.start_limit();
    let settings = shared.settings.get();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let bounded = |(len, dropped): (usize, u64)| json!({ "len": len, "dropped": dropped, "overflow": dropped > 0 });
    let scheme = if config.tls == Tls::Off {
        "http"
    } else {
        "https"
    };
    json!({
        "url": format!("{}://{}", shared.scheme(), shared.address()),
        "rest": format!("{scheme}://{}", shared.address()),
        "config": {
            "shards": config.shards,
            "guilds_per_shard": config.guilds_per_shard,
            "members_per_guild": config.members_per_guild,
            "state_bytes_per_guild": config.state_bytes_per_guild,
            "seed": config.seed,
            "rtt_ms": millis(config.rtt),
            "max_concurrency": config.max_concurrency,
            "identify_window_ms": millis(config.identify_window),
            "heartbeat_interval_ms": millis(settings.heartbeat_interval),
            "resume_window_ms": millis(config.resume_window),
            "replay_buffer": config.replay_buffer,
            "resume_while_connected": settings.resume_while_connected.name(),
            "heartbeat_trims": settings.heartbeat_trims,
            "skip_every": settings.skip_every,
            "repeat_every": config.repeat_every,
            "odd_every": config.odd_every,
            "refused_identify_counts": settings.refused_identify_counts,
            "quiet_shards": config.quiet_shards,
        },
        "session_start_limit": { "total": limit.total, "remaining": limit.remaining },
        "connections": shared.connection_count(),
        "sessions": sessions.len(),
        "sessions_connected": connected,
        "session_list": sessions.iter().map(|session| json!({
            "session": session.fingerprint.to_string(),
            "shard": [session.params.shard, session.params.count],
            "intents": session.params.intents,
            "compress": session.params.compression.name(),
            "seq": session.seq(),
            "connected": session.is_connected(),
        })).collect::<Vec<_>>(),
        "ledger": bounded(shared.ledger.counts()),
        "log": bounded(shared.log.counts()),
        "commands": bounded(shared.commands.counts()),
        "requests": bounded(shared.rest.requests.counts()),
        "counters": shared.counters.snapshot(),
    })
}

async fn get_status(State(shared): Discord) -> Json<Value> {
    Json(status(&shared))
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
}

async fn get_ledger(State(shared): Discord, Query(range): Query<Range>) -> Response {
    let counts = shared.ledger.counts();
    lines(range, counts, move |from, limit, out| {
        write_out(&shared.ledger, from, limit, |entry| entry.write_line(out))
    })
}

async fn get_log(State(shared): Discord, Query(range): Query<Range>) -> Response {
    let counts = shared.log.counts();
    lines(range, counts, move |from, limit, out| {
        write_out(&shared.log, from, limit, |line| line.write_line(out))
    })
}

async fn get_commands(State(shared): Discord, Query(range): Query<Range>) -> Response {
    let counts = shared.commands.counts();
    lines(range, counts, move |from, limit, out| {
        write_out(&shared.commands, from, limit, |line| line.write_line(out))
    })
}

async fn get_rest(State(shared): Discord, Query(range): Query<Range>) -> Response {
    let counts = shared.rest.requests.counts();
    lines(range, counts, move |from, limit, out| {
        write_out(&shared.rest.requests, from, limit, |line| {
            line.write_line(out)
        })
    })
}

fn write_out<T: Clone>(
    list: &Bounded<T>,
    from: usize,
    limit: usize,
    mut write: impl FnMut(&T),
) -> usize {
    let entries = list.read(from, limit);
    entries.iter().for_each(&mut write);
    entries.len()
}

/// A stream of lines up to the length that the list had when it was asked for.
fn lines(
    range: Range,
    (len, dropped): (usize, u64),
    write: impl Fn(usize, usize, &mut String) -> usize + Send + 'static,
) -> Response {
    let end = range
        .limit
        .map_or(len, |limit| range.from.saturating_add(limit).min(len));
    let body = stream::unfold((range.from, write), move |(from, write)| async move {
        if from >= end {
            return None;
        }
        let mut out = String::with_capacity(LINES * 160);
        let count = write(from, LINES.min(end - from), &mut out);
        (count > 0).then(|| (Ok::<_, Infallible>(Bytes::from(out)), (from + count, write)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (
            header::HeaderName::from_static("x-overflow"),
            (dropped > 0).to_string(),
        ),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// A change of the traffic: what is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrafficChange {
    shard: Option<u32>,
    rate: Option<f64>,
    paused: Option<bool>,
    mix: Option<std::collections::BTreeMap<String, u32>>,
    /// Every 0 ms = no bursts any more.
    burst: Option<Burst>,
}

async fn post_traffic(State(shared): Discord, body: Bytes) -> Result<Response, Error> {
    let change: TrafficChange = parse(&body)?;
    let burst = change
        .burst
        .map(|burst| Some(burst).filter(|burst| burst.every_ms > 0));
    shared.change_traffic(change.shard, |traffic| Traffic {
        rate: change.rate.unwrap_or(traffic.rate),
        paused: change.paused.unwrap_or(traffic.paused),
        mix: change.mix.clone().unwrap_or_else(|| traffic.mix.clone()),
        burst: burst.clone().unwrap_or_else(|| traffic.burst.clone()),
    })?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    shard: Option<u32>,
    shards: Option<Vec<u32>>,
    every_us: Option<u64>,
    on: bool,
}

async fn post_probe(State(shared): Discord, body: Bytes) -> Result<Response, Error> {
    let probe: Probe = parse(&body)?;
    let every = probe
        .on
        .then(|| Duration::from_micros(probe.every_us.unwrap_or(1000)));
    match (probe.shard, probe.shards) {
        (None, None) => shared.set_probe(None, every)?,
        (one, many) => {
            for shard in one.into_iter().chain(many.unwrap_or_default()) {
                shared.set_probe(Some(shard), every)?;
            }
        }
    }
    Ok(done())
}

#[derive(Deserialize)]
struct OfShard {
    shard: u32,
}

async fn get_guilds(State(shared): Discord, Query(of): Query<OfShard>) -> Response {
    match shared.truth_guilds(of.shard) {
        Some(ids) => Json(ids.iter().map(u64::to_string).collect::<Vec<_>>()).into_response(),
        None => not_found(),
    }
}

async fn get_guild(State(shared): Discord, Path(id): Path<u64>) -> Response {
    match shared.truth_guild(id) {
        Some(truth) => ([(header::CONTENT_TYPE, "application/json")], truth).into_response(),
        None => not_found(),
    }
}

fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error": "there is no such shard or guild" })),
    )
        .into_response()
}

async fn get_faults(State(shared): Discord) -> Json<Value> {
    let names: Vec<Value> = FaultName::ALL
        .iter()
        .map(
            |name| json!({ "name": name.name(), "when": name.usual(), "help": name.help().trim() }),
        )
        .collect();
    Json(json!({
        "faults": names,
        "waiting": shared.faults.armed(),
        "lasting": shared.faults.lasting(),
    }))
}

async fn post_fault(State(shared): Discord, body: Bytes) -> Result<Response, Error> {
    shared.fault(parse(&body)?)?;
    Ok(done())
}

#[derive(Deserialize)]
struct ByName {
    name: Option<FaultName>,
}

async fn delete_faults(State(shared): Discord, Query(which): Query<ByName>) -> Response {
    shared.faults.clear(which.name);
    if which.name.is_none_or(|name| name == FaultName::Drop) {
        shared.graveyard.clear();
    }
    done()
}

async fn post_settings(State(shared): Discord, body: Bytes) -> Result<Response, Error> {
    let change: SettingsChange = parse(&body)?;
    shared.change_settings(&change)?;
    Ok(done())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::invalid(format!("request: {error}")))
}
