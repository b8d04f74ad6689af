//! What peers of today say with ids 2, 3, 4, 5 and 8: the Go wire's fields, with the rest
//! of a message under the key `Baton`.
//!
//! A body without that key is a Go program's, and [`DecodeError::NoBaton`] here. What the
//! Go fields repeat of a ticket is written for whoever reads the wire, and not read.

use crate::{
    body::{as_go, named},
    codec::Frame,
    discord,
    error::DecodeError,
    id::ShardId,
    message::{FullStart, Hello, Resume, Seal, Sealed, ShardMigrationStart, Unit, event},
    ticket::Ticket,
};

use super::body::{HelloBody, Migrating, MigrationBody, Resuming, Sealing, SessionBody, StartBody};

/// The hello of a slave of today.
pub(crate) fn hello(running: bool, hello: &Hello) -> Frame {
    let baton = Some(hello);
    named(event::SLAVE_HELLO, &HelloBody { running, baton })
}

/// Reads one.
pub(crate) fn read_hello(body: &[u8]) -> Result<(bool, Box<Hello>), DecodeError> {
    let id = event::SLAVE_HELLO;
    let HelloBody { running, baton } = as_go(id, body)?;
    Ok((running, of_today(id, baton)?))
}

impl FullStart {
    pub(crate) fn to_frame(&self) -> Frame {
        named(event::FULL_START, &StartBody { baton: Some(self) })
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let id = event::FULL_START;
        if body.is_empty() {
            return Err(DecodeError::NoBaton { id });
        }
        let StartBody { baton } = as_go(id, body)?;
        of_today(id, baton)
    }
}

impl ShardMigrationStart {
    pub(crate) fn to_frame(self) -> Frame {
        let Self {
            deploy,
            from_this_slave,
            shards,
        } = self;
        let body = MigrationBody {
            from_this_slave,
            shards,
            baton: Some(Migrating { deploy }),
        };
        named(event::SHARD_MIGRATION_START, &body)
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let id = event::SHARD_MIGRATION_START;
        let MigrationBody {
            from_this_slave,
            shards,
            baton,
        } = as_go(id, body)?;
        let Migrating { deploy } = of_today(id, baton)?;
        Ok(Self {
            deploy,
            from_this_slave,
            shards,
        })
    }
}

impl Seal {
    pub(crate) fn to_frame(self) -> Frame {
        let Self {
            shard,
            epoch,
            drain,
            begins,
        } = self;
        let baton = Sealing::<Ticket> {
            epoch,
            drain,
            begins,
            ticket: None,
        };
        named(event::STOP_SHARD, &without_session(shard, baton))
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let (shard, sealing) = read_session::<Sealing<Ticket>>(event::STOP_SHARD, body)?;
        Ok(Self {
            shard,
            epoch: sealing.epoch,
            drain: sealing.drain,
            begins: sealing.begins,
        })
    }
}

impl Sealed {
    pub(crate) fn to_frame(&self) -> Frame {
        let ticket = &self.ticket;
        let baton = Sealing {
            epoch: self.epoch,
            drain: Default::default(),
            begins: None,
            ticket: Some(ticket),
        };
        named(event::STOP_SHARD, &with_session(ticket, baton))
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let id = event::STOP_SHARD;
        let (shard, sealing) = read_session::<Sealing<Ticket>>(id, body)?;
        Ok(Self {
            epoch: sealing.epoch,
            ticket: ticket_of(id, shard, sealing.ticket)?,
        })
    }
}

impl Resume {
    pub(crate) fn to_frame(&self) -> Frame {
        let ticket = &self.ticket;
        let baton = Resuming {
            epoch: self.epoch,
            after: self.after,
            state_too_old: self.state_too_old,
            alone: self.alone,
            deadly: self.deadly.clone(),
            skipped: self.skipped.clone(),
            ticket: Some(ticket),
        };
        named(event::RESUME, &with_session(ticket, baton))
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, DecodeError> {
        let id = event::RESUME;
        let (shard, resuming) = read_session::<Resuming<Ticket>>(id, body)?;
        Ok(Self {
            epoch: resuming.epoch,
            after: resuming.after,
            state_too_old: resuming.state_too_old,
            alone: resuming.alone,
            deadly: resuming.deadly,
            skipped: resuming.skipped,
            ticket: ticket_of(id, shard, resuming.ticket)?,
        })
    }
}

/// RESUMED, of a slave of today.
pub(crate) fn resumed(unit: Unit) -> Frame {
    let baton = Resuming::<Ticket> {
        epoch: unit.epoch,
        ..Resuming::default()
    };
    named(event::RESUME, &without_session(unit.shard, baton))
}

/// Reads one.
pub(crate) fn read_resumed(body: &[u8]) -> Result<Unit, DecodeError> {
    let (shard, resuming) = read_session::<Resuming<Ticket>>(event::RESUME, body)?;
    Ok(Unit {
        shard,
        epoch: resuming.epoch,
    })
}

fn without_session<B>(shard: ShardId, baton: B) -> SessionBody<B> {
    SessionBody {
        shard: shard.get(),
        session_id: String::new(),
        sequence: 0,
        baton: Some(baton),
    }
}

fn with_session<B>(ticket: &Ticket, baton: B) -> SessionBody<B> {
    SessionBody {
        shard: ticket.shard.get(),
        session_id: discord::Session::id_of(&ticket.session).to_owned(),
        sequence: ticket.resume_from().get(),
        baton: Some(baton),
    }
}

fn read_session<B>(id: u32, body: &[u8]) -> Result<(ShardId, B), DecodeError>
where
    B: Default + serde::de::DeserializeOwned,
{
    let SessionBody { shard, baton, .. } = as_go(id, body)?;
    Ok((ShardId(shard), of_today(id, baton)?))
}

fn of_today<B>(id: u32, baton: Option<B>) -> Result<B, DecodeError> {
    baton.ok_or(DecodeError::NoBaton { id })
}

/// The ticket that a body must have, of the shard that it names.
fn ticket_of(id: u32, shard: ShardId, ticket: Option<Ticket>) -> Result<Ticket, DecodeError> {
    let ticket = ticket.ok_or(DecodeError::NoTicket { id })?;
    if ticket.shard != shard {
        return Err(DecodeError::TicketOfAnother {
            id,
            shard,
            ticket: ticket.shard,
        });
    }
    Ok(ticket)
}
