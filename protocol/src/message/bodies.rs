//! Bodies that the ancestor did not know: the `Baton` key of ids 1 to 10, and
//! ids 11 to 99. Fields travel by name and have defaults, so that either side
//! may be newer.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    id::{DeployId, Epoch, Sequence, ShardId},
    ranges::SequenceRanges,
    ticket::Ticket,
    version::Version,
};

/// Id 16, master → slave: the link and both ends are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ping {
    /// Comes back unchanged.
    pub number: u64,
}

/// Id 17, slave → master: answers a [`Ping`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pong {
    /// The ping's.
    pub number: u64,
    /// Events that the slave's handlers finished since its start, failed ones
    /// included; zero before version 2.
    pub finished: u64,
    /// Events of these whose handler panicked, or gave them back too often.
    pub failed: u64,
    /// Milliseconds since its start in which a shard took nothing from Discord
    /// because its in-flight window was full, added up over all shards; zero
    /// before version 4. It grows as fast as time, or faster, where a slave cannot
    /// keep up.
    pub full_ms: u64,
    /// For how long the oldest event that is not finished has been at the slave, over
    /// all shards that it serves, in milliseconds; zero before version 5.
    pub lag_ms: u64,
    /// For how long nothing came from Discord on the connection on which nothing came
    /// for the longest time, of those that are open and read, in milliseconds; zero
    /// before version 5.
    pub silent_ms: u64,
    /// The shard of that connection.
    pub silent_shard: ShardId,
    /// How long Discord took to answer the last heartbeat of the shard where it took
    /// longest, in milliseconds; zero before version 5, and before the first answer.
    pub heartbeat_ms: u64,
    /// That shard.
    pub heartbeat_shard: ShardId,
    /// Events that the slave handed to its bot since its start, each counted once;
    /// zero where it does not say so. What is not finished of them runs.
    pub handed: u64,
    /// The oldest unfinished events of shards where one is worth a look, the one with
    /// most events behind it first; at most [`Pong::MAX_UNFINISHED`]. None before
    /// version 6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Unfinished>,
}

impl Pong {
    /// More shards are not named in one pong.
    pub const MAX_UNFINISHED: usize = 16;
}

/// The oldest event of one shard that is not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unfinished {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// The event's sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it; empty: not known.
    pub kind: String,
    /// Its guild; zero: none, or not known.
    pub guild: u64,
    /// For how long it has been with its handler, in milliseconds.
    pub age_ms: u64,
    /// Events that were received after it.
    pub behind: u64,
}

/// A shard at an epoch; the whole body of several messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
}

/// Addition to [`FullStart`](super::FullStart).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartExtra {
    /// The shards to IDENTIFY, each when its permit comes.
    pub shards: Vec<Unit>,
    /// Shards of the whole bot.
    pub shard_count: u32,
}

/// Addition to [`ShardMigrationStart`](super::ShardMigrationStart).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrationExtra {
    /// Which deploy this is.
    pub deploy: DeployId,
}

/// Addition to [`StopShard`](super::StopShard).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopExtra {
    /// The epoch at which the addressed slave owns the shard. A slave that owns
    /// it at another epoch does nothing.
    pub epoch: Epoch,
    /// Question: how long what is in doubt may still run, in milliseconds.
    pub drain_ms: u64,
    /// Question, from version 6 on: behind this sequence the next owner's RESUME begins.
    /// An owner whose heartbeats have named more may answer
    /// [`CopyAnew`](super::ToMaster::CopyAnew). Absent: it seals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sequence>,
    /// Answer: the ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// Addition to [`Resume`](super::Resume).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResumeExtra {
    /// The epoch at which the addressed slave owns the shard from now on.
    pub epoch: Epoch,
    /// How the shard came free.
    pub after: ResumeAfter,
    /// Order: whatever the slave has of the shard's state is more events behind than
    /// Discord replays, and is not used. A session outlives that, and its events do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state_too_old: bool,
    /// Order: processes died again and again with events of this shard in hand. What is
    /// replayed before RESUMED is handed out one at a time, each after [`Trying`] was
    /// answered. Only from version 6 on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Order: these killed whoever had them, alone: what becomes of them the bot's
    /// configuration says. Only from version 6 on.
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub deadly: SequenceRanges,
    /// Order: these killed once more when the bot wanted them all the same: they are
    /// not handed out. All of them are `deadly` too. Only from version 6 on.
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    pub skipped: SequenceRanges,
    /// Order: the ticket. Answer: absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// How a shard came free, which decides what must be marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeAfter {
    /// The owner sealed it: the ticket is exact, what is in doubt waits for
    /// [`Settled`], nothing else is marked.
    #[default]
    Seal,
    /// The owner died: the ticket is its last checkpoint. What is replayed
    /// before RESUMED and not known finished is marked.
    Death,
}

/// Id 20, slave → master: this shard needs a new session; may it IDENTIFY?
/// Asked again on every new connection until [`ToSlave::IdentifyPermit`] comes.
///
/// [`ToSlave::IdentifyPermit`]: super::ToSlave::IdentifyPermit
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentifyRequest {
    /// The shard.
    pub shard: ShardId,
    /// The asker's epoch.
    pub epoch: Epoch,
    /// Why it needs one.
    pub cause: IdentifyCause,
}

/// Why a shard needs a new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyCause {
    /// It never had one.
    #[default]
    Cold,
    /// Discord ended it: op 9 `d:false`, close 4007 or 4009, or a READY where
    /// RESUMED was due.
    SessionLost,
    /// The bot chose a new session because its state was lost.
    StateLost,
}

/// Id 22, slave → master: a shard got further. Sent at each step and, while a
/// replay runs, at most every 250 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Where it is.
    pub step: Step,
    /// Dispatches received since the RESUME.
    pub replayed: u64,
}

/// Where a shard is between "told to" and "serves".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// TCP, TLS, websocket.
    #[default]
    Dialling,
    /// HELLO came.
    Hello,
    /// RESUME is sent, the replay runs.
    Replaying,
    /// Waits for its permit to IDENTIFY.
    Waiting,
    /// READY or RESUMED came: it serves.
    Serving,
    /// The connection was lost; its owner resumes it.
    Reconnecting,
    /// Discord ended the session: a span of events is lost.
    SessionLost,
}

/// Where one shard stands in a [`Checkpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointEntry {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// See [`Ticket::handled`].
    pub handled: Sequence,
    /// See [`Ticket::finished_above`].
    pub finished_above: SequenceRanges,
    /// The highest sequence that was received; zero: not above what is finished, and
    /// always so before version 6.
    #[serde(skip_serializing_if = "is_zero")]
    pub received: Sequence,
    /// The whole ticket, when the session is new or was never sent on this
    /// connection. Its `handled` and `finished_above` are the ones above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Ticket>,
}

/// Id 23, slave → master: shards that got further since the last checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Only shards that changed.
    pub shards: Vec<CheckpointEntry>,
}

fn is_zero(sequence: &Sequence) -> bool {
    sequence.get() == 0
}

/// Id 24, slave → master → slave: what was in doubt at a seal is settled.
/// Sent once for each seal, also when nothing was in doubt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settled {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that sealed it.
    pub epoch: Epoch,
    /// Not finished: the new owner handles them, marked.
    pub unfinished: SequenceRanges,
    /// The events themselves, of those that Discord may not replay any more, the
    /// oldest first: at most [`Settled::MAX_EVENTS`] with [`Settled::MAX_BYTES`]
    /// together. None before version 6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<CarriedEvent>,
}

impl Settled {
    /// More events are not carried in one message.
    pub const MAX_EVENTS: usize = 64;

    /// Nor more bytes of them.
    pub const MAX_BYTES: usize = 256 * 1024;
}

/// One dispatch on its way from one process to another.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarriedEvent {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: String,
    /// The whole payload, as Discord sent it.
    pub json: String,
}

impl fmt::Debug for CarriedEvent {
    /// Without the payload: events are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedEvent")
            .field("sequence", &self.sequence)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Id 25, master → slave: copy a shard's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyState {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of its owner, who copies it.
    pub epoch: Epoch,
    /// The version that master and reader agreed on, for the form of the copy. A
    /// master before version 5 does not say it: the plain form.
    #[serde(skip_serializing_if = "is_unsaid")]
    pub reader: Version,
}

fn is_unsaid(version: &Version) -> bool {
    *version == Version::default()
}

impl CopyState {
    /// What is copied.
    #[must_use]
    pub const fn unit(self) -> Unit {
        Unit {
            shard: self.shard,
            epoch: self.epoch,
        }
    }
}

/// Id 26, slave → master: the copied state of a shard is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateReady {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that copied it.
    pub epoch: Epoch,
    /// The lowest sequence at which a copied piece stands.
    pub state_at: Sequence,
    /// How many pieces (guilds) were imported.
    pub pieces: u64,
}

/// Id 27, slave → master → slave: so many bytes of state frames were taken in.
/// The sender keeps at most [`crate::state::MAX_UNACKNOWLEDGED`] on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateAck {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that copies it.
    pub epoch: Epoch,
    /// Body bytes since the last acknowledgement.
    pub bytes: u64,
}

/// Id 28 (stop) and 29 (start), both ways: the once-per-bot work.
///
/// Order to stop: answered with the ticket. Order to start: carries the ticket,
/// answered without. A slave at a higher epoch ignores either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// The epoch at which the addressed slave runs, or is to run, the work.
    pub epoch: Epoch,
    /// What the bot wrote down for its successor; at most
    /// [`Work::MAX_TICKET`] bytes.
    pub ticket: Bytes,
}

impl Work {
    /// Longer tickets are refused.
    pub const MAX_TICKET: usize = 256 * 1024;
}

/// Id 30, slave → master: this shard cannot be served here. The slave keeps what
/// it knows and does nothing more with the shard until told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Close code, where one says why (4004, 4010 to 4014); else `0`.
    pub close_code: u16,
    /// Why, for a person.
    pub detail: String,
}

impl Failed {
    /// Close code of a token that Discord refuses.
    pub const TOKEN: u16 = 4004;

    /// What failed, for a person: the close code in words, where there is one.
    #[must_use]
    pub fn in_words(&self) -> String {
        let words = match self.close_code {
            0 => return self.detail.clone(),
            Self::TOKEN => "Discord refuses the token",
            4010 => "Discord knows no such shard",
            4011 => "Discord wants this bot to have more shards",
            4012 => "Discord speaks this version of its API no more",
            4013 => "Discord knows no such intents",
            4014 => {
                "Discord allows this bot not all of its intents: allow the privileged ones in the \
                 developer portal, or leave them out"
            }
            _ => "Discord refuses this shard",
        };
        format!("{words} (close code {}; {})", self.close_code, self.detail)
    }
}

/// Id 32, master → slave: have a connection to Discord ready for this shard. It
/// is held after HELLO: the RESUME goes out when the shard is given to the slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dial {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that serves it.
    pub epoch: Epoch,
    /// Its last checkpoint. The RESUME begins there, or where the copied state
    /// stands: what the owner handles later is replayed once more, and dropped.
    pub ticket: Ticket,
}

/// Id 33, slave → master: answers [`Dial`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialled {
    /// The shard.
    pub shard: ShardId,
    /// The epoch that the order named.
    pub epoch: Epoch,
    /// Why there is no connection, for a person; empty: HELLO came.
    pub failed: String,
}

/// Id 34, master → slave: seal when the connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LateSeal {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the slave that is to seal it.
    pub epoch: Epoch,
    /// How long what is in doubt then may run, in milliseconds.
    pub drain_ms: u64,
    /// As in a [`StopShard`](super::StopShard), from version 6 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sequence>,
}

/// Id 36, slave → master: answers [`Overtake`](super::ToSlave::Overtake).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overtaken {
    /// The shard.
    pub shard: ShardId,
    /// The epoch that the order named.
    pub epoch: Epoch,
    /// Why the session was not resumed, for a person; empty: RESUMED came.
    pub failed: String,
}

/// Id 39, slave → master: this event is about to be handed out, alone, because
/// processes died with it or its like in hand. Answer: id 40, the same shard, epoch
/// and sequence; until it comes nothing is handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trying {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// The event's sequence.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: String,
    /// Its guild; zero: none.
    pub guild: u64,
}

/// Id 41, slave → master: this event killed each process that had it, and is set
/// aside. The master keeps it where an operator finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetAside {
    /// The shard.
    pub shard: ShardId,
    /// The epoch.
    pub epoch: Epoch,
    /// Its guild; zero: none.
    pub guild: u64,
    /// Whether it is handed out once more all the same, as the bot is configured.
    pub handed_out: bool,
    /// The event. One of more than [`SetAside::MAX_BYTES`] comes without its payload.
    pub event: CarriedEvent,
}

impl SetAside {
    /// A longer payload is not sent.
    pub const MAX_BYTES: usize = 256 * 1024;
}
