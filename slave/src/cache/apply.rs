//! What an event changes.

use std::collections::HashSet;

use baton_protocol::ShardId;
use twilight_model::{
    application::interaction::InteractionData,
    gateway::{
        event::{DispatchEvent, Event as TwilightEvent},
        payload::incoming::{
            ChannelDelete, GuildCreate, GuildEmojisUpdate, GuildStickersUpdate, InteractionCreate,
            ThreadUpdate, UserUpdate,
        },
    },
    guild::Guild,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, UserMarker},
    },
    user::User,
};

use super::{
    Cache,
    mend::{self, Mended},
    places::Place,
};
use crate::{Event, ParseError};

/// The events from which the cache is built. What is missing of another one is
/// missing nowhere: it brings at most a user up to date.
const CACHED: &[&str] = &[
    "READY",
    "USER_UPDATE",
    "GUILD_CREATE",
    "GUILD_UPDATE",
    "GUILD_DELETE",
    "GUILD_ROLE_CREATE",
    "GUILD_ROLE_UPDATE",
    "GUILD_ROLE_DELETE",
    "GUILD_MEMBER_ADD",
    "GUILD_MEMBER_UPDATE",
    "GUILD_MEMBER_REMOVE",
    "GUILD_MEMBERS_CHUNK",
    "GUILD_EMOJIS_UPDATE",
    "GUILD_STICKERS_UPDATE",
    "GUILD_SCHEDULED_EVENT_CREATE",
    "GUILD_SCHEDULED_EVENT_UPDATE",
    "GUILD_SCHEDULED_EVENT_DELETE",
    "CHANNEL_CREATE",
    "CHANNEL_UPDATE",
    "CHANNEL_DELETE",
    "CHANNEL_PINS_UPDATE",
    "THREAD_CREATE",
    "THREAD_UPDATE",
    "THREAD_DELETE",
    "THREAD_LIST_SYNC",
    "PRESENCE_UPDATE",
    "VOICE_STATE_UPDATE",
    "STAGE_INSTANCE_CREATE",
    "STAGE_INSTANCE_UPDATE",
    "STAGE_INSTANCE_DELETE",
];

impl Cache {
    /// Brings the cache up to an event. One of a type that `twilight-model` does not
    /// know, and one of a guild that is not here, changes nothing. Of one that it
    /// cannot read whole the rest is taken: see [`incomplete`](Cache::incomplete).
    /// An event that comes twice changes nothing the second time.
    pub fn apply(&self, event: &Event) {
        let (parsed, losses) = match event.parse_owned() {
            Ok(parsed) => (parsed, None),
            Err(error) => match self.mended(event, &error) {
                Some(Mended { value, losses }) => (value, Some(losses)),
                None => return,
            },
        };
        self.take_in(event, TwilightEvent::from(parsed));
        if let Some(losses) = losses {
            self.odd.say(event.kind(), self.guild_here(event), &losses);
        }
    }

    /// The rest of an event that cannot be read whole; `None`: nothing of it can be
    /// kept, which is said if the cache is the poorer for it.
    fn mended(&self, event: &Event, error: &ParseError) -> Option<Mended<DispatchEvent>> {
        let kind = event.kind();
        if !CACHED.contains(&kind) || mutant!("cache-drops-odd") {
            tracing::debug!(%error, "not cached");
            return None;
        }
        let data = mend::data_of(event.json()).map_err(|error| error.to_string());
        match data.and_then(|data| mend::event(kind, data)) {
            Ok(mended) => Some(mended),
            Err(why) => {
                let guild = event.guild_id();
                // Known to be there, and no more.
                if let Some(id) = guild.filter(|_| kind == "GUILD_CREATE")
                    && !self.is_available(id)
                {
                    self.place(id, event.shard(), false);
                }
                self.odd.say_lost(kind, self.guild_here(event), &why);
                None
            }
        }
    }

    /// The guild of an event, if it is one of those here.
    fn guild_here(&self, event: &Event) -> Option<u64> {
        let guild = event.guild_id()?.get();
        self.guilds().get(guild).map(|_| guild)
    }

    fn take_in(&self, event: &Event, parsed: TwilightEvent) {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign enum of a hundred"
        )]
        match parsed {
            TwilightEvent::Ready(ready) => {
                for guild in &ready.guilds {
                    self.place(guild.id, event.shard(), false);
                }
                self.inner.update(&UserUpdate(ready.user));
            }
            TwilightEvent::UserUpdate(_) => self.inner.update(&parsed),
            TwilightEvent::GuildCreate(create) => self.guild(event.shard(), *create),
            TwilightEvent::GuildDelete(delete) => {
                if delete.unavailable == Some(true) {
                    self.place(delete.id, event.shard(), false);
                } else {
                    self.guilds_mut().remove(delete.id.get());
                }
                self.odd.forget(delete.id.get());
                self.forget(delete.id);
            }
            other => {
                let guild = other.guild_id();
                if let Some(guild) = guild.filter(|guild| self.is_available(*guild)) {
                    self.within(guild, other);
                }
            }
        }
    }

    fn place(&self, guild: Id<GuildMarker>, shard: ShardId, available: bool) {
        self.guilds_mut()
            .insert(guild.get(), Place { shard, available });
    }

    /// Replaces a guild by what a GUILD_CREATE says.
    pub(super) fn guild(&self, shard: ShardId, create: GuildCreate) {
        let id = create.id();
        let known = self.is_available(id);
        self.odd.forget(id.get());
        self.place(id, shard, matches!(create, GuildCreate::Available(_)));
        if known {
            self.forget(id);
        }
        if let GuildCreate::Available(mut guild) = create {
            let members: HashSet<_> = guild.members.iter().map(|m| m.user.id).collect();
            only_members(&mut guild, |user| members.contains(&user));
            let create = GuildCreate::Available(guild);
            self.with_users(id, users_of_guild(&create), || self.inner.update(&create));
        }
    }

    /// An event inside a guild that is here.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of a hundred"
    )]
    fn within(&self, guild: Id<GuildMarker>, event: TwilightEvent) {
        let is_member = |user: Id<UserMarker>| self.inner.member(guild, user).is_some();
        match event {
            TwilightEvent::MemberRemove(remove) => self.member_remove(&remove),
            TwilightEvent::MemberAdd(add) => self.member_add(*add),
            TwilightEvent::MemberUpdate(update) => {
                self.with_users(guild, [&update.user], || self.inner.update(&*update));
            }
            TwilightEvent::MemberChunk(chunk) => {
                let users = chunk.members.iter().map(|member| &member.user);
                self.with_users(guild, users, || self.inner.update(&chunk));
            }
            TwilightEvent::VoiceStateUpdate(update) => {
                let users = update.member.iter().map(|member| &member.user);
                self.with_users(guild, users, || self.inner.update(&*update));
            }
            // Webhooks are no members, and would never be forgotten.
            TwilightEvent::MessageCreate(create) if create.member.is_some() => {
                self.with_users(guild, [&create.author], || self.inner.update(&*create));
            }
            TwilightEvent::MessageUpdate(update) if update.member.is_some() => {
                self.with_users(guild, [&update.author], || self.inner.update(&*update));
            }
            TwilightEvent::MessageCreate(_) | TwilightEvent::MessageUpdate(_) => {}
            TwilightEvent::InteractionCreate(mut create) => {
                only_resolved_members(&mut create);
                self.with_users(guild, users_of_interaction(&create), || {
                    self.inner.update(&*create);
                });
            }
            TwilightEvent::GuildEmojisUpdate(mut update) => {
                for emoji in &mut update.emojis {
                    emoji.user.take_if(|user| !is_member(user.id));
                }
                let GuildEmojisUpdate { emojis, .. } = &update;
                let users = emojis.iter().filter_map(|emoji| emoji.user.as_ref());
                self.with_users(guild, users, || self.inner.update(&update));
            }
            TwilightEvent::GuildStickersUpdate(mut update) => {
                for sticker in &mut update.stickers {
                    sticker.user.take_if(|user| !is_member(user.id));
                }
                let GuildStickersUpdate { stickers, .. } = &update;
                let users = stickers.iter().filter_map(|sticker| sticker.user.as_ref());
                self.with_users(guild, users, || self.inner.update(&update));
            }
            TwilightEvent::ChannelDelete(delete) => {
                self.threads_gone(guild, delete.id);
                self.inner.update(&*delete);
            }
            TwilightEvent::ThreadUpdate(update) if is_archived(&update) => {
                self.inner.update(&ChannelDelete(update.0));
            }
            other => self.inner.update(&other),
        }
    }

    /// Nothing is said of the threads of a channel that is deleted.
    fn threads_gone(&self, guild: Id<GuildMarker>, channel: Id<ChannelMarker>) {
        let ids: Vec<_> = match self.inner.guild_channels(guild) {
            Some(ids) => ids.value().iter().copied().collect(),
            None => return,
        };
        for id in ids {
            let thread = self.inner.channel(id).and_then(|thread| {
                let inside = thread.kind.is_thread() && thread.parent_id == Some(channel);
                inside.then(|| thread.value().clone())
            });
            if let Some(thread) = thread {
                self.inner.update(&ChannelDelete(thread));
            }
        }
    }
}

/// A user who made an emoji and is no member is not cached: nothing would ever say
/// that it is gone.
fn only_members(guild: &mut Guild, is_member: impl Fn(Id<UserMarker>) -> bool) {
    let emojis = guild.emojis.iter_mut().map(|emoji| &mut emoji.user);
    let stickers = guild.stickers.iter_mut().map(|sticker| &mut sticker.user);
    for user in emojis.chain(stickers) {
        user.take_if(|user| !is_member(user.id));
    }
}

fn only_resolved_members(create: &mut InteractionCreate) {
    create.0.user = None;
    if let Some(InteractionData::ApplicationCommand(data)) = &mut create.0.data
        && let Some(resolved) = &mut data.resolved
    {
        let members = &resolved.members;
        resolved.users.retain(|id, _| members.contains_key(id));
    }
}

fn users_of_guild(create: &GuildCreate) -> impl Iterator<Item = &User> + Clone {
    let guild = match create {
        GuildCreate::Available(guild) => Some(guild),
        GuildCreate::Unavailable(_) => None,
    };
    guild.into_iter().flat_map(|guild| {
        let members = guild.members.iter().map(|member| &member.user);
        let emojis = guild.emojis.iter().filter_map(|emoji| emoji.user.as_ref());
        let stickers = guild.stickers.iter().filter_map(|s| s.user.as_ref());
        members.chain(emojis).chain(stickers)
    })
}

fn users_of_interaction(create: &InteractionCreate) -> impl Iterator<Item = &User> + Clone {
    let member = create.member.as_ref().and_then(|m| m.user.as_ref());
    let resolved = match &create.data {
        Some(InteractionData::ApplicationCommand(data)) => data.resolved.as_ref(),
        Some(_) | None => None,
    };
    let resolved = resolved.into_iter().flat_map(|data| data.users.values());
    member.into_iter().chain(resolved)
}

fn is_archived(thread: &ThreadUpdate) -> bool {
    let metadata = thread.thread_metadata.as_ref();
    metadata.is_some_and(|metadata| metadata.archived)
}
