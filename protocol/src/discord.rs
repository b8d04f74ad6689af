//! What of a ticket and of a hello is Discord's. A slave writes it and reads it; a master
//! carries it unread as a [`Session`](crate::Session) and as [`Parameters`], except where
//! it speaks of Discord itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::opaque::{self, Opaque, Parameters};

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
    /// The service, where that is another one than Discord: nothing of the above says
    /// anything then. Empty: Discord.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
}

impl SessionParameters {
    /// What a slave of another service than Discord asks for.
    #[must_use]
    pub fn of_service(name: &str) -> Self {
        Self {
            service: name.to_owned(),
            ..Self::default()
        }
    }

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
        if self.service != other.service {
            differs("service", &self.service, &other.service)
        } else if self.intents != other.intents {
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

impl SessionParameters {
    /// As a master carries them.
    #[must_use]
    pub fn seal(&self) -> Parameters {
        Parameters(Opaque::seal(self))
    }

    /// What a master carried.
    #[must_use]
    pub fn open(sealed: &Parameters) -> Self {
        sealed.0.open()
    }
}

/// Events of a session that Discord replays at the least.
pub const LEAST_REPLAYED: u64 = 100;

/// How many events of a session with so many guilds Discord replays, by the formula that its
/// staff once gave.
#[must_use]
pub fn replayed(guilds: u64) -> u64 {
    guilds.saturating_mul(75).clamp(LEAST_REPLAYED, 3500)
}

/// What READY said of a session, and what it was identified with.
///
/// A resumed connection brings neither READY nor GUILD_CREATE, so user and application
/// travel with the session (and guilds as state).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Discord's session id. A secret: with the token it takes the session over. Empty:
    /// there is no session.
    pub id: String,
    /// `resume_gateway_url` of READY.
    pub resume_url: String,
    /// The bot's user id.
    pub user_id: u64,
    /// The bot's application id.
    pub application_id: u64,
    /// What the session was identified with.
    pub parameters: SessionParameters,
    /// Guilds that READY named; how many events Discord replays follows from it. Zero:
    /// not known, as before version 6.
    pub guilds: u32,
    /// When READY came, by the wall clock of the process that identified it, in
    /// milliseconds since 1970. Only shown. Zero: not known, as before version 5.
    pub began_unix_ms: u64,
}

impl Session {
    /// A session of which no more than its id is known.
    #[must_use]
    pub fn with_id(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }

    /// As a master carries it.
    #[must_use]
    pub fn seal(&self) -> opaque::Session {
        opaque::Session {
            tag: self.id.as_str().into(),
            rest: Opaque::seal(self),
        }
    }

    /// What a master carried.
    #[must_use]
    pub fn open(sealed: &opaque::Session) -> Self {
        sealed.rest.open()
    }

    /// Discord's id of a session that a master carried; empty: there is none.
    #[must_use]
    pub fn id_of(sealed: &opaque::Session) -> &str {
        &sealed.tag
    }
}

impl fmt::Debug for Session {
    /// Leaves the id out: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user_id", &self.user_id)
            .field("parameters", &self.parameters)
            .field("guilds", &self.guilds)
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
            service: String::new(),
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
    fn what_a_master_carries_is_what_was_given_to_it_and_is_not_shown() {
        let session = Session {
            id: "hush".to_owned(),
            resume_url: "wss://resume.example".to_owned(),
            user_id: 7,
            parameters: parameters(),
            guilds: 40,
            ..Session::default()
        };
        let sealed = session.seal();
        assert_eq!(Session::open(&sealed), session);
        assert_eq!(Session::id_of(&sealed), "hush");
        assert_eq!(SessionParameters::open(&parameters().seal()), parameters());
        for shown in [format!("{session:?}"), format!("{sealed:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
        assert!(!sealed.is_none());
    }

    #[test]
    fn what_discord_replays_follows_from_the_guilds_within_bounds() {
        let replayed = [0, 1, 2, 40, 47, 2500, u64::MAX].map(replayed);
        assert_eq!(replayed, [100, 100, 150, 3000, 3500, 3500, 3500]);
    }

    #[test]
    fn a_session_is_the_same_as_long_as_its_id_is() {
        let of = |id, guilds| Session {
            guilds,
            ..Session::with_id(id)
        };
        let of = |id, guilds| of(id, guilds).seal();
        assert!(
            of("a", 3).is_same(&of("a", 0)),
            "a build before version 6 drops the guilds"
        );
        assert!(!of("a", 3).is_same(&of("b", 3)));
        assert!(of("", 0).is_none());
        assert_eq!(of("", 0), opaque::Session::default());
    }
}
