//! The last messages of each channel, where they are kept, and their authors.

use super::{Apply, Here, field};
use crate::{Error, key, packed::Doc, resources::Kind};

/// What of a message stands elsewhere.
const BESIDE: [&str; 3] = ["guild_id", "id", "channel_id"];

impl Apply<'_, '_> {
    /// A message comes, with its author as a member. One of a webhook has no member.
    pub(super) fn message_create(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        if let Some(member) = field(d, "member") {
            self.member_seen(here, member, field(d, "author"))?;
        }
        let (Some(channel), Some(id)) = (d.number("channel_id"), d.number("id")) else {
            return Ok(());
        };
        if !self.keeps(Kind::Message) || self.messages == 0 {
            return Ok(());
        }
        let document = self.without(d, &BESIDE);
        self.put(&key::message(here.place.index, channel, id), &document)?;
        let all = self.ids(&key::document(here.place.index, Kind::Message, channel))?;
        let too_many = all.len().saturating_sub(self.messages);
        self.messages_delete(here, Some(channel), all.into_iter().take(too_many))
    }

    /// A message is changed: what is not said stays.
    pub(super) fn message_update(&mut self, here: Here, d: Doc<'_>) -> Result<(), Error> {
        let (Some(channel), Some(id)) = (d.number("channel_id"), d.number("id")) else {
            return Ok(());
        };
        let key = key::message(here.place.index, channel, id);
        let Some(old) = self.get(&key)?.map(<[u8]>::to_vec) else {
            return Ok(());
        };
        let new = self.merged(Doc::trusted(&old), d, &BESIDE);
        self.put(&key, &new)
    }

    /// Messages are gone.
    pub(super) fn messages_delete(
        &mut self,
        here: Here,
        channel: Option<u64>,
        ids: impl IntoIterator<Item = u64>,
    ) -> Result<(), Error> {
        let Some(channel) = channel else {
            return Ok(());
        };
        for id in ids {
            self.delete(&key::message(here.place.index, channel, id))?;
        }
        Ok(())
    }
}
