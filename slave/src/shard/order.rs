//! What a shard is asked, and what it says.

use std::time::Duration;

use baton_protocol::{
    Epoch, Sequence, SequenceRanges, ShardId, Ticket, Version,
    message::{self, CarriedEvent, IdentifyCause, ResumeAfter, Step},
    state::StateFrame,
};

use bytes::Bytes;

use super::left::Left;
use crate::{
    bot::Event,
    state::{StateChannel, Way},
};

/// What a shard is asked to do. Orders of an epoch that it is not at change
/// nothing.
#[derive(Debug)]
pub(crate) enum Order {
    /// What may end the phase that the shard is in.
    Turn(Turn),
    /// What is here of its state is too old to be gone on from.
    GiveUpState,
    /// The master that ordered [`Turn::SealLate`] is out of reach: the order is void.
    ServeOn,
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
        way: Way,
        channel: StateChannel,
    },
    /// A part of that copy was taken in.
    CopyHeard { epoch: Epoch },
    /// Take state in.
    StateIn(StateFrame),
    /// Have a connection ready; `epoch` is of the present owner.
    Dial { epoch: Epoch, ticket: Box<Ticket> },
    /// Resume on that connection, hand nothing out.
    Overtake { epoch: Epoch },
    /// The once-per-bot work writes to a unit of a service that is not Discord.
    Letter(Bytes),
}

/// An order that may end a phase of the shard's life.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Own it from now on at this epoch, without a session.
    Start { epoch: Epoch },
    /// Own it from now on at this epoch, with the ticket's session.
    Resume {
        epoch: Epoch,
        after: ResumeAfter,
        ticket: Box<Ticket>,
        care: Care,
    },
    /// Stop; say [`Said::Sealed`] at once and [`Said::Settled`] later. Or, where a
    /// heartbeat named more than `begins`, say [`Said::CopyOvertaken`] and serve on.
    Seal {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    /// Stop when the connection ends; say [`Said::SealsLate`] at once, or, where none
    /// serves or its next heartbeat is near, seal. `begins`: as above.
    SealLate {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    /// A slave owns it at this epoch: forget it, unless that is us.
    Forget { epoch: Epoch },
    /// The process ends: stop at once, say nothing.
    Leave,
}

impl Turn {
    /// Whether it means something to an owner at this epoch: a seal is of its own, and
    /// what begins another one's is of a later one.
    pub(super) fn concerns(&self, owner: Epoch) -> bool {
        match self {
            Self::Seal { epoch, .. } | Self::SealLate { epoch, .. } => *epoch == owner,
            Self::Resume { epoch, .. } => *epoch > owner || mutant!("old-epoch-obeyed"),
            Self::Start { epoch } | Self::Forget { epoch } => *epoch > owner,
            Self::Leave => true,
        }
    }
}

/// How a shard is to be gone on with after processes died over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Care {
    /// Whether what is replayed is handed out one at a time.
    pub(crate) alone: bool,
    /// These killed the process that had them, alone.
    pub(crate) deadly: SequenceRanges,
    /// These did so again when they were handed out although they are deadly.
    pub(crate) skipped: SequenceRanges,
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
        /// Why the last dial opened no websocket; empty: it did, or there was none.
        refused: String,
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
    /// A unit of a service that is not Discord prepares, and is so far.
    Prepares {
        copied: Epoch,
        done: u64,
    },
    /// It writes to the once-per-bot work.
    Letter(Bytes),
    /// Taking state in failed.
    StateBroken {
        copied: Epoch,
        detail: String,
    },
    /// Its task panicked, and this is left of it.
    Died(Box<Left>),
}
