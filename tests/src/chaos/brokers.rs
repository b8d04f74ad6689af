//! A broker that the slaves of a run publish to, with a wire in front of it and a worker behind
//! it, and what strikes it.

use std::time::Duration;

use baton_brokers::{Kind, Server};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    patience::Patience,
    row::BrokerHarm,
    scene::{Scene, Setup},
    wire::{Harm, Way, Whose, Wire},
};
use crate::{
    checker::Order,
    error::{Error, Result},
    workers::{Work, Worker, operate, server},
};

/// The publisher says that the broker takes nothing, or the worker has everything, within
/// this time.
const SEEN: Duration = Duration::from_secs(40);

/// A broker that was killed is away for so long.
const AWAY: Duration = Duration::from_secs(1);

/// One that is full takes nothing for so long.
const FULL: Duration = Duration::from_secs(2);

/// One that is slow takes so much longer over each byte, for so long.
const SLOW: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(4));

/// So often the connection is cut, with so much time between.
const CUTS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(700);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Broker {
    server: Server,
    wire: Wire,
    worker: Worker,
}

impl Setup {
    /// Events go to a broker of this kind.
    pub fn sink(&mut self, kind: Kind) {
        self.store();
        self.broker = Some(kind);
        // A shard's window lasts for longer than a broker is away as a rule.
        self.rate = 15.0;
    }
}

impl Broker {
    /// Starts it, and tells the slaves to be where it is.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn start(kind: Kind, setup: &mut Setup) -> Result<Self> {
        let server = server(kind).await?;
        let wire = Wire::lay().await?;
        wire.lead_to(([127, 0, 0, 1], server.port()).into());
        let url = format!("{kind}://{}", wire.address());
        setup.slave.extend(["--sink".to_owned(), url]);
        // Beside the fleet's folder: who has a part in that is a process of the fleet.
        let mut worker = Worker::new(&server, setup.shards, server.dir())?;
        worker.start()?;
        Ok(Self {
            server,
            wire,
            worker,
        })
    }

    /// What the worker handled.
    pub(super) fn work(&self) -> Work {
        self.worker.work()
    }

    /// Whether the broker may have an event twice.
    pub(super) fn may_repeat(&self) -> bool {
        self.server.kind() == Kind::Rabbit
    }

    /// Whose events come in their order.
    pub(super) const fn order(&self) -> Order {
        Order::behind(self.server.kind())
    }

    /// Ends every harm that is not over.
    pub(super) fn heal(&mut self) {
        self.server.process().go_on();
        self.wire.heal();
    }

    fn dies(&mut self) -> Result<()> {
        operate(|| self.server.kill())
    }

    fn starts_again(&mut self) -> Result<()> {
        operate(|| self.server.start_again())
    }
}

/// Strikes the broker of a run.
///
/// # Errors
/// It cannot be struck, or nobody missed it.
pub(super) async fn strike(scene: &mut Scene, harm: BrokerHarm) -> Result<()> {
    match harm {
        BrokerHarm::Killed => {
            broker(scene)?.dies()?;
            is_missed(scene).await?;
            sleep(AWAY).await;
            broker(scene)?.starts_again()
        }
        BrokerHarm::Paused(span) => {
            broker(scene)?.server.process().stop();
            sleep(span).await;
            is_missed(scene).await?;
            broker(scene)?.server.process().go_on();
            Ok(())
        }
        BrokerHarm::Full => {
            let broker = broker(scene)?;
            operate(|| broker.server.fill())?;
            is_missed(scene).await?;
            sleep(FULL).await;
            let broker = self::broker(scene)?;
            operate(|| broker.server.make_room())
        }
        BrokerHarm::Slow => {
            let (delay, span) = SLOW;
            let wire = &broker(scene)?.wire;
            wire.harm(Whose::Everybody, Harm::Delay(delay));
            sleep(span).await;
            broker(scene)?.wire.heal();
            Ok(())
        }
        BrokerHarm::Emptied => {
            // What it had confirmed goes with its disk: the worker has that.
            scene.fleet.discord.traffic(0.0).await?;
            has_everything(scene).await?;
            let rate = scene.setup.rate;
            let broker = broker(scene)?;
            broker.dies()?;
            operate(|| broker.server.forget())?;
            scene.fleet.discord.traffic(rate).await?;
            is_missed(scene).await?;
            sleep(AWAY).await;
            self::broker(scene)?.starts_again()
        }
        BrokerHarm::Cut => {
            for _ in 0..CUTS {
                let wire = &broker(scene)?.wire;
                wire.harm(Whose::Everybody, Harm::Tear(Way::Down));
                sleep(BETWEEN).await;
            }
            broker(scene)?.wire.heal();
            Ok(())
        }
    }
}

fn broker(scene: &mut Scene) -> Result<&mut Broker> {
    let broker = scene.broker.as_mut();
    broker.ok_or_else(|| Error::answer("broker", "the row has none"))
}

/// Waits until a slave says that the broker takes nothing: else nothing was struck.
async fn is_missed(scene: &Scene) -> Result<()> {
    let mut patience = Patience::of(SEEN);
    loop {
        let status = scene.fleet.status().await.unwrap_or(Value::Null);
        let slaves = status["slaves"].as_array().into_iter().flatten();
        let pids = slaves.filter_map(|slave| u32::try_from(slave["pid"].as_u64()?).ok());
        for pid in pids {
            let slave = scene.inspects(pid);
            let asked = timeout(Duration::from_secs(2), slave.get::<Value>("/status")).await;
            let said = asked.ok().and_then(Result::ok).unwrap_or(Value::Null);
            if !said["broker"]["trouble"].is_null() {
                return Ok(());
            }
        }
        if patience.is_over().await {
            return Err(Error::Late("no slave misses the broker".to_owned()));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the worker has handled what was sent.
async fn has_everything(scene: &mut Scene) -> Result<()> {
    let mut patience = Patience::of(SEEN);
    loop {
        let sent = scene.fleet.discord.ledger().await?;
        let missing = broker(scene)?.work().lacks(&sent).count();
        if missing == 0 {
            return Ok(());
        }
        if patience.is_over().await {
            return Err(Error::Late(format!("the worker lacks {missing} events")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
