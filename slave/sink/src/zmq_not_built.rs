//! In the place of ZeroMQ, where it is not built.

use crate::{address::Address, dispatch::Dispatch, error::Error};

/// Subscribers of ZeroMQ, which this build knows nothing of.
#[derive(Debug)]
pub enum Zmq {}

impl Zmq {
    /// Refuses.
    ///
    /// # Errors
    /// [`Error::NotBuilt`].
    pub fn start(address: &Address, _name: &str, _gateway: &str) -> Result<Self, Error> {
        let (broker, feature) = (address.broker(), "zmq");
        Err(Error::NotBuilt { broker, feature })
    }

    /// There is none.
    pub fn is_wanted(&self, _wanted: bool) {
        match *self {}
    }

    /// There is none.
    pub fn publish(&self, _event: &Dispatch) {
        match *self {}
    }

    /// There is none.
    #[must_use]
    pub fn sent(&self) -> u64 {
        match *self {}
    }

    /// There is none.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match *self {}
    }
}
