//! What the core is told of the service whose sessions it moves: what is the service's own,
//! and not an operator's to choose.

use std::time::Duration;

/// The service of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// A budget of permits that was whole is whole again after this time.
    pub budget_period: Duration,
    /// The close code by which it refuses a token. Where the same token served a moment
    /// ago, the shard is tried once more; any other code waits for another build.
    pub token_refused: u16,
}

impl Default for Service {
    /// A day, and no such code.
    fn default() -> Self {
        Self {
            budget_period: Duration::from_secs(24 * 60 * 60),
            token_refused: u16::MAX,
        }
    }
}
