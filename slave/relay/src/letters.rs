//! `baton-slave letters`: what no worker and no shard could take. This program knows the broker
//! and how it lets a process in; a master does not.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use baton_sink::{DeadLetter, Letters, SinkConfig};
use baton_slave::Error;
use clap::Subcommand;
use serde_json::{Value, json};

/// All is well.
const EXIT_WELL: u8 = 0;
/// The broker failed.
const EXIT_FAILED: u8 = 1;
/// Nothing is there.
const EXIT_NOTHING: u8 = 3;

/// What is to be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Name the oldest ones: id, where each came from, and why it is dead
    List {
        /// So many of them
        #[arg(long, value_name = "N", default_value_t = 100)]
        most: usize,
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one with all that it says
    Show {
        /// As list names it
        id: String,
    },
    /// Send some again to where they came from. An event comes behind newer ones then
    Send {
        /// As list names them
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All that are there now
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// Does it, and says what was found.
pub(crate) fn run(verb: &Verb, config: SinkConfig) -> Result<ExitCode, Error> {
    let runtime = crate::runtime(tokio::runtime::Builder::new_current_thread())?;
    let done = runtime.block_on(does(verb, config));
    let code = done.unwrap_or_else(|error| {
        baton_slave::log::line(&format!("baton-slave: letters: {error}"));
        EXIT_FAILED
    });
    Ok(ExitCode::from(code))
}

async fn does(verb: &Verb, config: SinkConfig) -> Result<u8, baton_sink::Error> {
    let letters = Letters::open(config).await?;
    let mut found = false;
    match verb {
        Verb::List { most, json } => {
            for letter in letters.list(*most).await? {
                found = true;
                say(&if *json {
                    as_json(&letter, false).to_string()
                } else {
                    line(&letter)
                });
            }
        }
        Verb::Show { id } => {
            if let Some(letter) = letters.show(id).await? {
                found = true;
                say(&as_json(&letter, true).to_string());
            }
        }
        Verb::Send { ids, all } => {
            let mut ids = ids.clone();
            if *all {
                let there = letters.list(usize::MAX).await?;
                ids = there.into_iter().map(|letter| letter.id).collect();
            }
            found = !ids.is_empty();
            for id in ids {
                let sent = letters.send(&id).await?;
                found &= sent;
                let how = if sent { "sent again" } else { "not there" };
                say(&format!("{} {how}", id.escape_debug()));
            }
        }
    }
    Ok(if found { EXIT_WELL } else { EXIT_NOTHING })
}

/// Of one line, whatever stands in it.
fn line(letter: &DeadLetter) -> String {
    let DeadLetter {
        id,
        from,
        reason,
        payload,
        ..
    } = letter;
    let from = if from.is_empty() { "?" } else { from };
    format!(
        "{}  {}  {} bytes  {}",
        id.escape_debug(),
        from.escape_debug(),
        payload.len(),
        reason.escape_debug()
    )
}

fn as_json(letter: &DeadLetter, whole: bool) -> Value {
    let mut said = json!({
        "id": letter.id,
        "from": letter.from,
        "reason": letter.reason,
        "bytes": letter.payload.len(),
    });
    if whole {
        let headers = letter.headers.iter().cloned();
        said["headers"] = headers.map(|(name, value)| (name, json!(value))).collect();
        said["payload"] = json!(String::from_utf8_lossy(&letter.payload));
    }
    said
}

/// Writes a line to standard output; nobody may read it.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
