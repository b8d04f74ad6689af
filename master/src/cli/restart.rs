//! `baton-master restart-shard`: restarts one shard in place, by RESUME.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{OperatorArguments, say};
use crate::{
    admin::{RestartRequest, client::Events},
    error::{EXIT_DONE, Error},
};

/// Longer than a seal, a dial and a replay take that are well.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct RestartArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// As one JSON object: `shard`, `epoch`, `slave`, `took_ms`
    #[arg(long)]
    json: bool,
    /// Which shard
    #[arg(value_name = "SHARD")]
    shard: u32,
}

pub(super) async fn run(arguments: RestartArguments) -> Result<u8, Error> {
    let shard = arguments.shard;
    let client = arguments.operator.client()?;
    // Before the request: nothing of it is missed.
    let mut events = client.events().await?;
    let began = Instant::now();
    let body = serde_json::to_value(RestartRequest { shard }).unwrap_or(Value::Null);
    client.post("/v1/restart-shard", body).await?;
    let served = timeout_at(began + PATIENCE, serving(&mut events, shard)).await;
    let event = served.ok().flatten().ok_or_else(|| {
        Error::Failed(format!(
            "shard {shard} is restarting and is not known to serve yet; baton-master \
             status shows where it is"
        ))
    })?;
    let took_ms = began.elapsed().as_millis();
    let (epoch, slave) = (&event["epoch"], event["slave"].as_str().unwrap_or("?"));
    say(&if arguments.json {
        format!(r#"{{"shard":{shard},"epoch":{epoch},"slave":"{slave}","took_ms":{took_ms}}}"#)
    } else {
        format!("shard {shard} serves again after {took_ms} ms: epoch {epoch}, slave {slave:.8}")
    });
    Ok(EXIT_DONE)
}

async fn serving(events: &mut Events, shard: u32) -> Option<Value> {
    loop {
        let event = events.next().await?;
        if event["type"] == "shard_serving" && event["shard"] == shard {
            return Some(event);
        }
    }
}
