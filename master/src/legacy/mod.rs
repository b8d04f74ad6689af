//! Unchanged slaves of YAGPDB's 2018 Go master, behind the switch `legacy`.
//!
//! In this mode the master speaks the Go master's flow and nothing else:
//! [`flow`] decides, [`runner`] owns the sockets. There is no journal, no secret
//! and no proof of identity in the Go wire, so it listens on loopback
//! only; what it cannot promise is in `docs/moving-from-go.md`.

pub mod flow;
pub mod runner;
#[cfg(test)]
mod tests;
