//! The names and texts that stand in a document as a number.
//!
//! Their order is part of the format: new ones go to the end, and [`Level`] counts them.
//! A build writes only what the store's level has, so that the build before it, to which
//! a deploy may go back, can read what it wrote.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

/// How many of the names and texts a store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) names: u16,
    pub(crate) texts: u16,
}

impl Level {
    /// All that this build knows.
    pub(crate) const OWN: Self = Self {
        names: NAMES.len() as u16,
        texts: TEXTS.len() as u16,
    };

    /// What a new store uses. It stays behind [`OWN`](Self::OWN) for a release when words
    /// are added, so that the build before can read what this one begins.
    pub(crate) const NEW: Self = Self {
        names: 309,
        texts: 77,
    };

    /// Whether this build can read what was written at this level.
    pub(crate) const fn is_readable(self) -> bool {
        self.names <= Self::OWN.names && self.texts <= Self::OWN.texts
    }
}

/// Names of fields. The first 240 cost one byte, the others two.
#[rustfmt::skip]
pub(crate) const NAMES: &[&str] = &[
    "id", "name", "type", "user", "roles", "nick", "avatar", "banner", "joined_at",
    "premium_since", "deaf", "mute", "pending", "flags", "communication_disabled_until",
    "permissions", "avatar_decoration_data", "unusual_dm_activity_until", "username",
    "global_name", "discriminator", "accent_color", "bot", "system", "public_flags",
    "display_name", "display_name_styles", "collectibles", "nameplate", "sku_id", "asset",
    "expires_at", "label", "palette", "primary_guild", "clan", "identity_enabled",
    "identity_guild_id", "tag", "badge", "banner_color", "mfa_enabled", "locale", "verified",
    "email", "premium_type", "bio", "status", "client_status", "desktop", "mobile", "web",
    "activities", "url", "created_at", "timestamps", "start", "end", "application_id", "details",
    "details_url", "state", "state_url", "emoji", "party", "size", "assets", "large_image",
    "large_text", "large_url", "small_image", "small_text", "small_url", "invite_cover_image",
    "secrets", "join", "spectate", "match", "instance", "buttons", "sync_id", "session_id",
    "platform", "metadata", "processed_at_timestamp", "status_display_type", "animated", "game",
    "user_id", "guild_id", "channel_id", "member", "self_deaf", "self_mute", "self_stream",
    "self_video", "suppress", "request_to_speak_timestamp", "discoverable_disabled", "position",
    "permission_overwrites", "allow", "deny", "topic", "nsfw", "last_message_id", "bitrate",
    "user_limit", "rate_limit_per_user", "recipients", "icon", "owner_id", "parent_id",
    "last_pin_timestamp", "rtc_region", "video_quality_mode", "message_count", "member_count",
    "thread_metadata", "archived", "auto_archive_duration", "archive_timestamp", "locked",
    "invitable", "create_timestamp", "default_auto_archive_duration", "total_message_sent",
    "available_tags", "moderated", "emoji_id", "emoji_name", "applied_tags",
    "default_reaction_emoji", "default_thread_rate_limit_per_user", "default_sort_order",
    "default_forum_layout", "default_tag_setting", "icon_emoji", "theme_color", "version",
    "template", "newly_created", "join_timestamp", "muted", "mute_config", "member_ids_preview",
    "color", "colors", "primary_color", "secondary_color", "tertiary_color", "hoist",
    "unicode_emoji", "managed", "mentionable", "tags", "bot_id", "integration_id",
    "premium_subscriber", "subscription_listing_id", "available_for_purchase",
    "guild_connections", "description", "icon_hash", "splash", "discovery_splash", "owner",
    "region", "afk_channel_id", "afk_timeout", "widget_enabled", "widget_channel_id",
    "verification_level", "default_message_notifications", "explicit_content_filter", "emojis",
    "stickers", "features", "mfa_level", "system_channel_id", "system_channel_flags",
    "rules_channel_id", "max_presences", "max_members", "vanity_url_code", "premium_tier",
    "premium_subscription_count", "preferred_locale", "public_updates_channel_id",
    "max_video_channel_users", "max_stage_video_channel_users", "approximate_member_count",
    "approximate_presence_count", "welcome_screen", "nsfw_level", "premium_progress_bar_enabled",
    "safety_alerts_channel_id", "incidents_data", "hub_type", "home_header",
    "latest_onboarding_question_id", "inventory_settings", "profile", "moderator_reporting",
    "premium_features", "owner_configured_content_level", "large", "unavailable", "lazy",
    "application_command_counts", "require_colons", "available", "format_type", "pack_id",
    "sort_value", "privacy_level", "guild_scheduled_event_id", "invite_code", "entity_type",
    "entity_id", "entity_metadata", "location", "creator_id", "creator", "scheduled_start_time",
    "scheduled_end_time", "user_count", "image", "recurrence_rule", "frequency", "interval",
    "by_weekday", "by_n_weekday", "by_month", "by_month_day", "by_year_day", "count", "n", "day",
    "guild_scheduled_event_exceptions", "sound_id", "volume", "author", "content", "timestamp",
    "edited_timestamp", "tts", "mention_everyone", "mentions", "mention_roles",
    "mention_channels", "attachments", "embeds", "reactions", "nonce", "pinned", "webhook_id",
    "activity", "application", "message_reference", "message_snapshots", "referenced_message",
    "interaction", "interaction_metadata", "thread", "components", "sticker_items", "poll",
    "call", "filename", "content_type", "proxy_url", "height", "width", "duration_secs",
    "waveform", "ephemeral", "fields", "value", "inline", "footer", "thumbnail", "video",
    "provider", "text", "icon_url", "proxy_icon_url", "message_id", "custom_id", "style",
    "disabled", "options", "placeholder", "min_values", "max_values", "enabled", "syncing",
    "role_id", "enable_emoticons", "expire_behavior", "expire_grace_period", "account",
    "synced_at", "subscriber_count", "revoked", "scopes", "lang", "vr", "embedded",
];

/// Texts that come often. The first 64 cost one byte, the others two.
#[rustfmt::skip]
pub(crate) const TEXTS: &[&str] = &[
    "online", "idle", "dnd", "offline", "invisible", "@everyone", "general", "en-US", "en-GB",
    "de", "fr", "es-ES", "pt-BR", "ja", "Custom Status", "Spotify", "deprecated", "custom",
    "desktop", "mobile", "web", "xbox", "ps5", "android", "ios", "COMMUNITY", "NEWS",
    "INVITE_SPLASH", "ANIMATED_ICON", "BANNER", "VANITY_URL", "DISCOVERABLE", "PARTNERED",
    "VERIFIED", "WELCOME_SCREEN_ENABLED", "MEMBER_VERIFICATION_GATE_ENABLED", "PREVIEW_ENABLED",
    "ROLE_ICONS", "ROLE_SUBSCRIPTIONS_ENABLED", "TICKETED_EVENTS_ENABLED", "SOUNDBOARD",
    "AUTO_MODERATION", "INVITES_DISABLED", "RAID_ALERTS_DISABLED", "ANIMATED_BANNER",
    "PRIVATE_THREADS", "SEVEN_DAY_THREAD_ARCHIVE", "THREE_DAY_THREAD_ARCHIVE", "MORE_EMOJI",
    "MORE_STICKERS", "MORE_SOUNDBOARD", "AUDIO_BITRATE_128_KBPS", "AUDIO_BITRATE_256_KBPS",
    "AUDIO_BITRATE_384_KBPS", "VIDEO_BITRATE_ENHANCED", "ENHANCED_ROLE_COLORS", "GUILD_TAGS",
    "TIERLESS_BOOSTING", "CHANNEL_ICON_EMOJIS_GENERATED", "GUILD_ONBOARDING",
    "GUILD_ONBOARDING_EVER_ENABLED", "GUILD_ONBOARDING_HAS_PROMPTS", "GUILD_SERVER_GUIDE",
    "VIP_REGIONS", "bot", "rules", "announcements", "Visual Studio Code", "YouTube", "us-west",
    "us-east", "us-central", "rotterdam", "singapore", "sydney", "japan", "brazil",
];

pub(crate) fn name_of(index: usize) -> Option<&'static str> {
    NAMES.get(index).copied()
}

pub(crate) fn text_of(index: usize) -> Option<&'static str> {
    TEXTS.get(index).copied()
}

/// The number of a name at this level.
pub(crate) fn name_index(name: &str, level: Level) -> Option<u16> {
    static MAP: LazyLock<Map> = LazyLock::new(|| map(NAMES));
    MAP.get(name).copied().filter(|index| *index < level.names)
}

/// The number of a text at this level.
pub(crate) fn text_index(text: &str, level: Level) -> Option<u16> {
    static MAP: LazyLock<Map> = LazyLock::new(|| map(TEXTS));
    // The longest has 36 bytes; most texts that are looked up are longer or are none.
    if text.len() > 40 {
        return None;
    }
    MAP.get(text).copied().filter(|index| *index < level.texts)
}

type Map = HashMap<&'static str, u16, BuildHasherDefault<Fnv>>;

fn map(words: &'static [&'static str]) -> Map {
    (0..)
        .zip(words)
        .map(|(index, word)| (*word, index))
        .collect()
}

/// FNV-1a: the words are short and ours, so that nobody chooses them to collide.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_and_no_text_is_there_twice_and_each_has_a_number() {
        for words in [NAMES, TEXTS] {
            let set: BTreeSet<_> = words.iter().collect();
            let mut seen = BTreeSet::new();
            let twice: Vec<_> = words.iter().filter(|word| !seen.insert(*word)).collect();
            assert_eq!(set.len(), words.len(), "{twice:?}");
        }
        assert!(NAMES.len() <= 240 + 256 && TEXTS.len() <= 64 + 256);
        assert!(TEXTS.iter().all(|text| text.len() <= 40));
    }

    #[test]
    fn what_stands_in_stores_keeps_its_number() {
        // New words go to the end, and these lines stay: a store of this level is out there.
        let sum = |words: &[&str]| crc32fast::hash(words.join("\n").as_bytes());
        assert_eq!(sum(&NAMES[..309]), 0x34673f23);
        assert_eq!(sum(&TEXTS[..77]), 0xd9a99825);
        assert!(Level::NEW.is_readable());
        let less = Level { names: 1, texts: 1 };
        assert_eq!(name_index("id", less), Some(0));
        assert_eq!(name_index("name", less), None, "of a later level");
        assert_eq!(text_index("idle", less), None, "of a later level");
    }
}
