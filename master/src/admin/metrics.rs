//! `GET /metrics`: everything in the text form of `OpenMetrics` for clients that ask for it,
//! as Prometheus does, else in the older one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::{Admin, Failure};
use crate::metrics::{CONTENT_TYPE, PLAIN, Scrape, plain};

pub(super) async fn metrics(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let uptime = admin.started.elapsed();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let standing = admin.peers.post.as_ref().map(|post| post.standing());
    let scrape = Scrape {
        view: &view,
        counts: admin.peers.counters.read(),
        version: admin.facts.version,
        uptime,
        started: now.unwrap_or(Duration::ZERO).saturating_sub(uptime),
        certificate_until: admin.peers.secure.held().map(|held| held.validity().until),
        standing: standing.as_ref(),
    };
    let text = admin.peers.metrics.text(&scrape);
    let (kind, text) = match takes_open(&headers) {
        true => (CONTENT_TYPE, text),
        false => (PLAIN, plain(&text)),
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn takes_open(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let open = parts.next() == Some("application/openmetrics-text");
        let refused = |part: &str| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        open && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let takes = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            takes_open(&headers)
        };
        assert!(takes(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3"
        ));
        assert!(takes("text/plain, application/openmetrics-text"));
        assert!(!takes("*/*"));
        assert!(!takes("text/plain;version=0.0.4"));
        assert!(!takes("application/openmetrics-text;q=0, text/plain"));
        assert!(!takes_open(&HeaderMap::new()));
    }
}
