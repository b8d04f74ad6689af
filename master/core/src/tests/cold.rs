//! An empty slot: cold start, recovery from a ticket, launches.

use super::*;

#[test]
fn the_first_slave_is_given_every_shard_once_their_epochs_are_reserved() {
    let mut rig = Rig::new(settings(3));
    let actions = rig.join(A, Role::Candidate);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@1 Reserved a, 1@1 Reserved a, 2@1 Reserved a",
            "a Accepted",
            "a FullStart 0@1 1@1 2@1",
        ]
    );
}

#[test]
fn the_work_starts_when_every_shard_serves() {
    let mut rig = Rig::new(settings(2));
    rig.join(A, Role::Relaunch);
    assert_eq!(orders(&rig.ready(A, 0, 1)), ["save soon 0@1 Owned a"]);
    assert_eq!(
        orders(&rig.ready(A, 1, 1)),
        [
            "save soon 1@1 Owned a",
            "save now work@1 a",
            "a StartWork 1 \"\"",
        ]
    );
}

#[test]
fn a_dead_slave_is_followed_by_the_next_at_its_last_checkpoint() {
    let mut rig = Rig::serving(1);
    rig.say(A, checkpoint(0, 1, 140));
    assert_eq!(orders(&rig.die(A)), [""; 0]);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@2 Reserved b",
            "b Accepted",
            "b Resume 0@2 after Death from 140",
        ]
    );
}

#[test]
fn a_session_older_than_the_resume_window_is_started_anew() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    rig.wait(91 * SECOND);
    let actions = rig.join(B, Role::Relaunch);
    assert!(orders(&actions).contains(&"b FullStart 0@2".to_owned()));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Tell(News::SessionLost {
            shard: ShardId(0),
            ..
        })
    )));
}

#[test]
fn an_empty_slot_is_launched_into_after_the_contact_time_with_doubling_backoff() {
    let mut rig = Rig::serving(1);
    // An operator may start it again.
    rig.say(A, ToMaster::Shutdown);
    rig.die(A);
    assert_eq!(orders(&rig.wait(14 * SECOND)), [""; 0]);
    assert_eq!(orders(&rig.wait(SECOND)), ["launch Relaunch"]);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        rig.launch_fails(Role::Relaunch);
        assert_eq!(orders(&rig.wait(wait * SECOND - SECOND / 10)), [""; 0]);
        assert_eq!(orders(&rig.wait(SECOND / 10)), ["launch Relaunch"]);
    }
    rig.join(B, Role::Relaunch);
    rig.die(B);
    rig.wait(15 * SECOND);
    rig.launch_fails(Role::Relaunch);
    assert_eq!(
        orders(&rig.wait(SECOND)),
        ["launch Relaunch"],
        "a slave that joined ends the row of failures"
    );
}

#[test]
fn a_slave_that_is_only_disconnected_leaves_no_empty_slot() {
    let mut rig = Rig::serving(1);
    rig.input(Input::Left { slave: A });
    assert_eq!(orders(&rig.wait(600 * SECOND)), [""; 0]);
    assert_eq!(rig.shard(0).1, "unreachable");
    assert_eq!(
        orders(&rig.join(B, Role::Relaunch)),
        ["refuse b Taken"],
        "and nobody takes its place"
    );
    let report = report(vec![held(0, 1, Holding::Serving)]);
    rig.join_with(A, Role::Relaunch, report);
    assert!(rig.all_served_by(A));
}

#[test]
fn a_standby_is_promoted_when_the_owner_dies() {
    let mut rig = Rig::serving(1);
    let actions = rig.join(B, Role::Standby);
    assert_eq!(orders(&actions), ["b Accepted", "b SoftStart"]);
    rig.say(B, ToMaster::SoftStartComplete);
    assert_eq!(
        orders(&rig.die(A)),
        [
            "save now 0@2 Reserved b",
            "b Resume 0@2 after Death from 100"
        ]
    );
}

#[test]
fn a_slave_that_leaves_by_itself_is_followed_after_its_seal() {
    let mut rig = Rig::serving(2);
    let mut with_doubt = ticket(0, 120);
    with_doubt.in_doubt = ranges(&[121, 122]);
    rig.say(A, sealed_with(1, with_doubt));
    assert_eq!(rig.shard(1).1, "serving", "only what it sealed is free");
    rig.say(A, sealed(1, 1, 130));
    rig.say(A, settled(0, 1, &[122]));
    rig.say(A, settled(1, 1, &[]));
    assert_eq!(orders(&rig.say(A, ToMaster::Shutdown)), [""; 0]);
    rig.die(A);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@2 Reserved b, 1@2 Reserved b",
            "b Accepted",
            "b Resume 0@2 after Seal from 120",
            "b Settled 0@1 122",
            "b Resume 1@2 after Seal from 130",
            "b Settled 1@1 ",
        ]
    );
}

#[test]
fn a_shard_that_fails_alone_is_tried_again_with_backoff_and_a_fresh_epoch() {
    let mut rig = Rig::serving(2);
    assert_eq!(orders(&rig.say(A, failed(1, 1))), [""; 0]);
    assert_eq!(rig.shard(1).1, "failed");
    assert_eq!(
        orders(&rig.wait(SECOND)),
        [
            "save now 1@2 Reserved a",
            "a Resume 1@2 after Death from 100"
        ]
    );
    rig.say(A, failed(1, 2));
    assert_eq!(orders(&rig.wait(SECOND)), [""; 0], "the wait doubles");
    assert_eq!(orders(&rig.wait(SECOND)).len(), 2);
}

#[test]
fn other_session_parameters_are_refused_with_the_field_named() {
    let mut rig = Rig::serving(1);
    let mut other = hello(B, Role::Candidate);
    other.parameters = parameters(1);
    let actions = rig.input(Input::Joined {
        hello: Box::new(other),
        report: Report::default(),
    });
    let [Action::Refuse(B, refused)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(
        refused.reason,
        baton_protocol::message::RefusedReason::Parameters
    );
    assert!(
        refused.detail.starts_with(
            "intents: the fleet's sessions have 513, this slave asks for 1 (less: GUILD_MESSAGES)"
        ),
        "{}",
        refused.detail
    );
}

#[test]
fn a_dead_fleet_may_be_started_cold_with_other_parameters() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    rig.wait(100 * SECOND);
    let mut other = hello(B, Role::Candidate);
    other.parameters = parameters(1);
    let actions = rig.input(Input::Joined {
        hello: Box::new(other),
        report: Report::default(),
    });
    assert!(orders(&actions).contains(&"b FullStart 0@2".to_owned()));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Save(entries, Durability::Now)
            if matches!(&entries[0], Entry::Pinned(pinned) if intents(pinned) == 1)
    )));
}

#[test]
fn a_slave_of_an_unknown_slot_is_refused() {
    let mut rig = Rig::serving(1);
    let mut stray = hello(B, Role::Candidate);
    stray.slot = "west".to_owned();
    let actions = rig.input(Input::Joined {
        hello: Box::new(stray),
        report: Report::default(),
    });
    assert_eq!(orders(&actions), ["refuse b Slot"]);
}
