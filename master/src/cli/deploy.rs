//! `baton-master deploy` and `baton-master rollback`: asks for a deploy and shows it
//! while it happens.

mod all;
mod candidate;
mod progress;
mod screen;

use std::{collections::BTreeMap, path::Path, time::Duration};

use baton_core::event::STOPPED;
use clap::Args;
use serde_json::Value;

use self::{
    candidate::{Candidate, died},
    progress::Progress,
    screen::Screen,
};
use super::{
    OperatorArguments, say,
    text::{count, ranges, span},
};
use crate::{
    admin::{
        DeployRequest,
        client::{Client, Events},
    },
    clock::millis,
    config::{LimitValue, from_here, shown},
    error::{EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_LOSSES, Error},
};

#[derive(Debug, Args)]
pub(super) struct DeployArguments {
    #[command(flatten)]
    road: RoadArguments,
    /// Deploy every slot, one after the other: the first alone. Stops at the first that does
    /// not come through
    #[arg(long, conflicts_with_all = ["slot", "beside"])]
    all: bool,
    /// With --all: the slots that come first [default: as they are configured]
    #[arg(long, value_name = "SLOT,...", value_delimiter = ',', requires = "all")]
    order: Vec<String>,
    /// With --all: how many slots are deployed at once when the first one is done
    #[arg(long, value_name = "N", requires = "all", value_parser = clap::value_parser!(u32).range(1..))]
    max_unavailable: Option<u32>,
    /// What the new build is called: its slave finds it as BATON_BUILD
    #[arg(long, value_name = "NAME")]
    build: Option<String>,
    /// The new build's program and arguments [default: the slot's own again]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct BackArguments {
    #[command(flatten)]
    road: RoadArguments,
    /// Deploy what this deploy brought (`baton-master history` lists them)
    #[arg(long, value_name = "DEPLOY")]
    to: Option<u64>,
}

/// How the shards move, and how that is shown.
#[derive(Debug, Args)]
pub(super) struct RoadArguments {
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
    /// Let the old slave handle events until Discord takes each session from it:
    /// no shard is silent for a round trip. Needs a Discord that takes a RESUME while
    /// the old connection is open
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    late_seal: Option<bool>,
    /// Run even while another slot is deployed: the two share the width
    #[arg(long)]
    beside: bool,
    /// Refuse unless the slot has this build: somebody else may have been quicker
    #[arg(long, value_name = "BUILD")]
    expect: Option<String>,
    /// Wait for the end (this is the default)
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Only start it
    #[arg(long)]
    no_wait: bool,
    /// Its events, one JSON object a line; the last one is `deploy_ended`
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: DeployArguments) -> Result<u8, Error> {
    let DeployArguments {
        mut road,
        all,
        order,
        max_unavailable,
        build,
        command,
    } = arguments;
    if all {
        // The variable names the slot of a slave, and this is about all of them.
        road.slot = None;
    }
    let mut whole = None;
    if !command.is_empty() {
        let folder = std::env::current_dir();
        let folder = folder.map_err(|error| Error::system("the folder this runs in", error))?;
        let command = from_here(command, &folder).map_err(Error::Configuration)?;
        if !road.json {
            where_it_runs(&road.operator.client()?, &command, &folder).await?;
        }
        whole = Some(command);
    }
    let request = DeployRequest {
        command: whole,
        build,
        all,
        order,
        max_unavailable,
        ..DeployRequest::default()
    };
    go("/v1/deploy", request, road).await
}

/// Says in which folder the command will run: the master's own, so that arguments which
/// name files of this one are named too.
async fn where_it_runs(client: &Client, command: &[String], folder: &Path) -> Result<(), Error> {
    let status = client.get("/v1/status").await?;
    let theirs = status["master"]["working_dir"].as_str().unwrap_or("?");
    say(&format!(
        "runs in the master's folder {theirs}: {}",
        shown(command)
    ));
    if folder == Path::new(theirs) {
        return Ok(());
    }
    for argument in command.iter().skip(1) {
        let here = folder.join(argument);
        if Path::new(argument).is_relative() && here.is_file() {
            say(&format!(
                "note: {argument} is a file here, and is looked for there: perhaps {} is meant",
                here.display()
            ));
        }
    }
    Ok(())
}

/// A command that the slot had before, deployed the same way.
pub(super) async fn back(arguments: BackArguments) -> Result<u8, Error> {
    let request = DeployRequest {
        to: arguments.to,
        ..DeployRequest::default()
    };
    go("/v1/rollback", request, arguments.road).await
}

async fn go(path: &str, what: DeployRequest, arguments: RoadArguments) -> Result<u8, Error> {
    let client = arguments.operator.client()?;
    // Before the request: nothing of the deploy is missed.
    let mut events = client.events().await?;
    let request = DeployRequest {
        slot: arguments.slot,
        canary: arguments.canary,
        width: arguments.width,
        soak_ms: arguments.soak.map(millis),
        late_seal: arguments.late_seal,
        beside: arguments.beside.then_some(true),
        expect: arguments.expect,
        ..what
    };
    let all = request.all;
    let body = serde_json::to_value(request).unwrap_or(Value::Null);
    let accepted = client.post(path, body).await?;
    if arguments.no_wait {
        say(&if arguments.json {
            accepted.to_string()
        } else {
            let started = started(&accepted).join("\n");
            format!("{started}\n  baton-master status --watch shows it")
        });
        return Ok(EXIT_DONE);
    }
    match all {
        true => all::follow(&mut events, &accepted, arguments.json).await,
        false => follow(&client, &mut events, &accepted, arguments.json).await,
    }
}

/// Which deploy this is, and what is replaced by what.
fn started(accepted: &Value) -> Vec<String> {
    let command = |key: &str| {
        let words: Option<Vec<String>> = serde_json::from_value(accepted[key].clone()).ok();
        words.map(|words| shown(&words))
    };
    let mut lines = vec![match accepted["slot"].as_str() {
        Some(slot) => format!("deploy {} of slot {slot}", accepted["deploy"]),
        None => format!("deploy {}", accepted["deploy"]),
    }];
    let before = command("before");
    let from = match (accepted["from"].as_str(), before) {
        (Some(build), Some(before)) => Some(format!("  now    build {build}: {before}")),
        (Some(build), None) => Some(format!("  now    build {build}")),
        (None, Some(before)) => Some(format!("  now    nothing; its command is {before}")),
        (None, None) => None,
    };
    lines.extend(from);
    lines.extend(command("command").map(|command| format!("  next   {command}")));
    lines
}

/// Shows a deploy until it ends, or until the operator stops watching.
pub(super) async fn follow(
    client: &Client,
    events: &mut Events,
    accepted: &Value,
    json: bool,
) -> Result<u8, Error> {
    let deploy = accepted["deploy"].as_u64().unwrap_or(0);
    let status = client.get("/v1/status").await?;
    let total = match &status["deploy"] {
        running if running["deploy"] == deploy => running["total"].as_u64().unwrap_or(0),
        // It ended before it was looked at.
        _ => status["shards"].as_array().map_or(0, Vec::len) as u64,
    };
    let mut progress = Progress::of(total);
    let mut screen = Screen::new(total, json);
    let mut candidate = Candidate::default();
    started(accepted).iter().for_each(|line| screen.line(line));
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            enough = tokio::signal::ctrl_c() => {
                enough.map_err(|error| Error::system("signals", error))?;
                screen.end();
                screen.line(&format!(
                    "deploy {deploy} goes on; baton-master status --watch shows it, baton-master \
                     abort sends it back"
                ));
                return Ok(EXIT_INTERRUPTED);
            }
        };
        let Some(mut event) = event else {
            break;
        };
        if event["type"] == "missed" {
            let status = client.get("/v1/status").await?;
            progress.correct(&status);
            if status["deploy"]["deploy"] != deploy {
                event = status["last_deploy"].clone();
                event["type"] = "deploy_ended".into();
            }
        }
        match event["type"].as_str() {
            Some("slave_joined") => {
                candidate = Candidate::of(&event);
                screen.line(&format!(
                    "  slave {:.8} joined, build {}",
                    text(&event["slave"]),
                    text(&event["build"])
                ));
            }
            Some("slave_ended") => {
                candidate.note_end(&event);
                died(&screen, &event);
            }
            Some("alarm") => screen.line(&format!("  ALARM: {}", text(&event["detail"]))),
            _ => {}
        }
        if event["deploy"].as_u64() != Some(deploy) {
            continue;
        }
        progress.note(&event);
        screen.figures(&progress);
        if !screen.object(&event) {
            return Ok(EXIT_INTERRUPTED);
        }
        match event["type"].as_str() {
            Some("deploy_step") => screen.line(&format!("  {}", text(&event["step"]))),
            Some("soak_shortened") => screen.line(&shortened(&event)),
            Some("deploy_ended") => {
                screen.end();
                if event["outcome"] != "done" {
                    candidate.last_words(events, &screen).await;
                }
                return Ok(ended(client, &screen, deploy, &progress, &event).await);
            }
            _ => {}
        }
    }
    screen.end();
    Err(Error::Failed(format!(
        "the master {} during deploy {deploy}, and how it ended is not known; its slaves keep serving. \
         `baton-master status` shows where the shards are, once a master answers",
        events.end()
    )))
}

async fn ended(
    client: &Client,
    screen: &Screen,
    deploy: u64,
    progress: &Progress,
    event: &Value,
) -> u8 {
    let done = event["outcome"] == "done" || event["outcome"] == "forced";
    let ms = |key: &str| event[key].as_u64().unwrap_or(0);
    // A reason may be whole sentences.
    let outcome = text(&event["text"]).trim_end_matches('.');
    screen.line(&match text(&event["outcome"]) {
        "aborted" => format!("deploy {deploy}: {outcome}; after {}", span(ms("total_ms"))),
        _ => format!(
            "deploy {deploy}: {outcome}; {} of {} on the new build; moving took {}, everything {}",
            ms("moved"),
            count(progress.total, "shard"),
            span(ms("migrating_ms")),
            span(ms("total_ms")),
        ),
    });
    if let Some(spread) = progress.spread() {
        screen.line(&format!("  {spread}"));
    }
    let lost = ["sessions_lost", "events_given_up"]
        .map(ms)
        .iter()
        .any(|lost| *lost > 0);
    if done && lost {
        screen.line(
            "next: baton-master doctor, and the alarms above: what was lost is in the master's log",
        );
        return EXIT_LOSSES;
    }
    if done {
        return EXIT_DONE;
    }
    // Where everything is now; the master may be leaving.
    if let Ok(status) = client.get("/v1/status").await {
        whereabouts(&status)
            .iter()
            .for_each(|line| screen.line(line));
    }
    if let Some(next) = next_step(text(&event["outcome"]), text(&event["reason"])) {
        screen.line(next);
    }
    EXIT_FAILED
}

fn next_step(outcome: &str, reason: &str) -> Option<&'static str> {
    match outcome {
        "aborted" | "rolled_back" if reason == STOPPED => None,
        "aborted" | "rolled_back" if reason.contains("the journal cannot be written") => Some(
            "next: the build is not to blame: baton-master doctor says which disk is full or fails; \
             then deploy again",
        ),
        "aborted" | "rolled_back" if reason.contains("the old slave") => Some(
            "next: the build is not to blame: baton-master status and doctor say how the old slave \
             fares; then deploy again",
        ),
        "aborted" if reason.contains("was refused: ") => {
            Some("next: nothing was touched; deploy a build that the fleet's sessions fit")
        }
        "aborted" | "rolled_back" => Some(
            "next: the reason is above, and the log of the new slave says what it did; repair the \
             build and deploy again",
        ),
        "handed_on" => Some("next: start the master; what had moved stays, the rest follows"),
        _ => None,
    }
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
            let (count, shards) = (count(shards.len() as u64, "shard"), ranges(shards));
            if owner.is_empty() {
                format!("  now nowhere: {count} {state} ({shards})")
            } else {
                let build = build(owner);
                format!("  now at slave {owner:.8} (build {build}): {count} {state} ({shards})")
            }
        })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deploy_says_what_it_replaces_by_what() {
        let accepted = json!({"deploy": 3, "slot": "main", "from": "v1",
            "before": ["my-bot-v1"], "command": ["env", "BATON_BUILD=v2", "my-bot-v2", "--x"]});
        assert_eq!(
            started(&accepted),
            [
                "deploy 3 of slot main",
                "  now    build v1: my-bot-v1",
                "  next   my-bot-v2 --x (build v2)",
            ]
        );
        assert_eq!(started(&json!({"deploy": 3})), ["deploy 3"]);
    }

    #[test]
    fn what_is_to_be_done_fits_the_reason() {
        let next = |outcome, reason| next_step(outcome, reason).unwrap_or_default();
        assert_eq!(next("aborted", STOPPED), "");
        assert!(next("aborted", "the journal cannot be written: full").contains("disk"));
        assert!(next("rolled_back", "the old slave is cut off for 5.0 s").contains("doctor"));
        assert!(next("rolled_back", "the new build failed 5 of 5").contains("repair the build"));
    }

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
                "  now nowhere: 1 shard idle (2)",
                "  now at slave aaaaaaaa (build v1): 3 shards serving (0-1, 3)",
            ]
        );
    }
}
