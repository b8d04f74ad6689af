//! `baton-master events` and `baton-master history`: what happened earlier. A
//! master that is away is no hindrance: then its file is read.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    OperatorArguments, complain,
    death::{how, last_lines, whose},
    say,
    text::{Cell, Look, Paint, clock, count, gap, grid, plain, span},
};
use crate::{
    config::shown,
    error::{EXIT_DONE, Error},
    history::{Deployed, chronicle},
};

/// Last words of a slave in a list of events, in lines.
const LINES: usize = 5;

#[derive(Debug, Args)]
pub(super) struct EventsArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// How far back
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "12h")]
    since: Duration,
    /// One JSON object a line, each with `type`, `at` and `at_unix_ms`
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// One JSON object a line, a deploy each
    #[arg(long)]
    json: bool,
}

pub(super) async fn events(arguments: EventsArguments) -> Result<u8, Error> {
    let since = SystemTime::now().checked_sub(arguments.since);
    let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since = since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    let path = format!("/v1/history?since={since}");
    let events: Vec<Value> = match arguments.operator.ask_or_read(&path).await? {
        Ok(answer) => answer["events"].as_array().cloned().unwrap_or_default(),
        Err(data_dir) => {
            let mut events = chronicle::read(&data_dir);
            events.retain(|event| event["at_unix_ms"].as_u64() >= Some(since));
            events
        }
    };
    let paint = Paint::of_stdout();
    for event in &events {
        if arguments.json {
            say(&event.to_string());
        } else {
            told(event, paint).iter().for_each(|line| say(line));
        }
    }
    if events.is_empty() && !arguments.json {
        let since = u64::try_from(arguments.since.as_millis()).unwrap_or(u64::MAX);
        say(&format!("nothing happened in the last {}", span(since)));
    }
    Ok(EXIT_DONE)
}

pub(super) async fn history(arguments: HistoryArguments) -> Result<u8, Error> {
    let deploys: Vec<Value> = match arguments.operator.ask_or_read("/v1/deploys").await? {
        Ok(answer) => answer["deploys"].as_array().cloned().unwrap_or_default(),
        Err(data_dir) => {
            let events = chronicle::read(&data_dir).into_iter();
            let mut deploys = events.filter(|event| event["type"] == "deploy_ended");
            deploys
                .by_ref()
                .map(|mut event| event["deployed"].take())
                .collect()
        }
    };
    if arguments.json {
        deploys.iter().for_each(|deploy| say(&deploy.to_string()));
        return Ok(EXIT_DONE);
    }
    let deploys: Vec<Deployed> = deploys
        .into_iter()
        .filter_map(|deploy| serde_json::from_value(deploy).ok())
        .collect();
    list(&deploys, Paint::of_stdout())
        .iter()
        .for_each(|line| say(line));
    Ok(EXIT_DONE)
}

impl OperatorArguments {
    /// What the master answers; where none does, the folder that it writes to.
    async fn ask_or_read(&self, path: &str) -> Result<Result<Value, PathBuf>, Error> {
        match self.client()?.get(path).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => {
                let dir = self.data_dir()?;
                if !dir.join(chronicle::FILE).exists() {
                    return Err(error);
                }
                complain(&format!(
                    "baton-master: {}; this is from {}",
                    error.line(),
                    dir.display()
                ));
                Ok(Err(dir))
            }
        }
    }
}

/// An event in a line, and what a slave said last below it.
fn told(event: &Value, paint: Paint) -> Vec<String> {
    let at = clock(event["at_unix_ms"].as_u64().unwrap_or(0));
    let text = |key: &str| match event[key].as_str() {
        Some(text) => text.to_owned(),
        None if event[key].is_null() => "-".to_owned(),
        None => event[key].to_string(),
    };
    let slave = || format!("slave {:.8}", text("slave"));
    let ms = |key: &str| span(event[key].as_u64().unwrap_or(0));
    let kind = text("type");
    let line = match kind.as_str() {
        "alarm" => format!("ALARM: {}", text("detail")),
        "slave_ended" => format!(
            "{} of slot {} ended: {} (build {}, pid {})",
            whose(event),
            text("slot"),
            how(event),
            text("build"),
            text("pid"),
        ),
        "slave_joined" => format!(
            "{} joined slot {}: build {}",
            slave(),
            text("slot"),
            text("build")
        ),
        "slave_gone" => format!("{} was cut off, with {} shards", slave(), text("held")),
        "session_lost" => format!(
            "shard {} lost its session at {}: a span of events is missing",
            text("shard"),
            slave()
        ),
        "state_lost" => format!(
            "the state of shard {} was lost; {} asks for a new session",
            text("shard"),
            slave()
        ),
        "disbelieved" => format!("{} is not believed: {}", slave(), text("detail")),
        "fenced" => format!("{} was fenced: dead by the operator's word", slave()),
        "deploy_accepted" => format!("deploy {} of slot {} began", text("deploy"), text("slot")),
        "soak_shortened" => format!(
            "deploy {}: its soak is {} instead of {}",
            text("deploy"),
            ms("soak_ms"),
            ms("asked_ms")
        ),
        "deploy_ended" => format!(
            "deploy {}: {}; {} shards on the new build, moving took {}, everything {}",
            text("deploy"),
            text("text").trim_end_matches('.'),
            text("moved"),
            ms("migrating_ms"),
            ms("total_ms"),
        ),
        "master_started" => format!(
            "a master started: version {}, pid {}",
            text("version"),
            text("pid")
        ),
        "master_left" => "the master left".to_owned(),
        // Of a newer master.
        _ => format!("{kind}: {event}"),
    };
    let bad = match kind.as_str() {
        "alarm" | "session_lost" | "state_lost" | "disbelieved" => true,
        "slave_ended" => event["well"] != true,
        "deploy_ended" => event["outcome"] != "done",
        _ => false,
    };
    let line = if bad { paint.bad(&line) } else { line };
    let more = match event["left_out"].as_u64() {
        Some(left_out) => format!(" (and {left_out} of this kind before it, which are not here)"),
        None => String::new(),
    };
    let mut lines = vec![format!("{at}  {line}{more}")];
    if kind == "slave_ended" && bad {
        lines.extend(last_lines(event, LINES));
    }
    lines
}

fn list(deploys: &[Deployed], paint: Paint) -> Vec<String> {
    if deploys.is_empty() {
        return vec!["no deploy is remembered".to_owned()];
    }
    let build = |build: &Option<String>| plain(build.clone().unwrap_or_else(|| "-".to_owned()));
    let rows: Vec<Vec<Cell>> = deploys
        .iter()
        .map(|deploy| {
            let outcome = deploy.outcome.replace('_', " ");
            let look = match deploy.came_through() {
                true => Look::Good,
                false => Look::Bad,
            };
            vec![
                plain(deploy.deploy.to_string()),
                plain(clock(deploy.began_unix_ms)),
                plain(&*deploy.slot),
                build(&deploy.from),
                build(&deploy.to),
                (outcome, look),
                plain(deploy.shards.to_string()),
                plain(span(deploy.took_ms)),
            ]
        })
        .collect();
    let head = [
        ">DEPLOY", "BEGAN", "SLOT", "FROM", "TO", "OUTCOME", ">SHARDS", ">TOOK",
    ];
    let mut lines = grid(paint, &head, &rows);
    lines.push(String::new());
    for deploy in deploys {
        if let Some(reason) = &deploy.reason {
            lines.push(format!("{}: {reason}", deploy.deploy));
        }
        if let Some(command) = &deploy.brought.command {
            lines.push(format!("{}: brought {}", deploy.deploy, shown(command)));
        }
        if let Some(spread) = gap(&json!(deploy.spread())) {
            lines.push(format!("{}: {spread}", deploy.deploy));
        }
    }
    let usable = deploys
        .iter()
        .rev()
        .find(|deploy| deploy.came_through() && deploy.brought.command.is_some());
    if let Some(deploy) = usable {
        lines.push(String::new());
        lines.push(format!(
            "{}; baton-master rollback --to {} deploys what deploy {} brought",
            count(deploys.len() as u64, "deploy"),
            deploy.deploy,
            deploy.deploy
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Brought;

    #[test]
    fn an_event_is_a_line_by_the_wall_clock_and_a_death_has_its_last_words() {
        let event = json!({"type": "slave_ended", "at_unix_ms": 1_767_323_045_678_u64, "slave": null,
            "slot": "main", "build": null, "pid": 7, "ending": "exit code 1", "well": false,
            "lived_ms": 200, "last_lines": ["no token"]});
        assert_eq!(
            told(&event, Paint::Plain),
            [
                "2026-01-02T03:04:05Z  a slave that had not joined of slot main ended: exit code 1, \
                 after 200 ms (build -, pid 7)",
                "    | no token",
            ]
        );
        let alarm = json!({"type": "alarm", "at_unix_ms": 0, "detail": "act", "left_out": 7});
        let line = &told(&alarm, Paint::Plain)[0];
        assert!(line.contains("ALARM: act (and 7 of this kind"), "{line}");
        let newer = json!({"type": "of tomorrow", "at_unix_ms": 0, "what": 1});
        assert!(told(&newer, Paint::Plain)[0].contains("\"what\":1"));
    }

    #[test]
    fn deploys_are_listed_with_what_they_brought_and_the_way_back() {
        let deploy = |number, outcome: &'static str| Deployed {
            deploy: number,
            slot: "main".to_owned(),
            to: Some("v2".to_owned()),
            brought: Brought {
                command: Some(vec!["my bot".to_owned()]),
                before: None,
            },
            outcome: outcome.into(),
            reason: (outcome != "done").then(|| "its handlers fail".to_owned()),
            gaps_ms: vec![7.0],
            ..Deployed::default()
        };
        let lines = list(&[deploy(3, "done"), deploy(4, "rolled_back")], Paint::Plain);
        let text = lines.join("\n");
        for part in [
            "     3  1970-01-01T00:00:00Z  main  -     v2  done",
            "4: its handlers fail",
            "3: brought 'my bot'",
            "3: gap of a shard p50 7 ms",
            "rollback --to 3 deploys what deploy 3 brought",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(list(&[], Paint::Plain), ["no deploy is remembered"]);
    }
}
