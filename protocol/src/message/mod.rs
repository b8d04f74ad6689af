//! The wire in one short read: one enum per direction, and which id is what.
//!
//! What may be said depends on who speaks and how far a connection is, so there are four pairs of enums,
//! and no message is in a place where it cannot be said:
//!
//! | | slave | master |
//! |---|---|---|
//! | [`handshake`]: until the last report | hello, proof, reports | welcome, or refused |
//! | here: a joined slave and its master | [`ToMaster`] | [`ToSlave`] |
//! | [`agent`]: an agent, and its master | [`agent::FromAgent`] | [`agent::ToAgent`] |
//! | [`go`](crate::go): the Go program of 2018 | [`go::ToMaster`](crate::go::ToMaster) | [`go::ToSlave`](crate::go::ToSlave) |
//!
//! A frame of another class than the one that is due is
//! [`DecodeError::OutOfPlace`](crate::DecodeError::OutOfPlace), or
//! [`NoBaton`](crate::DecodeError::NoBaton) where only its body tells the class.
//!
//! Each variant says who sends it, when, and what answers it.

pub mod agent;
mod clients;
mod copies;
mod frames;
mod handover;
pub mod handshake;
mod health;
mod service;
mod serving;
mod sink;
#[cfg(test)]
mod tests;

pub use self::{
    clients::{Absent, Behind, Clients, GivenUp, Library, Refusals, Waiting},
    copies::{CopyState, StateAck, StateReady, Work},
    handover::{
        CarriedEvent, Dial, Dialled, Overtaken, Resume, ResumeAfter, Seal, Sealed, SetAside,
        Settled, ShardMigrationStart, Trying,
    },
    handshake::{
        Accepted, Held, Hello, Holding, MAX_NAME, Proof, Refused, RefusedReason, Report, Role,
        Welcome,
    },
    health::{MemoryUse, Ping, Pong, StoreRoom, Unfinished},
    service::{Correspondent, MAX_PERMIT, PermitsLeased, PermitsWanted, Post},
    serving::{
        Checkpoint, CheckpointEntry, Failed, FullStart, IdentifyCause, IdentifyRequest, Progress,
        Step, Unit,
    },
    sink::SinkReport,
};
use crate::state::StateFrame;

/// Keeps at most so many bytes of a text, and whole characters.
fn shorten(text: &mut String, most: usize) {
    let mut at = text.len().min(most);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.truncate(at);
}

/// Event ids. 1 to 10 are the Go wire's, 11 to 99 ours, 100 and above carry
/// state and are routed undecoded.
#[allow(missing_docs)]
pub mod event {
    use crate::error::DecodeError;

    pub const SOFT_START: u32 = 1;
    pub const FULL_START: u32 = 2;
    pub const SHARD_MIGRATION_START: u32 = 3;
    pub const STOP_SHARD: u32 = 4;
    pub const RESUME: u32 = 5;
    pub const SHUTDOWN: u32 = 6;
    pub const GUILD_STATE: u32 = 7;
    pub const SLAVE_HELLO: u32 = 8;
    pub const SOFT_START_COMPLETE: u32 = 9;
    pub const SHARD_STOPPED: u32 = 10;
    pub const WELCOME: u32 = 11;
    pub const PROOF: u32 = 12;
    pub const REPORT: u32 = 13;
    pub const ACCEPTED: u32 = 14;
    pub const REFUSED: u32 = 15;
    pub const PING: u32 = 16;
    pub const PONG: u32 = 17;
    pub const IDENTIFY_REQUEST: u32 = 20;
    pub const IDENTIFY_PERMIT: u32 = 21;
    pub const PROGRESS: u32 = 22;
    pub const CHECKPOINT: u32 = 23;
    pub const SETTLED: u32 = 24;
    pub const COPY_STATE: u32 = 25;
    pub const STATE_READY: u32 = 26;
    pub const STATE_ACK: u32 = 27;
    pub const STOP_WORK: u32 = 28;
    pub const START_WORK: u32 = 29;
    pub const FAILED: u32 = 30;
    pub const FORGET: u32 = 31;
    pub const DIAL: u32 = 32;
    pub const DIALLED: u32 = 33;
    pub const SEAL_LATE: u32 = 34;
    pub const OVERTAKE: u32 = 35;
    pub const OVERTAKEN: u32 = 36;
    pub const COPY_ANEW: u32 = 37;
    pub const LEAVE: u32 = 38;
    pub const TRYING: u32 = 39;
    pub const TRY: u32 = 40;
    pub const SET_ASIDE: u32 = 41;
    pub const PERMITS_WANTED: u32 = 42;
    pub const PERMITS_LEASED: u32 = 43;
    pub const POST: u32 = 44;
    pub const AGENT_HELLO: u32 = 60;
    pub const AGENT_REPORT: u32 = 61;
    pub const AGENT_ACCEPTED: u32 = 62;
    pub const AGENT_PING: u32 = 63;
    pub const AGENT_PONG: u32 = 64;
    pub const AGENT_LAUNCH: u32 = 65;
    pub const AGENT_LAUNCHED: u32 = 66;
    pub const AGENT_GIVE_UP: u32 = 67;
    pub const AGENT_ENDED: u32 = 68;
    pub const AGENT_NOTED: u32 = 69;
    pub const AGENT_WATCH: u32 = 70;
    pub const AGENT_WATCHED: u32 = 71;
    pub const AGENT_DIED: u32 = 72;
    pub const AGENT_KILL: u32 = 73;
    pub const AGENT_UNWATCH: u32 = 74;
    pub const AGENT_ASK: u32 = 75;
    pub const AGENT_STANDS: u32 = 76;
    /// A run of pieces of state.
    pub const STATE_PIECES: u32 = 100;
    /// The copy of a shard's state is complete.
    pub const STATE_END: u32 = 101;
    /// The same two with a checksum, from version 5 on.
    pub const STATE_CHECKED: u32 = 102;
    pub const STATE_CHECKED_END: u32 = 103;
    /// Ids from here on are routed by their first 24 bytes.
    pub const FIRST_ROUTED: u32 = 100;

    /// Ids below [`FIRST_ROUTED`] that some master says.
    pub(crate) const OF_MASTERS: &[u32] = &[
        SOFT_START,
        FULL_START,
        SHARD_MIGRATION_START,
        STOP_SHARD,
        RESUME,
        SHUTDOWN,
        GUILD_STATE,
        WELCOME,
        ACCEPTED,
        REFUSED,
        PING,
        IDENTIFY_PERMIT,
        SETTLED,
        COPY_STATE,
        STATE_ACK,
        STOP_WORK,
        START_WORK,
        FORGET,
        DIAL,
        SEAL_LATE,
        OVERTAKE,
        TRY,
        PERMITS_LEASED,
        POST,
        AGENT_ACCEPTED,
        AGENT_PING,
        AGENT_LAUNCH,
        AGENT_GIVE_UP,
        AGENT_NOTED,
        AGENT_WATCH,
        AGENT_KILL,
        AGENT_UNWATCH,
        AGENT_STANDS,
    ];

    /// Ids below [`FIRST_ROUTED`] that some slave or agent says. Without
    /// [`SHARD_STOPPED`], which is known and means nothing: it is skipped like an id that
    /// a later version adds.
    pub(crate) const OF_SLAVES: &[u32] = &[
        SHARD_MIGRATION_START,
        STOP_SHARD,
        RESUME,
        SHUTDOWN,
        GUILD_STATE,
        SLAVE_HELLO,
        SOFT_START_COMPLETE,
        PROOF,
        REPORT,
        PONG,
        IDENTIFY_REQUEST,
        PROGRESS,
        CHECKPOINT,
        SETTLED,
        STATE_READY,
        STATE_ACK,
        STOP_WORK,
        START_WORK,
        FAILED,
        DIALLED,
        SEAL_LATE,
        OVERTAKEN,
        COPY_ANEW,
        LEAVE,
        TRYING,
        SET_ASIDE,
        PERMITS_WANTED,
        POST,
        AGENT_HELLO,
        AGENT_REPORT,
        AGENT_PONG,
        AGENT_LAUNCHED,
        AGENT_ENDED,
        AGENT_WATCHED,
        AGENT_DIED,
        AGENT_ASK,
    ];

    /// Why `speaker` says no `id`: another class of its direction does, or nobody.
    pub(crate) fn not_of(speaker: &'static str, id: u32, known: &[u32]) -> DecodeError {
        if id >= FIRST_ROUTED || known.contains(&id) {
            DecodeError::OutOfPlace { id, speaker }
        } else {
            DecodeError::UnknownId { id }
        }
    }
}

/// What a master says to a joined slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSlave {
    /// 1, to a standby after [`Accepted`]: build the bot, serve nothing.
    /// Answer: [`ToMaster::SoftStartComplete`].
    SoftStart,
    /// 2, to the first slave of an empty slot, for shards without a session:
    /// cold start. Each shard asks for its permit, then serves
    /// ([`ToMaster::Progress`] with [`Step::Serving`]).
    FullStart(FullStart),
    /// 3, at the start of a deploy, to both slaves: the new one builds its bot
    /// and serves nothing, the old one goes on serving. Answer: the same.
    ShardMigrationStart(ShardMigrationStart),
    /// 4, to the owner at the named epoch: seal. Answer at once:
    /// [`ToMaster::Sealed`]; later [`ToMaster::Settled`]. Asked again after a
    /// reconnect, answered again with the same ticket.
    Seal(Seal),
    /// 5, to the next owner: the shard is yours at this epoch. Answer, when
    /// Discord said RESUMED: [`ToMaster::Resumed`], or [`ToMaster::Failed`].
    /// To the slave that sealed it, with a higher epoch: take it back.
    Resume(Box<Resume>),
    /// 6, to a slave that owns nothing any more, or that is to leave: finish what
    /// runs, end with exit code 0. Answer: [`ToMaster::Shutdown`].
    Shutdown,
    /// 14, after the last report: accepted. From now on the slave is told what to do.
    Accepted(Accepted),
    /// 15, instead of [`Accepted`] or at any time: refused, the connection closes.
    Refused(Refused),
    /// 16, every few seconds. Answer: [`ToMaster::Pong`].
    Ping(Ping),
    /// 21, answers [`ToMaster::IdentifyRequest`]: send IDENTIFY now. Valid once,
    /// for this shard at this epoch, for five seconds.
    IdentifyPermit(Unit),
    /// 24, to the new owner: what was in doubt at the seal is settled.
    Settled(Settled),
    /// 25, to the owner, before the seal: copy this shard's state while serving,
    /// as state frames.
    CopyState(CopyState),
    /// 27, from the slave that takes the state in: so much of it arrived.
    StateAck(StateAck),
    /// 28, to the slave that runs the once-per-bot work: stop it. Answer:
    /// [`ToMaster::StopWork`] with the ticket.
    StopWork(Work),
    /// 29, to the slave that runs it from now on. Answer:
    /// [`ToMaster::StartWork`].
    StartWork(Work),
    /// 31, to a slave that holds something of a shard that it will not need: a
    /// frozen copy after the commit, an imported copy after an abort. The epoch
    /// is the highest that exists; a slave that owns the shard at it ignores this.
    Forget(Unit),
    /// 32, to the next owner of a shard, before the seal: dial Discord for its
    /// session and go as far as HELLO, no further. Answer: [`ToMaster::Dialled`].
    /// Not sent to a slave that speaks less than version 3.
    Dial(Box<Dial>),
    /// 34, to the owner at the named epoch, instead of [`ToSlave::Seal`]: go on
    /// with the connection that is open, for as long as it is open, and seal when it
    /// ends. Answer at once: the same, or, where no connection serves,
    /// [`ToMaster::Sealed`]. Void when the slave's link to the master ends, or
    /// with [`ToSlave::Seal`]. Not sent to a slave that speaks less than
    /// version 5.
    SealLate(Seal),
    /// 35, to the next owner of a shard that holds a connection for it
    /// ([`ToSlave::Dial`]), the epoch is the one that the dial named: send the
    /// RESUME, hand nothing out, keep what comes for [`ToSlave::Resume`]. Answer:
    /// [`ToMaster::Overtaken`]. Not sent to a slave that speaks less than version 5.
    Overtake(Unit),
    /// 40, answers [`ToMaster::Trying`]: it is written down which event this is; hand
    /// it out. Not sent to a slave that speaks less than version 6.
    Try(Trying),
    /// 43, answers [`ToMaster::PermitsWanted`].
    PermitsLeased(PermitsLeased),
    /// 44, to the slave that runs the work, or serves the unit.
    Post(Post),
    /// 100 and above, from the old slave through the master, body unread.
    State(StateFrame),
}

/// What a joined slave says to its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// 3, answers the same: the old one says how many shards it has, the new one
    /// that its bot is built.
    ShardMigrationStart(ShardMigrationStart),
    /// 4, answers [`ToSlave::Seal`]: sealed, with the ticket. Unasked when the slave is
    /// leaving by itself (SIGTERM): then [`ToMaster::Shutdown`] follows.
    Sealed(Box<Sealed>),
    /// 5, answers [`ToSlave::Resume`]: Discord said RESUMED, the shard is served at this
    /// epoch.
    Resumed(Unit),
    /// 6, the slave leaves by itself, or obeys a [`ToSlave::Shutdown`]: every
    /// shard is sealed and settled, the process ends now.
    Shutdown,
    /// 9, answers [`ToSlave::SoftStart`]: the bot is built.
    SoftStartComplete,
    /// 17, answers [`ToSlave::Ping`].
    Pong(Pong),
    /// 20, whenever a shard needs a new session. Answer:
    /// [`ToSlave::IdentifyPermit`], when it is its turn.
    IdentifyRequest(IdentifyRequest),
    /// 22, at each step of a start or resume, and while a replay runs.
    Progress(Progress),
    /// 23, every few milliseconds while something changes.
    Checkpoint(Checkpoint),
    /// 24, once after each seal: everything in doubt is finished, or the drain
    /// deadline is over.
    Settled(Settled),
    /// 26, after the last state frame of a shard: imported.
    StateReady(StateReady),
    /// 27, while state frames come in.
    StateAck(StateAck),
    /// 28, answers the same: the work stands still, here is its ticket.
    StopWork(Work),
    /// 29, answers the same: the work runs.
    StartWork(Work),
    /// 30, instead of RESUMED: this shard cannot be served here.
    Failed(Failed),
    /// 33, answers [`ToSlave::Dial`]: HELLO came, or why not.
    Dialled(Dialled),
    /// 34, answers the same: sealed when the connection ends.
    SealLate(Unit),
    /// 36, answers [`ToSlave::Overtake`]: Discord said RESUMED, or why not.
    Overtaken(Overtaken),
    /// 37, answers [`ToSlave::Seal`] or [`ToSlave::SealLate`] where the question
    /// names a beginning: a heartbeat named more since. Nothing is sealed; the owner
    /// keeps serving, and its state must be copied again. Not said to a master that speaks
    /// less than version 6.
    CopyAnew(Unit),
    /// 38, the process is asked to end from outside (SIGTERM) and owns shards: move
    /// them to a successor, as in a deploy, and say [`ToSlave::Shutdown`] then, or at
    /// once where there is none. A slave that does not hear it in time leaves by
    /// itself. Not said to a master that speaks less than version 6.
    Leave,
    /// 39, before an event is handed out that may be one that kills
    /// ([`Resume::alone`]). Answer: [`ToSlave::Try`].
    Trying(Trying),
    /// 41, when an event is not handed out any more, or once more only.
    SetAside(Box<SetAside>),
    /// 42, whenever the number changes. Answer: [`ToSlave::PermitsLeased`].
    PermitsWanted(PermitsWanted),
    /// 44, from the work or a unit of this slave.
    Post(Post),
    /// 100 and above: state of one shard on its way to its next owner.
    State(StateFrame),
}
