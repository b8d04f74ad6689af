//! The dispatches that the simulated Discord can send, and the intents that let them through.

use std::fmt;

/// Gateway intents, as bits. Source: the list of gateway intents of v10.
pub mod intents {
    /// Guilds, channels, roles, threads.
    pub const GUILDS: u64 = 1 << 0;
    /// Member add, update, remove. Privileged.
    pub const GUILD_MEMBERS: u64 = 1 << 1;
    /// Voice states.
    pub const GUILD_VOICE_STATES: u64 = 1 << 7;
    /// Presences. Privileged.
    pub const GUILD_PRESENCES: u64 = 1 << 8;
    /// Messages in guilds.
    pub const GUILD_MESSAGES: u64 = 1 << 9;
    /// Reactions in guilds.
    pub const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
    /// Typing in guilds.
    pub const GUILD_MESSAGE_TYPING: u64 = 1 << 11;
    /// Direct messages.
    pub const DIRECT_MESSAGES: u64 = 1 << 12;
    /// Content of messages. Privileged.
    pub const MESSAGE_CONTENT: u64 = 1 << 15;
    /// Every bit that v10 defines: 0 to 16, 20, 21, 24, 25.
    pub const ALL: u64 = 0x1_ffff | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25;
    /// The bits a bot must be approved for.
    pub const PRIVILEGED: u64 = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The type of a dispatch: what stands in `t`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            /// Every kind that the simulated Discord sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// First dispatch of a session.
    Ready = "READY",
    /// End of a replay.
    Resumed = "RESUMED",
    /// A guild, whole.
    GuildCreate = "GUILD_CREATE",
    /// A guild without channels and members.
    GuildUpdate = "GUILD_UPDATE",
    /// A guild became unavailable.
    GuildDelete = "GUILD_DELETE",
    /// A new channel.
    ChannelCreate = "CHANNEL_CREATE",
    /// A changed channel.
    ChannelUpdate = "CHANNEL_UPDATE",
    /// A channel that is gone.
    ChannelDelete = "CHANNEL_DELETE",
    /// A message was pinned.
    ChannelPinsUpdate = "CHANNEL_PINS_UPDATE",
    /// A new role.
    RoleCreate = "GUILD_ROLE_CREATE",
    /// A changed role.
    RoleUpdate = "GUILD_ROLE_UPDATE",
    /// A role that is gone.
    RoleDelete = "GUILD_ROLE_DELETE",
    /// Somebody joined a guild.
    MemberAdd = "GUILD_MEMBER_ADD",
    /// A changed member.
    MemberUpdate = "GUILD_MEMBER_UPDATE",
    /// Somebody left a guild.
    MemberRemove = "GUILD_MEMBER_REMOVE",
    /// Answer to a member request.
    MembersChunk = "GUILD_MEMBERS_CHUNK",
    /// A new message.
    MessageCreate = "MESSAGE_CREATE",
    /// An edited message.
    MessageUpdate = "MESSAGE_UPDATE",
    /// A message that is gone.
    MessageDelete = "MESSAGE_DELETE",
    /// A new reaction.
    ReactionAdd = "MESSAGE_REACTION_ADD",
    /// A reaction taken back.
    ReactionRemove = "MESSAGE_REACTION_REMOVE",
    /// A changed presence.
    PresenceUpdate = "PRESENCE_UPDATE",
    /// Somebody types.
    TypingStart = "TYPING_START",
    /// Somebody joined, left or changed in a voice channel.
    VoiceStateUpdate = "VOICE_STATE_UPDATE",
    /// Where the bot's voice connection goes.
    VoiceServerUpdate = "VOICE_SERVER_UPDATE",
    /// A slash command.
    InteractionCreate = "INTERACTION_CREATE",
    /// Answer to a request for soundboard sounds.
    SoundboardSounds = "SOUNDBOARD_SOUNDS",
    /// A command came too often.
    RateLimited = "RATE_LIMITED",
    /// An event that no library knows, as Discord adds some each year.
    OfNextYear = "AN_EVENT_OF_NEXT_YEAR",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl EventKind {
    /// The intent a session needs for this dispatch; 0 when it always gets it.
    /// Source: the list under "gateway intents". `in_guild` is false for what
    /// happens in a direct message.
    pub const fn needs(self, in_guild: bool) -> u64 {
        match self {
            Self::Ready
            | Self::Resumed
            | Self::MembersChunk
            | Self::VoiceServerUpdate
            | Self::InteractionCreate
            | Self::SoundboardSounds
            | Self::RateLimited
            | Self::OfNextYear => 0,
            Self::GuildCreate
            | Self::GuildUpdate
            | Self::GuildDelete
            | Self::ChannelCreate
            | Self::ChannelUpdate
            | Self::ChannelDelete
            | Self::ChannelPinsUpdate
            | Self::RoleCreate
            | Self::RoleUpdate
            | Self::RoleDelete => intents::GUILDS,
            Self::MemberAdd | Self::MemberUpdate | Self::MemberRemove => intents::GUILD_MEMBERS,
            Self::MessageCreate | Self::MessageUpdate | Self::MessageDelete => {
                if in_guild {
                    intents::GUILD_MESSAGES
                } else {
                    intents::DIRECT_MESSAGES
                }
            }
            Self::ReactionAdd | Self::ReactionRemove => intents::GUILD_MESSAGE_REACTIONS,
            Self::PresenceUpdate => intents::GUILD_PRESENCES,
            Self::TypingStart => intents::GUILD_MESSAGE_TYPING,
            Self::VoiceStateUpdate => intents::GUILD_VOICE_STATES,
        }
    }
}
