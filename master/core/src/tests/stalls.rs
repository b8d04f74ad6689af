//! A resume at the new slave that gets nowhere: the shard goes back, and nobody is
//! killed who answers.

use super::*;

/// Shard 0 of so many was given to B, and B is silent about it from here on.
fn given(shards: u32) -> Rig {
    let mut settings = settings(shards);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    for shard in (1..shards).rev() {
        // The canary is the first; the one that is looked at is the last.
        rig.move_shard(A, B, shards - 1 - shard, 1);
    }
    let last = shards - 1;
    rig.say(B, state_ready(last, 1, 90));
    rig.say(A, sealed(last, 1, 120));
    rig.say(A, settled(last, 1, &[]));
    rig
}

/// After how many seconds the shard is asked back, when its owner says such things
/// every second.
fn goes_back_after(said: impl Fn(u64) -> ToMaster) -> u64 {
    let mut rig = given(1);
    for second in 1..200 {
        if !orders(&rig.wait(SECOND)).is_empty() {
            assert_eq!(rig.step(), Some("rolling back"));
            return second;
        }
        rig.say(B, said(second));
    }
    panic!("it may go on for ever")
}

fn replaying(replayed: u64) -> ToMaster {
    ToMaster::Progress(Progress {
        shard: ShardId(0),
        epoch: Epoch(2),
        step: Step::Replaying,
        replayed,
        refused: String::new(),
    })
}

#[test]
fn the_shard_is_sealed_and_goes_back_exactly_and_its_owner_lives() {
    let mut rig = given(1);
    assert_eq!(
        orders(&rig.wait(5 * SECOND)),
        ["save now 0@3 Reserved a", "b Seal 0@2"]
    );
    assert_eq!(
        orders(&rig.say(B, sealed(0, 2, 130))),
        ["a Resume 0@3 after Seal from 120"]
    );
    let actions = rig.say(A, resumed(0, 3));
    assert_eq!(orders(&actions), ["save soon 0@3 Owned a", "b Shutdown"]);
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));
}

#[test]
fn the_other_shards_of_its_owner_go_back_by_seal_too() {
    let mut rig = given(3);
    let mut told = orders(&rig.wait(5 * SECOND));
    for _ in 0..3 {
        assert!(!told.iter().any(|order| order.contains("kill")), "{told:?}");
        let asked = told.iter().find_map(|order| order.strip_prefix("b Seal "));
        let shard: u32 = asked.unwrap().split('@').next().unwrap().parse().unwrap();
        rig.say(B, sealed(shard, 2, 130));
        rig.say(B, settled(shard, 2, &[]));
        told = orders(&rig.say(A, resumed(shard, 3)));
    }
    assert!(rig.all_served_by(A));
}

#[test]
fn an_owner_that_does_not_seal_it_either_is_killed_and_waited_for() {
    let mut rig = given(1);
    rig.wait(5 * SECOND);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["kill b"]);
    assert_eq!(rig.shard(0).0, Some(B.to_string()), "it may be serving");
    let actions = orders(&rig.die(B));
    assert!(
        actions.contains(&"a Resume 0@4 after Death from 120".to_owned()),
        "{actions:?}"
    );
    let actions = rig.say(A, resumed(0, 4));
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));
}

#[test]
fn an_owner_that_is_cut_off_is_killed_first() {
    let mut rig = given(1);
    rig.input(Input::Left { slave: B });
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["kill b"]);
}

#[test]
fn a_replay_that_grows_is_waited_for_as_long_as_a_session_lives() {
    assert_eq!(goes_back_after(replaying), 94);
}

#[test]
fn words_of_progress_without_any_are_believed_for_a_while() {
    let dials = |_| progress(0, 2, Step::Dialling);
    let closed = |second| match second % 3 {
        0 => progress(0, 2, Step::Reconnecting),
        1 => progress(0, 2, Step::Dialling),
        _ => progress(0, 2, Step::Hello),
    };
    assert_eq!(goes_back_after(dials), 34);
    assert_eq!(goes_back_after(|_| replaying(7)), 35);
    assert!((30..=40).contains(&goes_back_after(closed)));
    // Its session is there: it needs no permit.
    assert_eq!(goes_back_after(|_| progress(0, 2, Step::Waiting)), 5);
}

#[test]
fn a_shard_that_pauses_before_it_dials_again_has_not_failed() {
    let mut rig = given(1);
    rig.wait(4 * SECOND);
    rig.say(B, progress(0, 2, Step::Reconnecting));
    assert_eq!(orders(&rig.wait(9 * SECOND)), [""; 0]);
    rig.say(B, progress(0, 2, Step::Dialling));
    assert_eq!(orders(&rig.wait(4 * SECOND)), [""; 0]);
    rig.say(B, resumed(0, 2));
    assert!(rig.all_served_by(B));
}
