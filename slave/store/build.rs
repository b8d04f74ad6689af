//! Weakens one rule where `scripts/mutants` asks for it, to see a test go red.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

const CRATE: &str = "store";

include!("../../scripts/mutants.rs");
