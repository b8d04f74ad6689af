//! Compiles rules that can be broken on purpose, where `scripts/mutants` asks for it.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "cargo speaks by them; the rules are those of the crate, not of its build"
)]

const CRATE: &str = "core";

include!("../../scripts/mutants.rs");
