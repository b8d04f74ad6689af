//! What the bot says, each message once.
//!
//! A message is put in, leased to the process that sends it, and ends with an outcome:
//!
//! ```text
//!         put                lease                     done
//!  (new) ─────▶ waits ─────────────────▶ leased ─────────────────▶ ended: sent, refused
//!                │  ▲                     │   │                          ▲
//!                │  └──── give_back ──────┘   │ no answer, or its        │ done, late
//!                │                            ▼ process died             │
//!                └──── TTL ──▶ expired      unknown ─────────────────────┘
//! ```
//!
//! **At most once.** A message whose process died may have been sent, and nobody can ask
//! Twitch. So it never waits again: its outcome is [`Outcome::Unknown`], until the truth
//! comes late. Only a process that did not begin to send gives a message back.
//!
//! **In order.** What is said in one channel is leased in the order in which it was put, the
//! next after the one before has ended.
//!
//! **Within the budget.** Twitch ignores an account for half an hour that says more than 20
//! messages in 30 s, or 100 where it is moderator or broadcaster. All that the account says
//! counts, in whichever process. A message counts from the last moment at which it can
//! have reached Twitch, not from its lease: otherwise one that was slow and one
//! that was quick would come closer to each other than they were sent. And for the
//! same reason an account that says something where it is nobody special has the
//! smaller budget everywhere until that has ended.
//!
//! **Durable.** Each call is one transaction, on the disk when it returns. So no step can be
//! half done, and budgets, leases and outcomes are the same after a restart. A call may
//! block for that: an asynchronous caller makes it on a thread that may.

mod budget;
mod leases;
mod message;
mod outcome;
mod schema;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    budget::{Budgets, Standing},
    leases::{ANSWER_WITHIN, BEGIN_WITHIN, Done, Lease, LeaseId, Leased},
    message::{By, LONGEST_TTL, MOST_CHARACTERS, Message, Refusal, TTL},
    outcome::{Fate, KEPT, Outcome, Record, Said},
    store::{MOST, MOST_IN_A_CHANNEL, Outbox, Put, Restriction, Waits},
};
pub use crate::channels::Error;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, as the caller's clock says. Where a clock goes back, what was
/// later than now counts as of now: a budget may then be spent for longer, never for less.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    pub(crate) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(ms(time)))
    }

    fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(ms(time)))
    }
}

impl From<SystemTime> for UnixMs {
    /// Of a clock that is before 1970, 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self(ms(since.unwrap_or_default()))
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
