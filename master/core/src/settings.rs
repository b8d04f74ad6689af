//! What an operator can set of the core: every limit is here, so that tests can scale it
//! down.

use std::time::Duration;

use baton_protocol::Parameters;

use crate::{
    Members,
    fleet::{Fleet, SlotId},
    permits::VALID,
    service::{Order, Service, Unknown},
};

/// Limits and choices of the core.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is to be known of the service.
    pub service: &'static dyn Service,
    /// Permits that have names, leased to slaves: the first whose prefix fits counts.
    pub named: Vec<NamedLimit>,
    /// The places of the fleet. The default fleet has one, `main`, with every
    /// shard.
    pub slots: Vec<SlotSettings>,
    /// The slot whose slave does the once-per-bot work; `None`, or no slot of this name:
    /// the first one's.
    pub work_slot: Option<String>,
    /// What the master's own host is called; empty: it has no name.
    pub host: String,
    /// Shards of the whole bot, at least 1; pinned.
    pub shard_count: u32,
    /// What sessions are identified with, once the first slave said so or the
    /// journal remembers it.
    pub pinned: Option<Parameters>,
    /// An empty slot gets a slave after this time.
    pub contact: Duration,
    /// After a start, reports are collected for this long before anything is
    /// started, deployed or launched. It ends early when every slave that the
    /// journal knows to be alive has joined.
    pub adopt_grace: Duration,
    /// A new slave says that it is ready within this time.
    pub ready: Duration,
    /// A seal is answered within this time.
    pub seal: Duration,
    /// What is in doubt at a seal may run this long.
    pub drain: Duration,
    /// A resume that made no progress for this long has failed.
    pub no_progress: Duration,
    /// The copy of one shard's state makes progress within this time, or the
    /// deploy fails before the shard is sealed.
    pub copy: Duration,
    /// The old slave stays ready this long after everything moved.
    pub soak: Duration,
    /// Events of a shard that the service replays at least. The time in which the
    /// busiest shard gets so many bounds the soak and how many move at once.
    pub replay_buffer: u32,
    /// A new slave whose shards could take nothing for this many percent of the
    /// soak more than the old slave's, on average, is too far behind and takes its
    /// deploy back. 0: never.
    pub behind_gate: u32,
    /// A shard whose connection is open and silent for this long is restarted by
    /// RESUME; zero: never.
    pub silent: Duration,
    /// A new slave whose handlers fail this many percentage points more often than
    /// the old slave's takes its deploy back; 100: never.
    pub error_gate: u32,
    /// Events that the new slave's handlers finish before that is judged.
    pub error_gate_events: u32,
    /// A new slave that was handed something and has not finished half of it, while
    /// its oldest unfinished event is older by this than the old slave's was, takes
    /// its deploy back; zero: never.
    pub lag_gate: Duration,
    /// A connected slave that said nothing for longer than this is not believed to
    /// live: pings are answered sooner.
    pub answers: Duration,
    /// A slave told to leave is dead within this time, or killed.
    pub retire: Duration,
    /// Shards that move alone, first.
    pub canary: u32,
    /// How long the master watches a canary before the rest moves; five times as long where
    /// what it does gives rise to doubt. Zero: not at all.
    pub canary_time: Duration,
    /// Events that the new slave finishes and that end this earlier; 0: none do.
    pub canary_events: u32,
    /// Shards that move at once, at most; busy ones are fewer.
    pub width: u32,
    /// Whether shards are sealed when the service takes the session from their old
    /// connection, not before. Needs a service that takes a RESUME while the old
    /// connection is open; one refusal, and the rest of a deploy goes without.
    pub late_seal: bool,
    /// How many standbys the master keeps in each slot that it launches slaves
    /// into; 0: it starts none, and leaves those that others start alone.
    pub standbys: u32,
    /// How long a session can be resumed after its connection ended.
    pub resume_window: Duration,
    /// Saves that fail for so long are an alarm; zero: the first one is.
    pub save_alarm: Duration,
    /// First wait after a failed launch; doubles up to `backoff_max`.
    pub backoff: Duration,
    /// Longest wait after failed launches.
    pub backoff_max: Duration,
    /// Each permit to IDENTIFY is given once in such a window. The service counts its own
    /// from one arrival to the next; what a permit's way may take less than that of the
    /// permit before is added.
    pub identify_window: Duration,
    /// The longest pause after IDENTIFYs that failed. The first is a window;
    /// each that follows in a row is twice as long.
    pub identify_pause: Duration,
    /// The part of a day's IDENTIFYs, in percent, that only the operator's word
    /// spends; 0: none.
    pub identify_reserve: u32,
    /// So many percent of the fleet's shards that lose their sessions within a minute are a
    /// storm, after which one shard tries for all; 0: none are.
    pub identify_storm: u32,
    /// The part of a day's IDENTIFYs, in percent, that is kept back after a storm or a loop
    /// of short sessions, but for one shard at a time.
    pub identify_storm_reserve: u32,
    /// How many IDENTIFYs are sent in one window, until a budget says it.
    pub permits_at_once: u32,
    /// How often checkpoints are written to the journal.
    pub checkpoint_to_disk: Duration,
    /// How often it is noted that this master runs.
    pub seen: Duration,
    /// How long a master that was asked to leave waits for the shard in hand.
    pub shard_in_hand: Duration,
}

/// What bounds permits that have names: of each whose name begins like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLimit {
    /// How the names begin.
    pub prefix: String,
    /// So many are leased in one window.
    pub count: u32,
    /// The window in which the service counts.
    pub window: Duration,
    /// Whether the service punishes too many, and does not only refuse them.
    pub punished: bool,
}

impl NamedLimit {
    /// The window here, in which no more are leased than the service allows in its own.
    pub(crate) fn span(&self) -> Duration {
        self.window.saturating_add(VALID)
    }
}

/// One place of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSettings {
    /// Its name.
    pub name: String,
    /// The shards that it begins with; `None`: every one that no slot before it has.
    pub shards: Option<Members>,
    /// Whether the master starts slaves into it (a command is configured).
    pub launches: bool,
    /// The host that its slaves run on; `None`: the master's own.
    pub host: Option<String>,
    /// Its slaves seal themselves when they had no word of a leader for so long, and a slave
    /// of which nothing is heard for longer counts as dead; `None`: they serve on, and silence
    /// says nothing.
    pub lease: Option<Duration>,
}

impl Settings {
    /// What an operator changed counts from the next thing on that needs it. Slots, shards
    /// and what sessions are made with stay.
    pub(crate) fn change(&mut self, next: Self) {
        let before = std::mem::take(self);
        *self = Self {
            slots: before.slots,
            shard_count: before.shard_count,
            pinned: before.pinned,
            permits_at_once: before.permits_at_once,
            ..next
        };
    }

    /// Whether the next owner of a unit prepares before the one before seals.
    pub(crate) fn overlaps(&self) -> bool {
        self.service.order() == Order::Overlap
    }

    /// What bounds the permits of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&NamedLimit> {
        let fits = |limit: &&NamedLimit| name.starts_with(&limit.prefix);
        self.named.iter().find(fits)
    }

    /// The slot whose slave is to do the once-per-bot work.
    pub(crate) fn home(&self, fleet: &Fleet) -> Option<SlotId> {
        let named = self.work_slot.as_deref();
        let named = named.and_then(|name| fleet.slots.named(name));
        named.or(fleet.slots.first())
    }

    /// A slave that finishes its running events has answered within this time, also where
    /// nothing may run on.
    #[must_use]
    pub const fn drained(&self) -> Duration {
        self.drain.saturating_add(self.seal)
    }

    /// A slave that gave its shards away and was told to end is dead within this time, also
    /// where events of its last seal may run still.
    #[must_use]
    pub const fn retired(&self) -> Duration {
        self.drain.saturating_add(self.retire)
    }
}

/// `first`, doubled for each failure after the first, at most `longest`.
pub(crate) fn doubled(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(longest)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            service: &Unknown,
            named: Vec::new(),
            slots: vec![SlotSettings {
                name: "main".to_owned(),
                shards: None,
                launches: false,
                ..SlotSettings::default()
            }],
            work_slot: None,
            host: String::new(),
            shard_count: 1,
            pinned: None,
            contact: Duration::from_secs(15),
            adopt_grace: Duration::from_secs(10),
            ready: Duration::from_secs(60),
            seal: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            no_progress: Duration::from_secs(5),
            answers: Duration::from_secs(11),
            copy: Duration::from_secs(10),
            soak: Duration::from_secs(10),
            replay_buffer: 1000,
            behind_gate: 50,
            silent: Duration::from_secs(150),
            error_gate: 50,
            error_gate_events: 5,
            lag_gate: Duration::from_secs(5),
            retire: Duration::from_secs(20),
            canary: 1,
            canary_time: Duration::from_secs(2),
            canary_events: 20,
            width: 16,
            late_seal: false,
            standbys: 0,
            resume_window: Duration::from_secs(90),
            save_alarm: Duration::ZERO,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            identify_window: Duration::from_secs(5),
            identify_pause: Duration::from_secs(300),
            identify_reserve: 5,
            identify_storm: 25,
            identify_storm_reserve: 50,
            permits_at_once: 1,
            checkpoint_to_disk: Duration::from_secs(1),
            seen: Duration::from_secs(5),
            shard_in_hand: Duration::from_secs(10),
        }
    }
}
