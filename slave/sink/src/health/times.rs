//! How long confirms take.

use std::time::Duration;

/// The newest confirms that are looked at.
const KEPT: usize = 1024;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Times {
    /// In microseconds.
    kept: Vec<u32>,
    /// Which one is overwritten next.
    next: usize,
    /// Of all, in microseconds.
    sum: u64,
}

impl Times {
    pub(super) fn push(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum = self.sum.saturating_add(micros);
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        match self.kept.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.kept.push(micros),
        }
        self.next = (self.next + 1) % KEPT;
    }

    pub(super) const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// What so many percent of the newest ones did not exceed, for each of the percents;
    /// zero where there is none.
    pub(super) fn percentiles<const N: usize>(&self, percents: [usize; N]) -> [Duration; N] {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable();
        percents.map(|percent| {
            let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            let micros = sorted.get(at).copied().unwrap_or(0);
            Duration::from_micros(micros.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn the_newest_confirms_are_looked_at_and_all_are_added_up() {
        let mut times = Times::default();
        assert_eq!(times.percentiles([50, 99]), [us(0), us(0)]);
        times.push(us(7));
        assert_eq!(times.percentiles([50, 99]), [us(7), us(7)]);
        for _ in 0..KEPT {
            times.push(us(9000));
        }
        for micros in 1..=100 {
            times.push(us(micros));
        }
        assert_eq!(times.percentiles([1, 5, 50]), [us(11), us(52), us(9000)]);
        assert_eq!(times.sum(), us(7 + 9000 * KEPT as u64 + 5050));
    }
}
