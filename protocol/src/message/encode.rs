//! From a message to its frame.

use bytes::Bytes;
use serde::Serialize;

use super::{SlaveHello, ToMaster, ToSlave, event};
use crate::codec::Frame;

impl ToSlave {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::SoftStart => empty(event::SOFT_START),
            Self::FullStart(body) if body.start.is_none() => empty(event::FULL_START),
            Self::FullStart(body) => named(event::FULL_START, body),
            Self::ShardMigrationStart(body) => named(event::SHARD_MIGRATION_START, body),
            Self::StopShard(body) => named(event::STOP_SHARD, body),
            Self::Resume(body) => named(event::RESUME, body),
            Self::Shutdown => empty(event::SHUTDOWN),
            Self::GuildState(body) => raw(event::GUILD_STATE, body),
            Self::Welcome(body) => named(event::WELCOME, body),
            Self::Accepted(body) => named(event::ACCEPTED, body),
            Self::Refused(body) => named(event::REFUSED, body),
            Self::Ping(body) => named(event::PING, body),
            Self::IdentifyPermit(body) => named(event::IDENTIFY_PERMIT, body),
            Self::Settled(body) => named(event::SETTLED, body),
            Self::CopyState(body) => named(event::COPY_STATE, body),
            Self::StateAck(body) => named(event::STATE_ACK, body),
            Self::StopWork(body) => named(event::STOP_WORK, body),
            Self::StartWork(body) => named(event::START_WORK, body),
            Self::Forget(body) => named(event::FORGET, body),
            Self::Dial(body) => named(event::DIAL, body),
            Self::SealLate(body) => named(event::SEAL_LATE, body),
            Self::Overtake(body) => named(event::OVERTAKE, body),
            Self::Try(body) => named(event::TRY, body),
            Self::State(frame) => raw(frame.id(), frame.body()),
        }
    }
}

impl ToMaster {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::ShardMigrationStart(body) => named(event::SHARD_MIGRATION_START, body),
            Self::StopShard(body) => named(event::STOP_SHARD, body),
            Self::Resume(body) => named(event::RESUME, body),
            Self::Shutdown => empty(event::SHUTDOWN),
            Self::GuildState(body) => raw(event::GUILD_STATE, body),
            Self::SlaveHello(body) => hello(body),
            Self::SoftStartComplete => empty(event::SOFT_START_COMPLETE),
            Self::ShardStopped => empty(event::SHARD_STOPPED),
            Self::Proof(body) => named(event::PROOF, body),
            Self::Report(body) => named(event::REPORT, body),
            Self::Pong(body) => named(event::PONG, body),
            Self::IdentifyRequest(body) => named(event::IDENTIFY_REQUEST, body),
            Self::Progress(body) => named(event::PROGRESS, body),
            Self::Checkpoint(body) => named(event::CHECKPOINT, body),
            Self::Settled(body) => named(event::SETTLED, body),
            Self::StateReady(body) => named(event::STATE_READY, body),
            Self::StateAck(body) => named(event::STATE_ACK, body),
            Self::StopWork(body) => named(event::STOP_WORK, body),
            Self::StartWork(body) => named(event::START_WORK, body),
            Self::Failed(body) => named(event::FAILED, body),
            Self::Dialled(body) => named(event::DIALLED, body),
            Self::SealLate(body) => named(event::SEAL_LATE, body),
            Self::Overtaken(body) => named(event::OVERTAKEN, body),
            Self::CopyAnew(body) => named(event::COPY_ANEW, body),
            Self::Leave => empty(event::LEAVE),
            Self::Trying(body) => named(event::TRYING, body),
            Self::SetAside(body) => named(event::SET_ASIDE, body),
            Self::State(frame) => raw(frame.id(), frame.body()),
        }
    }
}

fn hello(body: &SlaveHello) -> Frame {
    named(event::SLAVE_HELLO, body)
}

fn empty(id: u32) -> Frame {
    Frame {
        id,
        body: Bytes::new(),
    }
}

fn raw(id: u32, body: &Bytes) -> Frame {
    Frame {
        id,
        body: body.clone(),
    }
}

/// Maps with field names, integers in their shortest form: what the Go
/// peers write.
fn named<T: Serialize>(id: u32, body: &T) -> Frame {
    let body = rmp_serde::to_vec_named(body)
        .expect("our bodies are maps of numbers, strings and lists, which always encode");
    Frame {
        id,
        body: body.into(),
    }
}
