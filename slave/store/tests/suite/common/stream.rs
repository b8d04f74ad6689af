//! Random events of a small world, so that most of them meet something that is there.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// An endless stream of events: the same for the same seed.
pub struct Stream {
    rng: ChaCha8Rng,
    sequence: u64,
    /// Which guild the next event is of: a channel is of one guild only.
    guild: u64,
    /// Bytes that each guild has more.
    padding: usize,
}

const GUILDS: u64 = 3;
const BASE: u64 = 1_099_511_627_776_000_000;

impl Stream {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            sequence: 0,
            guild: 0,
            padding: 0,
        }
    }

    /// Its guilds are larger by so many bytes.
    pub fn padded(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.random_range(0..n)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn id(&mut self, kind: u64, n: u64) -> String {
        (BASE + kind * 1000 + self.below(n)).to_string()
    }

    fn user_id(&mut self) -> String {
        self.id(1, 8)
    }

    fn channel_id(&mut self) -> String {
        self.id(10 + self.guild, 5)
    }

    fn thread_id(&mut self) -> String {
        self.id(20 + self.guild, 5)
    }

    fn role_id(&mut self) -> String {
        self.id(4, 5)
    }

    fn thing_id(&mut self) -> String {
        self.id(5, 4)
    }

    fn user(&mut self) -> Value {
        let id = self.user_id();
        let mut user = json!({"id": id, "username": format!("user {}", self.below(3)), "discriminator": "0", "bot": false});
        if self.one_in(3) {
            user["avatar"] = json!(format!("{:032x}", self.rng.random::<u128>()));
        }
        if self.one_in(5) {
            user["moon"] = json!({"phase": self.below(4)});
        }
        user
    }

    fn member_fields(&mut self) -> Value {
        let roles: Vec<_> = (0..self.below(3)).map(|_| self.role_id()).collect();
        let mut member = json!({"roles": roles, "joined_at": "2021-01-01T00:00:00.000000+00:00", "deaf": false, "flags": self.below(100)});
        if self.one_in(3) {
            member["nick"] = json!(format!("nick {}", self.below(100)));
        }
        if self.one_in(4) {
            member["nick"] = Value::Null;
        }
        member
    }

    fn member(&mut self) -> Value {
        let mut member = self.member_fields();
        member["user"] = self.user();
        member
    }

    fn presence(&mut self) -> Value {
        let status = ["online", "idle", "dnd", "offline"][self.below(4) as usize];
        let mut user = json!({"id": self.user_id()});
        if self.one_in(5) {
            user["username"] = json!(format!("seen {}", self.below(3)));
        }
        json!({"user": user, "status": status, "activities": [], "client_status": {"desktop": status}})
    }

    fn voice_state(&mut self) -> Value {
        let channel = if self.one_in(3) {
            Value::Null
        } else {
            json!(self.channel_id())
        };
        json!({"user_id": self.user_id(), "channel_id": channel, "session_id": format!("{:032x}", self.below(9)), "self_mute": self.one_in(2)})
    }

    fn channel(&mut self) -> Value {
        let id = self.channel_id();
        json!({"id": id, "type": self.below(3), "name": format!("channel {}", self.below(9)), "position": self.below(99), "topic": null})
    }

    fn thread(&mut self) -> Value {
        let mut thread = json!({"id": self.thread_id(), "type": 11, "parent_id": self.channel_id(), "name": "thread",
            "thread_metadata": {"archived": self.one_in(5), "locked": false}});
        if self.one_in(3) {
            thread["member"] = self.thread_member();
        }
        thread
    }

    fn thread_member(&mut self) -> Value {
        json!({"id": self.thread_id(), "user_id": self.user_id(), "flags": self.below(5)})
    }

    fn role(&mut self) -> Value {
        json!({"id": self.role_id(), "name": format!("role {}", self.below(9)), "permissions": self.below(1 << 50).to_string()})
    }

    fn thing(&mut self) -> Value {
        json!({"id": self.thing_id(), "name": format!("thing {}", self.below(99)), "sub": {"list": [1, "2", null]}})
    }

    fn sound(&mut self) -> Value {
        json!({"sound_id": self.thing_id(), "name": "pling", "volume": 0.5})
    }

    fn message(&mut self) -> Value {
        let (id, channel) = (self.id(6, 12), self.channel_id());
        let mut message =
            json!({"id": id, "channel_id": channel, "content": format!("text {}", self.below(99))});
        let author = self.user();
        message["author"] = author;
        if self.one_in(2) {
            message["member"] = self.member_fields();
        }
        message
    }

    fn list(&mut self, most: u64, one: fn(&mut Self) -> Value) -> Value {
        let count = self.below(most);
        let mut list: Vec<_> = (0..count).map(|_| one(self)).collect();
        if self.one_in(12) {
            // Nothing that Discord documents.
            list.push(json!({"name": "without an id"}));
        }
        Value::Array(list)
    }

    fn guild_fields(&mut self) -> Value {
        let mut guild = json!({"name": format!("guild {}", self.below(99)), "owner_id": self.user_id(), "features": ["COMMUNITY", "MOON"]});
        if self.padding > 0 {
            guild["description"] = json!("x".repeat(self.padding));
        }
        guild["roles"] = self.list(4, Self::role);
        guild["emojis"] = self.list(4, Self::thing);
        guild["stickers"] = self.list(3, Self::thing);
        if self.one_in(3) {
            guild["unknown to all"] = json!(self.below(5));
        }
        guild
    }

    fn guild_create(&mut self) -> Value {
        let mut guild = self.guild_fields();
        guild["member_count"] = json!(self.below(10));
        guild["channels"] = self.list(5, Self::channel);
        guild["threads"] = self.list(3, Self::thread);
        guild["members"] = self.list(7, Self::member);
        guild["presences"] = self.list(5, Self::presence);
        guild["voice_states"] = self.list(4, Self::voice_state);
        guild["stage_instances"] = self.list(2, Self::thing);
        guild["guild_scheduled_events"] = self.list(2, Self::thing);
        guild["soundboard_sounds"] = self.list(2, Self::sound);
        guild
    }

    /// The next event: sequence, type, data.
    pub fn next(&mut self) -> (u64, &'static str, Value) {
        self.sequence += 1;
        if self.sequence == 1 {
            let guilds: Vec<_> = (0..GUILDS)
                .map(|n| json!({"id": (BASE + n).to_string(), "unavailable": true}))
                .collect();
            let ready = json!({"user": self.user(), "guilds": guilds});
            return (1, "READY", ready);
        }
        self.guild = self.below(GUILDS);
        let guild = (BASE + self.guild).to_string();
        let (kind, mut d) = self.event();
        match kind {
            "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => d["id"] = json!(guild),
            "USER_UPDATE" => {}
            _ => d["guild_id"] = json!(guild),
        }
        (self.sequence, kind, d)
    }

    fn event(&mut self) -> (&'static str, Value) {
        match self.below(46) {
            0..4 => ("GUILD_CREATE", self.guild_create()),
            4 => ("GUILD_UPDATE", self.guild_fields()),
            5 => match self.below(3) {
                0 => ("GUILD_DELETE", json!({"unavailable": true})),
                1 => ("GUILD_DELETE", json!({})),
                _ => ("GUILD_CREATE", json!({"unavailable": true})),
            },
            6 => ("USER_UPDATE", self.user()),
            7..10 => ("GUILD_MEMBER_ADD", self.member()),
            10..13 => ("GUILD_MEMBER_UPDATE", self.member()),
            13..15 => ("GUILD_MEMBER_REMOVE", json!({"user": self.user()})),
            15 => (
                "GUILD_MEMBERS_CHUNK",
                json!({"members": self.list(4, Self::member), "presences": self.list(3, Self::presence)}),
            ),
            16..18 => ("PRESENCE_UPDATE", self.presence()),
            18..20 => {
                let mut voice = self.voice_state();
                if self.one_in(2) {
                    let mut member = self.member();
                    member["user"]["id"] = voice["user_id"].clone();
                    voice["member"] = member;
                }
                ("VOICE_STATE_UPDATE", voice)
            }
            20 => ("CHANNEL_CREATE", self.channel()),
            21 => ("CHANNEL_UPDATE", self.channel()),
            22 => ("CHANNEL_DELETE", self.channel()),
            23 => (
                "CHANNEL_PINS_UPDATE",
                json!({"channel_id": self.channel_id(), "last_pin_timestamp": "2024-01-01T00:00:00+00:00"}),
            ),
            24 => ("THREAD_CREATE", self.thread()),
            25 => ("THREAD_UPDATE", self.thread()),
            26 => ("THREAD_DELETE", json!({"id": self.thread_id()})),
            27 => {
                let mut sync = json!({"threads": self.list(4, Self::thread), "members": self.list(2, Self::thread_member)});
                if self.one_in(2) {
                    sync["channel_ids"] = json!([self.channel_id(), self.channel_id()]);
                }
                ("THREAD_LIST_SYNC", sync)
            }
            28 => ("THREAD_MEMBER_UPDATE", self.thread_member()),
            29 => {
                let removed = self.user_id();
                let added = self.list(2, Self::thread_member);
                (
                    "THREAD_MEMBERS_UPDATE",
                    json!({"id": self.thread_id(), "member_count": self.below(50), "removed_member_ids": [removed], "added_members": added}),
                )
            }
            30 => ("GUILD_ROLE_CREATE", json!({"role": self.role()})),
            31 => ("GUILD_ROLE_UPDATE", json!({"role": self.role()})),
            32 => ("GUILD_ROLE_DELETE", json!({"role_id": self.role_id()})),
            33 => (
                "GUILD_EMOJIS_UPDATE",
                json!({"emojis": self.list(4, Self::thing)}),
            ),
            34 => (
                "GUILD_STICKERS_UPDATE",
                json!({"stickers": self.list(4, Self::thing)}),
            ),
            35 => match self.below(3) {
                0 => ("STAGE_INSTANCE_CREATE", self.thing()),
                1 => ("STAGE_INSTANCE_UPDATE", self.thing()),
                _ => ("STAGE_INSTANCE_DELETE", self.thing()),
            },
            36 => match self.below(3) {
                0 => ("GUILD_SCHEDULED_EVENT_CREATE", self.thing()),
                1 => ("GUILD_SCHEDULED_EVENT_UPDATE", self.thing()),
                _ => ("GUILD_SCHEDULED_EVENT_DELETE", self.thing()),
            },
            37 => match self.below(3) {
                0 => ("GUILD_SOUNDBOARD_SOUND_CREATE", self.sound()),
                1 => (
                    "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
                    json!({"soundboard_sounds": self.list(3, Self::sound)}),
                ),
                _ => ("GUILD_SOUNDBOARD_SOUND_DELETE", self.sound()),
            },
            38 => match self.below(3) {
                0 => ("INTEGRATION_CREATE", self.thing()),
                1 => ("INTEGRATION_UPDATE", self.thing()),
                _ => ("INTEGRATION_DELETE", self.thing()),
            },
            39..42 => ("MESSAGE_CREATE", self.message()),
            42 => ("MESSAGE_UPDATE", self.message()),
            43 => match self.below(2) {
                0 => ("MESSAGE_DELETE", self.message()),
                _ => (
                    "MESSAGE_DELETE_BULK",
                    json!({"channel_id": self.channel_id(), "ids": [self.id(6, 12), self.id(6, 12)]}),
                ),
            },
            44 => ("INTERACTION_CREATE", json!({"member": self.member()})),
            _ => ("MOON_RISE", json!({"height": self.below(9)})),
        }
    }
}
