//! Which user is in which guild.
//!
//! twilight keeps that as a set of guilds a user, and forgets the user when it
//! is empty. But it empties the set whenever it meets the user with another name
//! or picture, down to the guild at hand; so that the next leave would take the
//! user from all guilds. Here the set is filled again after each such change: it
//! costs as many steps as the user has guilds, and nothing where nothing changed.

use std::sync::{MutexGuard, PoisonError};

use twilight_model::{
    gateway::{
        payload::incoming::{MemberAdd, MemberChunk, MemberRemove, MemberUpdate, PresenceUpdate},
        presence::{ClientStatus, Presence, Status, UserOrId},
    },
    guild::{Member, MemberFlags},
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
    user::User,
};

use super::{Cache, left::Left};

impl Cache {
    /// Runs an update that brings these users into a guild, or up to date.
    pub(super) fn with_users<'u, I>(&self, guild: Id<GuildMarker>, users: I, update: impl FnOnce())
    where
        I: IntoIterator<Item = &'u User> + Clone,
    {
        {
            let _shared = self.users.read().unwrap_or_else(PoisonError::into_inner);
            if users.clone().into_iter().all(|user| self.is_same(user)) {
                return update();
            }
        }
        let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let elsewhere: Vec<_> = users
            .into_iter()
            .filter(|user| !self.is_same(user))
            .map(|user| (user.id, self.guilds_of(user.id)))
            .collect();
        update();
        for (user, guilds) in elsewhere {
            let others = guilds.into_iter().filter(|other| *other != guild);
            for other in others {
                self.is_in(user, other);
            }
        }
    }

    fn is_same(&self, user: &User) -> bool {
        let known = self.inner.user(user.id);
        known.is_some_and(|known| known.value() == user)
    }

    fn guilds_of(&self, user: Id<UserMarker>) -> Vec<Id<GuildMarker>> {
        let guilds = self.inner.user_guilds(user);
        guilds.map_or_else(Vec::new, |guilds| guilds.value().iter().copied().collect())
    }

    /// Tells twilight that a member's user is in a guild. Changes nothing else.
    fn is_in(&self, user: Id<UserMarker>, guild_id: Id<GuildMarker>) {
        let user_of = self.inner.user(user).map(|user| user.value().clone());
        let member = self.inner.member(guild_id, user);
        let member = member.map(|member| member.value().clone());
        let (Some(user), Some(member)) = (user_of, member) else {
            return;
        };
        self.inner.update(&MemberUpdate {
            avatar: member.avatar(),
            communication_disabled_until: member.communication_disabled_until(),
            guild_id,
            flags: Some(member.flags()),
            deaf: member.deaf(),
            joined_at: member.joined_at(),
            mute: member.mute(),
            nick: member.nick().map(str::to_owned),
            pending: member.pending(),
            premium_since: member.premium_since(),
            roles: member.roles().to_vec(),
            user,
        });
    }

    /// A user joined. Discord says it twice now and then: a user who is a member
    /// already is brought up to date and not counted.
    pub(super) fn member_add(&self, add: MemberAdd) {
        let (guild_id, user) = (add.guild_id, add.member.user.clone());
        self.left().forget(guild_id, user.id);
        let is_member = self.inner.member(guild_id, user.id).is_some();
        if !is_member || mutant!("cache-counts-repeats") {
            self.with_users(guild_id, [&user], || self.inner.update(&add));
            return;
        }
        let chunk = MemberChunk {
            chunk_count: 1,
            chunk_index: 0,
            guild_id,
            members: vec![add.member],
            nonce: None,
            not_found: Vec::new(),
            presences: Vec::new(),
        };
        self.with_users(guild_id, [&user], || self.inner.update(&chunk));
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody who is not cached cannot be a member: everybody who is
    /// counted is cached, or the same was said a moment ago.
    fn is_no_member(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> bool {
        if self.inner.member(guild, user).is_some() {
            return false;
        }
        let counted = self.inner.guild(guild).and_then(|g| g.member_count());
        let cached = self.inner.guild_members(guild).map_or(0, |of| of.len());
        let all = counted.is_some_and(|counted| cached as u64 >= counted);
        all || self.left().contains(guild, user)
    }

    /// A member left.
    pub(super) fn member_remove(&self, remove: &MemberRemove) {
        let (guild_id, user) = (remove.guild_id, &remove.user);
        if self.is_no_member(guild_id, user.id) {
            return;
        }
        self.left().remember(guild_id, user.id);
        let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
        let counted = self.inner.guild(guild_id).map(|guild| guild.member_count());
        if counted == Some(Some(0)) {
            // twilight counts below zero: one more first, then one less.
            self.inner.update(&MemberAdd {
                guild_id,
                member: stranger(user.clone()),
            });
        }
        self.inner.update(remove);
        if self.inner.presence(guild_id, user.id).is_some() {
            self.inner
                .update(&PresenceUpdate(offline(guild_id, user.id)));
        }
    }
}

fn stranger(user: User) -> Member {
    Member {
        avatar: None,
        avatar_decoration_data: None,
        banner: None,
        communication_disabled_until: None,
        deaf: false,
        flags: MemberFlags::empty(),
        joined_at: None,
        mute: false,
        nick: None,
        pending: false,
        premium_since: None,
        roles: Vec::new(),
        user,
    }
}

/// All that can be said of a user who left.
fn offline(guild_id: Id<GuildMarker>, user: Id<UserMarker>) -> Presence {
    Presence {
        activities: Vec::new(),
        client_status: ClientStatus {
            desktop: None,
            mobile: None,
            web: None,
            vr: None,
        },
        guild_id,
        status: Status::Offline,
        user: UserOrId::UserId { id: user },
    }
}
