//! `baton-master journal`: what a master would find when it starts, and whether it
//! makes sense. Reads only, also while a master runs.

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    default_file, read, say,
    text::{Paint, count, grid, plain, ranges, span},
};
use crate::{
    config::Options,
    error::{EXIT_DONE, EXIT_FAILED, Error},
    journal::{
        self,
        inspect::{Contents, DeployRow, ShardRow, inspect, verify},
    },
    runtime_dir,
};

/// Above so many shards, those that say the same share a line.
const EACH: usize = 32;

/// What looks wrong is looked at again after this time.
const AGAIN: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(super) struct JournalArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what it holds: term, slaves, last deploys, commands, and of each shard the
    /// epoch, the owner and the age of its ticket
    Show {
        #[command(flatten)]
        place: Place,
        /// A line for each shard, however many there are
        #[arg(long)]
        all: bool,
    },
    /// Check its pages, its schema and its rows against each other: ends with 1 when
    /// something is wrong
    Verify {
        #[command(flatten)]
        place: Place,
    },
}

/// Which journal.
#[derive(Debug, Args)]
struct Place {
    /// Configuration file of the master [default: baton/baton.toml in ~/.config
    /// or /etc]
    #[arg(long, env = "BATON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Runtime directory of the master
    #[arg(long, env = "BATON_RUNTIME_DIR", value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Directory of the journal [default: the runtime directory]
    #[arg(long, env = "BATON_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

impl Place {
    /// The journal, and the fleet's file.
    fn files(&self) -> Result<(PathBuf, PathBuf), Error> {
        let file = self.config.clone().or_else(default_file);
        let given = Options {
            runtime_dir: self.runtime_dir.clone(),
            data_dir: self.data_dir.clone(),
            ..Options::default()
        };
        let options = read(file.as_deref(), given)?;
        let runtime_dir = options
            .runtime_dir
            .unwrap_or_else(runtime_dir::default_path);
        let data_dir = options.data_dir.unwrap_or_else(|| runtime_dir.clone());
        Ok((
            data_dir.join(journal::FILE),
            runtime_dir::fleet(&runtime_dir),
        ))
    }
}

pub(super) fn run(arguments: &JournalArguments) -> Result<u8, Error> {
    match &arguments.what {
        What::Show { place, all } => {
            let contents = inspect(&place.files()?.0)?;
            if place.json {
                say(&serde_json::to_string(&contents).unwrap_or_default());
            } else {
                shown(&contents, *all).iter().for_each(|line| say(line));
            }
            Ok(EXIT_DONE)
        }
        What::Verify { place } => {
            let (file, roster) = place.files()?;
            let mut findings = verify(&file, &roster)?;
            if !findings.problems.is_empty() {
                // A master writes a slave into one file before the other.
                #[expect(clippy::disallowed_methods, reason = "a command has one thread")]
                thread::sleep(AGAIN);
                findings = verify(&file, &roster)?;
            }
            let good = findings.problems.is_empty();
            if place.json {
                let object = json!({
                    "ok": good, "file": file, "problems": findings.problems, "notes": findings.notes,
                });
                say(&object.to_string());
            } else {
                let paint = Paint::of_stdout();
                for note in &findings.notes {
                    say(&format!("note: {note}"));
                }
                for problem in &findings.problems {
                    say(&format!("{} {problem}", paint.bad("wrong:")));
                }
                let name = file.display();
                say(&if good {
                    format!("journal {name} is {}", paint.good("good"))
                } else {
                    format!(
                        "journal {name}: {}. Keep a copy; a master that cannot read it sets it aside \
                         and goes on with what the slaves hold, so start none while slaves are unreachable",
                        count(findings.problems.len() as u64, "problem")
                    )
                });
            }
            Ok(if good { EXIT_DONE } else { EXIT_FAILED })
        }
    }
}

fn shown(contents: &Contents, all: bool) -> Vec<String> {
    let paint = Paint::of_stdout();
    let none = || "-".to_owned();
    let mut lines = vec![format!(
        "{}  schema {}, for masters that know {} or later",
        paint.strong(&contents.file.display().to_string()),
        contents.schema,
        contents
            .oldest_reader
            .map_or_else(none, |oldest| oldest.to_string()),
    )];
    lines.push(format!(
        "fleet      {}, start {} of the master, last deploy {}, a master ran {}",
        contents.fleet.as_deref().unwrap_or("-"),
        contents.term,
        contents.last_deploy,
        contents
            .seen_ms_ago
            .map_or_else(|| "never".to_owned(), |ms| format!("{} ago", span(ms))),
    ));
    if !contents.whole {
        lines.push(paint.busy("history    lost once; not every shard has a row again"));
    }
    if let Some(pinned) = &contents.pinned {
        let compression = match pinned.compression.as_str() {
            "" => "no compression",
            compression => compression,
        };
        lines.push(format!(
            "sessions   intents {}, v{} {}, {compression}, large_threshold {}",
            pinned.intents, pinned.api_version, pinned.encoding, pinned.large_threshold
        ));
    }
    if let Some(work) = &contents.work {
        lines.push(format!(
            "work       once-per-bot work at {:.8}, epoch {}",
            work.owner, work.epoch
        ));
    }
    for deploy in &contents.deploys {
        lines.push(told(deploy));
    }
    for command in &contents.commands {
        let words = Value::from(command.command.clone());
        lines.push(format!("command    slot {}: {words}", command.slot));
    }
    for slave in &contents.fenced {
        lines.push(format!("fenced     {slave:.8}"));
    }
    lines.push(String::new());
    let slaves: Vec<_> = contents
        .slaves
        .iter()
        .map(|slave| {
            vec![
                plain(format!("{:.8}", slave.slave)),
                plain(slave.slot.clone()),
                plain(format!("{:.24}", slave.build)),
                plain(slave.pid.to_string()),
                plain(slave.version.to_string()),
            ]
        })
        .collect();
    let head = ["SLAVE", "SLOT", "BUILD", ">PID", ">WIRE"];
    lines.extend(grid(paint, &head, &slaves));
    lines.push(String::new());
    lines.extend(shards(contents, all, paint));
    lines
}

/// `deploy     slot main: 7, begun 9.0 s ago, given up; the last one that was done: 60 s ago`
fn told(deploy: &DeployRow) -> String {
    let mut line = format!("deploy     slot {}: {}", deploy.slot, deploy.deploy);
    if let Some(ms) = deploy.begun_ms_ago {
        line += &format!(", begun {} ago", span(ms));
    }
    match (deploy.ended, deploy.done_ms_ago) {
        (Some("done"), Some(ms)) => line += &format!(", done {} ago", span(ms)),
        (ended, done) => {
            line += &format!(", {}", ended.unwrap_or("no end is known"));
            if let Some(ms) = done {
                line += &format!("; the last one that was done: {} ago", span(ms));
            }
        }
    }
    line
}

/// One line for each, or for all that differ in handled and age only.
fn shards(contents: &Contents, all: bool, paint: Paint) -> Vec<String> {
    let mut rows = Vec::new();
    let mut groups: BTreeMap<Vec<String>, Vec<&ShardRow>> = BTreeMap::new();
    for shard in &contents.shards {
        let mut key = vec![
            shard.epoch.to_string(),
            shard.hold.unwrap_or("-").to_owned(),
            shard.owner.clone().unwrap_or_else(|| "-".to_owned()),
            shard.basis.clone().unwrap_or_else(|| "-".to_owned()),
            shard.ticket.as_ref().map_or_else(
                || "none".to_owned(),
                |ticket| format!("{} at {}", ticket.after, ticket.epoch),
            ),
        ];
        if all || contents.shards.len() <= EACH {
            // Each is a group of its own, in the order of the shards.
            key.insert(0, format!("{:05}", shard.shard));
        }
        groups.entry(key).or_default().push(shard);
    }
    for (key, shards) in &groups {
        let [epoch, hold, owner, basis, ticket] = &key[key.len() - 5..] else {
            continue;
        };
        let numbers: Vec<u64> = shards.iter().map(|shard| shard.shard.into()).collect();
        let tickets = || shards.iter().filter_map(|shard| shard.ticket.as_ref());
        let ages = || tickets().map(|ticket| ticket.age_ms);
        let written = match (ages().min(), ages().max()) {
            (Some(least), Some(most)) if least == most => format!("{} ago", span(least)),
            (Some(least), Some(most)) => format!("{} to {} ago", span(least), span(most)),
            (None, _) | (_, None) => "-".to_owned(),
        };
        let handled = match shards.as_slice() {
            [one] => one.ticket.as_ref().map(|ticket| ticket.handled.to_string()),
            _ => None,
        };
        rows.push(vec![
            plain(ranges(&numbers)),
            plain(epoch.clone()),
            plain(hold.clone()),
            plain(format!("{owner:.8}")),
            plain(basis.clone()),
            plain(ticket.clone()),
            plain(handled.unwrap_or_else(|| "-".to_owned())),
            plain(written),
        ]);
    }
    let head = [
        "SHARDS", ">EPOCH", "HOLD", "OWNER", "FROM", "TICKET", ">HANDLED", "WRITTEN",
    ];
    let mut lines = grid(paint, &head, &rows);
    if rows.is_empty() {
        lines.push("none yet".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deploy_of_a_slot_is_a_line_that_says_how_it_ended() {
        let row = |ended, begun_ms_ago, done_ms_ago| DeployRow {
            slot: "main".to_owned(),
            deploy: 7,
            begun_ms_ago,
            ended,
            done_ms_ago,
        };
        for (row, line) in [
            (
                row(Some("done"), Some(9000), Some(4000)),
                "slot main: 7, begun 9.0 s ago, done 4.0 s ago",
            ),
            (
                row(Some("given up"), Some(9000), Some(60_000)),
                "slot main: 7, begun 9.0 s ago, given up; the last one that was done: 60 s ago",
            ),
            (row(None, None, None), "slot main: 7, no end is known"),
        ] {
            assert_eq!(told(&row), format!("deploy     {line}"));
        }
    }
}
