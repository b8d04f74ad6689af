//! HTTP on the websocket's port: the REST interface, and the upgrade to the
//! websocket. Both may come over one connection, as clients with a pool do it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::Shared;
use crate::{
    conn,
    rest::{self, answers::Answer},
    voice,
    wire::{link::LinkControl, opening::Opening, websocket},
};

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(30);

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
    if websocket::is_wanted(request.headers()) {
        return upgrade(shared, control, request);
    }
    let host = host(request.headers(), &shared);
    rest::serve(&shared, &host, request).await
}

/// Answers the handshake and serves the websocket in a task of its own.
fn upgrade(shared: Arc<Shared>, control: LinkControl, request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let Some(accepted) = websocket::accept(request.method(), headers) else {
        return empty(StatusCode::BAD_REQUEST);
    };
    if request.uri().path().trim_end_matches('/') == voice::PATH {
        let query = request.uri().query().unwrap_or("").to_owned();
        return switched(
            accepted,
            request,
            &shared.tasks.clone(),
            |stream| async move {
                voice::serve(shared, stream, &query).await;
            },
        );
    }
    let opening = Opening::new(
        request.uri().path(),
        request.uri().query().unwrap_or(""),
        host(headers, &shared),
    );
    if shared.faults.resume_url_is_dead(opening.resume_shard) {
        control.reset();
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    if let Some(refusal) = rest::bot::instead_of_websocket(&shared, opening.resume_shard) {
        return refusal;
    }
    switched(accepted, request, &shared.tasks.clone(), |stream| {
        conn::serve(shared, stream, control, opening)
    })
}

/// Answers with 101, and serves what comes then in a task of its own.
fn switched<F: Future<Output = ()> + Send + 'static>(
    accepted: HeaderMap,
    request: Request<Incoming>,
    tasks: &TaskTracker,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Answer {
    tasks.spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            serve(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().extend(accepted);
    response
}

/// The host by which the client knows this server.
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
