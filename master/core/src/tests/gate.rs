//! Whether the new build is any good.

use super::*;
use crate::view::Because;

#[test]
fn a_new_slave_that_hangs_at_the_end_of_the_soak_is_killed_and_everything_goes_back() {
    let mut rig = Rig::soaking(settings(1));
    rig.wait(9 * SECOND);
    rig.say(B, pong(3, 0));
    assert_eq!(orders(&rig.wait(SECOND)), ["b Ping"], "that was before");
    let actions = rig.wait(5 * SECOND);
    assert!(orders(&actions).contains(&"kill b".to_owned()));
    assert_eq!(rig.step(), Some("rolling back"));
    let actions = rig.die(B);
    assert!(orders(&actions).contains(&"a Resume 0@3 after Death from 100".to_owned()));
    let actions = rig.say(A, resumed(0, 3));
    let Some(Outcome::RolledBack { reason, .. }) = ended(&actions) else {
        panic!("{actions:?}");
    };
    assert!(reason.contains("did not answer for 5.0 s"), "{reason}");
}

#[test]
fn a_question_that_is_lost_with_its_connection_is_asked_again() {
    let mut rig = Rig::soaking(settings(1));
    assert_eq!(orders(&rig.wait(10 * SECOND)), ["b Ping"]);
    rig.input(Input::Left { slave: B });
    assert_eq!(orders(&rig.wait(20 * SECOND)), [""; 0], "nobody is killed");
    let mut all = report(vec![held(0, 2, Holding::Serving)]);
    all.work = Epoch(2);
    rig.join_with(B, Role::Candidate, all);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["b Ping"]);
    assert_eq!(orders(&rig.say(B, pong(0, 0))), ["a Shutdown"]);
}

#[test]
fn a_build_whose_handlers_fail_is_rolled_back() {
    let mut rig = Rig::soaking(settings(1));
    assert_eq!(orders(&rig.say(B, pong(4, 4))), [""; 0], "too few to judge");
    assert_eq!(
        orders(&rig.say(B, pong(8, 4))),
        [""; 0],
        "not more than half"
    );
    let actions = rig.say(B, pong(12, 11));
    assert!(orders(&actions).contains(&"b Seal 0@2".to_owned()));
    assert_eq!(rig.step(), Some("rolling back"));
    rig.say(B, ToMaster::StopWork(work(2, b"")));
    rig.say(B, sealed(0, 2, 100));
    rig.say(B, settled(0, 2, &[]));
    let actions = rig.say(A, resumed(0, 3));
    let Some(Outcome::RolledBack { reason, .. }) = ended(&actions) else {
        panic!("{actions:?}");
    };
    assert_eq!(reason, "the new build failed 11 of 12 events");
    assert!(rig.all_served_by(A));
}

#[test]
fn a_build_that_fails_as_its_first_events_come_moves_no_further_shard() {
    let mut settings = settings(3);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    rig.move_shard(A, B, 0, 1);
    rig.say(B, pong(6, 6));
    assert_eq!(rig.step(), Some("rolling back"));
    rig.move_shard(B, A, 0, 2);
    assert!(rig.all_served_by(A));
}

#[test]
fn a_bot_that_always_failed_is_not_blamed_on_its_new_build() {
    let mut rig = Rig::soaking(settings(1));
    rig.say(A, pong(1000, 300));
    rig.say(B, pong(100, 79));
    assert_eq!(rig.step(), Some("soaking"));
    rig.say(B, pong(100, 81));
    assert_eq!(rig.step(), Some("rolling back"));
}

#[test]
fn the_answer_that_ends_the_soak_is_judged_too() {
    let mut rig = Rig::soaking(settings(1));
    rig.wait(10 * SECOND);
    rig.say(B, pong(5, 5));
    assert_eq!(rig.step(), Some("rolling back"));
}

fn full(number: u64, full_ms: u64) -> ToMaster {
    ToMaster::Pong(Pong {
        number,
        full_ms,
        ..Pong::default()
    })
}

/// The same, and because of what.
fn full_of(full_ms: u64, full_bot_ms: u64, full_store_ms: u64) -> ToMaster {
    ToMaster::Pong(Pong {
        number: 1,
        full_ms,
        full_bot_ms,
        full_store_ms,
        ..Pong::default()
    })
}

/// A deploy that soaks for 10 s; before it the old slave could take nothing for
/// this part of its time.
fn soaking_after(percent: u64, version: Version) -> Rig {
    soaking_of(1, percent, version)
}

fn soaking_of(shards: u32, percent: u64, version: Version) -> Rig {
    let mut rig = Rig::new(settings(shards));
    for (slave, role) in [(A, Role::Relaunch), (B, Role::Candidate)] {
        let mut hello = Box::new(hello(slave, role));
        if slave == A {
            hello.version = version;
        }
        let report = Report::default();
        rig.input(Input::Joined { hello, report });
        if slave == A {
            for shard in 0..shards {
                rig.ready(A, shard, 1);
            }
            rig.say(A, ToMaster::StartWork(work(1, b"")));
            rig.say(A, full(1, 0));
            rig.wait(10 * SECOND);
            rig.say(A, full(2, 100 * percent));
        }
    }
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    for shard in 0..shards {
        rig.move_shard(A, B, shard, 1);
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    let actions = rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    assert_eq!(orders(&actions), ["b Ping"]);
    rig
}

/// The step after a soak in which the new slave could take nothing for so long.
fn after_soak(mut rig: Rig, full_ms: u64) -> Option<&'static str> {
    rig.wait(SECOND / 10);
    rig.say(B, full(u64::MAX, 700));
    rig.wait(5 * SECOND);
    rig.say(B, full(4, 700 + full_ms / 2));
    rig.wait(49 * SECOND / 10);
    rig.say(B, full(0, 700 + full_ms));
    rig.step()
}

#[test]
fn a_build_that_cannot_keep_up_in_the_soak_is_rolled_back() {
    let v4 = Version::FULLNESS;
    assert_eq!(after_soak(soaking_after(0, v4), 9000), Some("rolling back"));
    assert_eq!(after_soak(soaking_after(0, v4), 4000), Some("retiring"));
    // What came before the soak, a replay perhaps, does not count.
    assert_eq!(after_soak(soaking_after(0, v4), 0), Some("retiring"));
}

#[test]
fn shards_that_are_full_for_a_moment_each_are_not_behind() {
    assert_eq!(
        after_soak(soaking_of(4, 0, Version::FULLNESS), 16_000),
        Some("retiring")
    );
    assert_eq!(
        after_soak(soaking_of(4, 0, Version::FULLNESS), 24_000),
        Some("rolling back")
    );
}

#[test]
fn a_bot_that_never_kept_up_is_not_blamed_on_its_new_build() {
    let v4 = Version::FULLNESS;
    assert_eq!(after_soak(soaking_after(60, v4), 9000), Some("retiring"));
    // Nor is one of which it is not known.
    let old = Version(3);
    assert_eq!(after_soak(soaking_after(0, old), 9000), Some("retiring"));
}

/// `A` serves a shard that gets so many events a second, and is replaced; how
/// long the soak is, and how that is reported.
fn soak_at(per_second: u64) -> (Duration, Vec<Action>) {
    let mut rig = Rig::serving(2);
    for second in 1..=20 {
        rig.wait(SECOND);
        rig.say(A, checkpoint(0, 1, 100 + second));
        rig.say(A, checkpoint(1, 1, 100 + second * per_second));
    }
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    for shard in 0..2 {
        rig.say(B, state_ready(shard, 1, 90 + 20 * per_second));
        rig.say(A, sealed(shard, 1, 100 + 20 * per_second));
        rig.say(A, settled(shard, 1, &[]));
        rig.say(B, resumed(shard, 2));
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    let actions = rig.say(B, ToMaster::StartWork(work(2, b"")));
    let began = rig.now;
    while orders(&rig.wait(SECOND / 20)).is_empty() {}
    (rig.now.since(began), actions)
}

#[test]
fn the_soak_is_at_most_half_of_what_discord_replays_of_the_busiest_shard() {
    let shortened = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::Tell(News::SoakShortened {
                shard,
                per_second,
                soak,
                ..
            }) => Some((shard.get(), *per_second, *soak)),
            _ => None,
        })
    };
    let (soak, actions) = soak_at(40);
    assert_eq!((soak, shortened(&actions)), (10 * SECOND, None));
    let (soak, actions) = soak_at(100);
    assert_eq!(soak, 5 * SECOND);
    assert_eq!(shortened(&actions), Some((1, 100, 5 * SECOND)));
}

#[test]
fn a_backlog_that_lasts_is_an_alarm_with_its_reason_once() {
    let mut rig = Rig::serving(1);
    let mut said = Vec::new();
    for second in 0..=130 {
        rig.wait(SECOND);
        let actions = rig.say(A, full(1, 900 * second));
        said.extend((alarms(&actions) > 0).then_some(second));
    }
    assert_eq!(said.len(), 1, "{said:?}");
    assert!((60..65).contains(&said[0]), "{said:?}");
    // It caught up, and falls behind once more.
    rig.wait(10 * SECOND);
    rig.say(A, full(1, 900 * 130));
    let again = (1..=70).any(|second| {
        rig.wait(SECOND);
        alarms(&rig.say(A, full(1, 900 * (130 + second)))) > 0
    });
    assert!(again);
}

#[test]
fn what_has_no_room_is_named_in_the_alarm_and_in_the_status() {
    let cases = [
        (5, 3, "full windows", Because::Window),
        (600, 200, "a bot without room", Because::Bot),
        (200, 600, "a store without room", Because::Store),
    ];
    for (bot, store, words, because) in cases {
        let mut rig = Rig::serving(1);
        let told = (1..=70).find_map(|second| {
            rig.wait(SECOND);
            let full = full_of(900 * second, bot * second, store * second);
            let mut actions = rig.say(A, full).into_iter();
            actions.find_map(|action| match action {
                Action::Tell(News::Alarm { detail }) => Some(detail),
                _ => None,
            })
        });
        let told = told.expect("an alarm");
        assert!(told.contains(&format!("because of {words}. ")), "{told}");
        assert!(told.ends_with(because.next()), "{told}");
        let slave = &rig.core.view(rig.now).slaves[0];
        assert_eq!(slave.full_because, Some(because));
    }
}

#[test]
fn full_windows_of_a_slave_that_publishes_are_because_of_its_broker() {
    let mut rig = Rig::serving(1);
    for second in 1..=3 {
        rig.wait(SECOND);
        let ToMaster::Pong(pong) = full(1, 900 * second) else {
            unreachable!("a pong")
        };
        let sink = Some(Box::default());
        rig.say(A, ToMaster::Pong(Pong { sink, ..pong }));
    }
    let slave = &rig.core.view(rig.now).slaves[0];
    assert_eq!(slave.full_because, Some(Because::Sink));
}

#[test]
fn a_backlog_is_seen_however_often_its_slave_is_asked() {
    for (every, asked) in [(SECOND / 10, 700), (SECOND / 3, 210), (5 * SECOND, 14)] {
        let mut rig = Rig::serving(1);
        let mut full_ms = 0;
        let told = (0..asked).any(|_| {
            full_ms += u64::try_from(every.as_millis()).unwrap() * 9 / 10;
            rig.wait(every);
            alarms(&rig.say(A, full(1, full_ms))) > 0
        });
        assert!(told, "asked each {every:?}");
    }
}

#[test]
fn events_that_no_client_took_are_an_alarm_each_time_that_more_are_lost() {
    let mut rig = Rig::serving(1);
    let clients = |lost| {
        ToMaster::Pong(Pong {
            clients: Some(Box::new(Clients {
                lost,
                ..Clients::default()
            })),
            ..Pong::default()
        })
    };
    let told = [0, 0, 3, 3, 5].map(|lost| {
        rig.wait(SECOND);
        alarms(&rig.say(A, clients(lost)))
    });
    assert_eq!(told, [0, 0, 1, 0, 1]);
    let view = rig.core.view(rig.now);
    let shown = view.slaves.iter().find_map(|slave| slave.clients.as_ref());
    assert_eq!(shown.map(|clients| clients.lost), Some(5));
}
