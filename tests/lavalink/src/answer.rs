//! Answers of HTTP, errors as version 4 says them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

pub(crate) type Answer = Response<Full<Bytes>>;

/// What went wrong with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) status: StatusCode,
    message: String,
}

impl Wrong {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    pub(crate) fn answer(&self, path: &str) -> Answer {
        let body = json!({
            "timestamp": unix_ms(),
            "status": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or(""),
            "message": self.message,
            "path": path,
        });
        said(self.status, "application/json", body.to_string())
    }
}

pub(crate) fn json(value: &Value) -> Answer {
    said(StatusCode::OK, "application/json", value.to_string())
}

pub(crate) fn text(text: &str) -> Answer {
    said(StatusCode::OK, "text/plain", text.to_owned())
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    said(status, "", String::new())
}

fn said(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if !kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert("Lavalink-Api-Version", HeaderValue::from_static("4"));
    answer
}

pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
