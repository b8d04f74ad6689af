//! Weakens one rule where `scripts/mutants` asks for it, to see a test go red.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "cargo speaks by them; the rules are those of the crate, not of its build"
)]

const CRATE: &str = "core";

include!("../../scripts/mutants.rs");
