//! Slaves that stand by: how many there are, and when they come and go.

use super::*;

/// A fleet of two shards that `A` serves, with one standby wanted.
fn standing_by() -> (Rig, Vec<Action>) {
    let settings = Settings {
        standbys: 1,
        ..settings(2)
    };
    let mut rig = Rig::serving_with(settings);
    let actions = rig.wait(SECOND);
    (rig, actions)
}

/// As before, and `B` stands by.
fn ready() -> Rig {
    let (mut rig, _) = standing_by();
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    rig
}

fn launches(actions: &[Action]) -> Vec<String> {
    let mut orders = orders(actions);
    orders.retain(|order| order.starts_with("launch"));
    orders
}

fn standbys(rig: &Rig) -> (u32, u32, u32) {
    let slot = rig.core.view(rig.now).slots.swap_remove(0);
    (slot.standbys, slot.standbys_built, slot.standbys_wanted)
}

#[test]
fn a_filled_slot_gets_its_standby_which_builds_its_bot_and_owns_nothing() {
    let (mut rig, actions) = standing_by();
    assert_eq!(orders(&actions), ["launch Standby"]);
    let actions = rig.join(B, Role::Standby);
    assert_eq!(orders(&actions), ["b Accepted", "b SoftStart"]);
    assert_eq!(standbys(&rig), (1, 0, 1));
    rig.say(B, ToMaster::SoftStartComplete);
    assert_eq!(standbys(&rig), (1, 1, 1));
    assert_eq!(launches(&rig.wait(600 * SECOND)), [""; 0], "one is enough");
    assert!(rig.all_served_by(A));
}

#[test]
fn without_the_setting_nobody_is_launched_or_sent_away() {
    let mut rig = Rig::serving(2);
    rig.join(B, Role::Standby);
    let actions = rig.wait(600 * SECOND);
    assert_eq!(orders(&actions), [""; 0]);
    assert_eq!(standbys(&rig), (1, 0, 0));
}

#[test]
fn a_dead_owners_shards_go_to_the_standby_at_once_and_the_next_one_is_launched() {
    let mut rig = ready();
    let actions = rig.die(A);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@2 Reserved b, 1@2 Reserved b",
            "b Resume 0@2 after Death from 100",
            "b Resume 1@2 after Death from 100",
        ],
        "before any deadline"
    );
    let actions = rig.wait(SECOND);
    assert_eq!(launches(&actions), ["launch Standby"]);
    rig.say(B, resumed(0, 2));
    rig.say(B, resumed(1, 2));
    rig.join(C, Role::Standby);
    rig.say(C, ToMaster::SoftStartComplete);
    assert!(rig.all_served_by(B));
    assert_eq!(standbys(&rig), (1, 1, 1));
}

#[test]
fn a_standby_that_keeps_dying_is_backed_off_and_disturbs_nobody() {
    let (mut rig, _) = standing_by();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let failed = rig.now;
        let actions = rig.launch_fails(Role::Standby);
        assert!(orders(&actions).is_empty());
        while launches(&rig.wait(SECOND)).is_empty() {}
        waits.push(rig.now.since(failed).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    // One that joins and dies then is no better.
    rig.join(B, Role::Standby);
    rig.die(B);
    assert_eq!(launches(&rig.wait(59 * SECOND)), [""; 0]);
    assert_eq!(launches(&rig.wait(SECOND)), ["launch Standby"]);
    assert!(rig.all_served_by(A));
    let slot = rig.core.view(rig.now).slots.swap_remove(0);
    assert_eq!(slot.failed_launches, 0, "the slot itself is well");
}

#[test]
fn a_standby_that_does_not_join_in_time_is_given_up() {
    let (mut rig, _) = standing_by();
    let actions = rig.wait(settings(1).ready);
    assert_eq!(orders(&actions), ["give up main"]);
    assert_eq!(launches(&rig.wait(SECOND)), ["launch Standby"]);
}

#[test]
fn no_standby_is_launched_in_a_deploy_and_the_old_ones_end_when_it_is_committed() {
    let mut rig = ready();
    rig.join(C, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(C, prepared(false));
    for shard in 0..2 {
        rig.move_shard(A, C, shard, 1);
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(C, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    assert_eq!(standbys(&rig), (1, 1, 1), "nothing is sure yet");
    let actions = rig.soaked(C);
    assert_eq!(orders(&actions), ["b Shutdown", "a Shutdown"]);
    rig.die(B);
    assert_eq!(launches(&rig.wait(5 * SECOND)), [""; 0], "it is under way");
    rig.die(A);
    assert_eq!(rig.step(), None);
    assert_eq!(launches(&rig.wait(SECOND)), ["launch Standby"]);
}

#[test]
fn a_deploy_that_goes_back_keeps_the_standby() {
    let mut rig = ready();
    rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    });
    rig.launch_fails(Role::Candidate);
    assert_eq!(rig.step(), None);
    assert_eq!(orders(&rig.wait(600 * SECOND)), [""; 0]);
    assert_eq!(standbys(&rig), (1, 1, 1));
}

#[test]
fn a_standby_that_fails_to_start_is_not_taken_for_the_candidate() {
    let (mut rig, _) = standing_by();
    rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    });
    rig.comes_up(Role::Standby, 99);
    rig.launch_fails(Role::Standby);
    assert_eq!(rig.step(), Some("starting"));
    rig.comes_up(Role::Candidate, 0xc);
    rig.join(C, Role::Candidate);
    assert_eq!(rig.step(), Some("preparing"));
}

#[test]
fn who_stands_by_in_excess_is_told_to_end_the_unbuilt_first() {
    let (mut rig, _) = standing_by();
    rig.join(C, Role::Standby);
    let actions = rig.join(B, Role::Standby);
    assert_eq!(
        orders(&actions),
        ["b Accepted", "b SoftStart", "c Shutdown"]
    );
    let mut rig = ready();
    let actions = rig.join(SlaveId(1), Role::Standby);
    let orders = orders(&actions);
    assert_eq!(orders, ["1 Accepted", "1 SoftStart", "1 Shutdown"]);
}

#[test]
fn after_a_restart_standbys_are_awaited_and_those_of_an_older_build_end() {
    let hello = |id, role, build: &str| Hello {
        build: build.to_owned(),
        ..hello(id, role)
    };
    let row = Row {
        epoch: Epoch(2),
        owner: A,
        hold: Hold::Owned,
        basis: Basis::Cold,
    };
    for (build, kept) in [("v2", true), ("v1", false)] {
        let recovered = Recovered {
            shards: [(ShardId(0), row)].into(),
            slaves: [
                (A, hello(A, Role::Candidate, "v2")),
                (B, hello(B, Role::Standby, build)),
            ]
            .into(),
            ..Recovered::default()
        };
        let settings = Settings {
            standbys: 1,
            ..settings(1)
        };
        let mut rig = Rig::restarted(settings, recovered);
        let serves = report(vec![held(0, 2, Holding::Serving)]);
        rig.join_with(A, Role::Candidate, serves);
        assert_eq!(
            launches(&rig.wait(9 * SECOND)),
            [""; 0],
            "reports are collected"
        );
        let idle = Report {
            ready: true,
            ..Report::default()
        };
        let actions = rig.join_with(B, Role::Standby, idle);
        let ends = orders(&actions).contains(&"b Shutdown".to_owned());
        assert_eq!(ends, !kept, "{build}");
        let launched = launches(&rig.wait(5 * SECOND)).len();
        assert_eq!(launched, usize::from(!kept), "{build}");
    }
}

#[test]
fn without_a_standby_a_dead_slave_is_followed_soon_and_one_that_keeps_dying_later() {
    let mut rig = Rig::serving(1);
    let mut waits = Vec::new();
    for slave in 0xa..0x10 {
        let died = rig.now;
        rig.die(SlaveId(slave));
        while launches(&rig.wait(SECOND)).is_empty() {}
        waits.push(rig.now.since(died).as_secs());
        rig.join(SlaveId(slave + 1), Role::Relaunch);
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    rig.wait(61 * SECOND);
    rig.die(SlaveId(0x10));
    assert_eq!(launches(&rig.wait(SECOND)), ["launch Relaunch"]);
}

#[test]
fn a_slave_that_left_by_itself_may_come_back_within_the_contact_time() {
    let mut rig = Rig::serving(1);
    rig.say(A, ToMaster::Shutdown);
    rig.die(A);
    assert_eq!(launches(&rig.wait(14 * SECOND)), [""; 0]);
    assert_eq!(launches(&rig.wait(SECOND)), ["launch Relaunch"]);
}
