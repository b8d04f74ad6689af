//! One run's fleet, with a wire in front of the master and one in front of the
//! simulated Discord, and the verbs of every row: deploy, reach a phase, strike,
//! heal, wait until it is calm.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{hunt, phase::Phase, wire::Wire};
use crate::{
    demo::now_us,
    discord::{Counts, DiscordOptions},
    error::{Error, Result},
    fleet::{Armed, Crash, Fleet, FleetOptions, Special},
    shim::Loads,
};

/// What a run needs that is not like every other run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second on each shard.
    pub rate: f64,
    /// Milliseconds that a handler takes.
    pub handler_ms: u64,
    /// How long each byte takes between master and slaves during a deploy: so
    /// long does each step of a migration take at least, and can be hit.
    pub pace: Duration,
    /// How long there is traffic before anything happens.
    pub warm: Duration,
    /// How long the old slave stays ready after a deploy.
    pub soak: Duration,
    /// Further flags of the simulated Discord.
    pub discord: Vec<String>,
    /// Limits of the master that differ from [`limits`].
    pub limits: BTreeMap<&'static str, String>,
    /// Whether slaves write their state down.
    pub snapshots: Snapshots,
    /// Standbys of the slot.
    pub standbys: u32,
    /// Where the first master kills itself.
    pub crash: Option<Crash>,
    /// Who can be struck by faults of the C library.
    pub shim: Loads,
    /// What build the first master is like, and the later ones.
    pub masters: [Option<&'static str>; 2],
    /// Whether shards are sealed late.
    pub late_seal: bool,
    /// Seed of traffic and guilds.
    pub seed: u64,
}

/// Whether slaves write their state down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// Each 300 ms.
    On,
    /// Never: state dies with its process.
    Off,
}

impl Setup {
    /// Four shards that are busy enough to notice a quarter of a second.
    #[must_use]
    pub fn usual(seed: u64) -> Self {
        Self {
            shards: 4,
            rate: 40.0,
            handler_ms: 0,
            pace: Duration::from_millis(80),
            warm: Duration::from_millis(400),
            soak: Duration::from_millis(800),
            discord: Vec::new(),
            limits: BTreeMap::new(),
            snapshots: Snapshots::On,
            standbys: 0,
            crash: None,
            shim: Loads::Nobody,
            masters: [None; 2],
            late_seal: false,
            seed,
        }
    }
}

/// The master's limits, scaled down so that a run takes seconds.
fn limits() -> BTreeMap<&'static str, String> {
    [
        ("contact", "300ms"),
        ("adopt_grace", "1500ms"),
        ("ready", "6s"),
        ("seal", "2s"),
        ("drain", "2s"),
        ("no_progress", "2500ms"),
        ("copy", "4s"),
        ("retire", "3s"),
        ("backoff", "200ms"),
        ("backoff_max", "2s"),
        ("shard_in_hand", "3s"),
        ("ping", "300ms"),
        ("hang", "1500ms"),
        ("checkpoint_to_disk", "200ms"),
        ("width", "4"),
    ]
    .into_iter()
    .map(|(name, limit)| (name, limit.to_owned()))
    .collect()
}

/// Who can be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The slave that a deploy replaces.
    Old,
    /// The slave that comes.
    New,
    /// The master.
    Master,
}

/// The build that serves first, the one that a deploy brings, and the one after.
pub const FIRST: &str = "v1";
/// See [`FIRST`].
pub const SECOND: &str = "v2";
/// See [`FIRST`].
pub const THIRD: &str = "v3";

/// Something was struck, and later everything was calm again.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// When, in microseconds of the host's monotonic clock.
    pub at_us: u64,
    /// When it was calm again; `None`: not yet.
    pub calm_us: Option<u64>,
}

/// A cold start takes at most this long on a slow host.
const START: Duration = Duration::from_secs(40);

/// A phase is reached within this time.
const REACH: Duration = Duration::from_secs(30);

/// A supervisor starts a master that ended again after this time.
const SUPERVISE: Duration = Duration::from_millis(300);

/// See the [module](self).
#[derive(Debug)]
pub struct Scene {
    /// The processes.
    pub fleet: Fleet,
    /// Between the slaves and the master.
    pub to_master: Wire,
    /// Between the slaves and the simulated Discord.
    pub to_discord: Wire,
    /// How it was set up.
    pub setup: Setup,
    /// What the cold start cost.
    pub cold: Counts,
    /// What was struck so far.
    pub strikes: Vec<Strike>,
    /// How the first deploy ended, as far as the master told it.
    pub outcome: Option<Value>,
    /// Everything that masters told before the present one.
    pub told: Vec<Value>,
    /// Whether the supervisor starts a master again.
    pub supervised: bool,
    /// The process of the slave that serves, or that the deploy replaces.
    old: u32,
    /// The build that the last deploy brings.
    new: String,
    frozen: Vec<u32>,
    deploy: Option<u64>,
}

impl Scene {
    /// Starts everything; returns when every shard serves and traffic flows.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(setup: Setup) -> Result<Self> {
        let (to_master, to_discord) = (Wire::lay().await?, Wire::lay().await?);
        let fleet = Fleet::start(options(&setup, &to_master, &to_discord)).await?;
        to_discord.lead_to(address(&fleet.discord.gateway_url)?);
        to_master.lead_to(address(fleet.listen())?);
        let mut scene = Self {
            fleet,
            to_master,
            to_discord,
            cold: Counts::default(),
            strikes: Vec::new(),
            outcome: None,
            told: Vec::new(),
            supervised: true,
            old: 0,
            new: String::new(),
            frozen: Vec::new(),
            deploy: None,
            setup,
        };
        scene.calm(START).await?;
        scene.cold = scene.fleet.discord.counts().await?;
        scene.fleet.discord.traffic(scene.setup.rate).await?;
        sleep(scene.setup.warm).await;
        Ok(scene)
    }

    /// The run's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.fleet.folder()
    }

    /// Asks for a deploy of this build; the wires get their pace.
    ///
    /// # Errors
    /// The master refuses it.
    pub async fn deploy(&mut self, build: &str, more: &[&str]) -> Result<()> {
        let command = self.fleet.slave_command(build, more)?;
        build.clone_into(&mut self.new);
        self.deploy_command(&command).await
    }

    /// The same with a whole command line.
    ///
    /// # Errors
    /// The master refuses it.
    pub async fn deploy_command(&mut self, command: &[String]) -> Result<()> {
        self.to_master.delay(self.setup.pace);
        let body = json!({ "command": command });
        let answer: Value = self.fleet.admin.ask("/v1/deploy", &body).await?;
        self.deploy = answer["deploy"].as_u64();
        Ok(())
    }

    /// Whether a deploy was asked for.
    #[must_use]
    pub const fn deploys(&self) -> bool {
        self.deploy.is_some()
    }

    /// Waits until the deploy is in this phase.
    ///
    /// # Errors
    /// It does not get there.
    pub async fn reach(&mut self, phase: Phase) -> Result<()> {
        let pace = self.setup.pace;
        match phase {
            Phase::M0 => Ok(()),
            Phase::M1 => self.present(Who::New).await.map(drop),
            Phase::M2 => self.migration("copying").await,
            Phase::M3 => self.migration("sealing").await,
            Phase::M4 => {
                self.migration("sealing").await?;
                // The order takes one pace to arrive, the ticket one to return. A late
                // seal is first answered, then brought about.
                let before = if self.setup.late_seal { 3 } else { 1 };
                sleep(pace * before + pace / 2).await;
                Ok(())
            }
            Phase::M5 => {
                self.migration("resuming").await?;
                sleep(pace + pace / 4).await;
                Ok(())
            }
            Phase::M6 => self.migration("moved").await,
            Phase::M7 => {
                let soaks =
                    |event: &Value| event["type"] == "deploy_step" && event["step"] == "soaking";
                self.fleet
                    .news
                    .wait("the soak", REACH, soaks)
                    .await
                    .map(drop)
            }
        }
    }

    async fn migration(&mut self, phase: &str) -> Result<()> {
        let is = |event: &Value| event["type"] == "migration" && event["phase"] == phase;
        let news = &mut self.fleet.news;
        news.wait(phase, REACH, is).await.map(drop)
    }

    /// Waits until a shard has reconnected since `before`.
    ///
    /// # Errors
    /// None has: nothing was struck.
    pub async fn reconnects(&self, before: Counts) -> Result<()> {
        let deadline = Instant::now() + REACH;
        while self.fleet.discord.counts().await? == before {
            if Instant::now() > deadline {
                return Err(Error::Late(
                    "no shard reconnected: was it struck?".to_owned(),
                ));
            }
            sleep(Duration::from_millis(20)).await;
        }
        // The others follow.
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// The process of somebody, if it lives.
    #[must_use]
    pub fn pid(&self, who: Who) -> Option<u32> {
        match who {
            Who::Old => Some(self.old).filter(|pid| hunt::is_alive(*pid)),
            Who::New => hunt::slave(self.folder(), &self.new),
            Who::Master => self.fleet.master.pid(),
        }
    }

    /// Notes that something is struck now.
    pub fn strike(&mut self) {
        if self
            .strikes
            .last()
            .is_none_or(|last| last.calm_us.is_some())
        {
            self.strikes.push(Strike {
                at_us: now_us(),
                calm_us: None,
            });
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self, who: Who) {
        self.strike();
        if let Some(pid) = self.pid(who) {
            hunt::signal(pid, Signal::KILL);
        }
    }

    /// Waits for the process of somebody who must be there.
    ///
    /// # Errors
    /// It is not.
    pub async fn present(&self, who: Who) -> Result<u32> {
        let deadline = Instant::now() + REACH;
        loop {
            // A process that is being started has no command line for a moment.
            if let Some(pid) = self.pid(who) {
                return Ok(pid);
            }
            if Instant::now() > deadline {
                return Err(Error::Late(format!("{who:?} is not there")));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// `SIGSTOP`.
    pub fn freeze(&mut self, pid: u32) {
        self.strike();
        hunt::signal(pid, Signal::STOP);
        self.frozen.push(pid);
    }

    /// Waits until everybody who was stopped is dead.
    ///
    /// # Errors
    /// Somebody lives: nobody noticed.
    pub async fn frozen_are_killed(&self) -> Result<()> {
        let deadline = Instant::now() + REACH;
        while self.frozen.iter().any(|pid| hunt::is_alive(*pid)) {
            if Instant::now() > deadline {
                let text = format!("nobody killed {:?}, which hang", self.frozen);
                return Err(Error::Late(text));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// `SIGCONT` for everybody who was stopped.
    pub fn thaw(&mut self) {
        for pid in self.frozen.drain(..) {
            hunt::signal(pid, Signal::CONT);
        }
    }

    /// Ends every harm that is not over: wires, waiting faults, stopped
    /// processes.
    ///
    /// # Errors
    /// The simulated Discord does not answer.
    pub async fn heal(&mut self) -> Result<()> {
        self.thaw();
        self.to_master.heal();
        self.to_discord.heal();
        self.to_master.delay(Duration::ZERO);
        self.fleet.discord.no_faults().await
    }

    /// Starts the master again, as a supervisor does.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart_master(&mut self) -> Result<()> {
        self.told.extend(self.fleet.news.all());
        // It killed itself once.
        self.fleet.special().crash = None;
        self.fleet.special().master_as = self.setup.masters[1];
        self.fleet.restart_master().await
    }

    /// Starts the master again; it is to kill itself at this point, perhaps before
    /// it is ready.
    pub async fn restart_master_to_crash(&mut self, at: &'static str) {
        self.told.extend(self.fleet.news.all());
        self.fleet.special().crash = Some(Crash {
            at,
            armed: Armed::AtOnce,
        });
        // Whether it died is looked at later.
        let _ = self.fleet.restart_master().await;
    }

    /// Waits until one slave serves every shard, the standbys are built, no deploy
    /// is under way and no other slave lives, three times in a row. A master that ended is started again.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn calm(&mut self, limit: Duration) -> Result<Value> {
        let deadline = Instant::now() + limit;
        let mut calm = 0;
        loop {
            if self.supervised && self.fleet.master.is_over() {
                sleep(SUPERVISE).await;
                self.restart_master().await?;
                calm = 0;
            }
            let status = timeout(Duration::from_secs(2), self.fleet.status()).await;
            let status = status.ok().and_then(Result::ok).unwrap_or(Value::Null);
            let serves = is_calm(&status, self.setup.shards);
            let strangers = if serves {
                self.strangers(&status)
            } else {
                Vec::new()
            };
            calm = if serves && strangers.is_empty() {
                calm + 1
            } else {
                0
            };
            if calm == 3 {
                if let Some(strike) = self.strikes.last_mut() {
                    strike.calm_us.get_or_insert_with(now_us);
                }
                self.old = owner(&status).unwrap_or(0);
                self.note_outcome();
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.note_outcome();
                return Err(Error::Late(format!(
                    "not calm after {limit:?}: {}, processes of nobody {strangers:?}",
                    short(&status)
                )));
            }
            sleep(Duration::from_millis(40)).await;
        }
    }

    /// Living processes beside the owner and its standbys.
    fn strangers(&mut self, status: &Value) -> Vec<u32> {
        let known = [owner(status)].into_iter().chain(standbys(status));
        let known: Vec<_> = known.flatten().collect();
        let others = [self.fleet.master.pid(), self.fleet.discord.process().pid()];
        hunt::of_folder(self.folder())
            .into_iter()
            .filter(|pid| !others.contains(&Some(*pid)))
            .filter(|pid| !known.contains(pid))
            .collect()
    }

    fn note_outcome(&mut self) {
        if self.outcome.is_none() {
            let ended = |event: &Value| {
                event["type"] == "deploy_ended" && event["deploy"].as_u64() == self.deploy
            };
            let all = self.news();
            self.outcome = all
                .into_iter()
                .find(|event| self.deploy.is_some() && ended(event));
        }
    }

    /// Everything that every master of this run told.
    #[must_use]
    pub fn news(&self) -> Vec<Value> {
        let mut all = self.told.clone();
        all.extend(self.fleet.news.all());
        all
    }

    /// Ends everything; gives the processes that had to be killed, and the
    /// folder with logs and sinks.
    pub async fn end(mut self) -> (Vec<u32>, PathBuf) {
        self.thaw();
        let folder = self.folder().to_owned();
        let slaves: Vec<u32> = hunt::of_folder(&folder);
        let keepers = [self.fleet.master.pid(), self.fleet.discord.process().pid()];
        for pid in slaves.iter().filter(|pid| !keepers.contains(&Some(**pid))) {
            hunt::signal(*pid, Signal::TERM);
        }
        let _ = self.fleet.master.stop().await;
        let _ = self.fleet.discord.process().stop().await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !hunt::of_folder(&folder).is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        // The fleet kills what is left when it is dropped.
        (hunt::of_folder(&folder), folder)
    }
}

/// One slave serves everything, and nothing is under way.
fn is_calm(status: &Value, shards: u32) -> bool {
    let all = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
    let slot = &status["slots"][0];
    let owner = &slot["slave"];
    let ready = ["standbys", "standbys_built"];
    ready
        .iter()
        .all(|count| slot[*count] == slot["standbys_wanted"])
        && status["adopting"] == false
        && status["deploy"].is_null()
        && owner.is_string()
        && all.len() == shards as usize
        && all
            .iter()
            .all(|shard| shard["state"] == "serving" && shard["owner"] == *owner)
}

/// The process that fills the slot.
fn owner(status: &Value) -> Option<u32> {
    let owner = &status["slots"][0]["slave"];
    let mut slaves = status["slaves"].as_array()?.iter();
    let owner = slaves.find(|slave| slave["slave"] == *owner)?;
    u32::try_from(owner["pid"].as_u64()?).ok()
}

/// The processes that stand by.
fn standbys(status: &Value) -> impl Iterator<Item = Option<u32>> {
    let slaves = status["slaves"].as_array().into_iter().flatten();
    slaves
        .filter(|slave| slave["role"] == "standby")
        .map(|slave| u32::try_from(slave["pid"].as_u64()?).ok())
}

/// What matters of a status, for a person.
fn short(status: &Value) -> String {
    let list = |name: &str, fields: &[&str]| {
        let items = status[name].as_array().into_iter().flatten();
        let shown: Vec<String> = items
            .map(|item| {
                let fields: Vec<String> = fields.iter().map(|f| item[*f].to_string()).collect();
                fields.join(" ")
            })
            .collect();
        shown.join(", ")
    };
    format!(
        "adopting {}, deploy {}, shards [{}], slaves [{}]",
        status["adopting"],
        status["deploy"],
        list("shards", &["shard", "epoch", "state"]),
        list("slaves", &["build", "pid", "role", "connected", "shards"])
    )
}

fn options(setup: &Setup, to_master: &Wire, to_discord: &Wire) -> FleetOptions {
    let mut special = Special {
        limits: limits(),
        master_wrapper: wrapper(),
        crash: setup.crash,
        standbys: setup.standbys,
        late_seal: setup.late_seal,
        shim: setup.shim,
        master_as: setup.masters[0],
        ..Special::default()
    };
    special.limits.extend(setup.limits.clone());
    for (flag, value) in [
        ("--master", to_master.address().to_string()),
        ("--gateway-url", format!("ws://{}", to_discord.address())),
    ] {
        special.slave_flags.extend([flag.to_owned(), value]);
    }
    // Each slave has its own log and answers at its own socket.
    let snapshots = match setup.snapshots {
        Snapshots::On => r#"--snapshots "$BATON_RUNTIME_DIR/snapshots" --snapshot-every 300ms"#,
        Snapshots::Off => "",
    };
    let before = setup.shim.before_slave();
    let script = format!(
        r#"{before}exec "$0" "$@" {snapshots} --inspect "unix:$BATON_RUNTIME_DIR/inspect-%p" 2>>"$BATON_RUNTIME_DIR/../logs/slave-$$.log""#
    );
    special.slave_wrapper = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let mut more = ["--max-concurrency", "16", "--identify-window", "20ms"]
        .map(str::to_owned)
        .to_vec();
    more.extend(setup.discord.iter().cloned());
    FleetOptions {
        discord: DiscordOptions {
            shards: setup.shards,
            guilds_per_shard: 5,
            members_per_guild: 8,
            rtt: Duration::ZERO,
            tls: false,
            seed: setup.seed,
            more,
        },
        handler_ms: setup.handler_ms,
        soak: setup.soak,
        slave: "baton-slave".to_owned(),
        launch: true,
        keep: true,
        special,
    }
}

/// A full disk is played by a limit of the file size, which must not be a
/// signal that kills.
fn wrapper() -> Vec<String> {
    let script = r#"trap '' XFSZ; exec "$0" "$@""#;
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn address(url: &str) -> Result<SocketAddr> {
    let text = url.rsplit('/').next().unwrap_or(url);
    text.parse()
        .map_err(|error| Error::answer(url, format!("no address: {error}")))
}
