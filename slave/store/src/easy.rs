//! One document at a time, on its own: what most handlers need.

use std::collections::VecDeque;

use twilight_model::{
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, RoleMarker, UserMarker},
    },
};

use crate::{Document, Kind, Owned, Store, View};

/// Documents that are read at once by [`Pages`].
const PAGE: usize = 256;

impl Store {
    fn one(&self, find: impl FnOnce(&View) -> Option<Document<'_>>) -> Option<Owned> {
        let view = self.view().ok()?;
        find(&view).map(Document::to_owned)
    }

    /// A guild itself.
    #[must_use]
    pub fn guild(&self, guild: Id<GuildMarker>) -> Option<Owned> {
        self.one(|view| view.guild(guild))
    }

    /// A channel or a thread.
    #[must_use]
    pub fn channel(&self, channel: Id<ChannelMarker>) -> Option<Owned> {
        self.one(|view| view.channel(channel))
    }

    /// A role of a guild.
    #[must_use]
    pub fn role(&self, guild: Id<GuildMarker>, role: Id<RoleMarker>) -> Option<Owned> {
        self.one(|view| view.role(guild, role))
    }

    /// A member of a guild, with its user.
    #[must_use]
    pub fn member(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Owned> {
        self.one(|view| view.member(guild, user))
    }

    /// A user who is a member of a guild of this shard.
    #[must_use]
    pub fn user(&self, user: Id<UserMarker>) -> Option<Owned> {
        self.one(|view| view.user(user))
    }

    /// In which voice channel somebody is, and how.
    #[must_use]
    pub fn voice_state(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Owned> {
        self.one(|view| view.voice_state(guild, user))
    }

    /// What a member may do in a channel or thread.
    #[must_use]
    pub fn permissions_in(
        &self,
        user: Id<UserMarker>,
        channel: Id<ChannelMarker>,
    ) -> Option<Permissions> {
        self.view().ok()?.permissions_in(user, channel)
    }

    /// The members of a guild; see [`Pages`].
    #[must_use]
    pub fn members(&self, guild: Id<GuildMarker>) -> Pages {
        self.pages(guild, Kind::Member)
    }

    /// The documents of a kind in a guild; see [`Pages`].
    #[must_use]
    pub fn pages(&self, guild: Id<GuildMarker>, kind: Kind) -> Pages {
        Pages {
            store: self.clone(),
            guild,
            kind,
            next: Some(0),
            page: VecDeque::new(),
        }
    }
}

/// The documents of a kind in a guild, ascending by id, read a few hundred at a time. It
/// keeps nothing between them, so that it may take as long as it likes, also over an await.
/// What changes meanwhile behind where it stands is seen.
#[derive(Debug)]
pub struct Pages {
    store: Store,
    guild: Id<GuildMarker>,
    kind: Kind,
    next: Option<u64>,
    page: VecDeque<Owned>,
}

impl Iterator for Pages {
    type Item = Owned;

    fn next(&mut self) -> Option<Owned> {
        if self.page.is_empty() {
            let view = self.store.view().ok()?;
            let documents = view.all_after(self.guild, self.kind, self.next?);
            self.page
                .extend(documents.take(PAGE).map(Document::to_owned));
            self.next = self
                .page
                .back()
                .and_then(|last| last.get().id().checked_add(1));
        }
        self.page.pop_front()
    }
}
