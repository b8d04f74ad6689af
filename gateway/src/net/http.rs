//! HTTP on the gateway's port: the REST interface, and the upgrade to the
//! websocket. Both may come over one connection, as clients with a pool do it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{bot, link::LinkControl};
use crate::{
    clock::{iso8601, unix_ms},
    conn::{self, Opening},
    server::Shared,
    world::guild::BOT_ID,
};

/// Bytes of a REST request's body.
const BODY: usize = 1 << 20;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(30);
/// What RFC 6455 appends to the key of a handshake.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

pub(super) type Answer = Response<Full<Bytes>>;

/// Serves one connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, stream: S, control: LinkControl)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stop, all) = (shared.stop.clone(), Arc::clone(&shared));
    let service = service_fn(move |request| {
        let (shared, control) = (Arc::clone(&shared), control.clone());
        async move { Ok::<_, Infallible>(route(shared, control, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        _ = serving => {}
        () = all.cut_rest.notified() => {}
        () = stop.cancelled() => {}
    }
}

async fn route(shared: Arc<Shared>, control: LinkControl, request: Request<Incoming>) -> Answer {
    if is_websocket(request.headers()) {
        return upgrade(shared, control, request);
    }
    let path = request.uri().path().to_owned();
    let host = host(request.headers(), &shared);
    let route = without_version(&path);
    if request.method() == Method::GET && route == "/gateway" {
        let url = format!("{}://{host}", shared.scheme());
        return answer(StatusCode::OK, &json!({ "url": url }));
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    let authorized = token.is_some_and(|token| shared.accepts_token(token));
    if request.method() == Method::GET && route == "/gateway/bot" {
        return bot::gateway_bot(&shared, &host, authorized).await;
    }
    if !authorized {
        return unauthorized();
    }
    let method = request.method().clone();
    let parts: Vec<&str> = route.split('/').skip(1).collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["users", "@me"]) => answer(StatusCode::OK, &current_user()),
        ("GET", ["oauth2", "applications", "@me"] | ["applications", "@me"]) => {
            answer(StatusCode::OK, &application())
        }
        ("GET" | "PUT", ["applications", _, "commands"]) => answer(StatusCode::OK, &json!([])),
        ("POST", ["channels", channel, "messages"]) if channel.parse::<u64>().is_ok() => {
            let channel = (*channel).to_owned();
            create_message(&shared, &channel, request).await
        }
        ("POST", ["channels", _, "typing"] | ["interactions", _, _, "callback"]) => {
            empty(StatusCode::NO_CONTENT)
        }
        (_, _) => answer(
            StatusCode::NOT_FOUND,
            &json!({"message": "404: Not Found", "code": 0}),
        ),
    }
}

/// The path without `/api` and `/v9` or `/v10`.
fn without_version(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("/api").unwrap_or(path);
    match path
        .strip_prefix("/v")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((version, rest)) if version.parse::<u8>().is_ok() => format!("/{rest}"),
        Some(_) | None => path.to_owned(),
    }
}

fn current_user() -> Value {
    json!({
        "id": BOT_ID.to_string(), "username": "baton", "discriminator": "0001",
        "global_name": null, "avatar": null, "banner": null, "accent_color": null,
        "bot": true, "mfa_enabled": false, "verified": true, "email": null,
        "locale": "en-US", "flags": 0, "public_flags": 0, "premium_type": 0,
    })
}

fn application() -> Value {
    json!({
        "id": BOT_ID.to_string(), "name": "baton", "icon": null, "description": "",
        "summary": "", "type": null, "bot_public": true, "bot_require_code_grant": false,
        "verify_key": "0".repeat(64), "flags": 0, "hook": true, "rpc_origins": [],
        "redirect_uris": [], "interactions_endpoint_url": null, "tags": [], "team": null,
        "role_connections_verification_url": null, "approximate_guild_count": 0,
        "owner": {
            "id": (BOT_ID - 1).to_string(), "username": "owner", "discriminator": "0",
            "global_name": null, "avatar": null, "public_flags": 0, "flags": 0,
        },
        "bot": current_user(),
    })
}

async fn create_message(shared: &Shared, channel: &str, request: Request<Incoming>) -> Answer {
    let body = Limited::new(request.into_body(), BODY).collect().await;
    let sent: Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .unwrap_or(Value::Null);
    let now = iso8601(unix_ms());
    answer(
        StatusCode::OK,
        &json!({
            "id": shared.ids.next().to_string(), "channel_id": channel, "type": 0,
            "content": sent["content"].as_str().unwrap_or(""), "timestamp": now,
            "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [],
            "mention_roles": [], "attachments": [], "embeds": [], "components": [],
            "pinned": false, "flags": 0, "author": current_user(), "nonce": sent["nonce"],
        }),
    )
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    upgrade.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}

/// Answers the handshake and serves the websocket in a task of its own. An
/// offer of `permessage-deflate` is not taken up.
fn upgrade(shared: Arc<Shared>, control: LinkControl, request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|key| key.as_bytes().to_vec());
    let version = headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(|v| v.as_bytes());
    let (Some(key), Some(b"13"), &Method::GET) = (key, version, request.method()) else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let opening = Opening::new(
        request.uri().path(),
        request.uri().query().unwrap_or(""),
        host(headers, &shared),
    );
    if shared.faults.resume_url_is_dead(opening.resume_shard) {
        control.reset();
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            conn::serve(shared, TokioIo::new(upgraded), control, opening).await;
        }
    });
    let mut digest = sha1_smol::Sha1::new();
    digest.update(&key);
    digest.update(WEBSOCKET_GUID);
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(
        header::UPGRADE,
        header::HeaderValue::from_static("websocket"),
    );
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("Upgrade"),
    );
    if let Ok(accept) = STANDARD.encode(digest.digest().bytes()).parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The host by which the client knows this gateway.
fn host(headers: &HeaderMap, shared: &Shared) -> String {
    let named = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let safe = |host: &&str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    named
        .filter(safe)
        .map_or_else(|| shared.address().to_string(), str::to_owned)
}

/// Discord's answer to a token that is missing or wrong.
pub(super) fn unauthorized() -> Answer {
    answer(
        StatusCode::UNAUTHORIZED,
        &json!({"message": "401: Unauthorized", "code": 0}),
    )
}

pub(super) fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::without_version;

    #[test]
    fn every_spelling_of_the_base_path_is_the_same_route() {
        for base in ["", "/api", "/api/v9", "/api/v10", "/v10"] {
            assert_eq!(
                without_version(&format!("{base}/gateway/bot")),
                "/gateway/bot"
            );
        }
        assert_eq!(without_version("/voice/regions"), "/voice/regions");
    }
}
