//! The way of state out of this process: past the agent, behind everything that it says.

use std::sync::Arc;

use baton_protocol::{
    Frame, ToMaster,
    state::{MAX_UNACKNOWLEDGED, StateFrame},
};
use tokio::sync::{Semaphore, mpsc};

/// One for all shards that copy over the same link in the same deploy. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StateChannel {
    /// State bytes that may be on their way, for all shards together.
    budget: Arc<Semaphore>,
    frames: mpsc::UnboundedSender<Frame>,
}

impl StateChannel {
    pub(crate) fn new(frames: mpsc::UnboundedSender<Frame>) -> Self {
        let budget = Arc::new(Semaphore::new(MAX_UNACKNOWLEDGED as usize));
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
    pub(crate) fn renew(&mut self) {
        self.close();
        *self = Self::new(self.frames.clone());
    }

    /// State bytes were taken in by the other side. More than were sent are no room.
    pub(crate) fn acknowledged(&self, bytes: u64) {
        let room = MAX_UNACKNOWLEDGED.saturating_sub(self.budget.available_permits() as u64);
        self.budget.add_permits(bytes.min(room) as usize);
    }

    /// Nothing is sent over it any more.
    pub(crate) fn close(&self) {
        self.budget.close();
    }
}
