//! What a process of units sends off and gets that is no unit's: letters of the once-per-bot
//! work, and permits that have names.
//!
//! The agent looks in whenever something is to be sent, and puts in what comes. Nothing is kept
//! for a master that is not there, but that somebody waits for a permit: that is said again on
//! the next link.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use baton_protocol::{
    ToMaster,
    message::{Correspondent, MAX_PERMIT, PermitsLeased, PermitsWanted, Post},
};
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

/// Letters that wait for the agent, or for the work. It takes them at once as a rule.
const MOST_LETTERS: usize = 1024;

/// Clones are the same office.
#[derive(Clone, Debug, Default)]
pub struct Office(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    desk: Mutex<Desk>,
    /// Something is to be sent.
    out: Notify,
    /// A letter came for the work.
    come: Notify,
    units: AtomicU32,
}

#[derive(Debug, Default)]
struct Desk {
    out: VecDeque<Post>,
    come: VecDeque<Post>,
    /// Who waits for permits of which name.
    waiting: BTreeMap<String, VecDeque<oneshot::Sender<bool>>>,
    /// Of these names the master is to hear how many wait.
    changed: BTreeSet<String>,
}

/// The master knows no permit of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the master gives no permits named {0:?}: see its platform and its limits")]
pub struct NoSuchPermit(String);

impl Office {
    /// One that nobody has yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for one permit, for any time, and survives being cancelled. It is to be used at
    /// once.
    ///
    /// # Errors
    /// The master knows no such permit.
    pub async fn permit(&self, name: &str) -> Result<(), NoSuchPermit> {
        let no_such = || NoSuchPermit(name.to_owned());
        if name.len() > MAX_PERMIT {
            return Err(no_such());
        }
        let (sender, leased) = oneshot::channel();
        {
            let mut desk = self.desk();
            let waiting = desk.waiting.entry(name.to_owned()).or_default();
            waiting.retain(|waits| !waits.is_closed());
            waiting.push_back(sender);
            desk.changed.insert(name.to_owned());
        }
        self.0.out.notify_one();
        match leased.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(no_such()),
        }
    }

    /// How many units the fleet has; 0 until a master said so.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.0.units.load(Ordering::Relaxed)
    }

    /// How many wait for permits right now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let desk = self.desk();
        let live = |waiting: &VecDeque<oneshot::Sender<bool>>| {
            waiting.iter().filter(|waits| !waits.is_closed()).count()
        };
        desk.waiting.values().map(live).sum()
    }

    /// The once-per-bot work of this process writes. Of no effect while no master listens, and
    /// if it does not run here.
    pub fn write(&self, to: Correspondent, body: Bytes) {
        let post = Post {
            from: Correspondent::Work,
            to,
            body,
        };
        {
            let mut desk = self.desk();
            if desk.out.len() >= MOST_LETTERS || post.body.len() > Post::MAX_BYTES {
                tracing::warn!(?post, "a letter is not sent: too long, or too many wait");
                return;
            }
            desk.out.push_back(post);
        }
        self.0.out.notify_one();
    }

    /// The next letter to the work of this process. Survives being cancelled; one at a time
    /// may wait for it.
    pub async fn letter(&self) -> (Correspondent, Bytes) {
        loop {
            let come = self.desk().come.pop_front();
            if let Some(post) = come {
                return (post.from, post.body);
            }
            self.0.come.notified().await;
        }
    }

    // ---- the agent -----------------------------------------------------------

    /// What is to be said to the master next. Survives being cancelled.
    pub(crate) async fn outgoing(&self) -> ToMaster {
        loop {
            if let Some(message) = self.next() {
                return message;
            }
            self.0.out.notified().await;
        }
    }

    fn next(&self) -> Option<ToMaster> {
        let mut desk = self.desk();
        if let Some(name) = desk.changed.pop_first() {
            let count = desk.waiting.get_mut(&name).map_or(0, |waiting| {
                waiting.retain(|waits| !waits.is_closed());
                waiting.len()
            });
            if count == 0 {
                desk.waiting.remove(&name);
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            return Some(ToMaster::PermitsWanted(PermitsWanted { name, count }));
        }
        desk.out.pop_front().map(ToMaster::Post)
    }

    /// A master listens that knows nothing of what was asked before. It has so many units.
    pub(crate) fn begins_anew(&self, units: u32) {
        self.0.units.store(units, Ordering::Relaxed);
        {
            let mut desk = self.desk();
            let names: BTreeSet<_> = desk.waiting.keys().cloned().collect();
            desk.changed = names;
        }
        self.0.out.notify_one();
    }

    pub(crate) fn leased(&self, leased: &PermitsLeased) {
        let mut desk = self.desk();
        let Some(waiting) = desk.waiting.get_mut(&leased.name) else {
            return;
        };
        if leased.count == 0 {
            for waits in std::mem::take(waiting) {
                let _ = waits.send(false);
            }
            return;
        }
        let mut left = leased.count;
        while left > 0
            && let Some(waits) = waiting.pop_front()
        {
            // One that waits no more takes none.
            left -= u32::from(waits.send(true).is_ok());
        }
    }

    pub(crate) fn came(&self, post: Post) {
        {
            let mut desk = self.desk();
            if desk.come.len() >= MOST_LETTERS {
                tracing::warn!(
                    ?post,
                    "the work does not read its letters: this one is dropped"
                );
                return;
            }
            desk.come.push_back(post);
        }
        self.0.come.notify_one();
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(name: &str, count: u32) -> PermitsLeased {
        PermitsLeased {
            name: name.to_owned(),
            count,
            valid_ms: 1000,
        }
    }

    fn wanted(office: &Office) -> Vec<(String, u32)> {
        let said = std::iter::from_fn(|| office.next());
        said.map(|said| {
            let ToMaster::PermitsWanted(wanted) = said else {
                panic!("{said:?}");
            };
            (wanted.name, wanted.count)
        })
        .collect()
    }

    #[tokio::test]
    async fn permits_go_to_who_waited_first_and_who_waits_no_more_gets_none() {
        let office = Office::default();
        let waits = || {
            let office = office.clone();
            tokio::spawn(async move { office.permit("join/bot").await })
        };
        let (gone, first, second) = (waits(), waits(), waits());
        tokio::task::yield_now().await;
        assert_eq!(wanted(&office), [("join/bot".to_owned(), 3)]);
        gone.abort();
        let _ = gone.await;
        office.leased(&leased("join/bot", 1));
        assert_eq!(first.await.expect("it ends"), Ok(()));
        assert_eq!(office.waiting(), 1);
        office.begins_anew(4);
        assert_eq!(
            wanted(&office),
            [("join/bot".to_owned(), 1)],
            "on each link"
        );
        office.leased(&leased("join/bot", 5));
        assert_eq!(second.await.expect("it ends"), Ok(()));
    }

    #[tokio::test]
    async fn a_permit_that_nobody_gives_is_an_error_and_no_wait() {
        let office = Office::default();
        let waits = {
            let office = office.clone();
            tokio::spawn(async move { office.permit("nothing").await })
        };
        tokio::task::yield_now().await;
        office.leased(&leased("nothing", 0));
        let refused = waits.await.expect("it ends").expect_err("no such permit");
        assert!(refused.to_string().contains("nothing"));
    }

    #[tokio::test]
    async fn letters_come_in_their_order_and_no_more_than_there_is_room_for() {
        let office = Office::default();
        for n in 0..=MOST_LETTERS {
            office.came(Post {
                body: n.to_string().into(),
                ..Post::default()
            });
        }
        for n in 0..MOST_LETTERS {
            assert_eq!(office.letter().await.1, n.to_string());
        }
        assert!(office.desk().come.is_empty());
    }
}
