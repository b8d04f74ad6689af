//! What the core knows, as data for `status` and for observers.

mod picture;
mod why;

use baton_protocol::message::{Clients, MemoryUse, SinkReport, StoreRoom};
use serde::Serialize;

pub(crate) use self::picture::Picture;

/// A picture of the fleet at one moment. Never holds a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct View {
    /// Whether reports are still collected after a start.
    pub adopting: bool,
    /// Whether the journal refuses what is to be written.
    pub journal_fails: bool,
    /// Shards of the whole bot.
    pub shard_count: u32,
    /// The places of the fleet.
    pub slots: Vec<SlotView>,
    /// Every slave that is not known to be dead.
    pub slaves: Vec<SlaveView>,
    /// Every shard, ascending.
    pub shards: Vec<ShardView>,
    /// Every other host that is known, by name. The driver knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostView>,
    /// The running deploy; of several the one of the first slot.
    pub deploy: Option<DeployView>,
    /// Every running deploy, at most one of each slot.
    pub deploys: Vec<DeployView>,
    /// Shards that are to be in another slot, and are not there yet; of these, `in_hand` are on
    /// their way.
    pub moves: MovesView,
    /// Hosts onto which nothing is placed.
    pub cordoned: Vec<String>,
    /// Whether nothing begins by itself, as an operator wants it.
    pub held: bool,
    /// Whether the service replays nothing, so that units move by overlap: there is no IDENTIFY
    /// then, and nothing of a replay.
    pub overlaps: bool,
    /// The bot's user id, as the service said it; absent: no shard ever had a session.
    pub bot: Option<String>,
    /// The slave that runs the once-per-bot work.
    pub work: Option<String>,
    /// Whether the service refused a RESUME while the old connection was open: shards are
    /// sealed strictly, even if a deploy asks for late seals.
    pub late_seal_refused: bool,
    /// IDENTIFYs left and milliseconds to the reset, as far as they are known.
    pub identifies_left: Option<u32>,
    /// IDENTIFYs of a whole budget, of a day.
    pub identifies_limit: Option<u32>,
    /// See `identifies_left`.
    pub identifies_reset_ms: Option<u64>,
    /// One IDENTIFY is sent in so many milliseconds, at most, of all shards together.
    pub identify_every_ms: u64,
    /// IDENTIFYs of those left that only the operator's word spends; absent: the
    /// budget is not known.
    pub identifies_reserve: Option<u32>,
    /// Shards that wait for their permit to IDENTIFY.
    pub identifies_waiting: u32,
    /// Rounds of IDENTIFYs in a row that failed.
    pub identifies_refused: u32,
    /// Milliseconds until one shard tries for all, or has tried; absent: nothing is held back.
    pub identify_pause_ms: Option<u64>,
    /// Why IDENTIFYs are held up, though the service gives sessions: they do not last; absent:
    /// they are not.
    pub identifies_held: Option<String>,
    /// For how many milliseconds there was no calm: see `identifies_held`.
    pub identifies_held_ms: Option<u64>,
    /// The shard that tries for all, or whose session has to last: see `identifies_held`.
    pub identifies_trial: Option<u32>,
}

/// One slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// Its name.
    pub name: String,
    /// The shards that are in it, as `0-31,40`; empty: none.
    pub shards: String,
    /// The slave that fills it.
    pub slave: Option<String>,
    /// Its command, and the one that it had before; absent: none. The driver knows.
    pub command: Option<Vec<String>>,
    /// See `command`.
    pub command_before: Option<Vec<String>>,
    /// Starts that failed in a row.
    pub failed_launches: u32,
    /// The host whose agent starts its slaves; absent: the master itself does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How many milliseconds its slaves serve without a leader (`on_silence = "lease"`);
    /// absent: for ever, and a silent one waits for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Why nothing can be started into it now; absent: something can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot_start: Option<String>,
    /// Standbys that are there, built or not.
    pub standbys: u32,
    /// Standbys whose bot is built.
    pub standbys_built: u32,
    /// Standbys that the master keeps.
    pub standbys_wanted: u32,
}

/// One host with an agent, or that a slot names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostView {
    /// Its name.
    pub host: String,
    /// Whether its agent is connected to this master.
    pub connected: bool,
    /// For how long it has been so, in milliseconds; absent: it never came to this master.
    pub since_ms: Option<u64>,
    /// How long ago its agent said something, in milliseconds; absent: it is not connected.
    pub answered_ms_ago: Option<u64>,
    /// Version of its agent's program; absent: it never came.
    pub program: Option<String>,
    /// Process id of its agent, at its host.
    pub pid: Option<u32>,
    /// Slots whose slaves it starts.
    pub slots: Vec<String>,
    /// Slaves that are there and not known to be dead.
    pub slaves: u32,
    /// Those of them that are not connected.
    pub slaves_away: u32,
}

/// Why shards take nothing from the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Their windows are full: as many events run as may.
    #[default]
    Window,
    /// The bot has no room: what it hands events on to does not take them.
    Bot,
    /// The store has no room for what the next event changes.
    Store,
    /// The broker to which it publishes does not confirm events as fast as they come.
    Sink,
}

impl Because {
    /// What an operator does about it.
    #[must_use]
    pub const fn next(self) -> &'static str {
        match self {
            Self::Window => "make handlers faster, or give the slot more processes",
            Self::Bot => {
                "see what the bot hands its events on to; a proxy waits for its clients to \
                 acknowledge them"
            }
            Self::Store => {
                "the slave's log says which store has no room: make some where it is, raise its \
                 limit, or compact it"
            }
            Self::Sink => {
                "see how the broker does, as `status` says it: one that is full wants room, or \
                 workers that empty it"
            }
        }
    }
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Window => "full windows",
            Self::Bot => "a bot without room",
            Self::Store => "a store without room",
            Self::Sink => "a broker that does not confirm",
        })
    }
}

/// One slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SlaveView {
    /// Its id.
    pub slave: String,
    /// Its slot.
    pub slot: String,
    /// Its build.
    pub build: String,
    /// Its process id, at its host.
    pub pid: u32,
    /// The host whose agent it is at; absent: the master's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `candidate`, `standby`, `owner`, `leaving`.
    pub role: &'static str,
    /// Whether it is connected to this master.
    pub connected: bool,
    /// How long ago it said something, in milliseconds; absent: it is not connected.
    /// Pings are answered every `limits.ping`: what is much longer hangs.
    pub answered_ms_ago: Option<u64>,
    /// Whether that is too long for one that lives.
    pub hangs: bool,
    /// How many milliseconds it serves without a leader, as far as anybody relies on it;
    /// absent: for ever.
    pub lease_ms: Option<u64>,
    /// In how many milliseconds its silence frees its shards, unless it says something before;
    /// absent: its silence says nothing.
    pub lease_left_ms: Option<u64>,
    /// Whether its slot has a lease and it knows of none: its silence says nothing.
    pub lease_refused: bool,
    /// How many shards it owns.
    pub shards: u32,
    /// Events that its handlers finished since its start, failed ones included.
    pub finished: u64,
    /// Events of these that failed.
    pub failed: u64,
    /// The part of its shards' time in which they took nothing from the service, in percent,
    /// as it said last.
    pub full_percent: u64,
    /// Why, for most of it; absent: they took something all the time.
    pub full_because: Option<Because>,
    /// How old its oldest unfinished event was, in milliseconds, as it said last;
    /// absent: it cannot say that.
    pub lag_ms: Option<u64>,
    /// How long ago a deploy that this master saw was committed to it; absent: none was.
    pub deployed_ms_ago: Option<u64>,
    /// How old the oldest unfinished event was that the slave before it had when that
    /// deploy began; absent: that is not known.
    pub lag_before_ms: Option<u64>,
    /// For how long nothing came from the service on its quietest open connection, in
    /// milliseconds, as it said last; absent: it cannot say that.
    pub silent_ms: Option<u64>,
    /// The shard of that connection.
    pub silent_shard: Option<u32>,
    /// How long the slowest answer to a last heartbeat took; zero: none came yet.
    pub heartbeat_ms: Option<u64>,
    /// The shard that got it.
    pub heartbeat_shard: Option<u32>,
    /// How much room its states that stay where they are have, as it said last; absent: it
    /// has none, or does not say so.
    pub store: Option<StoreRoom>,
    /// How its local clients do, as it said last; absent: it serves none.
    pub clients: Option<Box<Clients>>,
    /// How its sink does, as it said last; absent: it publishes to no broker.
    pub sink: Option<Box<SinkView>>,
    /// How much memory its process has, as it said last; absent: it does not say so.
    pub memory: Option<MemoryUse>,
}

/// The sink of a slave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkView {
    /// What the slave said.
    #[serde(flatten)]
    pub report: SinkReport,
    /// For how long the broker has not taken what it got, in milliseconds; absent: it takes
    /// it.
    pub troubled_ms: Option<u64>,
    /// For how long the service still keeps all that waits, in milliseconds: what it replays
    /// of the busiest shard of the slave, and the sessions of shards that are not connected;
    /// absent: nothing is the matter, or that is not known.
    pub covered_ms: Option<u64>,
}

/// Shards that are to be in another slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MovesView {
    /// Those that are not there yet.
    pub left: u32,
    /// Those that are on their way.
    pub in_hand: u32,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardView {
    /// The shard.
    pub shard: u32,
    /// Its epoch.
    pub epoch: u64,
    /// The slot that it is in.
    pub slot: String,
    /// The slot that it is to be in; absent: it is there.
    pub moves_to: Option<String>,
    /// Its owner.
    pub owner: Option<String>,
    /// `idle`, `starting` (it never had a session), `no session` (the one it had is
    /// over), `serving`, `reconnecting`, `copying`, `dialling`, `sealing`, `resuming`,
    /// `taking back`, `failed`, `unreachable`. Events come in `serving`, `copying` and
    /// `dialling` alone.
    pub state: &'static str,
    /// Why no events come, and what becomes of it; absent: they come.
    pub reason: Option<String>,
    /// For how long it has been `reconnecting`, in milliseconds.
    pub away_ms: Option<u64>,
    /// The last handled sequence that the master has heard of.
    pub handled: u64,
    /// Events that came since the oldest that is not finished.
    pub behind: u64,
    /// So many of them the service replays, as far as that is known.
    pub replayed_at_most: u64,
    /// The oldest event that is not finished, where its slave named it.
    pub unfinished: Option<UnfinishedView>,
    /// When its session began, in milliseconds since 1970, by the clock of the slave
    /// that identified it; absent: not known.
    pub session_began_unix_ms: Option<u64>,
    /// Events that it gets in 1000 s, by its checkpoints of the last 5 s or more.
    pub events_per_1000_s: u64,
    /// Seconds in which it gets as many events as the service replays at least; absent
    /// where it gets none.
    pub replay_budget_seconds: Option<u64>,
}

/// A connection that is gone for a moment is no trouble: the service ends one every few
/// hours, and keeps the events.
const MOMENT_MS: u64 = 10_000;

impl ShardView {
    /// Whether its events come, or will in a moment: it is served, on its way from
    /// owner to owner, or has just lost its connection.
    #[must_use]
    pub fn gets_events(&self) -> bool {
        match self.state {
            "serving" | "copying" | "dialling" | "sealing" | "resuming" | "taking back" => true,
            "reconnecting" => self.away_ms.is_some_and(|away| away < MOMENT_MS),
            _ => false,
        }
    }
}

/// The oldest event of a shard that is not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnfinishedView {
    /// Its sequence.
    pub sequence: u64,
    /// Its type.
    pub kind: String,
    /// Its guild; zero: none.
    pub guild: u64,
    /// For how long it has been with its handler, in milliseconds.
    pub age_ms: u64,
}

/// One running deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeployView {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// Its step.
    pub step: &'static str,
    /// From whom.
    pub from: Option<String>,
    /// To whom.
    pub to: Option<String>,
    /// Shards that the new slave serves.
    pub moved: u32,
    /// Shards that are to move.
    pub total: u32,
    /// Shards that move now.
    pub in_hand: u32,
    /// How many may move at once now: the deploy's width, or what their replay
    /// budgets allow.
    pub at_once: u32,
    /// The soak that was asked for, and the one that it is once it began, in
    /// milliseconds.
    pub soak_asked_ms: u64,
    /// See `soak_asked_ms`.
    pub soak_ms: Option<u64>,
}
