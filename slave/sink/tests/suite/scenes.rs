//! What happens to a broker, of whatever kind, and what must come of it.

use std::{sync::Arc, time::Duration};

use baton_brokers::Process;
use baton_sink::{Address, Sink, SinkConfig, Status};
use tokio::time::sleep;

use crate::common::{
    Came, Finished, Traffic,
    cutter::{Cutter, To},
    event, in_order, judge, until,
};

pub(crate) const NO_PAUSE: Duration = Duration::ZERO;
pub(crate) const A_MS: Duration = Duration::from_millis(1);

/// A real broker.
pub(crate) trait Broker {
    const SCHEME: &'static str;

    fn process(&mut self) -> &mut Process;
    /// `kill -9`.
    fn kill(&mut self);
    /// It was killed, and comes back with what is on its disk.
    fn start_again(&mut self);
    /// It was killed, and its disk with it.
    fn forget(&self);
    fn way(&self) -> To;
    /// What came from a sink of this name, in the order in which a worker gets it; at least
    /// the last sequence of each shard, where the broker cannot say that this is all.
    async fn everything(&self, name: &str, ends: &[u64]) -> Vec<Came>;
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) came: Vec<Came>,
    /// So many of these came again, each marked.
    pub(crate) again: usize,
    pub(crate) status: Status,
}

/// Shards that publish.
struct Play {
    name: String,
    sink: Arc<Sink>,
    shards: Vec<Traffic>,
}

impl Play {
    async fn start(config: SinkConfig, shards: u32, pause: Duration) -> Self {
        let name = config.name.clone();
        let sink = Arc::new(Sink::start(config).await.unwrap());
        let shards = (0..shards).map(|shard| Traffic::start(Arc::clone(&sink), shard, pause));
        Self {
            name,
            shards: shards.collect(),
            sink,
        }
    }

    async fn more(&self, events: u64) {
        self.shards[0].more(events).await;
    }

    async fn sees_trouble(&self) {
        until("it is seen", || self.sink.status().trouble.is_some()).await;
    }

    /// Nothing is lost, disordered, or repeated without a mark.
    async fn end(self, broker: &impl Broker) -> Outcome {
        let mut ends = Vec::new();
        for shard in self.shards {
            ends.push(shard.end().await);
        }
        let came = broker.everything(&self.name, &ends).await;
        let shards = (0..).zip(ends);
        let again = shards.map(|(shard, last)| judge(&came, shard, last)).sum();
        let status = self.sink.status();
        assert_eq!((status.waiting, &status.trouble), (0, &None));
        Outcome {
            came,
            again,
            status,
        }
    }
}

/// It is killed under traffic, so often, and started again.
pub(crate) async fn killed(
    broker: &mut impl Broker,
    config: SinkConfig,
    (shards, pause): (u32, Duration),
    (times, each): (u32, u64),
) -> Outcome {
    let play = Play::start(config, shards, pause).await;
    for _ in 0..times {
        play.more(each).await;
        broker.kill();
        play.sees_trouble().await;
        broker.start_again();
    }
    play.more(each).await;
    play.end(broker).await
}

/// It stands still until so many events were published again.
pub(crate) async fn stands_still(
    broker: &mut impl Broker,
    config: SinkConfig,
    tries: u64,
) -> Outcome {
    let play = Play::start(config, 1, A_MS).await;
    play.more(200).await;
    broker.process().stop();
    // What is published again lies in the sockets more than once.
    until("it is tried again", || play.sink.status().retries > tries).await;
    broker.process().go_on();
    play.more(200).await;
    play.end(broker).await
}

/// Its answers are lost with their connection.
pub(crate) async fn confirms_lost<B: Broker>(
    broker: &B,
    mut config: SinkConfig,
    (each, without): (u64, Duration),
) -> Outcome {
    let cutter = Cutter::start(broker.way()).await;
    let url = format!("{}://{}", B::SCHEME, cutter.address);
    config.address = Address::parse(&url).unwrap();
    let play = Play::start(config, 1, A_MS).await;
    for _ in 0..3 {
        play.more(each).await;
        cutter.cut_without_answers(without).await;
    }
    play.more(each).await;
    play.end(broker).await
}

/// It comes back empty. Gives what came, and how many of these were not confirmed before.
pub(crate) async fn comes_back_empty(
    broker: &mut impl Broker,
    config: SinkConfig,
) -> (Vec<Came>, u64) {
    let Play { name, sink, shards } = Play::start(config, 1, A_MS).await;
    let [traffic] = shards.try_into().ok().unwrap();
    traffic.more(200).await;
    broker.kill();
    broker.forget();
    until("it is seen", || sink.status().trouble.is_some()).await;
    // What it had said before it died may still be on its way.
    let mut had = traffic.finished();
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = traffic.finished();
        if std::mem::replace(&mut had, now) == now {
            break;
        }
    }
    broker.start_again();
    traffic.more(200).await;
    // What was confirmed before went with the disk.
    let left = traffic.end().await - had;
    let came = broker.everything(&name, &[left]).await;
    in_order(&came);
    (came, left)
}

/// Its operator gives it less room than it has in use, for a while.
pub(crate) async fn has_no_room<B: Broker>(
    broker: &B,
    config: SinkConfig,
    fills: impl Fn(bool),
) -> Outcome {
    let play = Play::start(config, 1, A_MS).await;
    play.more(200).await;
    fills(true);
    play.sees_trouble().await;
    let had = play.shards[0].finished();
    sleep(Duration::from_millis(500)).await;
    let more = play.shards[0].finished() - had;
    assert!(more <= 256, "{more} were confirmed by a full broker");
    fills(false);
    play.more(600).await;
    play.end(broker).await
}

/// It is not there when the sink begins.
pub(crate) async fn not_there_yet(broker: &mut impl Broker, config: SinkConfig) {
    broker.kill();
    let name = config.name.clone();
    let sink = Sink::start(config).await.unwrap();
    let finished = Finished::default();
    for sequence in 1..=20 {
        sink.publish(event(0, sequence), finished.when_dropped(sequence));
    }
    until("it is missed", || sink.status().trouble.is_some()).await;
    assert_eq!(finished.count(), 0);
    broker.start_again();
    until("all is finished", || finished.count() == 20).await;
    assert_eq!(judge(&broker.everything(&name, &[20]).await, 0, 20), 0);
}
