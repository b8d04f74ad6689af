//! What faults do to the dispatches of a connection: some come late, and a replay
//! can end in its middle.

use std::{collections::VecDeque, future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{faults::Fault, kind::EventKind, session::Buffered, wire::end::End};

/// See the module. The default changes nothing.
#[derive(Default)]
pub(crate) struct Shaping {
    /// Pause between the events of a replay.
    pub(super) slow: Option<Duration>,
    /// How late RESUMED comes.
    pub(super) resumed_late: Option<Duration>,
    /// The replay ends here.
    pub(super) cut: Option<Cut>,
    /// Until then no dispatch goes out.
    held_until: Option<Instant>,
    /// What was fetched and is held back.
    held: VecDeque<Buffered>,
}

/// Where a replay ends and how.
pub(super) struct Cut {
    /// Events that still go out.
    left: usize,
    code: u16,
}

impl Cut {
    pub(super) fn new(fault: &Fault) -> Self {
        Self {
            left: fault.events as usize,
            code: fault.code,
        }
    }
}

/// What goes out now.
pub(super) struct Shaped {
    pub(super) events: VecDeque<Buffered>,
    /// Behind them the connection ends.
    pub(super) end: Option<End>,
}

impl Shaping {
    /// No dispatch goes out for so long.
    pub(super) fn hold(&mut self, lasting: Duration) {
        self.held_until = Some(Instant::now() + lasting);
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held_until.is_some()
    }

    /// Completes when what is held back may go; never when nothing is.
    pub(super) async fn held(&self) {
        match self.held_until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    }

    /// What was held back may go.
    pub(super) fn release(&mut self) {
        self.held_until = None;
    }

    /// What was fetched and held back.
    pub(super) fn take_held(&mut self) -> VecDeque<Buffered> {
        std::mem::take(&mut self.held)
    }

    /// How many events may be fetched at a time, of at most `most`.
    pub(super) fn batch(&self, most: usize) -> usize {
        if self.slow.is_some() { 1 } else { most }
    }

    /// Cuts and holds back what the faults say.
    pub(super) fn shape(&mut self, mut events: VecDeque<Buffered>) -> Shaped {
        let resumed = events.iter().position(|e| e.kind == EventKind::Resumed);
        if let Some(cut) = &mut self.cut {
            let upto = cut.left.min(resumed.unwrap_or(events.len()));
            if upto == cut.left || resumed.is_some() {
                events.truncate(upto);
                let end = Some(End::by_fault(cut.code));
                return Shaped { events, end };
            }
            cut.left -= upto;
        }
        if let Some(at) = resumed
            && let Some(late) = self.resumed_late.take()
        {
            self.held = events.split_off(at);
            self.hold(late);
        }
        Shaped { events, end: None }
    }
}
