//! The truth: what a guild is right now. Only the cell that owns a guild
//! changes it, in the same step in which it sends the dispatch that says so.

use std::collections::BTreeMap;

use crate::{clock, rng::Rng};

/// Id of the bot's user and of its application.
pub(crate) const BOT_ID: u64 = 400_000_000_000_000_001;
/// Time part of the first guild id: early 2018, as milliseconds since 2015.
const FIRST_GUILD: u64 = 100_000_000_000;
/// How much later than its guild's the time part of a member's id is.
const USER_OFFSET: u64 = 30_000_000_000;
/// When everybody joined: 2021-01-01, Unix milliseconds.
const JOINED: u64 = 1_609_459_200_000;
/// Roles each guild starts with, `@everyone` included. Only these are given to
/// members; only later ones are deleted.
pub(crate) const BASE_ROLES: u64 = 4;
/// Text channels each guild starts with; voice channels follow.
pub(crate) const TEXT_CHANNELS: u64 = 4;
/// Voice channels each guild starts with.
pub(crate) const VOICE_CHANNELS: u64 = 2;
/// Bytes of one topic that pads the state of a guild.
const TOPIC_BYTES: usize = 1000;

/// One guild. Invariant: every `voice.channel` and every `role` of a member
/// exists.
#[derive(Clone, Debug)]
pub(crate) struct Guild {
    pub(crate) id: u64,
    /// Counts renames; the name is derived from it.
    pub(crate) name_rev: u32,
    pub(crate) owner: u64,
    pub(crate) available: bool,
    pub(crate) channels: BTreeMap<u64, Channel>,
    pub(crate) roles: BTreeMap<u64, Role>,
    pub(crate) members: BTreeMap<u64, Member>,
    /// The next id below this guild's, for channels, roles and members.
    next_local: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) voice: bool,
    pub(crate) topic_rev: u32,
    pub(crate) padding: usize,
    pub(crate) position: u32,
    pub(crate) permanent: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) color: u32,
    pub(crate) position: u32,
    pub(crate) permanent: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// 0 = no nickname.
    pub(crate) nick_rev: u32,
    pub(crate) role: Option<u64>,
    pub(crate) joined_ms: u64,
    /// `None`: was never seen online.
    pub(crate) presence: Option<Presence>,
    pub(crate) voice: Option<Voice>,
}

#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) status: Status,
    /// 0 = plays nothing.
    pub(crate) game: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Online,
    Idle,
    Dnd,
    Offline,
}

#[derive(Clone, Debug)]
pub(crate) struct Voice {
    pub(crate) channel: u64,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
    /// Voice session id; 32 hexadecimal digits of it go on the wire. The bot's is the
    /// fingerprint of the gateway session that asked for the channel.
    pub(crate) session: u64,
    /// What the bot was told to identify with at the voice server.
    pub(crate) token: u64,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Idle => "idle",
            Self::Dnd => "dnd",
            Self::Offline => "offline",
        }
    }

    /// What a client calls the status; `invisible` looks offline to others.
    pub(crate) fn from_client(name: &str) -> Option<Self> {
        match name {
            "online" => Some(Self::Online),
            "idle" => Some(Self::Idle),
            "dnd" => Some(Self::Dnd),
            "invisible" | "offline" => Some(Self::Offline),
            _ => None,
        }
    }
}

/// Id of the `index`th guild of a cell: `(id >> 22) % shards == cell`.
pub(crate) fn guild_id(cell: u32, index: u32, shards: u32) -> u64 {
    let shards = u64::from(shards);
    let first = FIRST_GUILD / shards * shards;
    (first + u64::from(index) * shards + u64::from(cell)) << 22
}

/// Id of a user: the guild it is a member of is part of it, so no user is a
/// member of two guilds.
fn user_id(guild: u64, local: u64) -> u64 {
    (((guild >> 22) + USER_OFFSET) << 22) | local
}

impl Guild {
    /// The guild as it is before anything happened to it.
    pub(crate) fn new(id: u64, members: u32, padding: u32, seed: u64) -> Self {
        let mut rng = Rng::new(seed, id);
        let mut guild = Self {
            id,
            name_rev: 0,
            owner: 0,
            available: true,
            channels: BTreeMap::new(),
            roles: BTreeMap::new(),
            members: BTreeMap::new(),
            next_local: 1,
        };
        for position in 0..BASE_ROLES {
            let role_id = if position == 0 {
                id
            } else {
                id + guild.local()
            };
            guild.roles.insert(
                role_id,
                Role {
                    color: (position * 0x22_4466) as u32,
                    position: position as u32,
                    permanent: true,
                },
            );
        }
        let padded = (padding as usize).div_ceil(TOPIC_BYTES) as u64;
        for position in 0..TEXT_CHANNELS + VOICE_CHANNELS + padded {
            let voice = (TEXT_CHANNELS..TEXT_CHANNELS + VOICE_CHANNELS).contains(&position);
            let extra = position >= TEXT_CHANNELS + VOICE_CHANNELS;
            let channel_id = id + guild.local();
            guild.channels.insert(
                channel_id,
                Channel {
                    voice,
                    topic_rev: 0,
                    padding: if extra { TOPIC_BYTES } else { 0 },
                    position: position as u32,
                    permanent: true,
                },
            );
        }
        guild
            .members
            .insert(BOT_ID, Member::joined(JOINED, Some(Status::Online)));
        for _ in 1..members {
            let status = match rng.below(4) {
                0 => Some(Status::Online),
                1 => Some(Status::Idle),
                2 => Some(Status::Dnd),
                _ => None,
            };
            let user = guild.new_user();
            let mut member = Member::joined(JOINED + rng.below(86_400_000) as u64, status);
            member.role = guild.base_role(&mut rng);
            if status.is_some() && rng.one_in(5) {
                member.voice = guild.voice_channel(&mut rng).map(|channel| Voice {
                    channel,
                    self_mute: rng.one_in(2),
                    self_deaf: false,
                    session: rng.next_u64(),
                    token: 0,
                });
            }
            guild.members.insert(user, member);
        }
        guild.owner = guild
            .members
            .keys()
            .find(|user| **user != BOT_ID)
            .copied()
            .unwrap_or(BOT_ID);
        guild
    }

    /// A number not yet used in this guild.
    pub(crate) fn local(&mut self) -> u64 {
        let local = self.next_local;
        self.next_local += 1;
        local
    }

    /// An id for somebody who is about to join.
    pub(crate) fn new_user(&mut self) -> u64 {
        let local = self.local();
        user_id(self.id, local)
    }

    /// A member other than the bot.
    pub(crate) fn any_member(&self, rng: &mut Rng) -> Option<u64> {
        let users = self.members.len() - 1;
        let mut nth = rng.below(users.min(64));
        if users > 64 {
            // Ids are close together: a random place in their range is fair
            // enough and does not walk the map.
            let low = user_id(self.id, 0);
            let from = low + rng.next_u64() % self.next_local.max(1);
            if let Some((user, _)) = self
                .members
                .range(from..)
                .find(|(user, _)| **user != BOT_ID)
            {
                return Some(*user);
            }
            nth = 0;
        }
        self.members
            .keys()
            .filter(|user| **user != BOT_ID)
            .nth(nth)
            .copied()
    }

    /// One of the text channels the guild started with.
    pub(crate) fn text_channel(&self, rng: &mut Rng) -> Option<u64> {
        let nth = rng.below(TEXT_CHANNELS as usize);
        self.channels
            .iter()
            .filter(|(_, c)| !c.voice)
            .nth(nth)
            .map(|(id, _)| *id)
    }

    /// One of the voice channels.
    pub(crate) fn voice_channel(&self, rng: &mut Rng) -> Option<u64> {
        let nth = rng.below(VOICE_CHANNELS as usize);
        self.channels
            .iter()
            .filter(|(_, c)| c.voice)
            .nth(nth)
            .map(|(id, _)| *id)
    }

    /// One of the roles members can have, or none.
    pub(crate) fn base_role(&self, rng: &mut Rng) -> Option<u64> {
        let nth = rng.below(BASE_ROLES as usize);
        self.roles
            .iter()
            .filter(|(id, role)| role.permanent && **id != self.id)
            .nth(nth)
            .map(|(id, _)| *id)
    }

    /// The name as it stands.
    pub(crate) fn name(&self) -> String {
        format!(
            "guild {} rev {}",
            (self.id >> 22) % FIRST_GUILD,
            self.name_rev
        )
    }
}

impl Member {
    fn joined(joined_ms: u64, status: Option<Status>) -> Self {
        Self {
            nick_rev: 0,
            role: None,
            joined_ms,
            presence: status.map(|status| Presence { status, game: 0 }),
            voice: None,
        }
    }

    /// Somebody who joins now and was not seen online yet.
    pub(crate) fn new() -> Self {
        Self::joined(clock::unix_ms(), None)
    }

    /// Whether the member came while the server ran. Such members stay offline,
    /// so that they can leave and nothing but the member goes.
    pub(crate) fn is_new(&self) -> bool {
        self.joined_ms > JOINED + 86_400_000
    }

    /// Whether others see this member as online.
    pub(crate) fn is_online(&self) -> bool {
        self.presence
            .as_ref()
            .is_some_and(|p| p.status != Status::Offline)
    }
}

#[cfg(test)]
mod tests {
    use super::{BOT_ID, Guild, guild_id};

    #[test]
    fn guild_ids_belong_to_the_shard_of_their_cell() {
        for shards in [1, 3, 16, 1000] {
            for cell in 0..shards {
                let id = guild_id(cell, 7, shards);
                assert_eq!((id >> 22) % u64::from(shards), u64::from(cell));
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_guild() {
        let one = Guild::new(guild_id(0, 0, 1), 20, 0, 5);
        let two = Guild::new(guild_id(0, 0, 1), 20, 0, 5);
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
        assert_eq!(one.members.len(), 20);
        assert!(one.members.contains_key(&BOT_ID));
    }

    #[test]
    fn members_of_two_guilds_are_never_the_same_user() {
        let one = Guild::new(guild_id(0, 0, 2), 50, 0, 5);
        let two = Guild::new(guild_id(1, 0, 2), 50, 0, 5);
        let shared = one
            .members
            .keys()
            .filter(|u| two.members.contains_key(u))
            .count();
        assert_eq!(shared, 1, "only the bot is in both");
    }
}
