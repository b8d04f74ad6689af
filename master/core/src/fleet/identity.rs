//! Which slaves are known, and which process each of them is: the names with which a
//! newcomer's is compared.

use baton_protocol::{ProcessIdentity, SlaveId, message::RefusedReason};

use crate::fleet::Fleet;

/// Slaves that are known and not known to be dead, at most: four times as many as may be
/// connected at once. Where nobody can know a death (another host's, another pid
/// namespace's) they stay until an operator says it.
const MOST_SLAVES: usize = 1024;

impl Fleet {
    /// Which slave that is not known to be dead has this process.
    pub(crate) fn slave_in(&self, process: &ProcessIdentity) -> Option<SlaveId> {
        let mut slaves = self.slaves.iter();
        let found = slaves.find(|(_, slave)| slave.hello.process.is(process));
        found.map(|(id, _)| *id)
    }

    /// Whether one more slave may be known, else why not.
    pub(super) fn has_room(&self) -> Result<(), (RefusedReason, String)> {
        if self.slaves.len() < MOST_SLAVES || mutant!("slaves-unbounded") {
            return Ok(());
        }
        let detail = format!(
            "{MOST_SLAVES} slaves are known, and none of them is known to be dead: say of those \
             that are gone that they are dead (baton-master status, baton-master fence SLAVE)"
        );
        Err((RefusedReason::Busy, detail))
    }
}
