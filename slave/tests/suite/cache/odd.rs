//! Values that no model knows: everything around them is kept, and losses are reported.

use std::time::Duration;

use baton_protocol::{Sequence, ShardId};
use baton_slave::{Event, cache::Cache};
use serde_json::{Value, json};

use crate::common::{FakeMaster, Recorder, config, discord, run, until};

use super::{apply, exported, payloads};

/// What may stand where something else is expected.
fn oddities() -> Vec<Value> {
    vec![
        json!(null),
        json!(0),
        json!(-1),
        json!(300),
        json!(1.5),
        json!(u64::MAX),
        json!("odd"),
        json!(""),
        json!("99999999999999999999"),
        json!("5000-13-41T25:61:61+00:00"),
        json!(true),
        json!([]),
        json!({}),
        json!([null, 7, "x", {"id": "1"}]),
        json!({"id": "1", "name": {"deep": [[]]}}),
    ]
}

#[test]
fn wherever_a_guild_has_an_odd_value_the_rest_of_it_is_kept_and_what_is_not_is_said() {
    let whole = payloads::full_guild(1000);
    let (mut tried, mut mended) = (0, 0);
    let (cache, moved) = (Cache::new(), Cache::new());
    for path in paths(&whole) {
        for odd in oddities() {
            let mut guild = whole.clone();
            *guild.pointer_mut(&path).unwrap() = odd.clone();
            let case = format!("{path} = {odd}");
            if path == "/id" {
                continue;
            }
            apply(&cache, "GUILD_DELETE", json!({"id": "1000"}));
            apply(&cache, "GUILD_CREATE", guild.clone());
            tried += 1;
            assert!(
                cache.export(ShardId(0)).contains(&1000),
                "{case}: is missing"
            );
            let incomplete = cache.incomplete(ShardId(0));
            if read(&guild) {
                assert_eq!(incomplete, [], "{case}: nothing is odd");
                continue;
            }
            mended += 1;
            assert_eq!(incomplete.len(), 1, "{case}: not said");
            moved.drop_shard(ShardId(0));
            let piece = cache.export_piece(1000).unwrap();
            moved.import_piece(ShardId(0), 1000, &piece).unwrap();
            assert_eq!(moved.incomplete(ShardId(0)), incomplete, "{case}");
            let kept = exported(&moved, 1000);
            // Nobody can be made the owner.
            if path == "/owner_id" {
                assert_eq!(kept["unavailable"], true, "{case}");
                continue;
            }
            same_but(&path, &whole, &kept, &case);
        }
    }
    eprintln!("{tried} odd values, {mended} of them unreadable");
    assert!(mended > 500);
}

#[test]
fn wherever_an_event_has_an_odd_value_it_is_taken_in_without_it_or_said_to_be_missing() {
    let events = [
        ("GUILD_MEMBER_ADD", with_guild(super::member(7))),
        ("GUILD_MEMBER_UPDATE", with_guild(super::member(5))),
        ("CHANNEL_UPDATE", payloads::channel(1000, 0)),
        ("THREAD_CREATE", payloads::thread(1000, 3, false)),
        ("PRESENCE_UPDATE", payloads::presence(1000, 5, "idle")),
        ("VOICE_STATE_UPDATE", payloads::voice(1000, 5, Some(1001))),
        ("STAGE_INSTANCE_UPDATE", payloads::stage_instance(1000, "x")),
        (
            "GUILD_SCHEDULED_EVENT_UPDATE",
            payloads::scheduled(1000, "wedding"),
        ),
        (
            "GUILD_EMOJIS_UPDATE",
            json!({"guild_id": "1000", "emojis": [payloads::emoji(1000, 0, 5)]}),
        ),
        (
            "GUILD_STICKERS_UPDATE",
            json!({"guild_id": "1000", "stickers": [payloads::sticker(1000, 0, 5)]}),
        ),
    ];
    let cache = Cache::new();
    for (kind, whole) in events {
        for path in paths(&whole) {
            for odd in oddities() {
                if path == "/guild_id" {
                    continue;
                }
                let mut d = whole.clone();
                *d.pointer_mut(&path).unwrap() = odd.clone();
                apply(&cache, "GUILD_CREATE", payloads::full_guild(1000));
                apply(&cache, kind, d.clone());
                let said = !cache.incomplete(ShardId(0)).is_empty();
                let json = json!({"t": kind, "s": 2, "op": 0, "d": d}).to_string();
                let event = Event::for_test(ShardId(0), Sequence(2), kind, &json);
                assert_eq!(said, event.parse().is_err(), "{kind}{path} = {odd}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discord_of_which_every_guild_is_odd_is_cached_and_what_is_not_is_said() {
    let discord = discord(|config| {
        config.guilds_per_shard = 40;
        config.odd_every = 1;
    })
    .await;
    let master = FakeMaster::new(1).await;
    let slave = run(config(&master, &discord), Recorder::with_cache());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    let cache = slave.bot.cache.as_ref().unwrap();
    until("every guild", || cache.export(ShardId(0)).len() == 41).await;
    let guilds = cache.inner().stats().guilds();
    until("their content", || cache.inner().stats().guilds() == 40).await;
    let incomplete = cache.incomplete(ShardId(0));
    assert!(
        (5..40).contains(&incomplete.len()),
        "{guilds}: {incomplete:?}"
    );
    crate::common::traffic(&discord, 1000.0);
    until("traffic", || slave.bot.told.lock().unwrap().len() > 1000).await;
    assert!(!cache.incomplete(ShardId(0)).is_empty());
}

#[test]
fn a_guild_told_anew_is_whole_again_and_one_that_is_left_says_nothing_more() {
    let cache = Cache::new();
    let mut odd = payloads::full_guild(1000);
    odd["roles"][0]["permissions"] = json!({});
    apply(&cache, "GUILD_CREATE", odd.clone());
    assert_eq!(
        cache.incomplete(ShardId(0)),
        [(1000, vec!["GUILD_CREATE roles.permissions".to_owned()])]
    );
    apply(&cache, "GUILD_CREATE", payloads::full_guild(1000));
    assert_eq!(cache.incomplete(ShardId(0)), []);
    apply(&cache, "GUILD_CREATE", odd);
    apply(&cache, "GUILD_DELETE", json!({"id": "1000"}));
    assert_eq!(cache.incomplete(ShardId(0)), []);
}

#[test]
fn unknown_fields_and_values_nulls_and_doubled_members_are_no_reason_to_lose_anything() {
    let cache = Cache::new();
    let mut guild = payloads::full_guild(1000);
    guild["a_field_of_next_year"] = json!({"deep": [1, 2]});
    guild["members"][0]["user"]["collectibles"] = json!({"nameplate": null});
    guild["nsfw_level"] = json!(99);
    guild["channels"][0]["type"] = json!(98);
    guild["features"] = json!(["NEXT_YEARS_FEATURE"]);
    guild["icon"] = Value::Null;
    let twice = guild["members"][1].clone();
    guild["members"].as_array_mut().unwrap().push(twice);
    apply(&cache, "GUILD_CREATE", guild);
    assert_eq!(cache.incomplete(ShardId(0)), []);
    let kept = exported(&cache, 1000);
    assert_eq!(super::members(&cache, 1000), [5, 6]);
    assert_eq!(kept["member_count"], 2);
    assert_eq!(kept["channels"][0]["type"], 98);
    assert_eq!(kept["features"], json!(["NEXT_YEARS_FEATURE"]));
}

#[test]
fn fields_that_come_twice_and_halves_of_surrogate_pairs_are_read() {
    let cache = Cache::new();
    let whole = payloads::full_guild(1000).to_string();
    let odd = whole
        .replacen("\"name\":\"talk\"", "\"name\":\"talk \\ud83d\"", 1)
        .replacen('{', "{\"large\":false,", 1);
    let json = format!(r#"{{"t":"GUILD_CREATE","s":2,"op":0,"d":{odd}}}"#);
    let event = Event::for_test(ShardId(0), Sequence(2), "GUILD_CREATE", &json);
    assert!(event.parse().is_err());
    cache.apply(&event);
    let kept = exported(&cache, 1000);
    assert_eq!(kept["channels"][0]["name"], "talk \u{fffd}");
    assert_eq!(kept["members"].as_array().unwrap().len(), 2);
}

#[test]
fn a_guild_of_which_every_member_is_odd_takes_time_in_proportion() {
    let quickest = |members: u64| {
        let mut guild = super::guild(1000, &[]);
        let odd = |id| {
            let mut member = super::member(id);
            member["user"]["avatar"] = json!("not a hash");
            member
        };
        guild["members"] = (1..=members).map(odd).collect();
        let once = || {
            let cache = Cache::new();
            // Of this thread alone: what else runs on the host does not count.
            let began = worked();
            apply(&cache, "GUILD_CREATE", guild.clone());
            let took = worked() - began;
            assert_eq!(super::members(&cache, 1000).len() as u64, members);
            took
        };
        (0..5).map(|_| once()).min().unwrap()
    };
    let (few, many) = (quickest(625), quickest(5000));
    eprintln!("625 odd members: {few:?}, 5000 odd members: {many:?}");
    assert!(many < few * 32, "{few:?} became {many:?}");
}

/// How long a processor worked for this thread.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

fn with_guild(mut d: Value) -> Value {
    d["guild_id"] = json!("1000");
    d
}

fn read(guild: &Value) -> bool {
    let json = json!({"t": "GUILD_CREATE", "s": 2, "op": 0, "d": guild}).to_string();
    let event = Event::for_test(ShardId(0), Sequence(2), "GUILD_CREATE", &json);
    event.parse().is_ok()
}

/// Every place in a value, as a JSON pointer, without the root.
fn paths(value: &Value) -> Vec<String> {
    fn walk(value: &Value, here: &str, all: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(n, v)| (n.clone(), v)).collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(n, v)| (n.to_string(), v))
                .collect(),
            _ => return,
        };
        for (name, child) in children {
            let path = format!("{here}/{name}");
            all.push(path.clone());
            walk(child, &path, all);
        }
    }
    let mut all = Vec::new();
    walk(value, "", &mut all);
    all
}

/// Every other field of the guild, and every other element of the list that has
/// the odd value, is as it was.
fn same_but(path: &str, whole: &Value, kept: &Value, case: &str) {
    let mut steps = path.split('/').skip(1);
    let (field, element) = (steps.next().unwrap(), steps.next());
    for (name, value) in whole.as_object().unwrap() {
        // A member who is gone takes along what only a member has.
        let follows = field == "members" && matches!(name.as_str(), "emojis" | "stickers");
        if name == field || follows {
            continue;
        }
        assert_eq!(payloads::lacks(value, &kept[name], name), None, "{case}");
    }
    let (Some(list), Some(nth)) = (whole[field].as_array(), element) else {
        return;
    };
    let nth: usize = nth.parse().unwrap();
    for (at, one) in list.iter().enumerate().filter(|(at, _)| *at != nth) {
        let there = kept[field].as_array().unwrap();
        assert!(
            there.iter().any(|k| payloads::lacks(one, k, "").is_none()),
            "{case}: {field} {at}"
        );
    }
}
