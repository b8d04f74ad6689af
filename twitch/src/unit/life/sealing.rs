//! How a unit leaves: its ticket is given, what runs may finish, and what is not finished is said.

use baton_protocol::{Ticket, discord};
use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::{Life, Sealed, Stage};
use crate::unit::transport::Cut;

impl Life {
    pub(super) fn seal(&mut self, drain: Duration) {
        if let Stage::Sealed(sealed) = &self.stage {
            self.seat.sealed(self.epoch, sealed.ticket.clone());
            if sealed.settled {
                self.say_settled(&sealed.ticket);
            }
            return;
        }
        let now = Instant::now();
        // Nobody else has what waits: it runs behind the seal.
        for event in std::mem::take(&mut self.ring) {
            self.hand_out(event);
        }
        let ticket = self.ticket(now);
        self.seat.sealed(self.epoch, ticket.clone());
        self.redial.at = None;
        if matches!(self.units.transport.cut(), Cut::Both { .. }) {
            // It hears nothing more that anybody wants, and counts for the account's limits.
            self.link = None;
            self.is_live = false;
        }
        self.stage = Stage::Sealed(Box::new(Sealed {
            ticket,
            until: now + drain,
            heard: now,
            settled: false,
        }));
        self.settle(now);
    }

    pub(super) fn ticket(&mut self, now: Instant) -> Ticket {
        self.seen.forget(now);
        let most = Ticket::MAX_SEEN / 8;
        let skip = self.seen.len().saturating_sub(most);
        let seen: Vec<u8> = self
            .seen
            .iter(now)
            .skip(skip)
            .filter(|(_, age)| !mutant!("seen-window-too-short") || age.as_secs() < 2)
            .flat_map(|(key, _)| key.to_bytes())
            .collect();
        Ticket {
            in_doubt: self.hands.in_doubt(),
            seen: Bytes::from(seen),
            ..self.position()
        }
    }

    /// Where it stands, as every ticket says it.
    pub(super) fn position(&self) -> Ticket {
        let luggage = self.channels.as_ref();
        let luggage = luggage.and_then(|channels| serde_json::to_string(channels).ok());
        Ticket {
            shard: self.seat.unit(),
            session: discord::Session::with_id(self.session.clone()).seal(),
            handled: self.hands.handled(),
            finished_above: self.hands.above().clone(),
            state_at: self.hands.handled(),
            luggage: luggage
                .filter(|text| text.len() <= Ticket::MAX_LUGGAGE)
                .unwrap_or_default(),
            ..Ticket::default()
        }
    }

    pub(super) fn settles_at(&self, sealed: &Sealed) -> Instant {
        let quiet = match self.units.transport.cut() {
            // What was sent to this connection before the next one took over may be on its way.
            Cut::One if self.link.is_some() => sealed.heard + self.units.limits.quiet,
            Cut::One | Cut::Both { .. } => Instant::now(),
        };
        match self.hands.rest() {
            true => quiet.min(sealed.until),
            false => sealed.until,
        }
    }

    pub(super) fn settle(&mut self, now: Instant) {
        let at = match &self.stage {
            Stage::Sealed(sealed) if !sealed.settled => self.settles_at(sealed),
            Stage::Idle
            | Stage::Starting { .. }
            | Stage::Live
            | Stage::Sealed(_)
            | Stage::Failed
            | Stage::Gone => return,
        };
        if at <= now
            && let Stage::Sealed(sealed) = &mut self.stage
        {
            sealed.settled = true;
            let ticket = sealed.ticket.clone();
            self.say_settled(&ticket);
        }
    }

    pub(super) fn say_settled(&self, ticket: &Ticket) {
        let unfinished = self.hands.in_doubt().common(&ticket.in_doubt);
        let events = self.hands.carried(&unfinished);
        self.seat.settled(self.epoch, unfinished, events);
    }
}
