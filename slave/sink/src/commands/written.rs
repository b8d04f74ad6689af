//! Commands that were written, and that a broker may hand out again: pure, with the time as an
//! input.

use std::{collections::VecDeque, time::Instant};

use super::{CommandsConfig, Keep};

/// So many are remembered: all that a shard may write (120 a minute) while one of them may come
/// again.
const REMEMBERED: usize = 1200;
/// So many of those of which the broker was told go along with a shard, where there is little
/// room.
const ALONG: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Written(VecDeque<One>);

#[derive(Debug)]
struct One {
    id: String,
    /// When the broker was told, which did not say that it heard.
    told: Option<Instant>,
}

impl One {
    /// No command lives as long as that.
    fn is_over(&self, now: Instant) -> bool {
        let told = self.told.map(|at| now.saturating_duration_since(at));
        told.is_some_and(|ago| ago >= CommandsConfig::LONGEST)
    }
}

impl Written {
    /// These came along with the shard.
    pub(super) fn goes_on_from(
        &mut self,
        settled: Vec<String>,
        written: Vec<String>,
        now: Instant,
    ) {
        let settled = settled.into_iter().map(|id| (id, Some(now)));
        for (id, told) in settled.chain(written.into_iter().map(|id| (id, None))) {
            self.push(One { id, told });
        }
    }

    /// What the next owner has to know: the newest of which the broker was told, and the others.
    pub(super) fn along(&self, now: Instant) -> (Vec<String>, Vec<String>) {
        let all = self.0.iter().filter(|one| !one.is_over(now));
        let (told, others): (Vec<_>, Vec<_>) = all.partition(|one| one.told.is_some());
        let ids = |all: &[&One]| all.iter().map(|one| one.id.clone()).collect();
        let newest = told.len().saturating_sub(ALONG);
        (ids(&told[newest..]), ids(&others))
    }

    pub(super) fn knows(&self, id: &str, now: Instant) -> bool {
        let mut all = self.0.iter();
        all.any(|one| one.id == id && !one.is_over(now))
    }

    pub(super) fn remember(&mut self, id: String) {
        self.push(One { id, told: None });
    }

    /// If it is full, one that the broker was told of goes first.
    fn push(&mut self, one: One) {
        if self.0.len() == REMEMBERED {
            let told = self.0.iter().position(|one| one.told.is_some());
            self.0.remove(told.unwrap_or(0));
        }
        self.0.push_back(one);
    }

    /// The broker was told what became of it.
    pub(super) fn is_settled(&mut self, id: &str, keep: Keep, now: Instant) {
        if keep == Keep::Nothing || mutant!("forgotten-when-settled") {
            return self.0.retain(|one| one.id != id);
        }
        for one in self.0.iter_mut().filter(|one| one.id == id) {
            one.told = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_whose_acknowledgement_nobody_confirmed_is_known_as_long_as_it_may_come_again() {
        let (mut written, now) = (Written::default(), Instant::now());
        for id in ["confirmed", "told", "waits"] {
            written.remember(id.to_owned());
        }
        written.is_settled("confirmed", Keep::Nothing, now);
        written.is_settled("told", Keep::Id, now);
        // A refused one was never written.
        written.is_settled("refused", Keep::Id, now);
        let known = |written: &Written, now| {
            let ids = ["confirmed", "told", "waits", "refused"];
            ids.map(|id| written.knows(id, now))
        };
        assert_eq!(known(&written, now), [false, true, true, false]);
        let late = now + CommandsConfig::LONGEST;
        let before = late.checked_sub(Duration::from_secs(1)).expect("a time");
        assert!(written.knows("told", before));
        assert_eq!(known(&written, late), [false, false, true, false]);
        // And so does the next owner.
        let mut next = Written::default();
        let (told, others) = written.along(before);
        assert_eq!(
            (&told, &others),
            (&vec!["told".to_owned()], &vec!["waits".to_owned()])
        );
        next.goes_on_from(told, others, before);
        assert_eq!(known(&next, before), [false, true, true, false]);
        assert_eq!(written.along(late).0, [""; 0]);
    }

    #[test]
    fn a_minute_of_commands_is_known_and_the_newest_of_them_go_along() {
        let (mut written, now) = (Written::default(), Instant::now());
        for id in 0..120 {
            written.remember(id.to_string());
            written.is_settled(&id.to_string(), Keep::Id, now);
        }
        assert!((0..120).all(|id| written.knows(&id.to_string(), now)));
        let (told, others) = written.along(now);
        assert_eq!((told.len(), others.len()), (ALONG, 0));
        assert_eq!(told.last().map(String::as_str), Some("119"));
    }

    #[test]
    fn of_too_many_the_oldest_that_the_broker_was_told_of_is_forgotten_first() {
        let (mut written, now) = (Written::default(), Instant::now());
        for id in 0..REMEMBERED {
            written.remember(id.to_string());
        }
        written.is_settled("7", Keep::Id, now);
        written.remember("new".to_owned());
        assert!(!written.knows("7", now) && written.knows("0", now));
        written.remember("newer".to_owned());
        assert!(!written.knows("0", now) && written.knows("new", now));
    }
}
