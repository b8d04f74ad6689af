//! Compiles rules that can be broken on purpose, where `scripts/mutants` asks for it.
#![allow(clippy::print_stdout, reason = "cargo listens there")]

const CRATE: &str = "twitch";

include!("../scripts/mutants.rs");
