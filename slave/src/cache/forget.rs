//! A guild that goes takes everything of it along.

use std::sync::PoisonError;

use twilight_model::{
    channel::StageInstance,
    gateway::payload::incoming::{
        GuildDelete, GuildScheduledEventDelete, MemberRemove, StageInstanceDelete, VoiceStateUpdate,
    },
    guild::scheduled_event::GuildScheduledEvent,
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
    voice::VoiceState,
};

use super::{Cache, export::ids};

impl Cache {
    /// Forgets what is cached of a guild. Members of no other guild are forgotten
    /// with it.
    pub(super) fn forget(&self, guild: Id<GuildMarker>) {
        let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let inner = &self.inner;
        for user in ids(inner.guild_voice_states(guild)) {
            inner.update(&VoiceStateUpdate(left_voice(guild, user)));
        }
        for stage in ids(inner.guild_stage_instances(guild)) {
            let instance: Option<StageInstance> = inner
                .stage_instance(stage)
                .map(|stage| stage.resource().clone());
            if let Some(instance) = instance {
                inner.update(&StageInstanceDelete(instance));
            }
        }
        for event in ids(inner.scheduled_events(guild)) {
            let event: Option<GuildScheduledEvent> = inner
                .scheduled_event(event)
                .map(|event| event.resource().clone());
            if let Some(event) = event {
                inner.update(&GuildScheduledEventDelete(event));
            }
        }
        let members = ids(inner.guild_members(guild));
        inner.update(&GuildDelete {
            id: guild,
            unavailable: None,
        });
        for member in members {
            let user = inner.user(member).map(|user| user.value().clone());
            if let Some(user) = user {
                // The guild is gone, nothing is counted: only the user's own set
                // of guilds is shortened.
                inner.update(&MemberRemove {
                    guild_id: guild,
                    user,
                });
            }
        }
    }
}

/// A member in no channel has no voice state.
fn left_voice(guild: Id<GuildMarker>, user_id: Id<UserMarker>) -> VoiceState {
    VoiceState {
        channel_id: None,
        deaf: false,
        guild_id: Some(guild),
        member: None,
        mute: false,
        self_deaf: false,
        self_mute: false,
        self_stream: false,
        self_video: false,
        session_id: String::new(),
        suppress: false,
        user_id,
        request_to_speak_timestamp: None,
    }
}
