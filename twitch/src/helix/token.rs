//! The application's token: fetched when it is needed, and once for all who need it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    Config, Error,
    request::{Answer, Http, encoded, is_passing, until_reset},
};

/// A token that ends within this time is not used any more.
const MARGIN: Duration = Duration::from_secs(60);

/// A token that somebody else asks for is waited for so long.
const WAITS: Duration = Duration::from_secs(10);

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
        // Whoever has it asks for a token, which takes its time if Twitch hangs.
        let Ok(mut newest) = timeout(WAITS, self.newest.lock()).await else {
            let why = format!("a token was waited for {WAITS:?}, behind others who want one");
            return Err(Error::Unreachable(why));
        };
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
        granted(&answer)?;
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

/// Whether OAuth did what it was asked. What it says is not shown: it may name what was sent.
pub(super) fn granted(answer: &Answer) -> Result<(), Error> {
    match answer.status {
        StatusCode::OK => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => Err(Error::TooMany {
            reason: "it grants no more tokens now".to_owned(),
            wait: until_reset(&answer.headers),
        }),
        status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(Error::Unauthorised(format!("status {status}")))
        }
        status if is_passing(status) => {
            Err(Error::Unreachable(format!("no token: status {status}")))
        }
        status => Err(Error::Refused {
            status: status.as_u16(),
            reason: "no token: see the address of OAuth".to_owned(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::helix::Helix;

    /// In stepped time: nothing but the deadlines passes it.
    #[tokio::test(start_paused = true)]
    async fn a_request_for_a_token_that_hangs_holds_nobody_up_for_longer_than_its_own_deadline() {
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/oauth2", hangs.local_addr().unwrap());
        let config = Config::new("client", "se cret&").with_oauth(&url);
        let helix = Helix::new(config).unwrap();
        let began = Instant::now();
        let asks = (0..8).map(|_| {
            let helix = helix.clone();
            tokio::spawn(async move { helix.conduits().await })
        });
        for asked in asks.collect::<Vec<_>>() {
            let error = asked.await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Unreachable(_)), "{error}");
            assert!(!format!("{error} {error:?} {helix:?}").contains("cret"));
        }
        assert!(
            began.elapsed() < Duration::from_secs(25),
            "{:?}",
            began.elapsed()
        );
    }
}
