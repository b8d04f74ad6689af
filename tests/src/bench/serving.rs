//! What an event and a shard cost while a bot serves, beside the same bot
//! without a master: processes of their own, the same stream.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::time::sleep;
use twilight_gateway::{EventTypeFlags, parse};

use super::{client::Client, handover::Kept, median, place::Place};
use crate::{
    chaos::hunt,
    discord::{Discord, DiscordOptions, TOKEN},
    error::{Error, Result},
    fleet::{Fleet, FleetOptions},
    process::{Process, command},
};

/// A cold start takes at most this long.
const START: Duration = Duration::from_secs(120);

/// Traffic before it is counted, and while it is.
const WARM: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(6);

/// Payloads that are parsed alone.
const PARSED: usize = 4000;

/// What the bots of this build ask for.
const WIRE: &str = if cfg!(feature = "zstd") {
    "zstd-stream, no TLS"
} else {
    "json, no TLS"
};

/// What a bot does with its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// Each is parsed and dropped.
    Nothing,
    /// Each is parsed and put into the cache.
    Cache,
    /// Each is put into a store. The bare library has its cache.
    Store,
}

/// Processor time of an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventCost {
    /// What the bot does with it.
    pub keeps: Keeps,
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second, all shards together, that it was given.
    pub rate: f64,
    /// How bots and the simulated Discord talk.
    pub wire: String,
    /// Bytes of a payload of this stream, as JSON.
    pub event_bytes: f64,
    /// Microseconds of a slave, reporting its checkpoints to a master.
    pub slave_us: f64,
    /// Microseconds of the bare library.
    pub bare_us: f64,
    /// Microseconds of parsing the same payloads and nothing else.
    pub parse_us: f64,
    /// Events a second that a core would take, of those that it would take with
    /// the bare library.
    pub of_bare: f64,
}

/// Memory, each from the difference of two sizes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// What there is more of.
    pub of: String,
    /// Events a second meanwhile.
    pub events_s: f64,
    /// How bots and the simulated Discord talk.
    pub wire: String,
    /// Resident KiB of a slave.
    pub slave_kib: f64,
    /// Resident KiB of the bare library.
    pub bare_kib: f64,
    /// Ours to theirs.
    pub of_bare: f64,
}

/// Which bot.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bare(Keeps),
    Slave(Keeps),
}

/// Measures `rate` events a second over `shards` shards.
///
/// # Errors
/// A bot does not start.
pub async fn events(keeps: Keeps, shards: u32, rate: f64, runs: u32) -> Result<EventCost> {
    let (mut slave, mut bare, mut came) = (vec![], vec![], vec![]);
    let (mut parse, mut bytes) = (vec![], vec![]);
    for seed in 0..runs {
        let size = Size {
            shards,
            guilds: 20,
            members: 10,
            seed,
        };
        // In turn, so that a machine that slows down is unkind to both.
        for kind in [Kind::Bare(keeps), Kind::Slave(keeps)] {
            let mut running = Running::start(kind, size).await?;
            let (us, rate) = running.cost(rate / f64::from(shards)).await?;
            match kind {
                Kind::Bare(_) => bare.push(us),
                Kind::Slave(_) => slave.push(us),
            }
            came.push(rate);
            running.end().await?;
        }
        let (us, length) = parsing(size).await?;
        parse.push(us);
        bytes.push(length);
    }
    let (slave_us, bare_us) = (middle(slave), middle(bare));
    Ok(EventCost {
        keeps,
        shards,
        rate: middle(came),
        wire: WIRE.to_owned(),
        event_bytes: middle(bytes),
        slave_us,
        bare_us,
        parse_us: middle(parse),
        of_bare: bare_us / slave_us,
    })
}

/// Microseconds of an event in the bare library with its cache.
///
/// # Errors
/// It does not start.
pub async fn bare(shards: u32, rate: f64) -> Result<f64> {
    let size = Size {
        shards,
        guilds: 20,
        members: 20,
        seed: 1,
    };
    let mut running = Running::start(Kind::Bare(Keeps::Cache), size).await?;
    let (us, _) = running.cost(rate / f64::from(shards)).await?;
    running.end().await?;
    Ok(us)
}

/// Microseconds of parsing a payload of this stream, and its bytes.
async fn parsing(size: Size) -> Result<(f64, f64)> {
    let size = Size { shards: 1, ..size };
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let discord = Discord::start(folder.path(), folder.path(), &size.discord()).await?;
    let mut client = Client::dial(&discord.gateway_url).await?;
    client.identify(0, 1).await?;
    discord.traffic(PARSED as f64).await?;
    // The guilds come first.
    for _ in 0..size.guilds {
        client.next_text().await?;
    }
    let mut texts = Vec::new();
    while texts.len() < PARSED {
        texts.push(client.next_text().await?);
    }
    let began = Instant::now();
    for text in &texts {
        drop(black_box(parse(text.clone(), EventTypeFlags::all())));
    }
    let us = began.elapsed().as_secs_f64() * 1e6;
    let bytes: usize = texts.iter().map(String::len).sum();
    Ok((us / PARSED as f64, bytes as f64 / PARSED as f64))
}

/// Members of each guild whose memory is measured.
pub const MEMBERS: u32 = 20;

/// Memory of an idle shard without guilds to speak of, and of 1000 cached guilds.
///
/// # Errors
/// A bot does not start.
pub async fn memory() -> Result<Vec<Memory>> {
    let shards = |shards| Size {
        shards,
        guilds: 1,
        members: 2,
        seed: 1,
    };
    let guilds = |guilds| Size {
        shards: 4,
        guilds,
        members: MEMBERS,
        seed: 1,
    };
    let rows = [
        (
            "an idle shard",
            Keeps::Nothing,
            shards(16),
            shards(144),
            128.0,
        ),
        (
            "1000 cached guilds",
            Keeps::Cache,
            guilds(50),
            guilds(800),
            3.0,
        ),
    ];
    let mut found = Vec::new();
    for (of, keeps, small, large, more) in rows {
        let mut each = [0.0; 2];
        for (kind, each) in [Kind::Slave(keeps), Kind::Bare(keeps)]
            .into_iter()
            .zip(&mut each)
        {
            let (small, large) = (resident(kind, small).await?, resident(kind, large).await?);
            *each = (large - small) / more;
        }
        let [slave_kib, bare_kib] = each;
        found.push(Memory {
            of: of.to_owned(),
            events_s: 0.0,
            wire: WIRE.to_owned(),
            slave_kib,
            bare_kib,
            of_bare: slave_kib / bare_kib,
        });
    }
    Ok(found)
}

/// Memory of 1000 guilds in a store, the files of which count.
///
/// # Errors
/// A bot does not start.
pub async fn stored_memory() -> Result<Memory> {
    let size = |guilds| Size {
        shards: 4,
        guilds,
        members: MEMBERS,
        seed: 1,
    };
    let mut each = [0.0; 2];
    let kinds = [Kind::Slave(Keeps::Store), Kind::Bare(Keeps::Cache)];
    for (kind, each) in kinds.into_iter().zip(&mut each) {
        let (small, large) = (resident(kind, size(50)), resident(kind, size(800)));
        *each = (large.await? - small.await?) / 3.0;
    }
    let [slave_kib, bare_kib] = each;
    Ok(Memory {
        of: "1000 guilds in a store".to_owned(),
        events_s: 0.0,
        wire: WIRE.to_owned(),
        slave_kib,
        bare_kib,
        of_bare: slave_kib / bare_kib,
    })
}

async fn resident(kind: Kind, size: Size) -> Result<f64> {
    let running = Running::start(kind, size).await?;
    sleep(WARM).await;
    let (own, stored) = (hunt::own_kib(running.pid()?), running.place.bytes() / 1024);
    running.end().await?;
    if own == 0 {
        return Err(Error::answer("/proc", "no VmRSS"));
    }
    Ok((own + stored) as f64)
}

#[derive(Clone, Copy, Debug)]
struct Size {
    shards: u32,
    guilds: u32,
    members: u32,
    seed: u32,
}

impl Size {
    fn discord(self) -> DiscordOptions {
        DiscordOptions {
            shards: self.shards,
            guilds_per_shard: self.guilds,
            members_per_guild: self.members,
            seed: u64::from(self.seed),
            ..DiscordOptions::default()
        }
    }
}

/// A bot that serves, with all that it needs.
struct Running {
    bot: Process,
    around: Around,
    /// Of its store.
    place: Place,
}

enum Around {
    Discord {
        discord: Box<Discord>,
        _folder: TempDir,
    },
    Fleet(Box<Fleet>),
}

impl Running {
    async fn start(kind: Kind, size: Size) -> Result<Self> {
        let place = Place::new()?;
        let running = match kind {
            Kind::Bare(keeps) => {
                let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
                let discord = Discord::start(folder.path(), folder.path(), &size.discord()).await?;
                let name = match keeps {
                    Keeps::Nothing => "twilight",
                    Keeps::Cache | Keeps::Store => "twilight-cache",
                };
                let bot = reference(name, &discord, size.shards, folder.path(), &[]).await?;
                let around = Around::Discord {
                    discord: Box::new(discord),
                    _folder: folder,
                };
                Self { bot, around, place }
            }
            Kind::Slave(keeps) => {
                let fleet = Fleet::start(options(size)).await?;
                let bot = match keeps {
                    Keeps::Nothing => {
                        let run = fleet.folder().join("run").display().to_string();
                        let variables = [
                            ("BATON_MASTER", fleet.listen()),
                            ("BATON_RUNTIME_DIR", run.as_str()),
                        ];
                        let logs = fleet.folder().join("logs");
                        reference("baton", &fleet.discord, size.shards, &logs, &variables).await?
                    }
                    Keeps::Cache | Keeps::Store => {
                        let kept = match keeps {
                            Keeps::Store => Kept::Store.flags(&place),
                            Keeps::Cache | Keeps::Nothing => Vec::new(),
                        };
                        let mut flags = vec!["--sink", "none"];
                        flags.extend(kept.iter().map(String::as_str));
                        fleet.start_slave_with("v1", &flags).await?.process
                    }
                };
                let around = Around::Fleet(Box::new(fleet));
                Self { bot, around, place }
            }
        };
        let began = Instant::now();
        while running.discord().connected().await? < u64::from(size.shards) {
            if began.elapsed() > START {
                return Err(Error::Late(format!("{kind:?} does not serve")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(running)
    }

    const fn discord(&self) -> &Discord {
        match &self.around {
            Around::Discord { discord, .. } => discord,
            Around::Fleet(fleet) => &fleet.discord,
        }
    }

    fn pid(&self) -> Result<u32> {
        self.bot
            .pid()
            .ok_or_else(|| Error::answer("the bot", self.bot.last_words()))
    }

    /// Microseconds of an event, and how many came in a second.
    async fn cost(&mut self, rate: f64) -> Result<(f64, f64)> {
        self.discord().traffic(rate).await?;
        sleep(WARM).await;
        let at = Instant::now();
        let (spent, sent) = (
            hunt::spent_us(self.pid()?),
            self.discord().dispatched().await?,
        );
        sleep(COUNTED).await;
        let came = (self.discord().dispatched().await? - sent) as f64;
        let spent = hunt::spent_us(self.pid()?) - spent;
        let took = at.elapsed();
        self.discord().traffic(0.0).await?;
        Ok((spent / came, came / took.as_secs_f64()))
    }

    async fn end(self) -> Result<()> {
        drop(self.bot);
        match self.around {
            Around::Discord { .. } => Ok(()),
            Around::Fleet(fleet) => fleet.shut_down().await,
        }
    }
}

fn options(size: Size) -> FleetOptions {
    FleetOptions {
        discord: size.discord(),
        soak: Duration::from_secs(1),
        ..FleetOptions::default()
    }
}

async fn reference(
    name: &str,
    discord: &Discord,
    shards: u32,
    logs: &Path,
    variables: &[(&str, &str)],
) -> Result<Process> {
    let arguments = [name, &discord.gateway_url, &shards.to_string()];
    let mut command = command("baton-reference", arguments)?;
    command.env("DISCORD_TOKEN", TOKEN);
    command.envs(variables.iter().copied());
    let (process, _) = Process::start("bot", logs, command, false).await?;
    Ok(process)
}

fn middle(values: Vec<f64>) -> f64 {
    median(values.into_iter()).unwrap_or(f64::NAN)
}
