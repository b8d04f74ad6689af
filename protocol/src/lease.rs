//! A lease: for how long a slave serves without a word of a leader, and for how long a master
//! waits before it takes such a slave for dead. Both sides of it stand here, because each is
//! right only with the other.
//!
//! ```text
//! slave      hello/pong k ──▶        Accepted/Heard(k) arrives           seals
//!            at a ───────────────────────────┼────────────────────▶ a + lease    its clock
//! master             got at q ≥ a, Heard(k) ─┘                          takes it for dead
//!                         ├────────────────────────────────────────────▶ q + patience
//! ```
//!
//! # Why no shard has two owners
//!
//! 1. The slave counts from `a`, the moment at which it *sent* the word that the leader says
//!    it heard, never from the arrival of the leader's word: that one may have lain in a
//!    socket for an hour while the slave was stopped. It hands nothing out at or behind
//!    `a + lease` of its own clock, and looks at the clock for each event.
//! 2. The master says `Heard(k)` only when it has got `k`. So whatever word of it arrives at
//!    the slave, and however late, names a word that was sent before the last one that the
//!    master got: `a ≤ q`.
//! 3. The master counts [`patience`] from `q`, by its own clock, and a pause of the master is
//!    no time for it. If clocks run wrong by a part `e`, the slave has stopped at
//!    `a + lease * (1 + e)`, and the master waits until `q + (patience - 2 s) * (1 - e)` at
//!    least: the 2 s are what its look at the clock may be late by. That is later as long as
//!    `1.1 * (1 - e) ≥ 1 + e`, which holds up to 4.7 %. No clock that works is wrong by 1 %.
//! 4. The master says `Heard` only after a save that compares its term has succeeded. So a
//!    former leader, paused for however long, says it of nothing that was sent after the next
//!    one took the term; and that one waits [`patience`] from there on for a slave that has
//!    not come.
//! 5. The master relies on a lease only if the slave said in a pong that it keeps it, and on
//!    the longest one that it may have been told. Both are in the journal before, with the
//!    term: of what the last master knew nothing, nobody relies on.
//!
//! The slave's clock is that since the boot, which goes on while the host is suspended; the
//! master's may stand still then, because it only waits longer.
//!
//! # What cannot be promised
//!
//! - A handler that was begun before the lease was over runs on. Nothing can take an event
//!   back from a handler: what it has not finished is handed out again, with a mark.
//! - Between the look at the clock and the call of the handler, a process may be stopped.
//!   That one event is then handled late.
//! - If a hypervisor stops a machine together with all of its clocks, the slave cannot know
//!   that time passed. Give such a slot no lease.

use std::{collections::VecDeque, time::Duration};

/// Words that a slave sent and of which no leader said yet that it heard them. More are not
/// remembered: the lease is counted from an earlier one then.
const MOST: usize = 64;

/// The longest time by which the master's look at its clock may be late.
pub const LATE_LOOK: Duration = Duration::from_secs(2);

/// How long a master waits, from the last word that it got, before it takes a slave for dead
/// that keeps a lease of this length.
#[must_use]
pub fn patience(lease: Duration) -> Duration {
    lease.saturating_add(lease / 10).saturating_add(LATE_LOOK)
}

/// The slave's side. Times are those of one clock that never stands still.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// `None`: it serves without a leader for ever.
    length: Option<Duration>,
    /// When it sent the last word that a leader heard.
    heard: Duration,
    /// When it dialled the leader whose answer is waited for.
    dialled: Duration,
    /// Words on the way: their numbers, and when they were sent.
    sent: VecDeque<(u64, Duration)>,
}

impl Lease {
    /// How long it is; `None`: there is none.
    #[must_use]
    pub const fn length(&self) -> Option<Duration> {
        self.length
    }

    /// A leader is dialled: a new connection begins, and its numbers do.
    pub fn dials(&mut self, now: Duration) {
        self.dialled = now;
        self.sent.clear();
    }

    /// The leader accepted what was said since it was dialled, and says how long the lease is.
    pub fn accepted(&mut self, length: Option<Duration>) {
        self.length = length;
        self.heard = self.heard.max(self.dialled);
    }

    /// A pong goes out. Before it does.
    pub fn answers(&mut self, number: u64, now: Duration) {
        if self.sent.len() < MOST {
            self.sent.push_back((number, now));
        }
    }

    /// The leader says that it heard a pong.
    pub fn is_heard(&mut self, number: u64) {
        while let Some(&(sent, at)) = self.sent.front() {
            if sent > number {
                break;
            }
            self.sent.pop_front();
            if sent == number {
                self.heard = self.heard.max(at);
            }
        }
    }

    /// When it is over; `None`: never.
    #[must_use]
    pub fn until(&self) -> Option<Duration> {
        Some(self.heard.saturating_add(self.length?))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        self.until().is_some_and(|until| until <= now)
    }
}
