//! Every fault by name, as a client sees it.

use std::time::{Duration, Instant};

use crate::common::{Came, Client, identify, resume, resume_url, session_of, start};
use baton_discord::{Discord, DiscordConfig, Fault, FaultName, When};
use serde_json::{Value, json};
use tokio::net::TcpStream;

#[tokio::test]
async fn payload_faults_arrive_on_the_open_connection() {
    let (discord, mut client, _) = served().await;
    discord
        .fault(Fault::new(FaultName::Op7).on_shard(0))
        .unwrap();
    assert_eq!(client.payload().await["op"], 7);
    discord.fault(Fault::new(FaultName::UnknownOp)).unwrap();
    assert_eq!(client.payload().await["op"], 99);
    discord.fault(Fault::new(FaultName::HugeFrame)).unwrap();
    let huge = client.payload().await;
    assert_eq!(huge["pad"].as_str().unwrap().len(), 16 << 20);
    discord.fault(Fault::new(FaultName::BadJson)).unwrap();
    assert!(raw(&mut client).await.starts_with(b"{\"t\""));
    discord.fault(Fault::new(FaultName::BadZstd)).unwrap();
    assert_eq!(raw(&mut client).await[0], 0xde);
    discord
        .fault(Fault::new(FaultName::Close).with_code(4000))
        .unwrap();
    assert_eq!(client.end().await, 4000);
}

#[tokio::test]
async fn op_9_true_leaves_the_session_and_op_9_false_ends_it() {
    for (name, resumable) in [(FaultName::Op9True, true), (FaultName::Op9False, false)] {
        let (discord, mut client, ready) = served().await;
        discord.fault(Fault::new(name)).unwrap();
        assert_eq!(client.payload().await["d"], resumable);
        assert_eq!(resumes(&ready).await, resumable);
    }
}

#[tokio::test]
async fn closes_end_the_session_when_the_documentation_says_so() {
    for (code, resumable) in [(4000, true), (4008, true), (4007, false), (4009, false)] {
        let (discord, mut client, ready) = served().await;
        discord
            .fault(Fault::new(FaultName::Close).with_code(code))
            .unwrap();
        assert_eq!(client.end().await, code);
        assert_eq!(resumes(&ready).await, resumable, "{code}");
    }
}

#[tokio::test]
async fn a_reset_is_a_real_rst_and_the_session_stays() {
    let (discord, mut client, ready) = served().await;
    discord.fault(Fault::new(FaultName::Reset)).unwrap();
    let error = futures_util::StreamExt::next(&mut client.ws)
        .await
        .unwrap()
        .unwrap_err();
    let tokio_websockets::Error::Io(error) = error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(resumes(&ready).await);
}

#[tokio::test]
async fn a_drop_is_half_open_until_the_heartbeats_are_missed() {
    let discord = start(DiscordConfig {
        heartbeat_interval: Duration::from_millis(200),
        ..DiscordConfig::quick()
    })
    .await;
    let (mut client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    discord.fault(Fault::new(FaultName::Drop)).unwrap();
    discord
        .set_probe(None, Some(Duration::from_millis(5)))
        .unwrap();
    client.silent(Duration::from_millis(150)).await;
    assert_eq!(
        discord.sessions_connected(),
        1,
        "the server does not know yet"
    );
    client.silent(Duration::from_millis(400)).await;
    assert_eq!(discord.sessions_connected(), 0);
    assert!(resumes(&ready).await);
}

#[tokio::test]
async fn faults_before_hello_hit_only_the_resume_url_of_their_shard() {
    let (discord, client, ready) = served().await;
    client.close(4000).await;
    discord
        .fault(Fault::new(FaultName::Op7BeforeHello).on_shard(0))
        .unwrap();
    Client::hello(&discord.url()).await;
    let mut client = Client::open(&resume_url(&ready), "").await;
    assert_eq!(client.payload().await["op"], 7);
    discord.fault(Fault::new(FaultName::NoHello)).unwrap();
    let mut client = Client::open(&discord.url(), "").await;
    client.silent(Duration::from_millis(50)).await;
    Client::hello(&discord.url()).await;
}

#[tokio::test]
async fn faults_of_a_resume_replace_its_answer() {
    let (discord, client, ready) = served().await;
    client.close(4000).await;
    discord
        .fault(
            Fault::new(FaultName::CloseOnResume)
                .with_code(4000)
                .times(2),
        )
        .unwrap();
    for _ in 0..2 {
        let mut client = Client::hello(&resume_url(&ready)).await;
        client.send(resume(&session_of(&ready), 6)).await;
        assert_eq!(client.end().await, 4000);
    }
    discord
        .fault(Fault::new(FaultName::Op9True).at(When::Resume))
        .unwrap();
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 6)).await;
    assert_eq!(
        client.payload().await,
        json!({"op": 9, "d": true, "s": null, "t": null})
    );
    discord.fault(Fault::new(FaultName::NoResumed)).unwrap();
    let mut client = Client::hello(&resume_url(&ready)).await;
    client.send(resume(&session_of(&ready), 5)).await;
    assert_eq!(client.event("GUILD_CREATE").await["s"], 6);
    client.silent(Duration::from_millis(50)).await;
    assert_eq!(discord.counters().total.resumes_refused["fault"], 3);
}

#[tokio::test]
async fn a_slow_replay_comes_event_by_event() {
    let (discord, client, ready) = served().await;
    client.close(4000).await;
    let pause = Duration::from_millis(30);
    discord
        .fault(Fault::new(FaultName::SlowReplay).lasting(pause))
        .unwrap();
    let mut client = Client::hello(&resume_url(&ready)).await;
    let start = Instant::now();
    client.send(resume(&session_of(&ready), 2)).await;
    for _ in 3..=6 {
        client.event("GUILD_CREATE").await;
    }
    client.event("RESUMED").await;
    assert!(start.elapsed() >= pause * 4);
}

#[tokio::test]
async fn sessions_can_be_expired_and_trimmed() {
    for name in [FaultName::ExpireSession, FaultName::Trim] {
        let (discord, client, ready) = served().await;
        discord.fault(Fault::new(name).on_shard(0)).unwrap();
        client.close(4000).await;
        let mut client = Client::hello(&resume_url(&ready)).await;
        client.send(resume(&session_of(&ready), 5)).await;
        assert_eq!(client.payload().await["d"], false, "{name:?}");
    }
}

#[tokio::test]
async fn no_ack_and_stall_keep_the_client_waiting() {
    let (discord, mut client, _) = served().await;
    discord
        .fault(Fault::new(FaultName::Stall).lasting(Duration::from_millis(100)))
        .unwrap();
    let start = Instant::now();
    client.send(json!({"op": 1, "d": 6})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert!(start.elapsed() >= Duration::from_millis(50));
    discord
        .fault(Fault::new(FaultName::NoAck).lasting(Duration::ZERO))
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(json!({"op": 1, "d": 6})).await;
    client.silent(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_flood_is_as_many_events_as_asked_for() {
    let (discord, mut client, _) = served().await;
    let mut flood = Fault::new(FaultName::Flood);
    flood.events = 5000;
    discord.fault(flood).unwrap();
    for _ in 0..5000 {
        client.payload().await;
    }
}

#[tokio::test]
async fn the_listener_can_close_refuse_and_come_back() {
    let (discord, _client, ready) = served().await;
    let lasting = Duration::from_millis(300);
    discord
        .fault(Fault::new(FaultName::ResumeUrlDead).lasting(lasting))
        .unwrap();
    let uri = resume_url(&ready).parse().unwrap();
    assert!(
        tokio_websockets::ClientBuilder::from_uri(uri)
            .connect()
            .await
            .is_err()
    );
    Client::hello(&discord.url()).await;

    discord
        .fault(Fault::new(FaultName::AcceptAndClose).lasting(lasting))
        .unwrap();
    let uri = discord.url().parse().unwrap();
    assert!(
        tokio_websockets::ClientBuilder::from_uri(uri)
            .connect()
            .await
            .is_err()
    );
    tokio::time::sleep(lasting).await;
    Client::hello(&discord.url()).await;

    discord
        .fault(Fault::new(FaultName::RefuseConnect).lasting(lasting))
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = TcpStream::connect(discord.address()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    tokio::time::sleep(lasting * 2).await;
    Client::hello(&discord.url()).await;
}

#[tokio::test]
async fn a_heartbeat_trims_the_replay_buffer_only_when_switched_on() {
    for heartbeat_trims in [false, true] {
        let discord = start(DiscordConfig {
            heartbeat_trims,
            ..DiscordConfig::quick()
        })
        .await;
        let (mut client, ready) = Client::ready(&discord.url(), (0, 1)).await;
        client.send(json!({"op": 1, "d": 6})).await;
        assert_eq!(client.payload().await["op"], 11);
        client.close(4000).await;
        let mut client = Client::hello(&resume_url(&ready)).await;
        client.send(resume(&session_of(&ready), 5)).await;
        let lost = client.payload().await["op"] == 9;
        assert_eq!(lost, heartbeat_trims);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_can_still_be_told_apart() {
    let discord = start(DiscordConfig {
        backlog: 1000,
        ..DiscordConfig::quick()
    })
    .await;
    let mut client = Client::hello(&discord.url()).await;
    client.send(identify((0, 1))).await;
    client.event("READY").await;
    let mut flood = Fault::new(FaultName::Flood);
    flood.events = 100_000;
    discord.fault(flood).unwrap();
    assert_eq!(client.end().await, 0);
    let lost = discord.log(0);
    assert!(
        lost.iter()
            .any(|line| line.detail == "client too far behind")
    );
}

async fn served() -> (Discord, Client, Value) {
    let discord = start(DiscordConfig::quick()).await;
    let (client, ready) = Client::ready(&discord.url(), (0, 1)).await;
    (discord, client, ready)
}

/// Whether the session can be resumed where it was.
async fn resumes(ready: &Value) -> bool {
    let mut client = Client::hello(&resume_url(ready)).await;
    client.send(resume(&session_of(ready), 6)).await;
    loop {
        match client.next().await {
            Came::Payload(payload) if payload["t"] == "RESUMED" => return true,
            Came::Payload(payload) if payload["op"] == 0 => {}
            Came::Payload(_) | Came::End(_) => return false,
        }
    }
}

async fn raw(client: &mut Client) -> Vec<u8> {
    let message = futures_util::StreamExt::next(&mut client.ws)
        .await
        .unwrap()
        .unwrap();
    message.as_payload().to_vec()
}
