//! One `GET /gateway/bot`: asked once, no matter what the answer is.
//!
//! A library's client asks by itself again after a 429, without a pause where there
//! is no `Retry-After`; an address that asks too often is banned. So this one asks
//! once, follows no redirect, and reads no more than an answer can have.

use std::time::Duration;

use baton_core::event::IdentifyBudget;
use baton_protocol::answer::{retry_after, shown};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::time::timeout;

use crate::config::{MAX_SHARDS, Token};

/// What Discord said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayBot {
    /// Where the gateway is.
    pub url: String,
    /// Shards that Discord recommends, at least 1.
    pub shards: u32,
    /// The identify budget; a configured `max_concurrency` wins over Discord's.
    pub budget: IdentifyBudget,
}

/// One request ends within this time, its answer included.
const DEADLINE: Duration = Duration::from_secs(10);

/// No answer is longer.
const MAX_BODY: usize = 64 * 1024;

/// Discord's budget is whole again after a day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// More buckets than Discord gives to any bot.
const MAX_CONCURRENCY: u32 = 4096;

/// The part of an error page that is shown.
const SHOWN: usize = 120;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// The token is wrong: asking again is useless.
    Token,
    /// Asked too often: the wait that was named, if one was.
    Limited {
        /// How long to wait.
        wait: Option<Duration>,
        /// For a person.
        reason: String,
    },
    /// For a person.
    Passing(String),
}

impl Trouble {
    /// For a person.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Token => "Discord refuses the token".to_owned(),
            Self::Limited { reason, .. } | Self::Passing(reason) => reason.clone(),
        }
    }
}

/// How Discord, or its stand-in, is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    client: Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String>,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Question {
    pub(super) fn new(api_url: &str, token: &Token) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let client = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| format!("the certificates of this host cannot be read: {error}"))
            .map(|builder| {
                let connector = builder.https_or_http().enable_http1().build();
                Client::builder(TokioExecutor::new()).build(connector)
            });
        let token = token.reveal();
        let bearer = if token.starts_with("Bot ") || token.starts_with("Bearer ") {
            token.to_owned()
        } else {
            format!("Bot {token}")
        };
        let authorization = HeaderValue::from_str(&bearer).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self {
            client,
            url: format!("{api_url}/api/v10/gateway/bot"),
            authorization,
        }
    }

    /// Asks once.
    pub(super) async fn ask(&self) -> Result<GatewayBot, Trouble> {
        match timeout(DEADLINE, self.exchange()).await {
            Ok(answer) => answer,
            Err(_) => Err(Trouble::Passing(format!(
                "GET /gateway/bot: no answer within {DEADLINE:?}"
            ))),
        }
    }

    async fn exchange(&self) -> Result<GatewayBot, Trouble> {
        let failed = |reason: String| Trouble::Passing(format!("GET /gateway/bot: {reason}"));
        let client = self
            .client
            .as_ref()
            .map_err(|reason| failed(reason.clone()))?;
        // A header cannot carry it: no Discord ever gave out such a token.
        let authorization = self.authorization.clone().ok_or(Trouble::Token)?;
        let request = Request::get(&self.url)
            .header(header::AUTHORIZATION, authorization)
            .header(
                header::USER_AGENT,
                concat!("DiscordBot (baton-master, ", env!("CARGO_PKG_VERSION"), ")"),
            )
            .body(Empty::new())
            .map_err(|error| failed(error.to_string()))?;
        let response = client
            .request(request)
            .await
            .map_err(|error| failed(causes(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| failed(format!("the answer breaks off or is too long: {error}")))?
            .to_bytes();
        answered(head.status, &head.headers, &body)
    }
}

/// What an answer says.
pub(super) fn answered(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<GatewayBot, Trouble> {
    let failed = |reason: String| Trouble::Passing(format!("GET /gateway/bot: {reason}"));
    if status == StatusCode::OK {
        return understood(body).map_err(failed);
    }
    let shown = shown(body);
    if status == StatusCode::UNAUTHORIZED {
        return Err(Trouble::Token);
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        let named = headers.iter();
        let named = named.map(|(name, value)| (name.as_str(), value.as_bytes()));
        return Err(Trouble::Limited {
            wait: retry_after(named, body),
            reason: format!("GET /gateway/bot: status 429, asked too often{shown}"),
        });
    }
    if status.is_redirection() {
        let to = headers.get(header::LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to: String = to.chars().take(SHOWN).collect();
        return Err(failed(format!(
            "status {status}, a redirect to {to:?}, which is not followed with a token: set api_url"
        )));
    }
    Err(failed(format!("status {status}{shown}")))
}

/// A success that says what is wanted.
fn understood(body: &[u8]) -> Result<GatewayBot, String> {
    #[derive(Deserialize)]
    struct Answer {
        url: String,
        shards: u32,
        session_start_limit: Limit,
    }
    #[derive(Deserialize)]
    struct Limit {
        total: u32,
        remaining: u32,
        reset_after: u64,
        #[serde(default)]
        max_concurrency: u32,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not understood: {error}{}", shown(body)))?;
    if answer.shards == 0 || answer.shards > MAX_SHARDS {
        return Err(format!("{} shards", answer.shards));
    }
    let limit = answer.session_start_limit;
    Ok(GatewayBot {
        url: answer.url,
        shards: answer.shards,
        budget: IdentifyBudget {
            total: limit.total,
            remaining: limit.remaining.min(limit.total),
            reset_after: Duration::from_millis(limit.reset_after).min(DAY),
            at_once: limit.max_concurrency.clamp(1, MAX_CONCURRENCY),
        },
    })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"url": "wss://gateway.discord.gg", "shards": 9, "session_start_limit":
        {"total": 1000, "remaining": 999, "reset_after": 14400000, "max_concurrency": 1}}"#;

    fn limited(headers: &[(&'static str, &str)], body: &str) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        match answered(StatusCode::TOO_MANY_REQUESTS, &map, body.as_bytes()) {
            Err(Trouble::Limited { wait, .. }) => wait,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_wait_of_a_429_is_taken_from_its_header_and_its_body() {
        let header = limited(&[("retry-after", "65")], "");
        assert_eq!(header, Some(Duration::from_secs(65)));
        let body = limited(&[], r#"{"retry_after": 2.5}"#);
        assert_eq!(body, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn what_is_no_answer_is_said_in_one_line() {
        let told = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            answered(status, &HeaderMap::new(), body.as_bytes())
                .unwrap_err()
                .reason()
        };
        let page = format!(
            "<html>\n  <b>502\u{1b}[2J Bad Gateway</b>{}",
            " x".repeat(9999)
        );
        for (status, body, part) in [
            (
                502,
                &*page,
                "status 502 Bad Gateway (<html> <b>502\\u{1b}[2J",
            ),
            (200, "[1]", "not understood"),
            (200, "", "not understood"),
            (200, r#"{"url": "", "shards": 1}"#, "session_start_limit"),
            (200, &GOOD.replace("9,", "0,"), "0 shards"),
            (200, &GOOD.replace("9,", "99999999,"), "shards"),
            (302, "", "set api_url"),
            (204, "", "status 204"),
        ] {
            let line = told(status, body);
            assert!(line.contains(part), "{line}");
            assert!(line.len() < 400 && !line.contains('\n') && !line.contains('\u{1b}'));
        }
        assert_eq!(told(401, "{}"), Trouble::Token.reason());
    }

    #[test]
    fn odd_numbers_of_a_good_answer_are_bounded() {
        let odd = GOOD
            .replace("\"max_concurrency\": 1", "\"max_concurrency\": 4294967295")
            .replace("14400000", "18446744073709551615")
            .replace("999", "4000000000");
        let bot = answered(StatusCode::OK, &HeaderMap::new(), odd.as_bytes()).unwrap();
        assert_eq!(bot.budget.at_once, MAX_CONCURRENCY);
        assert_eq!(bot.budget.reset_after, DAY);
        assert_eq!((bot.budget.remaining, bot.budget.total), (1000, 1000));
    }
}
