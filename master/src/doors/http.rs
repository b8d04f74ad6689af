//! HTTP for operators and Prometheus, on a port that every process may dial.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    http::{Request, Response, StatusCode},
    response::IntoResponse,
};
use baton_protocol::tls;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    Hush, Place, Places,
    operators::{self, Asker, Opened},
    share,
};
use crate::peer::Context;

/// The head of a request is there within this time, counted from the connection or from
/// the answer before.
pub const HEAD: Duration = Duration::from_secs(10);

/// Its body came and it is answered within this time. The driver and the host's disk
/// get 10 s each.
pub const REQUEST: Duration = Duration::from_secs(30);

/// A client that takes nothing of an answer for so long has lost it.
const STUCK: Duration = Duration::from_secs(30);

/// Connections at one door, at most.
const MOST: usize = 128;

/// After a failed accept (too many open files) the next one waits this long.
const PAUSE: Duration = Duration::from_millis(100);

/// Where HTTP is listened for.
#[derive(Debug)]
pub enum Door {
    /// Every process that reaches the address; by TLS, where the master has a certificate.
    Tcp(TcpListener, Arc<Context>),
    /// The master's own user.
    Unix(UnixListener),
}

/// A connection that was taken, and where it comes from.
enum Taken {
    Tcp(TcpStream, SocketAddr, Arc<Context>),
    Unix(UnixStream),
}

type Socket = Either<Either<TcpStream, Box<tls::Accepted<TcpStream>>>, UnixStream>;

impl Taken {
    /// The connection as it is spoken over, and who is at its other end; `None`: it is not
    /// let in. Who dials the unix socket is the master's user.
    async fn open(self) -> Option<(Socket, Option<Asker>)> {
        let (socket, from, context) = match self {
            Self::Unix(socket) => return Some((Either::Right(socket), None)),
            Self::Tcp(socket, from, context) => (socket, from, context),
        };
        let (socket, asker) = match operators::open(&context, socket, from).await? {
            Opened::Clear(socket, asker) => (Either::Left(socket), asker),
            Opened::Tls(socket, asker) => (Either::Right(socket), asker),
        };
        Some((Either::Left(socket), Some(asker)))
    }
}

impl Door {
    async fn accept(&self) -> io::Result<Taken> {
        match self {
            Self::Tcp(listener, context) => {
                let (socket, from) = listener.accept().await?;
                // Both are kindnesses to a client that may be gone already.
                let _ = socket.set_nodelay(true);
                let stuck = u32::try_from(STUCK.as_millis()).unwrap_or(u32::MAX);
                let _ = rustix::net::sockopt::set_tcp_user_timeout(&socket, stuck);
                Ok(Taken::Tcp(socket, from, Arc::clone(context)))
            }
            Self::Unix(listener) => Ok(Taken::Unix(listener.accept().await?.0)),
        }
    }
}

/// The places of a door for HTTP: fewer where few files may be open.
#[must_use]
pub fn places() -> Arc<Places> {
    Places::new(share(MOST, 8, 8))
}

/// Takes connections until the master closes, and then until what is asked is answered.
pub async fn serve(door: Door, places: Arc<Places>, router: Router, closing: CancellationToken) {
    let tasks = TaskTracker::new();
    let failed = Hush::new("an operator's connection could not be taken");
    let full = Hush::new("all places for operators' connections are taken");
    let router = Arc::new(TowerToHyperService::new(router));
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            accepted = door.accept() => accepted,
        };
        let socket = match accepted {
            Ok(socket) => socket,
            Err(error) => {
                if failed.lets() {
                    warn!(%error, "an operator's connection could not be taken");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        let (Some(place), _) = places.take() else {
            if full.lets() {
                let places = places.most();
                warn!(
                    places,
                    "all places for operators' connections are taken; one more was closed"
                );
            }
            continue;
        };
        tasks.spawn(connection(
            socket,
            place,
            Arc::clone(&router),
            closing.clone(),
        ));
    }
    tasks.close();
    tasks.wait().await;
}

/// One connection, until it ends, is silent for too long, or another one gets its
/// place.
async fn connection(
    taken: Taken,
    place: Place,
    router: Arc<TowerToHyperService<Router>>,
    closing: CancellationToken,
) {
    let opened = tokio::select! {
        opened = taken.open() => opened,
        () = place.lost() => return,
        () = closing.cancelled() => return,
    };
    let Some((socket, asker)) = opened else {
        return;
    };
    let answering = hyper::service::service_fn(|mut request: Request<Incoming>| {
        if let Some(asker) = &asker {
            request.extensions_mut().insert(asker.clone());
        }
        // Kept until the last piece of the answer is handed over.
        let busy = place.busy();
        let answer = router.call(request);
        async move {
            let answer = match timeout(REQUEST, answer).await {
                Ok(Ok(answer)) => answer,
                Err(_) => too_late(),
            };
            let kept = |body: Body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &busy;
                    frame
                }))
            };
            Ok::<Response<Body>, Infallible>(answer.map(kept))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(socket), answering)
    );
    let mut leaving = false;
    loop {
        tokio::select! {
            // How it ended is the other side's affair.
            _ = connection.as_mut() => return,
            () = place.lost() => return,
            () = closing.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn too_late() -> Response<Body> {
    let reason = "the request did not come, or was not answered, in time";
    let body = Json(json!({ "error": reason }));
    (StatusCode::REQUEST_TIMEOUT, body).into_response()
}
