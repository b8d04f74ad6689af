//! When stale channels are let go.

use std::time::Duration;

use super::Unix;

/// The shortest time between two clean-ups.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// And so much more at most, by chance: the bots of a host do not all clean up at once.
pub const JITTER: Duration = Duration::from_secs(600);

/// When to clean up after a clean-up, or a start, at `last`: 300 s later, and up to 600 s
/// more. `chance` is a random number from 0 to 1; what is outside counts as the nearest, and
/// what is no number as 0.
#[must_use]
pub fn next(last: Unix, chance: f64) -> Unix {
    let chance = if chance.is_nan() { 0.0 } else { chance };
    last.plus(INTERVAL + JITTER.mul_f64(chance.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_up_comes_after_300_seconds_and_up_to_600_more() {
        let next = |chance| next(Unix(1_000), chance).0;
        assert_eq!((next(0.0), next(0.5), next(1.0)), (1_300, 1_600, 1_900));
        assert_eq!(next(f64::NAN), 1_300);
        assert_eq!((next(f64::NEG_INFINITY), next(7.0)), (1_300, 1_900));
    }
}
