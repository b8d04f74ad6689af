//! How a slave joins: hello, proofs, report, and the answer. Fields travel by name
//! and have defaults, so that either side may be newer.
//!
//! ```text
//! slave   Hello ──▶              Proof ──▶ Report ──▶ ... the last Report ──▶
//! master        ◀── Welcome                                              ◀── Accepted
//! ```
//!
//! At each step the master may say [`Refused`] instead. With the last report the slave has
//! joined: [`Accepted`] is the first of what a joined slave hears
//! ([`message::ToSlave`](super::ToSlave)).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event;
use crate::{
    body::{into_frame, named, ours},
    codec::Frame,
    error::DecodeError,
    go::today,
    id::{DeployId, Epoch, LaunchId, ProcessIdentity, SlaveId, Term},
    opaque::Parameters,
    ticket::Ticket,
    version::Version,
};

/// What a slave says until it has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// 8, the first frame of a connection. Answer: [`ToSlave::Welcome`].
    Hello {
        /// Whether this slave already serves shards.
        running: bool,
        /// Who it is.
        hello: Box<Hello>,
    },
    /// 12, answers [`ToSlave::Welcome`].
    Proof(Proof),
    /// 13, after [`ToMaster::Proof`]; answer to the last one: [`Accepted`].
    Report(Report),
}

/// What a master says to a slave that has not joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSlave {
    /// 11, answers the hello before anything else. Answer:
    /// [`ToMaster::Proof`], then [`ToMaster::Report`].
    Welcome(Welcome),
    /// 15, at any time: refused, the connection closes.
    Refused(Refused),
}

into_frame!(ToMaster, ToSlave);

impl ToMaster {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Hello { running, hello } => today::hello(*running, hello),
            Self::Proof(body) => named(event::PROOF, body),
            Self::Report(body) => named(event::REPORT, body),
        }
    }

    /// Reads what a slave sent that has not joined.
    ///
    /// # Errors
    /// The id has no place in a handshake, or the body is not what its id says.
    /// [`DecodeError::NoBaton`]: a Go slave says hello.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SLAVE_HELLO => {
                let (running, hello) = today::read_hello(&body)?;
                Self::Hello { running, hello }
            }
            event::PROOF => Self::Proof(ours(id, &body)?),
            event::REPORT => Self::Report(ours(id, &body)?),
            _ => return Err(event::not_of("a slave that joins", id, event::OF_SLAVES)),
        })
    }
}

impl ToSlave {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Welcome(body) => named(event::WELCOME, body),
            Self::Refused(body) => named(event::REFUSED, body),
        }
    }

    /// Reads what a master answered to a hello.
    ///
    /// # Errors
    /// The id has no place in a handshake, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::WELCOME => Self::Welcome(ours(id, &body)?),
            event::REFUSED => Self::Refused(ours(id, &body)?),
            _ => {
                return Err(event::not_of(
                    "a master that is said hello to",
                    id,
                    event::OF_MASTERS,
                ));
            }
        })
    }
}

/// Why a slave connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A new build: it starts a deploy, or a cold start where the slot is empty.
    #[default]
    Candidate,
    /// Builds its bot, owns nothing, is promoted when an owner dies.
    Standby,
    /// Started by the master into an empty slot, or an owner that lost its
    /// connection.
    Relaunch,
}

/// Who says hello.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Highest version that the slave speaks.
    pub version: Version,
    /// Lowest version that the slave speaks.
    pub lowest: Version,
    /// Highest term that the slave has taken orders from; counter `0`: none yet.
    pub term: Term,
    /// This run of the slave.
    pub slave: SlaveId,
    /// Why it connects.
    pub role: Role,
    /// The slot that it fills; at most [`MAX_NAME`] bytes.
    pub slot: String,
    /// What the operator calls this build; at most [`MAX_NAME`] bytes.
    pub build: String,
    /// What it would identify sessions with.
    pub parameters: Parameters,
    /// How to know that it is dead.
    pub process: ProcessIdentity,
    /// 16 random bytes, which the master's proof covers.
    pub nonce: Bytes,
    /// The deploy for which a master launched it (`BATON_DEPLOY` in its environment);
    /// zero, and then not sent: none did, or it does not say. A pid says less: a
    /// command may fork, and what was launched is then not what says hello.
    #[serde(skip_serializing_if = "is_none")]
    pub deploy: DeployId,
    /// The launch that it comes from (`BATON_LAUNCH` in its environment); zero, and then
    /// not sent: no master launched it, or it does not say.
    #[serde(skip_serializing_if = "is_unsaid")]
    pub launch: LaunchId,
    /// The host whose agent launched it (`BATON_HOST` in its environment); empty, and then
    /// not sent: no agent did, or it does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// Whether that is no deploy at all.
fn is_none(deploy: &DeployId) -> bool {
    deploy.get() == 0
}

/// Whether that is no launch at all.
fn is_unsaid(launch: &LaunchId) -> bool {
    !launch.is_said()
}

/// Names of slots and builds are at most this many bytes.
pub const MAX_NAME: usize = 128;

/// Id 11, master → slave: answers a versioned hello before anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// The version that this connection speaks.
    pub version: Version,
    /// The master's term: every order on this connection is of this term.
    pub term: Term,
    /// Proves that the master knows the secret (see [`crate::auth`]).
    pub proof: Bytes,
    /// 16 random bytes, which the slave's [`Proof`] covers.
    pub challenge: Bytes,
    /// How often checkpoints are wanted, in milliseconds.
    pub checkpoint_ms: u64,
}

/// Id 12, slave → master: answers [`Welcome`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Proof {
    /// Proves that the slave knows the secret (see [`crate::auth`]).
    pub proof: Bytes,
}

/// What a slave does with a shard of its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// Started cold, waits for its permit or for READY.
    Starting,
    /// Told to resume, RESUMED not yet seen.
    Resuming,
    /// Serves.
    #[default]
    Serving,
    /// Sealed: its ticket is made, the outcome is not known. Neither handled nor
    /// reconnected until the master decides.
    Sealed,
    /// Could not be started or resumed here; owned, not served.
    Failed,
}

/// One shard of a [`Report`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// At which epoch.
    pub epoch: Epoch,
    /// What the slave does with it.
    pub holding: Holding,
    /// The shard and where it stands. Without a session: an empty session id.
    pub ticket: Ticket,
    /// Whether it was ordered to resume and no dispatch came since: then the ticket
    /// that it was given is as exact as it was. `false` where that is not known, as
    /// by builds that do not say it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untouched: bool,
}

/// Id 13, slave → master: after [`Proof`], everything that the slave holds, in as
/// many frames as it takes, the last one marked. The master decides nothing
/// about a slave before the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// At most [`Report::MAX_SHARDS`].
    pub shards: Vec<Held>,
    /// The epoch at which it runs the once-per-bot work; `0`: it does not.
    pub work: Epoch,
    /// Whether the bot is built, so that shards could be resumed at once.
    pub ready: bool,
    /// Whether what it sealed, it sealed by itself, its lease being over
    /// ([`crate::lease`]): it does not leave.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lapsed: bool,
    /// No further report follows.
    pub last: bool,
}

impl Report {
    /// More shards go into another frame.
    pub const MAX_SHARDS: usize = 256;
}

/// Id 14, master → slave: the hello, the proof and the report are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accepted {
    /// Shards of the whole bot.
    pub shard_count: u32,
    /// The slave is to seal itself when it had no word of a leader for so many milliseconds
    /// ([`crate::lease`]); zero: never, and then not sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub lease_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why a slave was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// No protocol version in common.
    Version,
    /// It belongs to another fleet, or has seen a later term.
    Fleet,
    /// It did not prove that it knows the secret.
    Secret,
    /// The master has no such slot.
    Slot,
    /// A session parameter differs from the fleet's; the detail names it.
    Parameters,
    /// A deploy is already under way.
    Busy,
    /// Another slave fills the slot and this one is no candidate.
    Taken,
    /// Its certificate says otherwise than its hello: another host, or another role than that
    /// of a slave.
    Certificate,
    /// It was ordered to leave: its deploy was rolled back or it was replaced.
    Superseded,
    /// This master does not lead its fleet: another one does, or none. The detail names it
    /// where it is known.
    NotLeading,
    /// The hello was not understood; also any reason that a later version adds.
    #[default]
    #[serde(other)]
    Other,
}

/// Id 15, master → slave: refused; the connection closes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// Why, for the program.
    pub reason: RefusedReason,
    /// Why, and what to do, for a person.
    pub detail: String,
}

impl RefusedReason {
    /// Whether the same slave may be accepted later without a change on its
    /// side: it dials again. Otherwise it ends with an error.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Busy | Self::NotLeading | Self::Other => true,
            Self::Version
            | Self::Fleet
            | Self::Secret
            | Self::Slot
            | Self::Parameters
            | Self::Taken
            | Self::Certificate
            | Self::Superseded => false,
        }
    }
}
