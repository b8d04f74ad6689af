//! State between hosts: from a slave through a master on another host, over links that take
//! their time, packed and not, beside the same bytes with a fixed number on their way.
//!
//! The links are [wires](crate::chaos::wire) of this machine: each byte takes half the round
//! trip, in both ways. They lose nothing, and have no width of their own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    state::{Compression, LIMIT, covered},
    two_hop::{self, Hops},
};
use crate::{
    chaos::wire::{Way, Wire},
    discord::DiscordOptions,
    error::{Error, Result},
    fleet::{AgentOptions, Fleet, FleetOptions, Special},
};

/// The host on which both slaves are; the master is on another one.
const HOST: &str = "east";

/// Bytes over links with a fixed number on their way: more of them take longer, and go no
/// faster or slower.
const ENOUGH: u64 = 8_000_000;

/// What is copied, and how.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Milliseconds from the slaves' host to the master's and back.
    pub round_trip_ms: u32,
    /// Whether it is packed, as it is by default.
    pub compression: Compression,
    /// Shards of the bot.
    pub shards: u32,
    /// Guilds of each shard.
    pub guilds: u32,
    /// Members of each guild.
    pub members: u32,
}

/// One copy of all shards.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Between {
    /// What was copied.
    #[serde(flatten)]
    pub row: Row,
    /// MB of all pieces.
    pub mb: f64,
    /// MB that the slaves sent to the master meanwhile.
    pub sent_mb: f64,
    /// Seconds in which at least one shard was copied.
    pub copy_s: f64,
    /// Seconds that as many bytes take over the same links with 256 KiB on their way, as on
    /// one host.
    pub fixed_s: f64,
}

/// The rows of a run.
#[must_use]
pub fn rows(quick: bool) -> Vec<Row> {
    let (shards, all) = if quick { (4, 400) } else { (8, 1600) };
    let row = |round_trip_ms, compression| Row {
        round_trip_ms,
        compression,
        shards,
        guilds: all / shards,
        members: 200,
    };
    let each = [20, 100].into_iter().flat_map(|ms| {
        let both = [Compression::None, Compression::Zstd];
        both.map(|compression| row(ms, compression))
    });
    each.collect()
}

/// Copies once, by a deploy.
///
/// # Errors
/// The fleet does not do what it should.
pub async fn measure(row: Row) -> Result<Between> {
    let one_way = Duration::from_millis(row.round_trip_ms.into()) / 2;
    let link = Wire::lay().await?;
    link.delay(one_way);
    let fleet = Fleet::start(options(row)).await?;
    let to = fleet.listen();
    let to = to.parse().map_err(|error| Error::answer(to, error))?;
    link.lead_to(to);
    let agent = fleet
        .start_agent_with(&AgentOptions {
            host: HOST.to_owned(),
            join: link.address().to_string(),
            runs: Vec::new(),
            tls: None,
        })
        .await?;
    fleet.all_serving(LIMIT).await?;
    let before = link.carried(Way::Up);
    let mut deploy = fleet.order(&["deploy", "--slot", HOST, "--wait"])?;
    deploy.arg("--").args(fleet.host_command(HOST, "v2")?);
    let deployed = deploy.output().await;
    let deployed = deployed.map_err(Error::io("run baton-master deploy"))?;
    if !deployed.status.success() {
        let said = String::from_utf8_lossy(&deployed.stderr);
        return Err(Error::answer("baton-master deploy", said.trim()));
    }
    let sent = link.carried(Way::Up) - before;
    let began: Vec<_> = fleet.news.phase("copying").collect();
    let taken_in: Vec<_> = fleet.news.phase("dialling").collect();
    let bytes = fleet.state_bytes(&format!("{HOST}-v2"), 64).await?;
    drop(agent);
    fleet.shut_down().await?;
    let fixed = two_hop::measure_over(Hops::Windowed, bytes.min(ENOUGH), one_way).await?;
    let mb = bytes as f64 / 1e6;
    Ok(Between {
        row,
        mb,
        sent_mb: sent as f64 / 1e6,
        copy_s: covered(&began, &taken_in) as f64 / 1e6,
        fixed_s: mb / fixed,
    })
}

fn options(row: Row) -> FleetOptions {
    let how = match row.compression {
        Compression::None => "none",
        Compression::Zstd => "between-hosts",
    };
    let flags = ["--state-compression", how].map(str::to_owned);
    FleetOptions {
        discord: DiscordOptions {
            shards: row.shards,
            guilds_per_shard: row.guilds,
            members_per_guild: row.members,
            ..DiscordOptions::default()
        },
        special: Special {
            hosts: vec![HOST],
            slave_flags: flags.to_vec(),
            ..Special::default()
        },
        ..FleetOptions::default()
    }
}
