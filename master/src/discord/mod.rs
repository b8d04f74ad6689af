//! What this master knows of Discord: what it asks it ([`budget`], [`probe`]), and what it
//! tells the core of it ([`service`]). The core itself names no service.

pub mod budget;
pub mod probe;

use std::time::Duration;

use baton_core::Service;
use baton_protocol::message::Failed;

/// Discord, as far as the core needs to know it.
#[must_use]
pub const fn service() -> Service {
    Service {
        // `session_start_limit.reset_after` begins at a day.
        budget_period: Duration::from_secs(24 * 60 * 60),
        token_refused: Failed::TOKEN,
    }
}
