//! What a broadcaster granted on the invite page.

use http::{Request, header};
use http_body_util::Full;
use serde::Deserialize;

use super::{Error, Helix, request::encoded, token};
use crate::name::{Login, UserId};

/// Who granted what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Whose grant it is.
    pub login: Login,
    /// The id.
    pub id: UserId,
    /// What was granted.
    pub scopes: Vec<String>,
}

impl Helix {
    /// Trades the code of a grant for a token, and asks whose that is. The token is not kept.
    ///
    /// # Errors
    /// See [`Error`]; no text of it has the code.
    pub async fn granted(&self, code: &str, redirect: &str) -> Result<Granted, Error> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        #[derive(Deserialize)]
        struct Valid {
            login: Login,
            user_id: UserId,
            #[serde(default)]
            scopes: Vec<String>,
        }
        let config = &self.0.config;
        let form = format!(
            "client_id={}&client_secret={}&code={}&grant_type=authorization_code&redirect_uri={}",
            encoded(&config.client_id),
            encoded(&config.client_secret.0),
            encoded(code),
            encoded(redirect)
        );
        let wrong = |error: http::Error| Error::Address(error.to_string());
        let odd = || Error::Unreachable("the answer to a code is odd".to_owned());
        let request = Request::post(format!("{}/token", config.oauth))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(form.into()))
            .map_err(wrong)?;
        let answer = self.0.http.exchange(request).await?;
        token::granted(&answer)?;
        let token: Token = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
        let request = Request::get(format!("{}/validate", config.oauth))
            .header(
                header::AUTHORIZATION,
                format!("OAuth {}", token.access_token),
            )
            .body(Full::default())
            .map_err(wrong)?;
        let answer = self.0.http.exchange(request).await?;
        token::granted(&answer)?;
        let valid: Valid = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
        Ok(Granted {
            login: valid.login,
            id: valid.user_id,
            scopes: valid.scopes,
        })
    }

    /// Posts a body somewhere else, for notices: the HTTP status, or that nobody answered.
    pub(crate) async fn post_to(&self, url: &str, body: String) -> Result<u16, Error> {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
            .map_err(|_| Error::Address("the webhook's address is none".to_owned()))?;
        Ok(self.0.http.exchange(request).await?.status.as_u16())
    }
}
