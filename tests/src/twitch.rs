//! A fleet on the simulated Twitch: a master, processes of `baton-twitch`, and what they wrote
//! down.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use twitch_mock::{Config, Reply, Request, Scope, Twitch, Verdict};

use crate::{
    error::{Error, Result},
    http::Endpoint,
    news::News,
    parts::{Ready, folders, kill_processes_naming},
    process::{Process, command, program},
};

/// How a fleet on Twitch is set up.
#[derive(Clone, Debug)]
pub struct TwitchOptions {
    /// The simulated Twitch.
    pub twitch: Config,
    /// Units that the fleet may have.
    pub units: u32,
    /// Standbys that the master keeps.
    pub standbys: u32,
    /// Further lines of the master's `[limits]`.
    pub limits: String,
    /// Further arguments of every process.
    pub arguments: Vec<String>,
    /// Whether the folder stays.
    pub keep: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct TwitchFleet {
    /// The simulated Twitch.
    pub twitch: Twitch,
    /// The master.
    pub master: Process,
    /// What it tells.
    pub news: News,
    /// Where it is operated.
    pub admin: Endpoint,
    folder: PathBuf,
    arguments: Vec<String>,
    _temporary: Option<TempDir>,
}

/// An event as a process wrote it down.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Written {
    /// When, on the monotonic clock, in microseconds.
    pub at_us: u64,
    /// The unit that had it.
    pub unit: u32,
    /// Its id.
    #[serde(default)]
    pub id: Option<String>,
    /// Whether it may have been handled before.
    #[serde(default)]
    pub may_repeat: bool,
}

impl TwitchFleet {
    /// Starts the simulated Twitch, has `prepare` set it up, and starts the master, which starts
    /// the first process.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start(
        options: TwitchOptions,
        prepare: impl FnOnce(&Twitch) -> Result<Vec<String>>,
    ) -> Result<Self> {
        Self::start_in(options, |_, twitch| prepare(twitch)).await
    }

    /// The same, for a set-up that needs the fleet's folder.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start_in(
        options: TwitchOptions,
        prepare: impl FnOnce(&Path, &Twitch) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix("baton-")
            .tempdir()
            .map_err(Error::io("make a folder"))?;
        let (folder, temporary) = match options.keep {
            true => (temporary.keep(), None),
            false => (temporary.path().to_owned(), Some(temporary)),
        };
        folders(&folder, &["logs", "sinks", "run"])?;
        let twitch = Twitch::start(options.twitch)
            .await
            .map_err(|error| Error::answer("the simulated Twitch", error))?;
        let mut arguments = arguments(&folder, &twitch)?;
        arguments.extend(prepare(&folder, &twitch)?);
        arguments.extend(options.arguments);
        let log = folder.join("logs/slaves.log");
        let toml = format!(
            "platform = \"twitch\"\nname = \"twitch\"\nruntime_dir = {run:?}\n\
             listen = \"127.0.0.1:0\"\nshard_count = {units}\nstandbys = {standbys}\n\
             [limits]\n{limits}\
             [[slot]]\nname = \"main\"\nlog = {log:?}\ncommand = {command:?}\n",
            run = folder.join("run").display().to_string(),
            units = options.units,
            standbys = options.standbys,
            limits = options.limits,
            log = log.display().to_string(),
            command = line(&arguments, "v1")?,
        );
        let config = folder.join("baton.toml");
        fs::write(&config, toml).map_err(Error::io("write the master's configuration"))?;
        let config = config.display().to_string();
        let mut master = command("baton-master", ["run", "--json-ready", "--config", &config])?;
        master.env("BATON_LOG", "info,baton_master=debug");
        let logs = folder.join("logs");
        let (master, ready) = Process::start("master", &logs, master, true).await?;
        let admin = Ready::read(&ready)?.admin;
        Ok(Self {
            twitch,
            master,
            news: News::open(&admin).await?,
            admin,
            folder,
            arguments,
            _temporary: temporary,
        })
    }

    /// Where everything of it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the master says of the fleet.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> Result<Value> {
        self.admin.get("/v1/status").await
    }

    /// Waits until every unit serves.
    ///
    /// # Errors
    /// One does not within `limit`.
    pub async fn all_serving(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let status = self.status().await?;
            let units = status["shards"].as_array().cloned().unwrap_or_default();
            let serves = |unit: &Value| unit["state"] == "serving";
            if !units.is_empty() && units.iter().all(serves) {
                return Ok(());
            }
            if Instant::now() > end {
                let waits = units.iter().filter(|unit| !serves(unit));
                let waits: Vec<_> = waits.map(|unit| unit.to_string()).take(3).collect();
                return Err(Error::Late(format!(
                    "units do not serve: {}",
                    waits.join(", ")
                )));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deploys a build, and waits until it is done.
    ///
    /// # Errors
    /// It is refused, or is not done within `limit`.
    pub async fn deploy(&mut self, build: &str, limit: Duration) -> Result<Value> {
        let order = json!({ "slot": "main", "command": line(&self.arguments, build)? });
        let accepted: Value = self.admin.ask("/v1/deploy", &order).await?;
        let deploy = accepted["deploy"].clone();
        let ended = self
            .news
            .wait("the end of the deploy", limit, |event| {
                event["type"] == "deploy_ended" && event["deploy"] == deploy
            })
            .await?;
        match ended["outcome"].as_str() {
            Some("done") => Ok(ended),
            _ => Err(Error::answer("the deploy", ended)),
        }
    }

    /// Kills the process that serves, as `kill -9` does.
    ///
    /// # Errors
    /// None serves.
    pub async fn kill_owner(&self) -> Result<()> {
        let status = self.status().await?;
        let slaves = status["slaves"].as_array().cloned().unwrap_or_default();
        let owner = slaves
            .iter()
            .find(|slave| slave["shards"].as_u64() > Some(0));
        let pid = owner.and_then(|slave| slave["pid"].as_i64());
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(|| Error::answer("the status", &status["slaves"]))?;
        kill_process(pid, Signal::KILL).map_err(|error| Error::answer("kill", error))
    }

    /// Everything that the processes wrote down, in the order of its time.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn written(&self) -> Result<Vec<Written>> {
        let mut all = Vec::new();
        let folder = fs::read_dir(self.folder.join("sinks")).map_err(Error::io("read sinks"))?;
        for file in folder.flatten() {
            let text = fs::read_to_string(file.path()).map_err(Error::io("read a sink"))?;
            // The last line of a killed process may be cut off: it is not finished.
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            all.extend(lines);
        }
        all.sort_by_key(|event: &Written| event.at_us);
        Ok(all)
    }

    /// What the simulated Twitch says of what was written down.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn judge(&self) -> Result<Verdict> {
        let written = self.written()?;
        let seen: Vec<String> = written.into_iter().filter_map(|event| event.id).collect();
        Ok(self.twitch.judge(&seen, &Scope::default()))
    }
}

impl Drop for TwitchFleet {
    fn drop(&mut self) {
        kill_processes_naming(&self.folder.display().to_string());
    }
}

/// What every process of the fleet is told.
fn arguments(folder: &Path, twitch: &Twitch) -> Result<Vec<String>> {
    let secret = folder.join("client-secret");
    fs::write(&secret, "secret").map_err(Error::io("write the client secret"))?;
    let addresses = twitch
        .addresses()
        .ok_or_else(|| Error::answer("the simulated Twitch", "it has no addresses"))?;
    let sink = format!("file:{}/sinks/%p.jsonl", folder.display());
    Ok([
        ("--client-id", "client".to_owned()),
        ("--client-secret-file", secret.display().to_string()),
        ("--helix-url", addresses.helix.clone()),
        ("--oauth-url", addresses.oauth.clone()),
        ("--eventsub-url", addresses.eventsub.clone()),
        ("--irc", addresses.irc.to_string()),
        ("--sink", sink),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect())
}

fn line(arguments: &[String], build: &str) -> Result<Vec<String>> {
    let mut line = vec![program("baton-twitch")?.display().to_string()];
    line.extend(arguments.iter().cloned());
    line.extend(["--build".to_owned(), build.to_owned()]);
    Ok(line)
}

/// A token of the application of the simulated Twitch.
///
/// # Errors
/// It gives none.
pub fn app_token(twitch: &Twitch) -> Result<String> {
    let reply = twitch.helix(&Request {
        method: "POST".to_owned(),
        path: "/oauth2/token".to_owned(),
        body: "client_id=client&client_secret=secret&grant_type=client_credentials".to_owned(),
        ..Request::default()
    });
    let token = reply.body["access_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| Error::answer("the simulated Twitch", format!("{reply:?}")))
}

/// Makes a conduit with so many shards, and subscriptions to the chat of the first channels.
///
/// # Errors
/// The simulated Twitch refuses one of them.
pub fn conduit(twitch: &Twitch, shards: u32, channels: u32) -> Result<String> {
    let token = app_token(twitch)?;
    let ask = |method: &str, target: &str, body: Value| -> Result<Reply> {
        let reply = twitch.helix(&Request::new(method, target, &token, &body));
        match (200..300).contains(&reply.status) {
            true => Ok(reply),
            false => Err(Error::answer("the simulated Twitch", format!("{reply:?}"))),
        }
    };
    let made = ask(
        "POST",
        "/helix/eventsub/conduits",
        json!({ "shard_count": shards }),
    )?;
    let id = made.body["data"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for channel in 0..channels {
        let broadcaster = (FIRST_CHANNEL + u64::from(channel)).to_string();
        ask(
            "POST",
            "/helix/eventsub/subscriptions",
            json!({
                "type": "channel.chat.message",
                "version": "1",
                "condition": { "broadcaster_user_id": broadcaster, "user_id": BOT },
                "transport": { "method": "conduit", "conduit_id": id },
            }),
        )?;
    }
    Ok(id)
}

/// How many shards of its conduits have a session.
///
/// # Errors
/// It does not say.
pub fn enabled_shards(twitch: &Twitch) -> Result<usize> {
    let token = app_token(twitch)?;
    let ask = |target: &str| twitch.helix(&Request::new("GET", target, &token, &Value::Null));
    let conduits = ask("/helix/eventsub/conduits").body;
    let id = conduits["data"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let target = format!("/helix/eventsub/conduits/shards?conduit_id={id}&status=enabled");
    let shards = ask(&target).body;
    let none = || Error::answer("the simulated Twitch", &shards);
    Ok(shards["data"].as_array().ok_or_else(none)?.len())
}

/// The id of `channel1` at the simulated Twitch.
pub const FIRST_CHANNEL: u64 = 100_001;

/// The user as whom chat is read.
const BOT: &str = "1";
