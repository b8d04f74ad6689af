//! Bounded places, of which the one that has waited longest is given away.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The places of one door.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// In the order in which they came.
    by_number: BTreeMap<u64, Guest>,
    /// When one had to go for another, last.
    full: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Guest {
    /// Its place was given to another connection.
    leave: CancellationToken,
    /// What is being done for it.
    busy: Arc<AtomicUsize>,
}

/// How it was when a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// There was a free place.
    Room,
    /// All were taken.
    Full,
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    guest: Guest,
}

/// Something is being done for the holder of the place: meanwhile it keeps it.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl Places {
    /// So many, at least one.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            taken: Mutex::default(),
        })
    }

    /// A place for a new connection; `Crowd` says whether another one lost it. `None`:
    /// something is being done for every holder of one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> (Option<Place>, Crowd) {
        let mut taken = self.taken();
        let mut crowd = Crowd::Room;
        if taken.by_number.len() >= self.most {
            crowd = Crowd::Full;
            taken.full = Some(Instant::now());
            let mut idle = taken.by_number.iter();
            let idle = idle.find(|(_, guest)| guest.busy.load(Ordering::Relaxed) == 0);
            let Some(number) = idle.map(|(number, _)| *number) else {
                return (None, crowd);
            };
            if let Some(guest) = taken.by_number.remove(&number) {
                guest.leave.cancel();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let guest = Guest::default();
        taken.by_number.insert(number, guest.clone());
        let place = Place {
            places: Arc::clone(self),
            number,
            guest,
        };
        (Some(place), crowd)
    }

    /// How many there are.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Whether all were taken when a connection came, within this time.
    #[must_use]
    pub fn was_full(&self, within: Duration) -> bool {
        self.taken()
            .full
            .is_some_and(|full| full.elapsed() <= within)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns when the place was given to another connection.
    pub async fn lost(&self) {
        self.guest.leave.cancelled().await;
    }

    /// Keeps the place until what this gives is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.guest.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.guest.busy))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().by_number.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
