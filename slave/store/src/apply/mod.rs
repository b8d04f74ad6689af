//! What an event changes.
//!
//! | file | events |
//! |---|---|
//! | here | which event is what |
//! | `guild` | READY, GUILD_* |
//! | `member` | members, users, presences, voice |
//! | `channel` | channels and threads |
//! | `list` | what is only created, changed and deleted |
//! | `message` | messages |
//! | `table` | reading and writing documents |

mod channel;
mod guild;
mod list;
mod member;
mod message;
mod table;

use crate::{
    Error, Options,
    header::Header,
    key::Place,
    packed::{Doc, Value, payload},
    place::WriteTxn,
    resources::Kind,
};

/// One event that is being applied.
pub(crate) struct Apply<'a, 't> {
    txn: &'a mut WriteTxn<'t>,
    header: &'a mut Header,
    messages: usize,
}

/// A guild that is available here.
#[derive(Clone, Copy)]
struct Here {
    guild: u64,
    place: Place,
}

impl<'a, 't> Apply<'a, 't> {
    pub(crate) fn new(
        txn: &'a mut WriteTxn<'t>,
        header: &'a mut Header,
        options: &Options,
    ) -> Self {
        Self {
            txn,
            header,
            messages: options.messages_per_channel,
        }
    }

    /// Takes in one event that was made from a state, as its JSON.
    ///
    /// # Errors
    /// It is none, or has no id; or as [`event`](Self::event).
    pub(crate) fn take_in(&mut self, kind: &str, d: &str) -> Result<(), Error> {
        let packed = payload(d, self.header.level);
        let packed = packed.map_err(|error| Error::NoGuild(error.to_string()))?;
        let data = Doc::whole(&packed).filter(|data| data.number("id").is_some());
        let data = data.ok_or_else(|| Error::NoGuild("it has no id".to_owned()))?;
        self.event(kind, data)
    }

    const fn keeps(&self, kind: Kind) -> bool {
        self.header.resources.contains(kind.resource())
    }

    /// Brings the state up to one event. One of a type that changes no state, one of a guild
    /// that is not here, and one without the ids that it must have change nothing.
    ///
    /// # Errors
    /// There is no room, or the store is damaged; never what the event says.
    pub(crate) fn event(&mut self, kind: &str, d: Doc<'_>) -> Result<(), Error> {
        match kind {
            "READY" => return self.ready(d),
            "USER_UPDATE" => return self.current_user(d),
            "GUILD_CREATE" => return self.guild_create(d),
            "GUILD_DELETE" => return self.guild_delete(d),
            _ => {}
        }
        let guild = match kind {
            "GUILD_UPDATE" => d.number("id"),
            _ => d.number("guild_id"),
        };
        let Some(guild) = guild else {
            return Ok(());
        };
        let Some(place) = self.place(guild)?.filter(|place| place.available) else {
            return Ok(());
        };
        let here = Here { guild, place };
        match kind {
            "GUILD_UPDATE" => self.guild_update(here, d),
            "GUILD_EMOJIS_UPDATE" => self.list_update(here, Kind::Emoji, d),
            "GUILD_STICKERS_UPDATE" => self.list_update(here, Kind::Sticker, d),
            "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => self.list_update(here, Kind::Sound, d),

            "GUILD_MEMBER_ADD" => self.member_add(here, d),
            "GUILD_MEMBER_UPDATE" => self.member_update(here, d),
            "GUILD_MEMBER_REMOVE" => self.member_remove(here, d),
            "GUILD_MEMBERS_CHUNK" => self.members_chunk(here, d),
            "PRESENCE_UPDATE" => self.presence_update(here, d),
            "VOICE_STATE_UPDATE" => self.voice_state_update(here, d),
            "VOICE_SERVER_UPDATE" => self.put_one(here, Kind::VoiceServer, d),
            "INTERACTION_CREATE" | "TYPING_START" => match field(d, "member") {
                Some(member) => self.member_seen(here, member, None),
                None => Ok(()),
            },

            "CHANNEL_CREATE" | "CHANNEL_UPDATE" => self.channel(here, d),
            "CHANNEL_DELETE" => self.channel_delete(here, d),
            "CHANNEL_PINS_UPDATE" => self.channel_pins(here, d),
            "VOICE_CHANNEL_STATUS_UPDATE" => self.channel_status(here, d),
            "THREAD_CREATE" | "THREAD_UPDATE" => self.thread(here, d),
            "THREAD_DELETE" => self.thread_delete(here, d),
            "THREAD_LIST_SYNC" => self.thread_list_sync(here, d),
            "THREAD_MEMBER_UPDATE" => self.thread_member(here, d),
            "THREAD_MEMBERS_UPDATE" => self.thread_members(here, d),

            "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => match field(d, "role") {
                Some(role) => self.put_one(here, Kind::Role, role),
                None => Ok(()),
            },
            "GUILD_ROLE_DELETE" => self.delete_one(here, Kind::Role, d.number("role_id")),
            "STAGE_INSTANCE_CREATE" | "STAGE_INSTANCE_UPDATE" => {
                self.put_one(here, Kind::StageInstance, d)
            }
            "STAGE_INSTANCE_DELETE" => self.delete_one(here, Kind::StageInstance, d.number("id")),
            "GUILD_SCHEDULED_EVENT_CREATE" | "GUILD_SCHEDULED_EVENT_UPDATE" => {
                self.put_one(here, Kind::ScheduledEvent, d)
            }
            "GUILD_SCHEDULED_EVENT_DELETE" => {
                self.delete_one(here, Kind::ScheduledEvent, d.number("id"))
            }
            "GUILD_SOUNDBOARD_SOUND_CREATE" | "GUILD_SOUNDBOARD_SOUND_UPDATE" => {
                self.put_one(here, Kind::Sound, d)
            }
            "GUILD_SOUNDBOARD_SOUND_DELETE" => {
                self.delete_one(here, Kind::Sound, d.number("sound_id"))
            }
            "INTEGRATION_CREATE" | "INTEGRATION_UPDATE" => self.put_one(here, Kind::Integration, d),
            "INTEGRATION_DELETE" => self.delete_one(here, Kind::Integration, d.number("id")),

            "MESSAGE_CREATE" => self.message_create(here, d),
            "MESSAGE_UPDATE" => self.message_update(here, d),
            "MESSAGE_DELETE" => self.messages_delete(here, d.number("channel_id"), d.number("id")),
            "MESSAGE_DELETE_BULK" => {
                self.messages_delete(here, d.number("channel_id"), d.ids("ids"))
            }
            _ => Ok(()),
        }
    }
}

/// An object inside another.
fn field<'d>(d: Doc<'d>, name: &str) -> Option<Doc<'d>> {
    d.get(name).and_then(Value::object)
}
