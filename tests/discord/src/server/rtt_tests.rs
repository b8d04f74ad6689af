//! The self-test of the delay line: real TLS 1.3 and a real websocket over
//! memory, in stepped time, so that every round trip is exact.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::listen;
use crate::{
    Discord, DiscordConfig, Tls,
    wire::{delay, link::LinkControl, tls},
};

const RTT: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn tcp_tls_upgrade_and_hello_take_three_round_trips_and_a_resume_one() {
    let line = Line::new().await;
    let start = Instant::now();
    let mut client = line.connect().await;
    assert_eq!(next(&mut client).await["op"], 10);
    assert_eq!(start.elapsed(), RTT * 3);

    let start = Instant::now();
    let identify = json!({"token": "x", "intents": 1, "properties": {}});
    send(&mut client, json!({"op": 2, "d": identify})).await;
    let ready = next(&mut client).await;
    assert_eq!(start.elapsed(), RTT);
    drop(client);
    tokio::time::sleep(RTT * 2).await;

    let mut client = line.connect().await;
    next(&mut client).await;
    let start = Instant::now();
    let resume = json!({"token": "x", "session_id": ready["d"]["session_id"], "seq": 2});
    send(&mut client, json!({"op": 6, "d": resume})).await;
    assert_eq!(next(&mut client).await["s"], 3);
    assert_eq!(start.elapsed(), RTT);
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_at_the_legal_pace_takes_five_seconds_for_each_round_of_buckets() {
    let line = Line::to(DiscordConfig {
        shards: 6,
        max_concurrency: 2,
        ..DiscordConfig::default()
    })
    .await;
    let start = Instant::now();
    for shard in 0..6 {
        let mut client = line.connect().await;
        next(&mut client).await;
        let identify = json!({"token": "x", "intents": 1, "shard": [shard, 6], "properties": {}});
        while {
            send(&mut client, json!({"op": 2, "d": identify})).await;
            next(&mut client).await["op"] == 9
        } {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        // Two buckets: shards 0 and 1 at once, 2 and 3 five seconds later, ...
        assert_eq!(start.elapsed(), Duration::from_secs(5) * (shard / 2));
    }
    assert_eq!(line.discord.counters().total.identifies, 6);
    assert_eq!(
        line.discord.counters().total.identifies_refused["max_concurrency"],
        40
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_keep_their_order_and_their_distance_on_the_line() {
    let (mut far, end) = tokio::io::duplex(1 << 20);
    let mut near = delay::line(end, RTT, Instant::now(), LinkControl::default());
    // The first byte waits for the handshake that the kernel did for us.
    let start = Instant::now();
    far.write_all(b"a").await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'a');
    assert_eq!(start.elapsed(), RTT + RTT / 2);

    let start = Instant::now();
    let mut expected = Vec::new();
    for number in 0..100_u8 {
        near.write_u8(number).await.unwrap();
        expected.push(number);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut got = vec![0; 100];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    assert_eq!(start.elapsed(), RTT / 2 + Duration::from_millis(99));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_comes_after_its_last_byte() {
    let (mut far, end) = tokio::io::duplex(1 << 20);
    let mut near = delay::line(end, RTT, Instant::now(), LinkControl::default());
    let bytes = Bytes::from(vec![7; 300_000]);
    let sent = bytes.clone();
    tokio::spawn(async move {
        near.write_all(&sent).await.unwrap();
    });
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}

/// A simulated Discord behind memory instead of a socket.
struct Line {
    discord: Discord,
    acceptor: tokio_rustls::TlsAcceptor,
    connector: TlsConnector,
}

type Client = WebSocketStream<TlsStream<DuplexStream>>;

impl Line {
    async fn new() -> Self {
        Self::to(DiscordConfig {
            rtt: RTT,
            ..DiscordConfig::quick()
        })
        .await
    }

    async fn to(config: DiscordConfig) -> Self {
        let discord = Discord::start(config).await.unwrap();
        let setup = tls::setup(&Tls::SelfSigned).unwrap().unwrap();
        let mut roots = RootCertStore::empty();
        let authority = setup.ca_pem.unwrap();
        roots
            .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Self {
            discord,
            acceptor: setup.acceptor,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn connect(&self) -> Client {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (shared, acceptor) = (self.discord.shared(), self.acceptor.clone());
        tokio::spawn(listen::serve(
            shared,
            far,
            LinkControl::default(),
            Some(acceptor),
        ));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = self.connector.connect(name, near).await.unwrap();
        let uri = "wss://localhost/?v=10&encoding=json".parse().unwrap();
        let (client, _) = ClientBuilder::from_uri(uri)
            .connect_on(stream)
            .await
            .unwrap();
        client
    }
}

async fn send(client: &mut Client, payload: Value) {
    client
        .send(Message::text(payload.to_string()))
        .await
        .unwrap();
}

async fn next(client: &mut Client) -> Value {
    let message = client.next().await.unwrap().unwrap();
    serde_json::from_slice(message.as_payload()).unwrap()
}
