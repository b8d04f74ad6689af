//! State on its way from slave to slave through the master, beside the same bytes
//! through any third process.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    median,
    two_hop::{self, Hops},
};
use crate::{
    chaos::hunt,
    discord::{DiscordOptions, TOKEN},
    error::{Error, Result},
    fleet::{Fleet, FleetOptions},
    process::{Process, command},
};

/// A cold start or a deploy takes at most this long.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What the bot's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Each guild's GUILD_CREATE as it came: a copy is nothing but a copy.
    Bytes,
    /// A cache: a copy writes each guild as JSON, and the next owner reads it.
    Cache,
}

/// Whether state is compressed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// It is not.
    None,
    /// It is.
    Zstd,
}

impl Compression {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }
}

/// What is copied.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What the bot's state is.
    pub holds: Holds,
    /// Whether it is compressed on its way.
    pub compression: Compression,
    /// Shards of the bot.
    pub shards: u32,
    /// Guilds of each shard.
    pub guilds: u32,
    /// Members of each guild.
    pub members: u32,
}

/// How fast it was: medians of all runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateRate {
    /// What was copied.
    #[serde(flatten)]
    pub row: Row,
    /// Events a second meanwhile.
    pub events_s: f64,
    /// How slaves and master talk.
    pub wire: String,
    /// MB of all pieces, before compression.
    pub mb: Option<f64>,
    /// Time in which at least one shard was copied: from the order to copy until
    /// all of it was taken in.
    pub copy_ms: Option<f64>,
    /// MB in such a second.
    pub mb_s: Option<f64>,
    /// The same number of bytes through a third process, in the same chunks and
    /// with the same window.
    pub two_hop_mb_s: Option<f64>,
    /// The same without chunks and window.
    pub piped_mb_s: Option<f64>,
    /// Ours to the two hops.
    pub of_two_hop: Option<f64>,
    /// How many runs.
    pub runs: u32,
    /// What was wrong with them; empty: nothing.
    pub faults: Vec<String>,
}

/// The rows of a run.
#[must_use]
pub fn rows(quick: bool) -> Vec<Row> {
    let row = |holds, compression, shards: u32| Row {
        holds,
        compression,
        shards,
        guilds: 1600 / shards,
        members: 200,
    };
    let (bytes, cache) = (Holds::Bytes, Holds::Cache);
    let mut rows = vec![row(bytes, Compression::None, 1)];
    if !quick {
        rows.push(row(bytes, Compression::None, 8));
        rows.push(row(bytes, Compression::Zstd, 8));
        rows.push(row(cache, Compression::None, 1));
    }
    rows.push(row(cache, Compression::None, 8));
    rows.push(row(cache, Compression::Zstd, 8));
    rows
}

/// Copies `runs` times, each time beside the two hops.
pub async fn measure(row: Row, runs: u32) -> StateRate {
    let (mut mb, mut ms, mut rate) = (vec![], vec![], vec![]);
    let (mut two_hop, mut piped, mut faults) = (vec![], vec![], vec![]);
    for seed in 0..runs {
        let copied = match copy(row, seed).await {
            Ok(copied) => copied,
            Err(error) => {
                faults.push(error.chain());
                continue;
            }
        };
        mb.push(copied.bytes as f64 / 1e6);
        ms.push(copied.us as f64 / 1000.0);
        rate.push(copied.bytes as f64 / copied.us.max(1) as f64);
        for (hops, rates) in [(Hops::Windowed, &mut two_hop), (Hops::Piped, &mut piped)] {
            match two_hop::measure(hops, copied.bytes).await {
                Ok(rate) => rates.push(rate),
                Err(error) => faults.push(error.chain()),
            }
        }
    }
    let middle = |values: Vec<f64>| median(values.into_iter());
    let (mb_s, two_hop_mb_s) = (middle(rate), middle(two_hop));
    StateRate {
        row,
        events_s: 0.0,
        wire: "TCP on the loopback, no TLS".to_owned(),
        mb: middle(mb),
        copy_ms: middle(ms),
        mb_s,
        two_hop_mb_s,
        piped_mb_s: middle(piped),
        of_two_hop: mb_s.zip(two_hop_mb_s).map(|(ours, theirs)| ours / theirs),
        runs,
        faults,
    }
}

/// One deploy.
struct Copied {
    bytes: u64,
    us: u64,
}

async fn copy(row: Row, seed: u32) -> Result<Copied> {
    let mut fleet = Fleet::start(options(row, seed)).await?;
    let old = start(row, &fleet, "v1").await?;
    fleet.all_serving(LIMIT).await?;
    let old_pid = old.pid().ok_or_else(|| over(&old))?;
    hunt::at_rest(old_pid, LIMIT).await?;
    let new = start(row, &fleet, "v2").await?;
    let ended = fleet.news.wait("end of the deploy", LIMIT, |event| {
        event["type"] == "deploy_ended"
    });
    let ended = ended.await?;
    if ended["outcome"] != "done" {
        return Err(Error::answer("the deploy", &ended["text"]));
    }
    let began: Vec<_> = fleet.news.phase("copying").collect();
    let taken_in: Vec<_> = fleet.news.phase("dialling").collect();
    if began.len() != row.shards as usize || taken_in.len() != began.len() {
        let times = format!("{} shards were copied {} times", row.shards, began.len());
        return Err(Error::answer("the deploy", times));
    }
    let bytes = match row.holds {
        Holds::Cache => fleet.state_bytes("v2", usize::MAX).await?,
        Holds::Bytes => told(&fleet.folder().join("logs/bot-v2.log"))?,
    };
    drop(new);
    fleet.shut_down().await?;
    Ok(Copied {
        bytes,
        us: covered(&began, &taken_in),
    })
}

fn over(process: &Process) -> Error {
    Error::answer("the bot", process.last_words())
}

/// The time that lies between the beginning and the end of at least one shard.
pub(super) fn covered(began: &[(u32, u64)], ended: &[(u32, u64)]) -> u64 {
    let mut spans: Vec<(u64, u64)> = began
        .iter()
        .filter_map(|(shard, from)| {
            let end = ended.iter().find(|(other, _)| other == shard)?;
            Some((*from, end.1))
        })
        .collect();
    spans.sort_unstable();
    let (mut covered, mut until) = (0, 0);
    for (from, to) in spans {
        covered += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    covered
}

async fn start(row: Row, fleet: &Fleet, build: &str) -> Result<Process> {
    match row.holds {
        Holds::Cache => {
            let more = [
                "--sink",
                "none",
                "--state-compression",
                row.compression.name(),
            ];
            let slave = fleet.start_slave_with(build, &more).await?;
            Ok(slave.process)
        }
        Holds::Bytes => {
            let mut command = command(
                "baton-reference",
                ["keeps-bytes", &fleet.discord.gateway_url, "0"],
            )?;
            command
                .env("DISCORD_TOKEN", TOKEN)
                .env("BATON_MASTER", fleet.listen())
                .env("BATON_RUNTIME_DIR", fleet.folder().join("run"))
                .env("BATON_STATE_COMPRESSION", row.compression.name())
                .env("BATON_BUILD", build);
            let logs = fleet.folder().join("logs");
            let (process, _) =
                Process::start(&format!("bot-{build}"), &logs, command, false).await?;
            Ok(process)
        }
    }
}

/// What a bot that keeps bytes wrote: the bytes of each shard that it took over.
fn told(log: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(log).map_err(Error::io("read a bot's log"))?;
    let bytes = text.lines().filter_map(|line| line.parse::<u64>().ok());
    Ok(bytes.sum())
}

fn options(row: Row, seed: u32) -> FleetOptions {
    FleetOptions {
        discord: DiscordOptions {
            shards: row.shards,
            guilds_per_shard: row.guilds,
            members_per_guild: row.members,
            seed: u64::from(seed),
            ..DiscordOptions::default()
        },
        ..FleetOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_several_shards_are_copied_counts_once() {
        let began = [(0, 100), (1, 300), (2, 320), (3, 500)];
        let ended = [(0, 200), (2, 350), (1, 400), (3, 501)];
        assert_eq!(covered(&began, &ended), 100 + 100 + 1);
        assert_eq!(covered(&[], &[]), 0);
    }
}
