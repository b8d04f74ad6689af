//! The forms of answers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json as object};

pub(crate) type Answer = Response<Full<Bytes>>;

/// What a proxy shows to an address that it has banned.
const BANNED: &str = "<!DOCTYPE html><html><head><title>Access denied | Error 1015</title></head>\
<body><h1>Error 1015</h1><p>You are being rate limited.</p></body></html>";

pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    with_type(status, body.to_string().into(), "application/json")
}

pub(super) fn page(status: StatusCode, html: &'static str) -> Answer {
    let body = Bytes::from_static(html.as_bytes());
    with_type(status, body, "text/html; charset=UTF-8")
}

fn with_type(status: StatusCode, body: Bytes, kind: &'static str) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Discord's form of an error.
pub(super) fn error(status: StatusCode, code: u32, message: &str) -> Answer {
    json(status, &object!({ "message": message, "code": code }))
}

/// The token is missing or wrong.
pub(super) fn unauthorized() -> Answer {
    error(StatusCode::UNAUTHORIZED, 0, "401: Unauthorized")
}

pub(super) fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, 0, "404: Not Found")
}

/// The address sent too many requests that were refused.
pub(super) fn banned() -> Answer {
    page(StatusCode::TOO_MANY_REQUESTS, BANNED)
}
