//! The two clocks of the simulated Discord.
//!
//! Everything that decides *when* something happens (identify window, resume
//! window, heartbeats, traffic) uses tokio's clock, so that tests can step it.
//! Everything that is *written down* uses `CLOCK_MONOTONIC`, which is the same
//! for all processes of one host, so that another process can subtract.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Now on `CLOCK_MONOTONIC`, in microseconds since an unspecified start that is
/// the same for every process of this host.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanos / 1000
}

/// Milliseconds since the Unix epoch by the wall clock.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// An ISO 8601 timestamp with microseconds and zone, as Discord writes it.
pub(crate) fn iso8601(unix_ms: u64) -> String {
    let days = unix_ms / 86_400_000;
    let in_day = unix_ms % 86_400_000;
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}000+00:00",
        in_day / 3_600_000,
        in_day / 60_000 % 60,
        in_day / 1000 % 60,
        in_day % 1000,
    )
}

/// Gregorian date of a day number counted from 1970-01-01.
///
/// Counts in eras of 400 years that begin on 1 March, so that the leap day is
/// the last day of its year and needs no special case.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{iso8601, monotonic_us};

    #[test]
    fn timestamps_are_written_as_discord_writes_them() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(iso8601(951_782_400_000), "2000-02-29T00:00:00.000000+00:00");
        assert_eq!(
            iso8601(1_735_689_599_123),
            "2024-12-31T23:59:59.123000+00:00"
        );
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = monotonic_us();
        assert!(monotonic_us() >= first);
    }
}
