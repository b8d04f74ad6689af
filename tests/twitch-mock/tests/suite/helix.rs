//! OAuth, points, subscriptions, chat messages, users.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use twitch_mock::{ChannelChange, Config, Fault, FaultName, Request, Twitch};

use crate::common::{
    Socket, app_token, ask, ask_as, conduit, seconds, subscribe, subscribe_session, twitch,
};

const SUBSCRIPTIONS: &str = "/helix/eventsub/subscriptions";
const CHAT: &str = "/helix/chat/messages";

#[tokio::test(start_paused = true)]
async fn a_token_is_granted_for_the_right_secret_and_can_be_validated() {
    let twitch = twitch(|config| config.client_secret = Some("s".to_owned()));
    let ask_token = |form: &str| {
        let request = Request {
            method: "POST".to_owned(),
            path: "/oauth2/token".to_owned(),
            body: form.to_owned(),
            ..Request::default()
        };
        twitch.helix(&request)
    };
    let form = "client_id=client&client_secret=s&grant_type=client_credentials";
    let granted = ask_token(form);
    assert_eq!(
        (granted.status, &granted.body["token_type"]),
        (200, &json!("bearer"))
    );
    let token = granted.body["access_token"].as_str().unwrap();
    let (status, valid) = ask_as(&twitch, token, "GET", "/oauth2/validate", &Value::Null);
    assert_eq!((status, &valid["client_id"]), (200, &json!("client")));
    assert_eq!(ask_token(&form.replace("=s&", "=x&")).status, 403);
    assert_eq!(ask_token(&form.replace("=client&", "=x&")).status, 400);
    assert_eq!(
        ask_token(&form.replace("client_credentials", "x")).status,
        400
    );
    let user =
        ask_token("client_id=client&client_secret=s&grant_type=authorization_code&code=code-bot");
    let token = user.body["access_token"].as_str().unwrap();
    let (_, valid) = ask_as(&twitch, token, "GET", "/oauth2/validate", &Value::Null);
    assert_eq!(valid["login"], "bot");
    let (status, _) = ask_as(&twitch, "made-up", "GET", "/oauth2/validate", &Value::Null);
    assert_eq!(status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_is_refused() {
    let twitch = twitch(|config| config.helix.token_lifetime = seconds(60));
    let token = app_token(&twitch);
    let path = "/helix/eventsub/conduits";
    assert_eq!(ask_as(&twitch, &token, "GET", path, &Value::Null).0, 200);
    tokio::time::sleep(seconds(61)).await;
    assert_eq!(ask_as(&twitch, &token, "GET", path, &Value::Null).0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_request_needs_a_token_and_its_client_id() {
    let twitch = twitch(|_| {});
    let good = Request::new(
        "GET",
        "/helix/eventsub/conduits",
        &app_token(&twitch),
        &Value::Null,
    );
    assert_eq!(twitch.helix(&good).status, 200);
    for bad in [
        Request {
            authorization: None,
            ..good.clone()
        },
        Request {
            authorization: Some("Bearer x".to_owned()),
            ..good.clone()
        },
        Request {
            client_id: None,
            ..good.clone()
        },
        Request {
            client_id: Some("other".to_owned()),
            ..good.clone()
        },
    ] {
        assert_eq!(twitch.helix(&bad).status, 401);
    }
    assert_eq!(ask(&twitch, "GET", "/helix/nothing", &Value::Null).0, 404);
    let user = ask_as(
        &twitch,
        "user-bot",
        "GET",
        "/helix/eventsub/conduits",
        &Value::Null,
    );
    assert_eq!(user.0, 401, "conduits are the application's");
}

#[tokio::test(start_paused = true)]
async fn there_are_800_points_a_minute_and_then_429() {
    let twitch = twitch(|_| {});
    let token = app_token(&twitch);
    let request = Request::new("GET", "/helix/eventsub/conduits", &token, &Value::Null);
    let header = |reply: &twitch_mock::Reply, name: &str| {
        let of = reply.headers.iter().find(|(key, _)| *key == name);
        of.unwrap().1.parse::<u64>().unwrap()
    };
    for left in (0..800).rev() {
        let reply = twitch.helix(&request);
        assert_eq!(reply.status, 200);
        assert_eq!(header(&reply, "ratelimit-remaining"), left);
    }
    let refused = twitch.helix(&request);
    assert_eq!(
        (refused.status, header(&refused, "ratelimit-limit")),
        (429, 800)
    );
    assert_eq!(twitch.counters().limited, 1);
    assert_eq!(
        ask_as(&twitch, "user-bot", "GET", "/helix/users", &Value::Null).0,
        200,
        "its own"
    );
    tokio::time::sleep(seconds(3)).await;
    assert_eq!(header(&twitch.helix(&request), "ratelimit-remaining"), 39);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_the_same_type_and_condition_is_a_conflict() {
    let twitch = twitch(|_| {});
    let id = conduit(&twitch, 1);
    let (status, first) = subscribe(&twitch, &id, 1);
    assert_eq!(
        (status, &first["data"][0]["status"]),
        (202, &json!("enabled"))
    );
    assert_eq!(subscribe(&twitch, &id, 1).0, 409);
    assert_eq!(subscribe(&twitch, &id, 2).0, 202, "another channel");
    let own = first["data"][0]["id"].as_str().unwrap();
    assert_eq!(
        ask(
            &twitch,
            "DELETE",
            &format!("{SUBSCRIPTIONS}?id={own}"),
            &Value::Null
        )
        .0,
        204
    );
    assert_eq!(
        ask(
            &twitch,
            "DELETE",
            &format!("{SUBSCRIPTIONS}?id={own}"),
            &Value::Null
        )
        .0,
        404
    );
    assert_eq!(subscribe(&twitch, &id, 1).0, 202, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_cannot_be_meant_is_refused() {
    let twitch = twitch(|_| {});
    let id = conduit(&twitch, 1);
    let good = crate::common::chat_body(1, &json!({ "method": "conduit", "conduit_id": id }));
    for (field, value) in [
        ("type", json!("channel.made.up")),
        ("version", json!("9")),
        ("condition", json!({ "user_id": "100001" })),
        (
            "condition",
            json!({ "user_id": "100001", "broadcaster_user_id": "7" }),
        ),
        ("transport", json!({ "method": "pigeon" })),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert_eq!(ask(&twitch, "POST", SUBSCRIPTIONS, &bad).0, 400, "{bad}");
    }
    assert_eq!(ask(&twitch, "POST", SUBSCRIPTIONS, &json!([])).0, 400);
    assert_eq!(subscribe(&twitch, "made-up", 1).0, 404);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_listed_in_pages_and_by_filter() {
    let twitch = twitch(|config| config.channels = 200);
    let id = conduit(&twitch, 1);
    for channel in 1..=150 {
        subscribe(&twitch, &id, channel);
    }
    let list = |query: &str| {
        ask(
            &twitch,
            "GET",
            &format!("{SUBSCRIPTIONS}{query}"),
            &Value::Null,
        )
        .1
    };
    let first = list("");
    assert_eq!(
        (first["data"].as_array().unwrap().len(), &first["total"]),
        (100, &json!(150))
    );
    let cursor = first["pagination"]["cursor"].as_str().unwrap();
    let second = list(&format!("?after={cursor}"));
    assert_eq!(second["data"].as_array().unwrap().len(), 50);
    assert_eq!(second["pagination"], json!({}));
    assert_eq!(list("?user_id=100007")["total"], 1);
    assert_eq!(
        list("?status=enabled&type=channel.chat.message")["total"],
        150
    );
    assert_eq!(list("?type=stream.online")["total"], 0);
}

fn ungranted(config: &mut Config) {
    config.channels = 200;
    config.irc.channel_cap = 3;
}

fn take_back(twitch: &Twitch, channels: RangeInclusive<u32>) {
    let change = ChannelChange {
        grants_bot: Some(false),
        ..ChannelChange::default()
    };
    for channel in channels {
        twitch
            .change_channel(&format!("channel{channel}"), &change)
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn channels_without_a_grant_cost_a_user_and_count_against_the_cap() {
    let twitch = twitch(ungranted);
    take_back(&twitch, 2..=5);
    let socket = Socket::open(&twitch, "").await;
    let subscribe = |channel| subscribe_session(&twitch, &socket.id, channel);
    assert_eq!(subscribe(10).1["total_cost"], 0, "granted");
    for channel in 2..=4 {
        assert_eq!(subscribe(channel).1["total_cost"], channel - 1);
    }
    assert_eq!(subscribe(5).0, 403);
    assert_eq!(subscribe(11).0, 202, "granted");
}

#[tokio::test(start_paused = true)]
async fn an_application_reads_chat_only_where_it_was_let_in_or_its_account_is_moderator() {
    let twitch = twitch(ungranted);
    let id = conduit(&twitch, 1);
    take_back(&twitch, 2..=3);
    let (status, why) = subscribe(&twitch, &id, 2);
    assert_eq!(status, 403, "{why}");
    let moderator = ChannelChange {
        moderators: vec!["channel1".to_owned()],
        ..ChannelChange::default()
    };
    twitch.change_channel("channel3", &moderator).unwrap();
    assert_eq!(subscribe(&twitch, &id, 3).0, 202);
    assert_eq!(subscribe(&twitch, &id, 10).0, 202, "granted");
}

#[tokio::test(start_paused = true)]
async fn a_cost_above_the_total_is_refused() {
    let twitch = twitch(|config| config.helix.max_total_cost = 1);
    let id = conduit(&twitch, 1);
    let body = |channel: u32| {
        json!({
            "type": "stream.online",
            "version": "1",
            "condition": { "broadcaster_user_id": (100_000 + channel).to_string() },
            "transport": { "method": "conduit", "conduit_id": id },
        })
    };
    assert_eq!(ask(&twitch, "POST", SUBSCRIPTIONS, &body(1)).0, 202);
    assert_eq!(ask(&twitch, "POST", SUBSCRIPTIONS, &body(2)).0, 429);
}

fn message(channel: u32, sender: &str, text: &str) -> Value {
    let broadcaster = (100_000 + channel).to_string();
    json!({ "broadcaster_id": broadcaster, "sender_id": sender, "message": text })
}

#[tokio::test(start_paused = true)]
async fn a_chat_message_says_whether_it_was_sent_and_why_not() {
    let twitch = twitch(|_| {});
    let send = |text: &str| {
        ask_as(
            &twitch,
            "user-channel2",
            "POST",
            CHAT,
            &message(1, "100002", text),
        )
    };
    let (status, sent) = send("hello");
    assert_eq!((status, &sent["data"][0]["is_sent"]), (200, &json!(true)));
    assert_eq!(sent["data"][0]["message_id"], &*twitch.messages(0, 1)[0].id);
    let (_, again) = send("hello");
    assert_eq!(again["data"][0]["is_sent"], false);
    assert_eq!(again["data"][0]["drop_reason"]["code"], "msg_duplicate");
    assert_eq!(send(&"x".repeat(501)).0, 422);
    twitch.fault(Fault::new(FaultName::ChatDropped)).unwrap();
    assert_eq!(send("by a fault").1["data"][0]["is_sent"], false);
    for number in 0..18 {
        assert_eq!(
            send(&format!("n{number}")).1["data"][0]["is_sent"],
            number < 17
        );
    }
    assert_eq!(twitch.counters().ignored, 1, "20 in 30 seconds");
    let ban = ChannelChange {
        ban: vec!["channel3".to_owned()],
        ..ChannelChange::default()
    };
    twitch.change_channel("channel1", &ban).unwrap();
    let banned = ask_as(
        &twitch,
        "user-channel3",
        "POST",
        CHAT,
        &message(1, "100003", "hi"),
    );
    assert_eq!(banned.0, 403);
    let other = ask_as(
        &twitch,
        "user-channel3",
        "POST",
        CHAT,
        &message(1, "100002", "hi"),
    );
    assert_eq!(other.0, 401, "somebody else's name");
}

#[tokio::test(start_paused = true)]
async fn users_are_found_by_login_and_id_and_a_token_has_its_own() {
    let twitch = twitch(|_| {});
    let (_, found) = ask(
        &twitch,
        "GET",
        "/helix/users?login=channel2&id=100003&login=nobody",
        &Value::Null,
    );
    let logins: Vec<&str> = found["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["login"].as_str().unwrap())
        .collect();
    assert_eq!(logins, ["channel2", "channel3"]);
    let (_, own) = ask_as(&twitch, "user-bot", "GET", "/helix/users", &Value::Null);
    assert_eq!(own["data"][0]["login"], "bot");
    assert_eq!(ask(&twitch, "GET", "/helix/users", &Value::Null).0, 400);
}

#[tokio::test(start_paused = true)]
async fn helix_can_be_made_to_fail_and_to_be_slow() {
    let twitch = twitch(|_| {});
    let fault = Fault {
        code: Some(503),
        times: 2,
        ..Fault::new(FaultName::HelixStatus)
    };
    twitch.fault(fault).unwrap();
    let request = Request::new(
        "GET",
        "/helix/eventsub/conduits",
        &app_token(&twitch),
        &Value::Null,
    );
    let mut statuses = (0..3).map(|_| twitch.helix(&request).status);
    assert!(statuses.by_ref().eq([503, 503, 200]));
    twitch
        .fault(Fault {
            duration_ms: 2000,
            ..Fault::new(FaultName::HelixSlow)
        })
        .unwrap();
    assert_eq!(twitch.helix(&request).delay, seconds(2));
    assert!(
        twitch.fault(Fault::new(FaultName::HelixStatus)).is_err(),
        "no code"
    );
}
