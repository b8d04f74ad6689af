//! A slot moves, and nothing goes wrong.

use baton_protocol::{Version, message::StateAck, state::StateFrame};
use bytes::Bytes;

use super::*;

#[test]
fn a_slot_whose_new_slave_dies_after_the_commit_does_not_wait_for_the_end_of_the_old_one() {
    let mut settings = settings(1);
    settings.slots[0].launches = true;
    let mut rig = Rig::soaking(settings);
    let told = orders(&rig.soaked(B));
    assert!(told.contains(&"a Shutdown".to_owned()), "{told:?}");
    assert_eq!(rig.step(), Some("retiring"));
    // Nobody sees the end of its process.
    rig.input(Input::Left { slave: A });
    let actions = rig.die(B);
    assert_eq!(ended(&actions), Some(&Outcome::Done), "it was committed");
    let launched = orders(&rig.wait(SECOND));
    assert!(
        launched.contains(&"launch Relaunch".to_owned()),
        "{launched:?}"
    );
}

#[test]
fn a_candidate_starts_a_deploy_by_itself() {
    let mut rig = Rig::serving(3);
    let actions = rig.join(B, Role::Candidate);
    assert_eq!(
        orders(&actions),
        [
            "b Accepted",
            "b ShardMigrationStart to",
            "a ShardMigrationStart from",
        ]
    );
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Tell(News::DeployAccepted { request: None, .. })
    )));
}

#[test]
fn one_shard_moves_by_copy_reserve_seal_resume() {
    let (mut rig, actions) = Rig::moving(settings(1));
    assert_eq!(orders(&actions), ["a CopyState 0@1"]);
    assert_eq!(
        orders(&rig.say(B, state_ready(0, 1, 90))),
        ["save now 0@2 Reserved b", "a Seal 0@1"]
    );
    let mut sealed_at = ticket(0, 120);
    sealed_at.in_doubt = ranges(&[121]);
    assert_eq!(
        orders(&rig.say(A, sealed_with(1, sealed_at))),
        ["b Resume 0@2 after Seal from 90"],
        "from where the copied state stands"
    );
    assert_eq!(
        orders(&rig.say(A, settled(0, 1, &[121]))),
        ["b Settled 0@1 121"]
    );
    assert_eq!(
        orders(&rig.say(B, resumed(0, 2))),
        ["save soon 0@2 Owned b", "a StopWork 1"]
    );
    assert_eq!(
        orders(&rig.say(A, ToMaster::StopWork(work(1, b"cron")))),
        ["save now work@2 b", "b StartWork 2 \"cron\""]
    );
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(orders(&rig.wait(9 * SECOND)), [""; 0], "it soaks");
    assert_eq!(orders(&rig.wait(SECOND)), ["b Ping"]);
    assert_eq!(orders(&rig.say(B, pong(0, 0))), ["a Shutdown"]);
    rig.say(A, ToMaster::Shutdown);
    let actions = rig.die(A);
    assert_eq!(ended(&actions), Some(&Outcome::Done));
    assert!(rig.all_served_by(B));
}

#[test]
fn the_canary_moves_alone_and_then_as_many_as_the_width_says() {
    let mut settings = settings(6);
    settings.width = 3;
    let (mut rig, actions) = Rig::moving(settings);
    assert_eq!(orders(&actions), ["a CopyState 0@1"]);
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    let actions = rig.say(B, resumed(0, 2));
    assert_eq!(
        orders(&actions),
        [
            "save soon 0@2 Owned b",
            "a CopyState 1@1",
            "a CopyState 2@1",
            "a CopyState 3@1",
        ]
    );
    rig.say(B, state_ready(2, 1, 90));
    assert_eq!(
        orders(&rig.say(A, sealed(2, 1, 100))),
        ["b Resume 2@2 after Seal from 90"],
        "its place stays taken until RESUMED"
    );
    assert_eq!(
        orders(&rig.say(B, resumed(2, 2))),
        ["save soon 2@2 Owned b", "a CopyState 4@1"]
    );
}

#[test]
fn an_ordered_deploy_launches_its_candidate_and_keeps_the_command_on_success() {
    let mut rig = Rig::serving(1);
    let actions = rig.input(Input::Deploy {
        request: RequestId(7),
        order: order(Some("bot-v2")),
    });
    assert_eq!(orders(&actions), ["launch Candidate bot-v2"]);
    rig.comes_up(Role::Candidate, 0xb);
    assert_eq!(orders(&rig.join(C, Role::Candidate)), ["refuse c Busy"]);
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.move_shard(A, B, 0, 1);
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(
        orders(&rig.soaked(B)),
        ["save soon command bot-v2", "a Shutdown"]
    );
    let actions = rig.die(A);
    let told = actions.iter().any(|action| {
        matches!(
            action,
            Action::Tell(News::DeployEnded {
                moved: 1,
                outcome: Outcome::Done,
                ..
            })
        )
    });
    assert!(told, "{actions:?}");
}

#[test]
fn a_second_deploy_is_refused_with_the_reason() {
    let (mut rig, _) = Rig::moving(settings(2));
    let actions = rig.input(Input::Deploy {
        request: RequestId(8),
        order: order(Some("bot-v3")),
    });
    let [Action::Tell(News::RequestRefused { request, reason })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(*request, RequestId(8));
    assert!(
        reason.contains("deploy 1") && reason.contains("canary"),
        "{reason}"
    );
    assert_eq!(orders(&rig.join(C, Role::Candidate)), ["refuse c Busy"]);
}

#[test]
fn state_goes_only_between_the_two_slaves_of_the_running_copy() {
    let (mut rig, _) = Rig::moving(settings(2));
    assert_eq!(orders(&rig.say(A, state(0, 1, 0))), ["b State 0"]);
    let ack = |epoch| {
        ToMaster::StateAck(StateAck {
            shard: ShardId(0),
            epoch: Epoch(epoch),
            bytes: 9,
        })
    };
    assert_eq!(orders(&rig.say(B, ack(1))), ["a StateAck 0@1 9"]);
    for stray in [
        (A, state(0, 2, 1)),
        (A, state(1, 1, 0)),
        (B, state(0, 1, 1)),
        (A, ack(1)),
        (B, ack(2)),
    ] {
        assert_eq!(orders(&rig.say(stray.0, stray.1)), [""; 0]);
    }
    rig.say(B, state_ready(0, 1, 90));
    assert_eq!(
        orders(&rig.say(A, state(0, 1, 1))),
        [""; 0],
        "the copy is over"
    );
}

#[test]
fn the_owner_is_told_what_form_of_a_copy_its_reader_takes() {
    for (speaks, told) in [
        (Version(1), Version(1)),
        (Version(4), Version(4)),
        (Version::NEWEST, Version::NEWEST),
        (Version(99), Version::NEWEST),
    ] {
        let mut rig = Rig::serving_with(settings(1));
        let mut hello = hello(B, Role::Candidate);
        hello.version = speaks;
        let hello = Box::new(hello);
        let report = Report::default();
        rig.input(Input::Joined { hello, report });
        rig.say(A, prepared(true));
        let actions = rig.say(B, prepared(false));
        let copy = actions.iter().find_map(|action| match action {
            Action::Send(A, ToSlave::CopyState(copy)) => Some(*copy),
            _ => None,
        });
        let copy = copy.expect("an order to copy");
        assert_eq!((copy.shard, copy.epoch), (ShardId(0), Epoch(1)));
        assert_eq!(copy.reader, told);
    }
}

#[test]
fn a_copy_that_cannot_be_taken_in_fails_its_deploy_at_once_and_the_owner_serves_on() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.say(A, state(0, 1, 0));
    for stray in [(A, failed(0, 2)), (B, failed(0, 2)), (B, failed(1, 1))] {
        assert_eq!(orders(&rig.say(stray.0, stray.1)), [""; 0]);
    }
    let actions = rig.say(B, failed(0, 1));
    assert_eq!(orders(&actions), ["b Shutdown"]);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { reason })
            if reason.contains("cannot be taken in: no")));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_bot_without_state_resumes_at_what_was_handled() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(
        B,
        ToMaster::StateReady(StateReady {
            shard: ShardId(0),
            epoch: Epoch(1),
            ..StateReady::default()
        }),
    );
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 120))),
        ["b Resume 0@2 after Seal from 120"]
    );
}

#[test]
fn what_comes_late_or_twice_or_of_another_epoch_changes_nothing() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    for early in [
        sealed(0, 2, 100),
        sealed(0, 0, 100),
        resumed(0, 2),
        settled(0, 1, &[]),
    ] {
        assert_eq!(orders(&rig.say(B, early)), [""; 0]);
    }
    rig.say(A, sealed(0, 1, 120));
    for late in [
        sealed(0, 1, 120),
        sealed(0, 1, 500),
        failed(0, 1),
        checkpoint(0, 1, 500),
        resumed(0, 2),
        progress(0, 1, Step::SessionLost),
        state_ready(0, 1, 3),
        wants_permit(0, 1, IdentifyCause::SessionLost),
        prepared(true),
    ] {
        assert_eq!(orders(&rig.say(A, late)), [""; 0]);
    }
    rig.say(A, settled(0, 1, &[]));
    assert_eq!(orders(&rig.say(A, settled(0, 1, &[7]))), [""; 0], "once");
    assert_eq!(rig.shard(0), (Some(B.to_string()), "resuming"));
    rig.say(B, resumed(0, 2));
    for late in [resumed(0, 2), failed(0, 1), progress(0, 1, Step::Serving)] {
        assert_eq!(orders(&rig.say(B, late)), [""; 0]);
    }
    assert_eq!(rig.shard(0), (Some(B.to_string()), "serving"));
}

fn state(shard: u32, epoch: u64, chunk: u32) -> ToMaster {
    let mut body = Vec::new();
    body.extend(shard.to_le_bytes());
    body.extend(chunk.to_le_bytes());
    body.extend(epoch.to_le_bytes());
    body.extend(90_u64.to_le_bytes());
    ToMaster::State(StateFrame::from_body(100, Bytes::from(body)).unwrap())
}

#[test]
fn a_shard_whose_session_is_over_moves_without_a_copy() {
    let (mut rig, begun) = Rig::moving(settings(1));
    assert_eq!(orders(&begun), ["a CopyState 0@1"]);
    let lost = rig.say(A, progress(0, 1, Step::SessionLost));
    assert_eq!(orders(&lost), ["save now 0@2 Reserved b", "a Seal 0@1"]);
    // It has the next one anyway: that one is resumed.
    rig.say(A, checkpoint(0, 1, 1));
    assert_eq!(orders(&rig.say(A, progress(0, 1, Step::Serving))), [""; 0]);
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 2))),
        ["b Resume 0@2 after Seal from 2"]
    );
}

#[test]
fn the_work_moves_also_where_nothing_may_run_on_after_a_seal() {
    let mut settings = settings(1);
    settings.drain = Duration::ZERO;
    let (mut rig, _) = Rig::moving(settings);
    rig.move_shard(A, B, 0, 1);
    rig.wait(SECOND);
    rig.say(A, ToMaster::StopWork(work(1, b"cron")));
    rig.wait(SECOND);
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
}

#[test]
fn an_old_slave_is_not_killed_while_what_ran_at_its_seal_may_run_on() {
    let mut settings = settings(1);
    settings.drain = 60 * SECOND;
    let retire = settings.retire;
    let mut rig = Rig::soaking(settings);
    assert_eq!(orders(&rig.soaked(B)), ["a Shutdown"]);
    assert_eq!(orders(&rig.wait(60 * SECOND)), [""; 0]);
    assert_eq!(orders(&rig.wait(retire)), ["kill a"]);
}
