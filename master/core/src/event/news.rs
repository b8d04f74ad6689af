//! What the core tells about what it does.
//!
//! As JSON a piece of news is one object, told apart by `type`. Names and units are a
//! promise to those who read the stream: times are whole milliseconds and end in `_ms`,
//! slaves are 32 hex digits, and what is not known is `null`.

use std::time::Duration;

use baton_protocol::{DeployId, Epoch, Sequence, ShardId, SlaveId};
use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{
    death::{Death, Evidence},
    input::{Planned, RequestId},
    outcome::{DeployStep, Losses, MovePhase, Outcome},
};

/// What the observers hear: the progress lines of the CLI, the log, the
/// server-sent events.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum News {
    /// A request was taken.
    DeployAccepted {
        /// Whose; `None`: a candidate or a signal started it.
        request: Option<RequestId>,
        /// Its number.
        deploy: DeployId,
        /// Its slot.
        slot: String,
        /// Who serves the slot.
        from: Option<SlaveId>,
        /// The command that it brings; `None`: the slot's own, or none is known. Not in the
        /// JSON: the status and the history have it.
        #[serde(skip)]
        command: Option<Vec<String>>,
        /// Whether a master before this one began it, and it goes on.
        goes_on: bool,
    },
    /// A request was refused; nothing changed.
    RequestRefused {
        /// Whose.
        request: RequestId,
        /// Why, and what to do.
        reason: String,
    },
    /// What the once-per-bot work answers an operator.
    Answered {
        /// Whose request.
        request: RequestId,
        /// What it says. Not in the JSON: it is the bot's.
        #[serde(skip)]
        body: Bytes,
    },
    /// A unit is served again whose service replays nothing: what happened meanwhile never came.
    WasDeaf {
        /// The unit.
        shard: ShardId,
        /// Who serves it now.
        slave: SlaveId,
        /// For how long nobody served it.
        #[serde(rename = "deaf_ms", serialize_with = "millis")]
        deaf: Duration,
    },
    /// A slave is dead by the operator's word.
    Fenced {
        /// Whose request.
        request: RequestId,
        /// Who.
        slave: SlaveId,
    },
    /// An operator said where shards are to be.
    Arranged {
        /// Whose request.
        request: RequestId,
        /// The command: `move`, `drain`, `cordon`, `uncordon`, `rebalance`, `hold`, `release`,
        /// `stay`.
        order: &'static str,
        /// The hosts that it names.
        hosts: Vec<String>,
        /// What moves: empty where everything is where it is to be.
        moves: Vec<Planned>,
    },
    /// A deploy reached its next step.
    DeployStep {
        /// Its number.
        deploy: DeployId,
        /// What begins.
        step: DeployStep,
    },
    /// The soak is shorter than was asked for: what the service would replay covers no
    /// more.
    SoakShortened {
        /// Its number.
        deploy: DeployId,
        /// The busiest shard.
        shard: ShardId,
        /// How many events it gets in a second, rounded up.
        per_second: u64,
        /// The soak that was asked for.
        #[serde(rename = "asked_ms", serialize_with = "millis")]
        asked: Duration,
        /// The soak that it is.
        #[serde(rename = "soak_ms", serialize_with = "millis")]
        soak: Duration,
    },
    /// One shard got further.
    Migration {
        /// Its deploy; `None`: it moves to another slot.
        deploy: Option<DeployId>,
        /// The shard.
        shard: ShardId,
        /// From whom.
        from: SlaveId,
        /// To whom.
        to: SlaveId,
        /// The epoch of the next owner.
        epoch: Epoch,
        /// Where it is.
        phase: MovePhase,
    },
    /// A deploy ended.
    #[serde(serialize_with = "deploy_ended")]
    DeployEnded {
        /// Its number.
        deploy: DeployId,
        /// How.
        outcome: Outcome,
        /// Shards that the new slave serves now.
        moved: u32,
        /// From the first seal sent to the last RESUMED, soak excluded.
        migrating: Duration,
        /// From the trigger to the end.
        total: Duration,
        /// What its slot lost meanwhile.
        losses: Losses,
    },
    /// A deploy of every slot is over. Told by the driver.
    RolloutEnded {
        /// Whether it came through.
        outcome: RolloutOutcome,
        /// Why it was stopped.
        reason: Option<String>,
        /// Slots that have the new build, in the order in which they got it.
        done: Vec<String>,
        /// Slots that were not begun.
        left: Vec<String>,
    },
    /// A slave came.
    SlaveJoined {
        /// Who.
        slave: SlaveId,
        /// Its build.
        build: String,
        /// Its slot.
        slot: String,
        /// Whether it was known before.
        back: bool,
        /// The host whose agent it is at; `None`, and then absent: the master's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A slave's connection ended, or its process did.
    SlaveGone {
        /// Who.
        slave: SlaveId,
        /// How it is known that it is dead; `None`: it may live, and is not connected.
        #[serde(flatten, serialize_with = "dead_by")]
        dead: Option<Evidence>,
        /// Shards that it had.
        held: usize,
        /// Its slot.
        slot: String,
        /// Its build.
        build: String,
        /// Its process id.
        pid: u32,
        /// See [`News::SlaveJoined`].
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A process that the master started or knew has ended: how, and what it said last.
    /// Told by the driver.
    SlaveEnded(Box<Death>),
    /// The agent of a host connected: it carries out what is to be done there. Told by the
    /// driver.
    AgentJoined {
        /// The name of its host.
        host: String,
        /// Version of its program.
        program: String,
    },
    /// The connection of a host's agent ended. Its slaves may well go on. Told by the driver.
    AgentGone {
        /// The name of its host.
        host: String,
    },
    /// A shard serves outside a migration.
    ShardServing {
        /// The shard.
        shard: ShardId,
        /// At which epoch.
        epoch: Epoch,
        /// By whom.
        slave: SlaveId,
    },
    /// The service ended a session: a span of events is lost.
    SessionLost {
        /// The shard.
        shard: ShardId,
        /// Whose it is.
        slave: SlaveId,
    },
    /// The state of a shard was lost with its former owner, and its bot wants it back: the
    /// shard asks for a new session, and a span of events is lost.
    StateLost {
        /// The shard.
        shard: ShardId,
        /// Whose it is.
        slave: SlaveId,
    },
    /// An event is lost that no slave finished, and that the service no longer replays.
    EventGivenUp {
        /// The shard.
        shard: ShardId,
        /// Its sequence.
        sequence: Sequence,
        /// How many numbers are given up with it, itself included; not each of them
        /// need be an event.
        events: u64,
        /// Its type; `None`: not known.
        kind: Option<String>,
        /// Its guild, zero where it has none; `None`: not known.
        guild: Option<u64>,
        /// In whose handler it was; `None`: not known.
        slave: Option<SlaveId>,
        /// For how long.
        #[serde(rename = "unfinished_ms", serialize_with = "maybe_millis")]
        unfinished: Option<Duration>,
    },
    /// A slave is started into an empty slot.
    Launching {
        /// The slot.
        slot: String,
        /// Starts that failed in a row.
        attempt: u32,
        /// How long the next attempt waits if this one fails.
        #[serde(rename = "backoff_ms", serialize_with = "millis")]
        backoff: Duration,
    },
    /// A slave said what cannot be true: nothing of it is believed.
    Disbelieved {
        /// Who.
        slave: SlaveId,
        /// What, and why it cannot be.
        detail: String,
    },
    /// An operator must act.
    Alarm {
        /// What is wrong and what to do.
        detail: String,
    },
}

/// How a deploy of every slot ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// Every slot has the new build.
    #[default]
    Done,
    /// One did not come through: no further slot was begun.
    Stopped,
}

fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_millis(*time))
}

pub(super) fn maybe_millis<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(whole_millis).serialize(serializer)
}

/// `dead`, and `evidence`.
fn dead_by<S: Serializer>(dead: &Option<Evidence>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Gone {
        dead: bool,
        evidence: Option<Evidence>,
    }
    let gone = Gone {
        dead: dead.is_some(),
        evidence: *dead,
    };
    gone.serialize(serializer)
}

/// Whole milliseconds.
pub(crate) fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Flat, and with the sentence for a person that the outcome and the losses make together.
fn deploy_ended<S: Serializer>(
    deploy: &DeployId,
    outcome: &Outcome,
    moved: &u32,
    migrating: &Duration,
    total: &Duration,
    losses: &Losses,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Ended<'a> {
        deploy: DeployId,
        outcome: &'static str,
        reason: Option<&'a str>,
        shard: Option<ShardId>,
        text: String,
        sessions_lost: u32,
        events_given_up: u32,
        moved: u32,
        migrating_ms: u64,
        total_ms: u64,
    }
    let ended = Ended {
        deploy: *deploy,
        outcome: outcome.name(),
        reason: outcome.reason(),
        shard: outcome.shard(),
        text: format!("{outcome}{losses}"),
        sessions_lost: losses.sessions,
        events_given_up: losses.events,
        moved: *moved,
        migrating_ms: whole_millis(*migrating),
        total_ms: whole_millis(*total),
    };
    ended.serialize(serializer)
}
