//! What the master asks of a unit, and the work: to begin, to prepare, to go live, and which
//! channels are its own.

use baton_protocol::{Epoch, Ticket, discord, message::ResumeAfter};
use baton_slave::unit::Order;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Life, Preparing, Redial, Stage};
use crate::{
    seen::Key,
    unit::{
        hands::Of,
        transport::{self, Channels},
    },
};

impl Life {
    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Start { epoch } if epoch > self.epoch => self.start(epoch, None),
            Order::Prepare { epoch, ticket } => self.prepare(epoch, &ticket),
            Order::GoLive {
                epoch,
                after,
                ticket,
            } if epoch > self.epoch || after == ResumeAfter::Death => match after {
                ResumeAfter::Seal => self.go_live(epoch, &ticket),
                // Its own task panicked: nothing but the ticket is left.
                ResumeAfter::Death => self.start(epoch, Some(&ticket)),
            },
            Order::Seal { epoch, drain } if epoch == self.epoch => self.seal(drain),
            Order::Settled { unfinished, events } => {
                self.hands.settled(&unfinished, events);
                self.note();
            }
            Order::Letter(body) => self.letter(body),
            Order::Forget { epoch } if epoch > self.epoch => self.stage = Stage::Gone,
            Order::Leave => self.stage = Stage::Gone,
            Order::Start { .. }
            | Order::GoLive { .. }
            | Order::Seal { .. }
            | Order::Forget { .. } => {}
            // Later orders mean nothing to this build.
            _ => {}
        }
    }

    /// Nobody was heard meanwhile: everything begins with the first that comes.
    pub(super) fn start(&mut self, epoch: Epoch, stood: Option<&Ticket>) {
        self.owns(epoch);
        if let Some(ticket) = stood {
            self.comes_with(ticket);
        }
        self.session = format!("{}/{epoch}/{:016x}", self.seat.unit(), drawn());
        self.hands.begin(self.of(), stood);
        self.stage = Stage::Starting { goes_on: false };
        self.seat.starting(epoch);
        self.say_session();
        self.redial = Redial::default();
        // A connection that prepared is as good as a new one.
        match self.link {
            Some(_) => self.take(),
            None => self.open(),
        }
    }

    /// Where another one stopped.
    pub(super) fn go_live(&mut self, epoch: Epoch, ticket: &Ticket) {
        let was_prepared = self.preparing.as_ref().is_some_and(|it| it.is_ready);
        self.owns(epoch);
        self.comes_with(ticket);
        self.session = discord::Session::id_of(&ticket.session).to_owned();
        self.hands.begin(self.of(), Some(ticket));
        let now = Instant::now();
        for key in ticket.seen.chunks_exact(8) {
            if let Ok(key) = key.try_into() {
                self.seen.insert(Key::from_bytes(key), now);
            }
        }
        self.redial = Redial::default();
        if !was_prepared {
            // The one that prepared it is no more.
            self.redial.deaf = Some(now);
            self.ring.clear();
        }
        self.stage = Stage::Starting { goes_on: true };
        self.say_session();
        match self.link {
            Some(_) => self.take(),
            None => self.open(),
        }
    }

    fn of(&self) -> Of {
        Of {
            units: self.seat.units(),
            epoch: self.epoch,
            session: self.session.as_str().into(),
        }
    }

    pub(super) fn owns(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.preparing = None;
    }

    /// What travels with a unit.
    pub(super) fn comes_with(&mut self, ticket: &Ticket) {
        if let Ok(channels) = serde_json::from_str::<Channels>(&ticket.luggage) {
            self.takes_channels(channels);
        }
    }

    pub(super) fn prepare(&mut self, owner: Epoch, ticket: &Ticket) {
        if !matches!(self.stage, Stage::Idle | Stage::Sealed(_) | Stage::Failed) {
            return;
        }
        let now = Instant::now();
        self.comes_with(ticket);
        self.ring.clear();
        self.preparing = Some(Preparing {
            owner,
            until: now + self.units.limits.prepare,
            done: 0,
            is_ready: false,
            settles: None,
        });
        match self.link {
            // It is what it was sealed with, or prepared before: open, and heard all the time.
            Some(_) => self.settles(),
            None => self.open(),
        }
    }

    pub(super) fn letter(&mut self, body: Bytes) {
        match serde_json::from_slice::<Channels>(&body) {
            Ok(channels) => {
                if self.takes_channels(channels)
                    && let Some(link) = &self.link
                    && let Some(channels) = self.channels.clone()
                {
                    link.tell(transport::Order::Channels(channels));
                    // It travels with the unit from now on, also if it does not serve yet.
                    if matches!(self.stage, Stage::Starting { .. } | Stage::Live) {
                        self.say_session();
                    }
                }
            }
            Err(_) => match &self.link {
                Some(link) if matches!(self.stage, Stage::Starting { .. } | Stage::Live) => {
                    link.tell(transport::Order::Letter(body));
                }
                Some(_) | None => {
                    if let Some(answer) = self.units.transport.declines(&body) {
                        self.seat.write_to_work(self.epoch, answer);
                    }
                }
            },
        }
    }

    /// Whether these are newer than what is known.
    pub(super) fn takes_channels(&mut self, channels: Channels) -> bool {
        let is_newer = self
            .channels
            .as_ref()
            .is_none_or(|known| channels.version > known.version);
        if is_newer {
            self.channels = Some(channels);
        }
        is_newer
    }
}

/// So that no two sessions of a unit are ever called the same, whatever a master forgot.
fn drawn() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers the epoch tells them apart.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
