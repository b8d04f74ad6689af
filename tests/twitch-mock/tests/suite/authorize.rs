//! The flow with an authorisation code: what a user decides, and what a code is worth.

use serde_json::{Value, json};
use twitch_mock::{ChannelChange, Fault, FaultName, Reply, Request, Twitch};

use crate::common::{Socket, app_token, ask_as, assign, conduit, seconds, subscribe, twitch};

const BACK: &str = "http%3A%2F%2F127.0.0.1%3A9%2Finvite%2Fcallback";

/// A request without a token.
fn plain(twitch: &Twitch, method: &str, target: &str, body: &str) -> Reply {
    let request = Request {
        body: body.to_owned(),
        authorization: None,
        client_id: None,
        ..Request::new(method, target, "", &Value::Null)
    };
    twitch.helix(&request)
}

fn query(scope: &str) -> String {
    format!("response_type=code&client_id=client&redirect_uri={BACK}&scope={scope}&state=s%261")
}

fn decide(twitch: &Twitch, query: &str, login: &str, decision: &str) -> Reply {
    let form = format!("{query}&login={login}&decision={decision}");
    plain(twitch, "POST", "/oauth2/authorize", &form)
}

/// Where the browser is sent.
fn location(reply: &Reply) -> &str {
    assert_eq!(reply.status, 302, "{reply:?}");
    let mut headers = reply.headers.iter();
    &headers.find(|(name, _)| *name == "location").unwrap().1
}

fn parameter(location: &str, name: &str) -> Option<String> {
    let query = location.split_once('?').unwrap().1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| *key == name);
    value.map(|(_, value)| value.to_owned())
}

fn code(twitch: &Twitch, scope: &str, login: &str) -> String {
    let decided = decide(twitch, &query(scope), login, "allow");
    parameter(location(&decided), "code").unwrap()
}

fn token(twitch: &Twitch, code: &str, redirect: &str) -> Reply {
    let form = format!(
        "client_id=client&client_secret=x&grant_type=authorization_code&code={code}\
         &redirect_uri={redirect}"
    );
    plain(twitch, "POST", "/oauth2/token", &form)
}

fn scopes_of(twitch: &Twitch, granted: &Reply) -> (Value, Value) {
    let token = granted.body["access_token"].as_str().unwrap();
    let (status, valid) = ask_as(twitch, token, "GET", "/oauth2/validate", &Value::Null);
    assert_eq!(status, 200, "{valid}");
    (valid["login"].clone(), valid["scopes"].clone())
}

#[tokio::test(start_paused = true)]
async fn a_user_is_asked_and_a_code_is_worth_a_token_with_what_was_granted() {
    let twitch = twitch(|_| {});
    let target = format!("/oauth2/authorize?{}", query("channel%3Abot"));
    let page = plain(&twitch, "GET", &target, "");
    let text = page.body.as_str().unwrap();
    assert_eq!(page.status, 200);
    assert!(text.contains("channel:bot") && text.contains("value=\"s&amp;1\""));

    let decided = decide(&twitch, &query("channel%3Abot"), "channel3", "allow");
    let to = location(&decided);
    assert!(
        to.starts_with("http://127.0.0.1:9/invite/callback?"),
        "{to}"
    );
    assert_eq!(parameter(to, "state").as_deref(), Some("s%261"));
    assert_eq!(parameter(to, "scope").as_deref(), Some("channel%3Abot"));
    let granted = token(&twitch, &parameter(to, "code").unwrap(), BACK);
    assert_eq!(
        (granted.status, &granted.body["scope"]),
        (200, &json!(["channel:bot"]))
    );
    let expected = (json!("channel3"), json!(["channel:bot"]));
    assert_eq!(scopes_of(&twitch, &granted), expected);

    // What is refreshed may no more than what was granted.
    let refresh = granted.body["refresh_token"].as_str().unwrap();
    let form = format!(
        "client_id=client&client_secret=x&grant_type=refresh_token&refresh_token={refresh}"
    );
    let refreshed = plain(&twitch, "POST", "/oauth2/token", &form);
    assert_eq!(scopes_of(&twitch, &refreshed), expected);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_agree_is_sent_back_with_access_denied_and_grants_nothing() {
    let twitch = twitch(|config| config.channels = 5);
    let change = ChannelChange {
        grants_bot: Some(false),
        ..ChannelChange::default()
    };
    twitch.change_channel("channel3", &change).unwrap();
    let id = conduit(&twitch, 1);
    let denied = decide(&twitch, &query("channel%3Abot"), "channel3", "deny");
    let to = location(&denied);
    assert_eq!(parameter(to, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(to, "code"), None);
    assert_eq!(parameter(to, "state").as_deref(), Some("s%261"));
    assert_eq!(subscribe(&twitch, &id, 3).0, 403);
    // Another scope lets nobody into the chat, either.
    code(&twitch, "user%3Aread%3Achat", "channel3");
    assert_eq!(subscribe(&twitch, &id, 3).0, 403);
    code(&twitch, "channel%3Abot", "channel3");
    assert_eq!(subscribe(&twitch, &id, 3).0, 202);
}

#[tokio::test(start_paused = true)]
async fn a_code_is_worth_nothing_twice_or_late_or_for_another_address() {
    let twitch = twitch(|_| {});
    let mine = code(&twitch, "channel%3Abot", "channel3");
    assert_eq!(token(&twitch, &mine, BACK).status, 200);
    assert_eq!(token(&twitch, &mine, BACK).status, 400, "twice");
    let elsewhere = code(&twitch, "channel%3Abot", "channel3");
    assert_eq!(token(&twitch, &elsewhere, "http%3A%2F%2Fx").status, 400);
    assert_eq!(
        token(&twitch, &elsewhere, BACK).status,
        400,
        "it is used up"
    );
    let late = code(&twitch, "channel%3Abot", "channel3");
    tokio::time::advance(seconds(601)).await;
    assert_eq!(token(&twitch, &late, BACK).status, 400);
    assert_eq!(token(&twitch, "made-up", BACK).status, 400);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let twitch = twitch(|config| config.redirects = vec!["https://bot.example/in".to_owned()]);
    for wrong in [
        query("channel%3Abot"),
        query("channel%3Abot").replace("client_id=client", "client_id=x"),
    ] {
        let page = plain(&twitch, "GET", &format!("/oauth2/authorize?{wrong}"), "");
        assert_eq!(page.status, 400, "{page:?}");
        let decided = decide(&twitch, &wrong, "channel3", "allow");
        assert_eq!(decided.status, 400, "{decided:?}");
    }
    let right = query("channel%3Abot").replace(BACK, "https%3A%2F%2Fbot.example%2Fin");
    assert_eq!(decide(&twitch, &right, "channel3", "allow").status, 302);
    let odd = right.replace("channel%3Abot", "channel%3Aeverything");
    assert_eq!(decide(&twitch, &odd, "channel3", "allow").status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_broadcaster_who_disconnects_ends_the_tokens_and_the_conduit_hears_of_it() {
    let twitch = twitch(|_| {});
    let granted = token(&twitch, &code(&twitch, "channel%3Abot", "channel3"), BACK);
    let id = conduit(&twitch, 1);
    let mut socket = Socket::open(&twitch, "").await;
    assign(&twitch, &id, 0, &socket.id);
    assert_eq!(subscribe(&twitch, &id, 3).0, 202);
    let gone = Fault {
        channel: Some("channel3".to_owned()),
        ..Fault::new(FaultName::Revoke)
    };
    twitch.fault(gone).unwrap();
    let revoked = socket.until("revocation").await;
    let status = &revoked["payload"]["subscription"]["status"];
    assert_eq!(status, "authorization_revoked", "{revoked}");
    let token = granted.body["access_token"].as_str().unwrap();
    let (status, _) = ask_as(&twitch, token, "GET", "/oauth2/validate", &Value::Null);
    assert_eq!(status, 401);
    // The application's own tokens go on.
    let own = app_token(&twitch);
    let (status, _) = ask_as(&twitch, &own, "GET", "/oauth2/validate", &Value::Null);
    assert_eq!(status, 200);
    assert_eq!(subscribe(&twitch, &id, 3).0, 403);
}
