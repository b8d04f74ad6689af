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
    text::{Cell, Look, Paint, clock, count, gap, grid, plain, span, width, wrapped},
};
use crate::{
    clock::millis,
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
    #[arg(long, value_name = "TIME", value_parser = since, default_value = "12h")]
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

fn since(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a time with its unit, such as 30min, 12h or 2d"))
}

pub(super) async fn events(arguments: EventsArguments) -> Result<u8, Error> {
    let since = SystemTime::now().checked_sub(arguments.since);
    let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since = since.map_or(0, millis);
    let path = format!("/v1/history?since={since}");
    let events: Vec<Value> = match arguments.operator.ask_or_read(&path).await? {
        Ok(answer) => answer["events"].as_array().cloned().unwrap_or_default(),
        Err(data_dir) => {
            let mut events = chronicle::read(&data_dir);
            events.retain(|event| event["at_unix_ms"].as_u64() >= Some(since));
            events
        }
    };
    let (paint, width) = (Paint::of_stdout(), width());
    for event in &events {
        if arguments.json {
            say(&event.to_string());
            continue;
        }
        let lines = told(event, paint);
        let lines = lines.iter().flat_map(|line| wrapped(line, width));
        lines.for_each(|line| say(&line));
    }
    if events.is_empty() && !arguments.json {
        let since = millis(arguments.since);
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
    list(&deploys, Paint::of_stdout(), width())
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

/// Where a slave was, unless it was at the master's own host.
fn at_host(event: &Value) -> String {
    let host = event["host"].as_str();
    host.map_or_else(String::new, |host| format!(", host {host}"))
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
            "{} of slot {} ended: {} (build {}, pid {}{})",
            whose(event),
            text("slot"),
            how(event),
            text("build"),
            text("pid"),
            at_host(event),
        ),
        "slave_joined" => format!(
            "{} joined slot {}: build {}{}",
            slave(),
            text("slot"),
            text("build"),
            at_host(event),
        ),
        "agent_joined" => format!(
            "the agent of host {} joined: version {}",
            text("host"),
            text("program")
        ),
        "agent_gone" => format!("the agent of host {} is away", text("host")),
        "slave_gone" if event["evidence"] == "lease" => format!(
            "{} is dead: its lease ran out; it had {} shards",
            slave(),
            text("held")
        ),
        "slave_gone" => format!(
            "{} was cut off, with {} shards{}",
            slave(),
            text("held"),
            at_host(event)
        ),
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
        "event_given_up" => format!(
            "event {} ({}, guild {}) of shard {} was given up: nobody finished it, and Discord \
             does not replay it",
            text("sequence"),
            text("kind"),
            text("guild"),
            text("shard")
        ),
        "disbelieved" => format!("{} is not believed: {}", slave(), text("detail")),
        "fenced" => format!("{} was fenced: dead by the operator's word", slave()),
        "rollout_ended" => {
            let list = |key: &str| {
                let names = event[key].as_array().map_or(&[][..], Vec::as_slice);
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                names.join(", ")
            };
            match event["reason"].as_str() {
                None => format!("every slot has the new build: {}", list("done")),
                Some(reason) => format!(
                    "the deploy of all slots stopped: {reason}; done: {}; not begun: {}",
                    list("done"),
                    list("left")
                ),
            }
        }
        "arranged" => {
            let hosts = event["hosts"].as_array().map_or(&[][..], Vec::as_slice);
            let hosts: Vec<_> = hosts.iter().filter_map(Value::as_str).collect();
            let moves = event["moves"].as_array().map_or(&[][..], Vec::as_slice);
            let way = |it: &Value| {
                let text = |key: &str| it[key].as_str().unwrap_or("?").to_owned();
                format!("shards {} to {}", text("shards"), text("to"))
            };
            let moves: Vec<_> = moves.iter().map(way).collect();
            let words = [hosts.join(" "), moves.join(", ")];
            let words = words.iter().filter(|words| !words.is_empty());
            let words = words.map(|words| format!(" {words}")).collect::<Vec<_>>();
            format!("an operator ordered: {}{}", text("order"), words.join(":"))
        }
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
        "deploy_cut_off" => format!(
            "deploy {} of slot {} has no end: its master was killed. What had moved stays, and \
             the rest follows in another deploy",
            text("deploy"),
            text("slot")
        ),
        "master_left" => "the master left".to_owned(),
        // Of a newer master.
        _ => format!("{kind}: {event}"),
    };
    let bad = match kind.as_str() {
        "alarm" | "session_lost" | "state_lost" | "event_given_up" | "disbelieved"
        | "deploy_cut_off" | "agent_gone" => true,
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

fn list(deploys: &[Deployed], paint: Paint, width: usize) -> Vec<String> {
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
    let mut lines = fitting(rows, paint, width);
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
    lines.push(String::new());
    let many = count(deploys.len() as u64, "deploy");
    lines.push(match way_back(deploys) {
        Some(deploy) => {
            format!(
                "{many}; baton-master rollback --to {deploy} deploys what deploy {deploy} brought"
            )
        }
        None => many,
    });
    lines.iter().flat_map(|line| wrapped(line, width)).collect()
}

/// The last deploy that brought something else than what its slot has now.
fn way_back(deploys: &[Deployed]) -> Option<u64> {
    let usable = |deploy: &&Deployed| deploy.came_through() && deploy.brought.command.is_some();
    let mut usable = deploys.iter().rev().filter(usable);
    let now = usable.next()?;
    let other = |deploy: &&Deployed| {
        deploy.slot == now.slot && deploy.brought.command != now.brought.command
    };
    Some(usable.find(other)?.deploy)
}

/// The table of deploys: where it is too wide, the columns are left out that say the
/// least.
fn fitting(mut rows: Vec<Vec<Cell>>, paint: Paint, width: usize) -> Vec<String> {
    let mut head = vec![
        ">DEPLOY", "BEGAN", "SLOT", "FROM", "TO", "OUTCOME", ">SHARDS", ">TOOK",
    ];
    for column in [">SHARDS", "SLOT", ">TOOK", "FROM"] {
        let lines = grid(Paint::Plain, &head, &rows);
        let wide = lines.iter().map(|line| line.chars().count()).max();
        if wide > Some(width)
            && let Some(at) = head.iter().position(|title| *title == column)
        {
            head.remove(at);
            for row in &mut rows {
                row.remove(at);
            }
        }
    }
    grid(paint, &head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::news::Brought;

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
    fn whatever_a_master_keeps_is_told_in_words_here_and_on_the_page() {
        let page = include_str!("../page/news.js");
        for kind in [
            "alarm",
            "slave_ended",
            "slave_joined",
            "slave_gone",
            "session_lost",
            "state_lost",
            "event_given_up",
            "disbelieved",
            "fenced",
            "arranged",
            "rollout_ended",
            "deploy_accepted",
            "soak_shortened",
            "deploy_ended",
            "deploy_cut_off",
            "master_started",
            "master_left",
            "agent_joined",
            "agent_gone",
        ] {
            let line = &told(&json!({"type": kind, "at_unix_ms": 0}), Paint::Plain)[0];
            assert!(!line.contains("\"type\""), "{line}");
            assert!(page.contains(&format!("\n  {kind}: (")), "{kind}");
        }
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
        let before = Deployed {
            brought: Brought {
                command: Some(vec!["my older bot".to_owned()]),
                before: None,
            },
            ..deploy(2, "done")
        };
        let deploys = [before, deploy(3, "done"), deploy(4, "rolled_back")];
        let text = list(&deploys, Paint::Plain, 1000).join("\n");
        for part in [
            "     3  1970-01-01T00:00:00Z  main  -     v2  done",
            "4: its handlers fail",
            "3: brought 'my bot'",
            "3: gap of a shard p50 7 ms",
            "rollback --to 2 deploys what deploy 2 brought",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let only = list(&[deploy(3, "done")], Paint::Plain, 1000).join("\n");
        assert!(!only.contains("rollback"), "it is what runs: {only}");
        for width in [80, 60] {
            let narrow = list(&deploys, Paint::Plain, width);
            assert!(narrow.iter().all(|line| line.chars().count() <= width));
        }
        assert_eq!(list(&[], Paint::Plain, 80), ["no deploy is remembered"]);
    }
}
