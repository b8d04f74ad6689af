//! What a master and an agent say to each other. An agent is the master's hand on another host:
//! it launches, watches and kills the slaves there.
//!
//! ```text
//! agent   AgentHello ──▶              Proof ──▶ AgentReport ──▶
//! master             ◀── Welcome                            ◀── AgentAccepted
//! ```
//!
//! At each step the master may say [`Refused`] instead, and also later. Welcome, proof and refusal are those of
//! slaves ([`handshake`](super::handshake)); everything else is the agents' own. Frames go
//! over the same listener: the first one says who dials.
//!
//! Every order may come twice, since a link may be lost between an order and its answer. A
//! launch is known by its [`LaunchId`], so it is carried out once. What an agent has to tell of a launch
//! it tells on each new link, until the master has [`noted`](ToAgent::Noted) it.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Ping, Proof, Refused, Role, Welcome, event};
use crate::{
    body::{into_frame, named, ours},
    codec::Frame,
    error::DecodeError,
    id::{AgentId, DeployId, LaunchId, ProcessIdentity, SlaveId, Term},
    text::clean,
    version::Version,
};

/// What a master says to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// 11, answers the hello before anything else. Answer: [`FromAgent::Proof`], then
    /// [`FromAgent::Report`].
    Welcome(Welcome),
    /// 15, at any time: refused, the connection closes.
    Refused(Refused),
    /// 62, after the report: accepted. Orders follow.
    Accepted(AgentAccepted),
    /// 63, every few seconds. Answer: [`FromAgent::Pong`].
    Ping(Ping),
    /// 65: start a process. Answer: [`FromAgent::Launched`].
    Launch(Box<Launch>),
    /// 67: nobody waits for what was launched; kill it, with its group. No answer but its
    /// end.
    GiveUp(OfLaunch),
    /// 69, answers [`FromAgent::Ended`]: it need not be told again.
    Noted(OfLaunch),
    /// 70: tell the end of this slave's process. Answer: [`FromAgent::Watched`], and
    /// [`FromAgent::Died`] when it is dead. Said again on each new link.
    Watch(Watch),
    /// 73: `SIGKILL` this slave's process. [`FromAgent::Died`] follows.
    Kill(OfSlave),
    /// 74: nothing of this slave's process is to be told any more.
    Unwatch(OfSlave),
    /// 76, answers [`FromAgent::Ask`].
    Stands(Stands),
}

/// What an agent says to a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent {
    /// 60, the first frame of a connection. Answer: [`ToAgent::Welcome`].
    Hello(Box<AgentHello>),
    /// 12, answers [`ToAgent::Welcome`].
    Proof(Proof),
    /// 61, after the proof, once: what the agent launched and what has not ended. The ends
    /// that no master has noted follow, each as [`FromAgent::Ended`].
    Report(AgentReport),
    /// 64, answers [`ToAgent::Ping`].
    Pong(Ping),
    /// 66, answers [`ToAgent::Launch`]: it is there, or cannot be.
    Launched(Launched),
    /// 68: a launched process ended. Said on each new link until [`ToAgent::Noted`].
    Ended(Box<Ended>),
    /// 71, answers [`ToAgent::Watch`].
    Watched(Watched),
    /// 72: the process of a watched slave is dead.
    Died(OfSlave),
    /// 75: how does this slave of its host stand? Answer: [`ToAgent::Stands`]. An agent that
    /// is the parent of one slave asks, because whoever started it wants to know.
    Ask(OfSlave),
}

into_frame!(ToAgent, FromAgent);

impl ToAgent {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Welcome(body) => named(event::WELCOME, body),
            Self::Refused(body) => named(event::REFUSED, body),
            Self::Accepted(body) => named(event::AGENT_ACCEPTED, body),
            Self::Ping(body) => named(event::AGENT_PING, body),
            Self::Launch(body) => named(event::AGENT_LAUNCH, body),
            Self::GiveUp(body) => named(event::AGENT_GIVE_UP, body),
            Self::Noted(body) => named(event::AGENT_NOTED, body),
            Self::Watch(body) => named(event::AGENT_WATCH, body),
            Self::Kill(body) => named(event::AGENT_KILL, body),
            Self::Unwatch(body) => named(event::AGENT_UNWATCH, body),
            Self::Stands(body) => named(event::AGENT_STANDS, body),
        }
    }

    /// Reads what a master sent to an agent.
    ///
    /// # Errors
    /// Masters do not say this id to an agent, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::WELCOME => Self::Welcome(ours(id, &body)?),
            event::REFUSED => Self::Refused(ours(id, &body)?),
            event::AGENT_ACCEPTED => Self::Accepted(ours(id, &body)?),
            event::AGENT_PING => Self::Ping(ours(id, &body)?),
            event::AGENT_LAUNCH => Self::Launch(ours(id, &body)?),
            event::AGENT_GIVE_UP => Self::GiveUp(ours(id, &body)?),
            event::AGENT_NOTED => Self::Noted(ours(id, &body)?),
            event::AGENT_WATCH => Self::Watch(ours(id, &body)?),
            event::AGENT_KILL => Self::Kill(ours(id, &body)?),
            event::AGENT_UNWATCH => Self::Unwatch(ours(id, &body)?),
            event::AGENT_STANDS => Self::Stands(ours(id, &body)?),
            _ => {
                return Err(event::not_of("an agent's master", id, event::OF_MASTERS));
            }
        })
    }
}

impl FromAgent {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Hello(body) => named(event::AGENT_HELLO, body),
            Self::Proof(body) => named(event::PROOF, body),
            Self::Report(body) => named(event::AGENT_REPORT, body),
            Self::Pong(body) => named(event::AGENT_PONG, body),
            Self::Launched(body) => named(event::AGENT_LAUNCHED, body),
            Self::Ended(body) => named(event::AGENT_ENDED, body),
            Self::Watched(body) => named(event::AGENT_WATCHED, body),
            Self::Died(body) => named(event::AGENT_DIED, body),
            Self::Ask(body) => named(event::AGENT_ASK, body),
        }
    }

    /// Reads what an agent sent.
    ///
    /// # Errors
    /// Agents do not say this id, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::AGENT_HELLO => Self::Hello(ours(id, &body)?),
            event::PROOF => Self::Proof(ours(id, &body)?),
            event::AGENT_REPORT => Self::Report(ours(id, &body)?),
            event::AGENT_PONG => Self::Pong(ours(id, &body)?),
            event::AGENT_LAUNCHED => Self::Launched(ours(id, &body)?),
            event::AGENT_ENDED => Self::Ended(ours(id, &body)?),
            event::AGENT_WATCHED => Self::Watched(ours(id, &body)?),
            event::AGENT_DIED => Self::Died(ours(id, &body)?),
            event::AGENT_ASK => Self::Ask(ours(id, &body)?),
            _ => return Err(event::not_of("an agent", id, event::OF_SLAVES)),
        })
    }
}

impl FromAgent {
    /// Writes out the hidden characters of what a person will read, and keeps no more lines
    /// than there may be.
    #[must_use]
    pub fn readable(mut self) -> Self {
        match &mut self {
            Self::Hello(hello) => [&mut hello.host, &mut hello.program]
                .into_iter()
                .for_each(clean),
            Self::Launched(launched) => clean(&mut launched.failed),
            Self::Ended(ended) => {
                clean(&mut ended.slot);
                ended.last_lines.truncate(Ended::MAX_LINES);
                ended.last_lines.iter_mut().for_each(clean);
            }
            Self::Proof(_)
            | Self::Report(_)
            | Self::Pong(_)
            | Self::Watched(_)
            | Self::Died(_)
            | Self::Ask(_) => {}
        }
        self
    }
}

/// Id 60, agent → master: the first frame of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentHello {
    /// Highest version that the agent speaks.
    pub version: Version,
    /// Lowest version that the agent speaks.
    pub lowest: Version,
    /// Highest term that the agent has taken orders from; counter `0`: none yet.
    pub term: Term,
    /// This run of the agent.
    pub agent: AgentId,
    /// The name of its host ([`HostName`](crate::HostName)).
    pub host: String,
    /// Its own process.
    pub process: ProcessIdentity,
    /// Version of the program.
    pub program: String,
    /// 16 random bytes, which the master's proof covers.
    pub nonce: Bytes,
}

/// Id 61, agent → master: what it launched, now or before its own restart, and has not
/// ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// The launches, at most [`AgentReport::MAX_LAUNCHES`].
    pub launches: Vec<OfLaunch>,
}

impl AgentReport {
    /// So many launches of one host that have not ended are known at most.
    pub const MAX_LAUNCHES: usize = 1024;
}

/// Id 62, master → agent: the hello, the proof and the report are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentAccepted {
    /// How often the master sends a ping, in milliseconds.
    pub ping_ms: u64,
}

/// Names a launch; the whole body of several messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfLaunch {
    /// Which.
    pub launch: LaunchId,
}

/// Names a slave; the whole body of several messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfSlave {
    /// Whose process.
    pub slave: SlaveId,
}

/// Id 65, master → agent: start a process.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// Which launch it is; it is said in `BATON_LAUNCH`.
    pub launch: LaunchId,
    /// The slot that its slave fills.
    pub slot: String,
    /// With which role it is to say hello.
    pub role: Role,
    /// The deploy whose candidate it is; zero: none.
    pub deploy: DeployId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment, of the slot.
    pub env: BTreeMap<String, String>,
    /// File that its output is appended to; empty: none.
    pub log: String,
    /// Where its clients come: the agent has the socket, and passes it on; empty: nowhere.
    pub listen: String,
    /// What stands for Discord's HTTP interface; empty: nothing does.
    pub api_url: String,
}

impl fmt::Debug for Launch {
    /// Without the values of the environment, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("launch", &self.launch)
            .field("slot", &self.slot)
            .field("role", &self.role)
            .field("deploy", &self.deploy)
            .field("command", &self.command)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

/// Id 66, agent → master: what came of [`Launch`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launched {
    /// Which.
    pub launch: LaunchId,
    /// The process that was started, as the agent sees it.
    pub process: ProcessIdentity,
    /// Why it cannot be started, for a person; empty: it was.
    pub failed: String,
}

/// Id 68, agent → master: a launched process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// Which launch.
    pub launch: LaunchId,
    /// Its slot.
    pub slot: String,
    /// Its process id, at its host.
    pub pid: u32,
    /// Its exit code; absent: it had none, or only its parent knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it; absent: none did, or only its parent knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it lived, in milliseconds; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lived_ms: Option<u64>,
    /// The last lines that it wrote, at most [`Ended::MAX_LINES`].
    pub last_lines: Vec<String>,
}

impl Ended {
    /// So many last lines are told at most.
    pub const MAX_LINES: usize = 20;
}

/// Id 70, master → agent: tell the end of this slave's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// Whose.
    pub slave: SlaveId,
    /// Its process, as the slave said it in its hello.
    pub process: ProcessIdentity,
}

/// Id 71, agent → master: whether the end of a slave's process will be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// Whose.
    pub slave: SlaveId,
    /// How well the agent sees it.
    pub sight: Sight,
    /// Whether it may be killed here: it is a process of the agent's own user.
    pub may_kill: bool,
}

/// How well an agent sees a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// It lives, and its end will be told.
    Watched,
    /// It is of another host or pid namespace: the agent will never know of its end.
    Elsewhere,
    /// It is not seen now; it may live. The agent looks again and again. Also whatever a
    /// later version adds.
    #[default]
    #[serde(other)]
    Unseen,
}

/// Id 76, master → agent: how a slave of its host stands. Of one that is not known: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stands {
    /// Which slave.
    pub slave: SlaveId,
    /// Whether it fills its slot.
    pub owner: bool,
    /// Whether a deploy of its slot runs that is not committed.
    pub deploying: bool,
    /// How many shards it owns.
    pub shards: u32,
    /// How many of these it serves.
    pub serving: u32,
}
