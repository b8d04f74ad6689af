//! Processes of this host: started so that they outlive the master, and known
//! for certain when they are dead.

mod here;
mod hidden;
mod launch;
mod launcher;
mod named;
mod output;
mod passed;
#[cfg(test)]
mod tests;
mod turn;
mod watch;

#[cfg(test)]
pub(crate) use self::hidden::tests::hide;
pub use self::{
    here::{kernel_name, own_host, we_are_on},
    launch::{Child, Common, Plan, group_of, is_of_launch, variable},
    launcher::Launcher,
    named::{Dialled, may_be},
    output::{Output, Outputs, UNHEARD},
    passed::Listeners,
    turn::{keep_small, keep_these_small},
    watch::{Watch, WatchError, lived, pid_of_ours},
};
