//! What a hand does: it starts, watches and kills the processes of one host, for whoever
//! leads.
//!
//! The master's own host has the [`Local`](super::local::Local) hand. What the hand knows goes back to
//! the driver as a [`Notice`](crate::notice::Notice), so nothing here waits.

use std::fmt::Debug;

use baton_core::event::Input;
use baton_protocol::{ProcessIdentity, SlaveId, message::Hello};

use super::launches::LaunchOrder;
use crate::process::{Launcher, Watch};

/// See the [module](self).
pub(super) trait Hand: Debug {
    // ---- launched processes --------------------------------------------------

    /// Starts a process into a slot. At most one process of a slot has been launched and
    /// not joined: one that lives is killed, and the launch waits until it is known dead.
    /// Gives what the core hears at once: that it cannot be started.
    fn launch(&mut self, launcher: &Launcher, slot: String, order: LaunchOrder) -> Option<Input>;

    /// Nobody waits for what is launched into a slot any more.
    fn give_up(&mut self, slot: &str);

    /// A slave says hello, or had said it before it was known what was launched: it may be
    /// what was. Gives what the core hears.
    fn recognise(&mut self, hello: &mut Hello) -> Vec<Input>;

    /// The core refuses a slave: what the asker of its launch hears at once.
    fn refused(&self, slave: SlaveId, detail: &str) -> Vec<Input>;

    // ---- watched processes ---------------------------------------------------

    /// Whether the death of this slave will be known.
    fn is_watched(&self, slave: SlaveId) -> bool;

    /// Whether this slave can be killed; `None`: its process is not seen.
    fn may_kill(&self, slave: SlaveId) -> Option<bool>;

    /// A slave joins; `watch`: its process, where the master itself could see it. Whether
    /// it is watched from now on and was not before.
    fn meet(
        &mut self,
        slave: SlaveId,
        process: &ProcessIdentity,
        watch: Option<Watch>,
        is_known: &dyn Fn(SlaveId) -> bool,
    ) -> bool;

    /// `SIGKILL`. Where it cannot be done, a person is told.
    fn kill(&mut self, slave: SlaveId, why: &'static str);

    /// A slave is known to be dead. Whether this one's death was waited for, so that it is
    /// news to the core.
    fn is_dead(&mut self, slave: SlaveId) -> bool;

    /// Tells how a slave ended, unless that is told with the end of what was launched.
    /// `hello`: as it introduced itself; `None`: nobody knows it.
    fn tell_death(&mut self, launcher: &Launcher, slave: SlaveId, hello: Option<&Hello>);

    /// Nothing of this slave's process is its any more: nobody is told its end, and it is
    /// not killed for what another one does.
    fn forget(&mut self, slave: SlaveId);
}
