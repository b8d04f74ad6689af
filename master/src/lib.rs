#![doc = include_str!("../README.md")]

pub mod admin;
pub mod budget;
pub mod cli;
pub mod config;
pub mod core;
pub mod counters;
pub mod crash;
pub mod doctor;
pub mod doors;
pub mod driver;
pub mod error;
pub mod history;
pub mod journal;
pub mod legacy;
pub mod listener;
pub mod metrics;
mod other_build;
pub mod peer;
pub mod probe;
pub mod process;
pub mod reload;
pub mod run;
pub mod runtime_dir;
pub mod service;
mod vital;
mod whole_file;
