//! What is heard on a unit's connection, and what becomes of the connection.

use tokio::time::{Duration, Instant};

use super::{Life, Stage};
use crate::{
    event::Event,
    seen::Seen,
    unit::transport::{self, Cut, Item, Opened},
};

impl Life {
    pub(super) fn item(&mut self, item: Item) {
        match item {
            Item::Further => self.gets_further(),
            Item::Ready => match self.stage {
                Stage::Starting { .. } | Stage::Live => self.take(),
                Stage::Idle | Stage::Sealed(_) | Stage::Failed | Stage::Gone => self.settles(),
            },
            Item::Live => self.lives(),
            Item::Event(event) => self.event(event),
            Item::Letter(body) => self.seat.write_to_work(self.epoch, body),
            Item::Ended { why, fatal } => self.ended(&why, fatal),
        }
    }

    pub(super) fn gets_further(&mut self) {
        if let Some(preparing) = &mut self.preparing {
            preparing.done += 1;
            self.seat.prepares(preparing.owner, preparing.done);
        } else if matches!(self.stage, Stage::Starting { .. }) {
            self.seat.starting(self.epoch);
        }
    }

    /// The connection is ready: after the time by which the other one may be behind it, what is
    /// missing here is missing there no more.
    pub(super) fn settles(&mut self) {
        let settle = match self.units.transport.cut() {
            Cut::Both { settle } if !mutant!("cut-before-the-settle") => settle,
            Cut::Both { .. } | Cut::One => Duration::ZERO,
        };
        if let Some(preparing) = &mut self.preparing {
            preparing.settles.get_or_insert(Instant::now() + settle);
        }
    }

    pub(super) fn take(&self) {
        if let Some(link) = &self.link {
            link.tell(transport::Order::Take);
        }
    }

    pub(super) fn lives(&mut self) {
        self.is_live = true;
        self.redial.live = Some(Instant::now());
        let went_on = match self.stage {
            Stage::Starting { goes_on } => {
                self.stage = Stage::Live;
                goes_on && self.redial.deaf.is_none()
            }
            Stage::Live => true,
            Stage::Idle | Stage::Sealed(_) | Stage::Failed | Stage::Gone => return,
        };
        if let Some(since) = self.redial.deaf.take() {
            let deaf = since.elapsed();
            tracing::warn!(unit = %self.seat.unit(), ?deaf, "deaf until now: what happened meanwhile may be missing");
        }
        self.seat.serving(self.epoch, went_on);
        self.note();
    }

    pub(super) fn event(&mut self, event: Event) {
        let (cut, now) = (self.units.transport.cut(), Instant::now());
        match &mut self.stage {
            Stage::Starting { .. } | Stage::Live => self.hand_out(event),
            Stage::Sealed(sealed) if cut == Cut::One => {
                // It comes nowhere else.
                sealed.heard = now;
                if self.is_new(&event) {
                    self.seat.counts_handed();
                    self.hands.hand_stray(event);
                }
            }
            Stage::Idle | Stage::Sealed(_) | Stage::Failed => self.keep(event),
            Stage::Gone => {}
        }
    }

    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        let key = event.key();
        key.is_none_or(|key| self.seen.insert(key, Instant::now()))
    }

    pub(super) fn hand_out(&mut self, event: Event) {
        if self.is_new(&event) {
            self.seat.counts_handed();
            self.hands.hand(event);
            self.note();
        }
    }

    /// While it prepares.
    pub(super) fn keep(&mut self, event: Event) {
        if self.preparing.is_none() {
            return;
        }
        if self.ring.len() >= self.units.limits.ring {
            let most = self.units.limits.ring;
            return self.prepare_fails(format!("more than {most} events came while it prepared"));
        }
        self.ring.push_back(event);
    }

    /// What came while it prepared, and the owner before did not hand out: before anything
    /// else is taken.
    pub(super) fn hand_out_ring(&mut self) {
        let owns = matches!(self.stage, Stage::Starting { .. } | Stage::Live);
        if !owns || self.ring.is_empty() {
            return;
        }
        while self.hands.has_room()
            && self.seat.may_act()
            && let Some(event) = self.ring.pop_front()
        {
            self.hand_out(event);
        }
        if self.ring.is_empty() && mutant!("filter-off-at-go-live") {
            self.seen = Seen::new(self.units.limits.seen);
        }
    }

    pub(super) fn prepare_fails(&mut self, why: String) {
        if let Some(preparing) = self.preparing.take() {
            tracing::warn!(unit = %self.seat.unit(), why, "it is not prepared");
            self.seat.prepared(preparing.owner, Err(why));
        }
        self.ring.clear();
        if matches!(self.stage, Stage::Idle | Stage::Failed) {
            self.link = None;
        }
    }

    pub(super) fn ended(&mut self, why: &str, fatal: bool) {
        self.link = None;
        self.is_live = false;
        let unit = self.seat.unit();
        match self.stage {
            Stage::Idle | Stage::Failed => self.prepare_fails(why.to_owned()),
            // Where it is to come back: the next order to prepare opens another one.
            Stage::Sealed(_) => self.prepare_fails(why.to_owned()),
            Stage::Starting { .. } | Stage::Live if fatal => {
                tracing::error!(%unit, why, "cannot be served here");
                self.seat.failed(self.epoch, why.to_owned());
                self.stage = Stage::Failed;
            }
            Stage::Starting { .. } | Stage::Live => {
                let pause = self.redial.ended(&self.units);
                tracing::warn!(%unit, why, ?pause, "connection lost");
                self.seat.reconnecting(self.epoch);
            }
            Stage::Gone => {}
        }
    }

    pub(super) fn open(&mut self) {
        self.is_live = false;
        self.link = Some(self.units.transport.open(Opened {
            unit: self.seat.unit(),
            units: self.seat.units(),
            channels: self.channels.clone(),
        }));
    }

    pub(super) fn say_session(&self) {
        self.seat.session(self.epoch, self.position());
    }

    pub(super) fn note(&self) {
        if matches!(self.stage, Stage::Starting { .. } | Stage::Live) {
            let hands = &self.hands;
            let above = hands.above().clone();
            (self.seat).stands(self.epoch, hands.last(), hands.handled(), above);
        }
    }
}
