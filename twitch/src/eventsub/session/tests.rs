//! A session with a Twitch that says what the test tells it to.

use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_websockets::{CloseCode, ServerBuilder};

use super::*;
use crate::helix::tests::Logged;

const WELCOME: &str = r#"{"metadata":{"message_id":"1","message_type":"session_welcome"},
    "payload":{"session":{"id":"the-session","keepalive_timeout_seconds":10}}}"#;
const KEEPALIVE: &str =
    r#"{"metadata":{"message_id":"2","message_type":"session_keepalive"},"payload":{}}"#;

type Server = WebSocketStream<DuplexStream>;

/// A session that says Welcome, and its other end.
async fn opened() -> (Session, Server) {
    let (client, server) = tokio::io::duplex(4 * MAX_MESSAGE);
    let serving = tokio::spawn(async move {
        let accepted = ServerBuilder::new().accept(server).await;
        let (_, mut socket) = accepted.unwrap();
        socket.send(Message::text(WELCOME)).await.unwrap();
        socket
    });
    let session = Session::over(client, "/ws").await.unwrap();
    (session, serving.await.unwrap())
}

/// What comes of a session whose request is answered with these bytes.
async fn answered(bytes: &'static [u8]) -> Error {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            server.read_buf(&mut head).await.unwrap();
        }
        server.write_all(bytes).await.unwrap();
    });
    Session::over(client, "/ws?token=private")
        .await
        .unwrap_err()
}

async fn ended(session: &mut Session) -> (Option<u16>, String) {
    match session.next().await {
        Heard::Incoming(Incoming::Ended { code, why }) => (code, why),
        heard => panic!("{heard:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_is_refused_says_with_what_and_not_where() {
    for (bytes, shows) in [
        (
            &b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"[..],
            "403",
        ),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "429"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
        (b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\n\r\n", "302"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ""),
        (b"hello\r\n\r\n", ""),
        (b"", ""),
    ] {
        let error = answered(bytes).await;
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(shows) && !text.contains("private"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_welcome_is_none() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let silent = tokio::spawn(async move {
        let (_, socket) = ServerBuilder::new().accept(server).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(socket);
    });
    let error = Session::over(client, "/ws").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
    silent.abort();

    let (client, server) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (_, mut socket) = ServerBuilder::new().accept(server).await.unwrap();
        let code = CloseCode::try_from(4007).unwrap();
        socket
            .send(Message::close(Some(code), "invalid reconnect"))
            .await
            .unwrap();
        while socket.next().await.is_some() {}
    });
    let error = Session::over(client, "/ws").await.unwrap_err();
    assert!(
        matches!(&error, Error::NoWelcome(why) if why.contains("4007")),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_ends_the_session_in_one_frame_or_in_many() {
    let (mut session, mut server) = opened().await;
    let long = "x".repeat(MAX_MESSAGE + 1);
    server.send(Message::text(long)).await.unwrap();
    ended(&mut session).await;

    // By hand: frames of a quarter each, and none that ends the message.
    let (client, mut server) = tokio::io::duplex(8 * MAX_MESSAGE);
    let serving = tokio::spawn(async move {
        let (_, mut socket) = ServerBuilder::new().accept(&mut server).await.unwrap();
        socket.send(Message::text(WELCOME)).await.unwrap();
        drop(socket);
        let piece = MAX_MESSAGE / 4;
        for number in 0..6 {
            let opcode = if number == 0 { 0x01 } else { 0x00 };
            let mut frame = vec![opcode, 127];
            frame.extend_from_slice(&u64::try_from(piece).unwrap().to_be_bytes());
            frame.resize(frame.len() + piece, b'x');
            if server.write_all(&frame).await.is_err() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    });
    let mut session = Session::over(client, "/ws").await.unwrap();
    let (_, why) = ended(&mut session).await;
    assert!(!why.contains("said nothing"), "{why}");
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_or_cannot_be_read_is_passed_over_and_not_logged() {
    let (logged, _guard) = Logged::begin();
    let (mut session, mut server) = opened().await;
    for text in [
        r#"{"metadata":{"message_id":"","message_type":"a_later_one"},"payload":{}}"#,
        r#"{"metadata":{"message_id":"","message_type":"notification"},"payload":"words of a chat"}"#,
        r#"{"metadata":{"message_id":"","message_type":"session_reconnect"},
            "payload":{"session":"wss://host/?words of a chat"}}"#,
        "words of a chat",
        "{",
        "",
    ] {
        server.send(Message::text(text)).await.unwrap();
    }
    server
        .send(Message::binary(vec![0xff, 0x00]))
        .await
        .unwrap();
    server.send(Message::ping("words of a chat")).await.unwrap();
    let event = r#"{"metadata":{"message_id":"7","message_type":"notification","subscription_type":"k"},
        "payload":{"event":{}}}"#;
    server.send(Message::text(event)).await.unwrap();
    let heard = session.next().await;
    let Heard::Incoming(Incoming::Event(event)) = heard else {
        panic!("{heard:?}");
    };
    assert_eq!((&*event.kind, event.id.as_deref()), ("k", Some("7")));
    logged.has_none_of(&["words of a chat"]);
}

#[tokio::test(start_paused = true)]
async fn pings_are_no_sign_of_life_and_keepalives_are() {
    let (mut session, mut server) = opened().await;
    let begun = Instant::now();
    let pings = tokio::spawn(async move {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            server.send(Message::text(KEEPALIVE)).await.unwrap();
        }
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if server.send(Message::ping("")).await.is_err() {
                break;
            }
        }
    });
    let (_, why) = ended(&mut session).await;
    assert!(why.contains("said nothing"), "{why}");
    let took = begun.elapsed();
    assert_eq!(took, Duration::from_secs(6 * 9 + 15), "{took:?}");
    pings.abort();
}

#[tokio::test]
async fn an_address_of_another_host_without_tls_is_refused_and_its_query_is_not_shown() {
    for url in [
        "ws://host/ws?token=private",
        "http://host/?private",
        "?private",
        "wss:?private",
    ] {
        let error = Session::open(url, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("private"), "{error}");
    }
}
