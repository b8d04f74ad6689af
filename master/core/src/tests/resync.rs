//! An owner that was away while it was to seal has its state copied again.

use baton_protocol::{Version, message::Unit, state::StateWriter};

use super::*;

/// The order to seal shard 0 went to a slave that was not there: it serves on, and
/// comes back at sequence `handled` with the copy at 90.
fn back_before_the_seal(handled: u64) -> (Rig, Vec<Action>) {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.input(Input::Left { slave: A });
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 90))),
        ["save now 0@2 Reserved b", "a Seal 0@1"]
    );
    let waits = rig.wait(60 * SECOND);
    assert!(orders(&waits).is_empty() && alarms(&waits) > 0, "{waits:?}");
    let actions = back(&mut rig, Holding::Serving, handled);
    (rig, actions)
}

fn back(rig: &mut Rig, holding: Holding, handled: u64) -> Vec<Action> {
    let mut held = held(0, 1, holding);
    held.ticket = ticket(0, handled);
    let mut report = report(vec![held]);
    report.work = Epoch(1);
    rig.join_with(A, Role::Relaunch, report)
}

/// The only frame of a copy.
fn piece(shard: u32, epoch: u64) -> ToMaster {
    let frames = StateWriter::new(ShardId(shard), Epoch(epoch)).end(Sequence(0));
    ToMaster::State(frames.into_iter().next().unwrap())
}

#[test]
fn an_owner_that_served_on_is_copied_from_anew_before_it_seals() {
    let (mut rig, actions) = back_before_the_seal(5000);
    assert_eq!(orders(&actions), ["a Accepted", "a CopyState 0@1"]);
    assert_eq!(rig.shard(0), (Some(A.to_string()), "sealing"));
    assert_eq!(orders(&rig.say(A, piece(0, 1))), ["b State 0"]);
    assert_eq!(rig.shard(0), (Some(A.to_string()), "copying"));
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 5010))),
        ["save now 0@3 Reserved b", "a Seal 0@1"]
    );
    assert_eq!(orders(&rig.say(A, piece(0, 1))), [""; 0], "it is to seal");
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 5020))),
        ["b Resume 0@3 after Seal from 5010"],
        "not from 90, which Discord no longer replays"
    );
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, resumed(0, 3));
    assert!(rig.all_served_by(B));
    assert_eq!(rig.step(), Some("work"), "and the deploy goes on");
}

#[test]
fn a_copy_is_done_with_only_when_a_piece_of_it_came() {
    let (mut rig, _) = back_before_the_seal(5000);
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 90))),
        [""; 0],
        "said again of the copy before"
    );
    for stray in [piece(0, 2), piece(1, 1)] {
        assert_eq!(orders(&rig.say(A, stray)), [""; 0]);
    }
    assert_eq!(orders(&rig.say(B, piece(0, 1))), [""; 0]);
    assert_eq!(rig.shard(0).1, "sealing");
}

#[test]
fn a_seal_that_was_on_its_way_is_no_leaving_and_the_copy_before_does() {
    let (mut rig, _) = back_before_the_seal(110);
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 120))),
        ["b Resume 0@2 after Seal from 90"]
    );
    assert_eq!(
        orders(&rig.say(A, piece(0, 1))),
        [""; 0],
        "what it has left of the new copy is not wanted"
    );
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, resumed(0, 2));
    assert_eq!(rig.step(), Some("work"));
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(
        rig.step(),
        Some("soaking"),
        "there is a slave to go back to"
    );
}

#[test]
fn an_owner_that_sealed_while_it_was_away_is_not_copied_from() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.input(Input::Left { slave: A });
    let actions = back(&mut rig, Holding::Sealed, 120);
    assert!(orders(&actions).contains(&"b Resume 0@2 after Seal from 90".to_owned()));
}

#[test]
fn an_owner_that_neither_copies_nor_seals_is_asked_to_seal_and_then_killed() {
    let (mut rig, _) = back_before_the_seal(5000);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["a Seal 0@1"]);
    assert_eq!(
        orders(&rig.say(A, piece(0, 1))),
        [""; 0],
        "too late: it is to seal now"
    );
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["kill a"]);
}

#[test]
fn an_owner_that_dies_over_the_new_copy_leaves_none() {
    let (mut rig, _) = back_before_the_seal(5000);
    rig.say(A, piece(0, 1));
    let actions = orders(&rig.die(A));
    assert!(
        actions.contains(&"b Resume 0@3 after Death from 5000".to_owned()),
        "from its last checkpoint: {actions:?}"
    );
}

#[test]
fn on_the_way_back_there_is_nothing_to_copy() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.move_shard(A, B, 0, 1);
    rig.input(Input::Abort {
        request: RequestId(1),
        slot: None,
    });
    assert_eq!(rig.shard(0), (Some(B.to_string()), "taking back"));
    rig.input(Input::Left { slave: B });
    let report = report(vec![held(0, 2, Holding::Serving)]);
    let actions = rig.join_with(B, Role::Relaunch, report);
    assert_eq!(orders(&actions), ["b Accepted", "b Seal 0@2"]);
}

#[test]
fn a_deploy_that_goes_back_before_the_first_piece_leaves_the_shard_where_it_is() {
    let (mut rig, _) = back_before_the_seal(5000);
    rig.die(B);
    assert_eq!(orders(&rig.say(A, piece(0, 1))), [""; 0]);
    assert!(rig.all_served_by(A));
    assert_eq!(rig.step(), None, "the deploy is over");
}

fn copy_anew(shard: u32, epoch: u64) -> ToMaster {
    ToMaster::CopyAnew(Unit {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
    })
}

#[test]
fn a_seal_that_a_heartbeat_overtook_waits_for_the_next_copy() {
    let (mut rig, _) = Rig::moving(settings(1));
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 90))),
        ["save now 0@2 Reserved b", "a Seal 0@1"]
    );
    assert_eq!(
        orders(&rig.say(B, copy_anew(0, 1))),
        [""; 0],
        "not its word"
    );
    assert_eq!(orders(&rig.say(A, copy_anew(0, 2))), [""; 0], "nor of then");
    assert_eq!(orders(&rig.say(A, copy_anew(0, 1))), ["a CopyState 0@1"]);
    assert_eq!(rig.shard(0), (Some(A.to_string()), "copying"));
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 110))),
        ["save now 0@3 Reserved b", "a Seal 0@1"]
    );
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 120))),
        ["b Resume 0@3 after Seal from 110"]
    );
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, resumed(0, 3));
    assert!(rig.all_served_by(B));
    assert_eq!(rig.step(), Some("work"), "and the deploy goes on");
}

#[test]
fn only_so_often_and_only_whoever_knows_the_word_is_told_where_the_next_owner_begins() {
    let begins = |actions: &[Action]| {
        let mut told = actions.iter().filter_map(|action| match action {
            Action::Send(_, ToSlave::Seal(seal)) => Some(seal.begins),
            _ => None,
        });
        told.next().expect("an order to seal")
    };
    let (mut rig, _) = Rig::moving(settings(1));
    let actions = rig.say(B, state_ready(0, 1, 90));
    assert_eq!(begins(&actions), None, "a slave of before");

    let mut rig = Rig::new(settings(1));
    let known = Hello {
        version: Version::NEWEST,
        ..hello(A, Role::Relaunch)
    };
    rig.input(Input::Joined {
        hello: Box::new(known),
        report: Report::default(),
    });
    rig.ready(A, 0, 1);
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    let mut stands = 90;
    loop {
        let actions = rig.say(B, state_ready(0, 1, stands));
        let Some(begins) = begins(&actions) else {
            break;
        };
        assert_eq!(begins, Sequence(stands));
        rig.say(A, copy_anew(0, 1));
        stands += 1;
    }
    assert_eq!(stands, 98, "then it is moved as well as it can be");
}
