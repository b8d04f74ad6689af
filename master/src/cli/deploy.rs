//! `baton-master deploy`: asks for a deploy and shows it while it happens.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{OperatorArguments, say};
use crate::{
    admin::DeployRequest,
    config::{LimitValue, check_command},
    error::{EXIT_DONE, EXIT_FAILED, Error},
};

#[derive(Debug, Args)]
pub(super) struct DeployArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// Which slot [default: the first]
    #[arg(long, env = "BATON_SLOT", value_name = "NAME")]
    slot: Option<String>,
    /// Shards that move alone, first
    #[arg(long, value_name = "N")]
    canary: Option<u32>,
    /// Shards that move at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    width: Option<u32>,
    /// How long the old slave stays ready afterwards
    #[arg(long, value_name = "TIME", value_parser = <Duration as LimitValue>::parse)]
    soak: Option<Duration>,
    /// Wait for the end (this is the default)
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Only start it
    #[arg(long)]
    no_wait: bool,
    /// The new build's program and arguments [default: the slot's own again]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) async fn run(arguments: DeployArguments) -> Result<u8, Error> {
    if !arguments.command.is_empty() {
        check_command(&arguments.command).map_err(Error::Configuration)?;
    }
    let client = arguments.operator.client()?;
    // Before the request: nothing of the deploy is missed.
    let mut events = client.events().await?;
    let request = DeployRequest {
        slot: arguments.slot,
        command: (!arguments.command.is_empty()).then_some(arguments.command),
        canary: arguments.canary,
        width: arguments.width,
        soak_ms: arguments
            .soak
            .map(|soak| u64::try_from(soak.as_millis()).unwrap_or(u64::MAX)),
    };
    let status = client.get("/v1/status").await?;
    let shards = status["shards"].as_array().map_or(0, Vec::len) as u64;
    let body = serde_json::to_value(request).unwrap_or(Value::Null);
    let accepted = client.post("/v1/deploy", body).await?;
    let deploy = accepted["deploy"].as_u64().unwrap_or(0);
    if arguments.no_wait {
        say(&format!("deploy {deploy} started"));
        return Ok(EXIT_DONE);
    }
    let screen = Screen::new(shards);
    screen.line(&format!("deploy {deploy}: started"));
    while let Some(event) = events.next().await {
        if event["type"] == "slave_joined" {
            screen.line(&format!(
                "  slave {:.8} joined, build {}",
                text(&event["slave"]),
                text(&event["build"])
            ));
        }
        if event["type"] == "alarm" {
            screen.line(&format!("  ALARM: {}", text(&event["detail"])));
        }
        if event["deploy"].as_u64() != Some(deploy) {
            continue;
        }
        match event["type"].as_str() {
            Some("deploy_step") => screen.line(&format!("  {}", text(&event["step"]))),
            Some("soak_shortened") => screen.line(&shortened(&event)),
            Some("migration") => screen.migration(&event),
            Some("deploy_ended") => {
                screen.end();
                let code = ended(deploy, shards, &event);
                if code != EXIT_DONE {
                    // Where everything is now; the master may be leaving.
                    if let Ok(status) = client.get("/v1/status").await {
                        whereabouts(&status).iter().for_each(|line| say(line));
                    }
                }
                return Ok(code);
            }
            _ => {}
        }
    }
    screen.end();
    Err(Error::Failed(format!(
        "the master went away during deploy {deploy}; `baton-master status` shows where the shards are"
    )))
}

fn ended(deploy: u64, shards: u64, event: &Value) -> u8 {
    let done = event["outcome"] == "done" || event["outcome"] == "forced";
    let moved = event["moved"].as_u64().unwrap_or(0);
    let seconds = |key: &str| event[key].as_f64().unwrap_or(0.0) / 1000.0;
    say(&format!(
        "deploy {deploy}: {}; {moved} of {shards} shards on the new build; moving took {:.2} s, everything {:.2} s",
        text(&event["text"]),
        seconds("migrating_ms"),
        seconds("total_ms"),
    ));
    if done { EXIT_DONE } else { EXIT_FAILED }
}

fn shortened(event: &Value) -> String {
    let seconds = |key: &str| event[key].as_f64().unwrap_or(0.0) / 1000.0;
    format!(
        "  soak {:.1} s instead of {:.1} s: shard {} gets {} events a second, and what Discord \
         replays covers no more (limits.replay_buffer)",
        seconds("soak_ms"),
        seconds("asked_ms"),
        event["shard"],
        event["per_second"],
    )
}

/// Which slave has which shards, and which shards do not serve.
fn whereabouts(status: &Value) -> Vec<String> {
    let mut at: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for shard in status["shards"].as_array().into_iter().flatten() {
        let owner = shard["owner"].as_str().unwrap_or("");
        let state = shard["state"].as_str().unwrap_or("?");
        let number = shard["shard"].as_u64().unwrap_or(0);
        at.entry((owner, state)).or_default().push(number);
    }
    let build = |owner: &str| {
        let mut slaves = status["slaves"].as_array().into_iter().flatten();
        let slave = slaves.find(|slave| slave["slave"] == owner);
        slave.map_or("?", |slave| text(&slave["build"]))
    };
    at.iter()
        .map(|((owner, state), shards)| {
            let (count, shards) = (shards.len(), ranges(shards));
            if owner.is_empty() {
                format!("  now nowhere: {count} shards {state} ({shards})")
            } else {
                let build = build(owner);
                format!(
                    "  now at slave {owner:.8} (build {build}): {count} shards {state} ({shards})"
                )
            }
        })
        .collect()
}

/// `0-3, 7` for 0, 1, 2, 3, 7.
fn ranges(ascending: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &shard in ascending {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == shard => *last = shard,
            Some(_) | None => ranges.push((shard, shard)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// A terminal gets a bar of shards, a pipe one line for each that moved.
struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    fn new(shards: u64) -> Self {
        let bar = stdout().is_terminal().then(|| {
            let bar = ProgressBar::new(shards);
            if let Ok(style) =
                ProgressStyle::with_template("  {bar:40.green/dim} {pos}/{len} shards  {msg}")
            {
                bar.set_style(style.progress_chars("━━╌"));
            }
            bar.tick();
            bar
        });
        Self { bar }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn migration(&self, event: &Value) {
        let shard = &event["shard"];
        let phase = text(&event["phase"]);
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("shard {shard} {phase}"));
                match phase {
                    "moved" => bar.inc(1),
                    "back" => bar.set_position(bar.position().saturating_sub(1)),
                    _ => {}
                }
            }
            None if matches!(phase, "moved" | "taking back" | "back") => {
                say(&format!("  shard {shard} {phase}"));
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn where_everything_is_names_slaves_builds_and_shards_that_do_not_serve() {
        let shard = |shard: u64, owner: Option<&str>, state: &str| json!({"shard": shard, "owner": owner, "state": state});
        let status = json!({
            "slaves": [{"slave": "aaaaaaaabbbb", "build": "v1"}],
            "shards": [
                shard(0, Some("aaaaaaaabbbb"), "serving"),
                shard(1, Some("aaaaaaaabbbb"), "serving"),
                shard(2, None, "idle"),
                shard(3, Some("aaaaaaaabbbb"), "serving"),
            ],
        });
        assert_eq!(
            whereabouts(&status),
            [
                "  now nowhere: 1 shards idle (2)",
                "  now at slave aaaaaaaa (build v1): 3 shards serving (0-1, 3)",
            ]
        );
    }
}
