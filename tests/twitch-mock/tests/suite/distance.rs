//! How long bytes are on their way.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use twitch_mock::{Config, Kind, Twitch};

use crate::common::{Irc, Socket, seconds, twitch};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// What the timer may be late by.
const LATE: Duration = Duration::from_millis(5);

fn far() -> Twitch {
    twitch(|config| config.round_trip = ROUND_TRIP)
}

fn is_about(took: Duration, round_trips: u32) -> bool {
    let expected = ROUND_TRIP * round_trips;
    (expected..=expected + LATE).contains(&took)
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_irc_takes_a_round_trip_and_two_more_on_a_new_connection() {
    let twitch = far();
    let mut irc = Irc::new(twitch.irc());
    for round_trips in [3, 1, 1] {
        let asked = Instant::now();
        irc.say("PING :here").await;
        let answer = irc.next().await.unwrap();
        assert!(answer.contains("PONG"), "{answer}");
        let took = asked.elapsed();
        assert!(is_about(took, round_trips), "{took:?}, {round_trips}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_travels_together_and_in_its_order() {
    let twitch = far();
    let mut irc = Irc::new(twitch.irc());
    let asked = Instant::now();
    for n in 0..100 {
        irc.say(&format!("PING :{n}")).await;
    }
    for n in 0..100 {
        let answer = irc.next().await.unwrap();
        assert!(answer.ends_with(&format!(":{n}")), "{answer}");
    }
    let took = asked.elapsed();
    assert!(is_about(took, 3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_welcome_takes_a_request_more_than_a_connection_and_an_event_half_a_round_trip() {
    let twitch = far();
    let opened = Instant::now();
    let _socket = Socket::open(&twitch, "").await;
    let took = opened.elapsed();
    // TCP, TLS, and the request, with whose answer the Welcome comes.
    assert!(is_about(took, 3), "{took:?}");

    let mut irc = Irc::new(twitch.irc());
    irc.say("NICK justinfan1").await;
    irc.say("JOIN #channel1").await;
    irc.rest(seconds(1)).await;
    let said = Instant::now();
    twitch
        .happen(Kind::Message, "channel1", "viewer1", "hello")
        .unwrap();
    let line = irc.next().await.unwrap();
    assert!(line.contains("hello"), "{line}");
    let took = said.elapsed();
    assert!(took >= ROUND_TRIP / 2 && took <= ROUND_TRIP / 2 + LATE);
}

/// The end is not earlier than what came before it.
#[tokio::test(start_paused = true)]
async fn an_end_takes_its_time_and_everything_before_it_comes() {
    let twitch = twitch(|config| {
        config.round_trip = ROUND_TRIP;
        config.irc.login_timeout = seconds(1);
    });
    let mut irc = Irc::new(twitch.irc());
    let asked = Instant::now();
    irc.say("PING :here").await;
    assert!(irc.next().await.unwrap().contains("PONG"));
    while irc.next().await.is_some() {}
    assert!(asked.elapsed() >= seconds(1) + ROUND_TRIP / 2);
}

#[tokio::test]
async fn a_request_by_http_takes_its_round_trips_and_the_control_port_is_near() {
    let twitch = Twitch::start(Config {
        round_trip: ROUND_TRIP,
        ..Config::default()
    })
    .await
    .unwrap();
    let addresses = twitch.addresses().unwrap();
    let authority = |url: &str| {
        let rest = url.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    let (helix, control) = (authority(&addresses.helix), authority(&addresses.control));
    let asked = std::time::Instant::now();
    let mut stream = TcpStream::connect(helix).await.unwrap();
    for round_trips in [3, 4] {
        let request = "GET /helix/users HTTP/1.1\r\nhost: twitch\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        assert!(String::from_utf8_lossy(&head[..read]).contains("401"));
        assert!(asked.elapsed() >= ROUND_TRIP * round_trips);
    }
    // It is no lower bound that a test can hold a busy machine to: what it answers is enough.
    let mut stream = TcpStream::connect(control).await.unwrap();
    let request = "GET /status HTTP/1.1\r\nhost: twitch\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.contains(r#""round_trip":"50ms""#), "{said}");
}
