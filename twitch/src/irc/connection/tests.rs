//! A connection with a Twitch that says what the test tells it to, and with the simulated one.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::sleep;
use twitch_mock::{Config, Fault, FaultName, Kind, Twitch};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn bot() -> Login {
    "bot".parse().unwrap()
}

fn login_of(name: &str) -> Login {
    name.parse().unwrap()
}

async fn over(stream: DuplexStream, token: &str) -> Result<Connection, Error> {
    Connection::over(stream, Some((bot(), token.to_owned()))).await
}

/// What Twitch says after the login, and a connection that hears it.
async fn scripted(lines: &str) -> (Connection, BufReader<DuplexStream>) {
    let (client, mut twitch) = tokio::io::duplex(64 * 1024);
    let welcome = ":tmi.twitch.tv 001 bot :Welcome, GLHF!\r\n";
    twitch.write_all(welcome.as_bytes()).await.unwrap();
    let connection = over(client, "token").await.unwrap();
    twitch.write_all(lines.as_bytes()).await.unwrap();
    (connection, BufReader::new(twitch))
}

async fn refused_with(notice: &str) -> Error {
    let (client, mut twitch) = tokio::io::duplex(64 * 1024);
    let notice = format!(":tmi.twitch.tv NOTICE * :{notice}\r\n");
    twitch.write_all(notice.as_bytes()).await.unwrap();
    over(client, "token").await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_for_its_token_is_final_and_any_other_is_tried_later() {
    for text in ["Login authentication failed", "Improperly formatted auth"] {
        let error = refused_with(text).await;
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
    for text in ["Login unsuccessful", "Error logging in"] {
        let error = refused_with(text).await;
        assert!(matches!(error, Error::NotNow { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_logins_of_an_account_are_no_wrong_token() {
    let twitch = Twitch::without_network(Config::default()).unwrap();
    let mut open = Vec::new();
    let error = loop {
        match over(twitch.irc(), "token").await {
            Ok(connection) => open.push(connection),
            Err(error) => break error,
        }
        assert!(open.len() < 100);
    };
    assert!(matches!(error, Error::NotNow { .. }), "{error}");
    sleep(20 * SECOND).await;
    over(twitch.irc(), "token").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_would_end_the_line_is_refused_and_never_shown() {
    for token in ["", "se cret", "secret\r", "sec\nret"] {
        let (client, _twitch) = tokio::io::duplex(1024);
        let error = over(client, token).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_is_confirmed_by_its_echo_and_the_state_of_the_room_in_either_order() {
    let echo = ":bot!bot@bot.tmi.twitch.tv JOIN #one\r\n";
    let state = "@room-id=7 :tmi.twitch.tv ROOMSTATE #one\r\n";
    for (first, second) in [(echo, state), (state, echo)] {
        let (mut connection, mut twitch) = scripted("").await;
        connection.join(&login_of("one"));
        let lines = format!("{first}{second}");
        twitch.get_mut().write_all(lines.as_bytes()).await.unwrap();
        let joined = Heard::Joined {
            channel: login_of("one"),
            id: Some(UserId::from("7")),
        };
        assert_eq!(connection.next().await, joined);
    }
}

#[tokio::test(start_paused = true)]
async fn the_echo_alone_is_no_join() {
    let (mut connection, mut twitch) = scripted("").await;
    connection.join(&login_of("one"));
    let echo = b":bot!bot@bot.tmi.twitch.tv JOIN #one\r\n";
    twitch.get_mut().write_all(echo).await.unwrap();
    let failed = Heard::JoinFailed {
        channel: login_of("one"),
        why: Reason::Unanswered,
    };
    assert_eq!(connection.next().await, failed);
}

#[tokio::test(start_paused = true)]
async fn a_notice_about_what_was_said_is_an_event_and_no_refused_join() {
    for id in [
        "msg_banned",
        "msg_channel_suspended",
        "msg_ratelimit",
        "msg_duplicate",
        "msg_rejected",
        "msg_slowmode",
    ] {
        let notice = format!("@msg-id={id} :tmi.twitch.tv NOTICE #one :no\r\n");
        let (mut connection, _twitch) = scripted(&notice).await;
        let heard = connection.next().await;
        assert!(
            matches!(&heard, Heard::Event(event) if &*event.kind == "NOTICE"),
            "{id}: {heard:?}"
        );
    }
    // Where a join waits for its answer, it is the answer.
    let (mut connection, mut twitch) = scripted("").await;
    connection.join(&login_of("one"));
    let notice = b"@msg-id=msg_banned :tmi.twitch.tv NOTICE #one :no\r\n";
    twitch.get_mut().write_all(notice).await.unwrap();
    let failed = Heard::JoinFailed {
        channel: login_of("one"),
        why: Reason::Banned,
    };
    assert_eq!(connection.next().await, failed);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_would_be_two_is_not_written() {
    let (mut connection, mut twitch) = scripted("").await;
    let one = login_of("one");
    for text in ["a\r\nQUIT", "a\nQUIT", "a\0"] {
        assert!(connection.say(&one, text, None).is_err(), "{text:?}");
        assert!(connection.write(text).is_err(), "{text:?}");
    }
    assert!(connection.say(&one, "hello", Some("a b")).is_err());
    connection.say(&one, "hello", Some("abc-1")).unwrap();
    assert!(connection.is_written().await);
    let mut line = String::new();
    // The login comes first.
    while !line.contains("PRIVMSG") {
        line.clear();
        twitch.read_line(&mut line).await.unwrap();
        assert!(!line.contains("QUIT"), "{line}");
    }
    assert_eq!(line, "@reply-parent-msg-id=abc-1 PRIVMSG #one :hello\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_seen_and_what_was_said_there_is_unknown() {
    let twitch = Twitch::without_network(Config::default()).unwrap();
    let mut connection = over(twitch.irc(), "token").await.unwrap();
    twitch.fault(Fault::new(FaultName::IrcHalfOpen)).unwrap();
    let heard = timeout(120 * SECOND, connection.next()).await;
    assert!(matches!(heard, Ok(Heard::Ended(why)) if why.contains("PING")));

    // Nobody reads: it fills up.
    let (client, _twitch) = tokio::io::duplex(64);
    let mut wire = Wire::new(client);
    wire.say(&"x".repeat(1000));
    assert!(timeout(WRITTEN, wire.flush()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn messages_of_the_simulated_twitch_are_heard_and_a_reconnect_is_said() {
    let twitch = Twitch::without_network(Config::default()).unwrap();
    let mut connection = over(twitch.irc(), "token").await.unwrap();
    connection.join(&login_of("channel1"));
    let mut heard = Vec::new();
    while !matches!(heard.last(), Some(Heard::Joined { .. })) {
        heard.push(connection.next().await);
    }
    twitch
        .happen(Kind::Message, "channel1", "somebody", "hello")
        .unwrap();
    let Heard::Event(event) = connection.next().await else {
        panic!("a message");
    };
    assert!(event.text.ends_with(":hello"), "{}", event.text);
    twitch.fault(Fault::new(FaultName::IrcReconnect)).unwrap();
    assert_eq!(connection.next().await, Heard::Reconnect);
}
