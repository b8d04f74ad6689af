//! A unit: one connection of Twitch that moves between processes by overlap.
//!
//! ```text
//! life        one unit's life: prepares, goes live, seals, settles
//! hands       what is handed out and not finished, and the numbers of events
//! transport   what a connection is to a unit: conduits and IRC are two of them
//! ```

mod conduit;
mod hands;
mod irc;
mod life;
#[cfg(test)]
mod tests;
mod transport;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use baton_slave::unit::{Seat, Service};

use self::life::Life;
pub use self::{
    conduit::Conduits,
    irc::{Accounts, Irc},
    transport::{Channels, Cut, Item, Link, Opened, Order, Transport},
};
pub(crate) use self::{
    conduit::ToUnit,
    irc::{Came, FromUnit, ToIrc},
};
use crate::bot::Bot;

/// Units of one transport, for one bot. Given to
/// [`Slave::serving`](baton_slave::Slave::serving).
#[derive(Clone)]
pub struct Units {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) bot: Arc<dyn Bot>,
    pub(crate) limits: Limits,
}

/// What bounds a unit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events that are handed out and not finished, at most; 1 to 64: that many go along when a
    /// unit moves.
    pub in_hand: usize,
    /// Events that a unit keeps while it prepares, at most.
    pub ring: usize,
    /// For how long an event is known that was handed out. It has to be longer than the
    /// overlap and the settling together.
    pub seen: Duration,
    /// A unit is prepared within this time, or not at all.
    pub prepare: Duration,
    /// What comes on the old connection of a unit that moved is waited for until nothing came
    /// for so long.
    pub quiet: Duration,
    /// The first pause after a connection ended at once; each that follows is twice as long.
    pub redial: Duration,
    /// The longest.
    pub redial_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_hand: 64,
            ring: 65_536,
            seen: Duration::from_secs(15 * 60),
            prepare: Duration::from_secs(10 * 60),
            quiet: Duration::from_secs(3),
            redial: Duration::from_secs(1),
            redial_max: Duration::from_secs(60),
        }
    }
}

impl Units {
    /// Events of `transport` go to `bot`.
    #[must_use]
    pub fn new(transport: impl Transport, bot: impl Bot) -> Self {
        Self {
            transport: Arc::new(transport),
            bot: Arc::new(bot),
            limits: Limits::default(),
        }
    }

    /// Sets what bounds a unit.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl std::fmt::Debug for Units {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Units")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Service for Units {
    fn name(&self) -> &'static str {
        "twitch"
    }

    fn serve(&self, seat: Seat) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let life = Life::new(self.clone(), seat);
        Box::pin(life.run())
    }
}
