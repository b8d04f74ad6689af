//! Channels and threads.

use std::collections::BTreeSet;

use super::{Apply, Here, field, table::with_field};
use crate::{
    Error,
    key::{self, ChannelPlace},
    packed::{Doc, Value},
    resources::{Kind, Resources},
};

impl Apply<'_, '_> {
    pub(super) fn set_channel_place(
        &mut self,
        here: Here,
        kind: Kind,
        id: u64,
    ) -> Result<(), Error> {
        let place = ChannelPlace {
            guild: here.guild,
            index: here.place.index,
            kind,
        };
        self.put(&key::channel_place(id), &place.to_bytes())
    }

    /// It is not of this guild any more, unless it is said to be of another one.
    pub(super) fn forget_channel_place(&mut self, index: u32, id: u64) -> Result<(), Error> {
        let key = key::channel_place(id);
        let place = self.get(&key)?.and_then(ChannelPlace::read);
        if place.is_none_or(|place| place.index == index) {
            self.delete(&key)?;
        }
        Ok(())
    }

    /// A channel is as it stands here.
    pub(super) fn channel(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(id) = d.number("id").filter(|_| self.keeps(Kind::Channel)) else {
            return Ok(());
        };
        self.put_one(here, Kind::Channel, d)?;
        self.set_channel_place(here, Kind::Channel, id)
    }

    /// A channel is gone, and with it its threads, of which nothing is said.
    pub(super) fn channel_delete(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(id) = d.number("id") else {
            return Ok(());
        };
        for thread in self.threads(here, |parent| parent == Some(id))? {
            self.forget_channel(here, Kind::Thread, thread)?;
        }
        self.forget_channel(here, Kind::Channel, id)
    }

    fn forget_channel(&mut self, here: Here, kind: Kind, id: u64) -> Result<(), Error> {
        if self.delete(&key::document(here.place.index, kind, id))? {
            self.forget_channel_place(here.place.index, id)?;
        }
        if self.header.resources.contains(Resources::MESSAGE) {
            let prefix = key::document(here.place.index, Kind::Message, id);
            self.delete_all(&prefix)?;
        }
        Ok(())
    }

    /// The threads whose parent is one of these.
    fn threads(
        &self,
        here: Here,
        is_wanted: impl Fn(Option<u64>) -> bool,
    ) -> Result<Vec<u64>, Error> {
        let all = self.ids(&key::of_kind(here.place.index, Kind::Thread))?;
        let mut wanted = Vec::new();
        for id in all {
            let key = key::document(here.place.index, Kind::Thread, id);
            let parent = self
                .get(&key)?
                .and_then(|thread| Doc::trusted(thread).number("parent_id"));
            if is_wanted(parent) {
                wanted.push(id);
            }
        }
        Ok(wanted)
    }

    /// Changes a field of a channel, or of a thread of that id.
    fn set_field(
        &mut self,
        here: Here,
        id: u64,
        name: &str,
        value: Option<Value<'_>>,
    ) -> Result<(), Error> {
        for kind in [Kind::Channel, Kind::Thread] {
            self.change_document(here, kind, id, |old, new| {
                with_field(old, name, new, |new| {
                    if let Some(value) = value {
                        new.field(name, value);
                    }
                });
            })?;
        }
        Ok(())
    }

    pub(super) fn channel_pins(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let pinned = d.get("last_pin_timestamp");
        match (d.number("channel_id"), pinned) {
            (Some(id), Some(_)) => self.set_field(here, id, "last_pin_timestamp", pinned),
            (_, _) => Ok(()),
        }
    }

    pub(super) fn channel_status(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let status = d.get("status");
        match (d.number("id"), status) {
            (Some(id), Some(_)) => self.set_field(here, id, "status", status),
            (_, _) => Ok(()),
        }
    }

    /// A thread is as it stands here. Of an archived one nothing more is said until it is
    /// opened again.
    pub(super) fn thread(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(id) = d.number("id").filter(|_| self.keeps(Kind::Thread)) else {
            return Ok(());
        };
        let archived = field(d, "thread_metadata").and_then(|of| of.get("archived"));
        if archived.and_then(Value::bool) == Some(true) {
            return self.forget_channel(here, Kind::Thread, id);
        }
        let mut document = self.stripped(Kind::Thread, d);
        if d.get("member").is_none()
            && let Some(old) = self.document(here, Kind::Thread, id)?
            && let Some(member) = Doc::trusted(&old).get("member")
        {
            // An update does not repeat whether the bot has joined.
            let mut with = crate::packed::Build::new(self.header.level);
            with_field(Doc::trusted(&document), "member", &mut with, |with| {
                with.field("member", member);
            });
            document = with.finish();
        }
        self.set_document(here, Kind::Thread, id, &document)?;
        self.set_channel_place(here, Kind::Thread, id)
    }

    pub(super) fn thread_delete(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        match d.number("id") {
            Some(id) => self.forget_channel(here, Kind::Thread, id),
            None => Ok(()),
        }
    }

    /// All threads that are open in some channels, or in all.
    pub(super) fn thread_list_sync(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let channels: Option<BTreeSet<u64>> = d
            .get("channel_ids")
            .and_then(Value::items)
            .map(|ids| ids.filter_map(Value::number).collect());
        let now: BTreeSet<u64> = d
            .objects("threads")
            .filter_map(|thread| thread.number("id"))
            .collect();
        let is_synced = |parent: Option<u64>| match (&channels, parent) {
            (None, _) => true,
            (Some(channels), Some(parent)) => channels.contains(&parent),
            (Some(_), None) => false,
        };
        for gone in self.threads(here, is_synced)? {
            if !now.contains(&gone) {
                self.forget_channel(here, Kind::Thread, gone)?;
            }
        }
        for thread in d.objects("threads") {
            self.thread(here, thread)?;
        }
        for member in d.objects("members") {
            self.thread_member(here, member)?;
        }
        Ok(())
    }

    /// The bot joined a thread.
    pub(super) fn thread_member(&mut self, here: Here, member: Doc<'_>) -> Result<(), Error> {
        let Some(id) = member.number("id") else {
            return Ok(());
        };
        let own = self.without(member, &["guild_id", "member", "presence"]);
        self.set_field(here, id, "member", Some(Doc::trusted(&own).value()))
    }

    /// Others, and the bot, joined a thread or left it.
    pub(super) fn thread_members(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let Some(id) = d.number("id") else {
            return Ok(());
        };
        let count = d.get("member_count");
        if count.is_some() {
            self.set_field(here, id, "member_count", count)?;
        }
        let bot = self.get(&key::current_user())?;
        let bot = bot.and_then(|user| Doc::trusted(user).number("id"));
        let Some(bot) = bot else {
            return Ok(());
        };
        if d.ids("removed_member_ids").any(|gone| gone == bot) {
            self.set_field(here, id, "member", None)?;
        }
        let mut added = d.objects("added_members");
        match added.find(|member| member.number("user_id") == Some(bot)) {
            Some(member) => {
                let own = self.without(member, &["guild_id", "member", "presence"]);
                self.set_field(here, id, "member", Some(Doc::trusted(&own).value()))
            }
            None => Ok(()),
        }
    }
}
