//! What happens.

use std::time::{Duration, Instant};

use baton_brokers::{Kind, Server};
use serde_json::Value;
use tokio::time::sleep;

use super::{BROKER_KILLED, DEPLOYED, FULL, Outcome, Played, SLAVE_KILLED, Spans, WORKER_KILLED};
use crate::{
    chaos::hunt,
    demo::{
        DemoOptions, LIMIT, SAMPLED_GUILDS, begin_traffic,
        deployed::{self, Deploy},
        judging::wire,
        launched, now_us,
    },
    error::{Error, Result},
    fleet::Fleet,
    http::Endpoint,
    workers::{Worker, operate, server},
};

/// Traffic between two cases.
const CALM: Duration = Duration::from_millis(1500);

/// A worker has handled everything within this time, behind whatever happened.
const PATIENCE: Duration = Duration::from_secs(180);

struct Stage<'a, S> {
    fleet: Fleet,
    broker: Server,
    worker: Worker,
    cases: Vec<Played>,
    /// The build that serves.
    build: &'static str,
    say: &'a S,
}

/// Plays every case, and gives what there is to judge.
pub(super) async fn play(
    options: &DemoOptions,
    kind: Kind,
    spans: Spans,
    say: &impl Fn(&str),
) -> Result<Outcome> {
    let broker = server(kind).await?;
    let store = launched::store()?;
    let launched = launched::options(options, &store, ["--sink", &broker.url()]);
    let fleet = Fleet::start(launched).await?;
    let mut worker = Worker::new(&broker, options.shards, &fleet.folder().join("logs"))?;
    worker.start()?;
    fleet.all_serving(LIMIT).await?;
    if let Ok((_, pid)) = fleet.owner().await {
        hunt::at_rest(pid, LIMIT).await?;
    }
    let cold = fleet.discord.counts().await?;
    say(&format!(
        "{} at {}, a publisher with {} shards, and the worker of the guide in Python",
        name(kind),
        broker.url(),
        options.shards
    ));
    begin_traffic(options, &fleet, say).await?;
    let mut stage = Stage {
        fleet,
        broker,
        worker,
        cases: Vec::new(),
        build: "v1",
        say,
    };
    stage.caught_up().await?;
    // What is usual is known then.
    sleep(2 * CALM).await;

    let deploy = stage.deploy(options).await?;
    stage.kill_slave().await?;
    stage.kill_broker(spans.broker).await?;
    stage.fill(spans.full).await?;
    stage.kill_worker(spans.worker).await?;
    let cold = (cold.identifies, cold.identifies_refused);
    stage.end(options, deploy, cold).await
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Nats => "NATS JetStream",
        Kind::Rabbit => "RabbitMQ",
        Kind::Redis => "Redis",
    }
}

impl<S: Fn(&str)> Stage<'_, S> {
    /// Waits until the worker has handled what was sent up to now.
    async fn caught_up(&mut self) -> Result<()> {
        let began = Instant::now();
        let sent = self.fleet.discord.ledger().await?;
        loop {
            let Some(missing) = self.worker.work().lacks(&sent).next() else {
                return Ok(());
            };
            let is_over = self.worker.is_over();
            let log = self.worker.log().display();
            if is_over {
                return Err(Error::Late(format!(
                    "the worker ended by itself; its errors are in {log}"
                )));
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Late(format!(
                    "the worker has not handled {} of session {} of shard {}, a {}; its errors \
                     are in {log}",
                    missing.seq, missing.session, missing.shard, missing.kind
                )));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// A case begins. Gives the IDENTIFYs up to now.
    async fn begins(&mut self, case: &'static str) -> Result<u64> {
        (self.say)(case);
        self.cases.push(Played {
            case,
            began_us: now_us(),
            away: Duration::ZERO,
            caught_up: Duration::ZERO,
            identifies: 0,
        });
        Ok(self.fleet.discord.counts().await?.identifies)
    }

    /// It is over when everything was handled.
    async fn ends(&mut self, before: u64, away: Duration) -> Result<()> {
        let back = Instant::now();
        sleep(CALM).await;
        self.fleet.all_serving(LIMIT).await?;
        self.caught_up().await?;
        let identifies = self.fleet.discord.counts().await?.identifies - before;
        if let Some(case) = self.cases.last_mut() {
            case.away = away;
            case.caught_up = back.elapsed();
            case.identifies = identifies;
        }
        Ok(())
    }

    async fn deploy(&mut self, options: &DemoOptions) -> Result<Deploy> {
        let before = self.begins(DEPLOYED).await?;
        let deploy = deployed::deploy(options, &mut self.fleet).await?;
        self.build = deploy.serves();
        self.ends(before, Duration::ZERO).await?;
        Ok(deploy)
    }

    async fn kill_slave(&mut self) -> Result<()> {
        let before = self.begins(SLAVE_KILLED).await?;
        let began = Instant::now();
        launched::kill_owner(&self.fleet).await?;
        self.ends(before, began.elapsed()).await
    }

    async fn kill_broker(&mut self, span: Duration) -> Result<()> {
        let before = self.begins(BROKER_KILLED).await?;
        let began = Instant::now();
        operate(|| self.broker.kill())?;
        self.is_missed().await?;
        sleep(span).await;
        operate(|| self.broker.start_again())?;
        self.ends(before, began.elapsed()).await
    }

    async fn fill(&mut self, span: Duration) -> Result<()> {
        let before = self.begins(FULL).await?;
        let began = Instant::now();
        operate(|| self.broker.fill())?;
        self.is_missed().await?;
        sleep(span).await;
        operate(|| self.broker.make_room())?;
        self.ends(before, began.elapsed()).await
    }

    /// Waits until the publisher says that the broker takes nothing: else nothing was struck.
    async fn is_missed(&self) -> Result<()> {
        let inspect = format!("run/inspect-{}", self.build);
        let slave = Endpoint::Unix(self.fleet.folder().join(inspect));
        let began = Instant::now();
        loop {
            let status: Value = slave.get("/status").await?;
            if !status["broker"]["trouble"].is_null() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Late(
                    "the publisher never missed the broker".to_owned(),
                ));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill_worker(&mut self, span: Duration) -> Result<()> {
        let before = self.begins(WORKER_KILLED).await?;
        let began = Instant::now();
        self.worker.kill().await?;
        sleep(span).await;
        let away = began.elapsed();
        self.worker.start()?;
        self.ends(before, away).await
    }

    async fn end(
        mut self,
        options: &DemoOptions,
        deploy: Deploy,
        cold: (u64, u64),
    ) -> Result<Outcome> {
        self.fleet.discord.traffic(0.0).await?;
        self.caught_up().await?;
        // Repeats come after the first time: let them.
        sleep(CALM).await;
        let sent = self.fleet.discord.ledger().await?;
        let log = self.fleet.discord.log().await?;
        let build = self.build;
        let state_mismatches = self.fleet.state_mismatches(build, SAMPLED_GUILDS).await?;
        let work = self.worker.work();
        self.worker.kill().await?;
        if options.keep {
            (self.say)(&format!("logs are in {}", self.fleet.folder().display()));
        }
        self.fleet.shut_down().await?;
        Ok(Outcome {
            cases: self.cases,
            sent,
            work,
            deploy,
            state_mismatches,
            cold,
            wire: wire(&log),
        })
    }
}
