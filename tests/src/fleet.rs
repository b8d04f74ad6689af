//! A whole fleet of real processes in a folder of its own, and the verbs of
//! every end-to-end test: start, deploy, settle, verdict.

mod hosts;
mod lines;
mod masters;
mod options;
mod sockets;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::Instant};

pub use self::options::{Armed, Crash, FleetOptions, SlotOptions, Special};
pub use self::sockets::own_proxy;
pub use self::{
    hosts::AgentOptions,
    lines::HIDDEN,
    masters::{Leads, Other},
};
use self::{
    lines::{ARMED, First, master_toml, slave_arguments, slave_command, start_master, write_toml},
    masters::Seat,
    sockets::own_socket,
};
use crate::{
    discord::{Discord, TOKEN},
    error::{Error, Result},
    files,
    http::Endpoint,
    news::News,
    parts::{folders, kill_processes_naming},
    process::{Process, command},
    records::{Handled, read_sinks},
    shim::{self, Loads},
    truth,
};

/// Discord, a master, slaves.
#[derive(Debug)]
pub struct Fleet {
    /// The simulated Discord.
    pub discord: Discord,
    /// The master's stream of events.
    pub news: News,
    /// Where the master is operated.
    pub admin: Endpoint,
    /// Where the master's page is, if it has one.
    pub admin_http: Option<String>,
    /// The master; of two, the one that led when it was looked at last.
    pub master: Process,
    /// The other one of two.
    pub other: Option<Other>,
    options: FleetOptions,
    folder: PathBuf,
    config: PathBuf,
    listen: String,
    /// Which of two masters `master` is.
    seat: Seat,
    /// How often the master was started.
    starts: u32,
    /// Deletes the folder, unless it is kept.
    _temporary: Option<TempDir>,
}

/// A slave and where it can be asked what it holds.
#[derive(Debug)]
pub struct Slave {
    /// Its process.
    pub process: Process,
}

impl Fleet {
    /// Starts the simulated Discord and the master.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start(options: FleetOptions) -> Result<Self> {
        files::allow(options.discord.shards)?;
        let temporary = tempfile::Builder::new()
            .prefix("baton-")
            .tempdir()
            .map_err(Error::io("make a folder"))?;
        let (folder, temporary) = if options.keep {
            (temporary.keep(), None)
        } else {
            (temporary.path().to_owned(), Some(temporary))
        };
        folders(&folder, &["logs", "sinks", "run"])?;
        if options.special.shim != Loads::Nobody {
            shim::build(&folder).await?;
        }
        let logs = folder.join("logs");
        let discord = Discord::start(&folder, &logs, &options.discord).await?;
        let config = folder.join("baton.toml");
        let listen = match &options.special.network {
            Some(network) => {
                hosts::certificates(&folder, network).await?;
                (network.here(), 0).into()
            }
            None => own_socket(0),
        };
        write_toml(
            &config,
            &master_toml(&folder, &discord, &options, Seat::First, listen)?,
        )?;
        let mut options = options;
        let (first, starts) = match First::start(&folder, &discord, &options, 1).await {
            // It was to die on the way.
            Err(_) if options.special.crash.take().is_some() => {
                (First::start(&folder, &discord, &options, 2).await?, 2)
            }
            first => (first?, 1),
        };
        let First {
            master,
            news,
            admin,
            listen,
            admin_http,
        } = first;
        // The next master listens where the slaves redial.
        write_toml(
            &config,
            &master_toml(&folder, &discord, &options, Seat::First, &listen)?,
        )?;
        let mut fleet = Self {
            news,
            listen,
            admin_http,
            discord,
            admin,
            master,
            other: None,
            options,
            folder,
            config,
            seat: Seat::First,
            starts,
            _temporary: temporary,
        };
        if fleet.options.special.stores.is_some() {
            fleet.start_other().await?;
        }
        Ok(fleet)
    }

    /// From now on the master kills itself at its point.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn arm(&self) -> Result<()> {
        fs::write(self.folder.join(ARMED), "").map_err(Error::io("arm a crash"))
    }

    /// How often a master was started.
    #[must_use]
    pub const fn starts(&self) -> u32 {
        self.starts
    }

    /// Starts the master again, after it was stopped or killed.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart_master(&mut self) -> Result<()> {
        self.starts += 1;
        let (master, _) = start_master(
            &self.folder,
            &self.discord,
            &self.options,
            self.seat,
            self.starts,
        )
        .await?;
        self.master = master;
        self.news = News::open(&self.admin).await?;
        Ok(())
    }

    /// What differs from the usual, for what is started from now on.
    pub const fn special(&mut self) -> &mut Special {
        &mut self.options.special
    }

    /// Where slaves dial the master by TCP.
    #[must_use]
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// Where its logs, sinks and configuration are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a slave of build `build` as an operator's own process.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_slave(&self, build: &str) -> Result<Slave> {
        self.start_slave_with(build, &[]).await
    }

    /// As [`start_slave`](Self::start_slave), with further flags.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_slave_with(&self, build: &str, more: &[&str]) -> Result<Slave> {
        let mut arguments = slave_arguments(&self.folder, &self.discord, &self.options, build);
        arguments.extend(["--master".to_owned(), self.listen.clone()]);
        let run = self.folder.join("run").display().to_string();
        arguments.extend(["--runtime-dir".to_owned(), run]);
        arguments.extend(more.iter().map(|flag| (*flag).to_owned()));
        let mut command = command(&self.options.slave, arguments)?;
        self.slave_environment(&mut command);
        let logs = self.folder.join("logs");
        let (process, _) = Process::start(&format!("slave-{build}"), &logs, command, false).await?;
        Ok(Slave { process })
    }

    /// The command line of `baton-master deploy` for a new build.
    ///
    /// # Errors
    /// A program is not built.
    pub fn deploy_command(&self, build: &str) -> Result<Command> {
        self.deploy_command_with(build, &[])
    }

    /// As [`deploy_command`](Self::deploy_command), with further flags for the
    /// slave.
    ///
    /// # Errors
    /// A program is not built.
    pub fn deploy_command_with(&self, build: &str, more: &[&str]) -> Result<Command> {
        let mut arguments: Vec<String> = ["deploy", "--config"].map(str::to_owned).to_vec();
        arguments.push(self.config.display().to_string());
        arguments.push("--wait".to_owned());
        arguments.push("--".to_owned());
        arguments.extend(self.slave_command(build, more)?);
        let mut command = command("baton-master", arguments)?;
        command.kill_on_drop(true);
        Ok(command)
    }

    /// The command line of an order to the master.
    ///
    /// # Errors
    /// A program is not built.
    pub fn order(&self, order: &[&str]) -> Result<Command> {
        let mut words = order.iter();
        let mut arguments: Vec<String> =
            words.by_ref().take(1).map(|it| (*it).to_owned()).collect();
        arguments.extend(["--config".to_owned(), self.config.display().to_string()]);
        arguments.extend(words.map(|word| (*word).to_owned()));
        let mut command = command("baton-master", arguments)?;
        command.kill_on_drop(true);
        Ok(command)
    }

    /// The command line of a slave that the master launches.
    ///
    /// # Errors
    /// It is not built.
    pub fn slave_command(&self, build: &str, more: &[&str]) -> Result<Vec<String>> {
        let mut command = slave_command(&self.folder, &self.discord, &self.options, build)?;
        command.extend(more.iter().map(|flag| (*flag).to_owned()));
        Ok(command)
    }

    /// The command line of a slave of a host, one of those that the fleet began with.
    ///
    /// # Errors
    /// It is not built.
    pub fn host_command(&self, host: &str, build: &str) -> Result<Vec<String>> {
        let hosts = &self.options.special.hosts;
        let number = hosts.iter().position(|known| *known == host).unwrap_or(0);
        let at = (host, u32::try_from(number).unwrap_or(0));
        lines::host_command(&self.folder, &self.discord, &self.options, at, build)
    }

    /// Starts the agent of a host; `wrapper`: program and arguments that run its command
    /// line, which follows them. Its folder is `agent-HOST`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_agent(&self, host: &str, wrapper: &[&str]) -> Result<Process> {
        self.start_agent_with(&AgentOptions {
            host: host.to_owned(),
            join: self.listen.clone(),
            runs: wrapper.iter().map(|word| (*word).to_owned()).collect(),
            tls: None,
        })
        .await
    }

    fn slave_environment(&self, command: &mut Command) {
        command.env("DISCORD_TOKEN", TOKEN);
        if let Some(ca) = &self.discord.ca {
            command.env("SSL_CERT_FILE", ca);
        }
    }

    /// The master's view of the fleet.
    ///
    /// # Errors
    /// The master does not answer.
    pub async fn status(&self) -> Result<Value> {
        self.admin.get("/v1/status").await
    }

    /// The slave that has the shards, and its process.
    ///
    /// # Errors
    /// There is none, or the master does not answer.
    pub async fn owner(&self) -> Result<(String, u32)> {
        let status = self.status().await?;
        let mut slaves = status["slaves"].as_array().into_iter().flatten();
        let owner = slaves.find(|slave| slave["shards"].as_u64() > Some(0));
        let owner = owner.and_then(|owner| {
            let pid = u32::try_from(owner["pid"].as_u64()?).ok()?;
            Some((owner["slave"].as_str()?.to_owned(), pid))
        });
        owner.ok_or_else(|| Error::answer("the master", status))
    }

    /// Waits until every shard serves.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn all_serving(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status().await?;
            let shards = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
            let serving = shards
                .iter()
                .filter(|shard| shard["state"] == "serving")
                .count();
            if !shards.is_empty() && serving == shards.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Late(format!(
                    "{serving} of {} shards serve after {limit:?}; logs in {}",
                    shards.len(),
                    self.folder.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the slot has this many standbys, each built.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn standing_by(&self, count: u32, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let slot = &self.status().await?["slots"][0];
            if slot["standbys_built"] == count && slot["standbys"] == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Late(format!("{count} standbys: {slot}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until everything that was sent is in the sinks; traffic must be
    /// paused. What is missing then is lost.
    ///
    /// # Errors
    /// The simulated Discord does not answer, or a sink cannot be read.
    pub async fn settle(&self, limit: Duration) -> Result<Vec<Handled>> {
        let deadline = Instant::now() + limit;
        let mut last = usize::MAX;
        loop {
            let sent = self.discord.ledger().await?.len();
            let handled = read_sinks(&self.folder.join("sinks"))?;
            // As many lines as dispatches and nothing new since: settled.
            if (handled.len() >= sent && sent == last) || Instant::now() > deadline {
                return Ok(handled);
            }
            last = sent;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends everything, the slaves first.
    ///
    /// # Errors
    /// A process does not end.
    pub async fn shut_down(mut self) -> Result<()> {
        for slave in self.status().await?["slaves"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let pid = slave["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        self.master.stop().await?;
        self.discord.process().stop().await.map(drop)
    }

    /// Compares the cache of `build` with the truth, on up to `per_shard` guilds
    /// of each shard; gives what differs, for a person.
    ///
    /// # Errors
    /// Either side does not answer.
    pub async fn state_mismatches(&self, build: &str, per_shard: usize) -> Result<Vec<String>> {
        let shards = 0..self.options.discord.shards;
        self.state_mismatches_of(shards, build, per_shard).await
    }

    /// The same of these shards. A slave of one slot of several is at its build, `-`, and the
    /// name of the slot.
    ///
    /// # Errors
    /// Either side does not answer.
    pub async fn state_mismatches_of(
        &self,
        shards: impl IntoIterator<Item = u32>,
        build: &str,
        per_shard: usize,
    ) -> Result<Vec<String>> {
        let slave = Endpoint::Unix(self.folder.join(format!("run/inspect-{build}")));
        let mut wrong = Vec::new();
        for shard in shards {
            let guilds = self.discord.guilds(shard).await?;
            for guild in guilds.into_iter().take(per_shard) {
                let truth = self.discord.truth(guild).await?;
                let difference = match slave.get::<Value>(&format!("/guild/{guild}")).await {
                    Ok(cached) => truth::difference(&truth, &cached),
                    Err(error) => Some(error.to_string()),
                };
                wrong.extend(
                    difference.map(|what| format!("guild {guild} of shard {shard}: {what}")),
                );
            }
        }
        Ok(wrong)
    }

    /// Bytes of every guild in the cache of `build`, as they are copied to the next
    /// owner; from at most `most` of them, spread over all.
    ///
    /// # Errors
    /// The simulated Discord or the slave does not answer.
    pub async fn state_bytes(&self, build: &str, most: usize) -> Result<u64> {
        let slave = Endpoint::Unix(self.folder.join(format!("run/inspect-{build}")));
        let mut guilds = Vec::new();
        for shard in 0..self.options.discord.shards {
            guilds.extend(self.discord.guilds(shard).await?);
        }
        let step = guilds.len().div_ceil(most.max(1)).max(1);
        let (mut bytes, mut seen) = (0, 0);
        for guild in guilds.iter().step_by(step) {
            let json = slave.get_bytes(&format!("/guild/{guild}")).await?;
            bytes += json.len() as u64;
            seen += 1;
        }
        Ok(bytes * guilds.len() as u64 / u64::max(seen, 1))
    }
}

impl Drop for Fleet {
    /// A slave outlives its master on purpose; it must not outlive its test.
    fn drop(&mut self) {
        kill_processes_naming(&self.folder.display().to_string());
    }
}
