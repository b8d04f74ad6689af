//! One run's fleet, with a wire in front of the master and one in front of the
//! simulated Discord, and the verbs of every row: deploy, reach a phase, strike,
//! heal, wait until it is calm.

mod calm;
mod end;
mod setup;

pub use self::setup::{Setup, Snapshots, Unread};

use std::{net::SocketAddr, path::Path, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::setup::options;
use super::{
    agent::Agent,
    brokers::Broker,
    clients::Clients,
    hunt,
    leaders::Masters,
    patience::{BOUNDED, Patience},
    phase::Phase,
    unending::Unending,
    wire::Wire,
};
use crate::{
    demo::now_us,
    discord::Counts,
    error::{Error, Result},
    fleet::{Armed, Crash, Fleet},
    http::Endpoint,
};

/// An agent whose way is free is back within this time.
const AGENT_BACK: Duration = Duration::from_secs(30);

/// Who can be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The slave that a deploy replaces.
    Old,
    /// The slave that comes.
    New,
    /// The master.
    Master,
    /// The agent that launches the slaves, where there is one.
    Agent,
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

/// A master that was killed is dead within this time.
const KILLED: Duration = Duration::from_secs(10);

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
    /// The event that is never finished.
    pub(super) unending: Option<Unending>,
    /// The clients of the proxy that the slaves are.
    pub(super) clients: Option<Clients>,
    /// The broker that the slaves publish to, and its worker.
    pub(super) broker: Option<Broker>,
    /// What launches the slaves, if the master does not.
    pub(super) agent: Option<Agent>,
    /// The store of two masters, and the wires of the one that does not lead.
    pub(super) masters: Option<Masters>,
    /// Whether the supervisor starts a master again.
    pub supervised: bool,
    /// How long it took until another master led.
    pub took_over: Option<Duration>,
    /// The process of the slave that serves, or that the deploy replaces.
    old: u32,
    /// The build that the last deploy brings.
    new: String,
    frozen: Vec<u32>,
    /// Slaves that were killed: whoever still names one has not heard of it.
    killed: Vec<u32>,
    deploy: Option<u64>,
}

impl Scene {
    /// Starts everything; returns when every shard serves and traffic flows.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(mut setup: Setup) -> Result<Self> {
        let broker = match setup.broker {
            Some(kind) => Some(Broker::start(kind, &mut setup).await?),
            None => None,
        };
        let masters = match setup.leaders {
            true => Some(Masters::prepare().await?),
            false => None,
        };
        let (to_master, to_discord) = (Wire::lay().await?, Wire::lay().await?);
        let options = options(&setup, &to_master, &to_discord, masters.as_ref());
        let fleet = Fleet::start(options).await?;
        to_discord.lead_to(address(&fleet.discord.gateway_url)?);
        to_master.lead_to(address(fleet.listen())?);
        if let (Some(masters), Some(other)) = (&masters, &fleet.other) {
            masters.lead_to(address(&other.listen)?);
        }
        let mut scene = Self {
            fleet,
            to_master,
            to_discord,
            cold: Counts::default(),
            strikes: Vec::new(),
            outcome: None,
            told: Vec::new(),
            unending: None,
            clients: None,
            broker,
            agent: None,
            masters,
            supervised: true,
            took_over: None,
            old: 0,
            new: String::new(),
            frozen: Vec::new(),
            killed: Vec::new(),
            deploy: None,
            setup,
        };
        if scene.setup.agent {
            let to_other = scene.masters.as_ref().map(|it| &it.agent_to_other);
            scene.agent = Some(Agent::start(&scene.fleet, to_other).await?);
        }
        scene.calm(START).await?;
        if scene.masters.is_some() {
            scene.other_stands_by().await?;
        }
        scene.cold = scene.fleet.discord.counts().await?;
        if let Some(gateway) = scene.setup.proxy {
            scene.clients = Some(Clients::start(gateway, scene.setup.shards).await?);
        }
        scene.fleet.discord.traffic(scene.setup.rate).await?;
        // The master is to have seen how long the handlers take as a rule.
        sleep(scene.setup.warm + 2 * Duration::from_millis(scene.setup.handler_ms)).await;
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
        self.agent_is_here().await?;
        let body = json!({ "command": command });
        let answer: Value = self.fleet.admin.ask("/v1/deploy", &body).await?;
        self.deploy = answer["deploy"].as_u64();
        Ok(())
    }

    /// Waits until the master has its agent: without it nothing can be started.
    async fn agent_is_here(&self) -> Result<()> {
        let mut patience = Patience::of(AGENT_BACK);
        while self.agent.is_some() {
            let status = self.fleet.status().await?;
            let mut hosts = status["hosts"].as_array().into_iter().flatten();
            if hosts.any(|host| host["connected"] == true) {
                break;
            }
            if patience.is_over().await {
                return Err(Error::Late("the agent does not come back".to_owned()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether a deploy was asked for.
    #[must_use]
    pub const fn deploys(&self) -> bool {
        self.deploy.is_some()
    }

    /// The number of the last deploy that was asked for.
    #[must_use]
    pub const fn deploy_number(&self) -> Option<u64> {
        self.deploy
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
                self.hears("the soak", REACH, soaks).await.map(drop)
            }
        }
    }

    async fn migration(&mut self, phase: &str) -> Result<()> {
        let is = |event: &Value| event["type"] == "migration" && event["phase"] == phase;
        self.hears(phase, REACH, is).await.map(drop)
    }

    /// Waits until the master tells something, and gives it.
    ///
    /// # Errors
    /// It does not within `limit` of a host that is idle.
    pub async fn hears(
        &mut self,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let late = || format!("{what}: not seen within {limit:?}");
        let told = self.fleet.news.wait(what, BOUNDED, is);
        Patience::of(limit).wait(late, told).await?
    }

    /// Waits until the master has ended, and gives its exit code.
    ///
    /// # Errors
    /// It does not within `limit` of a host that is idle.
    pub async fn master_ends(&mut self, limit: Duration) -> Result<i32> {
        let late = || format!("the master still runs after {limit:?}");
        let ended = self.fleet.master.ended(BOUNDED);
        Patience::of(limit).wait(late, ended).await?
    }

    /// Waits until a shard has reconnected since `before`.
    ///
    /// # Errors
    /// None has: nothing was struck.
    pub async fn reconnects(&self, before: Counts) -> Result<()> {
        let mut patience = Patience::of(REACH);
        while self.fleet.discord.counts().await? == before {
            if patience.is_over().await {
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
            Who::Agent => self.agent.as_ref().and_then(Agent::pid),
        }
    }

    /// Where a slave says what it holds.
    #[must_use]
    pub fn inspects(&self, pid: u32) -> Endpoint {
        Endpoint::Unix(self.folder().join(format!("run/inspect-{pid}")))
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
            if matches!(who, Who::Old | Who::New) {
                self.killed.push(pid);
            }
        }
    }

    /// `kill -9` of the master, which is dead then.
    ///
    /// # Errors
    /// It still runs.
    pub async fn kill_master(&mut self) -> Result<()> {
        self.kill(Who::Master);
        self.master_ends(KILLED).await.map(drop)
    }

    /// Waits for the process of somebody who must be there.
    ///
    /// # Errors
    /// It is not.
    pub async fn present(&self, who: Who) -> Result<u32> {
        let mut patience = Patience::of(REACH);
        loop {
            // A process that is being started has no command line for a moment.
            if let Some(pid) = self.pid(who) {
                return Ok(pid);
            }
            if patience.is_over().await {
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
        let mut patience = Patience::of(REACH);
        while self.frozen.iter().any(|pid| hunt::is_alive(*pid)) {
            if patience.is_over().await {
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
        if let Some(clients) = &self.clients {
            clients.heal();
        }
        if let Some(broker) = &mut self.broker {
            broker.heal();
        }
        if let Some(agent) = &self.agent {
            agent.to_master.heal();
        }
        if let Some(masters) = &self.masters {
            masters.heal();
        }
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

    /// Everything that every master of this run told.
    #[must_use]
    pub fn news(&self) -> Vec<Value> {
        let mut all = self.told.clone();
        all.extend(self.fleet.news.all());
        all
    }
}

pub(super) fn address(url: &str) -> Result<SocketAddr> {
    let text = url.rsplit('/').next().unwrap_or(url);
    text.parse()
        .map_err(|error| Error::answer(url, format!("no address: {error}")))
}
