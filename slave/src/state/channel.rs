//! The way of state out of this process: past the agent, behind everything that it says.

use std::sync::Arc;

use baton_protocol::{Frame, ToMaster, state::StateFrame};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::Allowance;

/// One for all shards that copy over the same link in the same deploy. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StateChannel {
    /// State bytes that may be on their way, for all shards together.
    budget: Arc<Semaphore>,
    frames: mpsc::UnboundedSender<Frame>,
}

impl StateChannel {
    /// A way on which so many bytes may be.
    pub(crate) fn new(frames: mpsc::UnboundedSender<Frame>, allowed: u64) -> Self {
        let budget = Arc::new(Semaphore::new(permits(allowed)));
        Self { budget, frames }
    }

    /// What a copy waits for before it sends a frame.
    pub(crate) fn budget(&self) -> Arc<Semaphore> {
        self.budget.clone()
    }

    /// Sends a frame for which there is room in the budget. A link that is over takes
    /// nothing: its budget is closed.
    pub(crate) fn send(&self, frame: StateFrame) {
        let _ = self.frames.send(ToMaster::State(frame).to_frame());
    }

    /// Ends the copies under way. Those of the next deploy have the whole budget.
    pub(crate) fn renew(&mut self, allowed: u64) {
        self.close();
        *self = Self::new(self.frames.clone(), allowed);
    }

    /// State bytes were taken in by the other side. More than were sent are no room.
    pub(crate) fn acknowledged(&self, bytes: u64, allowance: &mut Allowance) {
        let left = self.budget.available_permits() as u64;
        let before = allowance.size();
        allowance.acknowledged(bytes, left, Instant::now());
        let grown = allowance.size().saturating_sub(before);
        let room = bytes.min(before.saturating_sub(left));
        self.budget.add_permits(permits(room + grown));
    }

    /// Nothing is sent over it any more.
    pub(crate) fn close(&self) {
        self.budget.close();
    }
}

/// An allowance is far below what a semaphore takes.
fn permits(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS)
}
