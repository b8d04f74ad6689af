//! What a standby master serves: a refusal for slaves, and for operators who leads.

use std::sync::Arc;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    doors::http::{self, Door},
    listener,
    notice::Notice,
    peer::Context,
    post::{Post, not_leading},
    vital,
};

/// What is under way gets this long when the master begins to lead.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// The doors of a standby master.
pub(crate) struct Doors {
    tasks: TaskTracker,
    closing: CancellationToken,
    broken: mpsc::Receiver<Notice>,
}

impl Doors {
    /// Opens them. `context` refuses who dials.
    pub(crate) fn open(
        context: Arc<Context>,
        broken: mpsc::Receiver<Notice>,
        tcp: TcpListener,
        unix: UnixListener,
        operators: Vec<Door>,
        post: &Arc<Post>,
    ) -> Self {
        let tasks = TaskTracker::new();
        let closing = context.closing.clone();
        let notices = context.notices.clone();
        let dialled = listener::tcp(Arc::clone(&context), tcp, tasks.clone());
        vital::spawn(&tasks, notices.clone(), "listener", dialled);
        let dialled = listener::unix(context, unix, tasks.clone());
        vital::spawn(&tasks, notices.clone(), "unix listener", dialled);
        for door in operators {
            let served = http::serve(door, http::places(), router(post), closing.clone());
            vital::spawn(&tasks, notices.clone(), "operators", served);
        }
        Self {
            tasks,
            closing,
            broken,
        }
    }

    /// Ends with them.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// A task of it panicked: which.
    pub(crate) async fn broken(&mut self) -> &'static str {
        loop {
            match self.broken.recv().await {
                Some(Notice::Broken(task)) => return task,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Closes them.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        self.tasks.close();
        // A client that takes no answer is left alone.
        let _ = timeout(FAREWELL, self.tasks.wait()).await;
    }
}

/// Who may look at a fleet may see who leads; nothing can be changed here.
fn router(post: &Arc<Post>) -> Router {
    let (ready, metrics, rest) = (Arc::clone(post), Arc::clone(post), Arc::clone(post));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(refused(&ready))))
        .route(
            "/metrics",
            get(move || std::future::ready(counts(&metrics))),
        )
        .fallback(move || std::future::ready(refused(&rest)))
}

fn refused(post: &Post) -> Response {
    let standing = post.standing();
    let error = not_leading(&standing);
    let body = json!({ "error": error, "leadership": standing });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

fn counts(post: &Post) -> String {
    let away = post.away().unwrap_or_default().as_secs_f64();
    format!(
        "# HELP baton_leads 1 where this master leads its fleet.\n\
         # TYPE baton_leads gauge\n\
         baton_leads 0\n\
         # HELP baton_leads_store_away_seconds How long the store of the journal does not answer; 0: it answers.\n\
         # TYPE baton_leads_store_away_seconds gauge\n\
         baton_leads_store_away_seconds {away:.3}\n\
         # EOF\n"
    )
}
