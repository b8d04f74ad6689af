//! A fleet of several slots.

use baton_protocol::DeployId;

use super::*;
use crate::event::LastDeploy;

pub(super) fn two_slots() -> Settings {
    let slot = |name: &str, first, last| SlotSettings {
        name: name.to_owned(),
        shards: Some(Members::range(first, last)),
        launches: true,
        ..SlotSettings::default()
    };
    Settings {
        slots: vec![slot("main", 0, 1), slot("west", 2, 3)],
        ..settings(4)
    }
}

fn join_west(rig: &mut Rig, slave: SlaveId) -> Vec<Action> {
    let mut hello = hello(slave, Role::Candidate);
    hello.slot = "west".to_owned();
    rig.comes(hello, Report::default())
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
fn the_work_is_of_the_slot_that_the_settings_name_and_moves_with_its_name() {
    let mut settings = two_slots();
    settings.work_slot = Some("west".to_owned());
    let mut rig = Rig::new(settings.clone());
    rig.join(A, Role::Candidate);
    rig.ready(A, 0, 1);
    let actions = rig.ready(A, 1, 1);
    assert_eq!(orders(&actions), ["save soon 1@1 Owned a"], "no work");
    join_west(&mut rig, B);
    rig.ready(B, 2, 1);
    let actions = rig.ready(B, 3, 1);
    assert!(orders(&actions).contains(&"b StartWork 1 \"\"".to_owned()));
    rig.say(B, ToMaster::StartWork(work(1, b"")));
    // An operator names another slot: it moves as it does in a deploy.
    settings.work_slot = None;
    let actions = rig.input(Input::Settings(Box::new(settings)));
    assert_eq!(orders(&actions), ["b StopWork 1"]);
    let actions = rig.say(B, ToMaster::StopWork(work(1, b"cron")));
    assert_eq!(
        orders(&actions),
        ["save now work@2 a", "a StartWork 2 \"cron\""]
    );
}

#[test]
fn a_new_master_waits_for_whoever_has_the_work_in_whatever_slot_it_is_to_be() {
    let mut settings = two_slots();
    settings.work_slot = Some("west".to_owned());
    let row = |shard, owner| row(shard, 1, owner, Hold::Owned);
    let mut west = hello(B, Role::Relaunch);
    west.slot = "west".to_owned();
    let recovered = Recovered {
        shards: [row(0, A), row(1, A), row(2, B), row(3, B)].into(),
        // The slave of the slot that had it before.
        work: Some((Epoch(1), A)),
        slaves: [(A, hello(A, Role::Relaunch)), (B, west.clone())].into(),
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings, recovered);
    let shards = vec![held(2, 1, Holding::Serving), held(3, 1, Holding::Serving)];
    let mut actions = rig.comes(west, report(shards));
    actions.extend(rig.wait(20 * SECOND));
    let orders = orders(&actions);
    let starts = orders.iter().filter(|order| order.contains("StartWork"));
    assert_eq!(starts.count(), 0, "A may be doing it: {orders:?}");
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

#[test]
fn two_interrupted_deploys_of_two_slots_go_on_beside_each_other() {
    let row = |shard, epoch, owner| row(shard, epoch, owner, Hold::Owned);
    let west = |slave| {
        let mut hello = hello(slave, Role::Relaunch);
        hello.slot = "west".to_owned();
        hello
    };
    let pinned = pinned(513, 4);
    let last = |slot: &str, deploy, command: &str| {
        let last = LastDeploy {
            deploy: DeployId(deploy),
            slot: slot.to_owned(),
            command: Some(vec![command.to_owned()]),
            done: None,
        };
        (slot.to_owned(), last)
    };
    let lasts = [last("main", 7, "m2"), last("west", 8, "w2")];
    let mut rig = Rig::restarted(
        two_slots(),
        Recovered {
            pinned: Some(pinned),
            shards: [row(0, 3, A), row(1, 4, B), row(2, 3, C), row(3, 4, D)].into(),
            work: Some((Epoch(1), A)),
            last_deploy: lasts[1].1.clone(),
            deploys: lasts.into(),
            slaves: [A, B]
                .map(|id| (id, hello(id, Role::Relaunch)))
                .into_iter()
                .chain([C, D].map(|id| (id, west(id))))
                .collect(),
            ..Recovered::default()
        },
    );
    let mut begun = Vec::new();
    for (slave, shard, epoch) in [(A, 0, 3), (B, 1, 4), (C, 2, 3), (D, 3, 4)] {
        let mut hello = if shard < 2 {
            hello(slave, Role::Relaunch)
        } else {
            west(slave)
        };
        // What they were launched for.
        hello.deploy = match slave {
            B => DeployId(7),
            D => DeployId(8),
            _ => DeployId(0),
        };
        let serves = held(shard, epoch, Holding::Serving);
        begun.extend(rig.comes(hello, report(vec![serves])));
    }
    let accepted = begun.iter().filter_map(|action| match action {
        Action::Tell(News::DeployAccepted {
            deploy,
            command: Some(command),
            goes_on: true,
            ..
        }) => Some((deploy.get(), command[0].as_str())),
        _ => None,
    });
    let accepted: Vec<_> = accepted.collect();
    assert_eq!(accepted, [(7, "m2"), (8, "w2")], "each with its own number");
    assert_eq!(
        orders(&begun)
            .iter()
            .filter(|order| order.contains("CopyState"))
            .count(),
        2,
        "each moves its shard"
    );
    for (old, new, shard) in [(A, B, 0), (C, D, 2)] {
        rig.move_shard(old, new, shard, 3);
    }
    let view = rig.core.view(rig.now);
    let steps: Vec<_> = view.deploys.iter().map(|it| it.step).collect();
    // The work is the first slot's, and its old slave still has it.
    assert_eq!(steps, ["work", "soaking"]);
    rig.wait(10 * SECOND);
    let end = rig.say(D, pong(0, 0));
    assert!(
        orders(&end).contains(&"save soon command w2".to_owned()),
        "{end:?}"
    );
}

/// What a master leaves whose one slot, of this name, was served by A.
fn all_of(name: &str, rows: [(SlaveId, Hold); 4]) -> Recovered {
    let pinned = pinned(513, 4);
    let row = |(shard, (owner, hold))| row(shard, 3, owner, hold);
    let mut of_slot = hello(A, Role::Relaunch);
    name.clone_into(&mut of_slot.slot);
    Recovered {
        pinned: Some(pinned),
        shards: (0..4).zip(rows).map(row).collect(),
        work: Some((Epoch(1), A)),
        slaves: [(A, of_slot)].into(),
        ..Recovered::default()
    }
}

/// A is there again, with all of them.
fn with_all(rig: &mut Rig, name: &str, epoch: u64) -> Vec<Action> {
    let mut hello = hello(A, Role::Relaunch);
    name.clone_into(&mut hello.slot);
    let serves = |shard| held(shard, epoch, Holding::Serving);
    let mut report = report((0..4).map(serves).collect());
    report.work = Epoch(1);
    rig.comes(hello, report)
}

/// Orders to serve something.
fn starts(actions: &[Action]) -> Vec<String> {
    let all = orders(actions).into_iter();
    let is = |order: &String| order.contains("FullStart") || order.contains(" Resume ");
    all.filter(is).collect()
}

#[test]
fn shards_of_a_slot_that_was_split_are_served_all_the_time_and_move_to_their_slot() {
    for (rows, epoch) in [
        ([(A, Hold::Owned); 4], 3),
        // In the middle of a deploy, whose new slave is dead.
        ([(D, Hold::Reserved); 4], 2),
    ] {
        let mut rig = Rig::restarted(two_slots(), all_of("main", rows));
        let mut actions = rig.wait(60 * SECOND);
        actions.extend(join_west(&mut rig, B));
        actions.extend(rig.wait(60 * SECOND));
        assert_eq!(starts(&actions), [""; 0], "A may serve all of them");
        assert_eq!(rig.shard(2).1, "unreachable");
        actions = with_all(&mut rig, "main", epoch);
        let copies = orders(&actions).into_iter();
        let copies = copies.filter(|order| order.contains("CopyState"));
        assert_eq!(copies.count(), 2, "those that are to be in the other slot");
        actions.extend(rig.wait(5 * SECOND));
        assert_eq!(starts(&actions), [""; 0]);
        let owners = (0..4).map(|shard| rig.shard(shard).0);
        assert!(owners.eq(vec![Some(A.to_string()); 4]));
        let slots = rig.core.view(rig.now).slots;
        let owners = slots.into_iter().map(|slot| slot.slave);
        assert!(owners.eq([Some(A.to_string()), Some(B.to_string())]));
        let actions = rig.die(A);
        assert_eq!(
            starts(&actions),
            [
                "b Resume 2@4 after Death from 100",
                "b Resume 3@4 after Death from 100"
            ]
        );
    }
}

#[test]
fn a_slot_that_was_given_another_name_keeps_its_slave() {
    for journal in [
        all_of("old", [(A, Hold::Owned); 4]),
        Recovered {
            journal: crate::event::JournalState::Lost,
            floor: Epoch(1000),
            ..Recovered::default()
        },
    ] {
        let mut rig = Rig::restarted(settings(4), journal);
        let mut actions = with_all(&mut rig, "old", 3);
        actions.extend(rig.wait(60 * SECOND));
        assert_eq!(starts(&actions), [""; 0]);
        assert!(orders(&actions).contains(&"a Accepted".to_owned()));
        assert!(rig.all_served_by(A));
    }
}

#[test]
fn slots_that_were_made_one_come_together_at_one_slave() {
    let mut journal = all_of("main", [A, A, B, B].map(|owner| (owner, Hold::Owned)));
    let mut west = hello(B, Role::Relaunch);
    west.slot = "west".to_owned();
    journal.slaves.insert(B, west.clone());
    let mut rig = Rig::restarted(settings(4), journal);
    let serves = |shard| held(shard, 3, Holding::Serving);
    let mut main = report([0, 1].map(serves).to_vec());
    main.work = Epoch(1);
    rig.join_with(A, Role::Relaunch, main);
    let actions = rig.comes(west, report([2, 3].map(serves).to_vec()));
    assert_eq!(starts(&actions), [""; 0]);
    assert_eq!(rig.step(), Some("moving"));
    assert!((0..4).all(|shard| serves_at(&rig, shard)));
}

fn serves_at(rig: &Rig, shard: usize) -> bool {
    let owner = if shard < 2 { A } else { B };
    rig.shard(shard).0 == Some(owner.to_string())
}

#[test]
fn a_slave_that_is_to_end_inherits_no_slot() {
    let rows = [A, A, B, B].map(|owner| (owner, Hold::Reserved));
    let mut journal = all_of("main", rows);
    journal.slaves.insert(B, hello(B, Role::Relaunch));
    let mut rig = Rig::restarted(settings(4), journal);
    rig.join(A, Role::Relaunch);
    rig.core.succession().condemn(A, "it hangs");
    rig.wait(20 * SECOND);
    let slots = rig.core.view(rig.now).slots;
    assert_ne!(slots[0].slave, Some(A.to_string()));
}
