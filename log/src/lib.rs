#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//!
//! [`stderr`] and [`Log`] are the log, [`catch_panics`] and its [`Guard`] what `main`
//! needs.

mod panics;
mod queue;
#[cfg(test)]
mod tests;

pub use self::{
    panics::{Guard, catch_panics},
    queue::{Line, Log, stderr},
};
