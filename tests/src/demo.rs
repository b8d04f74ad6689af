//! The main job, end to end: a busy bot is replaced by a new build.

mod deployed;
pub mod hosts;
mod judging;
mod launched;
mod page;
pub mod proxy;
pub mod sink;
pub mod twitch;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use baton_brokers::{Kind, Server};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

use self::judging::{Outcome, behind_us, judge, moves, whole, wire};
pub use self::page::serve_page;
use crate::{
    chaos::hunt,
    checker::Order,
    discord::DiscordOptions,
    error::{Error, Result},
    fleet::{Fleet, FleetOptions, Special},
    gap::Interval,
    process::{Process, command},
    verdict::Verdict,
    watch::{Costs, Processes, Watch},
};

/// What the demo is asked to show.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second on each shard.
    pub rate: f64,
    /// Round-trip time to the simulated Discord.
    pub rtt: Duration,
    /// Milliseconds that a handler takes.
    pub handler_ms: u64,
    /// Guilds of each shard.
    pub guilds_per_shard: u32,
    /// Members of each guild.
    pub members_per_guild: u32,
    /// Whether connections to the simulated Discord are TLS.
    pub tls: bool,
    /// Shards that get a probe every millisecond around their move, and on which
    /// gap noise and silence are measured.
    pub sampled: u32,
    /// Program of the slaves.
    pub slave: String,
    /// Seed of the traffic, the guilds and the quiet intervals.
    pub seed: u64,
    /// Keep logs and sinks.
    pub keep: bool,
    /// Show the deploy on this terminal; else only its result is kept.
    pub live: bool,
    /// Whether the master seals shards late.
    pub late_seal: bool,
    /// Further flags of every slave.
    pub slave_flags: Vec<String>,
    /// The folder of the slaves' store, if they are told to have one there.
    pub store: Option<PathBuf>,
    /// The broker that events go to: what its worker got is judged.
    pub behind: Option<Behind>,
}

/// A broker, and a worker that writes down what it gets as a slave does.
#[derive(Clone, Debug)]
pub struct Behind {
    kind: Kind,
    url: String,
    shards: u32,
}

impl Behind {
    /// Of a server, for so many shards.
    #[must_use]
    pub fn new(server: &Server, shards: u32) -> Self {
        Self {
            kind: server.kind(),
            url: server.url(),
            shards,
        }
    }

    /// Starts the worker in the folder of a fleet.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&self, folder: &Path) -> Result<Process> {
        let (kind, shards) = (self.kind.to_string(), self.shards.to_string());
        let file = folder.join("sinks/1.jsonl").display().to_string();
        let arguments = ["consume", &kind, &self.url, &shards, &file];
        let command = command("baton-reference", arguments)?;
        let logs = folder.join("logs");
        let (process, _) = Process::start("worker", &logs, command, false).await?;
        Ok(process)
    }

    /// Whose events it gets in their order.
    pub(crate) const fn order(&self) -> Order {
        Order::behind(self.kind)
    }
}

/// What a run was worth, and what it took.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The verdict.
    pub verdict: Verdict,
    /// Processor time and memory of the deploy.
    pub costs: Costs,
    /// From the end of a shard's copy, from where on Discord replays, to its
    /// RESUMED, in microseconds: the median of all shards.
    pub behind_us: u64,
    /// Bytes of the state that moved, from a sample.
    pub state_bytes: u64,
}

/// Probes go on for this long after a shard's RESUMED.
const MARGIN: Duration = Duration::from_millis(200);

/// Plain traffic before the probes, and probes before the deploy: together the
/// two seconds over which the usual delay is taken, and a little more.
const BEFORE_PROBES: Duration = Duration::from_millis(1000);
const BEFORE_DEPLOY: Duration = Duration::from_millis(1300);

/// A cold start, a deploy, a drain take at most this long.
const LIMIT: Duration = Duration::from_secs(120);

/// Quiet intervals a sampled shard.
const QUIET_INTERVALS: usize = 8;

/// Guilds of each shard whose cache is compared with the truth.
const SAMPLED_GUILDS: usize = 3;

/// Guilds, all shards together, whose size is looked at.
const SIZED_GUILDS: usize = 64;

/// IDENTIFYs in one window, with many shards: a cold start is not what is shown.
const MOST_CONCURRENT: u32 = 128;

/// Runs the demo; `say` gets one line for each thing that a watcher should know.
///
/// # Errors
/// The run could not be judged. A run that was judged and found wanting is a
/// [`Verdict`].
pub async fn run(options: &DemoOptions, say: impl Fn(&str)) -> Result<Verdict> {
    Ok(measure(options, say).await?.verdict)
}

/// As [`run`], with what the deploy took of the host.
///
/// # Errors
/// As there.
pub async fn measure(options: &DemoOptions, say: impl Fn(&str)) -> Result<Measured> {
    let fleet = start(options, &say).await?;
    let outcome = play(options, fleet, &say).await?;
    Ok(Measured {
        verdict: judge(options, &outcome),
        costs: outcome.costs,
        behind_us: outcome.behind_us,
        state_bytes: outcome.state_bytes,
    })
}

async fn start(options: &DemoOptions, say: &impl Fn(&str)) -> Result<Fleet> {
    let mut slave_flags = options.slave_flags.clone();
    if let Some(behind) = &options.behind {
        slave_flags.extend(["--sink".to_owned(), behind.url.clone()]);
    }
    let special = Special {
        late_seal: options.late_seal,
        slave_flags,
        limits: BTreeMap::from([("replay_buffer", replayed(options).to_string())]),
        ..Special::default()
    };
    let fleet = Fleet::start(fleet_options(options, special)).await?;
    say(&format!(
        "simulated Discord at {}: {} shards, {} guilds each, round trip {} ms",
        fleet.discord.gateway_url,
        options.shards,
        options.guilds_per_shard,
        options.rtt.as_millis()
    ));
    Ok(fleet)
}

fn fleet_options(options: &DemoOptions, special: Special) -> FleetOptions {
    let concurrency = (options.shards / 16).clamp(16, MOST_CONCURRENT);
    FleetOptions {
        discord: DiscordOptions {
            shards: options.shards,
            guilds_per_shard: options.guilds_per_shard,
            members_per_guild: options.members_per_guild,
            rtt: options.rtt,
            tls: options.tls,
            seed: options.seed,
            at: Ipv4Addr::LOCALHOST,
            // The probes are a full shard's traffic: it gets a full shard's buffer.
            more: [
                ("--max-concurrency", concurrency.to_string()),
                ("--identify-window", "20ms".to_owned()),
                (
                    "--session-start-limit",
                    (options.shards * 2).max(1000).to_string(),
                ),
                ("--replay-buffer", "3500".to_owned()),
            ]
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect(),
        },
        handler_ms: options.handler_ms,
        soak: Duration::from_secs(1),
        slave: options.slave.clone(),
        keep: options.keep,
        special,
        ..FleetOptions::default()
    }
}

async fn play(options: &DemoOptions, mut fleet: Fleet, say: &impl Fn(&str)) -> Result<Outcome> {
    let _worker = match &options.behind {
        Some(behind) => Some(behind.start(fleet.folder()).await?),
        None => None,
    };
    let mut old = fleet.start_slave("v1").await?;
    fleet.all_serving(LIMIT).await?;
    // The guilds come after READY, and may be many.
    if let Some(pid) = old.process.pid() {
        hunt::at_rest(pid, LIMIT).await?;
    }
    let cold = fleet.discord.counts().await?;
    say(&format!(
        "first slave, build v1: {} shards serving after a cold start of {} IDENTIFYs{}",
        options.shards,
        cold.identifies - cold.identifies_refused,
        match cold.identifies_refused {
            0 => String::new(),
            refused => format!(", and {refused} more that were refused"),
        }
    ));

    begin_traffic(options, &fleet, say).await?;
    sleep(BEFORE_PROBES).await;
    let sampled: Vec<u32> = (0..options.shards.min(options.sampled)).collect();
    fleet.discord.probe(&sampled, true).await?;
    let quiet_from = now_us();
    sleep(BEFORE_DEPLOY).await;

    let before = fleet.discord.counts().await?;
    let quiet = Interval {
        sealed_us: quiet_from + MARGIN.as_micros() as u64,
        resumed_us: now_us(),
    };
    say("deploying build v2");
    let watch = Watch::start(processes(options, &mut fleet, &old.process)?);
    let started = Instant::now();
    let old_gone = async {
        old.process.ended(LIMIT).await?;
        Ok(started.elapsed())
    };
    let ((), total) = tokio::try_join!(deploy(options, &mut fleet, &sampled), old_gone)?;
    let after = fleet.discord.counts().await?;

    sleep(MARGIN).await;
    fleet.discord.traffic(0.0).await?;
    // A worker has what waits in a broker to catch up with.
    let patience = match options.behind {
        Some(_) => LIMIT,
        None => Duration::from_secs(10),
    };
    let limit = patience + Duration::from_millis(options.handler_ms);
    let handled = fleet.settle(limit).await?;
    let state_mismatches = fleet.state_mismatches("v2", SAMPLED_GUILDS).await?;
    let ended = fleet
        .news
        .wait("end of the deploy", LIMIT, |event| {
            event["type"] == "deploy_ended"
        })
        .await?;
    let log = fleet.discord.log().await?;
    let moves = moves(&fleet, &log, quiet.resumed_us);
    let copying_us = fleet.news.phase("copying").map(|(_, at)| at).min();
    let outcome = Outcome {
        costs: watch
            .costs(copying_us.unwrap_or(u64::MAX), whole(&moves))
            .await?,
        behind_us: behind_us(&fleet, &moves),
        state_bytes: fleet.state_bytes("v2", SIZED_GUILDS).await?,
        sent: fleet.discord.ledger().await?,
        handled,
        moves,
        quiet,
        moved: ended["moved"].as_u64().unwrap_or(0),
        ended: ended["outcome"].as_str().unwrap_or("unknown").to_owned(),
        cold,
        before,
        after,
        total,
        state_mismatches,
        wire: wire(&log),
    };
    if options.keep {
        say(&format!(
            "logs and sinks are in {}",
            fleet.folder().display()
        ));
    }
    fleet.shut_down().await?;
    Ok(outcome)
}

async fn begin_traffic(options: &DemoOptions, fleet: &Fleet, say: &impl Fn(&str)) -> Result<()> {
    fleet.discord.traffic(options.rate).await?;
    say(&format!(
        "traffic: {} events a second on each shard",
        options.rate
    ));
    Ok(())
}

fn processes(options: &DemoOptions, fleet: &mut Fleet, old: &Process) -> Result<Processes> {
    let over = |who: &str| Error::answer(who, "it has ended");
    let simulator = fleet.discord.process().pid();
    Ok(Processes {
        simulator: simulator.ok_or_else(|| over("the simulated Discord"))?,
        master: fleet.master.pid().ok_or_else(|| over("the master"))?,
        old: old.pid().ok_or_else(|| over("the first slave"))?,
        folder: fleet.folder().to_owned(),
        build: "v2".to_owned(),
        store: options.store.clone(),
    })
}

/// Runs `baton-master deploy`, and probes until each shard has moved.
async fn deploy(options: &DemoOptions, fleet: &mut Fleet, sampled: &[u32]) -> Result<()> {
    let mut command = fleet.deploy_command("v2")?;
    if options.live {
        for name in ["TERM", "COLORTERM", "NO_COLOR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
    } else {
        let log = fleet.folder().join("logs/deploy.log");
        let log = std::fs::File::create(log).map_err(Error::io("create deploy.log"))?;
        let copy = log.try_clone().map_err(Error::io("duplicate the log"))?;
        command.stdout(Stdio::from(log)).stderr(Stdio::from(copy));
    }
    let mut child = command
        .spawn()
        .map_err(Error::io("start baton-master deploy"))?;
    stop_probes(fleet, sampled).await?;
    match tokio::time::timeout(LIMIT, child.wait()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(Error::io("baton-master deploy")(source)),
        Err(_) => Err(Error::Late(format!(
            "baton-master deploy still runs after {LIMIT:?}"
        ))),
    }
}

/// Stops each shard's probe a moment after it moved, or when nothing moves any more.
async fn stop_probes(fleet: &mut Fleet, sampled: &[u32]) -> Result<()> {
    for shard in sampled {
        let moved = fleet.news.wait("a shard to move", LIMIT, |event| {
            event["type"] == "deploy_ended"
                || (event["type"] == "migration"
                    && event["phase"] == "moved"
                    && event["shard"] == *shard)
        });
        let at_us = moved.await?["at_us"].as_u64().unwrap_or_else(now_us);
        let passed = Duration::from_micros(now_us().saturating_sub(at_us));
        sleep(MARGIN.saturating_sub(passed)).await;
        fleet.discord.probe(&[*shard], false).await?;
    }
    Ok(())
}

/// The host's monotonic clock in microseconds: the same for every process.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}

/// Events of a shard that the simulated Discord replays, as Discord's staff once
/// named them: the master's own default is careful, since nobody promised them.
fn replayed(options: &DemoOptions) -> u32 {
    options.guilds_per_shard.saturating_mul(75).clamp(100, 3500)
}
