//! The session that goes on here, or why a new one is needed.

use std::sync::Arc;

use baton_protocol::{Sequence, message::IdentifyCause};

use super::session::Session;

/// See the module.
#[derive(Debug)]
pub(super) struct Current {
    session: Option<Session>,
    /// Why the next session is needed, when there is none.
    cause: IdentifyCause,
    /// The highest sequence that a heartbeat of this session named here.
    named: Sequence,
    /// Whether what is replayed may have been handled before.
    after_death: bool,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            session: None,
            cause: IdentifyCause::Cold,
            named: Sequence(0),
            after_death: false,
        }
    }
}

impl Current {
    pub(super) const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub(super) const fn is_some(&self) -> bool {
        self.session.is_some()
    }

    /// Names the session without giving it away.
    pub(super) fn tag(&self) -> Option<Arc<str>> {
        self.session.as_ref().map(|session| session.tag.clone())
    }

    /// Why the next session is needed.
    pub(super) const fn cause(&self) -> IdentifyCause {
        debug_assert!(self.session.is_none(), "there is one");
        self.cause
    }

    /// There is none any more, or none yet.
    pub(super) fn is_over(&mut self, cause: IdentifyCause) {
        *self = Self {
            cause,
            ..Self::default()
        };
    }

    /// READY brought a new one.
    pub(super) fn begins(&mut self, session: Session) {
        debug_assert!(self.session.is_none(), "the last one is over");
        self.session = Some(session);
    }

    /// One goes on here: `taken_back`, the one that was here; `after_death`: of an owner
    /// that is dead.
    pub(super) fn goes_on(&mut self, session: Session, taken_back: bool, after_death: bool) {
        debug_assert!(
            !taken_back || self.tag().as_ref() == Some(&session.tag),
            "what is taken back was here"
        );
        self.session = Some(session);
        self.after_death = after_death;
        if !taken_back {
            self.named = Sequence(0);
        }
    }

    /// RESUMED came: what comes now is new.
    pub(super) const fn is_replayed(&mut self) {
        self.after_death = false;
    }

    /// Whether what is replayed may have been handled before.
    pub(super) const fn follows_a_death(&self) -> bool {
        self.after_death
    }

    /// A heartbeat named so much. Gives the most that any named.
    pub(super) fn named(&mut self, named: Sequence) -> Sequence {
        self.named = self.named.max(named);
        self.named
    }
}
