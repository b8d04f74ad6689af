#![doc = include_str!("../README.md")]

mod panics;
mod queue;
#[cfg(test)]
mod tests;

pub use self::{
    panics::{Guard, catch_panics},
    queue::{Line, Log, stderr},
};
