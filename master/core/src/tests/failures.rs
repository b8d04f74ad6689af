//! A deploy in which something goes wrong.

mod given_up;

use super::*;

#[test]
fn a_shard_that_fails_at_the_new_slave_goes_back_at_once_with_a_later_epoch() {
    let (mut rig, _) = Rig::moving(settings(3));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 120));
    assert_eq!(
        orders(&rig.say(B, failed(0, 2))),
        [
            "save now 0@3 Reserved a",
            "a Resume 0@3 after Seal from 120"
        ],
        "from its own frozen state, which is exact"
    );
    assert_eq!(rig.shard(0), (Some(A.to_string()), "taking back"));
    let actions = rig.say(A, resumed(0, 3));
    assert_eq!(orders(&actions), ["save soon 0@3 Owned a", "b Shutdown"]);
    assert_eq!(
        ended(&actions),
        Some(&Outcome::RolledBack {
            shard: Some(ShardId(0)),
            reason: "no".to_owned()
        })
    );
    assert!(rig.all_served_by(A));
}

#[test]
fn a_new_slave_that_may_have_handled_something_is_followed_after_death() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 120));
    rig.say(B, progress(0, 2, Step::Replaying));
    assert_eq!(
        orders(&rig.say(B, failed(0, 2)))[1],
        "a Resume 0@3 after Death from 120"
    );
}

#[test]
fn every_moved_shard_goes_back_by_seal_when_a_later_one_fails() {
    let mut settings = settings(3);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    rig.move_shard(A, B, 0, 1);
    rig.say(B, checkpoint(0, 2, 150));
    rig.say(B, state_ready(1, 1, 90));
    rig.say(A, sealed(1, 1, 120));
    assert_eq!(
        orders(&rig.say(B, failed(1, 2))),
        [
            "save now 1@3 Reserved a",
            "a Resume 1@3 after Seal from 120",
        ]
    );
    assert_eq!(
        orders(&rig.say(A, resumed(1, 3))),
        [
            "save soon 1@3 Owned a",
            "save now 0@3 Reserved a",
            "b Seal 0@2"
        ],
        "as many at once as on the way there"
    );
    assert_eq!(
        orders(&rig.say(B, sealed(0, 2, 160))),
        ["a Resume 0@3 after Seal from 100"],
        "handled 160, state of its own seal at 100"
    );
    let actions = rig.say(A, resumed(0, 3));
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_new_slave_that_waits_for_a_permit_is_not_stalled() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 120));
    let lost = rig.say(B, progress(0, 2, Step::SessionLost));
    assert_eq!(orders(&lost), ["a StopWork 1"], "it is where it is to be");
    let actions = rig.say(B, wants_permit(0, 2, IdentifyCause::SessionLost));
    assert_eq!(orders(&actions), ["b IdentifyPermit 0@2"], "exactly one");
    rig.wait(6 * SECOND);
    let actions = rig.ready(B, 0, 2);
    assert_eq!(orders(&actions), ["save soon 0@2 Owned b"]);
}

#[test]
fn an_unanswered_seal_kills_the_old_slave_and_the_new_one_resumes_from_the_checkpoint() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.say(A, checkpoint(0, 1, 110));
    rig.say(B, state_ready(0, 1, 90));
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["kill a"]);
    assert_eq!(orders(&rig.wait(15 * SECOND)), [""; 0], "not known dead");
    let actions = rig.die(A);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@3 Reserved b, 1@2 Reserved b",
            "b Resume 0@3 after Death from 90",
            "b Resume 1@2 after Death from 100",
            "save now work@2 b",
            "b StartWork 2 \"\"",
        ][..3],
        "what was reserved for the first was to go on from a seal"
    );
    rig.say(B, resumed(0, 3));
    let actions = rig.say(B, resumed(1, 2));
    assert_eq!(
        orders(&actions),
        [
            "save soon 1@2 Owned b",
            "save now work@2 b",
            "b StartWork 2 \"\""
        ]
    );
    let actions = rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert!(matches!(ended(&actions), Some(Outcome::Forced { .. })));
    assert!(rig.all_served_by(B));
}

#[test]
fn an_old_slave_that_is_cut_off_while_it_seals_is_asked_again_and_never_replaced() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.input(Input::Left { slave: A });
    let actions = rig.wait(60 * SECOND);
    assert_eq!(orders(&actions), [""; 0]);
    assert!(alarms(&actions) > 0, "an operator must look");
    let actions = rig.join_with(A, Role::Relaunch, report(vec![held(0, 1, Holding::Sealed)]));
    assert_eq!(
        orders(&actions),
        [
            "a Accepted",
            "a Seal 0@1",
            "b Resume 0@2 after Seal from 90"
        ],
        "the report has the ticket; the question again brings what is settled"
    );
}

#[test]
fn what_was_in_doubt_is_settled_by_the_core_when_the_old_slave_dies() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let mut sealed_at = ticket(0, 120);
    sealed_at.in_doubt = ranges(&[121, 124]);
    rig.say(A, sealed_with(1, sealed_at));
    assert_eq!(
        orders(&rig.die(A))[0],
        "b Settled 0@1 121,124",
        "nothing is known to be finished"
    );
}

#[test]
fn what_is_never_settled_is_settled_by_the_core_after_the_drain() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let mut sealed_at = ticket(0, 120);
    sealed_at.in_doubt = ranges(&[121]);
    rig.say(A, sealed_with(1, sealed_at));
    rig.say(B, resumed(0, 2));
    let said = orders(&rig.wait(15 * SECOND));
    assert!(said.contains(&"b Settled 0@1 121".to_owned()), "{said:?}");
}

#[test]
fn a_ticket_below_the_checkpoint_or_of_another_session_is_not_believed() {
    // One of another shard is none of this seal: the wire refuses it.
    let mut other = ticket(0, 500);
    other.session = session("somebody else's");
    for wrong in [ticket(0, 99), other] {
        let (mut rig, _) = Rig::moving(settings(2));
        rig.say(B, state_ready(0, 1, 100));
        assert_eq!(
            orders(&rig.say(A, sealed_with(1, wrong))),
            [
                "save now 0@3 Reserved b",
                "b Resume 0@3 after Death from 100"
            ]
        );
    }
}

#[test]
fn a_death_of_the_new_slave_before_anything_moved_is_noticed_by_nobody() {
    let (mut rig, _) = Rig::moving(settings(2));
    let actions = rig.die(B);
    assert_eq!(orders(&actions), [""; 0]);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_new_slave_that_is_not_ready_in_time_is_killed() {
    let mut rig = Rig::serving(1);
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    let actions = rig.wait(60 * SECOND);
    assert_eq!(orders(&actions), ["kill b"]);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
}

#[test]
fn a_copy_without_progress_ends_the_deploy_before_the_seal() {
    let (mut rig, _) = Rig::moving(settings(2));
    let actions = rig.wait(10 * SECOND);
    assert_eq!(orders(&actions), ["b Shutdown"]);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_copy_that_an_old_slave_holds_up_says_so() {
    let reason = |actions: &[Action]| match ended(actions) {
        Some(Outcome::Aborted { reason, .. }) => reason.clone(),
        other => panic!("{other:?}"),
    };
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(A, pong(1, 0));
    let mut actions = rig.wait(5 * SECOND);
    rig.say(B, pong(1, 0));
    actions.extend(rig.wait(5 * SECOND));
    let said = reason(&actions);
    assert!(
        said.contains("the old slave 00000000 (build") && said.contains("hangs"),
        "{said}"
    );
    // Both answer: it is not known what holds it up.
    let (mut rig, _) = Rig::moving(settings(1));
    let mut actions = rig.wait(5 * SECOND);
    for slave in [A, B] {
        rig.say(slave, pong(1, 0));
    }
    actions.extend(rig.wait(5 * SECOND));
    let said = reason(&actions);
    assert!(!said.contains("because"), "{said}");
}

#[test]
fn a_launched_candidate_that_comes_too_late_is_refused() {
    let mut rig = Rig::serving(1);
    rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    });
    rig.comes_up(Role::Candidate, 0xb);
    let actions = rig.wait(60 * SECOND);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    assert_eq!(orders(&actions), ["give up main"]);
    assert_eq!(
        orders(&rig.join(B, Role::Candidate)),
        ["refuse b Superseded"]
    );
}

#[test]
fn the_death_of_the_new_slave_in_the_soak_brings_everything_back_from_its_checkpoints() {
    let mut rig = Rig::soaking(settings(2));
    rig.say(B, checkpoint(0, 2, 170));
    let actions = rig.die(B);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@3 Reserved a, 1@3 Reserved a, work@3 a",
            "a Resume 0@3 after Death from 100",
            "a Resume 1@3 after Death from 100",
            "a StartWork 3 \"cron\"",
        ]
    );
    rig.say(A, resumed(0, 3));
    let actions = rig.say(A, resumed(1, 3));
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));
    assert!(rig.all_served_by(A));
}

#[test]
fn an_operator_can_stop_a_deploy_until_the_soak_is_over() {
    let mut rig = Rig::soaking(settings(1));
    let actions = rig.input(Input::Abort {
        request: RequestId(5),
        slot: None,
    });
    assert_eq!(
        orders(&actions),
        ["save now 0@3 Reserved a", "b Seal 0@2", "b StopWork 2"]
    );
    rig.say(B, sealed(0, 2, 130));
    rig.say(A, resumed(0, 3));
    let actions = rig.say(B, ToMaster::StopWork(work(2, b"later")));
    assert!(orders(&actions).contains(&"a StartWork 3 \"later\"".to_owned()));
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));

    let mut rig = Rig::soaking(settings(1));
    rig.soaked(B);
    let actions = rig.input(Input::Abort {
        request: RequestId(6),
        slot: None,
    });
    assert!(matches!(
        actions[..],
        [Action::Tell(News::RequestRefused { .. })]
    ));
}

#[test]
fn the_commit_waits_while_the_new_slave_is_cut_off() {
    let mut rig = Rig::soaking(settings(1));
    rig.input(Input::Left { slave: B });
    assert_eq!(orders(&rig.wait(60 * SECOND)), [""; 0]);
    let mut back = report(vec![held(0, 2, Holding::Serving)]);
    back.work = Epoch(2);
    rig.join_with(B, Role::Relaunch, back);
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["b Ping"]);
    assert_eq!(orders(&rig.say(B, pong(0, 0))), ["a Shutdown"]);
}

#[test]
fn a_slave_that_hangs_is_killed() {
    let mut rig = Rig::serving(1);
    assert_eq!(orders(&rig.input(Input::Silent { slave: A })), ["kill a"]);
    assert_eq!(orders(&rig.wait(10 * SECOND)), [""; 0], "not known dead");
}

#[test]
fn an_old_slave_that_does_not_leave_is_killed() {
    let mut rig = Rig::soaking(settings(1));
    rig.soaked(B);
    // What ran at its last seal has its drain first.
    assert_eq!(orders(&rig.wait(29 * SECOND)), [""; 0]);
    assert_eq!(orders(&rig.wait(SECOND)), ["kill a"]);
    assert_eq!(ended(&rig.die(A)), Some(&Outcome::Done));
}

#[test]
fn a_paused_master_kills_nobody_for_silence() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.now = rig.now.after(4 * SECOND);
    rig.input(Input::Resumed);
    assert_eq!(orders(&rig.wait(4 * SECOND)), [""; 0]);
    assert_eq!(orders(&rig.wait(SECOND)), ["kill a"]);
}

#[test]
fn a_slave_that_died_before_says_nothing_that_counts() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    rig.join(B, Role::Relaunch);
    rig.say(B, resumed(0, 2));
    for woken in [resumed(0, 1), checkpoint(0, 1, 900), sealed(0, 1, 900)] {
        assert_eq!(orders(&rig.say(A, woken)), [""; 0]);
    }
    let stale = report(vec![held(0, 1, Holding::Serving)]);
    assert_eq!(
        orders(&rig.join_with(A, Role::Relaunch, stale)),
        ["a Accepted", "a Forget 0@2", "a Shutdown"],
        "it is told that a later epoch exists"
    );
    assert!(rig.all_served_by(B));
}

#[test]
fn a_new_slave_that_ends_its_connection_over_each_copy_is_given_up() {
    let (mut rig, _) = Rig::moving(settings(1));
    let mut ended_after = None;
    for time in 1..20 {
        rig.input(Input::Left { slave: B });
        let actions = rig.join(B, Role::Relaunch);
        if let Some(outcome) = ended(&actions) {
            ended_after = Some((time, outcome.to_string()));
            break;
        }
        rig.say(A, prepared(true));
        rig.say(B, prepared(false));
    }
    let (times, why) = ended_after.expect("it is given up");
    assert_eq!(times, 11);
    assert!(why.contains("connected again 10 times"), "{why}");
    assert!(rig.all_served_by(A));
}

#[test]
fn who_takes_the_place_of_a_deployed_slave_is_still_of_that_deploy() {
    let mut rig = Rig::soaking(settings(1));
    rig.soaked(B);
    rig.die(A);
    let deployed = |rig: &Rig, slave: SlaveId| {
        let view = rig.core.view(rig.now);
        let mut slaves = view.slaves.into_iter();
        let slave = slaves.find(|it| it.slave == slave.to_string()).unwrap();
        slave.deployed_ms_ago
    };
    rig.wait(5 * SECOND);
    assert!(deployed(&rig, B) >= Some(5000));
    rig.die(B);
    rig.join(C, Role::Relaunch);
    rig.wait(5 * SECOND);
    assert!(deployed(&rig, C) >= Some(10_000));
}

#[test]
fn the_next_master_knows_when_a_slot_was_deployed_last_and_what_was_usual_before() {
    let shown = |rig: &Rig, slave: SlaveId| {
        let view = rig.core.view(rig.now);
        let mut slaves = view.slaves.into_iter();
        let slave = slaves.find(|it| it.slave == slave.to_string()).unwrap();
        (slave.deployed_ms_ago, slave.lag_before_ms)
    };
    let mut rig = Rig::soaking(settings(1));
    let mut rows = Recovered::default();
    let actions = rig.soaked(B);
    let saved = actions.iter().filter_map(|action| match action {
        Action::Save(entries, _) => Some(entries),
        _ => None,
    });
    for entry in saved.flatten() {
        rows::write(&mut rows, entry.clone());
    }
    let last = rows.deploys.get_mut("main").unwrap();
    assert!(last.is_done());
    let done = last.done.as_mut().unwrap();
    (done.ago, done.lag_before) = (7 * SECOND, Some(2 * SECOND));
    let mut rig = Rig::restarted(settings(1), rows);
    rig.join_with(
        B,
        Role::Relaunch,
        report(vec![held(0, 2, Holding::Serving)]),
    );
    rig.wait(3 * SECOND);
    assert_eq!(shown(&rig, B), (Some(10_000), Some(2000)));
    // A deploy that comes to nothing does not change what is known of the one before.
    rig.join(C, Role::Candidate);
    rig.die(C);
    assert_eq!(shown(&rig, B), (Some(10_000), Some(2000)));
}
