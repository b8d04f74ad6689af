//! Sessions of EventSub: Welcome, silence, reconnect, and how they are closed.

use serde_json::json;
use tokio_websockets::Message;
use twitch_mock::{Fault, FaultName};

use crate::common::{Got, Socket, ask_as, chat_body, seconds, speak, subscribe_session, twitch};

#[tokio::test(start_paused = true)]
async fn a_welcome_names_the_session_and_the_keepalive_in_its_range() {
    let twitch = twitch(|_| {});
    for (query, expected) in [
        ("", 10),
        ("?keepalive_timeout_seconds=30", 30),
        ("?keepalive_timeout_seconds=1", 10),
        ("?keepalive_timeout_seconds=9999", 600),
        ("?keepalive_timeout_seconds=x", 10),
    ] {
        let socket = Socket::open(&twitch, query).await;
        let session = &socket.welcome["payload"]["session"];
        assert_eq!(session["status"], "connected");
        assert_eq!(session["keepalive_timeout_seconds"], expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_use_is_closed_with_4003_after_ten_seconds() {
    let twitch = twitch(|_| {});
    let mut socket = Socket::open(&twitch, "?keepalive_timeout_seconds=60").await;
    assert_eq!(socket.within(seconds(9)).await, Got::Nothing);
    assert_eq!(socket.within(seconds(2)).await, Got::Close(4003));
}

#[tokio::test(start_paused = true)]
async fn whether_the_ten_seconds_follow_the_keepalive_is_a_switch() {
    let twitch = twitch(|config| config.unknown.unused_follows_keepalive = true);
    let mut socket = Socket::open(&twitch, "?keepalive_timeout_seconds=60").await;
    assert_eq!(socket.within(seconds(59)).await, Got::Nothing);
    assert_eq!(socket.close_code().await, 4003);
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_comes_only_after_silence() {
    let twitch = twitch(|_| {});
    let mut socket = Socket::open(&twitch, "").await;
    assert_eq!(subscribe_session(&twitch, &socket.id, 1).0, 202);
    tokio::time::sleep(seconds(6)).await;
    speak(&twitch, "channel1", "hello");
    socket.until("notification").await;
    assert_eq!(socket.within(seconds(9)).await, Got::Nothing);
    let next = socket.within(seconds(2)).await.message();
    assert_eq!(next["metadata"]["message_type"], "session_keepalive");
    twitch.fault(Fault::new(FaultName::SessionSilence)).unwrap();
    assert_eq!(socket.within(seconds(60)).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_anything_is_closed_with_4001() {
    let twitch = twitch(|_| {});
    for message in [Message::text("hello"), Message::binary(vec![1])] {
        let mut socket = Socket::open(&twitch, "").await;
        socket.send(message).await;
        assert_eq!(socket.close_code().await, 4001);
    }
}

#[tokio::test(start_paused = true)]
async fn whether_a_ping_is_a_message_is_a_switch() {
    for is_one in [true, false] {
        let twitch = twitch(|config| config.unknown.ping_is_a_message = is_one);
        let mut socket = Socket::open(&twitch, "").await;
        socket.send(Message::ping("")).await;
        let code = socket.close_code().await;
        assert_eq!(code, if is_one { 4001 } else { 4003 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_closed_with_4002() {
    let twitch = twitch(|_| {});
    let mut socket = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &socket.id, 1);
    // Whoever does not read cannot answer.
    tokio::time::sleep(seconds(41)).await;
    assert_eq!(socket.close_code().await, 4002);
}

#[tokio::test(start_paused = true)]
async fn each_close_code_can_be_had_by_name() {
    let twitch = twitch(|_| {});
    for code in 4000..=4007 {
        let mut socket = Socket::open(&twitch, "").await;
        let fault = Fault {
            code: Some(code),
            session: Some(socket.id.clone()),
            ..Fault::new(FaultName::SessionClose)
        };
        assert_eq!(twitch.fault(fault).unwrap(), 1);
        assert_eq!(socket.close_code().await, code);
    }
    let fault = Fault {
        code: Some(1000),
        ..Fault::new(FaultName::SessionClose)
    };
    assert!(twitch.fault(fault).is_err());
}

/// The query of the `reconnect_url` that a socket is told.
async fn told_to_reconnect(socket: &mut Socket) -> String {
    let message = socket.until("session_reconnect").await;
    let session = &message["payload"]["session"];
    assert_eq!(session["status"], "reconnecting");
    assert_eq!(session["id"], socket.id.as_str());
    let url = session["reconnect_url"].as_str().unwrap();
    format!("?{}", url.split_once('?').unwrap().1)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_reconnects_keeps_its_subscriptions_and_hears_on_the_old_socket_until_then()
{
    let twitch = twitch(|_| {});
    let mut old = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &old.id, 1);
    twitch
        .fault(Fault::new(FaultName::SessionReconnect))
        .unwrap();
    let query = told_to_reconnect(&mut old).await;
    speak(&twitch, "channel1", "to the old one");
    assert_eq!(old.rest().await.len(), 1);
    let mut new = Socket::open(&twitch, &query).await;
    assert_eq!(new.id, old.id);
    speak(&twitch, "channel1", "to the new one");
    assert!(old.rest().await.is_empty());
    assert_eq!(new.rest().await.len(), 1);
    // The end of the old one is not that of the session.
    assert_eq!(old.close_code().await, 4004);
    speak(&twitch, "channel1", "to the new one still");
    assert!(
        new.rest()
            .await
            .iter()
            .any(|m| m["payload"]["event"]["message"]["text"] == "to the new one still")
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_reconnects_late_is_closed_with_4004_and_the_url_is_of_no_use() {
    let twitch = twitch(|_| {});
    let mut old = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &old.id, 1);
    twitch
        .fault(Fault::new(FaultName::SessionReconnect))
        .unwrap();
    let query = told_to_reconnect(&mut old).await;
    assert_eq!(old.close_code().await, 4004);
    let mut late = Socket::raw(&twitch, &query).await;
    assert_eq!(late.close_code().await, 4007);
    let (_, list) = ask_as(
        &twitch,
        "user-channel1",
        "GET",
        "/helix/eventsub/subscriptions",
        &json!(null),
    );
    assert_eq!(list["data"][0]["status"], "websocket_failed_to_reconnect");
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_url_is_good_once_and_must_be_known() {
    let twitch = twitch(|_| {});
    let mut old = Socket::open(&twitch, "").await;
    twitch
        .fault(Fault::new(FaultName::SessionReconnect))
        .unwrap();
    let query = told_to_reconnect(&mut old).await;
    let _new = Socket::open(&twitch, &query).await;
    for query in [query.as_str(), "?reconnect=made-up"] {
        let mut other = Socket::raw(&twitch, query).await;
        assert_eq!(other.close_code().await, 4007);
    }
}

#[tokio::test(start_paused = true)]
async fn whether_the_session_keeps_its_id_is_a_switch() {
    let twitch = twitch(|config| config.unknown.reconnect_keeps_id = false);
    let mut old = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &old.id, 1);
    twitch
        .fault(Fault::new(FaultName::SessionReconnect))
        .unwrap();
    let query = told_to_reconnect(&mut old).await;
    let mut new = Socket::open(&twitch, &query).await;
    assert_ne!(new.id, old.id);
    speak(&twitch, "channel1", "hello");
    let event = new.until("notification").await;
    assert_eq!(
        event["payload"]["subscription"]["transport"]["session_id"],
        new.id.as_str()
    );
}

#[tokio::test(start_paused = true)]
async fn a_notification_has_the_ids_of_the_message_and_of_itself() {
    let twitch = twitch(|_| {});
    let mut socket = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &socket.id, 1);
    let id = speak(&twitch, "channel1", "hello");
    let message = socket.until("notification").await;
    let event = &message["payload"]["event"];
    assert_eq!(event["message_id"], id.as_str());
    assert_eq!(event["message"]["text"], "hello");
    assert_eq!(event["broadcaster_user_login"], "channel1");
    assert_eq!(
        message["metadata"]["subscription_type"],
        "channel.chat.message"
    );
    assert_ne!(message["metadata"]["message_id"], id.as_str());
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_is_sent_again_has_the_same_id() {
    let twitch = twitch(|config| config.eventsub.resend_every = 2);
    let mut socket = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &socket.id, 1);
    speak(&twitch, "channel1", "one");
    speak(&twitch, "channel1", "two");
    let all = socket.rest().await;
    assert_eq!(all.len(), 3);
    assert_ne!(all[0], all[1]);
    assert_eq!(all[1], all[2]);
}

#[tokio::test(start_paused = true)]
async fn the_same_event_has_another_id_for_another_subscription() {
    let twitch = twitch(|_| {});
    let mut one = Socket::open(&twitch, "").await;
    let mut two = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &one.id, 1);
    subscribe_session(&twitch, &two.id, 1);
    speak(&twitch, "channel1", "hello");
    let (one, two) = (
        one.until("notification").await,
        two.until("notification").await,
    );
    assert_ne!(one["metadata"]["message_id"], two["metadata"]["message_id"]);
    assert_eq!(
        one["payload"]["event"]["message_id"],
        two["payload"]["event"]["message_id"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_revocation_says_why_and_ends_the_subscription() {
    let twitch = twitch(|_| {});
    let mut socket = Socket::open(&twitch, "").await;
    subscribe_session(&twitch, &socket.id, 1);
    let fault = Fault {
        channel: Some("channel1".to_owned()),
        ..Fault::new(FaultName::Revoke)
    };
    assert_eq!(twitch.fault(fault).unwrap(), 1);
    let message = socket.until("revocation").await;
    assert_eq!(
        message["payload"]["subscription"]["status"],
        "authorization_revoked"
    );
    speak(&twitch, "channel1", "hello");
    assert_eq!(socket.close_code().await, 4003, "nothing uses it any more");
}

#[tokio::test(start_paused = true)]
async fn a_session_has_300_subscriptions_and_a_user_three_sessions() {
    let twitch = twitch(|config| config.channels = 400);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let socket = Socket::open(&twitch, "").await;
        assert_eq!(subscribe_session(&twitch, &socket.id, 1).0, 202);
        sockets.push(socket);
    }
    let fourth = Socket::open(&twitch, "").await;
    assert_eq!(subscribe_session(&twitch, &fourth.id, 1).0, 429);
    for channel in 2..=300 {
        assert_eq!(subscribe_session(&twitch, &sockets[0].id, channel).0, 202);
    }
    assert_eq!(subscribe_session(&twitch, &sockets[0].id, 301).0, 429);
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_a_user_token_and_must_be_there() {
    let twitch = twitch(|_| {});
    assert_eq!(subscribe_session(&twitch, "made-up", 1).0, 400);
    let socket = Socket::open(&twitch, "").await;
    let transport = json!({ "method": "websocket", "session_id": socket.id });
    let body = chat_body(1, &transport);
    let (status, _) = crate::common::ask(&twitch, "POST", "/helix/eventsub/subscriptions", &body);
    assert_eq!(status, 401);
}
