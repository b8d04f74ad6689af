//! Whether the new build is any good.

use super::*;

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
    assert!(reason.contains("did not answer for 5s"), "{reason}");
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
    assert!(orders(&actions).contains(&"b StopShard 0@2".to_owned()));
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
