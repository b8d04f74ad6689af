//! Unchanged slaves of the 2018 Go ancestor, behind the switch `legacy`.
//!
//! In this mode the master speaks the ancestor's flow and nothing else:
//! [`flow`] decides, [`runner`] owns the sockets. There is no journal, no secret
//! and no proof of identity in the ancestor's wire, so it listens on loopback
//! only; what it cannot promise is listed in the crate's README.

pub mod flow;
pub mod runner;
#[cfg(test)]
mod tests;
