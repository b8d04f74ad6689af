//! A fleet of several slots.

use super::*;

fn two_slots() -> Settings {
    let slot = |name: &str, first, last| SlotSettings {
        name: name.to_owned(),
        shards: Some((first, last)),
        launches: true,
    };
    Settings {
        slots: vec![slot("main", 0, 1), slot("west", 2, 3)],
        ..settings(4)
    }
}

fn join_west(rig: &mut Rig, slave: SlaveId) -> Vec<Action> {
    let mut hello = hello(slave, Role::Candidate);
    hello.slot = "west".to_owned();
    rig.input(Input::Joined {
        hello: Box::new(hello),
        report: Report::default(),
    })
}

#[test]
fn each_slot_has_its_own_slave_and_the_work_is_the_first_ones() {
    let mut rig = Rig::new(two_slots());
    let actions = join_west(&mut rig, B);
    assert!(orders(&actions).contains(&"b FullStart 2@1 3@1".to_owned()));
    rig.ready(B, 2, 1);
    let actions = rig.ready(B, 3, 1);
    assert_eq!(orders(&actions), ["save soon 3@1 Owned b"], "no work");
    let actions = rig.join(A, Role::Candidate);
    assert!(orders(&actions).contains(&"a FullStart 0@1 1@1".to_owned()));
    rig.ready(A, 0, 1);
    let actions = rig.ready(A, 1, 1);
    assert!(orders(&actions).contains(&"a StartWork 1 \"\"".to_owned()));
}

#[test]
fn a_deploy_moves_its_own_slot_only_and_leaves_the_work_of_another() {
    let mut rig = Rig::new(two_slots());
    join_west(&mut rig, B);
    rig.join(A, Role::Candidate);
    for (slave, shard) in [(A, 0), (A, 1), (B, 2), (B, 3)] {
        rig.ready(slave, shard, 1);
    }
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    join_west(&mut rig, C);
    rig.say(B, prepared(true));
    assert_eq!(orders(&rig.say(C, prepared(false))), ["b CopyState 2@1"]);
    rig.move_shard(B, C, 2, 1);
    rig.move_shard(B, C, 3, 1);
    assert_eq!(rig.step(), Some("soaking"));
    assert_eq!(orders(&rig.soaked(C)), ["b Shutdown"]);
    assert_eq!(ended(&rig.die(B)), Some(&Outcome::Done));
    assert_eq!(rig.shard(0).0, Some(A.to_string()));
    assert_eq!(rig.core.view(rig.now).work, Some(A.to_string()));
}

#[test]
fn a_shard_of_another_slot_that_begins_to_serve_is_not_moved() {
    let mut rig = Rig::new(two_slots());
    join_west(&mut rig, B);
    rig.join(A, Role::Candidate);
    for (slave, shard) in [(A, 0), (B, 2), (B, 3)] {
        rig.ready(slave, shard, 1);
    }
    join_west(&mut rig, C);
    rig.say(B, prepared(true));
    rig.say(C, prepared(false));
    assert_eq!(
        orders(&rig.ready(A, 1, 1)),
        [
            "save soon 1@1 Owned a",
            "save now work@1 a",
            "a StartWork 1 \"\""
        ]
    );
    rig.move_shard(B, C, 2, 1);
    rig.move_shard(B, C, 3, 1);
    assert_eq!(rig.shard(1), (Some(A.to_string()), "serving"));
    assert_eq!(rig.step(), Some("soaking"));
}
