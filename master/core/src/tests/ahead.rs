//! The next owner dials Discord before the seal.

use baton_protocol::{Version, message::Dialled};

use super::*;

/// As [`Rig::moving`], with a new slave that can dial ahead.
fn moving(settings: Settings) -> Rig {
    let mut rig = Rig::serving_with(settings);
    let mut hello = hello(B, Role::Candidate);
    hello.version = Version::NEWEST;
    rig.input(Input::Joined {
        hello: Box::new(hello),
        report: Report::default(),
    });
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig
}

fn dialled(shard: u32, epoch: u64, failed: &str) -> ToMaster {
    ToMaster::Dialled(Dialled {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        failed: failed.to_owned(),
    })
}

#[test]
fn a_shard_is_sealed_only_when_its_next_owner_has_a_connection() {
    let mut rig = moving(settings(1));
    rig.say(A, checkpoint(0, 1, 110));
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 90))),
        ["b Dial 0@1 from 90"],
        "from where the copied state stands"
    );
    assert_eq!(rig.shard(0), (Some(A.to_string()), "dialling"));
    for other in [dialled(0, 2, ""), dialled(1, 1, ""), dialled(0, 0, "lost")] {
        assert_eq!(orders(&rig.say(B, other)), [""; 0]);
    }
    assert_eq!(orders(&rig.say(A, dialled(0, 1, ""))), [""; 0]);
    assert_eq!(
        orders(&rig.say(B, dialled(0, 1, ""))),
        ["save now 0@2 Reserved b", "a Seal 0@1"]
    );
    assert_eq!(orders(&rig.say(B, dialled(0, 1, "late"))), [""; 0]);
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 120))),
        ["b Resume 0@2 after Seal from 90"]
    );
}

#[test]
fn a_copy_too_far_behind_is_made_once_more_before_the_seal() {
    let mut rig = moving(settings(1));
    // A copy that is as old as can be: half of the 1000 that are replayed.
    rig.say(B, state_ready(0, 1, 100));
    rig.say(A, checkpoint(0, 1, 601));
    assert_eq!(
        orders(&rig.say(B, dialled(0, 1, ""))),
        ["a CopyState 0@1"],
        "501 events would be replayed"
    );
    assert_eq!(rig.shard(0), (Some(A.to_string()), "copying"));
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 101))),
        ["b Dial 0@1 from 101"]
    );
    assert_eq!(
        orders(&rig.say(B, dialled(0, 1, ""))),
        ["save now 0@2 Reserved b", "a Seal 0@1"],
        "500 are few enough"
    );
}

#[test]
fn a_shard_that_is_never_copied_fast_enough_is_moved_all_the_same() {
    let mut rig = moving(settings(1));
    let mut handled = 100;
    for _ in 0..3 {
        rig.say(B, state_ready(0, 1, handled));
        handled += 2000;
        rig.say(A, checkpoint(0, 1, handled));
        assert_eq!(orders(&rig.say(B, dialled(0, 1, ""))), ["a CopyState 0@1"]);
    }
    rig.say(B, state_ready(0, 1, handled));
    rig.say(A, checkpoint(0, 1, handled + 2000));
    assert_eq!(
        orders(&rig.say(B, dialled(0, 1, ""))),
        ["save now 0@2 Reserved b", "a Seal 0@1"]
    );
}

#[test]
fn a_new_slave_that_cannot_reach_discord_ends_the_deploy_before_anything_is_sealed() {
    let mut rig = moving(settings(2));
    rig.say(B, state_ready(0, 1, 90));
    let actions = rig.say(B, dialled(0, 1, "no HELLO within 4s"));
    let reason = "shard 0: the new slave cannot connect: no HELLO within 4s".to_owned();
    assert_eq!(ended(&actions), Some(&Outcome::Aborted { reason }));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_dial_that_is_never_answered_ends_the_deploy() {
    let mut rig = moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let copy = settings(1).copy;
    assert_eq!(ended(&rig.wait(copy - SECOND / 2)), None);
    assert!(ended(&rig.wait(SECOND)).is_some());
    assert!(rig.all_served_by(A));
}

#[test]
fn a_new_slave_that_comes_back_is_asked_to_dial_again() {
    let mut rig = moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.input(Input::Left { slave: B });
    let mut hello = hello(B, Role::Candidate);
    hello.version = Version::NEWEST;
    let hello = Box::new(hello);
    let report = Report::default();
    let actions = orders(&rig.input(Input::Joined { hello, report }));
    assert!(
        actions.contains(&"b Dial 0@1 from 90".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn a_session_that_ends_while_it_is_dialled_for_is_not_waited_for() {
    let mut rig = moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    assert_eq!(
        orders(&rig.say(A, progress(0, 1, Step::SessionLost))),
        ["save now 0@2 Reserved b", "a Seal 0@1"],
        "there is nothing to copy or to resume"
    );
    assert_eq!(orders(&rig.say(B, dialled(0, 1, ""))), [""; 0]);
    let mut nothing = ticket(0, 0);
    nothing.session = Session::default();
    assert_eq!(
        orders(&rig.say(A, sealed_with(1, nothing))),
        ["b FullStart 0@2", "a StopWork 1"]
    );
}

#[test]
fn on_the_way_back_nothing_is_dialled_ahead() {
    let mut settings = settings(2);
    settings.width = 1;
    let mut rig = moving(settings);
    rig.say(B, state_ready(0, 1, 90));
    rig.say(B, dialled(0, 1, ""));
    rig.say(A, sealed(0, 1, 100));
    rig.say(B, resumed(0, 2));
    rig.say(B, state_ready(1, 1, 90));
    rig.say(B, dialled(1, 1, "refused"));
    assert_eq!(rig.step(), Some("rolling back"));
    assert_eq!(rig.shard(0), (Some(B.to_string()), "taking back"));
}

/// Four shards, all of them in hand and copied.
fn four_copied() -> Rig {
    let mut rig = moving(Settings {
        canary: 0,
        width: 4,
        ..settings(4)
    });
    for shard in 0..4 {
        rig.say(B, state_ready(shard, 1, 90));
    }
    rig
}

/// The shards that are told to seal once these have dialled.
fn seals(rig: &mut Rig, dials: &[u32]) -> Vec<String> {
    let mut sent = Vec::new();
    for &shard in dials {
        sent.extend(orders(&rig.say(B, dialled(shard, 1, ""))));
    }
    sent.retain(|order| order.starts_with("a Seal "));
    sent
}

#[test]
fn a_shard_whose_turn_has_not_come_is_served_until_one_before_it_is_through() {
    let mut rig = four_copied();
    let sealed_now = seals(&mut rig, &[0, 1, 2, 3]);
    assert_eq!(sealed_now, ["a Seal 0@1", "a Seal 1@1"]);
    assert_eq!(rig.shard(2), (Some(A.to_string()), "dialling"));
    rig.say(A, sealed(0, 1, 120));
    let next = orders(&rig.say(B, resumed(0, 2)));
    assert!(next.contains(&"a Seal 2@1".to_owned()), "{next:?}");
    assert!(!next.contains(&"a Seal 3@1".to_owned()), "{next:?}");
}

#[test]
fn where_a_handover_waits_for_the_network_all_are_sealed_side_by_side() {
    let mut rig = four_copied();
    seals(&mut rig, &[0]);
    rig.wait(SECOND / 20);
    rig.say(A, sealed(0, 1, 120));
    rig.say(B, resumed(0, 2));
    assert_eq!(seals(&mut rig, &[1, 2, 3]).len(), 3);
}

#[test]
fn waiting_for_a_turn_is_no_failed_dial() {
    let mut rig = four_copied();
    seals(&mut rig, &[0, 1, 2, 3]);
    for shard in [0, 1] {
        rig.say(A, sealed(shard, 1, 120));
    }
    // The next owner is slow, but gets further.
    for _ in 0..5 {
        assert_eq!(ended(&rig.wait(4 * SECOND)), None);
        for shard in [0, 1] {
            rig.say(B, progress(shard, 2, Step::Replaying));
        }
    }
    rig.say(B, resumed(0, 2));
    assert_eq!(rig.shard(2), (Some(A.to_string()), "sealing"));
}
