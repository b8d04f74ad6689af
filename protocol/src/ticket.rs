//! What another process needs to go on with a shard.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Sequence, ShardId},
    ranges::SequenceRanges,
};

/// What a session was identified with. It belongs to the session: a resumed
/// session keeps it, even if the process that resumes it would ask for something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionParameters {
    /// Gateway intents, as the bit field that IDENTIFY carries.
    pub intents: u64,
    /// Shards of the whole bot; `0` in a hello: "as many as the fleet has".
    pub shard_count: u32,
    /// Gateway version, 10.
    pub api_version: u8,
    /// `json`.
    pub encoding: String,
    /// `zstd-stream`, `zlib-stream`, or empty for none.
    pub compression: String,
    /// Guilds with more members come without their offline members; 50 to 250.
    pub large_threshold: u16,
}

impl SessionParameters {
    /// The first field in which a session made with `self` could not be resumed
    /// by a process that asks for `other`: its name, ours, theirs.
    ///
    /// A shard count of `0` agrees with every count.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let counts_agree = self.shard_count == other.shard_count
            || self.shard_count == 0
            || other.shard_count == 0;
        let differs = |field, fleet: &dyn fmt::Display, slave: &dyn fmt::Display| {
            Some(Difference {
                field,
                fleet: fleet.to_string(),
                slave: slave.to_string(),
            })
        };
        if self.intents != other.intents {
            differs("intents", &self.intents, &other.intents)
        } else if !counts_agree {
            differs("shard_count", &self.shard_count, &other.shard_count)
        } else if self.api_version != other.api_version {
            differs("api_version", &self.api_version, &other.api_version)
        } else if self.encoding != other.encoding {
            differs("encoding", &self.encoding, &other.encoding)
        } else if self.compression != other.compression {
            differs("compression", &self.compression, &other.compression)
        } else if self.large_threshold != other.large_threshold {
            differs(
                "large_threshold",
                &self.large_threshold,
                &other.large_threshold,
            )
        } else {
            None
        }
    }
}

/// One session parameter in which a slave differs from its fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field of [`SessionParameters`].
    pub field: &'static str,
    /// Its value in the fleet's sessions.
    pub fleet: String,
    /// The value that the slave asked for.
    pub slave: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &str| {
            if value.is_empty() {
                "none".to_owned()
            } else {
                value.to_owned()
            }
        };
        write!(
            f,
            "{}: the fleet's sessions have {}, this slave asks for {}",
            self.field,
            shown(&self.fleet),
            shown(&self.slave)
        )?;
        if self.field != "intents" {
            return Ok(());
        }
        let bits = |value: &str| value.parse::<u64>().unwrap_or(0);
        let (fleet, slave) = (bits(&self.fleet), bits(&self.slave));
        match (intents(slave & !fleet), intents(fleet & !slave)) {
            (Some(more), Some(less)) => write!(f, " (more: {more}; less: {less})"),
            (Some(more), None) => write!(f, " (more: {more})"),
            (None, Some(less)) => write!(f, " (less: {less})"),
            (None, None) => Ok(()),
        }
    }
}

/// Names of intents as Discord's documentation has them; `None`: none is set.
fn intents(bits: u64) -> Option<String> {
    const NAMES: [&str; 26] = [
        "GUILDS",
        "GUILD_MEMBERS",
        "GUILD_MODERATION",
        "GUILD_EXPRESSIONS",
        "GUILD_INTEGRATIONS",
        "GUILD_WEBHOOKS",
        "GUILD_INVITES",
        "GUILD_VOICE_STATES",
        "GUILD_PRESENCES",
        "GUILD_MESSAGES",
        "GUILD_MESSAGE_REACTIONS",
        "GUILD_MESSAGE_TYPING",
        "DIRECT_MESSAGES",
        "DIRECT_MESSAGE_REACTIONS",
        "DIRECT_MESSAGE_TYPING",
        "MESSAGE_CONTENT",
        "GUILD_SCHEDULED_EVENTS",
        "",
        "",
        "",
        "AUTO_MODERATION_CONFIGURATION",
        "AUTO_MODERATION_EXECUTION",
        "",
        "",
        "GUILD_MESSAGE_POLLS",
        "DIRECT_MESSAGE_POLLS",
    ];
    let named = (0..u64::BITS)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| {
            let name = NAMES.get(bit as usize).filter(|name| !name.is_empty());
            name.map_or_else(|| format!("bit {bit}"), |name| (*name).to_owned())
        });
    let named = named.collect::<Vec<_>>().join(", ");
    (!named.is_empty()).then_some(named)
}

/// Everything that a process needs to RESUME one shard where another stopped.
///
/// A resumed connection brings neither READY nor GUILD_CREATE, so user,
/// application and the list of guilds travel too (guilds as state).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ticket {
    /// The shard.
    pub shard: ShardId,
    /// Discord's session id. A secret: with the token it takes the session over.
    pub session_id: String,
    /// `resume_gateway_url` of READY.
    pub resume_url: String,
    /// The bot's user id, from READY.
    pub user_id: u64,
    /// The bot's application id, from READY.
    pub application_id: u64,
    /// What the session was identified with.
    pub parameters: SessionParameters,
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
    /// Guilds that READY named; how many events Discord replays follows from it. Zero:
    /// not known, as before version 6.
    pub guilds: u32,
    /// When READY came, by the wall clock of the process that identified it, in
    /// milliseconds since 1970. Only shown. Zero: not known, as before version 5.
    pub began_unix_ms: u64,
}

impl Ticket {
    /// A ticket with more events in doubt than this is refused: a window has 65,536
    /// at most, and what an earlier owner left is held beside it.
    pub const MAX_IN_DOUBT: u64 = 1 << 17;

    /// The sequence that RESUME is sent with: everything above it is replayed.
    #[must_use]
    pub fn resume_from(&self) -> Sequence {
        self.handled.max(self.replay_from).min(self.state_at)
    }

    /// The highest sequence that it knows of: at least so far Discord sent.
    #[must_use]
    pub fn highest(&self) -> Sequence {
        let above = [self.finished_above.last(), self.in_doubt.last()];
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
    /// Leaves the session id out: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("shard", &self.shard)
            .field("handled", &self.handled)
            .field("finished_above", &format_args!("{}", self.finished_above))
            .field("in_doubt", &format_args!("{}", self.in_doubt))
            .field("state_at", &self.state_at)
            .field("replay_from", &self.replay_from)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> SessionParameters {
        SessionParameters {
            intents: 513,
            shard_count: 16,
            api_version: 10,
            encoding: "json".to_owned(),
            compression: "zstd-stream".to_owned(),
            large_threshold: 50,
        }
    }

    #[test]
    fn intents_that_differ_are_named() {
        let fleet = parameters();
        let mut slave = parameters();
        slave.intents = 1 | 1 << 15 | 1 << 17;
        let said = fleet
            .difference(&slave)
            .map(|difference| difference.to_string());
        let expected = "intents: the fleet's sessions have 513, this slave asks for 163841 \
                        (more: MESSAGE_CONTENT, bit 17; less: GUILD_MESSAGES)";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn each_parameter_that_differs_is_named() {
        let fleet = parameters();
        let mut changed = std::array::from_fn::<_, 6, _>(|_| parameters());
        changed[0].intents = 1;
        changed[1].shard_count = 17;
        changed[2].api_version = 9;
        changed[3].encoding = "etf".to_owned();
        changed[4].compression.clear();
        changed[5].large_threshold = 250;
        let fields = [
            "intents",
            "shard_count",
            "api_version",
            "encoding",
            "compression",
            "large_threshold",
        ];
        for (field, slave) in fields.into_iter().zip(changed) {
            let difference = fleet.difference(&slave).expect("they differ");
            assert_eq!(difference.field, field);
            assert!(difference.to_string().starts_with(field));
        }
        assert_eq!(fleet.difference(&parameters()), None);
    }

    #[test]
    fn a_slave_without_a_shard_count_takes_the_fleets() {
        let mut slave = parameters();
        slave.shard_count = 0;
        assert_eq!(parameters().difference(&slave), None);
    }

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
    fn the_session_id_is_not_shown() {
        let ticket = Ticket {
            session_id: "hush".to_owned(),
            ..Ticket::default()
        };
        assert!(!format!("{ticket:?}").contains("hush"));
    }
}
