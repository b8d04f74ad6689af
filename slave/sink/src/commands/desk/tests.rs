use super::*;
use crate::commands::Wishes;

const SHARDS: u32 = 4;
const S: Duration = Duration::from_secs(1);

/// A guild of shard 3.
fn guild(number: u64) -> u64 {
    (number * u64::from(SHARDS) + 3) << 22
}

fn desk() -> Desk<u32> {
    Desk::new(ShardId(3), CommandsConfig::default(), Stands::default())
}

fn taken(letter: u32, payload: &str) -> Taken<u32> {
    Taken {
        letter,
        id: Some(letter.to_string()),
        is_named: false,
        is_again: false,
        age: Duration::ZERO,
        payload: payload.to_owned().into(),
        wishes: Wishes::default(),
    }
}

fn all_of(letter: u32, number: u64) -> Taken<u32> {
    let guild = guild(number);
    let d = format!(r#"{{"guild_id":"{guild}","query":"","limit":0,"nonce":"n"}}"#);
    taken(letter, &format!(r#"{{"op":8,"d":{d}}}"#))
}

fn joins(letter: u32, number: u64) -> Taken<u32> {
    let guild = guild(number);
    taken(
        letter,
        &format!(r#"{{"op":4,"d":{{"guild_id":"{guild}","channel_id":null}}}}"#),
    )
}

/// What it says of one that is not taken.
fn refusal(desk: &mut Desk<u32>, taken: Taken<u32>, now: Instant) -> String {
    match desk.take(taken, SHARDS, now).map(|settled| settled.verdict) {
        Some(Verdict::Refused(reason)) => reason,
        Some(Verdict::Written | Verdict::Told(_)) | None => "taken".to_owned(),
    }
}

fn letters(desk: &mut Desk<u32>, now: Instant) -> Vec<u32> {
    let next = std::iter::from_fn(|| {
        let held = desk.next(now, true, SHARDS)?;
        let letter = held.letter;
        desk.wrote(held, true, now);
        Some(letter)
    });
    next.collect()
}

#[test]
fn commands_are_written_in_the_order_in_which_they_came_as_they_came() {
    let (mut desk, now) = (desk(), Instant::now());
    for letter in 1..=16 {
        assert!(desk.has_room());
        assert!(desk.take(joins(letter, 1), SHARDS, now).is_none());
    }
    assert!(!desk.has_room());
    let first = desk.next(now, true, SHARDS).unwrap();
    assert_eq!(first.json.as_bytes(), &joins(1, 1).payload[..]);
    desk.put_back(first);
    let all: Vec<u32> = (1..=16).collect();
    assert_eq!(letters(&mut desk, now), all);
}

#[test]
fn what_cannot_be_written_is_refused_with_a_reason_that_says_what_to_do() {
    let (mut desk, now) = (desk(), Instant::now());
    let of = |payload: &str| taken(1, payload);
    let elsewhere = format!(r#"{{"op":43,"d":{{"guild_id":{}}}}}"#, 1 << 22);
    let large = format!(r#"{{"op":3,"d":{{"status":"{}"}}}}"#, "x".repeat(4096));
    let mut old = joins(1, 1);
    old.age = 30 * S;
    let mut version = joins(1, 1);
    version.wishes.version = Some("2".to_owned());
    let mut ttl = joins(1, 1);
    ttl.wishes.ttl = Some("600001".to_owned());
    for (taken, why) in [
        (of("nonsense"), "no payload of the gateway"),
        (of(r#"{"op":2,"d":{}}"#), "op 2 is no command"),
        (of(r#"{"op":4,"d":{}}"#), "guild_id"),
        (
            of(&elsewhere),
            "is of shard 1, and this is the queue of shard 3",
        ),
        (of(&large), "at most 4096"),
        (old, "within its 30s"),
        (
            version,
            "baton-command is 2, and this publisher knows version 1",
        ),
        (ttl, "baton-ttl"),
    ] {
        let reason = refusal(&mut desk, taken, now);
        assert!(reason.contains(why), "{reason}");
    }
    let mut fits = joins(1, 1);
    fits.wishes.version = Some("1".to_owned());
    assert_eq!(refusal(&mut desk, fits, now), "taken");
}

#[test]
fn a_command_that_is_not_written_in_its_time_is_refused() {
    let (mut desk, now) = (desk(), Instant::now());
    let mut short = joins(2, 1);
    short.wishes.ttl = Some("5000".to_owned());
    short.age = 2 * S;
    assert!(desk.take(joins(1, 1), SHARDS, now).is_none());
    assert!(desk.take(short, SHARDS, now).is_none());
    assert_eq!(desk.due(), Some(now + 3 * S));
    assert!(desk.refused(now + 2 * S).is_empty());
    let refused = desk.refused(now + 3 * S);
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].letter, desk.due()), (2, Some(now + 30 * S)));
    assert!(matches!(&refused[0].verdict, Verdict::Refused(why) if why.contains("5s")));
}

#[test]
fn all_members_of_a_guild_are_asked_for_once_in_30_s_and_others_do_not_wait_for_it() {
    let (mut desk, now) = (desk(), Instant::now());
    assert!(desk.take(all_of(1, 1), SHARDS, now).is_none());
    assert_eq!(letters(&mut desk, now), [1]);
    // It would be too old when it may be written.
    let reason = refusal(&mut desk, all_of(2, 1), now + 10 * S - S);
    assert_eq!(reason, "taken");
    let reason = refusal(&mut desk, all_of(3, 1), now - S);
    assert!(
        reason.contains("ask again in 31 s") || reason.contains("ask again in"),
        "{reason}"
    );
    assert!(desk.take(all_of(4, 2), SHARDS, now + 9 * S).is_none());
    assert!(desk.take(joins(5, 1), SHARDS, now + 9 * S).is_none());
    assert_eq!(letters(&mut desk, now + 9 * S), [4, 5]);
    assert_eq!(desk.due(), Some(now + 30 * S));
    assert!(letters(&mut desk, now + 29 * S).is_empty());
    assert_eq!(letters(&mut desk, now + 30 * S), [2]);
}

#[test]
fn of_two_that_ask_for_all_members_at_once_the_second_is_told_when_to_ask_again() {
    let (mut desk, now) = (desk(), Instant::now());
    assert!(desk.take(all_of(1, 1), SHARDS, now).is_none());
    assert!(desk.take(all_of(2, 1), SHARDS, now).is_none());
    let first = desk.next(now + S, true, SHARDS).unwrap();
    let (_, goes_along) = desk.wrote(first, true, now + S);
    assert!(goes_along);
    let refused = desk.refused(now + S);
    assert_eq!(refused.len(), 1);
    assert!(
        matches!(&refused[0].verdict, Verdict::Refused(why) if why.contains("ask again in 31 s")),
        "{refused:?}"
    );
}

#[test]
fn the_next_owner_keeps_the_rule_and_writes_nothing_again() {
    let (mut old, now) = (desk(), Instant::now());
    let unix = 1_700_000_000_000;
    assert!(old.take(all_of(1, 1), SHARDS, now).is_none());
    assert!(old.take(joins(2, 1), SHARDS, now).is_none());
    assert!(old.take(joins(3, 1), SHARDS, now).is_none());
    let first = old.next(now, true, SHARDS).unwrap();
    old.wrote(first, true, now);
    let second = old.next(now, true, SHARDS).unwrap();
    old.wrote(second, true, now);
    // The broker has heard of one of them.
    old.is_settled("1", Keep::Nothing, now);
    assert_eq!(old.give_back(), [3]);
    let along = old.along(now + 5 * S, unix + 5000);

    let mut new = desk();
    let now = Instant::now() + 10 * S;
    new.goes_on_from(along, now, unix + 10_000);
    let again = |mut taken: Taken<u32>| {
        taken.is_again = true;
        taken
    };
    let settled = new.take(again(joins(2, 1)), SHARDS, now).unwrap();
    assert_eq!((settled.letter, settled.verdict), (2, Verdict::Written));
    assert!(new.take(again(joins(3, 1)), SHARDS, now).is_none());
    assert_eq!(letters(&mut new, now), [3]);
    let mut patient = all_of(4, 1);
    patient.wishes.ttl = Some("60000".to_owned());
    assert!(new.take(patient, SHARDS, now).is_none());
    assert!(letters(&mut new, now + 19 * S).is_empty());
    assert_eq!(letters(&mut new, now + 20 * S), [4]);
}

#[test]
fn a_worker_that_starts_is_answered_when_its_shard_serves_and_what_it_wants_stands() {
    let (mut desk, now) = (desk(), Instant::now());
    let guild = guild(1);
    let text = format!(
        r#"{{"control":"start","versions":{{"envelope":1}},"want":{{"presence":{{"status":"idle"}},"voice":{{"{guild}":{{"channel_id":"9"}}}}}}}}"#
    );
    let status = json!({"ready": true});
    assert!(desk.take(taken(1, &text), SHARDS, now).is_none());
    // Others do not wait for it.
    assert!(desk.take(joins(2, 5), SHARDS, now).is_none());
    assert!(desk.told(false, SHARDS, &status).is_empty());
    let held = desk.next(now, false, SHARDS).unwrap();
    assert_eq!(held.letter, 2);
    desk.wrote(held, true, now);
    assert!(desk.next(now, false, SHARDS).is_none() && desk.has_starters());
    for what in [r#""op":3"#, r#""op":4"#] {
        assert!(desk.told(true, SHARDS, &status).is_empty());
        let held = desk.next(now, true, SHARDS).unwrap();
        assert!(held.json.contains(what), "{}", held.json);
        assert!(desk.wrote(held, true, now).0.is_none());
    }
    assert!(desk.next(now, true, SHARDS).is_none());
    let told = desk.told(true, SHARDS, &status);
    let heard = json!({"ready": true, "written": 2});
    assert_eq!(told[0].verdict, Verdict::Told(heard));
    // It comes back, and wants the same.
    assert!(desk.take(taken(3, &text), SHARDS, now).is_none());
    assert!(desk.next(now, true, SHARDS).is_none());
    let early = desk.told(false, SHARDS, &status);
    assert!(early.is_empty(), "all stands, and the shard does not serve");
    let told = desk.told(true, SHARDS, &status);
    let heard = json!({"ready": true, "written": 0});
    assert_eq!(told[0].verdict, Verdict::Told(heard));
    // Another version is refused with the reason, at once.
    let other = text.replace(r#""envelope":1"#, r#""envelope":7"#);
    assert!(refusal(&mut desk, taken(4, &other), now).contains("version 7"));
    // The next owner knows what stands.
    let along = desk.along(now, 0);
    let mut next = self::desk();
    next.goes_on_from(along, now, 0);
    assert!(next.take(taken(5, &text), SHARDS, now).is_none());
    assert_eq!(next.told(true, SHARDS, &status).len(), 1);
}

#[test]
fn what_was_written_while_its_letter_was_on_its_way_to_come_again_is_in_hand_once() {
    let (mut desk, now) = (desk(), Instant::now());
    let start = r#"{"control":"start","want":{"presence":{"status":"idle"}}}"#;
    assert!(desk.take(taken(1, start), SHARDS, now).is_none());
    assert!(desk.take(joins(2, 1), SHARDS, now).is_none());
    for letter in [1, 2] {
        let held = desk.next(now, true, SHARDS).unwrap();
        assert_eq!(held.letter, letter);
        assert!(desk.wrote(held, false, now).0.is_none());
    }
    assert_eq!(desk.give_back(), [0; 0]);
    let mut again = joins(3, 1);
    (again.id, again.is_again) = (Some("2".to_owned()), true);
    let settled = desk.take(again, SHARDS, now).unwrap();
    assert_eq!((settled.letter, settled.verdict), (3, Verdict::Written));
    assert!(desk.take(taken(4, start), SHARDS, now).is_none());
    let told = desk.told(true, SHARDS, &json!({}));
    assert_eq!((told.len(), told[0].letter), (1, 4));
}
