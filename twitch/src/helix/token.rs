//! The application's token: fetched when it is needed, and once for all who need it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Config, Error,
    request::{Http, encoded},
};

/// A token that ends within this time is not used any more.
const MARGIN: Duration = Duration::from_secs(60);

/// The newest token.
#[derive(Debug)]
pub(super) struct Tokens {
    url: String,
    form: Form,
    newest: Mutex<Option<Bearer>>,
}

/// What is sent for one: it has the client secret.
struct Form(String);

/// A token, as a header.
#[derive(Clone)]
pub(super) struct Bearer {
    value: HeaderValue,
    until: Instant,
}

impl Bearer {
    pub(super) fn header(&self) -> HeaderValue {
        self.value.clone()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(..)")
    }
}

impl Tokens {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            url: format!("{}/token", config.oauth),
            form: Form(format!(
                "client_id={}&client_secret={}&grant_type=client_credentials",
                encoded(&config.client_id),
                encoded(&config.client_secret.0)
            )),
            newest: Mutex::new(None),
        }
    }

    /// A token that is valid, as far as is known. `refused`: this one is not.
    pub(super) async fn get(&self, http: &Http, refused: Option<&Bearer>) -> Result<Bearer, Error> {
        let mut newest = self.newest.lock().await;
        if let Some(known) = &*newest
            && refused.is_none_or(|refused| refused.value != known.value)
            && Instant::now() + MARGIN < known.until
        {
            return Ok(known.clone());
        }
        let bearer = self.fetch(http).await?;
        *newest = Some(bearer.clone());
        Ok(bearer)
    }

    async fn fetch(&self, http: &Http) -> Result<Bearer, Error> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            #[serde(default)]
            expires_in: u64,
        }
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(self.form.0.clone())))
            .map_err(|error| Error::Address(error.to_string()))?;
        let answer = http.exchange(request).await?;
        match answer.status {
            StatusCode::OK => {}
            status if status.is_server_error() => {
                return Err(Error::Unreachable(format!("no token: status {status}")));
            }
            // What it says may name what was sent.
            status => return Err(Error::Unauthorised(format!("status {status}"))),
        }
        let odd = || Error::Unreachable("the answer to a request for a token is odd".to_owned());
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
        let value = HeaderValue::from_str(&format!("Bearer {}", granted.access_token));
        let mut value = value.map_err(|_| odd())?;
        value.set_sensitive(true);
        // A day, where nobody says how long: a refusal is seen anyway.
        let lasts = match granted.expires_in {
            0 => Duration::from_secs(24 * 60 * 60),
            seconds => Duration::from_secs(seconds.min(365 * 24 * 60 * 60)),
        };
        Ok(Bearer {
            value,
            until: Instant::now() + lasts,
        })
    }
}
