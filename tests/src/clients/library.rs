//! Bots on real libraries, as processes: what they say on standard output is what they
//! received, and what they say to their gateway is tapped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    follow::{Dispatch, Follower, read_stamp},
    journal::Journal,
    tap::{Tap, Word},
};
use crate::{
    discord::{INTENTS, TOKEN},
    error::{Error, Result},
};

/// Words of a client that may wait. One that finds no room is not heard: repeats of what it
/// acknowledged would be excused.
const WORDS: usize = 4096;

/// A library, and how what it gets is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// `none`, `zlib-stream`, `zstd-stream` or `payload`.
    pub compression: &'static str,
    /// The file of the bot, in the folder of bots.
    script: &'static str,
}

/// Every library with each compression that it has.
pub const LIBRARIES: [Library; 8] = [
    library("discord.py", "zlib-stream", "discordpy.py"),
    library("discord.py", "zstd-stream", "discordpy.py"),
    library("hikari", "none", "hikari_bot.py"),
    library("hikari", "payload", "hikari_bot.py"),
    library("hikari", "zlib-stream", "hikari_bot.py"),
    library("hikari", "zstd-stream", "hikari_bot.py"),
    library("@discordjs/ws", "none", "discordjs.mjs"),
    library("@discordjs/ws", "zlib-stream", "discordjs.mjs"),
];

const fn library(name: &'static str, compression: &'static str, script: &'static str) -> Library {
    Library {
        name,
        compression,
        script,
    }
}

/// What runs them.
#[derive(Clone, Debug)]
pub struct Tools {
    /// A Python that has discord.py and hikari.
    pub python: PathBuf,
    /// A folder whose `node_modules` has @discordjs/ws.
    pub modules: PathBuf,
    /// The folder of bots.
    pub bots: PathBuf,
}

impl Tools {
    /// In the folder of `scripts/clients` that `BATON_CLIENTS` names.
    ///
    /// # Errors
    /// It names none.
    pub fn from_environment() -> Result<Self> {
        let name = "BATON_CLIENTS";
        let folder = std::env::var_os(name).map(PathBuf::from);
        let missing = || Error::answer(name, "it is not set: scripts/demo sets it");
        let folder = folder.ok_or_else(missing)?;
        Ok(Self {
            python: folder.join("python/bin/python"),
            modules: folder,
            bots: Path::new(env!("CARGO_MANIFEST_DIR")).join("../slave/proxy/tests/clients"),
        })
    }
}

/// One process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    life: u32,
    child: Child,
    journal: Journal,
    /// Ends when its output does.
    follows: JoinHandle<()>,
    _tap: Tap,
}

impl Process {
    /// Starts a bot on `library` for one of `shards` shards; its errors go to `log`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(
        library: &Library,
        tools: &Tools,
        gateway: SocketAddr,
        (shard, shards): (u32, u32),
        life: u32,
        journal: &Journal,
        log: &Path,
    ) -> Result<Self> {
        let (words, said) = mpsc::channel(WORDS);
        let tap = Tap::lay(gateway, words).await?;
        let is_node = library.script.ends_with("mjs");
        let mut command = match is_node {
            true => Command::new("node"),
            false => Command::new(&tools.python),
        };
        let errors = std::fs::File::options().create(true).append(true).open(log);
        let errors = errors.map_err(Error::io(format!("open {}", log.display())))?;
        command
            .arg(tools.bots.join(library.script))
            .env("GATEWAY", format!("ws://{}/", tap.address()))
            .env("TOKEN", TOKEN)
            // A client gets the events of what it asks for, and all are judged.
            .env("INTENTS", INTENTS.to_string())
            .env("SHARD", shard.to_string())
            .env("SHARDS", shards.to_string())
            .env("COMPRESSION", library.compression)
            .env("MODULES", &tools.modules)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(errors))
            .kill_on_drop(true);
        let starts = Error::io(format!("start a bot on {}", library.name));
        let mut child = command.spawn().map_err(starts)?;
        let output = child.stdout.take();
        let output = output.ok_or_else(|| Error::answer(library.name, "it has no output"))?;
        let follower = Follower::new(journal.clone(), life, shard);
        let follows = tokio::spawn(follow(follower, journal.clone(), output, said));
        Ok(Self {
            life,
            child,
            journal: journal.clone(),
            follows,
            _tap: tap,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// Whether it has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|code| code.is_some())
    }

    /// `kill -9`. What it wrote before is read to the end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(mut self) -> Result<()> {
        let killed = self.child.kill().await;
        self.journal.breaks();
        killed.map_err(Error::io("kill a bot"))?;
        let _ = (&mut self.follows).await;
        Ok(())
    }
}

/// Reads what a bot says on both sides, until it ends.
async fn follow(
    mut follower: Follower,
    journal: Journal,
    output: impl AsyncRead + Unpin,
    mut said: mpsc::Receiver<Word>,
) {
    let mut lines = BufReader::new(output).lines();
    // What a RESUME acknowledges, until something follows on it.
    let (mut unheard, mut is_tapped) = (None, true);
    loop {
        tokio::select! {
            // An answer is to what was written before it.
            biased;
            line = lines.next_line() => {
                let Ok(Some(line)) = line else {
                    return;
                };
                let Ok(line) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if let Some(guild) = line.get("joined") {
                    follower.strange(&format!("guild {guild} was greeted as a new one"));
                }
                if let Some(version) = line["version"].as_str() {
                    journal.is_version(follower.life(), version);
                }
                let Some(kind) = line["t"].as_str() else {
                    continue;
                };
                match (kind, unheard.take()) {
                    ("READY", _) | (_, None) => {}
                    (_, Some(sequence)) => follower.says(sequence),
                }
                let guilds = line["guilds"].as_array().into_iter().flatten();
                follower.dispatch(Dispatch {
                    kind,
                    sequence: line["s"].as_u64(),
                    stamp: line["stamp"].as_str().and_then(read_stamp),
                    guild: line["guild"].as_str(),
                    guilds: guilds.filter_map(|id| id.as_str().map(str::to_owned)).collect(),
                });
            }
            word = said.recv(), if is_tapped => match word {
                Some(Word::Beat(sequence)) => follower.says(sequence),
                Some(Word::Resume(sequence)) => unheard = Some(sequence),
                Some(Word::End) => journal.breaks(),
                None => is_tapped = false,
            },
        }
    }
}
