//! What a row demands of its outcome, beyond what is demanded of every run.

use std::time::Duration;

use super::{marks::Marks, phase::Phase, unending::Fate};

/// Where the shards are at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Wholly at one slave, whichever.
    One,
    /// At the slave that served before.
    Old,
    /// At the new build.
    New,
}

/// See the [module](self). Begin with [`Expect::calm`].
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Where the shards are.
    pub serves: Serves,
    /// How the deploy may end; empty: however it may.
    pub ends: &'static [&'static str],
    /// Whether anything may have been repeated, marked.
    pub marks: Marks,
    /// IDENTIFYs that Discord's own word makes necessary: at least, and at most.
    pub identifies: (u32, u32),
    /// Whether a span may be lost with a session that Discord ended.
    pub lost_said: bool,
    /// Whether state may be lost, and said to be.
    pub state_lost: bool,
    /// Whether somebody must have resumed because of the blow: else nothing was
    /// struck.
    pub resumes: bool,
    /// No event waits longer than a second and a half.
    pub unnoticed: bool,
    /// No event waits longer than this.
    pub within: Option<Duration>,
    /// Whether a broker may not have answered as a shard was sealed: what it may have then can
    /// come behind newer events of its guild (P7), so many events as the slaves said.
    pub doubt_at_a_seal: bool,
    /// What becomes of the event that is never finished, if there is one.
    pub fate: Option<Fate>,
}

impl Expect {
    /// Nothing repeated, no IDENTIFY, state kept.
    #[must_use]
    pub const fn calm() -> Self {
        Self {
            serves: Serves::One,
            ends: &[],
            marks: Marks::None,
            identifies: (0, 0),
            lost_said: false,
            state_lost: false,
            resumes: false,
            unnoticed: false,
            within: None,
            doubt_at_a_seal: false,
            fate: None,
        }
    }

    /// The deploy goes through.
    #[must_use]
    pub const fn done() -> Self {
        Self::calm().at(Serves::New).ending(&["done"])
    }

    /// Nothing has moved.
    #[must_use]
    pub const fn aborted() -> Self {
        Self::calm().at(Serves::Old).ending(&["aborted"])
    }

    /// What has moved goes back.
    #[must_use]
    pub const fn rolled_back() -> Self {
        Self::calm()
            .at(Serves::Old)
            .ending(&["rolled_back", "aborted"])
    }

    /// Somebody who held shards died: repeats are marked, and state that nobody
    /// had a copy of may be lost.
    #[must_use]
    pub const fn recovered() -> Self {
        Self::calm().with_marks().with_state_lost()
    }

    /// The shards are there.
    #[must_use]
    pub const fn at(mut self, serves: Serves) -> Self {
        self.serves = serves;
        self
    }

    /// The deploy ends like one of these.
    #[must_use]
    pub const fn ending(mut self, ends: &'static [&'static str]) -> Self {
        self.ends = ends;
        self
    }

    /// What was replayed may have been handled before.
    #[must_use]
    pub const fn with_marks(mut self) -> Self {
        self.marks = Marks::OfRecovery;
        self
    }

    /// The same, but only where the master had handed a ticket on when it heard of the
    /// death: else its next owner began nothing.
    #[must_use]
    pub const fn with_marks_if_handed_on(mut self) -> Self {
        self.marks = Marks::IfHandedOn;
        self
    }

    /// What was replayed may have been handled before, and the end of the journal is gone.
    #[must_use]
    pub const fn with_marks_of_a_power_cut(mut self) -> Self {
        self.marks = Marks::OfPowerCut;
        self
    }

    /// Handlers outlast the drain: each move leaves some to the next owner.
    #[must_use]
    pub const fn with_marks_at_every_move(mut self) -> Self {
        self.marks = Marks::OfEveryMove;
        self
    }

    /// State may be lost, if the slave reports it.
    #[must_use]
    pub const fn with_state_lost(mut self) -> Self {
        self.state_lost = true;
        self
    }

    /// Discord ends so many sessions: an IDENTIFY each, and the span between is
    /// lost.
    #[must_use]
    pub const fn with_new_sessions(mut self, count: u32) -> Self {
        self.identifies = (count, count);
        self.lost_said = true;
        self
    }

    /// The same, for so many sessions at most.
    #[must_use]
    pub const fn with_new_sessions_up_to(mut self, count: u32) -> Self {
        self.identifies = (0, count);
        self.lost_said = true;
        self
    }

    /// Shards have to reconnect.
    #[must_use]
    pub const fn reconnecting(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// No user notices.
    #[must_use]
    pub const fn unnoticed(mut self) -> Self {
        self.unnoticed = true;
        self
    }

    /// No event waits longer than this.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// A broker may not have answered as a shard was sealed.
    #[must_use]
    pub const fn with_doubt_at_a_seal(mut self) -> Self {
        self.doubt_at_a_seal = true;
        self
    }

    /// One event is never finished by the handler that has it, and becomes this.
    #[must_use]
    pub const fn with_one_unending(mut self, fate: Fate) -> Self {
        self.fate = Some(fate);
        self
    }

    /// Before the seal nothing has moved, later what has moved goes back.
    #[must_use]
    pub fn back_at(phase: Phase) -> Self {
        match phase {
            Phase::M0 | Phase::M1 | Phase::M2 => Self::aborted(),
            Phase::M3 | Phase::M4 | Phase::M5 | Phase::M6 | Phase::M7 => Self::rolled_back(),
        }
    }
}
