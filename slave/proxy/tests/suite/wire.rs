//! The socket: HTTP, HELLO, compressions, heartbeats, and what is no payload.

use std::{sync::Arc, time::Duration};

use baton_proxy::{Error, Proxy, Token};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::{Came, Client, Manner, Rig, TOKEN, config, identify, soon};

/// One HTTP request as it stands: the status line and the body.
async fn request(rig: &Rig, head: &str) -> (String, Value) {
    let mut socket = TcpStream::connect(rig.proxy.address()).await.unwrap();
    let host = rig.proxy.address();
    let text = format!("{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap().to_owned();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn the_gateway_is_found_by_http_and_lets_a_library_start_at_once() {
    let rig = Rig::new().await;
    let (status, found) = request(&rig, "GET /api/v10/gateway HTTP/1.1").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(found, json!({"url": rig.url()}));
    let bot = format!("GET /gateway/bot HTTP/1.1\r\nAuthorization: Bot {TOKEN}");
    let (_, found) = request(&rig, &bot).await;
    assert_eq!(
        (&found["url"], &found["shards"]),
        (&json!(rig.url()), &json!(1))
    );
    let limit = &found["session_start_limit"];
    assert_eq!(
        (&limit["remaining"], &limit["max_concurrency"]),
        (&json!(1000), &json!(1))
    );
    for (head, status) in [
        ("GET /gateway/bot HTTP/1.1\r\nAuthorization: Bot no", 401),
        ("GET /gateway/bot HTTP/1.1", 401),
        ("GET /api/v10/users/@me HTTP/1.1", 404),
        ("POST /gateway HTTP/1.1", 404),
        ("GET / HTTP/1.1\r\nUpgrade: websocket", 400),
        (
            "GET /?mirror=x HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13",
            404,
        ),
    ] {
        let (said, body) = request(&rig, head).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {said}"
        );
        assert!(body["message"].is_string(), "{head}: {body}");
    }
}

#[tokio::test]
async fn hello_comes_first_and_a_heartbeat_is_answered_at_any_time() {
    let rig = Rig::new().await;
    let mut client = Client::open(&format!("{}/?encoding=json&v=9", rig.url())).await;
    client.manner = Manner::Raw;
    let hello = client.payload().await;
    assert_eq!(
        (&hello["op"], &hello["d"]["heartbeat_interval"]),
        (&json!(10), &json!(41250))
    );
    for beat in [
        json!({"op": 1, "d": null}),
        json!({"op": 1}),
        json!({"op": 1, "d": 7}),
    ] {
        client.send(beat).await;
        assert_eq!(client.payload().await["op"], 11);
    }
    client.send(json!({"op": 1, "d": "7"})).await;
    assert_eq!(client.closed().await.0, 4002);
}

#[tokio::test]
async fn each_compression_carries_short_payloads_and_long_ones() {
    for query in [
        "",
        "&compress=zlib-stream",
        "&compress=zstd-stream",
        "payload",
    ] {
        let rig = Rig::new().await;
        let long = json!({"id": "1", "text": "x".repeat(300_000), "member_count": 0});
        rig.above.inner().guilds[0].1 = Some(long.to_string());
        let mut identify = identify();
        let url = if query == "payload" {
            identify["d"]["compress"] = json!(true);
            rig.url()
        } else {
            format!("{}/?v=10&encoding=json{query}", rig.url())
        };
        let mut client = Client::open(&url).await;
        assert_eq!(client.payload().await["op"], 10);
        client.send(identify).await;
        let greeting = client.greeting().await;
        assert_eq!(greeting[1]["d"], long, "{query}");
        rig.event(101).await;
        assert_eq!(client.numbers(1).await, [(4, Some(101))], "{query}");
        client.beat().await;
        rig.until_finished(101).await;
    }
}

#[tokio::test]
async fn what_is_no_payload_closes_with_its_code() {
    let rig = Rig::new().await;
    let long = json!({"op": 3, "d": "x".repeat(4096)}).to_string();
    for (text, code) in [
        ("no JSON", 4002),
        ("[]", 4002),
        (long.as_str(), 4002),
        (r#"{"op":3,"d":{}}"#, 4003),
        (r#"{"op":43,"d":{}}"#, 4003),
        (r#"{"op":0,"d":{}}"#, 4001),
        (r#"{"op":99}"#, 4001),
    ] {
        let mut client = rig.hello().await;
        client.send_text(text.to_owned()).await;
        let (closed, reason) = client.closed().await;
        assert_eq!(closed, code, "{text}");
        assert!(!reason.is_empty(), "{text}");
    }
    let closed = rig.status().closed;
    assert_eq!((closed[&4001], closed[&4002], closed[&4003]), (2, 3, 2));
}

#[tokio::test]
async fn what_is_not_served_closes_before_hello() {
    let rig = Rig::new().await;
    for query in ["v=8", "v=10&encoding=etf", "v=10&compress=lz4"] {
        let mut client = Client::open(&format!("{}/?{query}", rig.url())).await;
        assert_eq!(client.closed().await.0, 4012, "{query}");
    }
}

#[tokio::test]
async fn a_client_without_a_heartbeat_is_closed_and_one_without_a_name() {
    let mut config = config();
    config.timings.heartbeat = Duration::from_millis(100);
    let rig = Rig::with(config.clone()).await;
    let mut silent = rig.hello().await;
    assert_eq!(silent.closed().await.0, 4009);

    config.timings.heartbeat = Duration::from_secs(60);
    config.timings.nameless = Duration::from_millis(50);
    let rig = Rig::with(config).await;
    let mut nameless = rig.hello().await;
    assert_eq!(nameless.closed().await.0, 4003);
}

#[tokio::test]
async fn a_head_that_does_not_end_and_a_frame_that_is_too_long_end_their_connection() {
    let mut config = config();
    config.timings.head = Duration::from_millis(100);
    let rig = Rig::with(config).await;
    let mut socket = TcpStream::connect(rig.proxy.address()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    // Closed, with an answer or without.
    let _ = soon(socket.read_to_end(&mut rest)).await;
    rig.until("free again", |rig| rig.status().connections == 0)
        .await;

    let rig = Rig::new().await;
    let mut client = rig.hello().await;
    client.send_text("x".repeat(100_000)).await;
    assert!(matches!(client.came().await, Came::End(..)));
    rig.until("free again", |rig| rig.status().connections == 0)
        .await;
}

#[tokio::test]
async fn more_connections_than_it_may_have_are_turned_away() {
    let mut config = config();
    config.limits.connections = 1;
    let rig = Rig::with(config).await;
    let first = rig.hello().await;
    let mut socket = TcpStream::connect(rig.proxy.address()).await.unwrap();
    let mut rest = Vec::new();
    let read = soon(socket.read_to_end(&mut rest)).await;
    assert!(read.is_err() || rest.is_empty());
    first.close(1000).await;
    rig.until("free again", |rig| rig.status().connections == 0)
        .await;
    rig.hello().await;
}

#[tokio::test]
async fn tls_is_served_and_another_host_needs_a_lock() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der.into())
        .unwrap();
    let mut with_tls = config();
    with_tls.tls = Some(Arc::new(tls));
    let rig = Rig::with(with_tls).await;
    // Plain HTTP gets nothing there.
    let mut socket = TcpStream::connect(rig.proxy.address()).await.unwrap();
    socket
        .write_all(b"GET /gateway HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));

    let mut open = config();
    open.listen = "0.0.0.0:0".parse().unwrap();
    let upstream: Arc<dyn baton_proxy::Upstream> = rig.above.clone();
    let refused = Proxy::start(open.clone(), Arc::clone(&upstream)).await;
    assert!(matches!(refused, Err(Error::Exposed(_))));
    open.own_token = Token::new("own");
    drop(Proxy::start(open, upstream).await.unwrap());
}

#[tokio::test]
async fn a_proxy_that_stops_asks_its_clients_to_reconnect() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    let stopping = tokio::spawn(rig.proxy.stop());
    assert_eq!(client.payload().await["op"], 7);
    assert_eq!(client.closed().await.0, 4000);
    drop(client);
    soon(stopping).await.unwrap();
}
