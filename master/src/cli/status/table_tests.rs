#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

#[test]
fn a_thousand_shards_that_serve_are_one_line() {
    let shards: Vec<Value> = (0..1024)
        .map(|n| shard(n, "serving", "aaaaaaaabbbb"))
        .collect();
    let lines = table(&fleet(shards), Paint::Plain, 80, Wrong::Last);
    assert!(lines.len() < 12, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.ends_with("0-1023")),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("1024 of 1024 shards serving"))
    );
}

#[test]
fn other_hosts_have_a_line_each_and_a_slave_is_named_with_its_host() {
    let mut fleet = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    let without = table(&fleet, Paint::Plain, 100, Wrong::Last).join("\n");
    assert!(!without.contains("hosts"), "{without}");
    fleet["hosts"] = json!([
        {"host": "east", "connected": true, "since_ms": 5000, "program": "0.1.0", "slaves": 2,
         "slaves_away": 0},
        {"host": "west", "connected": false, "since_ms": 60_000, "slaves": 2, "slaves_away": 1},
        {"host": "north", "connected": false, "slaves": 0, "slaves_away": 0},
    ]);
    let slot = fleet["slots"][0]["name"].as_str().unwrap().to_owned();
    fleet["slots"][0]["cannot_start"] = "its agent is away".into();
    fleet["slaves"] = json!([{"slave": "aaaaaaaabbbb", "slot": slot, "host": "east"}]);
    let text = table(&fleet, Paint::Plain, 120, Wrong::Last).join("\n");
    for part in [
        "hosts      east: agent 0.1.0 connected for 5",
        "           west: its agent has been away for",
        "1 of 2 slaves not connected",
        "           north: no agent of it came yet",
        &format!("slot {slot}: its agent is away"),
        &format!("{slot}@east"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_slot_with_a_lease_says_so_and_what_is_left_of_it_while_its_slave_is_silent() {
    let mut fleet = fleet(vec![shard(0, "unreachable", "aaaaaaaabbbb")]);
    let slot = fleet["slots"][0]["name"].as_str().unwrap().to_owned();
    let shown = |fleet: &Value| table(fleet, Paint::Plain, 120, Wrong::Last).join("\n");
    fleet["slaves"] = json!([{"slave": "aaaaaaaabbbb", "slot": slot, "shards": 1, "connected": true,
        "lease_ms": 30_000, "lease_left_ms": 34_000}]);
    assert!(!shown(&fleet).contains("lease"), "it has none");
    fleet["slots"][0]["lease_ms"] = 30_000.into();
    let well = shown(&fleet);
    let says = format!("slot {slot}: lease of 30 s");
    assert!(well.contains(&says) && !well.contains("silent"), "{well}");
    fleet["slaves"][0]["connected"] = false.into();
    fleet["slaves"][0]["lease_left_ms"] = 12_000.into();
    let silent = shown(&fleet);
    for part in [
        "unreachable, lease 12 s",
        "slave aaaaaaaa is silent: if it stays so for 12 s still, its shards go on elsewhere",
    ] {
        assert!(silent.contains(part), "{part}: {silent}");
    }
    fleet["slaves"][0]["lease_left_ms"] = Value::Null;
    let refuses = shown(&fleet);
    assert!(
        refuses.contains("keeps no lease") && refuses.contains("baton-master fence"),
        "{refuses}"
    );
}

#[test]
fn masters_that_share_a_store_have_a_line_and_what_they_lack() {
    let mut fleet = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    let shown = |fleet: &Value| table(fleet, Paint::Plain, 120, Wrong::Last).join("\n");
    assert!(!shown(&fleet).contains("masters"), "there is one");
    fleet["leadership"] = json!({"leads": true, "host": "master-1", "store": "nats://store-1",
        "standbys": [{"host": "master-2"}, {"host": "master-3"}]});
    let well = shown(&fleet);
    let line = "masters    master-1 leads; 2 standby masters: master-2, master-3";
    assert!(well.contains(line) && !well.contains("nats://"), "{well}");
    fleet["leadership"]["standbys"] = json!([]);
    fleet["leadership"]["store_away_ms"] = 12_000.into();
    let alone = shown(&fleet);
    for part in [
        "master-1 leads; no standby master",
        "the store has not answered for 12 s",
        "nats://store-1",
    ] {
        assert!(alone.contains(part), "{part}: {alone}");
    }
}

#[test]
fn each_shard_that_does_not_serve_has_a_line() {
    let mut shards: Vec<Value> = (0..1024)
        .map(|n| shard(n, "serving", "aaaaaaaabbbb"))
        .collect();
    shards[7] = shard(7, "resuming", "aaaaaaaabbbb");
    shards[9]["state"] = "idle".into();
    shards[9]["owner"] = Value::Null;
    let lines = table(&fleet(shards), Paint::Plain, 100, Wrong::Last);
    let text = lines.join("\n");
    assert!(
        text.contains("1022 of 1024 shards serving, 1 idle, 1 resuming"),
        "{text}"
    );
    assert!(text.contains("0-6, 8, 10-1023"), "{text}");
    assert!(
        text.contains("  shard 7 is resuming at aaaaaaaa: epoch 3, handled 10"),
        "{text}"
    );
    assert!(text.contains("  shard 9 is idle: epoch 3"), "{text}");
    for state in ["resuming", "idle"] {
        assert!(lines.iter().any(|line| line.starts_with(state)), "{text}");
    }
}

#[test]
fn a_cold_start_of_many_shards_does_not_fill_the_screen() {
    let shards = (0..1024).map(|n| {
        shard(
            n,
            if n % 2 == 0 { "serving" } else { "starting" },
            "aaaaaaaabbbb",
        )
    });
    let lines = table(&fleet(shards.collect()), Paint::Plain, 100, Wrong::Last);
    assert!(lines.len() < 14, "{lines:#?}");
    let longest = lines.iter().map(String::len).max().unwrap_or(0);
    assert!(longest <= 100, "{lines:#?}");
}

#[test]
fn clients_are_a_few_lines_of_eighty_columns_where_a_slave_serves_some() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    let without = table(&status, Paint::Plain, 80, Wrong::Last);
    assert!(!without.join("\n").contains("clients"), "{without:#?}");
    status["slaves"][0]["clients"] = json!({
        "address": "127.0.0.1:7878", "listening": true, "passed": true, "attended": 15, "unattended": 1,
        "libraries": [{"name": "discord.py", "clients": 12}, {"name": "hikari", "clients": 3}],
        "absent": [{"shard": 3, "away_ms": 240_000, "waiting": 812}],
        "kept_bytes": 3_355_443, "kept_limit": 1_u64 << 30,
        "fullest_shard": 3, "fullest_bytes": 8_000_000, "shard_limit": 16 << 20,
        "resumes": 2, "lost": 5,
        "waiting": [
            {"shard": 3, "events": 812, "bytes": 8_000_000, "oldest_ms": 240_000, "full_ms": null, "gives_up_ms": 360_000},
            {"shard": 4, "events": 2, "bytes": 900, "oldest_ms": 900, "full_ms": null, "gives_up_ms": null},
        ],
        "given_up": [{"shard": 7, "reason": "no client came", "events": 5, "bytes": 90, "ago_ms": 60_000}],
        "refused": [
            {"code": 4014, "count": 3, "reason": "disallowed intents: 2", "ago_ms": 1000},
            {"code": 4004, "count": 1, "reason": "long ago", "ago_ms": 700_000},
        ],
    });
    let lines = table(&status, Paint::Plain, 80, Wrong::Last);
    let at = lines
        .iter()
        .position(|line| line.starts_with("clients"))
        .unwrap();
    assert_eq!(
        lines[at..at + 8],
        [
            "clients    15 of 16 shards attended; 12 discord.py, 3 hikari; 127.0.0.1:7878",
            "           3.1 MiB of 1.0 GiB kept, shard 3 has 47 % of its own; 2 resumes",
            "           5 events lost: no client took them",
            "           shard 3 has had no client for 4 min, 812 events wait",
            "           shard 3 keeps 812 events (7.6 MiB) for 4 min; given up in 6 min",
            "           5 events of shard 7 given up 60 s ago: no client came",
            "           refused 3 times with 4014: disallowed intents: 2",
            "",
        ]
    );
    status["slaves"][0]["clients"]["passed"] = false.into();
    let lines = table(&status, Paint::Plain, 80, Wrong::Last).join("\n");
    assert!(lines.contains("the socket is this slave's own"), "{lines}");
}

#[test]
fn a_broker_is_a_few_lines_where_a_slave_publishes_to_one() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    let without = table(&status, Paint::Plain, 80, Wrong::Last);
    assert!(!without.join("\n").contains("sink"), "{without:#?}");
    status["slaves"][0]["sink"] = json!({
        "broker": "nats://10.0.0.7:4222", "confirmed": 81_234, "repeats": 1, "retries": 12,
        "waiting": 256, "confirm_p50_us": 1_250, "confirm_p99_us": 18_900,
        "refused": 3, "reason": "maximum bytes exceeded",
        "troubled_ms": 70_000, "covered_ms": 240_000,
    });
    let lines = table(&status, Paint::Plain, 80, Wrong::Last);
    let at = lines
        .iter()
        .position(|line| line.starts_with("sink"))
        .unwrap();
    assert_eq!(
        lines[at..at + 2],
        [
            "sink       nats://10.0.0.7:4222; 81234 confirms, 256 events waiting",
            "           confirm p50 1.2 ms, p99 18.9 ms; 12 published again, 1 repeat",
        ]
    );
    let lasts = "           it has taken nothing for 70 s, since ";
    assert!(lines[at + 2].starts_with(lasts), "{lines:#?}");
    assert_eq!(
        lines[at + 3..at + 5],
        [
            "           maximum bytes exceeded",
            "           Discord keeps all of them for another 4 min",
        ]
    );
    status["slaves"][0]["sink"]["covered_ms"] = 0.into();
    let lines = table(&status, Paint::Plain, 80, Wrong::Last);
    assert!(lines[at + 4].ends_with("any more"), "{lines:#?}");
}

#[test]
fn a_slave_that_cannot_be_reached_comes_with_what_to_do() {
    let mut status = fleet(vec![shard(0, "unreachable", "aaaaaaaabbbb")]);
    status["slaves"][0]["connected"] = false.into();
    let text = table(&status, Paint::Plain, 100, Wrong::Last).join("\n");
    assert!(text.contains("baton-master fence aaaaaaaa"), "{text}");
}

#[test]
fn the_last_deploy_is_told_with_its_gap() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    status["last_deploy"] = json!({
        "deploy": 4, "slot": "main", "outcome": "done", "text": "done", "moved": 64,
        "migrating_ms": 830, "total_ms": 12_000, "ended_ms_ago": 180_000,
        "gap": {"p50_ms": 12, "p99_ms": 40, "max_ms": 55},
    });
    let text = table(&status, Paint::Plain, 100, Wrong::Last).join("\n");
    assert!(
        text.contains("last deploy 4 of slot main, 3 min ago at ") && text.contains("Z: done"),
        "{text}"
    );
    assert!(text.contains("64 shards at the new build in 830 ms; gap of a shard p50 12 ms, p99 40 ms, at most 55 ms"), "{text}");
}

#[test]
fn too_few_identifies_for_the_fleet_are_said() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    status["shard_count"] = 64.into();
    status["identifies_left"] = 20.into();
    status["identifies_reset_ms"] = 3_600_000.into();
    let text = table(&status, Paint::Plain, 100, Wrong::Last).join("\n");
    assert!(
        text.contains("20 left, reset in 60 min; 64 shards could not start a new session"),
        "{text}"
    );
}

#[test]
fn the_tightest_replay_budget_is_told() {
    let mut shards = vec![
        shard(0, "serving", "aaaaaaaabbbb"),
        shard(1, "serving", "aaaaaaaabbbb"),
    ];
    shards[0]["replay_budget_seconds"] = 90.into();
    shards[0]["events_per_1000_s"] = 11_111.into();
    shards[1]["replay_budget_seconds"] = 40.into();
    shards[1]["events_per_1000_s"] = 25_000.into();
    let text = table(&fleet(shards), Paint::Plain, 100, Wrong::Last).join("\n");
    assert!(
        text.contains("40 s at least: shard 1 gets 25.0 events/s"),
        "{text}"
    );
}

#[test]
fn a_status_with_nothing_in_it_is_still_a_table() {
    assert!(table(&json!({}), Paint::Plain, 80, Wrong::Last).len() > 3);
}

fn shard(number: u64, state: &str, owner: &str) -> Value {
    json!({"shard": number, "state": state, "owner": owner, "epoch": 3, "handled": 10})
}

fn fleet(shards: Vec<Value>) -> Value {
    json!({
        "master": {"version": "0.1.0", "pid": 7, "term": {"counter": 2}, "uptime_ms": 8_000},
        "slots": [{"name": "main", "slave": "aaaaaaaabbbb", "failed_launches": 0}],
        "slaves": [{
            "slave": "aaaaaaaabbbb", "slot": "main", "build": "v1", "pid": 9, "role": "owner",
            "connected": true, "shards": shards.len(), "finished": 1000, "failed": 1,
            "full_percent": 0,
        }],
        "shard_count": shards.len(),
        "shards": shards,
    })
}

#[test]
fn an_empty_slot_says_why_its_last_slave_ended() {
    let mut status = fleet(Vec::new());
    status["slots"] = json!([{"name": "main", "slave": null, "failed_launches": 4}]);
    status["deaths"] = json!([
        {"slot": "other", "ending": "exit code 0", "last_lines": ["not this one"]},
        {"slot": "main", "ending": "exit code 1", "lived_ms": 200, "pid": 7,
         "last_lines": ["starting", "DISCORD_TOKEN is not set"]},
    ]);
    let text = table(&status, Paint::Plain, 100, Wrong::Last).join("\n");
    for part in [
        "slot main is empty: 4 starts failed in a row",
        "ago at 1970-01-01T00:00:00Z (build -, pid 7): exit code 1, after 200 ms",
        "    | DISCORD_TOKEN is not set",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("not this one"), "{text}");
}

#[test]
fn a_slave_that_is_dead_by_a_word_alone_is_said_to_be_and_its_last_words_are_not_known() {
    let mut status = fleet(Vec::new());
    status["slots"] = json!([{"name": "main", "slave": null, "failed_launches": 0}]);
    status["deaths"] = json!([{"slot": "main", "evidence": "operator", "pid": 7, "build": "v1",
        "ending": "the operator said that it is dead", "last_lines": []}]);
    let text = table(&status, Paint::Plain, 200, Wrong::Last).join("\n");
    let said = "(build v1, pid 7): the operator said that it is dead (its process may live)";
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("standard error"), "{text}");
}

#[test]
fn a_slot_whose_slaves_die_again_and_again_says_it_while_one_serves() {
    let mut status = fleet(Vec::new());
    status["slots"] = json!([{"name": "main", "slave": "aaaaaaaabbbb"}]);
    let lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
    status["deaths"] = json!([{"slot": "main", "ending": "killed by signal 9", "build": "v1",
        "last_lines": lines}]);
    status["died_last_hour"] = json!({"main": 3});
    let text = table(&status, Paint::Plain, 100, Wrong::Last).join("\n");
    for part in [
        "slot main: 3 slaves ended in the last hour",
        "killed by signal 9",
        "| line 19",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("line 10"), "{text}");
    status["died_last_hour"] = json!({});
    assert!(
        !table(&status, Paint::Plain, 100, Wrong::Last)
            .join("\n")
            .contains("signal 9")
    );
}

/// A fleet in the middle of a deploy.
fn moving(step: &str) -> Value {
    let mut shards: Vec<Value> = (0..64)
        .map(|n| shard(n, "serving", "aaaaaaaabbbb"))
        .collect();
    shards[60]["state"] = "copying".into();
    shards[61]["state"] = "dialling".into();
    shards[62]["state"] = "resuming".into();
    let mut status = fleet(shards);
    status["deploy"] = json!({"deploy": 3, "slot": "main", "step": step, "moved": 16, "total": 64,
        "soak_ms": 10_000, "soak_asked_ms": 10_000});
    status["underway"] = json!({"from": "v1", "to": "v2", "took_ms": 9_000, "handed_over": 16,
        "migrates_us": [1_000_000, 3_000_000], "steps": [{"at_ms": 5_000, "step": "soaking"}]});
    status
}

#[test]
fn a_deploy_says_what_goes_where_and_how_long_still_and_what_is_copied_is_served() {
    let lines = table(&moving("moving"), Paint::Plain, 1000, Wrong::Last).join("\n");
    for part in [
        "63 of 64 shards serving (2 about to move), 1 resuming",
        "deploy 3 of slot main: moving, v1 -> v2, 16 of 64 shards at the new build, about 6.0 s still",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let lines = table(&moving("soaking"), Paint::Plain, 1000, Wrong::Last).join("\n");
    assert!(
        lines.contains("the old slave stays ready for 6.0 s still"),
        "{lines}"
    );
}

#[test]
fn a_cold_start_says_how_long_still() {
    let mut status = fleet(
        (0..8)
            .map(|n| shard(n, "starting", "aaaaaaaabbbb"))
            .collect(),
    );
    status["identify_every_ms"] = 5250.into();
    let lines = table(&status, Paint::Plain, 1000, Wrong::Last).join("\n");
    assert!(
        lines.contains("8 shards with a new session, one every 5.2 s: about 42 s still"),
        "{lines}"
    );
}

#[test]
fn everything_fits_into_80_columns_and_what_is_wrong_is_seen_first() {
    let mut status = moving("moving");
    let trouble = "Discord refuses the token (close code 4004; Discord closed with 4004: \
                   Authentication failed.); it waits for another build";
    status["shards"][63]["state"] = "failed".into();
    status["shards"][63]["reason"] = trouble.into();
    status["slaves"] = json!([{"slave": "aaaaaaaabbbb", "slot": "a-long-slot", "pid": 4_194_304,
        "build": "a-build-with-a-long-name-2026-01-02", "role": "candidate", "shards": 1024,
        "connected": true, "hangs": true, "answered_ms_ago": 17_000, "lag_ms": 119_000,
        "full_percent": 100, "finished": 1000, "failed": 1000}]);
    status["slots"] = json!([{"name": "a-long-slot", "slave": "aaaaaaaabbbb"}]);
    let lines = table(&status, Paint::Plain, 80, Wrong::First);
    let long: Vec<_> = lines
        .iter()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(at("shard 63 failed") < at("SLAVE"), "{lines:#?}");
    assert!(at("silent for 17 s") > 0);
    let lines = table(&status, Paint::Plain, 80, Wrong::Last);
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(at("shard 63 failed") > at("SLAVE"), "{lines:#?}");
}

#[test]
fn the_memory_of_each_slave_is_shown_and_a_limit_that_it_is_above() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    let shown = |status: &Value| table(status, Paint::Plain, 200, Wrong::Last).join("\n");
    status["slaves"][0]["memory"] = json!({ "resident": 300 << 20, "limit": 512 << 20 });
    let well = shown(&status);
    assert!(
        well.contains("MEMORY") && well.contains("300 MiB "),
        "{well}"
    );
    assert!(!well.contains("512 MiB"), "{well}");
    status["slaves"][0]["memory"] =
        json!({ "resident": 600 << 20, "limit": 512 << 20, "is_above": true });
    assert!(shown(&status).contains("600 MiB of 512 MiB"));
}

#[test]
fn a_fleet_whose_service_replays_nothing_hears_nothing_of_identifys_and_replays() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    status["shards"][0]["replay_budget_seconds"] = 400.into();
    let shown = |status: &Value| table(status, Paint::Plain, 200, Wrong::Last).join("\n");
    let of_discord = shown(&status);
    assert!(of_discord.contains("IDENTIFY") && of_discord.contains("replay"));
    status["overlaps"] = true.into();
    let of_twitch = shown(&status);
    assert!(!of_twitch.contains("IDENTIFY") && !of_twitch.contains("replay"));
}

#[test]
fn the_store_of_who_fills_a_slot_is_said_with_its_room_and_who_waits_for_some() {
    let mut status = fleet(vec![shard(0, "serving", "aaaaaaaabbbb")]);
    status["slaves"][0]["store"] = json!({"bytes": 220 << 20, "fullest_used": 60 << 20,
        "limit": 100 << 20, "free": 3_u64 << 30, "held_up": 0});
    let shown = |status: &Value| table(status, Paint::Plain, 200, Wrong::Last).join("\n");
    let said = "slot main: store of 220 MiB, 60.0 MiB in the fullest shard (60 % of its limit), \
                3.0 GiB free";
    assert!(shown(&status).contains(said), "{}", shown(&status));
    assert!(!shown(&status).contains("held up"));
    status["slaves"][0]["store"]["held_up"] = 2.into();
    let held_up = shown(&status);
    assert!(held_up.contains("; 2 shards held up"), "{held_up}");
}
