//! How busy the host is. The limits of a run are scaled down, so that it takes
//! seconds; on a host that does other work too, they are stretched again, so that a
//! verdict says what the code does and not what else ran.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// At most so much are limits stretched: a link that is cut for 5 s has to outlast them.
const MOST: f64 = 1.9;

/// Processor time after which the share of it is known.
const WORK: Duration = Duration::from_millis(40);

/// By how much the limits of a run are stretched: from 1 to [`MOST`]. Blocks.
pub(super) fn stretch() -> f64 {
    within(now())
}

fn within(times: f64) -> f64 {
    times.clamp(1.0, MOST)
}

/// Works for a moment, and gives how much longer it took than on an idle host. Blocks.
pub(super) fn now() -> f64 {
    let (began, worked) = (Instant::now(), processor_time());
    while processor_time().saturating_sub(worked) < WORK {
        std::hint::spin_loop();
    }
    times(began.elapsed())
}

/// How many times as long it took.
fn times(elapsed: Duration) -> f64 {
    elapsed.div_duration_f64(WORK)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_of_a_processor_stretch_the_limits_by_half_and_no_host_more_than_allowed() {
        let stretch = |elapsed| within(times(elapsed));
        assert_eq!(stretch(WORK / 2), 1.0);
        assert_eq!(stretch(WORK * 3 / 2), 1.5);
        assert_eq!(stretch(WORK * 100), MOST);
    }

    #[test]
    fn what_is_measured_is_no_shorter_than_the_work() {
        // The two clocks need not agree to the last digit.
        assert!(now() > 0.9);
    }
}
