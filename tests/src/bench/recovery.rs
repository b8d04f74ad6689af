//! How long a slave's shards are without an owner after its death: a standby is there, and
//! the slave is killed. With the state in a store, beside none.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    handover::{GUILDS_2_GB, Kept, MEMBERS},
    median,
    place::Place,
};
use crate::{
    chaos::hunt,
    discord::DiscordOptions,
    error::{Error, Result},
    fleet::{Fleet, FleetOptions, Special},
};

/// A cold start, and a recovery.
const START: Duration = Duration::from_secs(240);
const RECOVERS: Duration = Duration::from_secs(60);

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(10);

/// Events a second on each shard.
const RATE: f64 = 1.0;

/// Traffic before the kill: longer than a slave needs to look after its store.
const WARM: Duration = Duration::from_secs(8);

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Shards of the bot.
    pub shards: u32,
    /// Guilds of each shard.
    pub guilds: u32,
    /// Members of each guild.
    pub members: u32,
    /// What the bot has of them.
    pub kept: Kept,
    /// How often.
    pub runs: u32,
}

/// What it took: medians of all runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// What died.
    #[serde(flatten)]
    pub row: Row,
    /// The state, in MB as it would be copied.
    pub state_mb: Option<f64>,
    /// From the kill until another slave serves every shard.
    pub ms: Option<f64>,
    /// Of the same with as little state as can be.
    pub of_without: Option<f64>,
    /// What was wrong; empty: nothing.
    pub faults: Vec<String>,
}

/// The rows of a run, the one without state first.
#[must_use]
pub fn rows(quick: bool) -> Vec<Row> {
    let (shards, guilds, runs) = match quick {
        true => (8, 20, 1),
        false => (64, GUILDS_2_GB / 64, 2),
    };
    let row = |guilds, members, kept| Row {
        shards,
        guilds,
        members,
        kept,
        runs,
    };
    vec![
        row(1, 2, Kept::Cache),
        // A cache dies with its process.
        row(guilds, MEMBERS, Kept::Cache),
        row(guilds, MEMBERS, Kept::Store),
    ]
}

/// Kills as often as the row says.
pub async fn measure(row: Row, before: &[Recovery]) -> Recovery {
    let (mut ms, mut mb, mut faults) = (vec![], vec![], vec![]);
    for seed in 0..row.runs {
        match one(row, seed).await {
            Ok((took, bytes)) => {
                ms.push(took.as_secs_f64() * 1000.0);
                mb.extend(bytes.map(|bytes| bytes as f64 / 1e6));
            }
            Err(error) => faults.push(error.chain()),
        }
    }
    let ms = median(ms.into_iter());
    let without = before.first().and_then(|without| without.ms);
    Recovery {
        row,
        state_mb: median(mb.into_iter()),
        of_without: ms.zip(without).map(|(ms, without)| ms / without),
        ms,
        faults,
    }
}

/// One death. Gives how long it took, and the bytes of the state.
async fn one(row: Row, seed: u32) -> Result<(Duration, Option<u64>)> {
    let place = Place::new()?;
    let mut slave_flags = row.kept.flags(&place);
    // Both slaves are of one build.
    let inspect = format!("unix:{}/inspect-%p", place.root().display());
    let others = ["--sink", "none", "--inspect", &inspect];
    slave_flags.extend(others.map(str::to_owned));
    let special = Special {
        standbys: 1,
        slave_flags,
        ..Special::default()
    };
    let fleet = Fleet::start(FleetOptions {
        discord: DiscordOptions {
            shards: row.shards,
            guilds_per_shard: row.guilds,
            members_per_guild: row.members,
            seed: u64::from(seed),
            ..DiscordOptions::default()
        },
        launch: true,
        special,
        ..FleetOptions::default()
    });
    let fleet = fleet.await?;
    fleet.all_serving(START).await?;
    fleet.standing_by(1, START).await?;
    let (owner, pid) = fleet.owner().await?;
    hunt::at_rest(pid, START).await?;
    fleet.discord.traffic(RATE).await?;
    sleep(WARM).await;
    let began = Instant::now();
    hunt::signal(pid, Signal::KILL);
    loop {
        let status = fleet.status().await?;
        let shards = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
        let is_new = |shard: &Value| shard["state"] == "serving" && shard["owner"] != *owner;
        if !shards.is_empty() && shards.iter().all(is_new) {
            break;
        }
        if began.elapsed() > RECOVERS {
            return Err(Error::Late("the shards do not serve again".to_owned()));
        }
        sleep(EVERY).await;
    }
    let took = began.elapsed();
    let lost = fleet.discord.counts().await?;
    if lost.identifies > u64::from(row.shards) + lost.identifies_refused {
        return Err(Error::answer("the recovery", "it cost a session"));
    }
    fleet.shut_down().await?;
    Ok((took, (row.kept == Kept::Store).then(|| place.bytes())))
}
