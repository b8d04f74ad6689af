//! The other hosts of the fleet: which agent is connected, and which slave is where.
//!
//! ```text
//! never came ──joined──▶ here ──its connection ended──▶ away ──patience over──▶ an alarm, once
//!     │                   ▲                              │
//!     └─patience over     └──────────joined──────────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_core::{
    event::{AgentIs, Input},
    view::HostView,
};
use baton_protocol::{
    SlaveId,
    message::{
        Refused, RefusedReason,
        agent::{AgentHello, FromAgent, Stands, ToAgent},
    },
};
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, warn};

use super::{Supervisor, local::Exit, remote::Remote};
use crate::{
    clock::millis,
    link::LinkId,
    notice::{AgentJoining, Notice},
};

/// The number of the question whether an agent lives. The peers count their pings from 1.
const QUESTION: u64 = u64::MAX - 2;

/// What the word of an agent is to the driver.
#[derive(Debug)]
pub(crate) enum Word {
    /// Nothing.
    Nothing,
    /// It answered a ping: its host is heard.
    Answered,
    /// The core hears this, and the slot may take its next process.
    Started(String, Option<Input>),
    /// A launched process ended.
    Exited(Exit),
    /// The process of a slave is dead.
    Died(SlaveId),
    /// How this slave stands is to be told.
    Asked(SlaveId),
}

/// An agent that has been away for too long.
#[derive(Debug)]
pub(crate) struct Missing {
    /// The name of its host.
    pub(crate) host: String,
    /// For how long; since this master's start, if it never came.
    pub(crate) away: Duration,
    /// Whether it ever came to this master.
    pub(crate) came: bool,
    /// Slaves that are there and not known to be dead.
    pub(crate) slaves: Vec<SlaveId>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: BTreeMap<String, Host>,
    /// At which host each slave is that is at one.
    at: BTreeMap<SlaveId, String>,
    /// For what is told later.
    notices: mpsc::Sender<Notice>,
}

/// One host.
#[derive(Debug)]
struct Host {
    remote: Remote,
    /// Its agent, as it came last.
    agent: Option<Agent>,
    /// Since when its agent is here or away; from the start of this master, if it never
    /// came.
    since: Instant,
    /// Whether an operator heard that it is away.
    alarmed: bool,
    /// A connection that says that it is the same host's, and waits until the first one was
    /// asked.
    second: Option<Box<AgentJoining>>,
}

/// An agent that came.
#[derive(Debug)]
struct Agent {
    hello: Box<AgentHello>,
    /// Its connection; `None`: it ended.
    link: Option<LinkId>,
    heard: Instant,
}

impl Hosts {
    /// These are named by slots.
    pub(super) fn new(named: Vec<String>, notices: mpsc::Sender<Notice>) -> Self {
        let mut hosts = Self {
            hosts: BTreeMap::new(),
            at: BTreeMap::new(),
            notices,
        };
        for name in named {
            hosts.host(&name);
        }
        hosts
    }

    /// These are named by slots from now on: an operator hears if the agent of one stays
    /// away. Gives which of their agents are here.
    pub(super) fn name<'a>(&mut self, named: impl Iterator<Item = &'a str>) -> Vec<Input> {
        let here = named.filter_map(|name| {
            self.host(name).link()?;
            let (host, is) = (name.to_owned(), AgentIs::Here);
            Some(Input::Agent { host, is })
        });
        here.collect()
    }

    fn host(&mut self, name: &str) -> &mut Host {
        let notices = &self.notices;
        let new = || Host {
            remote: Remote::new(name.to_owned(), notices.clone()),
            agent: None,
            since: Instant::now(),
            alarmed: false,
            second: None,
        };
        self.hosts.entry(name.to_owned()).or_insert_with(new)
    }

    /// The hand on a host.
    pub(super) fn at(&mut self, name: &str) -> &mut Remote {
        &mut self.host(name).remote
    }

    /// The hand on a host, where a slave is.
    pub(super) fn meets(&mut self, name: &str, slave: SlaveId) -> &mut Remote {
        self.at.insert(slave, name.to_owned());
        self.at(name)
    }

    /// The hand that a slave is in; `None`: none of these.
    pub(super) fn hand(&self, slave: SlaveId) -> Option<&Remote> {
        let host = self.at.get(&slave)?;
        self.hosts.get(host).map(|host| &host.remote)
    }

    /// The same, to do something.
    pub(super) fn hand_mut(&mut self, slave: SlaveId) -> Option<&mut Remote> {
        let host = self.at.get(&slave)?;
        self.hosts.get_mut(host).map(|host| &mut host.remote)
    }

    /// Of other slaves it is forgotten where they were.
    pub(super) fn keep(&mut self, is_known: impl Fn(SlaveId) -> bool) {
        self.at.retain(|slave, _| is_known(*slave));
    }

    pub(super) fn forget(&mut self, slave: SlaveId) {
        self.at.remove(&slave);
    }

    /// When an operator is to hear next that an agent is away.
    pub(super) fn deadline(&self, patience: Duration) -> Option<Instant> {
        let away = self.hosts.values().filter(|host| host.link().is_none());
        let due = away.filter(|host| !host.alarmed);
        due.map(|host| host.since + patience).min()
    }
}

impl Host {
    fn link(&self) -> Option<LinkId> {
        self.agent.as_ref()?.link
    }
}

impl Supervisor {
    /// An agent joins. If another one of the same host is connected, that one is asked first
    /// whether it lives; then nothing is given, and the newcomer waits. A run of an agent that
    /// comes on another connection has let go of the one before.
    pub(crate) fn agent_joins(&mut self, joining: AgentJoining) -> Option<AgentJoining> {
        let host = self.hosts.host(&joining.hello.host);
        let Some(agent) = &host.agent else {
            return Some(joining);
        };
        let is_another =
            agent.hello.agent != joining.hello.agent && !mutant!("agents-not-told-apart");
        if agent.link.is_none() || !is_another {
            return Some(joining);
        }
        host.remote.ask(QUESTION);
        if let Some(before) = host.second.replace(Box::new(joining)) {
            before.link.cut();
        }
        None
    }

    /// From now on this connection speaks for its host. Gives what the core hears.
    pub(crate) fn agent_enters(&mut self, joining: AgentJoining) -> Vec<Input> {
        let AgentJoining {
            link,
            hello,
            report,
        } = joining;
        let host = self.hosts.host(&hello.host);
        let now = Instant::now();
        host.since = now;
        host.alarmed = false;
        host.agent = Some(Agent {
            hello,
            link: Some(link.id()),
            heard: now,
        });
        let mut inputs = host.remote.came(link, &report);
        for slot in host.remote.waiting() {
            inputs.extend(host.remote.launch_next(&self.launcher, &slot));
        }
        inputs
    }

    /// An agent said something.
    pub(crate) fn agent_said(&mut self, name: &str, link: LinkId, said: FromAgent) -> Word {
        let host = self.hosts.host(name);
        let Some(agent) = host.agent.as_mut().filter(|it| it.link == Some(link)) else {
            return Word::Nothing;
        };
        agent.heard = Instant::now();
        match said {
            FromAgent::Pong(pong) => {
                if pong.number == QUESTION
                    && let Some(second) = host.second.take()
                {
                    let agent = &agent.hello;
                    let detail = format!(
                        "the agent of host {name:?} is connected, and answers there (process {}): two \
                         hosts cannot have one name. Stop one of them, or give it another --host",
                        agent.process.pid
                    );
                    warn!(host = name, pid = second.hello.process.pid, "{detail}");
                    let reason = RefusedReason::Taken;
                    // A queue that is full has other troubles.
                    let _ = (second.link).send(ToAgent::Refused(Refused { reason, detail }));
                }
                Word::Answered
            }
            FromAgent::Launched(launched) => match host.remote.launched(launched) {
                Some((slot, input)) => Word::Started(slot, input),
                None => Word::Nothing,
            },
            FromAgent::Ended(ended) => Word::Exited(host.remote.ended(*ended)),
            FromAgent::Watched(watched) => {
                host.remote.sees(&watched);
                Word::Nothing
            }
            FromAgent::Ask(of) => Word::Asked(of.slave),
            // Of a slave that is there.
            FromAgent::Died(died) if host.remote.slaves().any(|slave| slave == died.slave) => {
                Word::Died(died.slave)
            }
            FromAgent::Died(died) => {
                let slave = died.slave;
                debug!(host = name, %slave, "it is not known to be there");
                Word::Nothing
            }
            FromAgent::Hello(_) | FromAgent::Proof(_) | FromAgent::Report(_) => Word::Nothing,
        }
    }

    /// Answers an agent's question after a slave. Of one that is not there it is told nothing.
    pub(crate) fn tell_standing(&mut self, name: &str, stands: Stands) {
        let remote = &self.hosts.host(name).remote;
        let is_there = remote.slaves().any(|slave| slave == stands.slave);
        let nothing = Stands {
            slave: stands.slave,
            ..Stands::default()
        };
        remote.say(ToAgent::Stands(if is_there { stands } else { nothing }));
    }

    /// Every connection of an agent ends: it dials again, the next master first.
    pub(crate) fn let_agents_go(&self) {
        let hosts = self.hosts.hosts.values();
        hosts.for_each(|host| host.remote.let_go());
    }

    /// A connection of an agent ended. Whether it spoke for its host.
    pub(crate) fn agent_left(&mut self, name: &str, link: LinkId) -> bool {
        let host = self.hosts.host(name);
        if (host.second.as_ref()).is_some_and(|second| second.link.id() == link) {
            host.second = None;
        }
        let Some(agent) = host.agent.as_mut().filter(|it| it.link == Some(link)) else {
            return false;
        };
        agent.link = None;
        host.since = Instant::now();
        host.remote.away();
        true
    }

    /// The connection that waits for this host; the first one ended, or did not answer in time.
    pub(crate) fn second_agent(&mut self, name: &str) -> Option<AgentJoining> {
        self.hosts.host(name).second.take().map(|second| *second)
    }

    /// The same, if it is this one.
    pub(crate) fn second_agent_if(&mut self, name: &str, link: LinkId) -> Option<AgentJoining> {
        let host = self.hosts.host(name);
        let is_it = (host.second.as_ref()).is_some_and(|second| second.link.id() == link);
        is_it.then(|| self.second_agent(name))?
    }

    /// The order of a slot that waited for the process before, at the slot's own host.
    pub(crate) fn launch_next_at(&mut self, name: &str, slot: &str) -> Option<Input> {
        self.hosts.at(name).launch_next(&self.launcher, slot)
    }

    /// An agent that has been away for too long, each once. A host without slots and slaves is
    /// forgotten when its agent goes.
    pub(crate) fn agent_missing(&mut self) -> Option<Missing> {
        let named: BTreeSet<&str> = self.launcher.hosts().map(|(host, _)| host).collect();
        // One on which nothing depends any more may be gone for good.
        self.hosts.hosts.retain(|name, host| {
            let is_used = named.contains(name.as_str()) || host.remote.slaves().next().is_some();
            is_used || host.link().is_some() || host.second.is_some()
        });
        let patience = self.patience;
        let over = |host: &Host| {
            host.link().is_none() && !host.alarmed && host.since.elapsed() >= patience
        };
        let mut hosts = self.hosts.hosts.iter_mut();
        let (name, host) = hosts.find(|(_, host)| over(host))?;
        host.alarmed = true;
        Some(Missing {
            host: name.clone(),
            away: host.since.elapsed(),
            came: host.agent.is_some(),
            slaves: host.remote.slaves().collect(),
        })
    }

    /// Slaves that are at a host and not known to be dead; `None`: nobody knows such a host.
    pub(crate) fn slaves_at(&self, name: &str) -> Option<Vec<SlaveId>> {
        let host = self.hosts.hosts.get(name)?;
        Some(host.remote.slaves().collect())
    }

    /// Whether the agent of a host is connected.
    pub(crate) fn is_here(&self, name: &str) -> bool {
        let host = self.hosts.hosts.get(name);
        host.is_some_and(|host| host.link().is_some())
    }

    /// The names of all hosts.
    pub(crate) fn host_names(&self) -> Vec<&str> {
        self.hosts.hosts.keys().map(String::as_str).collect()
    }

    /// The other hosts as people are shown them. `is_connected`: whether a slave is.
    pub(crate) fn host_views(&self, is_connected: impl Fn(SlaveId) -> bool) -> Vec<HostView> {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let view = |(name, host): (&String, &Host)| {
            let slots = self.launcher.hosts();
            let slots = slots.filter(|(at, _)| at == name);
            let agent = host.agent.as_ref();
            let slaves: Vec<_> = host.remote.slaves().collect();
            let away = slaves.iter().filter(|slave| !is_connected(**slave));
            let connected = host.link().is_some();
            HostView {
                host: name.clone(),
                connected,
                since_ms: agent.map(|_| millis(host.since.elapsed())),
                answered_ms_ago: agent
                    .filter(|_| connected)
                    .map(|agent| millis(agent.heard.elapsed())),
                program: agent.map(|agent| agent.hello.program.clone()),
                pid: agent.map(|agent| agent.hello.process.pid),
                slots: slots.map(|(_, slot)| slot.to_owned()).collect(),
                slaves_away: number(away.count()),
                slaves: number(slaves.len()),
            }
        };
        self.hosts.hosts.iter().map(view).collect()
    }
}
