//! One HTTP request and its answer.

use std::{
    fmt,
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

use super::{Error, Helix, token::Bearer};
use crate::tls;

/// An answer comes within this time.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longer answers are refused: a page of 100 subscriptions has 60 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// Of what Twitch says so much is shown.
const SHOWN: usize = 300;

/// The longest that a limit is waited for: the points of a minute are back then.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The way of requests.
pub(super) enum Http {
    Network(Box<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>),
    #[cfg(test)]
    Played(super::tests::Plays),
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http(..)")
    }
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Behind the base address, with its query.
    pub(super) path: &'a str,
    pub(super) body: Option<Value>,
}

impl Ask<'_> {
    pub(super) const fn get(path: &str) -> Ask<'_> {
        Ask {
            method: Method::GET,
            path,
            body: None,
        }
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Whether an address may be asked: with TLS, or on this host.
pub(super) fn check(address: &str) -> Result<(), Error> {
    let wrong = |why: &str| Error::Address(format!("{address:?}: {why}"));
    let uri: Uri = address
        .parse()
        .map_err(|_| wrong("this is no address: give https://HOST/PATH"))?;
    let host = uri.host().unwrap_or_default();
    let is_here = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_here => Ok(()),
        Some("http") => Err(wrong(
            "the secret would be readable on the way to another host: give https://",
        )),
        _ => Err(wrong("give https://HOST/PATH")),
    }
}

impl Http {
    pub(super) fn new() -> Result<Self, Error> {
        let config = tls::config().map_err(|error| {
            Error::Address(format!(
                "the certificates of this host cannot be read: {error}"
            ))
        })?;
        let builder = HttpsConnectorBuilder::new().with_tls_config((*config).clone());
        let connector = builder.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self::Network(Box::new(client)))
    }

    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        timeout(DEADLINE, self.answer(request))
            .await
            .unwrap_or_else(|_| Err(Error::Unreachable(format!("no answer within {DEADLINE:?}"))))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        let client = match self {
            Self::Network(client) => client,
            #[cfg(test)]
            Self::Played(plays) => return super::tests::answer(plays, request).await,
        };
        let failed = |error: &dyn std::error::Error| Error::Unreachable(causes(error));
        let response = client.request(request).await;
        let (head, body) = response.map_err(|error| failed(&error))?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| failed(&*error))?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl Helix {
    /// Asks with the application's token. If it has become invalid, it is asked once more with
    /// a new one: Twitch has done nothing then.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, Error> {
        let bearer = self.0.tokens.get(&self.0.http, None).await?;
        let answer = self.ask_with(ask, &bearer).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return read(&answer);
        }
        let bearer = self.0.tokens.get(&self.0.http, Some(&bearer)).await?;
        read(&self.ask_with(ask, &bearer).await?)
    }

    async fn ask_with(&self, ask: &Ask<'_>, bearer: &Bearer) -> Result<Answer, Error> {
        let config = &self.0.config;
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(format!("{}{}", config.api, ask.path))
            .header(header::AUTHORIZATION, bearer.header())
            .header("Client-Id", &config.client_id);
        let body = match &ask.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| Error::Address(error.to_string()))?;
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.http.exchange(request).await
    }
}

/// What an answer says.
fn read(answer: &Answer) -> Result<Value, Error> {
    let status = answer.status;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if status.is_success() {
        return match (answer.body.is_empty(), body) {
            (true, _) => Ok(Value::Null),
            (false, Some(body)) => Ok(body),
            (false, None) => Err(Error::Unreachable("the answer is no JSON".to_owned())),
        };
    }
    let said = body.as_ref().and_then(|body| body["message"].as_str());
    let shown = said.unwrap_or("no reason").chars();
    let reason: String = shown.filter(|c| !c.is_control()).take(SHOWN).collect();
    Err(match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorised(reason),
        StatusCode::FORBIDDEN => Error::Forbidden(reason),
        StatusCode::NOT_FOUND => Error::NotFound(reason),
        StatusCode::CONFLICT => Error::Conflict(reason),
        StatusCode::TOO_MANY_REQUESTS => Error::TooMany {
            reason,
            wait: until_reset(&answer.headers),
        },
        _ if is_passing(status) => Error::Unreachable(format!("status {status}: {reason}")),
        _ => Error::Refused {
            status: status.as_u16(),
            reason,
        },
    })
}

/// Whether another try may do: it is no word on what was asked.
pub(super) fn is_passing(status: StatusCode) -> bool {
    let is_too_slow = status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_EARLY;
    status.is_server_error() || is_too_slow
}

/// `Ratelimit-Reset` is when the points are back, in seconds since 1970.
pub(super) fn until_reset(headers: &HeaderMap) -> Duration {
    let reset = headers.get("Ratelimit-Reset");
    let reset = reset.and_then(|value| value.to_str().ok()?.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let wait = reset
        .map(Duration::from_secs)
        .zip(now.ok())
        .map(|(reset, now)| reset.saturating_sub(now));
    wait.unwrap_or(Duration::from_secs(1))
        .clamp(Duration::from_secs(1), LONGEST_WAIT)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// Percent-encodes a value of a query.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_would_carry_the_secret_in_clear_is_refused() {
        for good in ["https://api.twitch.tv/helix", "http://127.0.0.1:1/helix"] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in [
            "http://api.twitch.tv/helix",
            "ftp://a/b",
            "",
            "api.twitch.tv",
            "https://",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_time_until_the_points_are_back_is_bounded() {
        let wait = |reset: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Ratelimit-Reset", reset.parse().unwrap());
            until_reset(&headers)
        };
        assert_eq!(wait("0"), Duration::from_secs(1));
        assert_eq!(wait("99999999999"), LONGEST_WAIT);
        assert_eq!(wait("soon"), Duration::from_secs(1));
    }
}
