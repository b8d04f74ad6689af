//! What is kept, and where each kind of thing stands in the events.

use std::{
    fmt,
    ops::{BitOr, Sub},
};

/// Which resources a store keeps; as `ResourceType` of twilight's cache.
///
/// ```
/// use baton_store::Resources;
///
/// let kept = Resources::GUILD | Resources::ROLE | Resources::CHANNEL;
/// assert!(kept.contains(Resources::ROLE) && !kept.contains(Resources::MEMBER));
/// let most = Resources::default() - Resources::PRESENCE;
/// assert!(most.contains(Resources::MEMBER));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Resources(u32);

impl Resources {
    /// What a guild itself is: name, owner, features.
    pub const GUILD: Self = Self(1);
    /// Channels of guilds.
    pub const CHANNEL: Self = Self(1 << 1);
    /// Threads that are not archived.
    pub const THREAD: Self = Self(1 << 2);
    /// Roles.
    pub const ROLE: Self = Self(1 << 3);
    /// Members.
    pub const MEMBER: Self = Self(1 << 4);
    /// Users who are a member somewhere in the shard. Needs [`MEMBER`](Self::MEMBER).
    pub const USER: Self = Self(1 << 5);
    /// Presences of those who are not offline.
    pub const PRESENCE: Self = Self(1 << 6);
    /// Who is in which voice channel, and the servers of the bot's own calls.
    pub const VOICE_STATE: Self = Self(1 << 7);
    /// Emojis.
    pub const EMOJI: Self = Self(1 << 8);
    /// Stickers.
    pub const STICKER: Self = Self(1 << 9);
    /// Stage instances.
    pub const STAGE_INSTANCE: Self = Self(1 << 10);
    /// Scheduled events.
    pub const SCHEDULED_EVENT: Self = Self(1 << 11);
    /// Sounds of the soundboard.
    pub const SOUND: Self = Self(1 << 12);
    /// Integrations; no GUILD_CREATE brings them.
    pub const INTEGRATION: Self = Self(1 << 13);
    /// The last messages of each channel; no GUILD_CREATE brings them. See
    /// [`Options::messages_per_channel`](crate::Options::messages_per_channel).
    pub const MESSAGE: Self = Self(1 << 14);
    /// The bot's own user.
    pub const CURRENT_USER: Self = Self(1 << 15);

    /// None.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self((1 << 16) - 1)
    }

    /// Whether all of `others` are in it.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn of_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// All that a GUILD_CREATE brings: after a crash, a deploy and a cold start the same.
impl Default for Resources {
    fn default() -> Self {
        Self::all() - Self::INTEGRATION - Self::MESSAGE
    }
}

impl BitOr for Resources {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for Resources {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Kind::ALL
            .iter()
            .filter(|kind| self.contains(kind.resource()));
        let names = named.map(|kind| kind.name());
        let own = self.contains(Self::CURRENT_USER).then_some("current_user");
        f.debug_set().entries(names.chain(own)).finish()
    }
}

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// See [`Resources::GUILD`].
    Guild = 1,
    /// See [`Resources::CHANNEL`].
    Channel,
    /// See [`Resources::THREAD`].
    Thread,
    /// See [`Resources::ROLE`].
    Role,
    /// See [`Resources::MEMBER`]. Its id is the user's.
    Member,
    /// See [`Resources::PRESENCE`]. Its id is the user's.
    Presence,
    /// See [`Resources::VOICE_STATE`]. Its id is the user's.
    VoiceState,
    /// See [`Resources::EMOJI`].
    Emoji,
    /// See [`Resources::STICKER`].
    Sticker,
    /// See [`Resources::STAGE_INSTANCE`].
    StageInstance,
    /// See [`Resources::SCHEDULED_EVENT`].
    ScheduledEvent,
    /// See [`Resources::SOUND`].
    Sound,
    /// See [`Resources::INTEGRATION`].
    Integration,
    /// See [`Resources::MESSAGE`].
    Message,
    /// See [`Resources::USER`]. Of no guild.
    User,
    /// See [`Resources::VOICE_STATE`]. Its id is the guild's.
    VoiceServer,
}

impl Kind {
    /// All of them. Their order and numbers are part of the format.
    pub const ALL: [Self; 16] = [
        Self::Guild,
        Self::Channel,
        Self::Thread,
        Self::Role,
        Self::Member,
        Self::Presence,
        Self::VoiceState,
        Self::Emoji,
        Self::Sticker,
        Self::StageInstance,
        Self::ScheduledEvent,
        Self::Sound,
        Self::Integration,
        Self::Message,
        Self::User,
        Self::VoiceServer,
    ];

    pub(crate) fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Its name, as `baton-slave store show` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guild => "guild",
            Self::Channel => "channel",
            Self::Thread => "thread",
            Self::Role => "role",
            Self::Member => "member",
            Self::Presence => "presence",
            Self::VoiceState => "voice_state",
            Self::Emoji => "emoji",
            Self::Sticker => "sticker",
            Self::StageInstance => "stage_instance",
            Self::ScheduledEvent => "scheduled_event",
            Self::Sound => "sound",
            Self::Integration => "integration",
            Self::Message => "message",
            Self::User => "user",
            Self::VoiceServer => "voice_server",
        }
    }

    pub(crate) const fn resource(self) -> Resources {
        match self {
            Self::Guild => Resources::GUILD,
            Self::Channel => Resources::CHANNEL,
            Self::Thread => Resources::THREAD,
            Self::Role => Resources::ROLE,
            Self::Member => Resources::MEMBER,
            Self::Presence => Resources::PRESENCE,
            Self::VoiceState | Self::VoiceServer => Resources::VOICE_STATE,
            Self::Emoji => Resources::EMOJI,
            Self::Sticker => Resources::STICKER,
            Self::StageInstance => Resources::STAGE_INSTANCE,
            Self::ScheduledEvent => Resources::SCHEDULED_EVENT,
            Self::Sound => Resources::SOUND,
            Self::Integration => Resources::INTEGRATION,
            Self::Message => Resources::MESSAGE,
            Self::User => Resources::USER,
        }
    }

    /// The list of GUILD_CREATE in which it comes.
    pub(crate) const fn list(self) -> Option<&'static str> {
        Some(match self {
            Self::Channel => "channels",
            Self::Thread => "threads",
            Self::Role => "roles",
            Self::Member => "members",
            Self::Presence => "presences",
            Self::VoiceState => "voice_states",
            Self::Emoji => "emojis",
            Self::Sticker => "stickers",
            Self::StageInstance => "stage_instances",
            Self::ScheduledEvent => "guild_scheduled_events",
            Self::Sound => "soundboard_sounds",
            Self::Guild | Self::Integration | Self::Message | Self::User | Self::VoiceServer => {
                return None;
            }
        })
    }

    /// The field that has its id; `None`: its user has it.
    pub(crate) const fn id_field(self) -> Option<&'static str> {
        match self {
            Self::Member | Self::Presence => None,
            Self::VoiceState => Some("user_id"),
            Self::Sound => Some("sound_id"),
            Self::VoiceServer => Some("guild_id"),
            Self::Guild
            | Self::Channel
            | Self::Thread
            | Self::Role
            | Self::Emoji
            | Self::Sticker
            | Self::StageInstance
            | Self::ScheduledEvent
            | Self::Integration
            | Self::Message
            | Self::User => Some("id"),
        }
    }

    /// Whether Discord's object names its guild, so that a whole one does here.
    pub(crate) const fn names_guild(self) -> bool {
        match self {
            Self::Channel
            | Self::Thread
            | Self::Presence
            | Self::VoiceState
            | Self::Sticker
            | Self::StageInstance
            | Self::ScheduledEvent
            | Self::Sound
            | Self::Message => true,
            Self::Guild
            | Self::Role
            | Self::Member
            | Self::Emoji
            | Self::Integration
            | Self::User
            // By its id.
            | Self::VoiceServer => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_number_and_resource_and_the_sets_are_as_their_operators() {
        let bits = Kind::ALL.iter().fold(0, |bits, kind| {
            assert_eq!(Kind::of_byte(*kind as u8), Some(*kind));
            // A store of a build that did not know it yet lacks nothing that it should have.
            if *kind == Kind::VoiceServer {
                return bits;
            }
            assert_eq!(bits & kind.resource().bits(), 0, "{kind:?}");
            bits | kind.resource().bits()
        });
        assert_eq!(
            Resources::of_bits(bits) | Resources::CURRENT_USER,
            Resources::all()
        );
        assert_eq!(Kind::of_byte(0), None);
        let few = Resources::ROLE | Resources::CURRENT_USER;
        assert_eq!(format!("{few:?}"), r#"{"role", "current_user"}"#);
        assert!((few - few).is_empty());
    }
}
