//! Where a document stands: 13 bytes, ordered as numbers are.
//!
//! `index` is the shard's own number of a guild, from 1. Each GUILD_CREATE takes the next
//! one, so that what it brings is added at the end, where pages get full; a guild's
//! documents stand beside each other and go in one piece. Index 0 is the shard's own.

use crate::resources::Kind;

/// Length of a key. Those of messages have 8 bytes more, the channel's, before the id.
pub(crate) const LENGTH: usize = 13;

pub(crate) type Key = [u8; LENGTH];

/// The shard's own records.
const OF_SHARD: u32 = 0;
const HEADER: u8 = 0;
const CURRENT_USER: u8 = 0x81;
const PLACE: u8 = 0x82;
const CHANNEL_PLACE: u8 = 0x83;

const fn key(index: u32, kind: u8, id: u64) -> Key {
    let (a, b) = (index.to_be_bytes(), id.to_be_bytes());
    [
        a[0], a[1], a[2], a[3], kind, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
    ]
}

/// The header.
pub(crate) const fn header() -> Key {
    key(OF_SHARD, HEADER, 0)
}

/// The bot's own user.
pub(crate) const fn current_user() -> Key {
    key(OF_SHARD, CURRENT_USER, 0)
}

/// Where a guild is.
pub(crate) const fn place(guild: u64) -> Key {
    key(OF_SHARD, PLACE, guild)
}

/// In which guild a channel or thread is.
pub(crate) const fn channel_place(channel: u64) -> Key {
    key(OF_SHARD, CHANNEL_PLACE, channel)
}

/// A user.
pub(crate) const fn user(user: u64) -> Key {
    key(OF_SHARD, Kind::User as u8, user)
}

/// A document of a guild.
pub(crate) const fn document(index: u32, kind: Kind, id: u64) -> Key {
    key(index, kind as u8, id)
}

/// A message.
pub(crate) fn message(index: u32, channel: u64, id: u64) -> [u8; LENGTH + 8] {
    let mut all = [0; LENGTH + 8];
    all[..LENGTH].copy_from_slice(&key(index, Kind::Message as u8, channel));
    all[LENGTH..].copy_from_slice(&id.to_be_bytes());
    all
}

/// What the keys of a guild begin with.
pub(crate) const fn of_guild(index: u32) -> [u8; 4] {
    index.to_be_bytes()
}

/// What the keys of a kind begin with.
pub(crate) const fn of_kind(index: u32, kind: Kind) -> [u8; 5] {
    let a = index.to_be_bytes();
    [a[0], a[1], a[2], a[3], kind as u8]
}

/// What the keys of all places begin with.
pub(crate) const fn of_places() -> [u8; 5] {
    [0, 0, 0, 0, PLACE]
}

/// What the keys of all users begin with.
pub(crate) const fn of_users() -> [u8; 5] {
    of_kind(OF_SHARD, Kind::User)
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Header,
    CurrentUser,
    Place(u64),
    ChannelPlace(u64),
    User(u64),
    Document { index: u32, kind: Kind, id: u64 },
    Message { index: u32, channel: u64, id: u64 },
}

/// Reads a key; `None`: it is none of ours.
pub(crate) fn read(key: &[u8]) -> Option<Read> {
    let (index, rest) = key.split_first_chunk()?;
    let (&[kind], rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (index, first) = (u32::from_be_bytes(*index), u64::from_be_bytes(*id));
    let id = first;
    if kind == Kind::Message as u8 {
        let id = u64::from_be_bytes(*rest.first_chunk().filter(|_| rest.len() == 8)?);
        let channel = first;
        return (index > 0).then_some(Read::Message { index, channel, id });
    }
    if !rest.is_empty() {
        return None;
    }
    Some(match (index, kind) {
        (OF_SHARD, HEADER) => Read::Header,
        (OF_SHARD, CURRENT_USER) => Read::CurrentUser,
        (OF_SHARD, PLACE) => Read::Place(id),
        (OF_SHARD, CHANNEL_PLACE) => Read::ChannelPlace(id),
        (OF_SHARD, _) if kind == Kind::User as u8 => Read::User(id),
        (OF_SHARD, _) => return None,
        (_, _) => Read::Document {
            index,
            kind: Kind::of_byte(kind).filter(|kind| *kind != Kind::User)?,
            id,
        },
    })
}

/// Where a guild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its documents have this index; 0: it has none.
    pub(crate) index: u32,
    pub(crate) available: bool,
    /// Members that are stored.
    pub(crate) members: u32,
}

impl Place {
    pub(crate) const UNAVAILABLE: Self = Self {
        index: 0,
        available: false,
        members: 0,
    };

    pub(crate) fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[..4].copy_from_slice(&self.index.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.members.to_le_bytes());
        bytes[8] = u8::from(self.available);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk()?;
        let (members, rest) = rest.split_first_chunk()?;
        let available = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self {
            index: u32::from_le_bytes(*index),
            available,
            members: u32::from_le_bytes(*members),
        })
    }
}

/// Where a channel or thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelPlace {
    pub(crate) guild: u64,
    pub(crate) index: u32,
    /// Which of the two it is.
    pub(crate) kind: Kind,
}

impl ChannelPlace {
    pub(crate) fn to_bytes(self) -> [u8; 13] {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&self.guild.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (guild, rest) = bytes.split_first_chunk()?;
        let (index, rest) = rest.split_first_chunk()?;
        let [kind] = rest else {
            return None;
        };
        Some(Self {
            guild: u64::from_le_bytes(*guild),
            index: u32::from_le_bytes(*index),
            kind: Kind::of_byte(*kind).filter(|k| matches!(k, Kind::Channel | Kind::Thread))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_are_and_stand_in_the_order_of_their_numbers() {
        let keys = [
            header().to_vec(),
            user(7).to_vec(),
            current_user().to_vec(),
            place(7).to_vec(),
            channel_place(7).to_vec(),
            document(1, Kind::Guild, 7).to_vec(),
            document(1, Kind::Role, 7).to_vec(),
            document(1, Kind::Role, 256).to_vec(),
            message(1, 7, 8).to_vec(),
            document(2, Kind::Guild, 1).to_vec(),
        ];
        assert!(keys.is_sorted());
        let says = [
            Read::Header,
            Read::User(7),
            Read::CurrentUser,
            Read::Place(7),
            Read::ChannelPlace(7),
        ];
        assert!(
            keys.iter()
                .zip(says)
                .all(|(key, says)| read(key) == Some(says))
        );
        let message = Read::Message {
            index: 1,
            channel: 7,
            id: 8,
        };
        assert_eq!(read(&keys[8]), Some(message));
        for wrong in [
            &keys[0][..12],
            &keys[8][..13],
            &[0; 13 + 8],
            &[0, 0, 0, 1, 99, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place {
            index: 9,
            available: true,
            members: 300,
        };
        assert_eq!(Place::read(&place.to_bytes()), Some(place));
        assert_eq!(Place::read(&[0; 8]), None);
        assert_eq!(Place::read(&[2; 9]), None);
        let place = ChannelPlace {
            guild: 1 << 60,
            index: 4,
            kind: Kind::Thread,
        };
        assert_eq!(ChannelPlace::read(&place.to_bytes()), Some(place));
        assert_eq!(ChannelPlace::read(&[0; 13]), None);
    }
}
