use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use baton_protocol::auth::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, advance, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    http::{Door, HEAD, REQUEST},
    *,
};
use crate::peer::Context;

#[tokio::test(start_paused = true)]
async fn who_comes_last_gets_the_place_of_who_waited_longest() {
    let places = Places::new(2);
    let first = places.take().0.expect("a place");
    let second = places.take().0.expect("a place");
    assert!(!places.was_full(Duration::from_secs(60)));
    let third = places.take().0.expect("the first one's place");
    first.lost().await;
    assert!(
        timeout(Duration::from_secs(1), second.lost())
            .await
            .is_err()
    );
    assert!(places.was_full(Duration::from_secs(60)));
    advance(Duration::from_secs(61)).await;
    assert!(!places.was_full(Duration::from_secs(60)));
    // A place that was lost is not given back a second time.
    drop((first, third));
    let fourth = places.take().0.expect("a free place");
    assert!(
        timeout(Duration::from_secs(1), second.lost())
            .await
            .is_err()
    );
    drop((second, fourth));
}

#[tokio::test(start_paused = true)]
async fn one_address_has_half_of_the_places_and_this_host_as_many_as_there_are() {
    let from = |text: &str| Some(text.parse().expect("an address"));
    let places = Places::new(4);
    let take = |text: &str| places.take_for(from(text));
    let (first, _) = take("10.0.0.1");
    let (second, crowd) = take("10.0.0.1");
    assert_eq!(crowd, Crowd::Room);
    let (third, crowd) = take("::ffff:10.0.0.1");
    assert_eq!(crowd, Crowd::FullOfOne);
    first.expect("a place").lost().await;
    assert!(!places.was_full(Duration::from_secs(60)));
    // Of one network of IPv6 all are one.
    let (fourth, crowd) = take("2001:db8::1");
    assert_eq!(crowd, Crowd::Room);
    let (fifth, crowd) = take("2001:db8::2");
    assert_eq!(crowd, Crowd::Room);
    // All are taken: whose address has too many loses its own.
    let (_sixth, crowd) = take("2001:db8::ffff");
    assert_eq!(crowd, Crowd::Full);
    fourth.as_ref().expect("a place").lost().await;
    let second = second.expect("a place");
    assert!(
        timeout(Duration::from_secs(1), second.lost())
            .await
            .is_err()
    );
    drop((second, third, fourth, fifth));

    let places = Places::new(4);
    let held: Vec<_> = (0..4).map(|_| places.take_for(from("127.0.0.1"))).collect();
    assert!(held.iter().all(|(_, crowd)| *crowd == Crowd::Room));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_being_served_keeps_the_place() {
    let places = Places::new(2);
    let (first, second) = (
        places.take().0.expect("a place"),
        places.take().0.expect("one"),
    );
    let (busy, _too) = (first.busy(), second.busy());
    assert!(places.take().0.is_none(), "both are served");
    drop(busy);
    let _third = places.take().0.expect("the first one's place");
    first.lost().await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_line_is_written_a_few_times_and_then_counted() {
    let hush = Hush::new("a test");
    let written = || (0..1000).filter(|_| hush.lets()).count();
    assert_eq!(written(), 5);
    advance(Duration::from_secs(11)).await;
    assert_eq!(written(), 5);
}

/// Time does not stand still while bytes come: each of them is late by a second.
#[tokio::test(start_paused = true)]
async fn a_request_whose_head_or_body_does_not_come_loses_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let router = Router::new().route("/", get(|body: String| async move { body }));
    let closing = CancellationToken::new();
    let (notices, _) = tokio::sync::mpsc::channel(8);
    let context = Context::for_test(Secret::random().expect("a secret"), notices);
    let door = Door::Tcp(listener, Arc::new(context));
    let serving = tokio::spawn(http::serve(door, http::places(), router, closing.clone()));
    let began = Instant::now();
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    // Closed, perhaps with a word about it, and perhaps with bytes that nobody read.
    let _ = slow.read_to_end(&mut Vec::new()).await;
    assert!(began.elapsed() >= HEAD, "{:?}", began.elapsed());

    let mut half = TcpStream::connect(address).await.expect("a connection");
    let head = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf";
    half.write_all(head.as_bytes()).await.expect("room");
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = half.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 408"));
    assert!(began.elapsed() >= REQUEST);
    closing.cancel();
    serving.await.expect("an end");
}
