//! NATS JetStream: a real nats-server, under traffic, with everything that happens to one.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, Context,
    consumer::{AckPolicy, pull},
    stream::{Config, DiscardPolicy},
};
use baton_brokers::{Kind, Nats, OperatorNats, Process, Server, or_pass_over};
use baton_sink::{Address, Credentials, Error, Sink, SinkConfig};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::{
    common::{
        Came, Finished, PATIENCE, Traffic, cutter::To, event, in_order, judge, until, until_trouble,
    },
    scenes::{self, Broker, NO_PAUSE, Outcome},
};

impl Broker for Nats {
    const SCHEME: &'static str = "nats";

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self).unwrap();
    }

    fn forget(&self) {
        Self::forget(self).unwrap();
    }

    fn way(&self) -> To {
        To::Port(self.port)
    }

    async fn everything(&self, _: &str, _: &[u64]) -> Vec<Came> {
        everything(self).await
    }
}

/// Of a sink that has patience with a busy machine.
pub(crate) fn config(url: &str) -> SinkConfig {
    let mut config = SinkConfig::new(Address::parse(url).unwrap());
    config.timings.confirm = Duration::from_secs(30);
    config.timings.start = Duration::from_secs(30);
    config.gateway = "gateway-1".to_owned();
    config
}

/// The client does not say that an answer went with its connection.
fn hurried(nats: &Nats) -> SinkConfig {
    let mut config = config(&nats.url());
    config.timings.confirm = Duration::from_millis(500);
    config
}

async fn sink(url: &str) -> Arc<Sink> {
    Arc::new(Sink::start(config(url)).await.unwrap())
}

async fn jetstream(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

/// Everything in the stream, in its order, with its session.
pub(crate) async fn everything_of(nats: &Nats) -> Vec<(String, Came)> {
    let messages = messages(nats).await;
    let read = messages.iter().map(|message| {
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        (header("baton-session").unwrap(), Came::read(header))
    });
    read.collect()
}

/// The same of events that a test made.
async fn everything(nats: &Nats) -> Vec<Came> {
    for message in messages(nats).await {
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let one = Came::read(header);
        let expected = event(one.shard, one.sequence).payload;
        assert_eq!(message.payload, expected, "the payload as it came");
    }
    let all = everything_of(nats).await;
    all.into_iter().map(|(_, one)| one).collect()
}

async fn messages(nats: &Nats) -> Vec<jetstream::Message> {
    messages_of(nats, "baton").await
}

/// A stream, as a worker that starts now gets it.
pub(crate) async fn messages_of(nats: &Nats, stream: &str) -> Vec<jetstream::Message> {
    let mut stream = jetstream(nats).await.get_stream(stream).await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let consumer = pull::Config {
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(consumer).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        let next = timeout(PATIENCE, messages.next()).await.expect("a message");
        all.push(next.unwrap().unwrap());
    }
    all
}

#[tokio::test]
async fn an_event_arrives_with_its_envelope_below_its_subject() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let sink = sink(&nats.url()).await;
    let finished = Finished::default();
    let mut one = event(3, 2);
    one.guild = Some(41_771_983_423_143_937);
    one.may_repeat = true;
    sink.publish(one, finished.when_dropped(2));
    // A type that is no word cannot be a part of a subject.
    let mut odd = event(3, 13);
    odd.kind = "MOON.> RISE".to_owned();
    sink.publish(odd, finished.when_dropped(13));
    until("both are finished", || finished.count() == 2).await;

    let stream = jetstream(&nats).await.get_stream("baton").await.unwrap();
    let subject = "baton.events.5.3.MESSAGE_CREATE";
    let message = stream.get_last_raw_message_by_subject(subject).await;
    let headers = message.unwrap().headers;
    let said = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let says = |name: &str, value: &str| assert_eq!(said(name).as_deref(), Some(value), "{name}");
    says("baton-envelope", "1");
    says("baton-gateway", "gateway-1");
    says("baton-shard", "3");
    says("baton-shards", "2");
    says("baton-epoch", "7");
    says("baton-session", "00000003aabbccdd");
    says("baton-sequence", "2");
    says("baton-type", "MESSAGE_CREATE");
    says("baton-guild", "41771983423143937");
    says("baton-mark", "may-repeat");
    says("Nats-Msg-Id", "00000003aabbccdd:2");
    assert!(said("baton-created").unwrap().len() >= 13);
    let subject = "baton.events.3.3.UNKNOWN";
    let message = stream.get_last_raw_message_by_subject(subject).await;
    let kind = message.unwrap().headers;
    assert_eq!(kind.get("baton-type").unwrap().as_str(), "MOON.> RISE");
}

#[tokio::test]
async fn a_broker_that_is_killed_under_traffic_loses_repeats_and_reorders_nothing() {
    let Some(mut nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let config = hurried(&nats);
    let scene = scenes::killed(&mut nats, config, (2, NO_PAUSE), (3, 2000));
    let Outcome {
        came,
        again,
        status,
    } = scene.await;
    assert_eq!(again, 0);
    assert_eq!(status.confirmed, came.len() as u64);
}

#[tokio::test]
async fn a_broker_that_stands_still_gets_everything_once_when_it_goes_on() {
    let Some(mut nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let config = hurried(&nats);
    let Outcome { again, status, .. } = scenes::stands_still(&mut nats, config, 50).await;
    assert_eq!(again, 0);
    assert!(status.repeats > 0, "{status:?}");
}

#[tokio::test]
async fn a_confirm_that_is_lost_with_its_connection_repeats_nothing() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let config = hurried(&nats);
    let without = Duration::from_millis(100);
    let scene = scenes::confirms_lost(&nats, config, (300, without));
    let Outcome { again, status, .. } = scene.await;
    assert_eq!(again, 0);
    assert!(status.repeats > 0, "{status:?}");
}

#[tokio::test]
async fn a_full_broker_drops_nothing_and_goes_on_when_workers_have_acknowledged() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let mut config = hurried(&nats);
    config.bounds.bytes = 1 << 20;
    config.timings.repeats = Duration::from_millis(1500);
    config.timings.trim = Duration::from_millis(100);
    let sink = Arc::new(Sink::start(config).await.unwrap());
    let traffic = Traffic::start(Arc::clone(&sink), 0, NO_PAUSE);
    until_trouble(&sink, "maximum bytes").await;
    // A queue is kept while nobody is there.
    sleep(Duration::from_millis(2500)).await;
    let full = traffic.finished();

    let stream = jetstream(&nats).await.get_stream("baton").await.unwrap();
    let consumer = pull::Config {
        durable_name: Some("workers".to_owned()),
        max_ack_pending: 10_000,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(consumer).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 * usize::try_from(full).unwrap() {
        let next = timeout(PATIENCE, messages.next()).await.expect("a message");
        let message = next.unwrap().unwrap();
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        came.push(Came::read(header));
        message.ack().await.unwrap();
    }
    assert!(traffic.finished() > full);
    in_order(&came);
    // Those of other guilds may stand behind, as far as the window reaches.
    let newest = came.len() as u64 - 256;
    let whole = (1..=newest).all(|sequence| came.iter().any(|one| one.sequence == sequence));
    assert!(whole, "nothing was taken away before a worker had it");
}

#[tokio::test]
async fn a_broker_whose_room_is_taken_away_for_a_while_loses_and_repeats_nothing() {
    let Some(nats) = or_pass_over(Server::start(Kind::Nats)) else {
        return;
    };
    let fills = |fills| match fills {
        true => nats.fill().unwrap(),
        false => nats.make_room().unwrap(),
    };
    let Server::Nats(broker) = &nats else {
        panic!("{nats:?}");
    };
    let outcome = scenes::has_no_room(broker, hurried(broker), fills).await;
    assert_eq!(outcome.again, 0);
}

#[tokio::test]
async fn a_broker_that_comes_back_empty_gets_its_stream_and_what_it_had_not_confirmed() {
    let Some(mut nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let config = hurried(&nats);
    let (came, left) = scenes::comes_back_empty(&mut nats, config).await;
    assert_eq!(came.len() as u64, left);
}

#[tokio::test]
async fn events_wait_for_a_broker_that_is_not_there_yet() {
    let Some(mut nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let config = hurried(&nats);
    scenes::not_there_yet(&mut nats, config).await;
}

#[tokio::test]
async fn what_the_next_owner_publishes_again_comes_once_and_another_session_is_not_the_same() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let finished = Finished::default();
    let first = sink(&nats.url()).await;
    for sequence in 1..=20 {
        first.publish(event(0, sequence), finished.when_dropped(sequence));
    }
    until("all is finished", || finished.count() == 20).await;
    drop(first);
    let second = sink(&nats.url()).await;
    for sequence in 11..=30 {
        let mut event = event(0, sequence);
        event.may_repeat = sequence <= 20;
        second.publish(event, finished.when_dropped(sequence));
    }
    until("all is finished", || finished.count() == 40).await;
    assert_eq!(judge(&everything(&nats).await, 0, 30), 0);
    assert_eq!(second.status().repeats, 10);

    for sequence in 1..=5 {
        let mut event = event(0, sequence);
        event.session = "ffffffffffffffff".to_owned();
        second.publish(event, finished.when_dropped(sequence));
    }
    until("all is finished", || finished.count() == 45).await;
    assert_eq!(everything(&nats).await.len(), 35);
}

#[tokio::test]
async fn a_stream_that_differs_is_named_with_what_differs() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let there = Config {
        name: "baton".to_owned(),
        subjects: vec!["baton.events.>".to_owned()],
        max_bytes: 1 << 20,
        discard: DiscardPolicy::Old,
        ..Config::default()
    };
    jetstream(&nats).await.create_stream(there).await.unwrap();
    let error = Sink::start(config(&nats.url())).await.unwrap_err();
    assert!(matches!(&error, Error::Differs { .. }), "{error}");
    let text = error.to_string();
    for word in [
        "the stream `baton`",
        "max_bytes is 1048576, not 1073741824",
        "discard is Old, not New",
        "duplicate_window is 120s, not 150s",
        &nats.port.to_string(),
    ] {
        assert!(text.contains(word), "{text}");
    }
    let mut other = config(&nats.url());
    other.name = "other".to_owned();
    Sink::start(other).await.unwrap();
}

#[tokio::test]
async fn a_broker_without_jetstream_and_one_that_lets_nobody_in_are_refused_with_what_to_do() {
    let Some(nats) = or_pass_over(Nats::with(&[])) else {
        return;
    };
    let error = Sink::start(config(&nats.url())).await.unwrap_err();
    assert!(error.to_string().contains("`-js`"), "{error}");

    let nats = Nats::with(&["-js", "--user", "me", "--pass", "pa:ss"]).unwrap();
    let error = Sink::start(config(&nats.url()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not let this process in"), "{error}");
    let mut known = config(&nats.url());
    known.credentials = Some(Credentials::new("me:wrong").unwrap());
    let error = Sink::start(known.clone()).await.unwrap_err().to_string();
    assert!(!error.contains("wrong"), "{error}");
    known.credentials = Some(Credentials::new("me:pa:ss\n").unwrap());
    Sink::start(known).await.unwrap();
    let by_address = format!("nats://me:pa%3Ass@127.0.0.1:{}", nats.port);
    Sink::start(config(&by_address)).await.unwrap();
}

#[tokio::test]
async fn a_broker_of_an_operator_takes_a_credentials_file_of_its_account_and_no_other() {
    let Some(server) = or_pass_over(OperatorNats::start()) else {
        return;
    };
    let start = async |text: &str| {
        let mut config = config(&server.nats.url());
        config.credentials = Some(Credentials::new(text).unwrap());
        Sink::start(config).await.map(drop)
    };
    start(&server.credentials).await.unwrap();
    let error = start(&server.of_nobody).await.unwrap_err().to_string();
    assert!(error.contains("does not let this process in"), "{error}");
}
