//! What a browser is shown: HTML without scripts, and one file of style.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
        SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

use super::{Settings, text::escaped};
use crate::Login;

const STYLE: &str = include_str!("style.css");

const FRAME: &str = include_str!("page.html");

/// What a browser is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Two buttons.
    Invite,
    Authorised(Login),
    Revoked(Login),
    /// The broadcaster said no.
    Denied,
    /// Twitch names a broadcaster who did not grant what is needed.
    NotGranted,
    /// Twitch does not take the code.
    Refused,
    Unavailable,
    /// Cookie and state are not those of one open request.
    Unasked,
    /// Another page sent the form.
    Foreign,
    NotManaged,
    Full,
    Failed,
    NotFound,
    NotAllowed,
}

impl Page {
    pub(super) fn response(&self, settings: &Settings) -> Response<Bytes> {
        let bot = settings.bot.as_str();
        let (title, words) = self.words(bot);
        let title_class = match self {
            Self::Authorised(_) => "good",
            Self::Invite | Self::Revoked(_) | Self::Denied => "",
            Self::NotGranted
            | Self::Refused
            | Self::Unavailable
            | Self::Unasked
            | Self::Foreign
            | Self::NotManaged
            | Self::Full
            | Self::Failed
            | Self::NotFound
            | Self::NotAllowed => "bad",
        };
        let buttons = if *self == Self::Invite {
            BUTTONS
        } else if *self == Self::NotManaged {
            ""
        } else {
            BACK
        };
        let html = FRAME
            .replace("{class}", title_class)
            .replace("{title}", &escaped(&title))
            .replace("{words}", &escaped(&words))
            .replace("{buttons}", buttons)
            .replace("{bot}", &escaped(bot));
        answer(settings, self.status(), "text/html; charset=utf-8", html)
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Invite | Self::Authorised(_) | Self::Revoked(_) | Self::Denied => StatusCode::OK,
            Self::Unasked => StatusCode::BAD_REQUEST,
            Self::NotGranted | Self::Foreign => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotManaged => StatusCode::CONFLICT,
            Self::Refused | Self::Unavailable => StatusCode::BAD_GATEWAY,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A title, and what it means.
    fn words(&self, bot: &str) -> (String, String) {
        match self {
            Self::Invite => (
                format!("Invite {bot}"),
                format!(
                    "Twitch will ask you whether {bot} may read and speak in your chat. You can take that back here, or in your settings at Twitch, at any time."
                ),
            ),
            Self::Authorised(login) => (
                format!("{bot} may join {login}"),
                "It comes within a minute. You can close this page.".to_owned(),
            ),
            Self::Revoked(login) => (
                format!("{bot} leaves {login}"),
                "It speaks there no more. You can invite it again at any time.".to_owned(),
            ),
            Self::Denied => (
                "Nothing changed".to_owned(),
                "You did not agree at Twitch, or closed its page.".to_owned(),
            ),
            Self::NotGranted => (
                "The permission is missing".to_owned(),
                format!("Twitch did not say that {bot} may act in your chat. Begin again, and agree to what Twitch asks."),
            ),
            Self::Refused => (
                "Twitch refused".to_owned(),
                "Nothing changed. Begin again; if that does not help, the bot's owner has to compare its settings with Twitch's.".to_owned(),
            ),
            Self::Unavailable => (
                "Twitch does not answer".to_owned(),
                "Nothing changed. Try again in a few minutes.".to_owned(),
            ),
            Self::Unasked => (
                "This does not belong together".to_owned(),
                "Nothing changed. You began in another browser, more than ten minutes ago, or twice. Begin again.".to_owned(),
            ),
            Self::Foreign => (
                "Another page sent this".to_owned(),
                "Nothing changed. If you want to invite the bot, begin on this page.".to_owned(),
            ),
            Self::NotManaged => (
                format!("{bot} needs no invitation"),
                "Its owner decides which channels it joins.".to_owned(),
            ),
            Self::Full => (
                "There is no room".to_owned(),
                format!("{bot} is in as many channels as it can be. Nothing changed."),
            ),
            Self::Failed => (
                "It could not be written down".to_owned(),
                "Nothing is certain to have changed. Try again in a few minutes.".to_owned(),
            ),
            Self::NotFound => (
                "There is no such page".to_owned(),
                "The address is wrong.".to_owned(),
            ),
            Self::NotAllowed => (
                "That cannot be done here".to_owned(),
                "The address takes no such request.".to_owned(),
            ),
        }
    }
}

const BUTTONS: &str = r#"<form method="post" action="/invite"><button class="first">Invite {bot}</button></form>
<form method="post" action="/invite/revoke"><button class="danger">Take it back</button></form>"#;

const BACK: &str = r#"<a href="/invite">To the first page</a>"#;

pub(super) fn not_allowed(settings: &Settings, allowed: &[Method]) -> Response<Bytes> {
    let mut response = Page::NotAllowed.response(settings);
    let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    set(response.headers_mut(), ALLOW, &allowed.join(", "));
    response
}

/// 303: the browser asks there with GET.
pub(super) fn redirect(settings: &Settings, to: &str, cookie: &str) -> Response<Bytes> {
    let kind = "text/plain; charset=utf-8";
    let mut response = answer(settings, StatusCode::SEE_OTHER, kind, String::new());
    set(response.headers_mut(), LOCATION, to);
    add_cookie(&mut response, cookie);
    response
}

pub(super) fn add_cookie(response: &mut Response<Bytes>, cookie: &str) {
    set(response.headers_mut(), SET_COOKIE, cookie);
}

pub(super) fn style() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(STYLE.as_bytes()));
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, "text/css; charset=utf-8");
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Another build may have another style.
    set(headers, CACHE_CONTROL, "no-cache");
    response
}

fn answer(settings: &Settings, status: StatusCode, kind: &str, text: String) -> Response<Bytes> {
    // Nothing is loaded but the style, nothing inline is run, no other page shows this one
    // in a frame. A form goes here, and is sent on to Twitch from here: browsers look at
    // both.
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'self' {}; frame-ancestors 'none'",
        settings.twitchs_origin()
    );
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, kind);
    set(headers, CONTENT_SECURITY_POLICY, &policy);
    set(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, X_FRAME_OPTIONS, "DENY");
    // The address of a page may have a code in it.
    set(headers, REFERRER_POLICY, "no-referrer");
    set(headers, CACHE_CONTROL, "no-store");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All of them are made of settings that were checked, and of hex.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
