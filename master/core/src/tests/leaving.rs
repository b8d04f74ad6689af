//! A slave that is asked to end asks to be followed.

use super::*;

/// `A` serves two shards, `B` stands by and is built.
fn ready() -> Rig {
    let settings = Settings {
        standbys: 1,
        ..settings(2)
    };
    let mut rig = Rig::serving_with(settings);
    rig.wait(SECOND);
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    rig
}

/// The last shards and the work are at `B`: `A` may end.
fn work_moves(rig: &mut Rig) {
    rig.say(A, ToMaster::StopWork(work(1, b"cron")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    let asked = rig.wait(Duration::ZERO);
    assert_eq!(orders(&asked), ["b Ping"], "nobody takes anything back");
    let told = orders(&rig.say(B, pong(0, 0)));
    assert!(told.contains(&"a Shutdown".to_owned()), "{told:?}");
}

#[test]
fn a_slave_that_asks_to_leave_is_followed_by_its_standby_as_in_a_deploy() {
    let mut rig = ready();
    let actions = rig.say(A, ToMaster::Leave);
    assert_eq!(
        orders(&actions),
        ["b ShardMigrationStart to", "a ShardMigrationStart from"]
    );
    rig.say(A, prepared(true));
    assert_eq!(
        orders(&rig.say(B, prepared(false))),
        ["a CopyState 0@1", "a CopyState 1@1"],
        "with its state, and without a canary"
    );
    for shard in 0..2 {
        rig.move_shard(A, B, shard, 1);
    }
    assert!(rig.all_served_by(B));
    work_moves(&mut rig);
}

#[test]
fn a_slave_that_nobody_follows_may_leave_at_once() {
    let mut rig = Rig::serving(1);
    assert_eq!(orders(&rig.say(A, ToMaster::Leave)), ["a Shutdown"]);
    let mut rig = Rig::serving(1);
    rig.join(B, Role::Standby);
    let actions = rig.say(A, ToMaster::Leave);
    assert_eq!(orders(&actions), ["a Shutdown"], "one that is not built");
}

#[test]
fn a_slave_whose_successor_is_lost_may_leave_then() {
    let mut rig = ready();
    rig.say(A, ToMaster::Leave);
    let told = orders(&rig.die(B));
    assert!(told.contains(&"a Shutdown".to_owned()), "{told:?}");
    assert_eq!(rig.step(), None);
}

#[test]
fn a_deploy_whose_old_slave_asks_to_leave_has_no_soak() {
    let (mut rig, _) = Rig::moving(settings(1));
    assert_eq!(orders(&rig.say(A, ToMaster::Leave)), [""; 0], "it is on");
    rig.move_shard(A, B, 0, 1);
    work_moves(&mut rig);

    let mut rig = Rig::soaking(settings(1));
    rig.say(A, ToMaster::Leave);
    assert_eq!(orders(&rig.wait(Duration::ZERO)), ["b Ping"]);
    let told = orders(&rig.say(B, pong(0, 0)));
    assert!(told.contains(&"a Shutdown".to_owned()), "{told:?}");
}
