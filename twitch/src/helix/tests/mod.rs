//! Helix without a network: answers by a script, or by the simulated Twitch. So that time is
//! stepped.

mod answers;
mod network;
mod secrets;
mod statuses;

pub(crate) use self::secrets::Logged;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use twitch_mock::{Request, Twitch};

use super::{
    Config, Error, Helix, Inner,
    request::{Answer, Http},
    token::Tokens,
};

pub(crate) const CLIENT_SECRET: &str = "the+client&secret";

/// What is answered, and how late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Played {
    pub(crate) after: Duration,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

pub(crate) type Plays = Arc<dyn Fn(&Request) -> Played + Send + Sync>;

impl Played {
    pub(crate) fn of(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Carries a request to whoever plays Twitch.
pub(super) async fn answer(
    plays: &Plays,
    request: http::Request<Full<Bytes>>,
) -> Result<Answer, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        let value = head.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    // A script knows no address of OAuth or Helix by itself: their paths tell them apart.
    let target = head.uri.path_and_query().unwrap().as_str();
    let mut request = Request::new(head.method.as_str(), target, "", &serde_json::Value::Null);
    request.authorization = header("authorization");
    request.client_id = header("client-id");
    request.body = String::from_utf8(body.to_vec()).unwrap();
    let played = plays(&request);
    sleep(played.after).await;
    let mut headers = HeaderMap::new();
    for (name, value) in played.headers {
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    Ok(Answer {
        status: StatusCode::from_u16(played.status).unwrap(),
        headers,
        body: played.body,
    })
}

pub(crate) fn played(plays: impl Fn(&Request) -> Played + Send + Sync + 'static) -> Helix {
    let config = Config::new("client", CLIENT_SECRET)
        .with_api("http://127.0.0.1:1/helix")
        .with_oauth("http://127.0.0.1:1/oauth2");
    Helix(Arc::new(Inner {
        tokens: Tokens::new(&config),
        config,
        http: Http::Played(Arc::new(plays)),
        requests: AtomicU64::new(0),
    }))
}

/// Of the simulated Twitch.
pub(crate) fn of(twitch: &Arc<Twitch>) -> Helix {
    let twitch = Arc::clone(twitch);
    played(move |request| {
        let reply = twitch.helix(request);
        let headers = reply.headers.into_iter();
        Played {
            after: reply.delay,
            status: reply.status,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: match reply.body.is_null() {
                true => Bytes::new(),
                false => reply.body.to_string().into(),
            },
        }
    })
}

/// Tokens are granted, and other requests are answered like this, one after the other.
fn script(answers: impl IntoIterator<Item = Played>) -> Helix {
    let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
    played(move |request| {
        if request.path == "/oauth2/token" {
            return Played::of(200, r#"{"access_token":"app-token","expires_in":5000}"#);
        }
        let next = answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| panic!("one request too many: {} {}", request.method, request.path))
    })
}

/// A body with this message.
fn message(status: u16, message: &str) -> Played {
    let body = serde_json::json!({ "error": "", "status": status, "message": message });
    Played::of(status, body.to_string())
}
