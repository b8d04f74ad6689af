//! What a member may do, computed as Discord documents it.

use std::time::{SystemTime, UNIX_EPOCH};

use twilight_model::{
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, UserMarker},
    },
};

use super::View;
use crate::{
    packed::{Doc, Value},
    resources::Kind,
};

impl View {
    /// What a member may do in a guild, channels aside; `None`: the guild, the member or
    /// @everyone is not stored.
    #[must_use]
    pub fn permissions(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Permissions> {
        let base = self.base(guild, user)?;
        Some(self.without_timeout(guild, user, base))
    }

    /// What a member may do in a channel, or in a thread, where the permissions of its
    /// channel hold; `None`: something of what decides it is not stored.
    #[must_use]
    pub fn permissions_in(
        &self,
        user: Id<UserMarker>,
        channel: Id<ChannelMarker>,
    ) -> Option<Permissions> {
        let mut of = self.channel(channel)?;
        let guild = Id::new_checked(of.guild_id()?)?;
        if of.kind() == Kind::Thread {
            of = self.channel(Id::new_checked(of.number("parent_id")?)?)?;
        }
        let base = self.base(guild, user)?;
        if base.contains(Permissions::ADMINISTRATOR) {
            return Some(Permissions::all());
        }
        let member = self.member(guild, user)?;
        let roles: Vec<u64> = member.ids("roles").collect();
        let overwrites: Vec<Doc<'_>> = of.doc().objects("permission_overwrites").collect();
        // Everyone, then all roles together, then the member.
        let is_of = |overwrite: &Doc<'_>, step: usize| match overwrite.number("id") {
            Some(id) if is_member(*overwrite) => step == 2 && id == user.get(),
            Some(id) if id == guild.get() => step == 0,
            Some(id) => step == 1 && roles.contains(&id),
            None => false,
        };
        let mut permissions = base;
        for step in 0..3 {
            let sum = |name| {
                let of_step = overwrites.iter().filter(|overwrite| is_of(overwrite, step));
                of_step.fold(Permissions::empty(), |sum, overwrite| {
                    sum | bits(*overwrite, name)
                })
            };
            permissions = (permissions - sum("deny")) | sum("allow");
        }
        Some(self.without_timeout(guild, user, permissions))
    }

    fn base(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Permissions> {
        if self.guild(guild)?.number("owner_id") == Some(user.get()) {
            return Some(Permissions::all());
        }
        let everyone = self.role(guild, guild.cast())?;
        let member = self.member(guild, user)?;
        let roles = member.ids("roles").filter_map(Id::new_checked);
        let roles = roles.filter_map(|role| self.role(guild, role));
        let all = roles.fold(bits(everyone.doc(), "permissions"), |sum, role| {
            sum | bits(role.doc(), "permissions")
        });
        Some(match all.contains(Permissions::ADMINISTRATOR) {
            true => Permissions::all(),
            false => all,
        })
    }

    /// Who is in a timeout may look on, unless it is an administrator.
    fn without_timeout(
        &self,
        guild: Id<GuildMarker>,
        user: Id<UserMarker>,
        permissions: Permissions,
    ) -> Permissions {
        let until = self
            .member(guild, user)
            .and_then(|member| member.get("communication_disabled_until")?.micros());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_micros());
        let is_over = until.is_none_or(|until| u128::from(until) <= now);
        if is_over || permissions.contains(Permissions::ADMINISTRATOR) {
            return permissions;
        }
        permissions & (Permissions::VIEW_CHANNEL | Permissions::READ_MESSAGE_HISTORY)
    }
}

fn bits(doc: Doc<'_>, name: &str) -> Permissions {
    Permissions::from_bits_retain(doc.number(name).unwrap_or(0))
}

/// An overwrite of a member has type 1; it came as a text once.
fn is_member(overwrite: Doc<'_>) -> bool {
    let kind = overwrite.get("type");
    kind.and_then(Value::number) == Some(1) || overwrite.text("type").as_deref() == Some("member")
}
