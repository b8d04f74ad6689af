//! The faults that wait for their moment, and those that last.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, time::Instant};

use super::{Fault, FaultName, When};
use crate::error::Error;

/// Faults that can wait at a time.
const MAX_ARMED: usize = 10_000;

/// What the listener does with an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtAccept {
    Serve,
    Close,
}

/// Faults that wait for their moment, and faults that last.
#[derive(Debug, Default)]
pub(crate) struct Book {
    state: Mutex<State>,
    /// The listener is to look whether it is to listen. It alone waits for it.
    refusing: Notify,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Armed>,
    closing: Option<Until>,
    refusing: Option<Until>,
    dead_resume_url: Option<(Until, Option<u32>)>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    until: Until,
    struck: u32,
}

/// A fault that waits for its moment, as `GET /faults` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    /// `count` is how many times it is still to strike.
    #[serde(flatten)]
    pub(crate) fault: Fault,
    /// How many times it has struck.
    pub(crate) struck: u32,
}

/// When something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Time(Instant),
    Cleared,
}

impl Until {
    /// Zero is without an end.
    fn lasting(duration: Duration) -> Self {
        if duration.is_zero() {
            Self::Cleared
        } else {
            Self::Time(Instant::now() + duration)
        }
    }

    fn is_over(self) -> bool {
        match self {
            Self::Time(at) => at <= Instant::now(),
            Self::Cleared => false,
        }
    }
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a fault wait for its moment.
    pub(crate) fn arm(&self, fault: Fault) -> Result<(), Error> {
        let mut state = self.lock();
        state.armed.retain(|armed| !armed.until.is_over());
        if state.armed.len() >= MAX_ARMED {
            return Err(Error::invalid(
                "too many faults are waiting: clear them first",
            ));
        }
        let until = Until::lasting(Duration::from_millis(fault.for_ms));
        state.armed.push(Armed {
            fault,
            until,
            struck: 0,
        });
        Ok(())
    }

    /// Takes the faults whose moment has come.
    pub(crate) fn take(&self, when: When, shard: Option<u32>) -> Vec<Fault> {
        let mut due = Vec::new();
        self.lock().armed.retain_mut(|armed| {
            let Armed {
                fault,
                until,
                struck,
            } = armed;
            if until.is_over() {
                return false;
            }
            let mine = fault.shard.is_none() || fault.shard == shard;
            if fault.moment() != when || !mine {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            due.push(fault.clone());
            *struck = struck.saturating_add(1);
            match fault.count {
                // Until it is cleared.
                0 => true,
                1 => false,
                _ => {
                    fault.count -= 1;
                    true
                }
            }
        });
        due
    }

    /// The faults that still wait.
    pub(crate) fn armed(&self) -> Vec<Waiting> {
        let state = self.lock();
        let waiting = state.armed.iter().filter(|armed| !armed.until.is_over());
        let shown = |armed: &Armed| Waiting {
            fault: armed.fault.clone(),
            struck: armed.struck,
        };
        waiting.map(shown).collect()
    }

    /// The faults that last, by name.
    pub(crate) fn lasting(&self) -> Vec<FaultName> {
        let state = self.lock();
        let last = |until: Option<Until>, name| until.filter(|u| !u.is_over()).map(|_| name);
        let dead = state.dead_resume_url.map(|(until, _)| until);
        [
            last(state.closing, FaultName::AcceptAndClose),
            last(state.refusing, FaultName::RefuseConnect),
            last(dead, FaultName::ResumeUrlDead),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Ends everything that waits or lasts; with a name, only that.
    pub(crate) fn clear(&self, name: Option<FaultName>) {
        let mut state = self.lock();
        let is = |this| name.is_none_or(|name| name == this);
        state
            .armed
            .retain(|armed| name.is_some_and(|name| name != armed.fault.name));
        if is(FaultName::AcceptAndClose) {
            state.closing = None;
        }
        if is(FaultName::RefuseConnect) || is(FaultName::Away) {
            state.refusing = None;
        }
        if is(FaultName::ResumeUrlDead) {
            state.dead_resume_url = None;
        }
        drop(state);
        self.refusing.notify_one();
    }

    /// Zero is until it is cleared, here and below.
    pub(crate) fn close_at_accept(&self, duration: Duration) {
        self.lock().closing = Some(Until::lasting(duration));
    }

    pub(crate) fn refuse_connect(&self, duration: Duration) {
        self.lock().refusing = Some(Until::lasting(duration));
        self.refusing.notify_one();
    }

    pub(crate) fn kill_resume_url(&self, duration: Duration, shard: Option<u32>) {
        self.lock().dead_resume_url = Some((Until::lasting(duration), shard));
    }

    pub(crate) fn at_accept(&self) -> AtAccept {
        match self.lock().closing {
            Some(until) if !until.is_over() => AtAccept::Close,
            Some(_) | None => AtAccept::Serve,
        }
    }

    fn refuses(&self) -> Option<Until> {
        self.lock().refusing.filter(|until| !until.is_over())
    }

    /// Completes when the listener is to stop listening.
    pub(crate) async fn until_refusing(&self) {
        while self.refuses().is_none() {
            self.refusing.notified().await;
        }
    }

    /// Completes when the listener is to listen again.
    pub(crate) async fn until_listening(&self) {
        while let Some(until) = self.refuses() {
            match until {
                Until::Cleared => self.refusing.notified().await,
                Until::Time(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.refusing.notified() => {}
                },
            }
        }
    }

    /// `resume_shard` is the shard in the URL, `None` for the plain URL.
    pub(crate) fn resume_url_is_dead(&self, resume_shard: Option<u32>) -> bool {
        let Some(shard) = resume_shard else {
            return false;
        };
        self.lock()
            .dead_resume_url
            .is_some_and(|(until, dead)| !until.is_over() && dead.is_none_or(|dead| dead == shard))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{AtAccept, Book, Fault, FaultName, When};

    #[test]
    fn a_fault_waits_for_its_moment_and_its_shard_and_lets_occasions_pass() {
        let book = Book::default();
        let mut fault = Fault::new(FaultName::NoResumed).on_shard(3).times(2);
        fault.after = 1;
        book.arm(fault).unwrap();
        assert!(book.take(When::Connect, Some(3)).is_empty());
        assert!(book.take(When::Resume, Some(4)).is_empty());
        assert!(book.take(When::Resume, Some(3)).is_empty(), "let one pass");
        assert_eq!(book.armed()[0].struck, 0);
        assert_eq!(book.take(When::Resume, Some(3)).len(), 1);
        let waiting = book.armed();
        assert_eq!((waiting[0].struck, waiting[0].fault.count), (1, 1));
        assert_eq!(book.take(When::Resume, Some(3)).len(), 1);
        assert!(book.armed().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_without_a_count_comes_every_time_until_it_is_cleared_or_its_time_is_over() {
        let book = Book::default();
        let minute = Duration::from_secs(60);
        let timed = Fault::new(FaultName::Op9False).at(When::Identify);
        book.arm(timed.throughout(minute)).unwrap();
        book.arm(Fault::new(FaultName::CloseOnResume).for_ever())
            .unwrap();
        advance(minute / 2).await;
        for _ in 0..100 {
            assert_eq!(book.take(When::Identify, Some(1)).len(), 1);
            assert_eq!(book.take(When::Resume, Some(1)).len(), 1);
        }
        advance(minute / 2).await;
        assert!(book.take(When::Identify, Some(1)).is_empty());
        advance(minute * 1000).await;
        assert_eq!(book.take(When::Resume, None).len(), 1);
        book.clear(Some(FaultName::Op9False));
        assert_eq!(book.armed().len(), 1, "another name");
        book.clear(Some(FaultName::CloseOnResume));
        assert!(book.take(When::Resume, None).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_ends_with_its_time_and_without_one_when_it_is_cleared() {
        let book = Book::default();
        book.close_at_accept(Duration::from_secs(3));
        book.refuse_connect(Duration::ZERO);
        book.kill_resume_url(Duration::ZERO, Some(2));
        advance(Duration::from_secs(3)).await;
        assert_eq!(book.at_accept(), AtAccept::Serve);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(
            book.lasting(),
            [FaultName::RefuseConnect, FaultName::ResumeUrlDead]
        );
        assert!(book.resume_url_is_dead(Some(2)) && !book.resume_url_is_dead(Some(1)));
        book.until_refusing().await;
        book.clear(None);
        book.until_listening().await;
        assert_eq!(book.lasting(), []);
    }
}
