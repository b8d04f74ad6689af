//! RabbitMQ: a real rabbitmq-server, under traffic, with everything that happens to one. It
//! takes seconds to start, so one of them is there for all of this.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_brokers::{Kind, Process, Rabbit, or_pass_over, parts, worker::address};
use baton_sink::{Address, Credentials, Error, Sink, SinkConfig};
use futures_util::StreamExt;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout};

use crate::{
    commands,
    common::{Came, Finished, PATIENCE, Traffic, cutter::To, event, judge, until, until_trouble},
    scenes::{self, A_MS, Broker},
    tls::{of_gateway, publishes},
    workers::{Language, Worker, is_killed_and_gets_everything},
};

impl Broker for Rabbit {
    const SCHEME: &'static str = "amqp";

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn kill(&mut self) {
        Self::kill(self).unwrap();
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

    async fn everything(&self, name: &str, ends: &[u64]) -> Vec<Came> {
        let [last] = ends else { panic!("one shard") };
        everything(self, name, |came| has_all(came, *last)).await
    }
}

/// Of a sink that has patience with a busy machine.
pub(crate) fn config(rabbit: &Rabbit, name: &str) -> SinkConfig {
    let mut config = SinkConfig::new(Address::parse(&rabbit.url()).unwrap());
    config.timings.confirm = Duration::from_secs(30);
    config.timings.start = Duration::from_secs(30);
    config.gateway = "gateway-1".to_owned();
    config.name = name.to_owned();
    config
}

async fn sink(rabbit: &Rabbit, name: &str) -> Arc<Sink> {
    Arc::new(Sink::start(config(rabbit, name)).await.unwrap())
}

pub(crate) async fn channel(rabbit: &Rabbit) -> (Connection, Channel) {
    let url = rabbit.url();
    let connection = Connection::connect(&url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn consumer(channel: &Channel, queue: &str) -> Consumer {
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume(queue.into(), "".into(), options, arguments);
    consuming.await.unwrap()
}

pub(crate) fn header(delivery: &Delivery, name: &str) -> Option<String> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        Some(_) | None => None,
    }
}

fn read(delivery: &Delivery) -> Came {
    let one = Came::read(|name| header(delivery, name));
    let expected = event(one.shard, one.sequence).payload;
    assert_eq!(delivery.data, expected, "the payload as it came");
    one
}

/// Takes and acknowledges what lies in the queues of all partitions, until `is_all`.
async fn everything(rabbit: &Rabbit, name: &str, is_all: impl Fn(&[Came]) -> bool) -> Vec<Came> {
    let (_connection, channel) = channel(rabbit).await;
    channel
        .basic_qos(100, BasicQosOptions::default())
        .await
        .unwrap();
    let mut queues = Vec::new();
    for partition in 0..16 {
        queues.push(consumer(&channel, &format!("{name}.events.{partition}")).await);
    }
    let mut deliveries = futures_util::stream::select_all(queues);
    let mut came = Vec::new();
    let began = Instant::now();
    while !is_all(&came) {
        assert!(
            began.elapsed() < PATIENCE,
            "{} came, and no more",
            came.len()
        );
        let Ok(next) = timeout(Duration::from_millis(50), deliveries.next()).await else {
            continue;
        };
        let delivery = next.unwrap().unwrap();
        came.push(read(&delivery));
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    came
}

/// Whether every sequence up to this one came.
fn has_all(came: &[Came], last: u64) -> bool {
    let of_shard: BTreeSet<u64> = came.iter().map(|one| one.sequence).collect();
    of_shard.len() as u64 >= last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_rabbitmq_nothing_is_lost_or_disordered_and_only_marked_events_repeat()
{
    let Some(mut rabbit) = or_pass_over(Rabbit::start()) else {
        return;
    };
    arrives_with_its_envelope(&rabbit).await;
    differs_and_lets_nobody_in(&rabbit).await;
    dead_letters(&rabbit).await;
    workers(&rabbit).await;
    commands::rabbit::all(&mut rabbit).await;
    over_tls(&rabbit).await;
    full(&rabbit).await;
    comes_back_to_its_sender(&rabbit).await;
    let config = |rabbit: &Rabbit, name: &str, confirm: u64| {
        let mut config = config(rabbit, name);
        config.timings.confirm = Duration::from_secs(confirm);
        config
    };
    let cut = (200, Duration::from_millis(200));
    let settings = config(&rabbit, "cut", 30);
    let outcome = scenes::confirms_lost(&rabbit, settings, cut).await;
    assert!(outcome.again > 0, "a confirm was lost");
    let settings = config(&rabbit, "still", 2);
    let outcome = scenes::stands_still(&mut rabbit, settings, 13).await;
    assert_eq!(
        outcome.again, 0,
        "what may still be confirmed is not published again"
    );
    let settings = config(&rabbit, "killed", 30);
    scenes::killed(&mut rabbit, settings, (1, A_MS), (1, 500)).await;
    let settings = config(&rabbit, "empty", 30);
    scenes::comes_back_empty(&mut rabbit, settings).await;
}

async fn arrives_with_its_envelope(rabbit: &Rabbit) {
    let sink = sink(rabbit, "one").await;
    let finished = Finished::default();
    let mut known = event(3, 2);
    known.guild = Some(41_771_983_423_143_937);
    sink.publish(known, finished.when_dropped(2));
    until("it is finished", || finished.count() == 1).await;
    let (_connection, channel) = channel(rabbit).await;
    let mut queue = consumer(&channel, "one.events.5").await;
    let delivery = queue.next().await.unwrap().unwrap();
    assert_eq!(delivery.routing_key.as_str(), "5.3.MESSAGE_CREATE");
    assert!(!delivery.redelivered);
    let id = delivery.properties.message_id().clone().unwrap();
    assert_eq!(id.as_str(), "00000003aabbccdd:2");
    let says = |name: &str, value: &str| {
        assert_eq!(header(&delivery, name).as_deref(), Some(value), "{name}");
    };
    says("baton-envelope", "1");
    says("baton-gateway", "gateway-1");
    says("baton-epoch", "7");
    says("baton-guild", "41771983423143937");
    assert_eq!(header(&delivery, "baton-mark"), None);
    delivery.ack(BasicAckOptions::default()).await.unwrap();
}

async fn differs_and_lets_nobody_in(rabbit: &Rabbit) {
    let mut other = config(rabbit, "one");
    other.bounds.bytes = 1 << 24;
    let error = Sink::start(other).await.unwrap_err();
    assert!(matches!(&error, Error::Differs { .. }), "{error}");
    let text = error.to_string();
    let port = rabbit.port.to_string();
    for word in ["x-max-length-bytes", "one.dead", "1048576", &port] {
        assert!(text.contains(word), "{text}");
    }
    let mut wrong = config(rabbit, "one");
    wrong.credentials = Some(Credentials::new("guest:no").unwrap());
    let error = Sink::start(wrong).await.unwrap_err().to_string();
    assert!(error.contains("give user and password"), "{error}");
    let mut wrong = config(rabbit, "one");
    wrong.address = Address::parse(&format!("{}/nowhere", rabbit.url())).unwrap();
    let error = Sink::start(wrong).await.unwrap_err().to_string();
    assert!(error.contains("virtual host"), "{error}");
}

async fn over_tls(rabbit: &Rabbit) {
    let url = format!("amqps://guest:guest@localhost:{}", rabbit.tls);
    publishes(&url, of_gateway(rabbit.dir())).await;
    let mut unknown = config(rabbit, "baton");
    unknown.address = Address::parse(&url).unwrap();
    let error = Sink::start(unknown).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// An event that no worker can handle goes to the dead letters, and the next one comes.
async fn dead_letters(rabbit: &Rabbit) {
    let sink = sink(rabbit, "dead").await;
    let finished = Finished::default();
    for sequence in [13, 26] {
        sink.publish(event(0, sequence), finished.when_dropped(sequence));
    }
    until("both are finished", || finished.count() == 2).await;
    let (_connection, channel) = channel(rabbit).await;
    channel
        .basic_qos(1, BasicQosOptions::default())
        .await
        .unwrap();
    let mut queue = consumer(&channel, "dead.events.0").await;
    let mut deliveries = 0;
    loop {
        let delivery = timeout(PATIENCE, queue.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if read(&delivery).sequence == 26 {
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            break;
        }
        deliveries += 1;
        let again = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        delivery.nack(again).await.unwrap();
    }
    assert_eq!(deliveries, 21);
    let mut letters = consumer(&channel, "dead.dead").await;
    let letter = timeout(PATIENCE, letters.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(read(&letter).sequence, 13);
    letter.ack(BasicAckOptions::default()).await.unwrap();
}

/// The ones of `docs/workers.md`.
async fn workers(rabbit: &Rabbit) {
    let python = (
        Language::Python,
        "import pika",
        or_pass_over(parts::python("pika")),
    );
    // One of each queue at most comes again.
    let node = (
        Language::Node,
        "amqplib",
        or_pass_over(parts::node("amqplib")),
    );
    for ((language, word, library), again) in [(python, 1), (node, 16)] {
        if let Some(library) = library {
            worker(rabbit, (language, word), &library, again).await;
            // What it handled last may be on its way back.
            let (_connection, channel) = channel(rabbit).await;
            for number in 0..16 {
                let queue = format!("baton.events.{number}");
                let options = QueueDeleteOptions::default();
                channel.queue_delete(queue.into(), options).await.unwrap();
            }
        }
    }
}

async fn worker(rabbit: &Rabbit, which: (Language, &str), library: &Path, again: usize) {
    let environment = vec![address(Kind::Rabbit, &rabbit.url())];
    let worker = Worker::new(which, rabbit.dir(), library, environment);
    is_killed_and_gets_everything(&worker, &rabbit.url(), again).await;
}

async fn full(rabbit: &Rabbit) {
    let mut config = config(rabbit, "full");
    config.bounds.bytes = 1 << 20;
    let sink = Arc::new(Sink::start(config).await.unwrap());
    let traffic = Traffic::start(Arc::clone(&sink), 0, Duration::ZERO);
    until_trouble(&sink, "a queue is full").await;
    let goal = AtomicU64::new(u64::MAX);
    let ending = async {
        traffic.more(600).await;
        let last = traffic.end().await;
        goal.store(last, Ordering::Relaxed);
        last
    };
    let is_all = |came: &[Came]| has_all(came, goal.load(Ordering::Relaxed));
    let (last, came) = tokio::join!(ending, everything(rabbit, "full", is_all));
    judge(&came, 0, last);
}

/// Nothing leads to some queues any more, again and again, and others go on meanwhile.
async fn comes_back_to_its_sender(rabbit: &Rabbit) {
    let sink = sink(rabbit, "back").await;
    let traffic = Traffic::start(Arc::clone(&sink), 0, Duration::ZERO);
    let (_connection, channel) = channel(rabbit).await;
    for _ in 0..5 {
        traffic.more(300).await;
        for partition in (0..16).step_by(3) {
            let queue = format!("back.events.{partition}");
            let (exchange, key) = ("back.events".into(), format!("{partition}.#"));
            let unbound =
                channel.queue_unbind(queue.into(), exchange, key.into(), FieldTable::default());
            unbound.await.unwrap();
        }
    }
    traffic.more(300).await;
    let last = traffic.end().await;
    assert!(sink.status().retries > 0, "{:?}", sink.status());
    let came = everything(rabbit, "back", |came| has_all(came, last)).await;
    judge(&came, 0, last);
}
