//! `baton-slave store`: looking after a store of guilds while bots use it, or while none does.
//!
//! Each shard is opened by a process of its own, this program once more: the engine may end
//! the process that reads a damaged page, and such an end is an answer too.

mod one;
mod places;
mod text;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use baton_protocol::ShardId;
use baton_slave::store::Guilds;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// All is well.
const EXIT_WELL: u8 = 0;
/// The system failed.
const EXIT_FAILED: u8 = 1;
/// Nothing is there.
const EXIT_NOTHING: u8 = 3;
/// Something that is there is damaged, or cannot be read.
const EXIT_WRONG: u8 = 4;
/// An owner did not answer.
const EXIT_BUSY: u8 = 75;

/// What is to be done with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say what there is of each shard, and how much room it takes
    Show(Asked),
    /// Read every document, and check what must hold between them
    Verify(Asked),
    /// Write each state anew into full pages: by the process that owns the shard, or by
    /// this one if none does. Its events wait meanwhile, some 2 ms for each MB
    Compact {
        #[command(flatten)]
        asked: Asked,
        /// Wait so long for an owner to do it
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
        wait: Duration,
    },
}

/// Of what.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// The folder of a store, or one with the stores of several slots and fleets [default:
    /// /dev/shm/baton-UID]
    #[arg(env = "BATON_STORE", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// This shard only
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
    /// As one JSON object: `ok` and `stores`, each with its `shards`
    #[arg(long)]
    json: bool,
    /// In this process
    #[arg(long, hide = true)]
    here: bool,
}

impl Verb {
    const fn name(&self) -> &'static str {
        match self {
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Compact { .. } => "compact",
        }
    }

    const fn asked(&self) -> &Asked {
        match self {
            Self::Show(asked) | Self::Verify(asked) | Self::Compact { asked, .. } => asked,
        }
    }
}

/// Does it, and says what was found.
pub(crate) fn run(verb: &Verb) -> ExitCode {
    let asked = verb.asked();
    let dir = asked.dir.clone().unwrap_or_else(Guilds::usual_dir);
    if let (true, Some(shard)) = (asked.here, asked.shard) {
        let said = one::answer(verb, &dir, ShardId(shard));
        return ExitCode::from(say(&said.to_string()).err().unwrap_or(EXIT_WELL));
    }
    let stores = match places::stores(&dir, asked.shard.map(ShardId)) {
        Ok(stores) => stores,
        Err(error) => {
            baton_slave::log::line(&format!("baton-slave: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let mut worst = EXIT_WELL;
    let mut said = Vec::new();
    let mut lines = Vec::new();
    for (store, shards) in &stores {
        let mut answers = Vec::new();
        for shard in shards {
            let answer = by_another_process(verb, store, *shard);
            worst = worst.max(code(&answer));
            answers.push(answer);
        }
        lines.extend(text::lines(verb, store, &answers));
        said.push(json!({ "dir": store, "shards": answers }));
    }
    if stores.is_empty() {
        worst = EXIT_NOTHING;
        lines.push(format!("{}: no state is here", dir.display()));
    }
    if asked.json {
        lines = vec![json!({ "ok": worst == EXIT_WELL, "stores": said }).to_string()];
    }
    let told = lines.iter().try_for_each(|line| say(line));
    ExitCode::from(told.err().unwrap_or(worst))
}

/// What an answer is worth. The greatest is that of all: an owner that is to be asked again
/// matters more than nothing being there.
fn code(answer: &Value) -> u8 {
    match answer["found"].as_str() {
        Some("well") => EXIT_WELL,
        Some("nothing") => EXIT_NOTHING,
        Some("wrong") => EXIT_WRONG,
        Some("busy") => EXIT_BUSY,
        Some(_) | None => EXIT_FAILED,
    }
}

fn by_another_process(verb: &Verb, store: &Path, shard: ShardId) -> Value {
    let failed = |error: String| json!({"shard": shard, "found": "failed", "error": error});
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(format!("this program cannot be found: {error}")),
    };
    let mut command = Command::new(program);
    command
        .args(["store", verb.name(), "--here", "--shard"])
        .arg(shard.to_string());
    if let Verb::Compact { wait, .. } = verb {
        command.args(["--wait", &format!("{}ms", wait.as_millis())]);
    }
    let output = command.arg("--").arg(store).stdin(Stdio::null()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return failed(format!("no process for it: {error}")),
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(answer) if output.status.success() => answer,
        // What it could not say was a page that led the engine astray.
        Ok(_) | Err(_) => json!({
            "shard": shard,
            "found": "wrong",
            "error": format!("the process that read it ended ({}): a page is damaged", output.status),
        }),
    }
}

/// Writes a line to standard output.
fn say(line: &str) -> Result<(), u8> {
    writeln!(io::stdout(), "{line}").map_err(|_| EXIT_FAILED)
}
