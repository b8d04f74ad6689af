//! From a frame to its message.

use serde::de::DeserializeOwned;

use super::{FullStart, ToMaster, ToSlave, event};
use crate::{codec::Frame, error::DecodeError, msgpack, state::StateFrame};

impl ToSlave {
    /// Reads what a master sent.
    ///
    /// # Errors
    /// The id is not sent by masters, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SOFT_START => Self::SoftStart,
            event::FULL_START if body.is_empty() => Self::FullStart(FullStart::default()),
            event::FULL_START => Self::FullStart(ancestor(id, &body)?),
            event::SHARD_MIGRATION_START => Self::ShardMigrationStart(ancestor(id, &body)?),
            event::STOP_SHARD => Self::StopShard(ancestor(id, &body)?),
            event::RESUME => Self::Resume(ancestor(id, &body)?),
            event::SHUTDOWN => Self::Shutdown,
            event::GUILD_STATE => Self::GuildState(body),
            event::WELCOME => Self::Welcome(ours(id, &body)?),
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
            event::FIRST_ROUTED.. => Self::State(StateFrame::from_body(id, body)?),
            _ => return Err(DecodeError::UnknownId { id }),
        })
    }
}

impl ToMaster {
    /// Reads what a slave sent.
    ///
    /// # Errors
    /// The id is not sent by slaves, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SHARD_MIGRATION_START => Self::ShardMigrationStart(ancestor(id, &body)?),
            event::STOP_SHARD => Self::StopShard(ancestor(id, &body)?),
            event::RESUME => Self::Resume(ancestor(id, &body)?),
            event::SHUTDOWN => Self::Shutdown,
            event::GUILD_STATE => Self::GuildState(body),
            event::SLAVE_HELLO => Self::SlaveHello(ancestor(id, &body)?),
            event::SOFT_START_COMPLETE => Self::SoftStartComplete,
            event::SHARD_STOPPED => Self::ShardStopped,
            event::PROOF => Self::Proof(ours(id, &body)?),
            event::REPORT => Self::Report(ours(id, &body)?),
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
            event::FIRST_ROUTED.. => Self::State(StateFrame::from_body(id, body)?),
            _ => return Err(DecodeError::UnknownId { id }),
        })
    }
}

/// A body of ids 1 to 10: taken as the Go decoder takes it. Bytes behind the
/// value are ignored, nil is a body of zeroes.
fn ancestor<T: DeserializeOwned + Default>(id: u32, body: &[u8]) -> Result<T, DecodeError> {
    let length = msgpack::value_length(id, body)?;
    if body.first() == Some(&NIL) {
        return Ok(T::default());
    }
    typed(id, &body[..length])
}

/// A body of ids 11 to 99: exactly one value.
fn ours<T: DeserializeOwned>(id: u32, body: &[u8]) -> Result<T, DecodeError> {
    let length = msgpack::value_length(id, body)?;
    if length < body.len() {
        return Err(DecodeError::Trailing {
            id,
            extra: body.len() - length,
        });
    }
    typed(id, body)
}

fn typed<T: DeserializeOwned>(id: u32, value: &[u8]) -> Result<T, DecodeError> {
    rmp_serde::from_slice(value).map_err(|error| DecodeError::WrongType {
        id,
        detail: error.to_string(),
    })
}

const NIL: u8 = 0xc0;
