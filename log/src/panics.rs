//! Panics as lines of the log, and the end of a process.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    thread,
    time::Duration,
};

use tracing::{Level, enabled, error};

use crate::{Log, stderr};

/// What is queued at the end of a process is written within this time, or lost.
const AT_THE_END: Duration = Duration::from_secs(1);

/// A panic may be the end: its line is waited for so long, unless the log is stuck.
const AT_A_PANIC: Duration = Duration::from_millis(50);

/// When it is dropped, what is queued for [`stderr`](crate::stderr) is written, for at
/// most a second. `main` holds one.
#[derive(Debug)]
#[must_use = "dropped at once it flushes nothing"]
pub struct Guard {
    _private: (),
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It was waited for as long as may be.
        let _ = stderr().finish(AT_THE_END);
    }
}

/// From now on a panic is a line of the log: an error where errors are logged, else
/// plain text. With a backtrace where `RUST_BACKTRACE` asks for one.
pub fn catch_panics() -> Guard {
    panic::set_hook(Box::new(|info| {
        let log = stderr();
        say(log, info);
        if !log.is_stuck(AT_A_PANIC) {
            let _ = log.finish(AT_A_PANIC);
        }
    }));
    Guard { _private: () }
}

fn say(log: &Log, info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("a value that is no text");
    let place = info.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    if enabled!(Level::ERROR) {
        error!(thread, place, what, trace, "panicked");
    } else {
        let trace = trace.map_or_else(String::new, |trace| format!("\n{trace}"));
        log.line(&format!(
            "thread '{thread}' panicked at {place}: {what}{trace}"
        ));
    }
}
