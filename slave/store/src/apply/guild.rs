//! Guilds as wholes, and the bot's own user.

use super::{
    Apply, Here,
    table::{id_of, with_field},
};
use crate::{
    Error,
    error::Damage,
    key::{self, Place},
    packed::{Build, Doc, Value},
    resources::{Kind, Resources},
};

/// The lists that a GUILD_UPDATE brings whole.
const UPDATED: [Kind; 3] = [Kind::Role, Kind::Emoji, Kind::Sticker];

/// Documents of a guild that are to be written: kind, id, what.
type Documents = Vec<(Kind, u64, Vec<u8>)>;

impl Apply<'_, '_> {
    /// A session begins: nothing of the one before is true any more.
    pub(super) fn ready(&mut self, d: Doc<'_>) -> Result<(), Error> {
        self.clear()?;
        if let Some(user) = super::field(d, "user") {
            self.current_user(user)?;
        }
        for guild in d.objects("guilds").filter_map(|guild| guild.number("id")) {
            self.set_place(guild, Place::UNAVAILABLE)?;
        }
        Ok(())
    }

    pub(super) fn current_user(&mut self, user: Doc<'_>) -> Result<(), Error> {
        if self.header.resources.contains(Resources::CURRENT_USER) {
            let old = self.get(&key::current_user())?.map(<[u8]>::to_vec);
            let new = match &old {
                Some(old) => self.merged(Doc::trusted(old), user, &[]),
                None => user.bytes().to_vec(),
            };
            self.put(&key::current_user(), &new)?;
        }
        match user.number("id") {
            Some(id) => self.user_seen(id, user),
            None => Ok(()),
        }
    }

    /// A guild as it is now: it takes the place of what was known of it.
    pub(super) fn guild_create(&mut self, d: Doc<'_>) -> Result<(), Error> {
        let Some(guild) = d.number("id") else {
            return Ok(());
        };
        if let Some(place) = self.place(guild)? {
            self.forget(place)?;
        }
        if d.get("unavailable").and_then(Value::bool) == Some(true) {
            return self.set_place(guild, Place::UNAVAILABLE);
        }
        self.header.index = self
            .header
            .index
            .checked_add(1)
            .ok_or(Error::Damaged(Damage::Header))?;
        let place = Place {
            index: self.header.index,
            available: true,
            members: 0,
        };
        let here = Here { guild, place };
        let mut documents = Documents::new();
        let mut itself = Build::new(self.header.level);
        let mut users = Vec::new();
        for (name, value) in d.fields() {
            let kind = Kind::ALL.into_iter().find(|kind| kind.list() == Some(name));
            match (kind, value.items()) {
                _ if matches!(name, "id" | "guild_id") => {}
                (Some(kind), Some(items)) => {
                    // What has no id is kept with the guild.
                    let mut left: Vec<&[u8]> = Vec::new();
                    for item in items {
                        let object = item.object();
                        match object.and_then(|object| Some((object, id_of(kind, object)?))) {
                            Some((object, id)) if self.keeps(kind) => {
                                if let Some(document) = self.of_list(kind, object) {
                                    documents.push((kind, id, document));
                                }
                                if kind == Kind::Member {
                                    users.push((id, super::field(object, "user")));
                                }
                            }
                            Some(_) => {}
                            None => left.push(item.bytes()),
                        }
                    }
                    if !left.is_empty() {
                        itself.list(name, left);
                    }
                }
                _ => {
                    itself.field(name, value);
                }
            }
        }
        // The last one of an id is the one that counts, as if they had come one by one.
        documents.sort_by_key(|(kind, id, _)| (*kind, *id));
        documents.dedup_by(|later, earlier| {
            let same = (later.0, later.1) == (earlier.0, earlier.1);
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let members = documents
            .iter()
            .filter(|(kind, ..)| *kind == Kind::Member)
            .count();
        if self.keeps(Kind::Guild) {
            let key = key::document(place.index, Kind::Guild, guild);
            self.append(&key, &itself.finish())?;
        }
        for (kind, id, document) in &documents {
            self.append(&key::document(place.index, *kind, *id), document)?;
        }
        for (kind, id, _) in &documents {
            if matches!(kind, Kind::Channel | Kind::Thread) {
                self.set_channel_place(here, *kind, *id)?;
            }
        }
        users.sort_by_key(|(id, _)| *id);
        users.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        for (id, user) in users {
            self.user_joins(id, user)?;
        }
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        self.set_place(guild, Place { members, ..place })
    }

    /// The document of an element of a list; `None`: it need not be kept.
    fn of_list(&self, kind: Kind, object: Doc<'_>) -> Option<Vec<u8>> {
        if kind == Kind::Presence && object.text("status").as_deref() == Some("offline") {
            return None;
        }
        Some(self.stripped(kind, object))
    }

    /// The object without what its key says.
    pub(super) fn stripped(&self, kind: Kind, object: Doc<'_>) -> Vec<u8> {
        match kind {
            Kind::Member | Kind::Presence => self.without(object, &["guild_id", "user"]),
            Kind::VoiceState => self.without(object, &["guild_id", "user_id", "member"]),
            Kind::VoiceServer => self.without(object, &["guild_id"]),
            Kind::Sound => self.without(object, &["guild_id", "sound_id"]),
            Kind::Channel | Kind::Thread => {
                self.without(object, &["guild_id", "id", "newly_created"])
            }
            Kind::Guild
            | Kind::Role
            | Kind::Emoji
            | Kind::Sticker
            | Kind::StageInstance
            | Kind::ScheduledEvent
            | Kind::Integration
            | Kind::Message
            | Kind::User => self.without(object, &["guild_id", "id"]),
        }
    }

    /// What the guild itself is changes. The lists that come with it are whole.
    pub(super) fn guild_update(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let mut without = vec!["id", "guild_id"];
        for kind in UPDATED {
            let name = kind.list().unwrap_or_default();
            if let Some(items) = d.get(name).and_then(Value::items) {
                without.push(name);
                self.replace(here, kind, items)?;
            }
        }
        // A list that comes with other events only would be the only one of its kind.
        let others = Kind::ALL.into_iter().filter(|kind| !UPDATED.contains(kind));
        without.extend(others.filter_map(Kind::list));
        let old = self.document(here, Kind::Guild, here.guild)?;
        let Some(old) = old else {
            return Ok(());
        };
        let new = self.merged(Doc::trusted(&old), d, &without);
        self.set_document(here, Kind::Guild, here.guild, &new)
    }

    /// The guild is gone, or has an outage.
    pub(super) fn guild_delete(&mut self, d: Doc<'_>) -> Result<(), Error> {
        let Some(guild) = d.number("id") else {
            return Ok(());
        };
        if let Some(place) = self.place(guild)? {
            self.forget(place)?;
        }
        if d.get("unavailable").and_then(Value::bool) == Some(true) {
            self.set_place(guild, Place::UNAVAILABLE)
        } else {
            self.delete(&key::place(guild)).map(|_| ())
        }
    }

    /// Forgets the documents of a guild, and users who are a member nowhere else.
    fn forget(&mut self, place: Place) -> Result<(), Error> {
        if place.index == 0 {
            return Ok(());
        }
        for user in self.ids(&key::of_kind(place.index, Kind::Member))? {
            self.user_leaves(user)?;
        }
        for kind in [Kind::Channel, Kind::Thread] {
            for channel in self.ids(&key::of_kind(place.index, kind))? {
                self.forget_channel_place(place.index, channel)?;
            }
        }
        self.delete_all(&key::of_guild(place.index))
    }

    /// How many members the guild has, as Discord counts them.
    pub(super) fn member_count(&self, here: Here) -> Result<Option<u64>, Error> {
        let key = key::document(here.place.index, Kind::Guild, here.guild);
        let guild = self.get(&key)?;
        Ok(guild.and_then(|guild| Doc::trusted(guild).number("member_count")))
    }

    pub(super) fn set_member_count(&mut self, here: Here, count: u64) -> Result<(), Error> {
        self.change_document(here, Kind::Guild, here.guild, |old, new| {
            with_field(old, "member_count", new, |new| {
                new.number("member_count", count);
            });
        })
    }
}
