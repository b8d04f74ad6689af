//! HTTP on the gateway's port: the way to the websocket, and where it is.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use super::Slot;
use crate::{
    client,
    proxy::Shared,
    wire::{encode::Effort, opening::Opening, websocket},
};

/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// How often is looked whether a shard has come.
const LOOK: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Serves one connection to its end. `slot` goes on to the websocket, if it becomes one.
pub(super) async fn serve<S>(shared: Arc<Shared>, stream: S, effort: Effort, slot: Slot)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stop, patience) = (shared.stop.clone(), shared.config.timings.head);
    let slot = Arc::new(Mutex::new(Some(slot)));
    let service = service_fn(move |request| {
        let (shared, slot) = (Arc::clone(&shared), Arc::clone(&slot));
        async move { Ok::<_, Infallible>(route(&shared, &slot, effort, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        // Broken, idle for too long or upgraded: it is over.
        _ = serving => {}
        () = stop.cancelled() => {}
    }
}

async fn route(
    shared: &Arc<Shared>,
    slot: &Arc<Mutex<Option<Slot>>>,
    effort: Effort,
    request: Request<Incoming>,
) -> Answer {
    let headers = request.headers();
    if websocket::is_wanted(headers) {
        return upgrade(shared, slot, effort, request);
    }
    let path = request.uri().path().trim_end_matches('/');
    match (request.method(), without_version(path)) {
        (&Method::GET, "/gateway") => {
            answer(StatusCode::OK, &json!({"url": base(shared, headers)}))
        }
        (&Method::GET, "/gateway/bot") => gateway_bot(shared, headers).await,
        _ => answer(
            StatusCode::NOT_FOUND,
            &json!({
                "message": "404: only /gateway and /gateway/bot are served here; Discord serves the rest",
                "code": 0,
            }),
        ),
    }
}

/// A path without the `/api` and `/v10` that a library may put before it.
fn without_version(path: &str) -> &str {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let (version, _) = rest.split_once('/')?;
        let is_number = version.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| &rest[version.len()..])
    });
    versioned.unwrap_or(path)
}

/// How many shards there are. A library that asks early waits, as for its shard.
async fn shards(shared: &Shared) -> Option<u32> {
    let until = Instant::now() + shared.config.timings.arrival;
    loop {
        let shards = shared.upstream.fleet().shards;
        if shards > 0 {
            return Some(shards);
        }
        if Instant::now() >= until {
            return None;
        }
        // It rings when a shard came; one that came just now is seen soon.
        let _ = timeout(LOOK, shared.arrivals.notified()).await;
    }
}

async fn gateway_bot(shared: &Shared, headers: &HeaderMap) -> Answer {
    let given = headers.get(header::AUTHORIZATION);
    let given = given.and_then(|given| given.to_str().ok()).unwrap_or("");
    if !shared.admits(given) {
        shared
            .ends
            .count(401, "/gateway/bot with another token, or without one");
        let refused = json!({"message": "401: Unauthorized", "code": 0});
        return answer(StatusCode::UNAUTHORIZED, &refused);
    }
    let Some(shards) = shards(shared).await else {
        let unknown = json!({"message": "503: no shard has come yet", "code": 0});
        return answer(StatusCode::SERVICE_UNAVAILABLE, &unknown);
    };
    // A session here costs nothing at Discord: a library may start all at once.
    let starts = shards.saturating_mul(4).max(1000);
    let found = json!({
        "url": base(shared, headers),
        "shards": shards,
        "session_start_limit": {
            "total": starts,
            "remaining": starts,
            "reset_after": 86_400_000,
            "max_concurrency": shards,
        },
    });
    answer(StatusCode::OK, &found)
}

/// Answers the handshake and serves the websocket in a task of its own.
fn upgrade(
    shared: &Arc<Shared>,
    slot: &Mutex<Option<Slot>>,
    effort: Effort,
    request: Request<Incoming>,
) -> Answer {
    let headers = request.headers();
    let Some(accepted) = websocket::accept(request.method(), headers) else {
        let wrong = json!({"message": "400: no websocket handshake of version 13", "code": 0});
        return answer(StatusCode::BAD_REQUEST, &wrong);
    };
    let uri = request.uri();
    let opening = Opening::new(uri.path(), uri.query().unwrap_or(""), base(shared, headers));
    if let Some(name) = &opening.mirror
        && !shared.config.mirrors.contains(name)
    {
        shared
            .ends
            .count(404, &format!("there is no mirror {name}"));
        let unknown =
            json!({"message": "404: the proxy's configuration has no such mirror", "code": 0});
        return answer(StatusCode::NOT_FOUND, &unknown);
    }
    let slot = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(slot) = slot else {
        return answer(
            StatusCode::BAD_REQUEST,
            &json!({"message": "400: upgraded already", "code": 0}),
        );
    };
    let one = Arc::clone(shared);
    shared.tasks.spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            client::serve(one, TokioIo::new(upgraded), opening, effort).await;
        }
        drop(slot);
    });
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend(accepted);
    response
}

/// The URL of the gateway, by the host that the client knows.
fn base(shared: &Shared, headers: &HeaderMap) -> String {
    let scheme = if shared.config.tls.is_some() {
        "wss"
    } else {
        "ws"
    };
    let named = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let safe = |host: &&str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
    };
    let own = || shared.config.listen.to_string();
    let host = named.filter(safe).map_or_else(own, str::to_owned);
    format!("{scheme}://{host}")
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_with_the_prefixes_that_libraries_use() {
        for path in [
            "/gateway",
            "/api/gateway",
            "/api/v10/gateway",
            "/v9/gateway",
        ] {
            assert_eq!(without_version(path), "/gateway");
        }
        assert_eq!(without_version("/api/v10/users/@me"), "/users/@me");
        assert_eq!(without_version("/voice/gateway"), "/voice/gateway");
    }
}
