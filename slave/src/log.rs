//! Logging that no shard waits for.
//!
//! A bot logs with [`tracing`](https://docs.rs/tracing). With the feature `log`, `main`
//! begins with
//!
//! ```no_run
//! let _log = baton_slave::log::start();
//! ```
//!
//! A subscriber that writes to standard error or to a file by itself, `println!` and
//! `eprintln!` block the thread that logs when the pipe is full, and then every shard of
//! the process stands still. A subscriber of your own is safe with [`writer()`].

use std::sync::Once;

use baton_log::{Line, stderr};

pub use baton_log::{Guard, catch_panics};

/// Logs to standard error from now on, panics too: what `RUST_LOG` says, else `info`.
/// No thread waits for it: lines that are not read in time are dropped and counted. The
/// guard, when it is dropped at the end of `main`, writes what is queued, for at most a
/// second.
///
/// If the process has a subscriber already, that one stays.
#[cfg(feature = "log")]
pub fn start() -> Guard {
    use std::io::{self, IsTerminal};

    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal());
    // There is one: it is the author's.
    let _ = subscriber.try_init();
    catch_panics()
}

/// Says once, past all filters, that nothing of what this process logs is heard: a bot
/// without a subscriber is silent about everything that goes wrong.
pub(crate) fn say_if_mute() {
    static SAID: Once = Once::new();
    if !tracing::dispatcher::has_been_set() {
        SAID.call_once(|| line(MUTE));
    }
}

const MUTE: &str = "baton-slave: this process logs nothing, because it has no tracing subscriber: \
                    begin main with `let _log = baton_slave::log::start();` (feature `log`)";

/// Where your own subscriber may write, instead of to standard error:
/// `tracing_subscriber::fmt().with_writer(baton_slave::log::writer)`.
#[must_use]
pub fn writer() -> Line<'static> {
    stderr().writer()
}

/// Writes one line past all filters, such as the last words of `main`.
pub fn line(text: &str) {
    stderr().line(text);
}

/// Lines that were dropped since the process started, because they were not read in time or
/// could not be written.
#[must_use]
pub fn dropped() -> u64 {
    stderr().dropped()
}
