//! Which of several masters an agent dials, and when: one leads, and the others refuse. As
//! slaves do (`slave/src/agent/turns.rs`), it goes on to the next at once, and pauses when all
//! were dialled in vain.

use std::time::Duration;

/// A master answers within this time; where several are named, within the shorter one: a host
/// that is gone says nothing, and the next one may lead.
const ANSWER: Duration = Duration::from_secs(10);
const ANSWER_OF_SEVERAL: Duration = Duration::from_secs(3);

/// The first pause, and the longest. Of several masters, one that stands by may lead in the
/// next moment.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
const LONGEST_OF_SEVERAL: Duration = Duration::from_secs(1);

/// A master that says nothing for so many pings, and a bit more, is left.
const SILENT_PINGS: u32 = 4;
const SILENT_PINGS_OF_SEVERAL: u32 = 1;
const SLACK: Duration = Duration::from_secs(5);

/// How long a master may take to answer a dial.
pub(super) const fn answer(masters: usize) -> Duration {
    match masters {
        0 | 1 => ANSWER,
        _ => ANSWER_OF_SEVERAL,
    }
}

/// For how long a master may say nothing that pings so often.
pub(super) fn silence(masters: usize, ping: Duration) -> Duration {
    let pings = match masters {
        0 | 1 => SILENT_PINGS,
        _ => SILENT_PINGS_OF_SEVERAL,
    };
    ping.saturating_mul(pings).saturating_add(SLACK)
}

/// The pause before the next dial, when so many failed before this one, which did too.
pub(super) fn pause(failures: u32, masters: usize) -> Duration {
    let masters = u32::try_from(masters).unwrap_or(u32::MAX).max(1);
    let longest = match masters {
        1 => LONGEST,
        _ if !failures.saturating_add(1).is_multiple_of(masters) => return Duration::ZERO,
        _ => LONGEST_OF_SEVERAL,
    };
    let rounds = (failures / masters).min(16);
    let pause = FIRST.saturating_mul(2_u32.saturating_pow(rounds));
    pause.min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_masters_all_have_their_turn_before_a_pause_of_a_second_at_most() {
        let pauses = |masters| (0..12).map(move |failures| pause(failures, masters).as_millis());
        let two: Vec<_> = pauses(2).collect();
        assert_eq!(two, [0, 100, 0, 200, 0, 400, 0, 800, 0, 1000, 0, 1000]);
        let one: Vec<_> = pauses(1).take(8).collect();
        assert_eq!(one, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pause(u32::MAX, 1), LONGEST);
    }

    #[test]
    fn one_that_says_nothing_is_left_earlier_where_another_one_may_lead() {
        let ping = Duration::from_secs(5);
        assert_eq!(silence(1, ping).as_secs(), 25);
        assert_eq!(silence(2, ping).as_secs(), 10);
        assert!(answer(2) < answer(1));
    }
}
