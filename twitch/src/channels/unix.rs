//! Times that outlive a process.

use std::time::Duration;

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
        assert_eq!(Unix(7).since(Unix(5)), Duration::from_secs(2));
    }
}
