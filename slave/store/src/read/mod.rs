//! Reading: what there is at one moment.

mod document;
mod permissions;
mod whole;

use std::{cell::Cell, fmt, rc::Rc, sync::Arc};

use twilight_model::id::{
    Id,
    marker::{
        ChannelMarker, EmojiMarker, GuildMarker, MessageMarker, RoleMarker, ScheduledEventMarker,
        StageMarker, StickerMarker, UserMarker,
    },
};

pub(crate) use self::document::user_of;
pub use self::document::{Document, Owned};
use crate::{
    Error, Stand,
    error::Damage,
    header::Header,
    key::{self, ChannelPlace, Place},
    packed::Doc,
    place::{Generation, Txn, header},
    resources::{Kind, Resources},
};

/// What there is at one moment. See [`Store::view`](crate::Store::view).
pub struct View {
    txn: Rc<Txn>,
    header: Header,
    /// Where the guild is that was asked for last.
    last: Cell<Option<(u64, Place)>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("stand", &self.stand())
            .finish_non_exhaustive()
    }
}

/// A guild that a shard has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuildPlace {
    /// Which.
    pub id: Id<GuildMarker>,
    /// False: it has an outage, or its GUILD_CREATE did not come yet. Nothing else is known.
    pub available: bool,
    /// Members that are stored. How many Discord counts says the guild's `member_count`.
    pub members: u32,
}

impl View {
    pub(crate) fn new(generation: &Arc<Generation>) -> Result<Self, Error> {
        let txn = generation.read()?;
        let header = header(txn.get(&key::header())?)?;
        let last = Cell::new(None);
        Ok(Self { txn, header, last })
    }

    /// Where it stands.
    #[must_use]
    pub fn stand(&self) -> Stand {
        Stand::of(&self.header)
    }

    /// What is kept.
    #[must_use]
    pub const fn resources(&self) -> Resources {
        self.header.resources
    }

    /// A record; `None` also for one that cannot be read, which `verify` says.
    fn find(&self, key: &[u8]) -> Option<&[u8]> {
        self.txn.get(key).ok()?
    }

    fn place(&self, guild: Id<GuildMarker>) -> Option<Place> {
        let guild = guild.get();
        if let Some((last, place)) = self.last.get()
            && last == guild
        {
            return Some(place);
        }
        let place = Place::read(self.find(&key::place(guild))?)?;
        self.last.set(Some((guild, place)));
        Some(place)
    }

    /// The guilds of the shard, ascending.
    pub fn guilds(&self) -> impl Iterator<Item = GuildPlace> {
        self.entries(&key::of_places()).filter_map(|(key, value)| {
            let key::Read::Place(id) = key else {
                return None;
            };
            let place = Place::read(value)?;
            Some(GuildPlace {
                id: Id::new_checked(id)?,
                available: place.available,
                members: place.members,
            })
        })
    }

    /// Whether a guild of this id is here, and available.
    #[must_use]
    pub fn guild_place(&self, guild: Id<GuildMarker>) -> Option<GuildPlace> {
        let place = self.place(guild)?;
        Some(GuildPlace {
            id: guild,
            available: place.available,
            members: place.members,
        })
    }

    fn entries<'v>(
        &'v self,
        prefix: &[u8],
    ) -> impl Iterator<Item = (key::Read, &'v [u8])> + use<'v> {
        let all = self.txn.table().prefix_iter(self.txn.txn(), prefix);
        let all = all.into_iter().flatten();
        all.filter_map(|entry| {
            let (key, value) = entry.ok()?;
            Some((key::read(key)?, value))
        })
    }

    fn document(&self, guild: Id<GuildMarker>, kind: Kind, id: u64) -> Option<Document<'_>> {
        if !self.header.resources.contains(kind.resource()) {
            return None;
        }
        let index = self.place(guild)?.index;
        let bytes = self.find(&key::document(index, kind, id))?;
        Some(self.as_document(guild.get(), kind, id, bytes))
    }

    fn as_document<'v>(&'v self, guild: u64, kind: Kind, id: u64, bytes: &'v [u8]) -> Document<'v> {
        let document = Document::new(kind, Some(guild), id, Doc::trusted(bytes));
        match kind == Kind::Member {
            true => document.of_member(self),
            false => document,
        }
    }

    /// The documents of a kind in a guild, ascending by id. None of users, which are of no
    /// guild.
    pub fn all(&self, guild: Id<GuildMarker>, kind: Kind) -> impl Iterator<Item = Document<'_>> {
        self.all_after(guild, kind, 0)
    }

    /// The same, from this id on.
    pub(crate) fn all_after(
        &self,
        guild: Id<GuildMarker>,
        kind: Kind,
        from: u64,
    ) -> impl Iterator<Item = Document<'_>> {
        let kept = self.header.resources.contains(kind.resource());
        let place = self.place(guild).filter(|place| kept && place.index > 0);
        let entries = place.into_iter().flat_map(move |place| {
            let (first, last) = (
                key::document(place.index, kind, from),
                key::document(place.index, kind, u64::MAX),
            );
            let range = (
                std::ops::Bound::Included(first.as_slice()),
                std::ops::Bound::Included(last.as_slice()),
            );
            let all = self.txn.table().range(self.txn.txn(), &range);
            all.into_iter().flatten()
        });
        entries.filter_map(move |entry| {
            let (key, bytes) = entry.ok()?;
            let key::Read::Document { kind, id, .. } = key::read(key)? else {
                return None;
            };
            Some(self.as_document(guild.get(), kind, id, bytes))
        })
    }

    /// A guild itself; `None`: it is not here, or not available.
    #[must_use]
    pub fn guild(&self, guild: Id<GuildMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::Guild, guild.get())
    }

    fn channel_place(&self, channel: u64) -> Option<ChannelPlace> {
        ChannelPlace::read(self.find(&key::channel_place(channel))?)
    }

    /// A channel or a thread.
    #[must_use]
    pub fn channel(&self, channel: Id<ChannelMarker>) -> Option<Document<'_>> {
        let ChannelPlace { guild, index, kind } = self.channel_place(channel.get())?;
        if !self.header.resources.contains(kind.resource()) {
            return None;
        }
        let bytes = self.find(&key::document(index, kind, channel.get()))?;
        Some(self.as_document(guild, kind, channel.get(), bytes))
    }

    /// The channels of a guild, without threads.
    pub fn channels(&self, guild: Id<GuildMarker>) -> impl Iterator<Item = Document<'_>> {
        self.all(guild, Kind::Channel)
    }

    /// The open threads of a guild.
    pub fn threads(&self, guild: Id<GuildMarker>) -> impl Iterator<Item = Document<'_>> {
        self.all(guild, Kind::Thread)
    }

    /// A role of a guild.
    #[must_use]
    pub fn role(&self, guild: Id<GuildMarker>, role: Id<RoleMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::Role, role.get())
    }

    /// The roles of a guild.
    pub fn roles(&self, guild: Id<GuildMarker>) -> impl Iterator<Item = Document<'_>> {
        self.all(guild, Kind::Role)
    }

    /// A member of a guild, with its user.
    #[must_use]
    pub fn member(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::Member, user.get())
    }

    /// The members of a guild, with their users. Of a large guild not all are stored.
    pub fn members(&self, guild: Id<GuildMarker>) -> impl Iterator<Item = Document<'_>> {
        self.all(guild, Kind::Member)
    }

    fn user_doc(&self, user: u64) -> Option<Doc<'_>> {
        Some(user_of(self.find(&key::user(user))?)?.1)
    }

    /// A user who is a member of a guild of this shard.
    #[must_use]
    pub fn user(&self, user: Id<UserMarker>) -> Option<Document<'_>> {
        let doc = self.user_doc(user.get())?;
        Some(Document::new(Kind::User, None, user.get(), doc))
    }

    /// The bot's own user.
    #[must_use]
    pub fn current_user(&self) -> Option<Document<'_>> {
        let doc = Doc::trusted(self.find(&key::current_user())?);
        Some(Document::new(Kind::User, None, doc.number("id")?, doc))
    }

    /// The presence of somebody who is not offline.
    #[must_use]
    pub fn presence(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::Presence, user.get())
    }

    /// In which voice channel somebody is, and how.
    #[must_use]
    pub fn voice_state(
        &self,
        guild: Id<GuildMarker>,
        user: Id<UserMarker>,
    ) -> Option<Document<'_>> {
        self.document(guild, Kind::VoiceState, user.get())
    }

    /// The voice states of a guild.
    pub fn voice_states(&self, guild: Id<GuildMarker>) -> impl Iterator<Item = Document<'_>> {
        self.all(guild, Kind::VoiceState)
    }

    /// Through which server the bot speaks in a guild, if it is in voice there: `token` is a
    /// secret.
    #[must_use]
    pub fn voice_server(&self, guild: Id<GuildMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::VoiceServer, guild.get())
    }

    /// An emoji of a guild.
    #[must_use]
    pub fn emoji(&self, guild: Id<GuildMarker>, emoji: Id<EmojiMarker>) -> Option<Document<'_>> {
        self.document(guild, Kind::Emoji, emoji.get())
    }

    /// A sticker of a guild.
    #[must_use]
    pub fn sticker(
        &self,
        guild: Id<GuildMarker>,
        sticker: Id<StickerMarker>,
    ) -> Option<Document<'_>> {
        self.document(guild, Kind::Sticker, sticker.get())
    }

    /// A stage instance of a guild.
    #[must_use]
    pub fn stage_instance(
        &self,
        guild: Id<GuildMarker>,
        stage: Id<StageMarker>,
    ) -> Option<Document<'_>> {
        self.document(guild, Kind::StageInstance, stage.get())
    }

    /// A scheduled event of a guild.
    #[must_use]
    pub fn scheduled_event(
        &self,
        guild: Id<GuildMarker>,
        event: Id<ScheduledEventMarker>,
    ) -> Option<Document<'_>> {
        self.document(guild, Kind::ScheduledEvent, event.get())
    }

    /// A message, where messages are kept.
    #[must_use]
    pub fn message(
        &self,
        channel: Id<ChannelMarker>,
        message: Id<MessageMarker>,
    ) -> Option<Document<'_>> {
        let place = self.channel_place(channel.get())?;
        let key = key::message(place.index, channel.get(), message.get());
        let doc = Doc::trusted(self.find(&key)?);
        let message = Document::new(Kind::Message, Some(place.guild), message.get(), doc);
        Some(message.in_channel(channel.get()))
    }

    /// Whether a channel is found by its id where it is.
    pub(crate) fn is_found(&self, channel: u64, guild: Id<GuildMarker>, kind: Kind) -> bool {
        let place = self.channel_place(channel);
        place.is_some_and(|place| {
            let index = self.place(guild).map(|place| place.index);
            place.guild == guild.get() && place.kind == kind && Some(place.index) == index
        })
    }

    /// How many users are a member of a guild of this shard. It looks at each of them.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users().count()
    }

    /// The users, each with the number of guilds that it is a member of.
    pub(crate) fn users(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries(&key::of_users()).filter_map(|(key, value)| {
            let key::Read::User(id) = key else {
                return None;
            };
            Some((id, user_of(value)?.0))
        })
    }

    /// Every document of the shard, checked as it is read; `Err`: the record is damaged.
    pub fn documents(&self) -> impl Iterator<Item = Result<Document<'_>, Error>> {
        let damaged = || Error::Damaged(Damage::Structure);
        let mut guilds = std::collections::BTreeMap::new();
        let all = self.txn.table().iter(self.txn.txn()).map_err(Error::engine);
        let (all, wrong) = match all {
            Ok(all) => (Some(all), None),
            Err(error) => (None, Some(Err(error))),
        };
        let entries = all.into_iter().flatten().filter_map(move |entry| {
            let read = || {
                let (key, value) = entry.map_err(Error::engine)?;
                let key = key::read(key).ok_or_else(damaged)?;
                let (kind, index, id) = match key {
                    key::Read::Header | key::Read::CurrentUser => return Ok(None),
                    key::Read::ChannelPlace(_) => {
                        return match ChannelPlace::read(value) {
                            Some(_) => Ok(None),
                            None => Err(damaged()),
                        };
                    }
                    key::Read::Place(guild) => {
                        let place = Place::read(value).ok_or_else(damaged)?;
                        if place.index > 0 {
                            guilds.insert(place.index, guild);
                        }
                        return Ok(None);
                    }
                    key::Read::User(id) => {
                        let (_, doc) = user_of(value).ok_or_else(damaged)?;
                        Doc::whole(doc.bytes()).ok_or_else(damaged)?;
                        return Ok(Some(Document::new(Kind::User, None, id, doc)));
                    }
                    key::Read::Document { index, kind, id } => (kind, index, id),
                    key::Read::Message { index, id, .. } => (Kind::Message, index, id),
                };
                let guild = *guilds.get(&index).ok_or_else(damaged)?;
                let doc = Doc::whole(value).ok_or_else(damaged)?;
                let document = self.as_document(guild, kind, id, doc.bytes());
                if let key::Read::Message { channel, .. } = key {
                    return Ok(Some(document.in_channel(channel)));
                }
                Ok(Some(document))
            };
            read().transpose()
        });
        wrong.into_iter().chain(entries)
    }
}
