//! Which slave is which process: the names with which a newcomer's is compared.

use baton_protocol::{ProcessIdentity, SlaveId};

use crate::Core;

impl Core {
    /// Which slave that is not known to be dead has this process.
    #[must_use]
    pub fn slave_in(&self, process: &ProcessIdentity) -> Option<SlaveId> {
        let mut slaves = self.fleet.slaves.iter();
        let found = slaves.find(|(_, slave)| slave.hello.process == *process);
        found.map(|(id, _)| *id)
    }
}
