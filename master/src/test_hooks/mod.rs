//! What tests ask of a process from outside, by its environment. Only builds with debug
//! assertions have it; nothing of it is in a release build.

pub mod crash;
pub(crate) mod other_build;
