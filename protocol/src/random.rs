//! Ids that are new.

use crate::id::{AgentId, FleetId, LaunchId, SlaveId};

impl SlaveId {
    /// Draws a new id from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bits().map(Self)
    }
}

impl AgentId {
    /// Draws a new id from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bits().map(Self)
    }
}

impl FleetId {
    /// Draws a new id from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bits().map(Self)
    }
}

impl LaunchId {
    /// Draws a new id from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random_bits().map(Self)
    }
}

fn random_bits() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
