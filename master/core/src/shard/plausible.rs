//! Reports of a slave that cannot be true.
//!
//! A slave that knows the secret may still be wrong, or lie. A ticket with a sequence that
//! the service never sent ends the session of its shard at the next RESUME, or
//! makes the next owner take every event for a finished one. So a report about a session is
//! compared with the reports before: a slave reports its position every few milliseconds,
//! and the service sends only so fast.

use std::time::Duration;

use baton_protocol::{Sequence, Ticket, message::CheckpointEntry};

use crate::{event::Time, shard::Shard};

/// So many events more than before are always believed: the state that a new session
/// begins with, a whole window.
const BURST: u64 = 20_000;

/// And so many in each second since it was last heard of, however quiet it was.
const PER_SECOND: u64 = 2_000;

/// And so many times what it got recently.
const TIMES: u64 = 16;

/// A slave that is connected says sooner than this where it stands.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);

/// No session gets here: at 1,000 events a second it takes 34 years.
const NEVER: Sequence = Sequence(1 << 40);

impl Shard {
    /// Whether a checkpoint can be; else why not.
    pub(crate) fn may_be(&self, now: Time, entry: &CheckpointEntry) -> Result<(), String> {
        let above = entry.finished_above.last().unwrap_or_default();
        let said = entry.handled.max(above).max(entry.received);
        let ticket = entry.session.as_ref();
        let known = self.ticket.as_ref();
        let same = ticket.is_none_or(|ticket| {
            known.is_some_and(|kept| kept.ticket.session.is_same(&ticket.session))
        });
        let said = ticket.map_or(said, |ticket| said.max(ticket.highest()));
        self.may_stand(now, said, same, AT_LEAST_EVERY)?;
        ticket.map_or(Ok(()), is_bounded)
    }

    /// Whether a ticket can be that its owner makes when it seals.
    pub(crate) fn may_seal(&self, now: Time, ticket: &Ticket) -> Result<(), String> {
        self.may_say(now, ticket, AT_LEAST_EVERY)
    }

    /// Whether a ticket can be that its owner reports, heard of within `most`.
    pub(crate) fn may_say(&self, now: Time, ticket: &Ticket, most: Duration) -> Result<(), String> {
        let known = self.ticket.as_ref();
        let same = known.is_some_and(|kept| kept.ticket.session.is_same(&ticket.session));
        self.may_stand(now, ticket.highest(), same, most)?;
        is_bounded(ticket)
    }

    /// `same`: as the session that is known. It was heard of within `most`.
    fn may_stand(
        &self,
        now: Time,
        said: Sequence,
        same: bool,
        most: Duration,
    ) -> Result<(), String> {
        let limit = match (&self.ticket, same) {
            (Some(kept), true) => {
                let quiet = now
                    .since(self.heard.unwrap_or(Time(Duration::ZERO)))
                    .min(most);
                let seconds = quiet.saturating_add(kept.age).as_secs();
                let usual = self.events_in_1000_s(now).div_ceil(1000);
                let rate = usual.saturating_mul(TIMES).max(PER_SECOND);
                let more = rate.saturating_mul(seconds).saturating_add(BURST);
                let limit = self.highest().get().saturating_add(more);
                Sequence(limit).min(NEVER)
            }
            (Some(_), false) | (None, _) => NEVER,
        };
        if said <= limit || mutant!("everything-believed") {
            return Ok(());
        }
        Err(format!(
            "stands at {said}, and cannot have been sent more than {limit}"
        ))
    }
}

fn is_bounded(ticket: &Ticket) -> Result<(), String> {
    match ticket.in_doubt.count() {
        count if count > Ticket::MAX_IN_DOUBT => {
            Err(format!("has {count} events in hand, more than any window"))
        }
        _ if ticket.given_back.count() > Ticket::MAX_IN_DOUBT => Err(format!(
            "has given {} events back, more than any window",
            ticket.given_back.count()
        )),
        _ if ticket.seen.len() > Ticket::MAX_SEEN => Err(format!(
            "names {} bytes of events that were handed out, more than {}",
            ticket.seen.len(),
            Ticket::MAX_SEEN
        )),
        _ if ticket.luggage.len() > Ticket::MAX_LUGGAGE => Err(format!(
            "has {} bytes of luggage, more than {}",
            ticket.luggage.len(),
            Ticket::MAX_LUGGAGE
        )),
        _ => Ok(()),
    }
}
