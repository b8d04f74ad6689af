//! What strangers may take of a master: connections, log lines, time.
//!
//! Every client of a port is a stranger until it has proved something, and
//! there can be any number of them. So:
//!
//! - Places are bounded at each door. When all are taken, the one that has waited
//!   longest without being served gives its place to the next one ([`Places`]):
//!   a quick client, as slaves and operators are, gets through a flood.
//!   One address has no more than half of them, so that no single host keeps others out.
//! - Who is on another host has a certificate of the fleet, and no more than 8 KiB
//!   are read of it before it has shown that ([`secure`]).
//! - The doors together take less than half of the files that the process may have
//!   open: the rest is for the slaves, the journal and what is launched ([`share`]).
//! - An operator on another host speaks TLS too, and may have a certificate ([`operators`]).
//! - A request's head, its body and its answer have their time ([`http`]).
//! - Lines that a stranger causes are logged a few times, and then counted ([`Hush`]).

pub mod http;
mod hush;
pub mod operators;
mod places;
pub mod secure;
#[cfg(test)]
mod tests;

pub use self::{
    hush::Hush,
    places::{Busy, Crowd, Place, Places},
    secure::Secure,
};

/// How many of `most` places a door has, where few files may be open: at most one in
/// `part` of them, but always `least`.
#[must_use]
pub fn share(most: usize, part: u64, least: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let Some(files) = limit.current else {
        return most;
    };
    usize::try_from(files / part).map_or(most, |share| share.clamp(least, most))
}
