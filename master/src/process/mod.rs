//! Processes of this host: started so that they outlive the master, and known
//! for certain when they are dead.

mod launch;
mod output;
#[cfg(test)]
mod tests;
mod watch;

pub use self::{
    launch::{Child, Launcher, group_of, is_of_launch, kill_group, variable},
    output::{Output, Outputs},
    watch::{Watch, WatchError, lived},
};
