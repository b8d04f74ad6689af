//! What another process needs to go on with a shard.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    discord,
    id::{Sequence, ShardId},
    opaque::Session,
    ranges::SequenceRanges,
};

/// Everything that a process needs to go on with one shard where another stopped: the
/// session, and the position in it. The session is the service's, and opaque; the position
/// is what masters decide by.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct Ticket {
    /// The shard.
    pub shard: ShardId,
    /// The session, as the service gave it.
    pub session: Session,
    /// The last dispatch, in order of receipt, such that it and every dispatch
    /// received before it are finished.
    pub handled: Sequence,
    /// Finished out of order, above `handled`.
    pub finished_above: SequenceRanges,
    /// Handed out and still running when the ticket was made.
    pub in_doubt: SequenceRanges,
    /// The lowest sequence at which a copied piece of state stands; the same as
    /// `handled` where no state travels.
    pub state_at: Sequence,
    /// The replay need not reach further back than this: what is in doubt at or below
    /// it comes with [`Settled`](crate::message::Settled), or is given up. Zero, and
    /// before version 6: it reaches back to `handled`.
    pub replay_from: Sequence,
    /// Not finished, and not in doubt: no handler has them. But a process before may have
    /// handled them, so the next owner hands them out in their turn, with a mark.
    pub may_repeat: SequenceRanges,
    /// Received, and not finished: the bot gave them back, so that no process has them. Only
    /// the replay brings them: it has to reach back to the first one.
    pub given_back: SequenceRanges,
    /// What the bot gives along for its shard's next owner: text that nobody else reads. At
    /// most [`MAX_LUGGAGE`](Self::MAX_LUGGAGE). It may be a secret.
    pub luggage: String,
    /// Which events were handed out lately, for a next owner that receives them too: eight
    /// bytes for each. Empty where the service replays, and so brings none twice. At most
    /// [`MAX_SEEN`](Self::MAX_SEEN) bytes. Only a ticket of a seal has it.
    pub seen: Bytes,
}

/// A ticket as it travels and as it is kept: what is of the session and what is of the
/// position stand side by side, as in version 1.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, rename = "Ticket")]
struct Flat {
    shard: ShardId,
    session_id: String,
    resume_url: String,
    user_id: u64,
    application_id: u64,
    parameters: discord::SessionParameters,
    handled: Sequence,
    finished_above: SequenceRanges,
    in_doubt: SequenceRanges,
    state_at: Sequence,
    replay_from: Sequence,
    guilds: u32,
    began_unix_ms: u64,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    may_repeat: SequenceRanges,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    given_back: SequenceRanges,
    #[serde(skip_serializing_if = "String::is_empty")]
    luggage: String,
    #[serde(skip_serializing_if = "Bytes::is_empty")]
    seen: Bytes,
}

impl From<Flat> for Ticket {
    fn from(flat: Flat) -> Self {
        let session = discord::Session {
            id: flat.session_id,
            resume_url: flat.resume_url,
            user_id: flat.user_id,
            application_id: flat.application_id,
            parameters: flat.parameters,
            guilds: flat.guilds,
            began_unix_ms: flat.began_unix_ms,
        };
        Self {
            shard: flat.shard,
            session: session.seal(),
            handled: flat.handled,
            finished_above: flat.finished_above,
            in_doubt: flat.in_doubt,
            state_at: flat.state_at,
            replay_from: flat.replay_from,
            may_repeat: flat.may_repeat,
            given_back: flat.given_back,
            luggage: flat.luggage,
            seen: flat.seen,
        }
    }
}

impl From<Ticket> for Flat {
    fn from(ticket: Ticket) -> Self {
        let session = discord::Session::open(&ticket.session);
        Self {
            shard: ticket.shard,
            session_id: session.id,
            resume_url: session.resume_url,
            user_id: session.user_id,
            application_id: session.application_id,
            parameters: session.parameters,
            handled: ticket.handled,
            finished_above: ticket.finished_above,
            in_doubt: ticket.in_doubt,
            state_at: ticket.state_at,
            replay_from: ticket.replay_from,
            guilds: session.guilds,
            began_unix_ms: session.began_unix_ms,
            may_repeat: ticket.may_repeat,
            given_back: ticket.given_back,
            luggage: ticket.luggage,
            seen: ticket.seen,
        }
    }
}

impl Ticket {
    /// A ticket with more events in doubt than this is refused, or with more that were given
    /// back: a window has 65,536 at most, and what an earlier owner left is held beside it.
    pub const MAX_IN_DOUBT: u64 = 1 << 17;

    /// A ticket with more bytes of luggage is refused: the tickets of 256 shards go into one
    /// message.
    pub const MAX_LUGGAGE: usize = 4096;

    /// A ticket with more bytes of [`seen`](Self::seen) is refused: 65,536 events, which
    /// is a minute of a thousand a second.
    pub const MAX_SEEN: usize = 512 * 1024;

    /// Whether there is a session to go on with.
    #[must_use]
    pub fn has_session(&self) -> bool {
        !self.session.is_none()
    }

    /// The sequence that RESUME is sent with: everything above it is replayed.
    #[must_use]
    pub fn resume_from(&self) -> Sequence {
        self.handled.max(self.replay_from).min(self.state_at)
    }

    /// The highest sequence that it knows of: at least so far Discord sent.
    #[must_use]
    pub fn highest(&self) -> Sequence {
        let above = [
            self.finished_above.last(),
            self.in_doubt.last(),
            self.given_back.last(),
        ];
        above
            .into_iter()
            .flatten()
            .fold(self.handled, Sequence::max)
    }

    /// Whether a replayed dispatch is known to be finished: it changes state
    /// only.
    #[must_use]
    pub fn is_finished(&self, sequence: Sequence) -> bool {
        sequence <= self.handled || self.finished_above.contains(sequence)
    }
}

impl fmt::Debug for Ticket {
    /// The session and the luggage are secrets, and show nothing of themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("shard", &self.shard)
            .field("session", &self.session)
            .field("handled", &self.handled)
            .field("finished_above", &format_args!("{}", self.finished_above))
            .field("in_doubt", &format_args!("{}", self.in_doubt))
            .field("state_at", &self.state_at)
            .field("replay_from", &self.replay_from)
            .field("may_repeat", &format_args!("{}", self.may_repeat))
            .field("given_back", &format_args!("{}", self.given_back))
            .field("luggage", &self.luggage.len())
            .field("seen", &self.seen.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resume_starts_at_the_older_of_handled_and_state() {
        let mut ticket = Ticket {
            handled: Sequence(9),
            state_at: Sequence(4),
            ..Ticket::default()
        };
        assert_eq!(ticket.resume_from(), Sequence(4));
        ticket.state_at = Sequence(12);
        assert_eq!(ticket.resume_from(), Sequence(9));
        ticket.replay_from = Sequence(11);
        assert_eq!(ticket.resume_from(), Sequence(11));
        ticket.state_at = Sequence(10);
        assert_eq!(ticket.resume_from(), Sequence(10), "state comes first");
    }

    #[test]
    fn the_session_id_and_the_luggage_are_not_shown() {
        let ticket = Ticket {
            session: discord::Session::with_id("hush").seal(),
            luggage: "hush".to_owned(),
            ..Ticket::default()
        };
        assert!(ticket.has_session());
        assert!(!format!("{ticket:?}").contains("hush"));
    }
}
