//! Where the page is, and for which application it asks.

use std::time::Duration;

use http::Uri;

use super::text::encoded;
use crate::Login;

/// Where the page is, and for which application it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bot's account, which the page names.
    pub bot: Login,
    /// The application's id, which is no secret.
    pub client_id: String,
    /// The address to which Twitch sends the browser back, as it is registered for the
    /// application: `https://HOST/invite/callback`. `http` is for this host alone.
    pub redirect: String,
    /// Where Twitch asks: [`Settings::TWITCH`].
    pub authorise: String,
}

/// A setting of the page is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The address to come back to.
    #[error(
        "{0:?} is no address for Twitch to send a browser back to: it is https://HOST/invite/callback, or http with localhost or 127.0.0.1"
    )]
    Redirect(String),
    /// Twitch's.
    #[error("{0:?} is no address of Twitch's page: it is https://id.twitch.tv/oauth2/authorize")]
    Authorise(String),
    /// The application's id.
    #[error("the client's id is empty: it is in Twitch's console for developers")]
    ClientId,
}

impl Settings {
    /// Twitch's page.
    pub const TWITCH: &str = "https://id.twitch.tv/oauth2/authorize";

    pub(super) fn check(&self) -> Result<(), BadSettings> {
        if self.client_id.is_empty() {
            return Err(BadSettings::ClientId);
        }
        let parts = origin_and_path(&self.redirect);
        if parts.is_none_or(|(_, path)| path != "/invite/callback") {
            return Err(BadSettings::Redirect(self.redirect.clone()));
        }
        if origin_and_path(&self.authorise).is_none() {
            return Err(BadSettings::Authorise(self.authorise.clone()));
        }
        Ok(())
    }

    /// Of the page itself, as browsers write it.
    pub(super) fn origin(&self) -> String {
        origin_and_path(&self.redirect).map_or_else(String::new, |(origin, _)| origin)
    }

    /// Of Twitch's page.
    pub(super) fn twitchs_origin(&self) -> String {
        origin_and_path(&self.authorise).map_or_else(String::new, |(origin, _)| origin)
    }

    /// Where a browser is sent. It is asked each time, so that nobody lets the bot in for
    /// an account that only happened to be logged in.
    pub(super) fn authorise_url(&self, scope: &str, state: &str) -> String {
        format!(
            "{}?response_type=code&force_verify=true&client_id={}&redirect_uri={}&scope={}&state={}",
            self.authorise,
            encoded(&self.client_id),
            encoded(&self.redirect),
            encoded(scope),
            encoded(state),
        )
    }

    /// With the prefix, no other host of the domain and no unsafe page can set it.
    pub(super) fn cookie_name(&self) -> &'static str {
        match self.is_secure() {
            true => "__Host-baton-invite",
            false => "baton-invite",
        }
    }

    pub(super) fn set_cookie(&self, value: &str, age: Duration) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        // `Lax`: it comes along when Twitch sends the browser back, and with no form or
        // image of other pages.
        format!(
            "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            self.cookie_name(),
            age.as_secs()
        )
    }

    fn is_secure(&self) -> bool {
        self.redirect.starts_with("https:")
    }
}

/// `None`: it is none, or not safe from others on the way.
fn origin_and_path(address: &str) -> Option<(String, String)> {
    let address: Uri = address.parse().ok()?;
    let (scheme, authority) = (address.scheme_str()?, address.authority()?.as_str());
    let is_this_host = ["localhost", "127.0.0.1", "[::1]"].contains(&address.host()?);
    let is_safe = scheme == "https" || (scheme == "http" && is_this_host);
    let is_plain = address.query().is_none() && !authority.contains(['@', ';', ',', '\'']);
    let origin = format!("{scheme}://{}", authority.to_ascii_lowercase());
    (is_safe && is_plain).then(|| (origin, address.path().to_owned()))
}
