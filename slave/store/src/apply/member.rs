//! Members, users, presences and voice states.
//!
//! A user is kept as long as it is a member of a guild of this shard: with it stands, as a
//! varint, of how many.

use super::{Apply, Here, field, table::id_of};
use crate::{
    Error, key,
    packed::{Doc, Value},
    read::user_of,
    resources::Kind,
};

/// What stands in events beside a member, and is none of it.
const BESIDE: [&str; 3] = ["guild_id", "user", "permissions"];

impl Apply<'_, '_> {
    /// Somebody joined. Discord says it twice now and then: who is here is brought up to
    /// date and not counted.
    pub(super) fn member_add(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(user) = id_of(Kind::Member, d) else {
            return Ok(());
        };
        let is_new = self.document(here, Kind::Member, user)?.is_none();
        if is_new && let Some(count) = self.member_count(here)? {
            self.set_member_count(here, count.saturating_add(1))?;
        }
        self.put_member(here, user, d)
    }

    /// A member is as it stands here; what is not said stays.
    pub(super) fn member_update(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        match id_of(Kind::Member, d) {
            Some(user) => self.member(here, user, d, field(d, "user")),
            None => Ok(()),
        }
    }

    /// A member stands beside something else.
    pub(super) fn member_seen(
        &mut self,
        here: Here,
        member: Doc<'_>,
        user: Option<Doc<'_>>,
    ) -> Result<(), Error> {
        let user = field(member, "user").or(user);
        match user.and_then(|user| user.number("id")) {
            Some(id) => self.member(here, id, member, user),
            None => Ok(()),
        }
    }

    fn member(
        &mut self,
        here: Here,
        id: u64,
        d: Doc<'_>,
        user: Option<Doc<'_>>,
    ) -> Result<(), Error> {
        if !self.keeps(Kind::Member) {
            return Ok(());
        }
        let Some(old) = self.document(here, Kind::Member, id)? else {
            // Part of a member is none.
            return match d.get("joined_at") {
                Some(_) => self.new_member(here, id, d, user),
                None => Ok(()),
            };
        };
        let new = self.merged(Doc::trusted(&old), d, &BESIDE);
        self.set_document(here, Kind::Member, id, &new)?;
        match user {
            Some(user) => self.user_seen(id, user),
            None => Ok(()),
        }
    }

    fn new_member(
        &mut self,
        here: Here,
        id: u64,
        d: Doc<'_>,
        user: Option<Doc<'_>>,
    ) -> Result<(), Error> {
        let document = self.without(d, &BESIDE);
        self.set_document(here, Kind::Member, id, &document)?;
        // The event may have brought others before.
        let mut place = self.place(here.guild)?.unwrap_or(here.place);
        place.members = place.members.saturating_add(1);
        self.set_place(here.guild, place)?;
        self.user_joins(id, user)
    }

    /// A member is exactly as it stands here.
    fn put_member(&mut self, here: Here, id: u64, d: Doc<'_>) -> Result<(), Error> {
        if !self.keeps(Kind::Member) {
            return Ok(());
        }
        let user = field(d, "user");
        if self.document(here, Kind::Member, id)?.is_none() {
            return self.new_member(here, id, d, user);
        }
        let document = self.without(d, &BESIDE);
        self.set_document(here, Kind::Member, id, &document)?;
        match user {
            Some(user) => self.user_seen(id, user),
            None => Ok(()),
        }
    }

    /// Somebody left. Who is not here is counted as long as not all are.
    pub(super) fn member_remove(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(user) = id_of(Kind::Member, d) else {
            return Ok(());
        };
        let count = self.member_count(here)?;
        let was_here = self.delete(&key::document(here.place.index, Kind::Member, user))?;
        let counted = count.filter(|count| was_here || u64::from(here.place.members) < *count);
        if let Some(count) = counted {
            self.set_member_count(here, count.saturating_sub(1))?;
        }
        if was_here {
            let mut place = here.place;
            place.members = place.members.saturating_sub(1);
            self.set_place(here.guild, place)?;
            self.user_leaves(user)?;
        }
        self.delete_one(here, Kind::Presence, Some(user))?;
        self.delete_one(here, Kind::VoiceState, Some(user))
    }

    /// Members that were asked for.
    pub(super) fn members_chunk(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        for member in d.objects("members") {
            if let Some(id) = id_of(Kind::Member, member) {
                self.put_member(here, id, member)?;
            }
        }
        for presence in d.objects("presences") {
            self.presence_update(here, presence)?;
        }
        Ok(())
    }

    /// Somebody's presence. Who is offline has none.
    pub(super) fn presence_update(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(id) = id_of(Kind::Presence, d) else {
            return Ok(());
        };
        // As a rule it says which user it is, and no more.
        if let Some(user) = field(d, "user").filter(|user| user.fields().nth(1).is_some()) {
            self.user_seen(id, user)?;
        }
        if d.text("status").as_deref() == Some("offline") {
            return self.delete_one(here, Kind::Presence, Some(id));
        }
        self.put_one(here, Kind::Presence, d)
    }

    /// Somebody's voice state. Who is in no channel has none, and if it is the bot, no server.
    pub(super) fn voice_state_update(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        if let Some(member) = field(d, "member") {
            self.member_seen(here, member, None)?;
        }
        let channel = d.get("channel_id").and_then(Value::number);
        match channel {
            Some(_) => self.put_one(here, Kind::VoiceState, d),
            None => {
                let user = d.number("user_id");
                self.delete_one(here, Kind::VoiceState, user)?;
                let own = self.get(&key::current_user())?;
                if user.is_some() && user == own.and_then(|own| Doc::trusted(own).number("id")) {
                    self.delete_one(here, Kind::VoiceServer, Some(here.guild))?;
                }
                Ok(())
            }
        }
    }

    /// Somebody is a member of one guild more.
    pub(super) fn user_joins(&mut self, id: u64, user: Option<Doc<'_>>) -> Result<(), Error> {
        if !self.keeps(Kind::User) {
            return Ok(());
        }
        let (guilds, old) = self.user(id)?;
        let new = self.user_document(old.as_deref(), user);
        self.set_user(id, guilds + 1, &new)
    }

    /// Something is said of a user.
    pub(super) fn user_seen(&mut self, id: u64, user: Doc<'_>) -> Result<(), Error> {
        if !self.keeps(Kind::User) {
            return Ok(());
        }
        let (guilds, old) = self.user(id)?;
        match old {
            Some(old) => {
                let new = self.user_document(Some(&old), Some(user));
                self.set_user(id, guilds, &new)
            }
            None => Ok(()),
        }
    }

    /// Somebody is a member of one guild less.
    pub(super) fn user_leaves(&mut self, id: u64) -> Result<(), Error> {
        let (guilds, old) = self.user(id)?;
        match old {
            Some(old) if guilds > 1 => self.set_user(id, guilds - 1, &old),
            Some(_) => self.delete(&key::user(id)).map(|_| ()),
            None => Ok(()),
        }
    }

    /// In how many guilds a user is, and what it is.
    fn user(&self, id: u64) -> Result<(u64, Option<Vec<u8>>), Error> {
        let value = self.get(&key::user(id))?;
        let user = value.and_then(user_of);
        Ok(user.map_or((0, None), |(guilds, user)| {
            (guilds, Some(user.bytes().to_vec()))
        }))
    }

    fn set_user(&mut self, id: u64, guilds: u64, user: &[u8]) -> Result<(), Error> {
        let mut value = Vec::with_capacity(user.len() + 1);
        crate::packed::varint(&mut value, guilds);
        value.extend_from_slice(user);
        self.put(&key::user(id), &value)
    }

    fn user_document(&self, old: Option<&[u8]>, new: Option<Doc<'_>>) -> Vec<u8> {
        match (old, new) {
            (Some(old), Some(new)) => self.merged(Doc::trusted(old), new, &["id", "member"]),
            (None, Some(new)) => self.without(new, &["id", "member"]),
            (Some(old), None) => old.to_vec(),
            (None, None) => crate::packed::Build::new(self.header.level).finish(),
        }
    }
}
