//! The wire of YAGPDB's 2018 Go master and slaves: ids 1 to 10.
//!
//! This module alone knows the Go program's shapes. It has two faces:
//!
//! - [`ToMaster`] and [`ToSlave`] are what a Go peer says and is told, for a fleet of which
//!   one side is still the Go program (`docs/moving-from-go.md`). No other peer gets these:
//!   remove them, and Baton's own peers do not notice.
//! - Peers of today use ids 1 to 6 and 8 as well, with what they mean under the key `Baton`
//!   of a Go body. `today.rs` makes the messages of [`message`](crate::message) of these
//!   bodies, and back.

mod body;
pub(crate) mod today;

use bytes::Bytes;
use serde::de::IgnoredAny;

use self::body::{HelloBody, MigrationBody, SessionBody};
use crate::{
    body::{as_go, empty, into_frame, named, raw},
    codec::Frame,
    error::DecodeError,
    message::event,
};

/// What a Go slave says to its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// 8, the first frame of a connection. `running` false asks for work, true says "I am
    /// the running slave and lost my connection" and gets no answer.
    Hello {
        /// Whether it has shards.
        running: bool,
    },
    /// 3, answers the same.
    ShardMigrationStart(Migration),
    /// 4, answers the same: the shard is stopped, and here is its session.
    StopShard(Session),
    /// 5, answers the same, one second later, no matter what Discord said.
    Resume(Session),
    /// 6. No Go slave says it.
    Shutdown,
    /// 7, state of one guild, unread.
    GuildState(Bytes),
    /// 9. No Go slave says it.
    SoftStartComplete,
    /// 10. No Go slave says it.
    ShardStopped,
}

/// What a Go master says to its slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSlave {
    /// 1. No Go master says it; its slave takes it for a 2.
    SoftStart,
    /// 2, start all shards.
    FullStart,
    /// 3, shards are to leave, or to come.
    ShardMigrationStart(Migration),
    /// 4, stop a shard. `shard` as high as the number of shards means "all moved, end", and
    /// gets no answer. The session may be that of the shard before.
    StopShard(Session),
    /// 5, resume a shard.
    Resume(Session),
    /// 6, end.
    Shutdown,
    /// 7, state of one guild from the slave before, unread.
    GuildState(Bytes),
}

/// The body of id 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// Whether shards leave the slave that this frame is sent to, or comes from.
    pub from_this_slave: bool,
    /// How many shards; `0` in the master's question to the old slave.
    pub num_shards: u32,
}

/// The body of ids 4 and 5: a shard, and where its session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The shard.
    pub shard: u32,
    /// Discord's session id; empty: there is no session.
    pub session_id: String,
    /// The sequence to resume from.
    pub sequence: u64,
}

into_frame!(ToMaster, ToSlave);

impl ToSlave {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::SoftStart => empty(event::SOFT_START),
            Self::FullStart => empty(event::FULL_START),
            Self::ShardMigrationStart(migration) => migration.to_frame(),
            Self::StopShard(session) => session.to_frame(event::STOP_SHARD),
            Self::Resume(session) => session.to_frame(event::RESUME),
            Self::Shutdown => empty(event::SHUTDOWN),
            Self::GuildState(body) => raw(event::GUILD_STATE, body),
        }
    }

    /// Reads what a Go master sent.
    ///
    /// # Errors
    /// No Go master sends this id, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SOFT_START => Self::SoftStart,
            event::FULL_START => Self::FullStart,
            event::SHARD_MIGRATION_START => Self::ShardMigrationStart(Migration::read(&body)?),
            event::STOP_SHARD => Self::StopShard(Session::read(id, &body)?),
            event::RESUME => Self::Resume(Session::read(id, &body)?),
            event::SHUTDOWN => Self::Shutdown,
            event::GUILD_STATE => Self::GuildState(body),
            _ => return Err(event::not_of("a Go master", id, event::OF_MASTERS)),
        })
    }
}

impl ToMaster {
    /// The frame of this message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match self {
            Self::Hello { running } => named(
                event::SLAVE_HELLO,
                &HelloBody::<()> {
                    running: *running,
                    baton: None,
                },
            ),
            Self::ShardMigrationStart(migration) => migration.to_frame(),
            Self::StopShard(session) => session.to_frame(event::STOP_SHARD),
            Self::Resume(session) => session.to_frame(event::RESUME),
            Self::Shutdown => empty(event::SHUTDOWN),
            Self::GuildState(body) => raw(event::GUILD_STATE, body),
            Self::SoftStartComplete => empty(event::SOFT_START_COMPLETE),
            Self::ShardStopped => empty(event::SHARD_STOPPED),
        }
    }

    /// Reads what a Go slave sent.
    ///
    /// # Errors
    /// No Go slave sends this id, or the body is not what its id says.
    pub fn from_frame(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { id, body } = frame;
        Ok(match id {
            event::SLAVE_HELLO => Self::Hello {
                running: as_go::<HelloBody<IgnoredAny>>(id, &body)?.running,
            },
            event::SHARD_MIGRATION_START => Self::ShardMigrationStart(Migration::read(&body)?),
            event::STOP_SHARD => Self::StopShard(Session::read(id, &body)?),
            event::RESUME => Self::Resume(Session::read(id, &body)?),
            event::SHUTDOWN => Self::Shutdown,
            event::GUILD_STATE => Self::GuildState(body),
            event::SOFT_START_COMPLETE => Self::SoftStartComplete,
            event::SHARD_STOPPED => Self::ShardStopped,
            _ => return Err(event::not_of("a Go slave", id, event::OF_SLAVES)),
        })
    }
}

impl Migration {
    fn to_frame(self) -> Frame {
        let body = MigrationBody::<()> {
            from_this_slave: self.from_this_slave,
            shards: self.num_shards,
            baton: None,
        };
        named(event::SHARD_MIGRATION_START, &body)
    }

    fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let body: MigrationBody<IgnoredAny> = as_go(event::SHARD_MIGRATION_START, body)?;
        Ok(Self {
            from_this_slave: body.from_this_slave,
            num_shards: body.shards,
        })
    }
}

impl Session {
    fn to_frame(&self, id: u32) -> Frame {
        let body = SessionBody::<()> {
            shard: self.shard,
            session_id: self.session_id.clone(),
            sequence: self.sequence,
            baton: None,
        };
        named(id, &body)
    }

    fn read(id: u32, body: &[u8]) -> Result<Self, DecodeError> {
        let body: SessionBody<IgnoredAny> = as_go(id, body)?;
        Ok(Self {
            shard: body.shard,
            session_id: body.session_id,
            sequence: body.sequence,
        })
    }
}
