//! The REST interface: what a bot sends is answered as Discord does when all is
//! well, and written down. It changes nothing in the world.

pub(crate) mod answers;
pub(crate) mod bot;
pub(crate) mod limits;
pub(crate) mod record;
mod routes;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

pub(crate) use self::routes::current_user;
use self::{answers::Answer, record::RestLine};
use crate::{clock::monotonic_us, server::Shared};

/// Bytes of a request's body.
const BODY: usize = 25 << 20;
/// Bytes of a body that are written down.
const KEPT: usize = 16 << 10;
/// Interactions whose answer is remembered.
const INTERACTIONS: usize = 100_000;

/// A request, read.
struct Asked {
    method: Method,
    /// The parts of the path, without `/api` and version.
    path: Vec<String>,
    query: String,
    body: Value,
    authorized: bool,
}

impl Asked {
    fn is_bound_by_token(&self) -> bool {
        let parts: Vec<&str> = self.path.iter().map(String::as_str).collect();
        // The token of an interaction or a webhook stands in the path.
        !matches!(
            parts.as_slice(),
            ["gateway"] | ["interactions", _, _, "callback"] | ["webhooks", _, _, ..]
        )
    }
}

/// Answers one request; `host` is what the client called this server.
pub(crate) async fn serve(shared: &Shared, host: &str, request: Request<Incoming>) -> Answer {
    let at_us = monotonic_us();
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return answers::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            40005,
            "Request entity too large",
        );
    };
    let text = payload(&parts.headers, &body.to_bytes());
    let path = without_version(parts.uri.path());
    let token = parts.headers.get(header::AUTHORIZATION);
    let token = token.and_then(|token| token.to_str().ok());
    let asked = Asked {
        method: parts.method,
        path: path.split('/').skip(1).map(str::to_owned).collect(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
        authorized: token.is_some_and(|token| shared.accepts_token(token)),
    };
    let response = respond(shared, host, &asked).await;
    let status = response.status();
    if let Ok(mut limits) = shared.rest.limits.lock() {
        limits.answered(status);
    }
    let query = if asked.query.is_empty() { "" } else { "?" };
    shared.rest.requests.push(RestLine {
        at_us,
        method: asked.method.to_string(),
        path: format!("{path}{query}{}", asked.query)
            .chars()
            .take(500)
            .collect(),
        authorized: asked.authorized,
        body: cut(text),
        status: status.as_u16(),
    });
    response
}

async fn respond(shared: &Shared, host: &str, asked: &Asked) -> Answer {
    let is_get = asked.method == Method::GET;
    if is_get && asked.path == ["gateway"] {
        let url = format!("{}://{host}", shared.scheme());
        return answers::json(StatusCode::OK, &json!({ "url": url }));
    }
    let banned = shared.rest.limits.lock().is_ok_and(|mut l| l.is_banned());
    if banned {
        return answers::banned();
    }
    if is_get && asked.path == ["gateway", "bot"] {
        return bot::gateway_bot(shared, host, asked.authorized).await;
    }
    if asked.is_bound_by_token() && !asked.authorized {
        return answers::unauthorized();
    }
    let permit = match shared.rest.limits.lock() {
        Ok(mut limits) => limits.ask(&asked.method, &asked.path),
        Err(_) => limits::Permit::free(),
    };
    let mut response = if permit.is_granted() {
        routes::answer(shared, asked)
    } else {
        permit.refusal()
    };
    permit.write_into(response.headers_mut());
    response
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

/// The JSON of a request. A form with files has it in a part of its own.
fn payload(headers: &HeaderMap, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v: &HeaderValue| v.to_str().ok())
        .unwrap_or("");
    let boundary = kind
        .strip_prefix("multipart/form-data")
        .and_then(|rest| rest.split_once("boundary="))
        .map(|(_, boundary)| boundary.trim_matches('"'));
    let Some(boundary) = boundary else {
        return text.into_owned();
    };
    let part = text
        .split(&format!("--{boundary}"))
        .find(|part| part.contains("name=\"payload_json\""));
    let json = part.and_then(|part| part.split_once("\r\n\r\n"));
    json.map_or_else(String::new, |(_, json)| json.trim().to_owned())
}

fn cut(mut text: String) -> String {
    let mut end = KEPT.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Remembers that an interaction was answered; false if it was before.
fn answers_first(shared: &Shared, token: &str) -> bool {
    let Ok(mut answered) = shared.rest.answered.lock() else {
        return true;
    };
    if answered.len() >= INTERACTIONS {
        answered.clear();
    }
    answered.insert(token.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::{payload, without_version};

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

    #[test]
    fn the_json_of_a_form_with_files_is_found() {
        let mut headers = HeaderMap::new();
        let form = "--x\r\nContent-Disposition: form-data; name=\"files[0]\"\r\n\r\n\u{1}\r\n\
--x\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\r\n{\"content\":\"hi\"}\r\n--x--\r\n";
        assert_eq!(payload(&headers, b"{}"), "{}");
        let kind = HeaderValue::from_static("multipart/form-data; boundary=x");
        headers.insert(header::CONTENT_TYPE, kind);
        assert_eq!(payload(&headers, form.as_bytes()), "{\"content\":\"hi\"}");
    }
}
