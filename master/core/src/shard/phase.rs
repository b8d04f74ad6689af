//! Whose a shard is.
//!
//! ```text
//!            ┌─────────────── sealed, failed, known dead ───────────────┐
//!            ▼                                                          │
//! Unknown ─▶ Free ──placed──▶ Starting ───has a session──▶ Serving ─▶ Copying ─▶ Dialling ─▶ Sealing
//!   (after a restart of                                      ▲           │          │
//!    the master, until                                       └─ aborted ─┴──────────┘
//!    reports decide)
//! ```
//!
//! From `Starting` to `Sealing` the phase is `Claimed`: by whom and since which epoch
//! stands there once, and beside it the stage with what belongs to that stage alone.
//!
//! An owner that is back and was to seal has its state copied again: `Sealing` becomes
//! `Copying` again, with the first piece of its state (`resync.rs`). So does
//! `Dialling`, where the copy is too far behind (`handover.rs`).
//!
//! A shard whose session is over gets no events: it is `Starting` at its owner again, until
//! its next session is there. There is nothing to hand on, so it moves by its ownership
//! alone.
//!
//! Only [`Fleet::enter`](crate::fleet::Fleet::enter) changes a phase. While a shard is
//! claimed exactly one slave may be serving it: the claimant. In `Free` nobody is, so
//! the shard may be given to anybody; a phase becomes `Free` only by the claimant's
//! seal at its epoch, by its word that it failed at its epoch, or when it is known dead.

use baton_protocol::{
    Epoch, SlaveId,
    message::{Held, ResumeAfter},
};

use crate::event::{Hold, Time};

/// Whose a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// After a restart: the journal's row; slaves that may hold it have not all
    /// reported.
    Unknown { row: Option<(SlaveId, Hold)> },
    /// No slave serves it.
    Free(Free),
    /// One slave may be serving it.
    Claimed(Claim),
}

/// A shard that no slave serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// Since when, as far as the session's age is concerned.
    pub(crate) since: Time,
    /// How it came free.
    pub(crate) after: ResumeAfter,
    /// For whom the shard's epoch is reserved; any other owner needs a new one.
    pub(crate) reserved: Option<SlaveId>,
    /// It failed at this slave: it waits for another one, or for its deadline.
    pub(crate) parked: Option<SlaveId>,
}

/// The only slave that may be serving a shard, since which epoch, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: SlaveId,
    pub(crate) epoch: Epoch,
    pub(crate) stage: ClaimStage,
}

/// What the owner of a shard does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimStage {
    /// It was told to serve it.
    Starting(Start),
    /// It serves it.
    Serving,
    /// It serves it and copies its state to `to`.
    Copying { to: SlaveId },
    /// It serves it; `to` has the state and dials the service.
    Dialling { to: SlaveId },
    /// It was told to seal; the shard's epoch is reserved for `to`.
    Sealing {
        to: SlaveId,
        /// What it had been told, if it did not serve yet.
        started: Option<Start>,
        order: Sealing,
    },
}

/// How a shard starts at its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) how: How,
    pub(crate) reach: Reach,
}

/// The order to a starting shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// IDENTIFY.
    Full,
    /// RESUME with the kept ticket.
    Resume(ResumeAfter),
}

/// How far a starting shard may have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It has not received a dispatch.
    Nothing,
    /// It may have handed out dispatches.
    Dispatches,
}

/// The last order to the owner of a shard that is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// To seal.
    Seal,
    /// It lost its connection, was back and served: to copy its state once more,
    /// unless it seals first, as the order on the connection before said.
    CopyAnew,
    /// To seal when its connection ends, which the RESUME of the next owner brings
    /// about.
    Late,
}

impl Phase {
    /// Its claimant, and how far that one is.
    pub(crate) const fn claim(&self) -> Option<Claim> {
        match self {
            Self::Claimed(claim) => Some(*claim),
            Self::Unknown { .. } | Self::Free(_) => None,
        }
    }

    /// The only slave that may be serving the shard, and at which epoch.
    pub(crate) const fn claimant(&self) -> Option<(SlaveId, Epoch)> {
        match self {
            Self::Claimed(claim) => Some((claim.owner, claim.epoch)),
            Self::Unknown { .. } | Self::Free(_) => None,
        }
    }

    /// Whether what this slave says of the shard at this epoch counts.
    pub(crate) fn is_claimed_by(&self, slave: SlaveId, epoch: Epoch) -> bool {
        self.claimant() == Some((slave, epoch))
    }

    /// How it came free, where nobody serves it.
    pub(crate) const fn free(&self) -> Option<Free> {
        match self {
            Self::Free(free) => Some(*free),
            Self::Unknown { .. } | Self::Claimed(_) => None,
        }
    }

    /// Whose it was or was about to be before the master started, while that is all
    /// that is known.
    pub(crate) const fn row(&self) -> Option<(SlaveId, Hold)> {
        match self {
            Self::Unknown { row } => *row,
            Self::Free(_) | Self::Claimed(_) => None,
        }
    }

    const fn stage(&self) -> Option<&ClaimStage> {
        match self {
            Self::Claimed(claim) => Some(&claim.stage),
            Self::Unknown { .. } | Self::Free(_) => None,
        }
    }

    /// How it starts, where its owner was told to serve it and nothing else since.
    pub(crate) const fn starting(&self) -> Option<Start> {
        match self.stage() {
            Some(ClaimStage::Starting(start)) => Some(*start),
            Some(
                ClaimStage::Serving
                | ClaimStage::Copying { .. }
                | ClaimStage::Dialling { .. }
                | ClaimStage::Sealing { .. },
            )
            | None => None,
        }
    }

    /// How it starts, where it never served at its owner, even if it is to be sealed.
    pub(crate) const fn start(&self) -> Option<Start> {
        match self.stage() {
            Some(ClaimStage::Starting(start)) => Some(*start),
            Some(ClaimStage::Sealing { started, .. }) => *started,
            Some(
                ClaimStage::Serving | ClaimStage::Copying { .. } | ClaimStage::Dialling { .. },
            )
            | None => None,
        }
    }

    /// Whether its owner serves it and nothing is under way.
    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self.stage(), Some(ClaimStage::Serving))
    }

    /// Who has it next, where it moves.
    pub(crate) const fn next_owner(&self) -> Option<SlaveId> {
        match self.stage() {
            Some(
                ClaimStage::Copying { to }
                | ClaimStage::Dialling { to }
                | ClaimStage::Sealing { to, .. },
            ) => Some(*to),
            Some(ClaimStage::Starting(_) | ClaimStage::Serving) | None => None,
        }
    }

    /// The two slaves between which it moves, while the owner serves it.
    pub(crate) const fn moving(&self) -> Option<(Claim, SlaveId)> {
        match self {
            Self::Claimed(claim) => match claim.stage {
                ClaimStage::Copying { to } | ClaimStage::Dialling { to } => Some((*claim, to)),
                ClaimStage::Starting(_) | ClaimStage::Serving | ClaimStage::Sealing { .. } => None,
            },
            Self::Unknown { .. } | Self::Free(_) => None,
        }
    }

    /// Whether events are handled: everything between RESUMED and the seal.
    pub(crate) const fn serves(&self) -> bool {
        match self.stage() {
            Some(
                ClaimStage::Serving | ClaimStage::Copying { .. } | ClaimStage::Dialling { .. },
            ) => true,
            Some(ClaimStage::Starting(_) | ClaimStage::Sealing { .. }) | None => false,
        }
    }

    /// Whether its owner has no session for it yet: no events come.
    pub(crate) fn has_no_session(&self) -> bool {
        self.starting().is_some_and(|start| start.how == How::Full)
    }

    /// Whether its owner was ordered to seal it.
    pub(crate) const fn is_sealing(&self) -> bool {
        matches!(self.stage(), Some(ClaimStage::Sealing { .. }))
    }

    /// Whether it is to be sealed and has no session: nobody's events wait for that.
    pub(crate) fn is_sealed_without_session(&self) -> bool {
        self.is_sealing() && self.start().is_some_and(|start| start.how == How::Full)
    }

    /// Whether it starts and received no dispatch.
    pub(crate) fn is_untouched(&self) -> bool {
        self.start()
            .is_some_and(|start| start.reach == Reach::Nothing)
    }

    /// A starting shard received dispatches: from now on its checkpoint is not
    /// exact.
    pub(crate) const fn dispatched(&mut self) {
        if let Self::Claimed(claim) = self
            && let ClaimStage::Starting(start)
            | ClaimStage::Sealing {
                started: Some(start),
                ..
            } = &mut claim.stage
        {
            start.reach = Reach::Dispatches;
        }
    }
}

impl Claim {
    /// The same claimant gets further.
    pub(crate) const fn at(self, stage: ClaimStage) -> Phase {
        Phase::Claimed(Self { stage, ..self })
    }
}

impl Start {
    /// What came of an attempt that its owner gave up: a seal stays exact as long as
    /// nothing came.
    pub(crate) fn leaves(self) -> ResumeAfter {
        match (self.how, self.reach) {
            (How::Resume(after), Reach::Nothing) => after,
            (How::Full, _) | (_, Reach::Dispatches) => ResumeAfter::Death,
        }
    }
}

impl Reach {
    /// As its owner reports.
    pub(crate) const fn of(held: &Held) -> Self {
        if held.untouched {
            Self::Nothing
        } else {
            Self::Dispatches
        }
    }
}

impl Free {
    pub(crate) const fn new(since: Time, after: ResumeAfter) -> Self {
        Self {
            since,
            after,
            reserved: None,
            parked: None,
        }
    }

    /// It waits for nothing but a slave.
    pub(crate) const fn unparked(self) -> Phase {
        Phase::Free(Self {
            parked: None,
            ..self
        })
    }
}
