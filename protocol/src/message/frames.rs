//! From a message of a joined slave or its master to its frame, and back.

use super::{FullStart, Resume, Seal, Sealed, ShardMigrationStart, ToMaster, ToSlave, event};
use crate::{
    body::{empty, into_frame, named, ours, raw},
    codec::Frame,
    error::DecodeError,
    go::today,
    state::StateFrame,
};

into_frame!(ToMaster, ToSlave);

impl ToSlave {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::SoftStart => empty(event::SOFT_START),
            Self::FullStart(start) => start.to_frame(),
            Self::ShardMigrationStart(migration) => migration.to_frame(),
            Self::Seal(seal) => seal.to_frame(),
            Self::Resume(resume) => resume.to_frame(),
            Self::Shutdown => empty(event::SHUTDOWN),
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
            Self::PermitsLeased(body) => named(event::PERMITS_LEASED, body),
            Self::Post(body) => named(event::POST, body),
            Self::State(frame) => raw(frame.id(), frame.body()),
        }
    }

    /// Reads what a master sent to a joined slave.
    ///
    /// # Errors
    /// Masters do not say this id to a joined slave, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SOFT_START => Self::SoftStart,
            event::FULL_START => Self::FullStart(FullStart::read(&body)?),
            event::SHARD_MIGRATION_START => {
                Self::ShardMigrationStart(ShardMigrationStart::read(&body)?)
            }
            event::STOP_SHARD => Self::Seal(Seal::read(&body)?),
            event::RESUME => Self::Resume(Box::new(Resume::read(&body)?)),
            event::SHUTDOWN => Self::Shutdown,
            event::ACCEPTED => Self::Accepted(ours(id, &body)?),
            event::REFUSED => Self::Refused(ours(id, &body)?),
            event::PING => Self::Ping(ours(id, &body)?),
            event::IDENTIFY_PERMIT => Self::IdentifyPermit(ours(id, &body)?),
            event::SETTLED => Self::Settled(ours(id, &body)?),
            event::COPY_STATE => Self::CopyState(ours(id, &body)?),
            event::STATE_ACK => Self::StateAck(ours(id, &body)?),
            event::STOP_WORK => Self::StopWork(ours(id, &body)?),
            event::START_WORK => Self::StartWork(ours(id, &body)?),
            event::FORGET => Self::Forget(ours(id, &body)?),
            event::DIAL => Self::Dial(ours(id, &body)?),
            event::SEAL_LATE => Self::SealLate(ours(id, &body)?),
            event::OVERTAKE => Self::Overtake(ours(id, &body)?),
            event::TRY => Self::Try(ours(id, &body)?),
            event::PERMITS_LEASED => Self::PermitsLeased(ours(id, &body)?),
            event::POST => Self::Post(ours(id, &body)?),
            event::FIRST_ROUTED.. => Self::State(StateFrame::from_body(id, body)?),
            _ => {
                return Err(event::not_of(
                    "a joined slave's master",
                    id,
                    event::OF_MASTERS,
                ));
            }
        })
    }
}

impl ToMaster {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::ShardMigrationStart(migration) => migration.to_frame(),
            Self::Sealed(sealed) => sealed.to_frame(),
            Self::Resumed(unit) => today::resumed(*unit),
            Self::Shutdown => empty(event::SHUTDOWN),
            Self::SoftStartComplete => empty(event::SOFT_START_COMPLETE),
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
            Self::PermitsWanted(body) => named(event::PERMITS_WANTED, body),
            Self::Post(body) => named(event::POST, body),
            Self::State(frame) => raw(frame.id(), frame.body()),
        }
    }

    /// Reads what a joined slave sent.
    ///
    /// # Errors
    /// Joined slaves do not say this id, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SHARD_MIGRATION_START => {
                Self::ShardMigrationStart(ShardMigrationStart::read(&body)?)
            }
            event::STOP_SHARD => Self::Sealed(Box::new(Sealed::read(&body)?)),
            event::RESUME => Self::Resumed(today::read_resumed(&body)?),
            event::SHUTDOWN => Self::Shutdown,
            event::SOFT_START_COMPLETE => Self::SoftStartComplete,
            event::PONG => Self::Pong(ours(id, &body)?),
            event::IDENTIFY_REQUEST => Self::IdentifyRequest(ours(id, &body)?),
            event::PROGRESS => Self::Progress(ours(id, &body)?),
            event::CHECKPOINT => Self::Checkpoint(ours(id, &body)?),
            event::SETTLED => Self::Settled(ours(id, &body)?),
            event::STATE_READY => Self::StateReady(ours(id, &body)?),
            event::STATE_ACK => Self::StateAck(ours(id, &body)?),
            event::STOP_WORK => Self::StopWork(ours(id, &body)?),
            event::START_WORK => Self::StartWork(ours(id, &body)?),
            event::FAILED => Self::Failed(ours(id, &body)?),
            event::DIALLED => Self::Dialled(ours(id, &body)?),
            event::SEAL_LATE => Self::SealLate(ours(id, &body)?),
            event::OVERTAKEN => Self::Overtaken(ours(id, &body)?),
            event::COPY_ANEW => Self::CopyAnew(ours(id, &body)?),
            event::LEAVE => Self::Leave,
            event::TRYING => Self::Trying(ours(id, &body)?),
            event::SET_ASIDE => Self::SetAside(ours(id, &body)?),
            event::PERMITS_WANTED => Self::PermitsWanted(ours(id, &body)?),
            event::POST => Self::Post(ours(id, &body)?),
            event::FIRST_ROUTED.. => Self::State(StateFrame::from_body(id, body)?),
            _ => return Err(event::not_of("a joined slave", id, event::OF_SLAVES)),
        })
    }
}
