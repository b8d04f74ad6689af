//! The bots of the proxy's guide, run as they stand there beside a fleet: started, killed
//! and started again.
//!
//! `scripts/clients` installs their libraries. Where they are not, a test says so and passes
//! over; in CI it fails.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use baton_testing::{Fleet, process::program};
use baton_tests::fleet::own_proxy;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use super::{Kind, of, root};

const GUIDE: &str = "docs/proxy.md";
/// The token of the fleet's bot.
const TOKEN: &str = "MTA1.simulated.token";
/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// What stands between a bot and Discord's REST: its address is in the library, and a bot
/// of the guide does not name it.
const PYTHON: &str = r#"
import os
text = open(os.environ["BOT"]).read()
if "import discord" in text:
    import discord.http
    discord.http.Route.BASE = os.environ["REST"]
if "import nextcord" in text:
    import nextcord.http
    nextcord.http.Route.BASE = os.environ["REST"]
if "import hikari" in text:
    from hikari import urls
    urls.REST_API_URL = os.environ["REST"]
"#;
const NODE: &str = r#"
import { createRequire } from "node:module";
import { DefaultRestOptions } from "@discordjs/rest";
DefaultRestOptions.api = process.env.REST_WITHOUT_VERSION;
createRequire(import.meta.url)("@discordjs/rest").DefaultRestOptions.api = process.env.REST_WITHOUT_VERSION;
"#;

/// Where the libraries are; `None`: it was said, past the harness, that they are not there.
fn libraries() -> Option<PathBuf> {
    let folder = std::env::var_os("BATON_CLIENTS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| root().join("target/clients"));
    if folder.join("done").is_file() {
        return Some(folder.canonicalize().unwrap());
    }
    let what = format!("{} is missing: scripts/clients", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{what}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{test}: PASSED OVER: {what}");
    None
}

/// A bot of the guide, as a file, and how it is run.
struct Bot {
    folder: TempDir,
    kind: Kind,
    libraries: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Bot {
    /// The one whose first line is this comment.
    fn named(name: &str, libraries: PathBuf) -> Self {
        let is_bot = |kind: &Kind| matches!(kind, Kind::Python | Kind::Node);
        let mut blocks = of(GUIDE, is_bot);
        let is_named = |text: &str| {
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches(['#', '/', ' ']) == name
        };
        let block = blocks.find(|block| is_named(&block.text));
        let block = block.unwrap_or_else(|| panic!("{GUIDE} has no bot {name}"));
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        if block.kind == Kind::Python {
            write("bot.py", &block.text);
            write("sitecustomize.py", PYTHON);
        } else {
            write("bot.mjs", &block.text);
            write("before.mjs", NODE);
            let modules = folder.path().join("node_modules");
            std::os::unix::fs::symlink(libraries.join("node_modules"), modules).unwrap();
        }
        Self {
            folder,
            kind: block.kind,
            libraries,
            variables: Vec::new(),
        }
    }

    fn start(&self, address: SocketAddr, fleet: &Fleet) -> Running {
        let file = |name: &str| self.folder.path().join(name);
        let mut command;
        if self.kind == Kind::Python {
            command = Command::new(self.libraries.join("python/bin/python"));
            command.arg(file("bot.py")).env("BOT", file("bot.py"));
            command.env("PYTHONPATH", self.folder.path());
        } else {
            command = Command::new("node");
            command
                .arg("--import")
                .arg(file("before.mjs"))
                .arg(file("bot.mjs"));
        }
        let rest = fleet.discord().rest_url();
        command
            .env("DISCORD_TOKEN", TOKEN)
            .env("GATEWAY", format!("ws://{address}/"))
            .env("REST", format!("{rest}/api/v10"))
            .env("REST_WITHOUT_VERSION", format!("{rest}/api"))
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running {
            child,
            lines,
            ready: None,
            said: Vec::new(),
        }
    }
}

/// A process of a bot, and what it said.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// How many guilds it has.
    ready: Option<usize>,
    /// What it said of which message.
    said: Vec<(String, String)>,
}

impl Running {
    /// Reads what it says until it is ready and has said this of so many messages.
    async fn until(&mut self, word: &str, count: usize) {
        let began = Instant::now();
        while self.ready.is_none() || self.of(word).count() < count {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let line = timeout(left, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("not in time: {:?}", self.said));
            let line = line
                .unwrap()
                .unwrap_or_else(|| panic!("it ended: {:?}", self.said));
            self.take(&line);
        }
    }

    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("ready", guilds)) => self.ready = Some(guilds.parse().unwrap()),
            Some((word, id)) => self.said.push((word.to_owned(), id.to_owned())),
            None => panic!("it says {line:?}"),
        }
    }

    fn of(&self, word: &str) -> impl Iterator<Item = &str> {
        let said = self.said.iter().filter(move |(said, _)| said == word);
        said.map(|(_, id)| id.as_str())
    }

    /// Kills it, and reads the rest.
    async fn kill(mut self) -> Self {
        self.child.kill().await.unwrap();
        while let Ok(Some(line)) = self.lines.next_line().await {
            // The last one may be half of one.
            if line.contains(' ') {
                self.take(&line);
            }
        }
        self
    }
}

/// A fleet of so many shards whose slave serves clients there.
async fn fleet(shards: u32, store: &Path) -> (Fleet, SocketAddr) {
    let address = own_proxy();
    let slave = program("baton-slave").unwrap().display().to_string();
    let (at, store) = (address.to_string(), store.display().to_string());
    let flags = [
        "--build",
        "v1",
        "--intents",
        "GUILDS,GUILD_MESSAGES",
        "--store",
        &store,
        "--proxy",
        &at,
    ];
    let command = std::iter::once(slave).chain(flags.map(str::to_owned));
    let fleet = Fleet::builder().shards(shards).patience(PATIENCE);
    (fleet.start(command).await.unwrap(), address)
}

/// It is killed and started again, and both times it is ready and gets messages.
async fn lives(name: &str, shards: u32) {
    let Some(libraries) = libraries() else {
        return;
    };
    let mut bot = Bot::named(name, libraries);
    bot.variables.push(("SHARDS", shards.to_string()));
    let folder = tempfile::tempdir().unwrap();
    let (mut fleet, address) = fleet(shards, &folder.path().join("store")).await;
    let mut first = bot.start(address, &fleet);
    first.until("message", 30).await;
    let first = first.kill().await;
    let mut second = bot.start(address, &fleet);
    second.until("message", 30).await;
    assert!(first.ready > Some(0), "{name}: it has guilds");
    assert_eq!(first.ready, second.ready, "{name}: the same guilds");
    for bot in [&first, &second] {
        let once: BTreeSet<&str> = bot.of("message").collect();
        assert_eq!(
            once.len(),
            bot.of("message").count(),
            "{name}: nothing twice"
        );
    }
    fleet.assert_nothing_lost().await;
    let spent = fleet.discord().counters().total.identifies;
    assert_eq!(
        spent,
        u64::from(shards),
        "{name}: a bot's restart spends none"
    );
    attended(&fleet, shards).await;
}

/// The master hears of it: every shard has its client, and nothing was lost.
async fn attended(fleet: &Fleet, shards: u32) {
    let began = Instant::now();
    loop {
        let status = fleet.status().await.unwrap();
        let clients = &status["slaves"][0]["clients"];
        if (&clients["attended"], &clients["lost"]) == (&shards.into(), &0.into()) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{clients}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_in_discord_py_runs_as_it_stands_in_the_guide() {
    lives("discord.py", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_in_discord_py_with_shards_runs_as_it_stands_in_the_guide() {
    lives("discord.py, with shards", 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_in_hikari_runs_as_it_stands_in_the_guide() {
    lives("hikari", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_in_discord_js_runs_as_it_stands_in_the_guide() {
    lives("discord.js", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bot_on_discordjs_ws_runs_as_it_stands_in_the_guide() {
    lives("@discordjs/ws", 2).await;
}

/// What it had begun and not finished when it was killed, it gets again.
async fn says_what_is_handled(name: &str) {
    let Some(libraries) = libraries() else {
        return;
    };
    let bot = Bot::named(&format!("{name}, says what is handled"), libraries);
    let folder = tempfile::tempdir().unwrap();
    let (mut fleet, address) = fleet(1, &folder.path().join("store")).await;
    let mut first = bot.start(address, &fleet);
    first.until("message", 60).await;
    let first = first.kill().await;
    let ended: BTreeSet<&str> = first.of("message").collect();
    let cut_off: Vec<&str> = first
        .of("begins")
        .filter(|id| !ended.contains(id))
        .collect();
    assert!(!cut_off.is_empty(), "{name}: some handlers run at any time");
    let mut second = bot.start(address, &fleet);
    second.until("message", 60).await;
    let again: BTreeSet<&str> = second.of("message").collect();
    for id in cut_off {
        assert!(
            again.contains(id),
            "{name}: {id} was cut off, and did not come again"
        );
    }
    let repeated = ended.intersection(&again).count();
    assert!(
        repeated < ended.len(),
        "{name}: what it said it had handled does not come again"
    );
    fleet.assert_nothing_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_in_python_that_says_what_is_handled_gets_the_rest_again() {
    says_what_is_handled("discord.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_in_node_that_says_what_is_handled_gets_the_rest_again() {
    says_what_is_handled("@discordjs/ws").await;
}

#[test]
fn every_bot_of_the_guide_is_run() {
    let run = [
        "discord.py",
        "discord.py, with shards",
        "hikari",
        "discord.js",
        "@discordjs/ws",
        "discord.py, says what is handled",
        "@discordjs/ws, says what is handled",
    ];
    let blocks = of(GUIDE, |kind| matches!(kind, Kind::Python | Kind::Node));
    let named: Vec<String> = blocks
        .map(|block| {
            let first = block.text.lines().next().unwrap_or_default();
            first.trim_start_matches(['#', '/', ' ']).to_owned()
        })
        .collect();
    assert_eq!(named, run);
    for document in super::DOCUMENTS
        .into_iter()
        .filter(|document| *document != GUIDE)
    {
        let others = of(document, |kind| matches!(kind, Kind::Python | Kind::Node));
        assert_eq!(others.count(), 0, "{document}: nobody runs its bots");
    }
}
