//! How far back a RESUME reaches: never further than the service replays.
//!
//! A RESUME begins at the oldest unfinished event, so that nothing is lost. Because of one
//! event that never ends (its `Ack` is leaked, its handler hangs) it would begin ever further
//! back, until the service refuses it and ends the session. So events that are too far back are
//! left out of the replay:
//!
//! - At a handover, the old owner reports how such an event ended
//!   ([`Settled`](baton_protocol::message::Settled)): finished there, or its payload, for the
//!   next owner. This concerns events further back than a quarter of what the service replays.
//!   An event that the bot gave back is in no process: the replay reaches back to it, up to
//!   three quarters of what the service replays. Further back it is given up, with an alarm.
//! - After a death, no slave has the event. It is given up, with an alarm, if it is further
//!   back than three quarters of what the service replays: one event instead of a session. If the
//!   shard goes back to the slave that sealed it with this event in hand, the event still
//!   runs there, and is not given up.
//!
//! What the service replays is the least of `replay_buffer`, of what it is said to replay of
//! this session ([`Service::replays`]), and of what it refused before.

use std::time::Duration;

use baton_protocol::{
    Sequence, SequenceRanges, Session, SlaveId, Ticket,
    message::{ResumeAfter, Unfinished},
};

use crate::{event::Time, service::Service};

/// The oldest unfinished event of a shard, as its owner said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub(crate) slave: SlaveId,
    pub(crate) event: Unfinished,
    /// When it was said.
    pub(crate) at: Time,
}

impl Oldest {
    /// How long it has been unfinished.
    pub(crate) fn age(&self, now: Time) -> Duration {
        now.since(self.at)
            .saturating_add(Duration::from_millis(self.event.age_ms))
    }
}

/// How many events the service replays, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replays {
    pub(crate) service: &'static dyn Service,
    /// Of any session.
    pub(crate) at_most: u64,
}

impl Replays {
    /// Of this one.
    pub(crate) fn of(self, session: &Session) -> u64 {
        self.of_one(self.service.about(session).replays)
    }

    /// Of a session of which the service says this.
    pub(crate) fn of_one(self, says: Option<u64>) -> u64 {
        says.map_or(self.at_most, |replays| replays.min(self.at_most))
    }
}

/// No type of the service's is longer.
const MAX_KIND: usize = 64;

/// Cuts what a slave says to be the type of an event.
pub(crate) fn shorten(kind: &mut String) {
    let end = (0..=MAX_KIND).rev().find(|at| kind.is_char_boundary(*at));
    kind.truncate(end.unwrap_or(0));
}

/// What is at or below it is not replayed.
pub(crate) fn floor(highest: Sequence, replays: u64, carries: bool) -> Sequence {
    let reach = if carries {
        replays / 4
    } else {
        replays / 4 * 3
    };
    Sequence(highest.get().saturating_sub(reach))
}

/// What a ticket says of the events above `handled`.
pub(crate) trait Replayed {
    /// Everything above `handled` and up to `highest` that is not known to be finished.
    /// Numbers that the service never used count too, where only checkpoints are known.
    fn unfinished(&self, after: ResumeAfter, highest: Sequence) -> SequenceRanges;

    /// Everything up to this one is finished, or given up.
    fn cut(&mut self, through: Sequence);
}

impl Replayed for Ticket {
    fn unfinished(&self, after: ResumeAfter, highest: Sequence) -> SequenceRanges {
        if after == ResumeAfter::Seal {
            let mut open = self.in_doubt.clone();
            open.insert_all(&self.given_back);
            return open;
        }
        let mut all = SequenceRanges::new();
        all.insert_range(self.handled.next(), highest);
        all.without(&self.finished_above)
    }

    fn cut(&mut self, through: Sequence) {
        self.handled = through;
        self.finished_above.remove_through(through);
        self.in_doubt.remove_through(through);
        self.given_back.remove_through(through);
        self.state_at = self.state_at.max(through);
    }
}

/// The lowest number of a set above another.
pub(crate) trait Above {
    fn first_above(&self, sequence: Sequence) -> Option<Sequence>;
}

impl Above for SequenceRanges {
    fn first_above(&self, sequence: Sequence) -> Option<Sequence> {
        let mut above = self.ranges().skip_while(|(_, last)| *last <= sequence);
        above.next().map(|(first, _)| first.max(sequence.next()))
    }
}
