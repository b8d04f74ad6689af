//! The two clocks of the simulated Twitch.
//!
//! Whatever decides *when* something happens (limits, keepalives, delays, traffic) asks
//! tokio's clock, which tests step. Whatever is *written down* is stamped with
//! `CLOCK_MONOTONIC`, because another process of the host can compare that with its own.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Microseconds on `CLOCK_MONOTONIC`. Its start is the same for every process of a host.
pub fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1000
}

/// Milliseconds since 1970 by the wall clock, as in the tag `tmi-sent-ts`.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Now as RFC 3339 with nanoseconds, as EventSub writes it.
pub(crate) fn rfc3339() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}
