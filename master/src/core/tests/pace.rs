//! Who may IDENTIFY when.

use super::*;
use crate::core::event::IdentifyBudget;

fn starting(shards: u32, max_concurrency: u32) -> Rig {
    let mut settings = settings(shards);
    settings.max_concurrency = max_concurrency;
    let mut rig = Rig::new(settings);
    rig.join(A, Role::Relaunch);
    rig
}

fn ask(rig: &mut Rig, shard: u32) -> Vec<String> {
    orders(&rig.say(A, wants_permit(shard, 1, IdentifyCause::Cold)))
}

#[test]
fn one_permit_a_bucket_a_window_in_shard_order() {
    let mut rig = starting(6, 2);
    assert_eq!(ask(&mut rig, 3), ["a IdentifyPermit 3@1"]);
    for shard in [5, 1] {
        assert_eq!(ask(&mut rig, shard), [""; 0]);
    }
    assert_eq!(ask(&mut rig, 4), ["a IdentifyPermit 4@1"], "another bucket");
    assert_eq!(ask(&mut rig, 0), [""; 0]);
    assert_eq!(orders(&rig.wait(5 * SECOND - SECOND / 100)), [""; 0]);
    let mut given = orders(&rig.wait(SECOND / 100));
    given.sort();
    assert_eq!(given, ["a IdentifyPermit 0@1", "a IdentifyPermit 1@1"]);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["a IdentifyPermit 5@1"]);
    assert_eq!(orders(&rig.wait(60 * SECOND)), [""; 0]);
}

#[test]
fn a_request_of_a_stale_epoch_or_of_another_slave_is_ignored() {
    let mut rig = starting(2, 1);
    for stale in [
        wants_permit(0, 2, IdentifyCause::Cold),
        wants_permit(0, 0, IdentifyCause::Cold),
    ] {
        assert_eq!(orders(&rig.say(A, stale)), [""; 0]);
    }
    rig.join(B, Role::Standby);
    assert_eq!(
        orders(&rig.say(B, wants_permit(0, 1, IdentifyCause::Cold))),
        [""; 0]
    );
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    rig.die(A);
    let actions = orders(&rig.wait(5 * SECOND));
    assert!(
        !actions.iter().any(|order| order.contains("Permit")),
        "{actions:?}"
    );
}

#[test]
fn a_waiting_request_survives_a_reconnect_and_wastes_no_permit_meanwhile() {
    let mut rig = starting(2, 1);
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    rig.input(Input::Left { slave: A });
    assert_eq!(orders(&rig.wait(20 * SECOND)), [""; 0]);
    let both = report(vec![
        held(0, 1, Holding::Starting),
        held(1, 1, Holding::Starting),
    ]);
    let actions = rig.join_with(A, Role::Relaunch, both);
    assert!(orders(&actions).contains(&"a IdentifyPermit 1@1".to_owned()));
}

#[test]
fn an_empty_budget_waits_for_its_reset() {
    let mut rig = starting(3, 1);
    let budget = IdentifyBudget {
        total: 1000,
        remaining: 1,
        reset_after: 3600 * SECOND,
        max_concurrency: 1,
    };
    rig.input(Input::Budget(budget));
    assert_eq!(ask(&mut rig, 0), ["a IdentifyPermit 0@1"]);
    ask(&mut rig, 1);
    ask(&mut rig, 2);
    let actions = rig.wait(3599 * SECOND);
    assert_eq!(orders(&actions), [""; 0]);
    assert_eq!(alarms(&actions), 1);
    let view = rig.core.view(rig.now);
    assert_eq!(
        (view.identifies_left, view.identifies_reset_ms),
        (Some(0), Some(1000))
    );
    assert_eq!(orders(&rig.wait(SECOND)), ["a IdentifyPermit 1@1"]);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["a IdentifyPermit 2@1"]);
}

#[test]
fn more_buckets_are_used_when_the_budget_names_them() {
    let mut rig = starting(4, 1);
    ask(&mut rig, 0);
    for shard in 1..4 {
        ask(&mut rig, shard);
    }
    rig.input(Input::Budget(IdentifyBudget {
        total: 1000,
        remaining: 900,
        reset_after: 3600 * SECOND,
        max_concurrency: 16,
    }));
    assert_eq!(
        orders(&rig.wait(5 * SECOND)),
        [
            "a IdentifyPermit 1@1",
            "a IdentifyPermit 2@1",
            "a IdentifyPermit 3@1"
        ],
        "one window after the last of the old pace"
    );
}

#[test]
fn a_new_master_gives_nothing_for_one_window() {
    let mut journal = Recovered::default();
    let row = Row {
        epoch: Epoch(1),
        owner: C,
        ..Row::default()
    };
    journal.shards.insert(ShardId(0), row);
    let mut rig = Rig::restarted(settings(1), journal);
    rig.join(A, Role::Relaunch);
    assert_eq!(
        orders(&rig.say(A, wants_permit(0, 2, IdentifyCause::Cold))),
        [""; 0]
    );
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["a IdentifyPermit 0@2"]);
}
