//! HTTP on the gateway's port: the REST interface, and the upgrade to the
//! websocket. Both may come over one connection, as clients with a pool do it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::link::LinkControl;
use crate::{
    conn::{self, Opening},
    rest::{self, Answer},
    server::Shared,
};

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(30);
/// What RFC 6455 appends to the key of a handshake.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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
    let host = host(request.headers(), &shared);
    rest::serve(&shared, &host, request).await
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

fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
