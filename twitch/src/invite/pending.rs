//! Browsers that were sent to Twitch and have not come back.

use std::{collections::VecDeque, fmt, time::Duration};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::time::Instant;

use super::SCOPE;

/// So many browsers at once; one more, and the oldest has to begin again.
pub const MOST_OPEN: usize = 1_000;

/// So long a browser may take.
pub const OPEN_FOR: Duration = Duration::from_secs(600);

/// What the browser asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To let the bot in.
    Authorise,
    /// To take that back.
    Revoke,
}

impl Purpose {
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Self::Authorise => SCOPE,
            Self::Revoke => "",
        }
    }
}

/// What a browser gets: 256 bits each, as hex.
pub(super) struct Ticket {
    /// For the browser alone.
    pub(super) cookie: String,
    /// By Twitch and back.
    pub(super) state: String,
}

/// Only hashes are kept: who reads this memory cannot come back in somebody's place.
struct Open {
    cookie: [u8; 32],
    state: [u8; 32],
    purpose: Purpose,
    since: Instant,
}

/// The oldest first.
#[derive(Default)]
pub(super) struct Pending(VecDeque<Open>);

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("open", &self.0.len())
            .finish()
    }
}

impl Pending {
    /// A browser is sent to Twitch.
    pub(super) fn begin(
        &mut self,
        purpose: Purpose,
        now: Instant,
    ) -> Result<Ticket, getrandom::Error> {
        let ticket = Ticket {
            cookie: secret()?,
            state: secret()?,
        };
        self.forget(now);
        if self.0.len() >= MOST_OPEN {
            self.0.pop_front();
        }
        self.0.push_back(Open {
            cookie: hash(&ticket.cookie),
            state: hash(&ticket.state),
            purpose,
            since: now,
        });
        Ok(ticket)
    }

    /// A browser comes back: what it asked for, if cookie and state are those of one
    /// request. That request is then over, also if the state is wrong.
    pub(super) fn take(&mut self, cookie: &str, state: &str, now: Instant) -> Option<Purpose> {
        self.forget(now);
        let (cookie, state) = (hash(cookie), hash(state));
        // All of them are looked at, so that the time says nothing of where it is.
        let mut found = u64::MAX;
        for (place, open) in (0_u64..).zip(&self.0) {
            found.conditional_assign(&place, open.cookie.ct_eq(&cookie));
        }
        let place = usize::try_from(found).ok()?;
        let open = match mutant!("state-used-again") {
            false => self.0.remove(place)?,
            true => {
                let open = self.0.get(place)?;
                Open { ..*open }
            }
        };
        let fits: Choice = open.state.ct_eq(&state);
        (bool::from(fits) || mutant!("state-not-compared")).then_some(open.purpose)
    }

    fn forget(&mut self, now: Instant) {
        while let Some(open) = self.0.front()
            && now.saturating_duration_since(open.since) >= OPEN_FOR
        {
            self.0.pop_front();
        }
    }
}

fn secret() -> Result<String, getrandom::Error> {
    use std::fmt::Write;

    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
