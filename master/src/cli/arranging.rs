//! Where shards are to be: `move`, `drain`, `cordon`, `uncordon`, `rebalance`, `hold`.

use std::time::Duration;

use baton_core::Members;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{OperatorArguments, say};
use crate::{
    admin::{HoldRequest, HostsRequest, MoveRequest, RebalanceRequest, client::Client},
    error::{EXIT_DONE, EXIT_FAILED, Error},
};

/// How often it is looked how far shards are.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    operator: OperatorArguments,
    /// As one JSON object: `moves`, each with `shards`, `from` and `to`
    #[arg(long)]
    json: bool,
}

/// Of an order that moves shards.
#[derive(Debug, Args)]
struct Moving {
    #[command(flatten)]
    how: How,
    /// Say what would move, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until the shards are there
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct MoveArguments {
    #[command(flatten)]
    moving: Moving,
    /// Which shards, such as 0-31,40
    #[arg(value_name = "SHARDS")]
    shards: Members,
    /// The slot that they are to be in
    #[arg(long, value_name = "SLOT")]
    to: String,
}

#[derive(Debug, Args)]
pub(super) struct DrainArguments {
    #[command(flatten)]
    moving: Moving,
    /// Which hosts; `local` is the master's own
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct RebalanceArguments {
    #[command(flatten)]
    moving: Moving,
}

#[derive(Debug, Args)]
pub(super) struct CordonArguments {
    #[command(flatten)]
    how: How,
    /// Which hosts; `local` is the master's own
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct HoldArguments {
    #[command(flatten)]
    how: How,
    /// Things begin by themselves again
    #[arg(long)]
    release: bool,
}

pub(super) async fn moves(arguments: MoveArguments) -> Result<u8, Error> {
    let MoveArguments { moving, shards, to } = arguments;
    let dry_run = moving.dry_run;
    let request = MoveRequest {
        shards,
        to,
        dry_run,
    };
    moving.ask("/v1/move", json!(request)).await
}

pub(super) async fn drain(arguments: DrainArguments) -> Result<u8, Error> {
    let DrainArguments { moving, hosts } = arguments;
    let dry_run = moving.dry_run;
    moving
        .ask("/v1/drain", json!(HostsRequest { hosts, dry_run }))
        .await
}

pub(super) async fn rebalance(arguments: RebalanceArguments) -> Result<u8, Error> {
    let moving = arguments.moving;
    let dry_run = moving.dry_run;
    moving
        .ask("/v1/rebalance", json!(RebalanceRequest { dry_run }))
        .await
}

pub(super) async fn cordon(arguments: CordonArguments) -> Result<u8, Error> {
    let named = arguments.hosts.join(", ");
    let done = format!("nothing is placed onto {named} any more; what is there stays");
    arguments.ask("/v1/cordon", &done).await
}

pub(super) async fn uncordon(arguments: CordonArguments) -> Result<u8, Error> {
    let named = arguments.hosts.join(", ");
    let done = format!("{named} may be given shards again: baton-master rebalance gives it some");
    arguments.ask("/v1/uncordon", &done).await
}

pub(super) async fn hold(arguments: HoldArguments) -> Result<u8, Error> {
    let HoldArguments { how, release } = arguments;
    let done = match release {
        true => "released: slaves are launched, standbys step in and shards move again",
        false => {
            "held: no slave is launched, no standby steps in and no shard changes its slot until \
             baton-master hold --release"
        }
    };
    how.ask("/v1/hold", json!(HoldRequest { release }), done)
        .await
}

impl CordonArguments {
    async fn ask(self, path: &str, done: &str) -> Result<u8, Error> {
        let request = HostsRequest {
            hosts: self.hosts,
            dry_run: false,
        };
        self.how.ask(path, json!(request), done).await
    }
}

impl How {
    async fn ask(self, path: &str, body: Value, done: &str) -> Result<u8, Error> {
        let answer = self.operator.client()?.post(path, body).await?;
        say(&match self.json {
            true => answer.to_string(),
            false => done.to_owned(),
        });
        Ok(EXIT_DONE)
    }
}

impl Moving {
    async fn ask(self, path: &str, body: Value) -> Result<u8, Error> {
        let client = self.how.operator.client()?;
        let began = Instant::now();
        let mut answer = client.post(path, body).await?;
        let moves = answer["moves"].as_array().cloned().unwrap_or_default();
        if !self.how.json {
            moves.iter().for_each(|it| say(&line(it)));
        }
        if self.dry_run || self.no_wait || moves.is_empty() {
            let end = match (self.dry_run, moves.is_empty()) {
                (_, true) => "every shard is to be where it is: nothing moves",
                (true, false) => "nothing was changed",
                (false, false) => "they move; baton-master status shows how far they are",
            };
            say(&match self.how.json {
                true => answer.to_string(),
                false => end.to_owned(),
            });
            return Ok(EXIT_DONE);
        }
        let wanted: Vec<Way> = moves.iter().filter_map(Way::of).collect();
        let end = self.watch(&client, &wanted).await?;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        answer["arrived"] = json!(end.arrived);
        answer["took_ms"] = json!(took_ms);
        let all: usize = wanted.iter().map(|way| way.shards.len()).sum();
        let is_done = end.arrived == all;
        say(&match (self.how.json, is_done) {
            (true, _) => answer.to_string(),
            (false, true) => format!("{all} shards moved in {took_ms} ms"),
            (false, false) => format!(
                "{} of {all} shards moved; the others are to stay where they are",
                end.arrived
            ),
        });
        Ok(if is_done { EXIT_DONE } else { EXIT_FAILED })
    }

    /// Looks until every shard is in its slot, or is to be elsewhere.
    async fn watch(&self, client: &Client, wanted: &[Way]) -> Result<End, Error> {
        let mut said = None;
        loop {
            let status = client.get("/v1/status").await?;
            let (mut arrived, mut left) = (0, 0);
            let shards = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
            for shard in shards {
                let Some(id) = shard["shard"]
                    .as_u64()
                    .and_then(|id| u32::try_from(id).ok())
                else {
                    continue;
                };
                let id = baton_protocol::ShardId(id);
                let Some(way) = wanted.iter().find(|way| way.shards.contains(id)) else {
                    continue;
                };
                let is_there = shard["slot"] == way.to.as_str() && shard["moves_to"].is_null();
                let comes = shard["moves_to"] == way.to.as_str()
                    || (shard["slot"] == way.to.as_str() && shard["moves_to"].is_null());
                // It is there when it is served there.
                match shard["state"].as_str() {
                    Some("resuming" | "taking back" | "sealing") => left += 1,
                    Some(_) | None if is_there => arrived += 1,
                    Some(_) | None if comes => left += 1,
                    Some(_) | None => {}
                }
            }
            if left == 0 {
                return Ok(End { arrived });
            }
            if !self.how.json && said != Some(arrived) {
                said = Some(arrived);
                say(&format!("{arrived} there, {left} to go"));
            }
            sleep(LOOK).await;
        }
    }
}

/// How it ended.
struct End {
    arrived: usize,
}

/// Shards that are to be in a slot.
struct Way {
    shards: Members,
    to: String,
}

impl Way {
    fn of(planned: &Value) -> Option<Self> {
        Some(Self {
            shards: planned["shards"].as_str()?.parse().ok()?,
            to: planned["to"].as_str()?.to_owned(),
        })
    }
}

/// `shards 0-3 from a to b`
fn line(planned: &Value) -> String {
    let text = |key: &str| planned[key].as_str().unwrap_or("?").to_owned();
    format!(
        "shards {} from {} to {}",
        text("shards"),
        text("from"),
        text("to")
    )
}
