//! The invite page, where the once-per-bot work runs.
//!
//! A proxy in front of it has the certificate: the page itself listens on this host alone. In a
//! deploy the next process takes the address as soon as this one lets go of it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{desk::unix, list::List};
use crate::{
    channels::{Change, Grant, Reconnect},
    helix::{Error, Helix},
    invite::{Broadcaster, Code, Door, Failed, Invite},
};

/// An address that another process has is tried again after this time.
const AGAIN: Duration = Duration::from_millis(200);

/// Connections at a time.
const MOST: usize = 64;

/// A connection has so long.
const LONGEST: Duration = Duration::from_secs(30);

/// What the page needs.
pub(super) struct Page {
    pub(super) invite: Invite,
    pub(super) helix: Helix,
    pub(super) list: List,
    pub(super) manages: bool,
}

/// Serves the page until it is stopped.
pub(super) async fn serve(page: Arc<Page>, address: SocketAddr, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = listens(page, address) => {}
    }
}

async fn listens(page: Arc<Page>, address: SocketAddr) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(listener) = TcpListener::bind(address).await else {
            sleep(AGAIN).await;
            continue;
        };
        tracing::info!(%address, "the invite page is here: /invite");
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let page = Arc::clone(&page);
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let page = Arc::clone(&page);
                    async move {
                        let answer = page.invite.answer(&*page, &request, Instant::now()).await;
                        Ok::<Response<Full<Bytes>>, Infallible>(answer.map(Full::new))
                    }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(LONGEST)
                    .serve_connection(TokioIo::new(stream), service);
                // Whoever went away needs no answer.
                let _ = timeout(LONGEST, connection).await;
                drop(permit);
            });
        }
        sleep(AGAIN).await;
    }
}

impl Door for Page {
    fn asks_broadcasters(&self) -> bool {
        self.manages
    }

    async fn exchange(&self, code: Code, redirect: &str) -> Result<Broadcaster, Failed> {
        let granted = self.helix.granted(code.reveal(), redirect).await;
        let granted = granted.map_err(|error| match error {
            Error::Unauthorised(_) | Error::Refused { .. } => Failed::Refused,
            Error::Address(_)
            | Error::Forbidden(_)
            | Error::NotFound(_)
            | Error::Conflict(_)
            | Error::TooMany { .. }
            | Error::Unreachable(_) => Failed::Unavailable,
        })?;
        Ok(Broadcaster {
            login: granted.login,
            id: granted.id,
            scopes: granted.scopes,
        })
    }

    async fn authorise(&self, who: &Broadcaster) -> Result<Change, Failed> {
        let grant = Grant {
            login: who.login.clone(),
            id: Some(who.id.clone()),
            reconnect: Reconnect::Yes,
        };
        let now = unix();
        let changed = self
            .list
            .with(move |list| list.authorise(&grant, now))
            .await;
        changed.map_err(|_| Failed::Unavailable)
    }

    async fn revoke(&self, who: &Broadcaster) -> Result<Change, Failed> {
        let login = who.login.clone();
        let now = unix();
        let changed = self.list.with(move |list| list.revoke(&login, now)).await;
        changed.map_err(|_| Failed::Unavailable)
    }
}
