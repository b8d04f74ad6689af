//! A running fleet, and what a test does with it.

use std::{path::Path, time::Duration};

use baton_discord::{Discord, Fault, RestLine, Traffic};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    builder::Builder,
    error::{Error, Result},
    http::Endpoint,
    ledger::{Ledger, Served},
    parts::kill_processes_naming,
    process::{Process, command},
};

/// Names the fleet in the environment of each of its processes, so that none of them
/// outlives the test.
pub(crate) const MARK: &str = "BATON_TESTING";

/// How long a process that was killed may take to end.
const END: Duration = Duration::from_secs(30);
/// How long a deploy may take.
const DEPLOY: Duration = Duration::from_secs(120);
/// How often the processes of a fleet are killed at its end: who is started meanwhile is
/// killed too, and one that cannot be killed holds nothing up.
const ROUNDS: u32 = 1000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// A simulated Discord, a master and a bot that serves every shard. See the
/// [crate](crate).
///
/// Dropping it kills all of its processes.
pub struct Fleet {
    builder: Builder,
    discord: Discord,
    master: Process,
    admin: Endpoint,
    ledger: Ledger,
    folder: TempDir,
}

pub(crate) struct Parts {
    pub(crate) builder: Builder,
    pub(crate) discord: Discord,
    pub(crate) master: Process,
    pub(crate) admin: Endpoint,
    pub(crate) folder: TempDir,
}

impl Fleet {
    /// A fleet of four shards with 20 events a second on each.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            builder,
            discord,
            master,
            admin,
            folder,
        } = parts;
        Self {
            ledger: Ledger::new(builder.shard_count()),
            builder,
            discord,
            master,
            admin,
            folder,
        }
    }

    /// The simulated Discord: its ledgers, counts and settings.
    #[must_use]
    pub const fn discord(&self) -> &Discord {
        &self.discord
    }

    /// What bots asked of its REST interface, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<RestLine> {
        self.discord.rest(0)
    }

    /// Carries out a fault of the simulated Discord, or lets it wait for its moment.
    ///
    /// # Errors
    /// It is out of its limits.
    pub fn fault(&self, fault: Fault) -> Result<()> {
        Ok(self.discord.fault(fault)?)
    }

    /// From now on shards may take so long until they serve, or what came is handled.
    pub fn set_patience(&mut self, patience: Duration) {
        self.builder = std::mem::take(&mut self.builder).patience(patience);
    }

    /// Where the master's and the bot's logs are; deleted with the fleet.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `baton-master status --json` says.
    ///
    /// # Errors
    /// The master does not answer.
    pub async fn status(&self) -> Result<Value> {
        self.admin.get("/v1/status").await
    }

    /// Waits until every shard serves.
    ///
    /// # Errors
    /// Not in time ([`Builder::patience`]).
    pub async fn serves(&self) -> Result<()> {
        self.until("every shard to serve", |status| {
            let shards = shards(status);
            shards.len() == self.builder.shard_count() as usize
                && shards.iter().all(|shard| shard["state"] == "serving")
        })
        .await
    }

    /// Deploys the bot by this command line, as `baton-master deploy` does, and waits
    /// for the end of the deploy, its soak included.
    ///
    /// # Errors
    /// The deploy did not end well: the error has what the command said.
    pub async fn deploy<A: Into<String>>(
        &mut self,
        command_line: impl IntoIterator<Item = A>,
    ) -> Result<()> {
        let config = self.folder().join("baton.toml").display().to_string();
        let mut arguments = vec!["deploy".to_owned(), "--config".to_owned(), config];
        arguments.extend(["--wait", "--"].map(str::to_owned));
        arguments.extend(command_line.into_iter().map(Into::into));
        let mut command = command("baton-master", arguments)?;
        command.kill_on_drop(true);
        let ended = timeout(DEPLOY, command.output()).await;
        let output = ended
            .map_err(|_| Error::Late(format!("the deploy did not end in {DEPLOY:?}")))?
            .map_err(Error::io("run baton-master deploy"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(Error::Process {
            name: "baton-master deploy".to_owned(),
            detail: format!("{}\n{}", output.status, String::from_utf8_lossy(&said)),
        })
    }

    /// Kills the process that owns shards, as `kill -9` does, and waits until every
    /// shard serves in another one.
    ///
    /// # Errors
    /// No process owns shards, or they do not serve again in time.
    pub async fn kill_bot(&mut self) -> Result<()> {
        let pid = self.bot().await?;
        kill(pid, Signal::KILL);
        let other = |status: &Value| owner(status).is_some_and(|owner| owner != pid);
        self.until("another process to own the shards", other)
            .await?;
        self.serves().await
    }

    /// Kills the master, starts it again, and waits until it knows that every shard
    /// serves. The bot serves on meanwhile.
    ///
    /// # Errors
    /// The master does not start, or does not see the shards serve in time.
    pub async fn kill_master(&mut self) -> Result<()> {
        self.master.signal(Signal::KILL);
        self.master.ended(END).await?;
        let started = self.builder.start_master(self.folder(), &self.discord);
        let (master, ready) = started.await?;
        self.master = master;
        self.admin = ready.admin;
        self.serves().await
    }

    /// The process that owns shards.
    ///
    /// # Errors
    /// The master does not answer, or nobody owns one.
    pub async fn bot(&self) -> Result<u32> {
        owner(&self.status().await?)
            .ok_or_else(|| Error::answer("/v1/status", "no process owns shards"))
    }

    /// Ends the traffic, lets the bot finish what came, and compares it with what
    /// Discord sent: since its first READY no shard had another session, and the bot
    /// finished the last event of each. Traffic goes on afterwards.
    ///
    /// What a bot finished is what it told the master: an event whose `Ack` is dropped.
    /// An event that was handled twice after a crash, and marked so, is not lost.
    ///
    /// # Errors
    /// [`Error::Lost`] with one line for each shard that lost events, or did not finish
    /// in time.
    pub async fn nothing_lost(&mut self) -> Result<()> {
        self.discord.set_traffic(None, &Traffic::default())?;
        let deadline = Instant::now() + self.builder.patience_of();
        let verdict = loop {
            let status = self.status().await?;
            let served = served(&status);
            let verdict = self.ledger.judge(&self.discord, &served);
            if verdict.is_ok() || Instant::now() > deadline || self.ledger.is_final(&served) {
                break verdict;
            }
            sleep(LOOK).await;
        };
        self.discord.set_traffic(None, &self.builder.traffic())?;
        verdict
    }

    /// As [`nothing_lost`](Self::nothing_lost), for a test.
    ///
    /// # Panics
    /// Events were lost: the message says of which shards, and how it is known.
    #[track_caller]
    pub fn assert_nothing_lost(&mut self) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            if let Err(error) = self.nothing_lost().await {
                let log = self.master.last_words();
                panic!(
                    "{place}: {}\nthe master's log ends with\n  {log}",
                    error.chain()
                );
            }
        }
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.builder.patience_of();
        loop {
            let status = self.status().await?;
            if is_so(&status) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.master.last_words();
                return Err(Error::Late(format!(
                    "waited {:?} for {what}; the master's log ends with\n  {log}",
                    self.builder.patience_of()
                )));
            }
            sleep(LOOK).await;
        }
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The master first, or it starts another bot.
        self.master.signal(Signal::KILL);
        let mark = self.folder.path().display().to_string();
        for _ in 0..ROUNDS {
            if !kill_processes_naming(&mark) {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn shards(status: &Value) -> &[Value] {
    status["shards"].as_array().map_or(&[], Vec::as_slice)
}

fn owner(status: &Value) -> Option<u32> {
    let slaves = status["slaves"].as_array()?;
    let owner = slaves.iter().find(|slave| slave["role"] == "owner")?;
    u32::try_from(owner["pid"].as_u64()?).ok()
}

/// What the master was told of each shard.
fn served(status: &Value) -> Vec<Served> {
    let read = |shard: &Value| {
        Some(Served {
            shard: u32::try_from(shard["shard"].as_u64()?).ok()?,
            handled: shard["handled"].as_u64()?,
        })
    };
    shards(status).iter().filter_map(read).collect()
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}
