//! Times that outlive a process.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Seconds since 1970, as the caller's clock says: what is stored has to mean the same
/// after a restart.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Unix(pub i64);

impl Unix {
    /// So much later. Parts of a second do not count.
    #[must_use]
    pub const fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(whole(time)))
    }

    /// So much earlier. Parts of a second do not count.
    #[must_use]
    pub const fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(whole(time)))
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        let seconds = self.0.saturating_sub(earlier.0);
        Duration::from_secs(if seconds > 0 {
            seconds.cast_unsigned()
        } else {
            0
        })
    }
}

impl From<SystemTime> for Unix {
    /// Of a clock that is before 1970, 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self(whole(since.unwrap_or_default()))
    }
}

const fn whole(time: Duration) -> i64 {
    let seconds = time.as_secs();
    // Far above any year that means something.
    if seconds > i64::MAX as u64 {
        i64::MAX
    } else {
        seconds.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_long_to_reckon_with() {
        assert_eq!(Unix(5).plus(Duration::MAX), Unix(i64::MAX));
        assert_eq!(Unix(-5).minus(Duration::MAX), Unix(i64::MIN));
        assert_eq!(Unix(i64::MIN).since(Unix(i64::MAX)), Duration::ZERO);
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_999);
        assert_eq!(Unix::from(time), Unix(1));
        assert_eq!(Unix(7).since(Unix(5)), Duration::from_secs(2));
    }
}
