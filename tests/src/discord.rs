//! The simulated Discord as a process of its own, driven over its control port.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    error::{Error, Result},
    http::Endpoint,
    process::{Process, command},
    records::{Sent, parse_ledger},
};

/// The token of a bot that does not exist, and the only one that is accepted.
/// Even so it travels by environment.
pub const TOKEN: &str = "MTA1.simulated.token";

/// What every bot under test asks for: every intent that is not privileged would
/// do, but a true cache needs members and presences too.
pub const INTENTS: u64 = 53_608_447;

/// How a simulated Discord is set up.
#[derive(Clone, Debug)]
pub struct DiscordOptions {
    /// Shards of the bot.
    pub shards: u32,
    /// Guilds of each shard.
    pub guilds_per_shard: u32,
    /// Members of each guild.
    pub members_per_guild: u32,
    /// Round-trip time of its connections.
    pub rtt: Duration,
    /// Whether it speaks TLS, with a certificate authority of its own.
    pub tls: bool,
    /// Seed of its traffic and its guilds.
    pub seed: u64,
    /// The address of this host at which it listens.
    pub at: Ipv4Addr,
    /// Further flags.
    pub more: Vec<String>,
}

impl Default for DiscordOptions {
    /// A small one, next door, whose cold start is quick.
    fn default() -> Self {
        let more = ["--max-concurrency", "16", "--identify-window", "20ms"];
        Self {
            shards: 4,
            guilds_per_shard: 5,
            members_per_guild: 8,
            rtt: Duration::ZERO,
            tls: false,
            seed: 3,
            at: Ipv4Addr::LOCALHOST,
            more: more.map(str::to_owned).to_vec(),
        }
    }
}

/// A running simulated Discord.
#[derive(Debug)]
pub struct Discord {
    /// Where bots connect.
    pub gateway_url: String,
    /// Where bots ask for `/gateway/bot`.
    pub rest_url: String,
    /// The certificate authority to trust, if it speaks TLS.
    pub ca: Option<String>,
    control: Endpoint,
    process: Process,
}

#[derive(Deserialize)]
struct Ready {
    gateway: String,
    rest: String,
    control: String,
    #[serde(default)]
    ca: Option<String>,
}

/// What it counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// IDENTIFYs that came, accepted or not.
    pub identifies: u64,
    /// IDENTIFYs of these that were refused.
    pub identifies_refused: u64,
    /// RESUMEs that came, accepted or not.
    pub resumes: u64,
}

/// One line of its log of connections.
#[derive(Clone, Debug, Deserialize)]
pub struct LogLine {
    /// When, in microseconds of the host's monotonic clock.
    pub at_us: u64,
    /// Which shard, once it is known.
    #[serde(default)]
    pub shard: Option<u32>,
    /// Fingerprint of its session, once there is one.
    #[serde(default)]
    pub session: Option<Arc<str>>,
    /// What happened.
    pub what: String,
    /// More about it.
    #[serde(default)]
    pub detail: String,
}

impl Discord {
    /// Starts it in `folder`, its traffic paused.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(folder: &Path, logs: &Path, options: &DiscordOptions) -> Result<Self> {
        let mut arguments: Vec<String> = [
            ("--listen", format!("{}:0", options.at)),
            ("--control", "127.0.0.1:0".to_owned()),
            ("--shards", options.shards.to_string()),
            ("--guilds-per-shard", options.guilds_per_shard.to_string()),
            ("--members-per-guild", options.members_per_guild.to_string()),
            ("--rate", "0".to_owned()),
            ("--rtt", format!("{}us", options.rtt.as_micros())),
            ("--seed", options.seed.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        arguments.push("--json".to_owned());
        if options.tls {
            arguments.push("--tls".to_owned());
            arguments.push("--cert-out".to_owned());
            arguments.push(folder.join("ca.pem").display().to_string());
        }
        arguments.extend(options.more.iter().cloned());
        let mut command = command("baton-discord", arguments)?;
        command.env("BATON_GATEWAY_TOKEN", TOKEN);
        let (process, line) = Process::start("gateway", logs, command, true).await?;
        let ready: Ready =
            serde_json::from_str(&line).map_err(|error| Error::answer("baton-discord", error))?;
        Ok(Self {
            gateway_url: ready.gateway,
            rest_url: ready.rest,
            ca: ready.ca,
            control: Endpoint::parse(&ready.control),
            process,
        })
    }

    /// Traffic of every shard, in events a second; `0` pauses it.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn traffic(&self, rate: f64) -> Result<()> {
        let body = json!({"rate": rate, "paused": rate == 0.0});
        self.control.post("/traffic", &body).await
    }

    /// A probe dispatch every millisecond on these shards, or no more of them.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn probe(&self, shards: &[u32], on: bool) -> Result<()> {
        let body = json!({"shards": shards, "every_us": 1000, "on": on});
        self.control.post("/probe", &body).await
    }

    /// Arms a fault by name.
    ///
    /// # Errors
    /// The control port does not answer or knows no such fault.
    pub async fn fault(&self, fault: &Value) -> Result<()> {
        self.control.post("/faults", fault).await
    }

    /// How many faults wait for their moment and never struck.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn untried_faults(&self) -> Result<usize> {
        let faults: Value = self.control.get("/faults").await?;
        let waiting = faults["waiting"].as_array().into_iter().flatten();
        Ok(waiting.filter(|fault| fault["struck"] == 0).count())
    }

    /// Ends every fault that waits or lasts.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn no_faults(&self) -> Result<()> {
        self.control.delete("/faults").await
    }

    /// What it counted so far.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn counts(&self) -> Result<Counts> {
        let total = &self.status().await?["counters"]["total"];
        let refused = |reasons: &str| -> u64 {
            let reasons = total[reasons].as_object().into_iter().flatten();
            reasons.filter_map(|(_, count)| count.as_u64()).sum()
        };
        let came = |accepted: &str, refused: u64| {
            total[accepted]
                .as_u64()
                .map(|accepted| accepted + refused)
                .ok_or_else(|| Error::answer("/status", format!("no count of {accepted}")))
        };
        let identifies_refused = refused("identifies_refused");
        Ok(Counts {
            identifies: came("identifies", identifies_refused)?,
            identifies_refused,
            resumes: came("resumes", refused("resumes_refused"))?,
        })
    }

    /// Sessions that have a connection.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn connected(&self) -> Result<u64> {
        let count = self.status().await?["sessions_connected"].as_u64();
        count.ok_or_else(|| Error::answer("/status", "no sessions_connected"))
    }

    /// Events that it dispatched so far.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn dispatched(&self) -> Result<u64> {
        let ledger = &self.status().await?["ledger"];
        let count = ledger["len"].as_u64().zip(ledger["dropped"].as_u64());
        count
            .map(|(kept, dropped)| kept + dropped)
            .ok_or_else(|| Error::answer("/status", "no ledger"))
    }

    async fn status(&self) -> Result<Value> {
        self.control.get("/status").await
    }

    /// Everything that it dispatched so far.
    ///
    /// # Errors
    /// The control port does not answer, or it had to drop entries.
    pub async fn ledger(&self) -> Result<Vec<Sent>> {
        let ledger = self.control.get_bytes("/ledger").await?;
        if self.status().await?["ledger"]["overflow"] == true {
            return Err(Error::answer("/ledger", "it is full; raise --ledger-limit"));
        }
        parse_ledger(&ledger)
    }

    /// Its log of connections.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn log(&self) -> Result<Vec<LogLine>> {
        let text = self.control.get_bytes("/log").await?;
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(|e| Error::answer("/log", e)))
            .collect()
    }

    /// The guilds of one shard.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn guilds(&self, shard: u32) -> Result<Vec<u64>> {
        let ids: Vec<Value> = self
            .control
            .get(&format!("/truth/guilds?shard={shard}"))
            .await?;
        ids.iter()
            .map(|id| {
                id.as_u64()
                    .or_else(|| id.as_str()?.parse().ok())
                    .ok_or_else(|| Error::answer("/truth/guilds", id))
            })
            .collect()
    }

    /// How a guild really is: its GUILD_CREATE.
    ///
    /// # Errors
    /// The control port does not answer.
    pub async fn truth(&self, guild: u64) -> Result<Value> {
        let truth: Value = self.control.get(&format!("/truth/guild/{guild}")).await?;
        Ok(truth["guild"].clone())
    }

    /// The process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
