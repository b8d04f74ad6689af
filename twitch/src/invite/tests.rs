use std::sync::Mutex;

use http::StatusCode;

use super::*;
use crate::{
    Login,
    channels::{Anybody, Database, Grant, Manager, Reconnect, Unix},
};

/// Twitch, which knows the codes `code-LOGIN`, and a list.
struct Fake {
    manager: Mutex<Box<dyn Manager>>,
    scopes: Vec<String>,
    /// What fails instead, if something does.
    fails: Option<Failed>,
    /// Twitch never answers.
    hangs: bool,
}

impl Fake {
    fn new(manager: impl Manager + 'static) -> Self {
        Self {
            manager: Mutex::new(Box::new(manager)),
            scopes: vec![SCOPE.to_owned()],
            fails: None,
            hangs: false,
        }
    }

    fn is_authorised(&self, name: &str) -> bool {
        let manager = self.manager.lock().expect("nobody panicked");
        manager.is_authorised(&login(name)).expect("read")
    }
}

impl Door for Fake {
    fn asks_broadcasters(&self) -> bool {
        self.manager.lock().expect("nobody panicked").manages()
    }

    async fn exchange(&self, code: Code, redirect: &str) -> Result<Broadcaster, Failed> {
        assert_eq!(redirect, settings().redirect);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if let Some(failed) = self.fails {
            return Err(failed);
        }
        let login = code.reveal().strip_prefix("code-").ok_or(Failed::Refused)?;
        Ok(Broadcaster {
            login: login.parse().map_err(|_| Failed::Refused)?,
            id: "42".into(),
            scopes: self.scopes.clone(),
        })
    }

    async fn authorise(&self, who: &Broadcaster) -> Result<Change, Failed> {
        let grant = Grant {
            login: who.login.clone(),
            id: Some(who.id.clone()),
            reconnect: Reconnect::Yes,
        };
        let mut manager = self.manager.lock().expect("nobody panicked");
        manager
            .authorise(&grant, Unix(0))
            .map_err(|_| Failed::Unavailable)
    }

    async fn revoke(&self, who: &Broadcaster) -> Result<Change, Failed> {
        let mut manager = self.manager.lock().expect("nobody panicked");
        manager
            .revoke(&who.login, Unix(1))
            .map_err(|_| Failed::Unavailable)
    }
}

fn login(text: &str) -> Login {
    text.parse().expect("a login")
}

fn settings() -> Settings {
    Settings {
        bot: login("my_bot"),
        client_id: "client id".to_owned(),
        redirect: "https://bot.example/invite/callback".to_owned(),
        authorise: Settings::TWITCH.to_owned(),
    }
}

/// A browser with its cookie.
struct Browser<'a> {
    invite: &'a Invite,
    door: &'a Fake,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    fn new(invite: &'a Invite, door: &'a Fake) -> Self {
        Self {
            invite,
            door,
            cookie: None,
        }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.body(()).expect("a request");
        let response = self
            .invite
            .answer(self.door, &request, Instant::now())
            .await;
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            self.cookie = cookie.split(';').next().map(ToOwned::to_owned);
        }
        response
    }

    /// Presses a button; the state with which Twitch is asked.
    async fn press(&mut self, path: &str) -> String {
        let response = self
            .send("POST", path, &[("sec-fetch-site", "same-origin")])
            .await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let to = header(&response, "location");
        let (page, query) = to.split_once('?').expect("a query");
        assert_eq!(page, Settings::TWITCH);
        parameter(query, "state").expect("a state")
    }

    /// Twitch sends it back.
    async fn back(&mut self, query: &str) -> Response<Bytes> {
        self.send("GET", &format!("/invite/callback?{query}"), &[])
            .await
    }
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = response.headers().get(name).expect("it is there");
    value.to_str().expect("text")
}

fn body(response: &Response<Bytes>) -> &str {
    str::from_utf8(response.body()).expect("text")
}

fn database() -> Fake {
    Fake::new(Database::in_memory().expect("a list"))
}

fn invite() -> Invite {
    Invite::new(settings()).expect("they fit")
}

#[tokio::test(start_paused = true)]
async fn a_broadcaster_lets_the_bot_in_and_takes_it_back() {
    let (invite, door) = (invite(), database());
    let mut browser = Browser::new(&invite, &door);
    let first = browser.send("GET", "/invite", &[]).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert!(body(&first).contains("Invite my_bot"));
    let state = browser.press("/invite").await;
    let response = browser
        .back(&format!("code=code-some&scope=channel%3Abot&state={state}"))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(body(&response).contains("my_bot may join some"));
    assert!(door.is_authorised("some"));
    let goal = door
        .manager
        .lock()
        .expect("nobody panicked")
        .goal()
        .expect("read");
    assert_eq!(goal[0].id, Some("42".into()));

    let state = browser.press("/invite/revoke").await;
    let response = browser.back(&format!("code=code-some&state={state}")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(body(&response).contains("my_bot leaves some"));
    assert!(!door.is_authorised("some"));
}

#[tokio::test(start_paused = true)]
async fn twitch_is_asked_for_this_application_and_for_no_more_than_is_needed() {
    let (invite, door) = (invite(), database());
    let mut browser = Browser::new(&invite, &door);
    for (path, scope) in [("/invite", SCOPE), ("/invite/revoke", "")] {
        let response = browser.send("POST", path, &[]).await;
        let (_, query) = header(&response, "location")
            .split_once('?')
            .expect("a query");
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "client id"),
            ("redirect_uri", "https://bot.example/invite/callback"),
            ("scope", scope),
        ] {
            assert_eq!(parameter(query, name).as_deref(), Some(value));
        }
        let cookie = header(&response, "set-cookie");
        assert!(cookie.starts_with("__Host-baton-invite="));
        let (_, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(
            attributes,
            "Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        let state = parameter(query, "state").expect("a state");
        assert_eq!(state.len(), 64);
        assert!(!cookie.contains(&state));
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_counts_once() {
    let (invite, door) = (invite(), database());
    let mut browser = Browser::new(&invite, &door);
    let state = browser.press("/invite").await;
    let cookie = browser.cookie.clone();
    browser.back(&format!("code=code-some&state={state}")).await;
    // The browser is told to forget its cookie.
    assert_eq!(browser.cookie.as_deref(), Some("__Host-baton-invite="));
    browser.cookie = cookie;
    let response = browser
        .back(&format!("code=code-other&state={state}"))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!door.is_authorised("other"));
}

#[tokio::test(start_paused = true)]
async fn a_state_counts_in_the_browser_that_began_and_nowhere_else() {
    let (invite, door) = (invite(), database());
    let mut mine = Browser::new(&invite, &door);
    let mut others = Browser::new(&invite, &door);
    let state = mine.press("/invite").await;
    // Without a cookie, and with the cookie of another request.
    let query = format!("code=code-some&state={state}");
    assert_eq!(others.back(&query).await.status(), StatusCode::BAD_REQUEST);
    others.press("/invite").await;
    assert_eq!(others.back(&query).await.status(), StatusCode::BAD_REQUEST);
    assert!(!door.is_authorised("some"));
    assert_eq!(mine.back(&query).await.status(), StatusCode::OK);
    // What was wrong once is over.
    let mut mine = Browser::new(&invite, &door);
    let state = mine.press("/invite").await;
    mine.back("code=code-some&state=0").await;
    let response = mine.back(&format!("code=code-some&state={state}")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_state_counts_for_ten_minutes() {
    let (invite, door) = (invite(), database());
    for (waits, status) in [(599, StatusCode::OK), (600, StatusCode::BAD_REQUEST)] {
        let mut browser = Browser::new(&invite, &door);
        let state = browser.press("/invite").await;
        tokio::time::advance(Duration::from_secs(waits)).await;
        let response = browser.back(&format!("code=code-some&state={state}")).await;
        assert_eq!(response.status(), status, "{waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_browsers_are_remembered_and_the_oldest_has_to_begin_again() {
    let (invite, door) = (invite(), database());
    let mut first = Browser::new(&invite, &door);
    let mut second = Browser::new(&invite, &door);
    let of_first = first.press("/invite").await;
    let of_second = second.press("/invite").await;
    for _ in 0..MOST_OPEN - 1 {
        Browser::new(&invite, &door).press("/invite").await;
    }
    assert_eq!(format!("{:?}", invite.pending()), "Pending { open: 1000 }");
    let response = first
        .back(&format!("code=code-some&state={of_first}"))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let response = second
        .back(&format!("code=code-some&state={of_second}"))
        .await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_no_or_grants_less_changes_nothing_and_is_told_so() {
    let invite = invite();
    let door = database();
    let mut browser = Browser::new(&invite, &door);
    let state = browser.press("/invite").await;
    let denied = browser
        .back(&format!("error=access_denied&state={state}"))
        .await;
    assert_eq!(denied.status(), StatusCode::OK);
    assert!(body(&denied).contains("Nothing changed"));

    let less = Fake {
        scopes: vec!["user:bot".to_owned()],
        ..database()
    };
    let mut browser = Browser::new(&invite, &less);
    let state = browser.press("/invite").await;
    let response = browser.back(&format!("code=code-some&state={state}")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(!less.is_authorised("some"));
    // Only the invitation needs it: anybody may take it back.
    let state = browser.press("/invite/revoke").await;
    let response = browser.back(&format!("code=code-some&state={state}")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_twitch_or_the_list_cannot_do_is_said() {
    let invite = invite();
    let refuses = Fake {
        fails: Some(Failed::Refused),
        ..database()
    };
    let away = Fake {
        fails: Some(Failed::Unavailable),
        ..database()
    };
    let hangs = Fake {
        hangs: true,
        ..database()
    };
    for door in [&refuses, &away, &hangs] {
        let mut browser = Browser::new(&invite, door);
        let state = browser.press("/invite").await;
        let response = browser.back(&format!("code=code-some&state={state}")).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert!(!door.is_authorised("some"));
    }
    let door = database();
    let mut browser = Browser::new(&invite, &door);
    for query in [
        "",
        "state=a",
        "code=code-some",
        &format!("state={}", "a".repeat(5_000)),
    ] {
        browser.press("/invite").await;
        assert_eq!(browser.back(query).await.status(), StatusCode::BAD_REQUEST);
    }
    let state = browser.press("/invite").await;
    let twice = browser
        .back(&format!("code=code-a&code=code-b&state={state}"))
        .await;
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_is_asked_there_is_nothing_to_invite() {
    let invite = invite();
    let door = Fake::new(Anybody::in_memory().expect("a list"));
    let mut browser = Browser::new(&invite, &door);
    for (method, path) in [
        ("GET", "/invite"),
        ("POST", "/invite"),
        ("POST", "/invite/revoke"),
        ("GET", "/invite/callback?code=a&state=b"),
    ] {
        let response = browser.send(method, path, &[]).await;
        assert_eq!(response.status(), StatusCode::CONFLICT, "{method} {path}");
    }
    assert!(browser.cookie.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_form_of_another_page_is_not_taken() {
    let (invite, door) = (invite(), database());
    let mut browser = Browser::new(&invite, &door);
    for (header, status) in [
        (("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (("sec-fetch-site", "same-site"), StatusCode::FORBIDDEN),
        (("origin", "https://evil.example"), StatusCode::FORBIDDEN),
        (("origin", "null"), StatusCode::FORBIDDEN),
        (("origin", "https://bot.example"), StatusCode::SEE_OTHER),
        (("sec-fetch-site", "same-origin"), StatusCode::SEE_OTHER),
    ] {
        for path in ["/invite", "/invite/revoke"] {
            let response = browser.send("POST", path, &[header]).await;
            assert_eq!(response.status(), status, "{header:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_page_runs_anything_or_loads_anything_from_elsewhere() {
    let (invite, door) = (invite(), database());
    let mut browser = Browser::new(&invite, &door);
    for (method, path) in [
        ("GET", "/invite"),
        ("GET", "/nothing"),
        ("DELETE", "/invite"),
        ("GET", "/invite/callback"),
    ] {
        let response = browser.send(method, path, &[]).await;
        assert_eq!(
            header(&response, "content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'self' https://id.twitch.tv; frame-ancestors 'none'"
        );
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert_eq!(header(&response, "cache-control"), "no-store");
        let html = body(&response).replace("http://www.w3.org/", "");
        for word in ["<script", "style=", " onc", " onl", "http:", "https:", "{"] {
            assert!(!html.contains(word), "{word}");
        }
    }
    let response = browser.send("DELETE", "/invite", &[]).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&response, "allow"), "GET, HEAD, POST");
    let style = browser.send("GET", "/invite/style.css", &[]).await;
    assert_eq!(header(&style, "content-type"), "text/css; charset=utf-8");
}

#[test]
fn a_server_may_answer_on_any_of_its_threads() {
    fn may_move<T: Send>(_: &T) {}
    let (invite, door) = (invite(), database());
    let request = Request::new(());
    may_move(&invite.answer(&door, &request, Instant::now()));
}

#[test]
fn no_code_state_or_cookie_is_in_a_debug_form() {
    let invite = invite();
    let ticket = invite
        .pending()
        .begin(Purpose::Authorise, Instant::now())
        .expect("random");
    let shown = format!("{invite:?} {:?}", Code::new("the code".to_owned()));
    for secret in [ticket.cookie.as_str(), &ticket.state, "the code"] {
        assert!(!shown.contains(secret));
    }
}

#[test]
fn codes_are_sent_in_clear_text_to_this_host_only() {
    let with = |redirect: &str| {
        Invite::new(Settings {
            redirect: redirect.to_owned(),
            ..settings()
        })
        .map(|_| ())
    };
    for good in [
        "https://bot.example/invite/callback",
        "https://bot.example:8443/invite/callback",
        "http://localhost:3000/invite/callback",
        "http://127.0.0.1/invite/callback",
    ] {
        assert_eq!(with(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "http://bot.example/invite/callback",
        "https://bot.example/",
        "https://bot.example/invite/callback?a=b",
        "https://a@bot.example/invite/callback",
        "/invite/callback",
    ] {
        assert_eq!(with(bad), Err(BadSettings::Redirect(bad.to_owned())));
    }
    let here = Invite::new(Settings {
        redirect: "http://localhost:3000/invite/callback".to_owned(),
        ..settings()
    })
    .expect("it fits");
    let cookie = here.settings.set_cookie("a", OPEN_FOR);
    assert_eq!(
        cookie,
        "baton-invite=a; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"
    );
}
