//! One shard at this process: a task of its own that owns the connection, the
//! window and the state, and is asked by messages.
//!
//! Read [`run`] for its life, `connection` for one gateway connection,
//! `handing` for what happens to one dispatch, [`dispatch`] for the window,
//! `importing` for state that comes in, `snapshots` for state that outlives its
//! process.

mod ahead;
pub(crate) mod backoff;
mod connection;
pub(crate) mod dispatch;
pub(crate) mod gateway;
mod handing;
mod hands;
pub(crate) mod importing;
mod inputs;
mod run;
pub(crate) mod session;
mod snapshots;
mod trials;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, Ticket, Version,
    message::{self, CarriedEvent, IdentifyCause, ResumeAfter, Step},
    state::StateFrame,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tracing::Span;

pub(crate) use self::trials::Care;
use self::{
    ahead::Ahead, dispatch::Window, gateway::Connector, hands::Hands, importing::Imports,
    session::Session, snapshots::Snapshot, trials::Trials, turn::TurnClock,
};
use crate::{
    bot::{Bot, Command, Event, Reports, ShardHandle, State, Work},
    config::SlaveConfig,
    permits::Permits,
    state::{Copied, CopyOut, Import, StateChannel, snapshot::Store},
    telemetry::{Checkpoints, Counters, Fullness, Hearing, Lag, Standing},
};

/// What every shard of the process shares.
pub(crate) struct Context {
    pub(crate) bot: Arc<dyn Bot>,
    /// What the bot knows of its guilds; `None`: it says that it keeps nothing.
    pub(crate) state: Option<Arc<dyn State>>,
    /// What one process of the fleet does; `None`: there is no such work.
    pub(crate) work: Option<Arc<dyn Work>>,
    pub(crate) config: SlaveConfig,
    pub(crate) connector: Connector,
    pub(crate) snapshots: Option<Store>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fullness: Fullness,
    pub(crate) lag: Lag,
    pub(crate) hearing: Hearing,
    /// Shards of the whole bot.
    pub(crate) shard_count: AtomicU32,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) imports: Imports,
    /// Whose turn it is to try an event: one at a time in the process.
    pub(crate) trials: Arc<Semaphore>,
}

impl Context {
    pub(crate) const fn keeps_state(&self) -> bool {
        self.state.is_some()
    }

    pub(crate) fn shard_count(&self) -> u32 {
        self.shard_count.load(Ordering::Relaxed)
    }
}

/// What a shard is asked to do. Orders of an epoch that it is not at change
/// nothing.
#[derive(Debug)]
pub(crate) enum Order {
    /// Own it from now on at this epoch, without a session.
    Start { epoch: Epoch },
    /// Own it from now on at this epoch, with the ticket's session.
    Resume {
        epoch: Epoch,
        after: ResumeAfter,
        ticket: Box<Ticket>,
        care: Care,
    },
    /// What is here of its state is too old to be gone on from.
    GiveUpState,
    /// Stop; say [`Said::Sealed`] at once and [`Said::Settled`] later. Or, where a
    /// heartbeat named more than `begins`, say [`Said::CopyOvertaken`] and serve on.
    Seal {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    /// Stop when the connection ends; say [`Said::SealsLate`] at once, or, where none
    /// serves, seal. `begins`: as above.
    SealLate {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    /// The master that ordered [`Order::SealLate`] is out of reach: the order is void.
    ServeOn,
    /// A slave owns it at this epoch: forget it, unless that is us.
    Forget { epoch: Epoch },
    /// The process ends: stop at once, say nothing.
    Leave,
    /// The former owner settled what was in doubt.
    Settled {
        unfinished: SequenceRanges,
        events: Vec<CarriedEvent>,
    },
    /// It is written down which event is tried: hand it out.
    Try { epoch: Epoch, sequence: Sequence },
    /// Send IDENTIFY.
    Permit { epoch: Epoch },
    /// Copy the state out for a reader of this version.
    Copy {
        epoch: Epoch,
        reader: Version,
        channel: StateChannel,
    },
    /// Take state in.
    StateIn(StateFrame),
    /// Have a connection ready; `epoch` is of the present owner.
    Dial { epoch: Epoch, ticket: Box<Ticket> },
    /// Resume on that connection, hand nothing out.
    Overtake { epoch: Epoch },
}

/// What a shard says.
#[derive(Debug)]
pub(crate) struct FromShard {
    pub(crate) shard: ShardId,
    /// Which task of the shard: one may still be ending while the next begins.
    pub(crate) instance: u64,
    pub(crate) epoch: Epoch,
    pub(crate) said: Said,
}

#[derive(Debug)]
pub(crate) enum Said {
    Progress {
        step: Step,
        replayed: u64,
    },
    /// It needs a permit to IDENTIFY.
    Identify(IdentifyCause),
    /// There is a new session.
    Session(Box<Ticket>),
    /// RESUMED (`resumed`) or READY came.
    Serving {
        resumed: bool,
        replayed: u64,
    },
    Sealed(Box<Ticket>),
    /// It will, when its connection ends.
    SealsLate,
    /// It does not: a heartbeat named more than where the next owner would begin.
    CopyOvertaken,
    Settled {
        unfinished: SequenceRanges,
        /// As many of these events as may be carried.
        events: Vec<CarriedEvent>,
    },
    /// This event is handed out when it is written down.
    Trying(Event),
    /// This one killed each process that had it.
    SetAside(Box<message::SetAside>),
    Failed {
        close_code: u16,
        detail: String,
    },
    StateAck {
        copied: Epoch,
        bytes: u64,
    },
    StateReady {
        copied: Epoch,
        state_at: Sequence,
        pieces: u64,
    },
    /// A connection is ready; or why not.
    Dialled {
        copied: Epoch,
        failed: String,
    },
    /// RESUMED came on it; or why not.
    Overtaken {
        copied: Epoch,
        failed: String,
    },
    /// Taking state in failed.
    StateBroken {
        copied: Epoch,
        detail: String,
    },
    /// Its task panicked, and ended with it.
    Died,
}

/// Events of a session that is no longer there are of an older generation.
type Generation = u64;

/// What there is of the state of a shard that this process had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frozen {
    /// It is not sealed.
    No,
    /// As it was at the seal: the shard can be taken back with it.
    Own,
    /// Too old, or dropped for a newer copy.
    GivenUp,
}

/// One shard. See the module.
pub(crate) struct Shard {
    id: ShardId,
    instance: u64,
    epoch: Epoch,
    /// Names both in whatever is logged here, by the bot too.
    span: Span,
    context: Arc<Context>,
    handle: ShardHandle,
    permits: Permits,

    orders: mpsc::UnboundedReceiver<Order>,
    out: mpsc::UnboundedSender<FromShard>,
    finished: Reports,
    commands: mpsc::Receiver<Command>,

    session: Option<Session>,
    /// Why the next session is needed, when there is none.
    cause: IdentifyCause,
    generation: Generation,
    window: Window,
    /// Payloads of events that their former owner may yet finish.
    held: BTreeMap<Sequence, Event>,
    /// Events of the session that are with their handlers.
    hands: Hands,
    /// Events that may kill the process.
    trials: Trials,
    /// Events given back, each with the time at which it is handed out again.
    retries: VecDeque<Retry>,
    /// Events whose handler panicked, until what became of them is heard: one
    /// that let go of its guard before is a failure too.
    panicked: BTreeSet<(u64, Sequence)>,
    /// The highest sequence that a heartbeat of this session named here.
    named: Sequence,
    /// Whether what is replayed may have been handled before.
    after_death: bool,
    /// Discord asked for a pause, or the task before this one panicked: nothing is
    /// dialled before.
    not_before: Option<Instant>,
    /// Whether it served before its task panicked, so that nobody waits for a word.
    served: bool,
    /// Whether RESUMED is to be confirmed as the answer to an order.
    ordered: bool,
    /// What the state is while the shard is sealed.
    frozen: Frozen,
    /// Whether the bot heard that the state is lost, and no READY brought it
    /// back.
    state_lost: bool,
    /// What of a replay the state holds already.
    copied: Option<Copied>,
    import: Import,
    copy_out: Option<CopyOut>,
    /// Where its frames go.
    channel: Option<StateChannel>,
    /// State bytes that were taken in and are not acknowledged yet, and of which
    /// owner's copy.
    taken_in: Option<(Epoch, u64)>,
    snapshot: Snapshot,
    ahead: Ahead,
    /// It is to be sealed when its connection ends; how long what is in doubt may
    /// run then.
    late: Option<Duration>,
    standing: Standing,
    /// When that is noted, where it cannot be for each event.
    note_due: Option<Instant>,
    turn: TurnClock,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    generation: Generation,
    attempt: u32,
    event: Event,
}

/// Of what a shard logs at one epoch. It is there wherever an error is logged.
fn span(shard: ShardId, epoch: Epoch) -> Span {
    tracing::error_span!(parent: None, "shard", %shard, %epoch)
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        instance: u64,
        context: Arc<Context>,
        standing: Standing,
        out: mpsc::UnboundedSender<FromShard>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        let (handle, commands) = ShardHandle::new(id);
        Self {
            id,
            instance,
            epoch: Epoch(0),
            span: span(id, Epoch(0)),
            context,
            handle,
            permits: Permits::default(),
            orders,
            out,
            finished: Reports::default(),
            commands,
            session: None,
            cause: IdentifyCause::Cold,
            generation: 0,
            window: Window::new(),
            held: BTreeMap::new(),
            hands: Hands::default(),
            trials: Trials::default(),
            retries: VecDeque::new(),
            panicked: BTreeSet::new(),
            named: Sequence(0),
            after_death: false,
            not_before: None,
            served: false,
            ordered: false,
            frozen: Frozen::No,
            state_lost: false,
            copied: None,
            import: Import::default(),
            copy_out: None,
            channel: None,
            taken_in: None,
            snapshot: Snapshot::default(),
            ahead: Ahead::default(),
            late: None,
            standing,
            note_due: None,
            turn: TurnClock::default(),
        }
    }

    /// In the place of one whose task panicked.
    pub(crate) const fn after_a_panic(mut self, served: bool, not_before: Instant) -> Self {
        self.served = served;
        self.not_before = Some(not_before);
        self
    }

    fn say(&self, said: Said) {
        if let Said::Session(_) | Said::Sealed(_) = said {
            self.standing.says_ticket();
        }
        // The receiver is gone: the process is ending.
        let _ = self.out.send(FromShard {
            shard: self.id,
            instance: self.instance,
            epoch: self.epoch,
            said,
        });
    }

    fn progress(&self, step: Step, replayed: u64) {
        self.say(Said::Progress { step, replayed });
    }

    fn ticket(&self) -> Ticket {
        Session::ticket(self.session.as_ref(), self.id, &self.window)
    }
}
