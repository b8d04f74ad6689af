//! One unit's life, read downwards.
//!
//! ```text
//!         Start                    Seal                     GoLive (higher epoch)
//!  Idle ────────▶ Starting ─▶ Live ─────▶ Sealed ────────────────────────────┐
//!   │  GoLive                  ▲ └ lost: another connection                   │
//!   └──────────────────────────┴──────────────────────────────────────────────┘
//! ```
//!
//! Beside `Idle` and `Sealed` the unit may *prepare*: it has a connection, and keeps what comes
//! in a ring. When it goes live, the ring without what the owner before handed out is the first
//! that it hands out itself. What was handed out stays known for a while, so that what comes
//! twice, from a connection of before or because Twitch sends it twice, is handed out once.

mod heard;
mod orders;
mod sealing;

use std::{collections::VecDeque, sync::Arc};

use baton_protocol::{Epoch, Ticket};
use baton_slave::unit::Seat;
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    Units,
    hands::Hands,
    transport::{Channels, Item, Link},
};
use crate::{event::Event, seen::Seen};

/// See the module.
pub(super) struct Life {
    units: Units,
    seat: Seat,
    epoch: Epoch,
    stage: Stage,
    /// Of another one's unit, which this process may take over.
    preparing: Option<Preparing>,
    link: Option<Link>,
    /// Whether the connection is the unit's: its events come here.
    is_live: bool,
    ring: VecDeque<Event>,
    seen: Seen,
    hands: Hands,
    channels: Option<Channels>,
    /// Names what the numbers belong to.
    session: String,
    redial: Redial,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// It owns the unit, and waits for its connection; `goes_on`: where another one stopped.
    Starting {
        goes_on: bool,
    },
    Live,
    Sealed(Box<Sealed>),
    /// It said that it cannot be served here.
    Failed,
    Gone,
}

#[derive(Debug)]
struct Sealed {
    ticket: Ticket,
    until: Instant,
    /// When something came last.
    heard: Instant,
    settled: bool,
}

#[derive(Debug)]
struct Preparing {
    owner: Epoch,
    until: Instant,
    /// How much is done, as it is said to the master.
    done: u64,
    is_ready: bool,
    /// When it may be said that it is.
    settles: Option<Instant>,
}

/// When another connection is opened.
#[derive(Debug, Default)]
struct Redial {
    at: Option<Instant>,
    failures: u32,
    /// Since when the connection is the unit's.
    live: Option<Instant>,
    /// Since when nothing is heard.
    deaf: Option<Instant>,
}

impl Life {
    pub(super) fn new(units: Units, seat: Seat) -> Self {
        let (unit, limits) = (seat.unit(), units.limits);
        Self {
            hands: Hands::new(unit, Arc::clone(&units.bot), limits.in_hand),
            seen: Seen::new(limits.seen),
            units,
            seat,
            epoch: Epoch(0),
            stage: Stage::Idle,
            preparing: None,
            link: None,
            is_live: false,
            ring: VecDeque::new(),
            channels: None,
            session: String::new(),
            redial: Redial::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while !matches!(self.stage, Stage::Gone) {
            self.hand_out_ring();
            let due = self.due();
            let listens = self.listens();
            tokio::select! {
                biased;
                order = self.seat.order() => self.order(order),
                all = self.hands.finished() => {
                    for finished in all {
                        self.seat.counts_finished(finished.failed);
                    }
                    self.note();
                    self.settle(Instant::now());
                }
                item = next(self.link.as_mut()), if listens => self.item(item),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.is_due(Instant::now());
                }
            }
        }
    }

    /// Whether what comes can be taken: there is room for it, and this process may act.
    fn listens(&self) -> bool {
        match self.stage {
            Stage::Starting { .. } | Stage::Live => {
                self.ring.is_empty() && self.hands.has_room() && self.seat.may_act()
            }
            Stage::Sealed(_) => self.hands.has_room(),
            Stage::Idle | Stage::Failed => true,
            Stage::Gone => false,
        }
    }

    fn due(&self) -> Option<Instant> {
        let preparing = self.preparing.as_ref();
        let prepared = preparing.and_then(|it| it.settles.filter(|_| !it.is_ready));
        let gives_up = preparing.filter(|it| !it.is_ready).map(|it| it.until);
        let settles = match &self.stage {
            Stage::Sealed(sealed) if !sealed.settled => Some(self.settles_at(sealed)),
            Stage::Idle
            | Stage::Starting { .. }
            | Stage::Live
            | Stage::Sealed(_)
            | Stage::Failed
            | Stage::Gone => None,
        };
        // The lease of the process may be over, and come again: nobody else says so.
        let waits =
            matches!(self.stage, Stage::Starting { .. } | Stage::Live) && !self.seat.may_act();
        let looks = waits.then(|| Instant::now() + LOOK);
        let all = [prepared, gives_up, settles, self.redial.at, looks];
        all.into_iter().flatten().min()
    }

    fn is_due(&mut self, now: Instant) {
        if self.redial.at.is_some_and(|at| at <= now) {
            self.redial.at = None;
            self.open();
        }
        if let Some(preparing) = &mut self.preparing
            && !preparing.is_ready
        {
            if preparing.settles.is_some_and(|at| at <= now) {
                preparing.is_ready = true;
                self.seat.prepared(preparing.owner, Ok(()));
            } else if preparing.until <= now {
                let span = self.units.limits.prepare.as_secs();
                self.prepare_fails(format!("it was not prepared within {span} s"));
            }
        }
        self.settle(now);
    }
}

/// A process that may not act looks so often whether it may again.
const LOOK: Duration = Duration::from_millis(100);

async fn next(link: Option<&mut Link>) -> Item {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

/// A connection that lives for longer is none of a series that ends at once.
const STEADY: Duration = Duration::from_secs(15);

impl Redial {
    /// A connection ended: when the next one is opened. The first one at once.
    fn ended(&mut self, units: &Units) -> Duration {
        let limits = units.limits;
        let now = Instant::now();
        self.deaf.get_or_insert(now);
        // A service that takes everybody and closes at once is asked no more often for that.
        if self.live.take().is_some_and(|since| now > since + STEADY) {
            self.failures = 0;
        }
        let doubled = limits
            .redial
            .saturating_mul(2_u32.saturating_pow(self.failures.saturating_sub(1).min(16)));
        let pause = match self.failures {
            0 => Duration::ZERO,
            _ => doubled.min(limits.redial_max),
        };
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + pause);
        pause
    }
}
