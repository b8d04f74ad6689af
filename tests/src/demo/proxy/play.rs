//! What happens.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    Case, DEPLOYED, KILLED, OP7, OP9_FALSE, OP9_TRUE, Outcome, PROXY_KILLED, Played, REPLACED,
};
use crate::{
    chaos::judge::newest,
    clients::{
        journal::{Journal, for_clients, of_those},
        library::{LIBRARIES, Process, Tools},
    },
    demo::{
        DemoOptions, LIMIT, SAMPLED_GUILDS, begin_traffic,
        deployed::{self, Deploy},
        judging::wire,
        launched, now_us,
    },
    error::{Error, Result},
    fleet::{Fleet, own_proxy},
    gap::Interval,
};

/// Traffic between two cases.
const CALM: Duration = Duration::from_millis(1500);

/// Between the death of a client and its next start.
const DOWN: Duration = Duration::from_millis(300);

/// A client is ready, or has caught up, within this time: libraries wait for up to half a
/// minute before they dial again.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was said so shortly before a break may not have been heard.
const LATE_WORD_US: u64 = 1_000_000;

struct Stage<'a, S> {
    fleet: Fleet,
    tools: Tools,
    gateway: SocketAddr,
    journal: Journal,
    lives: u32,
    bots: Vec<Process>,
    cases: Vec<Played>,
    logs: PathBuf,
    say: &'a S,
}

/// Plays every case, and gives what there is to judge.
pub(super) async fn play(
    options: &DemoOptions,
    tools: Tools,
    say: &impl Fn(&str),
) -> Result<Outcome> {
    let gateway = own_proxy();
    let store = launched::store()?;
    let fleet = start(options, gateway, &store).await?;
    let cold = fleet.discord.counts().await?;
    let mut stage = Stage {
        logs: fleet.folder().join("logs"),
        fleet,
        tools,
        gateway,
        journal: Journal::default(),
        lives: 0,
        bots: Vec::new(),
        cases: Vec::new(),
        say,
    };
    say(&format!(
        "a proxy at {gateway}, and {} bots, each with a shard",
        LIBRARIES.len()
    ));
    stage.bots = stage.start_all().await?;
    stage.ready().await?;
    begin_traffic(options, &stage.fleet, say).await?;
    stage.caught_up().await?;

    stage.kill_all().await?;
    stage.replace_all().await?;
    stage.fault(OP7, "op7").await?;
    stage.fault(OP9_TRUE, "op9_true").await?;
    let deploy = stage.deploy(options).await?;
    stage.kill_proxy().await?;
    stage.fault(OP9_FALSE, "op9_false").await?;
    stage
        .end(options, deploy, (cold.identifies, cold.identifies_refused))
        .await
}

async fn start(options: &DemoOptions, gateway: SocketAddr, store: &TempDir) -> Result<Fleet> {
    let mut all = launched::options(options, store, ["--proxy", &gateway.to_string()]);
    all.special.clients_at = Some(gateway);
    all.discord.more.push("--stamp".to_owned());
    let fleet = Fleet::start(all).await?;
    fleet.all_serving(LIMIT).await?;
    Ok(fleet)
}

impl<S: Fn(&str)> Stage<'_, S> {
    /// One process for each shard.
    async fn start_all(&mut self) -> Result<Vec<Process>> {
        let mut bots = Vec::new();
        let shards = LIBRARIES.len() as u32;
        for (shard, library) in (0..shards).zip(&LIBRARIES) {
            self.lives += 1;
            let log = self.logs.join(format!("client-{shard}.log"));
            let place = (shard, shards);
            let (life, gateway) = (self.lives, self.gateway);
            let started = Process::start(
                library,
                &self.tools,
                gateway,
                place,
                life,
                &self.journal,
                &log,
            );
            bots.push(started.await?);
        }
        Ok(bots)
    }

    /// Waits until each has had its READY.
    async fn ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let journal = &self.journal;
            let is_late = |bot: &&mut Process| journal.readies(bot.life()) == 0;
            let Some(late) = self.bots.iter_mut().find(is_late) else {
                return Ok(());
            };
            let (life, is_over) = (late.life(), late.is_over());
            if is_over || began.elapsed() > PATIENCE {
                let name = self.library_of(life);
                let what = format!("{name} has no READY; its log is in {}", self.logs.display());
                return Err(Error::Late(what));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn library_of(&self, life: u32) -> String {
        let index = (life as usize).saturating_sub(1) % LIBRARIES.len();
        let library = &LIBRARIES[index];
        format!("{} with {}", library.name, library.compression)
    }

    /// Waits until each client has what was sent up to now.
    async fn caught_up(&self) -> Result<()> {
        sleep(CALM).await;
        let began = Instant::now();
        let all = self.fleet.discord.ledger().await?;
        let newest = newest(&all);
        let sent = for_clients(&all, &self.journal.greetings());
        for (shard, bot) in (0..).zip(&self.bots) {
            let session = newest.get(&shard);
            let of_it = sent.iter().filter(|it| Some(&it.session) == session);
            let Some(last) = of_it.max_by_key(|it| it.seq) else {
                continue;
            };
            while !self
                .journal
                .has_reached(bot.life(), &last.session, last.seq)
            {
                if began.elapsed() > PATIENCE {
                    let name = self.library_of(bot.life());
                    let what = format!(
                        "{name} has not received {} of session {}, a {}; logs in {}",
                        last.seq,
                        last.session,
                        last.kind,
                        self.logs.display()
                    );
                    return Err(Error::Late(what));
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn begins(&mut self, case: Case) {
        let now = now_us();
        if let Some(last) = self.cases.last_mut() {
            last.during.resumed_us = now;
        }
        (self.say)(case.name);
        let during = Interval {
            sealed_us: now,
            resumed_us: u64::MAX,
        };
        self.cases.push(Played { case, during });
        if !case.is_planned {
            self.journal.breaks();
        }
    }

    async fn kill_all(&mut self) -> Result<()> {
        self.begins(KILLED);
        for bot in std::mem::take(&mut self.bots) {
            bot.kill().await?;
        }
        sleep(DOWN).await;
        self.bots = self.start_all().await?;
        self.ready().await?;
        self.caught_up().await
    }

    async fn replace_all(&mut self) -> Result<()> {
        self.begins(REPLACED);
        let new = self.start_all().await?;
        let old = std::mem::replace(&mut self.bots, new);
        self.ready().await?;
        self.caught_up().await?;
        for bot in old {
            bot.kill().await?;
        }
        Ok(())
    }

    async fn fault(&mut self, case: Case, fault: &str) -> Result<()> {
        self.begins(case);
        let before = self.fleet.discord.counts().await?;
        self.fleet.discord.fault(&json!({ "name": fault })).await?;
        let began = Instant::now();
        while self.fleet.discord.counts().await? == before {
            if began.elapsed() > PATIENCE {
                return Err(Error::Late(format!("{fault}: no shard came back")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        sleep(CALM).await;
        self.fleet.all_serving(LIMIT).await?;
        self.caught_up().await
    }

    async fn deploy(&mut self, options: &DemoOptions) -> Result<Deploy> {
        self.begins(DEPLOYED);
        let deploy = deployed::deploy(options, &mut self.fleet).await?;
        self.caught_up().await?;
        Ok(deploy)
    }

    async fn kill_proxy(&mut self) -> Result<()> {
        self.begins(PROXY_KILLED);
        launched::kill_owner(&self.fleet).await?;
        self.caught_up().await
    }

    async fn end(
        mut self,
        options: &DemoOptions,
        deploy: Deploy,
        cold: (u64, u64),
    ) -> Result<Outcome> {
        self.fleet.discord.traffic(0.0).await?;
        self.caught_up().await?;
        let all = self.fleet.discord.ledger().await?;
        let sent = for_clients(&all, &self.journal.greetings());
        let handled = of_those(self.journal.handled(LATE_WORD_US), &sent, &all);
        let log = self.fleet.discord.log().await?;
        let identifies = log.iter().filter(|line| line.what == "identify");
        let identifies = identifies.filter_map(|line| Some((line.shard?, line.at_us)));
        let build = deploy.serves();
        let state_mismatches = self.fleet.state_mismatches(build, SAMPLED_GUILDS).await?;
        let lives = self.bots.iter().map(Process::life).collect();
        for bot in std::mem::take(&mut self.bots) {
            bot.kill().await?;
        }
        let lines = self.journal.lines();
        let _ = std::fs::write(self.logs.join("clients.jsonl"), lines);
        if options.keep {
            (self.say)(&format!("logs are in {}", self.fleet.folder().display()));
        }
        self.fleet.shut_down().await?;
        Ok(Outcome {
            journal: self.journal,
            lives,
            cases: self.cases,
            sent,
            handled,
            identifies: identifies.collect(),
            deploy,
            state_mismatches,
            cold,
            wire: wire(&log),
            all,
        })
    }
}
