//! What a store costs beside `twilight-cache-inmemory`, on the same events.
//!
//!     cargo bench -p baton-store -- [GUILDS] [MEMBERS] [DIR]
//!
//! 1000 guilds of 100 members, and `/dev/shm` where it is. One line a figure; both take the
//! events as JSON, as they come from the gateway. Memory is what the process has more of,
//! and for the store the pages of its file.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

use std::{
    fmt::Write as _,
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Dispatch, Options, Owner, Store};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeSeed as _;
use twilight_cache_inmemory::{DefaultInMemoryCache, ResourceType};
use twilight_model::{
    gateway::event::{Event, GatewayEvent, GatewayEventDeserializer},
    id::Id,
};

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let mut number = |default: u64| words.next().map_or(default, |word| word.parse().unwrap());
    let (guilds, members) = (number(1000), number(100));
    let dir = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("baton-store-bench-{}", std::process::id()));
    run(guilds, members, &dir);
    fs::remove_dir_all(&dir).unwrap();
}

fn run(guilds: u64, members: u64, dir: &Path) {
    let mut world = World::new(members);
    let creates: Vec<_> = (0..guilds).map(|n| world.guild_create(n)).collect();
    let json: usize = creates.iter().map(String::len).sum();
    println!(
        "{guilds} guilds of {members} members: {:.1} KiB of JSON a guild",
        json as f64 / 1024.0 / guilds as f64
    );
    let updates: Vec<_> = (0..200_000).map(|_| world.update(guilds)).collect();

    let before = resident();
    let kept = ResourceType::all() - ResourceType::MESSAGE - ResourceType::REACTION;
    let cache = DefaultInMemoryCache::builder().resource_types(kept).build();
    let filled = timed(|| {
        creates
            .iter()
            .for_each(|json| cache.update(&parsed("GUILD_CREATE", json)))
    });
    let twilight = resident() - before;
    println!(
        "twilight  fill    {:8.1} µs a guild",
        micros(filled, guilds)
    );
    let updated = timed(|| {
        updates
            .iter()
            .for_each(|(kind, json)| cache.update(&parsed(kind, json)))
    });
    println!(
        "twilight  update  {:8.2} µs an event",
        micros(updated, updates.len() as u64)
    );
    let reads = 500_000;
    let read = timed(|| {
        for n in 0..reads {
            let (guild, user) = world.any(n, guilds);
            let member = cache.member(Id::new(guild), Id::new(user));
            black_box(member.map(|member| member.roles().len()));
        }
    });
    println!("twilight  read    {:8.3} µs a member", micros(read, reads));
    let twilight_later = resident() - before;
    drop(cache);

    let store = Store::open(dir, ShardId(0), Options::default()).unwrap();
    let (mut writer, _) = store.claim(Epoch(1), Owner([1; 16])).unwrap();
    let mut sequence = 1;
    let ready = r#"{"d":{"user":{"id":"7"},"guilds":[]}}"#;
    let mut apply = |events: &[(&str, &str)]| {
        let batch: Vec<_> = events
            .iter()
            .map(|(kind, json)| {
                sequence += 1;
                Dispatch {
                    sequence: Sequence(sequence),
                    kind,
                    json,
                }
            })
            .collect();
        writer.apply("session", &batch).unwrap();
    };
    apply(&[("READY", ready)]);
    let heap = resident_without_files();
    let filled = timed(|| {
        creates
            .iter()
            .for_each(|json| apply(&[("GUILD_CREATE", json)]))
    });
    let own = (resident_without_files() - heap).max(0);
    let bytes = pages(dir);
    println!(
        "store     fill    {:8.1} µs a guild",
        micros(filled, guilds)
    );
    let (ones, many) = updates.split_at(updates.len() / 2);
    let one = timed(|| ones.iter().for_each(|(kind, json)| apply(&[(kind, json)])));
    println!(
        "store     update  {:8.2} µs an event, a change each",
        micros(one, ones.len() as u64)
    );
    let batched = timed(|| {
        for batch in many.chunks(16) {
            let batch: Vec<_> = batch
                .iter()
                .map(|(kind, json)| (*kind, json.as_str()))
                .collect();
            apply(&batch);
        }
    });
    println!(
        "store     update  {:8.2} µs an event, 16 in a change",
        micros(batched, many.len() as u64)
    );
    let read = timed(|| {
        for n in 0..reads {
            let (guild, user) = world.any(n, guilds);
            let view = store.view().unwrap();
            let member = view.member(Id::new(guild), Id::new(user));
            black_box(member.map(|member| member.ids("roles").count()));
        }
    });
    println!(
        "store     read    {:8.3} µs a member, a view each",
        micros(read, reads)
    );
    let view = store.view().unwrap();
    let read = timed(|| {
        for n in 0..reads {
            let (guild, user) = world.any(n, guilds);
            let member = view.member(Id::new(guild), Id::new(user));
            black_box(member.map(|member| member.ids("roles").count()));
        }
    });
    drop(view);
    println!(
        "store     read    {:8.3} µs a member, one view",
        micros(read, reads)
    );
    let later = pages(dir);
    let shown = baton_store::show(dir, ShardId(0), Options::default()).unwrap();

    let opened = timed(|| drop(black_box(store.claim(Epoch(2), Owner([2; 16])).unwrap())));
    println!("store     claim   {:8.1} µs", opened.as_secs_f64() * 1e6);
    let (mut writer, _) = store.claim(Epoch(3), Owner([3; 16])).unwrap();
    let moved = timed(|| {
        writer.compact().unwrap();
    });
    println!("store     compact {:8.1} ms", moved.as_secs_f64() * 1e3);
    let compact = pages(dir);

    let kib = |bytes: i64| bytes as f64 / 1024.0 / guilds as f64;
    let ratio = |ours: i64, theirs: i64| ours as f64 / theirs as f64;
    println!(
        "memory a guild, KiB: twilight {:.1}, store {:.1} (and {:.1} of the heap): {:.2}",
        kib(twilight),
        kib(bytes),
        kib(own),
        ratio(bytes + own, twilight)
    );
    println!(
        "after the updates:   twilight {:.1}, store {:.1}: {:.2}; of it documents {:.1}; compacted {:.1}",
        kib(twilight_later),
        kib(later),
        ratio(later, twilight_later),
        kib(shown.document_bytes as i64),
        kib(compact)
    );
    for (kind, count) in shown.documents {
        println!("  {kind}: {count}");
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn micros(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn parsed(kind: &str, json: &str) -> Event {
    let reader = GatewayEventDeserializer::new(0, Some(kind));
    match reader
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .unwrap()
    {
        GatewayEvent::Dispatch(_, event) => event.into(),
        other => panic!("{other:?}"),
    }
}

fn status(name: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<i64>()
        .unwrap()
        * 1024
}

fn resident() -> i64 {
    status("VmRSS:")
}

fn resident_without_files() -> i64 {
    status("RssAnon:")
}

/// Bytes of the pages of the state's file.
fn pages(dir: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    let names = fs::read_dir(dir.join("shard-0")).unwrap();
    let paths = names.map(|entry| entry.unwrap().path().join("data.mdb"));
    let sizes = paths.filter_map(|path| fs::metadata(path).ok());
    sizes.map(|found| found.blocks() as i64 * 512).sum()
}

/// Guilds as they are: members with and without pictures, presences with games.
struct World {
    rng: ChaCha8Rng,
    members: u64,
}

const BASE: u64 = 1_099_511_627_776_000_000;

fn guild_id(n: u64) -> u64 {
    // Not in the order in which they come.
    BASE + n.wrapping_mul(7_919_999) % 1_000_003 * 1_000_000
}

impl World {
    fn new(members: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(1);
        Self { rng, members }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    fn any(&self, n: u64, guilds: u64) -> (u64, u64) {
        let guild = guild_id(n.wrapping_mul(0x9e37_79b9) % guilds);
        (
            guild,
            guild + 1000 + n.wrapping_mul(0x85eb_ca6b) % self.members,
        )
    }

    fn user(&mut self, id: u64, n: u64) -> String {
        let avatar = match self.one_in(3) {
            true => "null".to_owned(),
            false => format!("\"{:032x}\"", self.rng.random::<u128>()),
        };
        let global = match self.one_in(4) {
            true => "null".to_owned(),
            false => format!("\"Some Body {n}\""),
        };
        format!(
            r#"{{"id":"{id}","username":"somebody{n}","global_name":{global},"discriminator":"0","avatar":{avatar},"avatar_decoration_data":null,"banner":null,"accent_color":null,"bot":false,"public_flags":{},"display_name_styles":null,"collectibles":null,"primary_guild":null}}"#,
            64 * u8::from(self.one_in(5))
        )
    }

    fn member(&mut self, guild: u64, n: u64) -> String {
        let user = self.user(guild + 1000 + n, n);
        let roles: Vec<_> = (0..self.rng.random_range(0..4))
            .map(|role| format!("\"{}\"", guild + 1 + role))
            .collect();
        let nick = match self.one_in(5) {
            true => format!("\"Nick {n}\""),
            false => "null".to_owned(),
        };
        format!(
            r#"{{"user":{user},"nick":{nick},"avatar":null,"banner":null,"roles":[{}],"joined_at":"2021-03-0{}T12:{:02}:00.{:06}+00:00","premium_since":null,"deaf":false,"mute":false,"pending":false,"flags":0,"communication_disabled_until":null}}"#,
            roles.join(","),
            n % 9 + 1,
            n % 60,
            self.rng.random_range(0..1_000_000)
        )
    }

    fn presence(&mut self, guild: u64, n: u64) -> String {
        let status = ["online", "idle", "dnd"][self.rng.random_range(0..3)];
        let game = match self.one_in(3) {
            true => format!(
                r#"{{"id":"custom","name":"Custom Status","type":4,"state":"doing {n} things","created_at":{}}}"#,
                1_700_000_000_000_u64 + n
            ),
            false => String::new(),
        };
        format!(
            r#"{{"user":{{"id":"{}"}},"guild_id":"{guild}","status":"{status}","client_status":{{"desktop":"{status}"}},"activities":[{game}]}}"#,
            guild + 1000 + n
        )
    }

    fn role(guild: u64, n: u64) -> String {
        format!(
            r#"{{"id":"{}","name":"role {n}","color":{},"colors":{{"primary_color":{},"secondary_color":null,"tertiary_color":null}},"hoist":false,"icon":null,"unicode_emoji":null,"position":{n},"permissions":"104324673","managed":false,"mentionable":false,"flags":0}}"#,
            guild + n,
            n * 1_234_567,
            n * 1_234_567
        )
    }

    fn channel(guild: u64, n: u64) -> String {
        format!(
            r#"{{"id":"{}","type":0,"name":"channel-{n}","position":{n},"permission_overwrites":[{{"id":"{guild}","type":0,"allow":"0","deny":"1024"}}],"parent_id":"{}","nsfw":false,"rate_limit_per_user":0,"flags":0,"last_message_id":"{}","topic":"what this channel is about, number {n}","last_pin_timestamp":null}}"#,
            guild + 100 + n,
            guild + 100,
            guild + 500_000 + n
        )
    }

    fn guild_create(&mut self, n: u64) -> String {
        let guild = guild_id(n);
        let mut all = String::new();
        let _ = write!(
            all,
            r#"{{"t":"GUILD_CREATE","s":1,"op":0,"d":{{"id":"{guild}","name":"guild {n}","owner_id":"{}","icon":"{:032x}","icon_hash":null,"splash":null,"discovery_splash":null,"banner":null,"description":null,"vanity_url_code":null,"home_header":null,"afk_channel_id":null,"afk_timeout":300,"widget_enabled":false,"widget_channel_id":null,"verification_level":1,"default_message_notifications":0,"explicit_content_filter":0,"mfa_level":0,"application_id":null,"system_channel_id":null,"system_channel_flags":0,"rules_channel_id":null,"public_updates_channel_id":null,"safety_alerts_channel_id":null,"max_presences":null,"max_members":500000,"max_video_channel_users":25,"max_stage_video_channel_users":50,"premium_tier":0,"premium_subscription_count":0,"premium_progress_bar_enabled":false,"preferred_locale":"en-US","nsfw":false,"nsfw_level":0,"hub_type":null,"region":"deprecated","features":["COMMUNITY","NEWS"],"incidents_data":null,"joined_at":"2021-01-01T00:00:00.000000+00:00","large":false,"unavailable":false,"member_count":{},"threads":[],"stage_instances":[],"guild_scheduled_events":[],"soundboard_sounds":[],"stickers":[]"#,
            guild + 1000,
            u128::from(guild),
            self.members
        );
        let members = self.members;
        let list = |name: &str, all: &mut String, items: Vec<String>| {
            let _ = write!(all, r#","{name}":[{}]"#, items.join(","));
        };
        list(
            "roles",
            &mut all,
            (0..12).map(|n| Self::role(guild, n)).collect(),
        );
        list(
            "channels",
            &mut all,
            (0..20).map(|n| Self::channel(guild, n)).collect(),
        );
        let emoji = |n: u64| {
            format!(
                r#"{{"id":"{}","name":"emoji{n}","roles":[],"require_colons":true,"managed":false,"animated":false,"available":true}}"#,
                guild + 300 + n
            )
        };
        list("emojis", &mut all, (0..10).map(emoji).collect());
        let everybody = (0..members).map(|n| self.member(guild, n)).collect();
        list("members", &mut all, everybody);
        let present = (0..members)
            .filter(|n| n % 3 != 0)
            .map(|n| self.presence(guild, n))
            .collect();
        list("presences", &mut all, present);
        list("voice_states", &mut all, Vec::new());
        all.push_str("}}");
        all
    }

    fn update(&mut self, guilds: u64) -> (&'static str, String) {
        let guild = guild_id(self.rng.random_range(0..guilds));
        let n = self.rng.random_range(0..self.members);
        let (kind, d) = match self.rng.random_range(0..10) {
            0..7 => ("PRESENCE_UPDATE", self.presence(guild, n)),
            7..9 => {
                let member = self.member(guild, n);
                (
                    "GUILD_MEMBER_UPDATE",
                    format!(r#"{{"guild_id":"{guild}",{}"#, &member[1..]),
                )
            }
            _ => {
                let channel = Self::channel(guild, n % 20);
                (
                    "CHANNEL_UPDATE",
                    format!(r#"{{"guild_id":"{guild}",{}"#, &channel[1..]),
                )
            }
        };
        (kind, format!(r#"{{"t":"{kind}","s":1,"op":0,"d":{d}}}"#))
    }
}
