//! Bounded places, of which the one that has waited longest is given away.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
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
    /// The network that it dialled from, where that is not this host.
    from: Option<IpAddr>,
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
    /// As many as one address may have were taken from this one's.
    FullOfOne,
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
        self.take_for(None)
    }

    /// The same for a connection from another address. Where its address has half of all
    /// places, it is one of these that is lost.
    #[must_use]
    pub fn take_for(self: &Arc<Self>, from: Option<IpAddr>) -> (Option<Place>, Crowd) {
        let from = from.and_then(network);
        let mut taken = self.taken();
        let guests = taken.by_number.values();
        let of_it = guests.filter(|guest| from.is_some() && guest.from == from);
        let only = from.filter(|_| of_it.count() >= self.most.div_ceil(2));
        let crowd = match only {
            _ if taken.by_number.len() >= self.most => Crowd::Full,
            Some(_) => Crowd::FullOfOne,
            None => Crowd::Room,
        };
        if crowd != Crowd::Room {
            if crowd == Crowd::Full {
                taken.full = Some(Instant::now());
            }
            let mut idle = taken.by_number.iter();
            let idle = idle.find(|(_, guest)| {
                guest.busy.load(Ordering::Relaxed) == 0 && (only.is_none() || guest.from == only)
            });
            let Some(number) = idle.map(|(number, _)| *number) else {
                return (None, crowd);
            };
            if let Some(guest) = taken.by_number.remove(&number) {
                guest.leave.cancel();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let guest = Guest {
            from,
            ..Guest::default()
        };
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

/// What counts as one address: of IPv6, the network that one host has for itself. This host's
/// own are not counted: its processes are as many as its operator likes.
fn network(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    })
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
