//! Processes of this host: started so that they outlive the master, and known
//! for certain when they are dead.

mod launch;
#[cfg(test)]
mod tests;
mod watch;

pub use self::{
    launch::{Launcher, ending, is_of_launch, kill_group, variable},
    watch::{Watch, WatchError},
};
