//! `baton-master status`: the fleet as a table, or as JSON.

use clap::Args;
use serde_json::Value;

use super::{OperatorArguments, say};
use crate::error::{EXIT_DONE, Error};

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: StatusArguments) -> Result<u8, Error> {
    let status = arguments.operator.client()?.get("/v1/status").await?;
    if arguments.json {
        say(&status.to_string());
    } else {
        for line in table(&status) {
            say(&line);
        }
    }
    Ok(EXIT_DONE)
}

fn table(status: &Value) -> Vec<String> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_null() => "-".to_owned(),
        None => value.to_string(),
    };
    let master = &status["master"];
    let mut lines = vec![format!(
        "master {} pid {} start {} up {} s{}",
        text(&master["version"]),
        master["pid"],
        master["term"]["counter"],
        master["uptime_ms"].as_u64().unwrap_or(0) / 1000,
        if status["adopting"] == true {
            ", collecting reports"
        } else {
            ""
        }
    )];
    if let Some(left) = status["identifies_left"].as_u64() {
        let reset = status["identifies_reset_ms"].as_u64().unwrap_or(0) / 60_000;
        lines.push(format!("IDENTIFYs left {left}, reset in {reset} min"));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<10} {:<12} {:<16} {:>8} {:<10} {:>7}  {}",
        "SLAVE", "SLOT", "BUILD", "PID", "ROLE", "SHARDS", "LINK"
    ));
    for slave in list(&status["slaves"]) {
        lines.push(format!(
            "{:<10.8} {:<12} {:<16} {:>8} {:<10} {:>7}  {}",
            text(&slave["slave"]),
            text(&slave["slot"]),
            text(&slave["build"]),
            slave["pid"],
            text(&slave["role"]),
            slave["shards"],
            if slave["connected"] == true {
                "connected"
            } else {
                "unreachable"
            }
        ));
    }
    lines.push(String::new());
    lines.push(shards(list(&status["shards"])));
    for slot in list(&status["slots"]) {
        let wanted = slot["standbys_wanted"].as_u64().unwrap_or(0);
        if wanted > 0 {
            lines.push(format!(
                "slot {}: {} of {wanted} standbys ready",
                text(&slot["name"]),
                slot["standbys_built"]
            ));
        }
    }
    let deploy = &status["deploy"];
    if deploy.is_object() {
        lines.push(format!(
            "deploy {} of slot {}: {}, {} of {} shards moved",
            deploy["deploy"],
            text(&deploy["slot"]),
            text(&deploy["step"]),
            deploy["moved"],
            deploy["total"]
        ));
        let (asked, soak) = (&deploy["soak_asked_ms"], &deploy["soak_ms"]);
        if soak.is_u64() && soak != asked {
            lines.push(format!(
                "its soak is {soak} ms instead of {asked} ms: what Discord replays covers no more"
            ));
        }
    }
    lines
}

/// How many shards are in which state, and which ones do not serve.
fn shards(shards: &[Value]) -> String {
    let mut states: std::collections::BTreeMap<&str, Vec<u64>> = std::collections::BTreeMap::new();
    for shard in shards {
        let state = shard["state"].as_str().unwrap_or("?");
        states
            .entry(state)
            .or_default()
            .push(shard["shard"].as_u64().unwrap_or(0));
    }
    let shown = states.iter().map(|(state, shards)| {
        let count = shards.len();
        if *state == "serving" {
            return format!("{count} serving");
        }
        let mut names: Vec<String> = shards.iter().take(8).map(u64::to_string).collect();
        if count > names.len() {
            names.push("...".to_owned());
        }
        format!("{count} {state} ({})", names.join(", "))
    });
    format!(
        "{} shards: {}",
        shards.len(),
        shown.collect::<Vec<_>>().join(", ")
    )
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shards_that_do_not_serve_are_named() {
        let shard = |number: u64, state: &str| json!({"shard": number, "state": state});
        let line = shards(&[
            shard(0, "serving"),
            shard(1, "resuming"),
            shard(2, "serving"),
        ]);
        assert_eq!(line, "3 shards: 1 resuming (1), 2 serving");
    }

    #[test]
    fn a_status_with_nothing_in_it_is_still_a_table() {
        assert!(table(&json!({})).len() > 3);
    }
}
