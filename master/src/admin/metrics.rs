//! `GET /metrics`: everything in the text form of `OpenMetrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Admin, Failure};
use crate::metrics::{CONTENT_TYPE, Scrape};

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let scrape = Scrape {
        view: &view,
        counts: admin.peers.counters.read(),
        version: admin.facts.version,
        uptime: admin.started.elapsed(),
    };
    let text = admin.peers.metrics.text(&scrape);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
