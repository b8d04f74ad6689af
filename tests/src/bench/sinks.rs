//! What a sink costs: events a second through a real broker, confirms, processor time, and
//! the gap of a deploy, beside a bare publisher, `--sink none` and a deploy without a broker,
//! all in one run.

use std::{collections::HashMap, time::Duration};

use baton_brokers::{Kind, Server};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use super::median;
use crate::{
    chaos::hunt,
    demo::{self, Behind, DemoOptions, now_us},
    discord::DiscordOptions,
    error::{Error, Result},
    fleet::{Fleet, FleetOptions, Slave},
    gap::Spread,
    http::Endpoint,
    process::{Process, command},
    records::read_sinks,
    verdict::Judged,
    workers::server,
};

/// A cold start takes at most this long.
const START: Duration = Duration::from_secs(120);
/// Traffic before it is counted, and while it is.
const WARM: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(5);
/// How often it is asked meanwhile how long the newest 1,024 confirms took.
const SAMPLED: Duration = Duration::from_millis(250);
/// Until the last event that was counted has come.
const LATE: Duration = Duration::from_secs(3);
/// Shards of the bot.
const SHARDS: u32 = 16;
/// Events a second at which confirms and processor time are measured.
pub(super) const STEADY: f64 = 4000.0;

/// Everything about sinks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sinks {
    /// Events through brokers.
    pub costs: Vec<SinkCost>,
    /// Deploys of what publishes.
    pub gaps: Vec<SinkGap>,
}

/// Events through one broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkCost {
    /// `nats`, `amqp` or `redis`.
    pub broker: String,
    /// Shards that publish.
    pub shards: u32,
    /// Events a second that the simulated Discord was to send, all shards together.
    pub offered: f64,
    /// Events a second of these that a worker got.
    pub events_s: f64,
    /// Messages of 1 KiB a second of a bare publisher, with up to 256 under way.
    pub bare_s: f64,
    /// Events a second while the rest was measured.
    pub rate: f64,
    /// From the first try to the confirm: the median, and the 99th percentile of 1,024 that
    /// nine of ten samples did not exceed.
    pub confirm_ms: Spread,
    /// The same of a bare publisher at the same rate.
    pub bare_confirm_ms: Spread,
    /// From the simulated Discord to a worker.
    pub delay_ms: Spread,
    /// Microseconds of processor time of an event.
    pub slave_us: f64,
    /// The same with `--sink none`.
    pub none_us: f64,
    /// The same of a bare publisher, which takes nothing from Discord.
    pub bare_us: f64,
}

/// Deploys of what publishes to one broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkGap {
    /// The broker.
    pub broker: String,
    /// Shards that moved.
    pub shards: u32,
    /// Round-trip time to the simulated Discord.
    pub rtt_ms: u64,
    /// How often.
    pub runs: u32,
    /// The gap of a shard with a probe, at the worker: medians of all runs.
    pub gap_ms: Spread,
    /// The same where events go to a file.
    pub file_ms: Spread,
    /// The medians of the two.
    pub of_file: Option<f64>,
    /// What was wrong with its runs; empty: nothing.
    pub faults: Vec<String>,
}

/// A publisher that does nothing else.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bare {
    /// Messages a second.
    pub rate: f64,
    /// From a message to its confirm.
    pub confirm_ms: Spread,
    /// Microseconds of processor time of a message.
    pub us: f64,
}

/// Events through a broker; `none_us`: what one costs with `--sink none`.
///
/// # Errors
/// Something does not start, or is not what it should be.
pub async fn costs(kind: Kind, none_us: f64) -> Result<SinkCost> {
    let offered = match kind {
        Kind::Nats | Kind::Redis => 12_000.0,
        Kind::Rabbit => 6000.0,
    };
    let most = through(kind, offered).await?;
    let steady = through(kind, STEADY).await?;
    let broker = server(kind).await?;
    let fastest = bare(&broker, 0.0).await?;
    let beside = bare(&broker, STEADY).await?;
    Ok(SinkCost {
        broker: kind.to_string(),
        shards: SHARDS,
        offered,
        events_s: most.came_s,
        bare_s: fastest.rate,
        rate: steady.came_s,
        confirm_ms: steady.confirm_ms,
        bare_confirm_ms: beside.confirm_ms,
        delay_ms: steady.delay_ms,
        slave_us: steady.us,
        none_us,
        bare_us: beside.us,
    })
}

/// Microseconds of processor time of an event with `--sink none`.
///
/// # Errors
/// The slave does not start.
pub async fn none() -> Result<f64> {
    let mut behind = Publishing::start("none", SHARDS).await?;
    behind
        .fleet
        .discord
        .traffic(STEADY / f64::from(SHARDS))
        .await?;
    sleep(WARM).await;
    let pid = behind.pid()?;
    let spent = hunt::spent_us(pid);
    let sent = behind.fleet.discord.dispatched().await?;
    sleep(COUNTED).await;
    let came = behind.fleet.discord.dispatched().await? - sent;
    let us = (hunt::spent_us(pid) - spent) / came.max(1) as f64;
    behind.end().await?;
    Ok(us)
}

/// One fleet whose slave publishes.
struct Publishing {
    fleet: Fleet,
    slave: Slave,
}

impl Publishing {
    async fn start(sink: &str, shards: u32) -> Result<Self> {
        let fleet = Fleet::start(FleetOptions {
            discord: DiscordOptions {
                shards,
                guilds_per_shard: 20,
                members_per_guild: 10,
                ..DiscordOptions::default()
            },
            ..FleetOptions::default()
        })
        .await?;
        let slave = fleet.start_slave_with("v1", &["--sink", sink]).await?;
        fleet.all_serving(START).await?;
        Ok(Self { fleet, slave })
    }

    fn pid(&mut self) -> Result<u32> {
        let process = &self.slave.process;
        let pid = process.pid();
        pid.ok_or_else(|| Error::answer("the slave", process.last_words()))
    }

    /// Events that were confirmed so far, and the median and the 99th percentile of the newest
    /// 1,024 of them, in milliseconds.
    async fn confirms(&self) -> Result<(u64, f64, f64)> {
        let inspect = self.fleet.folder().join("run/inspect-v1");
        let status: Value = Endpoint::Unix(inspect).get("/status").await?;
        let broker = &status["broker"];
        let figure = |name: &str| broker[name].as_f64();
        let said = broker["confirmed"]
            .as_u64()
            .zip(figure("confirm_p50_ms"))
            .zip(figure("confirm_p99_ms"));
        let ((confirmed, p50), p99) =
            said.ok_or_else(|| Error::answer("the slave's status", broker))?;
        Ok((confirmed, p50, p99))
    }

    async fn end(self) -> Result<()> {
        drop(self.slave);
        self.fleet.shut_down().await
    }
}

/// What came through.
struct Through {
    came_s: f64,
    confirm_ms: Spread,
    delay_ms: Spread,
    us: f64,
}

async fn through(kind: Kind, rate: f64) -> Result<Through> {
    let broker = server(kind).await?;
    let mut publishing = Publishing::start(&broker.url(), SHARDS).await?;
    let folder = publishing.fleet.folder().to_owned();
    let behind = Behind::new(&broker, SHARDS);
    let worker = behind.start(&folder).await?;
    let discord = &publishing.fleet.discord;
    discord.traffic(rate / f64::from(SHARDS)).await?;
    sleep(WARM).await;
    let pid = publishing.pid()?;
    let (from_us, spent) = (now_us(), hunt::spent_us(pid));
    let (before, _, _) = publishing.confirms().await?;
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    let mut after = before;
    while now_us() - from_us < COUNTED.as_micros() as u64 {
        sleep(SAMPLED).await;
        let (confirmed, p50, p99) = publishing.confirms().await?;
        after = confirmed;
        medians.push(p50);
        tails.push(p99);
    }
    let (to_us, spent) = (now_us(), hunt::spent_us(pid) - spent);
    let discord = &publishing.fleet.discord;
    discord.traffic(0.0).await?;
    sleep(LATE).await;
    let sent = discord.ledger().await?;
    let handled = read_sinks(&folder.join("sinks"))?;
    drop(worker);
    publishing.end().await?;
    let made: HashMap<_, u64> = sent.iter().map(|it| (it.key(), it.created_us)).collect();
    let came = handled
        .iter()
        .filter(|it| (from_us..to_us).contains(&it.handed_us));
    let delays: Vec<i64> = came
        .filter_map(|it| Some((it.handed_us - *made.get(&it.key())?).cast_signed()))
        .collect();
    let seconds = (to_us - from_us) as f64 / 1e6;
    Ok(Through {
        came_s: delays.len() as f64 / seconds,
        confirm_ms: Spread {
            p50: at(&mut medians, 0.5),
            p99: at(&mut tails, 0.9),
            max: at(&mut tails, 1.0),
        },
        delay_ms: Spread::of_us(delays),
        us: spent / (after - before).max(1) as f64,
    })
}

/// The sample that so many of them do not exceed.
fn at(samples: &mut [f64], share: f64) -> Option<f64> {
    samples.sort_unstable_by(f64::total_cmp);
    let rank = (samples.len() as f64 * share).ceil() as usize;
    samples.get(rank.max(1) - 1).copied()
}

/// A publisher of its own that does nothing else, as fast as it can or so many messages a
/// second.
async fn bare(broker: &Server, rate: f64) -> Result<Bare> {
    let (kind, url) = (broker.kind().to_string(), broker.url());
    let (rate, seconds) = (rate.to_string(), COUNTED.as_secs_f64().to_string());
    let arguments = ["publish", &kind, &url, &rate, &seconds];
    let command = command("baton-reference", arguments)?;
    let (_process, line) = Process::start("bare", broker.dir(), command, true).await?;
    serde_json::from_str(&line).map_err(|error| Error::answer("baton-reference", error))
}

/// Deploys with `kind` and without, in turn.
///
/// # Errors
/// Something does not start.
pub async fn gap(kind: Kind, runs: u32) -> Result<SinkGap> {
    const RTT_MS: u64 = 50;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut faults = Vec::new();
    for seed in 0..runs {
        let broker = server(kind).await?;
        for behind in [None, Some(Behind::new(&broker, SHARDS))] {
            let gaps = match behind {
                None => &mut without,
                Some(_) => &mut with,
            };
            let options = DemoOptions {
                behind,
                ..deployed(kind, RTT_MS, u64::from(seed))
            };
            let measured = demo::measure(&options, |_| ()).await?;
            faults.extend(measured.verdict.faults());
            gaps.push(measured.verdict.gap_probed_ms);
        }
    }
    let (gap_ms, file_ms) = (middle(&with), middle(&without));
    let medians = gap_ms.p50.zip(file_ms.p50);
    Ok(SinkGap {
        broker: kind.to_string(),
        shards: SHARDS,
        rtt_ms: RTT_MS,
        runs,
        gap_ms,
        file_ms,
        of_file: medians.map(|(gap, file)| gap / file),
        faults,
    })
}

fn deployed(kind: Kind, rtt_ms: u64, seed: u64) -> DemoOptions {
    DemoOptions {
        shards: SHARDS,
        rate: 1.0,
        rtt: Duration::from_millis(rtt_ms),
        handler_ms: 0,
        guilds_per_shard: 20,
        members_per_guild: 2,
        tls: false,
        // Each is a thousand events a second, and a queue is no gap.
        sampled: match kind {
            Kind::Nats | Kind::Redis => super::handover::SAMPLED,
            Kind::Rabbit => super::handover::SAMPLED / 2,
        },
        slave: "baton-slave".to_owned(),
        seed,
        keep: false,
        live: false,
        late_seal: false,
        slave_flags: Vec::new(),
        store: None,
        behind: None,
    }
}

/// Medians of the runs, and the largest maximum.
fn middle(spreads: &[Spread]) -> Spread {
    let of = |figure: fn(&Spread) -> Option<f64>| spreads.iter().filter_map(figure);
    Spread {
        p50: median(of(|spread| spread.p50)),
        p99: median(of(|spread| spread.p99)),
        max: of(|spread| spread.max).reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_samples_are_not_above_the_tail() {
        let mut samples: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        let of = |share| at(&mut samples.clone(), share);
        assert_eq!(
            (of(0.5), of(0.9), of(1.0)),
            (Some(10.0), Some(18.0), Some(20.0))
        );
        samples.clear();
        assert_eq!(at(&mut samples, 0.9), None);
    }
}
