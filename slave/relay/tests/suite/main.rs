//! `baton-slave` as a process.
#![allow(clippy::unwrap_used)]

mod logs;
mod options;
mod store;

use std::time::Duration;

/// Longer than anything takes; a test that waits for it fails.
const LONG: Duration = Duration::from_secs(20);
