//! Going back after a long deploy: what the old slave has of the state stands at its
//! seal (100), and Discord replays 1000 events.

use super::*;

/// In the soak, with the new slave so far.
fn soaking_at(handled: u64) -> Rig {
    let mut rig = Rig::soaking(settings(1));
    rig.say(B, checkpoint(0, 2, handled));
    rig
}

fn abort(rig: &mut Rig) -> Vec<String> {
    let request = RequestId(5);
    orders(&rig.input(Input::Abort {
        request,
        slot: None,
    }))
}

#[test]
fn a_state_that_the_replay_reaches_is_gone_back_to_at_once() {
    assert_eq!(
        abort(&mut soaking_at(850)),
        ["save now 0@3 Reserved a", "b Seal 0@2", "b StopWork 2"]
    );
}

#[test]
fn a_state_that_is_further_behind_is_copied_back_first() {
    let mut rig = soaking_at(851);
    assert_eq!(abort(&mut rig), ["b CopyState 0@2", "b StopWork 2"]);
    assert_eq!(rig.shard(0), (Some(B.to_string()), "copying"));
    assert_eq!(
        orders(&rig.say(A, state_ready(0, 2, 855))),
        ["save now 0@3 Reserved a", "b Seal 0@2"]
    );
    assert_eq!(
        orders(&rig.say(B, sealed(0, 2, 860))),
        ["a Resume 0@3 after Seal from 855"]
    );
}

#[test]
fn a_copy_back_that_is_old_by_the_time_it_is_whole_is_made_once_more() {
    let mut rig = soaking_at(851);
    abort(&mut rig);
    rig.say(B, checkpoint(0, 2, 2000));
    assert_eq!(
        orders(&rig.say(A, state_ready(0, 2, 900))),
        ["b CopyState 0@2"]
    );
    assert_eq!(
        orders(&rig.say(A, state_ready(0, 2, 1990))),
        ["save now 0@3 Reserved a", "b Seal 0@2"]
    );
}

#[test]
fn after_a_death_a_state_out_of_reach_is_given_up_and_no_event_is() {
    let resumes = |handled| orders(&soaking_at(handled).die(B))[1].clone();
    assert_eq!(resumes(1100), "a Resume 0@3 after Death from 100");
    assert_eq!(
        resumes(1101),
        "a Resume 0@3 after Death from 1101 without its state"
    );
}

#[test]
fn a_death_in_the_middle_of_the_copy_back_leaves_what_the_old_slave_has() {
    for (handled, resume) in [
        (900, "a Resume 0@3 after Death from 100"),
        (1200, "a Resume 0@3 after Death from 1200 without its state"),
    ] {
        let mut rig = soaking_at(handled);
        abort(&mut rig);
        let actions = orders(&rig.die(B));
        assert!(actions.contains(&resume.to_owned()), "{actions:?}");
    }
}

#[test]
fn what_is_full_is_not_moved_and_the_way_back_does_not_wait_for_the_end_of_its_replay() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, progress(0, 2, Step::Replaying));
    rig.wait(5 * SECOND);
    assert_eq!(rig.step(), Some("rolling back"));
    rig.say(B, sealed(0, 2, 110));
    rig.say(B, settled(0, 2, &[]));
    rig.say(A, progress(0, 3, Step::Replaying));
    let actions = rig.wait(5 * SECOND);
    let Some(Outcome::RolledBack { reason, .. }) = ended(&actions) else {
        panic!("{actions:?}");
    };
    assert!(reason.contains("A full shard cannot be moved"), "{reason}");
    assert_eq!(alarms(&actions), 1);
    assert_eq!(rig.shard(0), (Some(A.to_string()), "reconnecting"));
    // RESUMED comes at last, and the next deploy is taken.
    rig.say(A, resumed(0, 3));
    assert!(rig.all_served_by(A));
    rig.join(C, Role::Candidate);
    assert_eq!(rig.step(), Some("preparing"));
}

#[test]
fn a_shard_that_is_back_and_behind_may_be_deployed_again_while_it_is_replayed() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, progress(0, 2, Step::Replaying));
    rig.die(B);
    rig.say(A, progress(0, 3, Step::Replaying));
    rig.wait(5 * SECOND);
    assert_eq!(rig.step(), None);
    // What is replayed may have been handled by the dead one: still marked.
    let actions = rig.die(A);
    assert_eq!(
        orders(&actions)
            .iter()
            .filter(|order| order.contains("Resume"))
            .count(),
        0
    );
    rig.wait(2 * SECOND);
    let actions = rig.join(C, Role::Relaunch);
    assert!(
        orders(&actions).contains(&"c Resume 0@4 after Death from 100".to_owned()),
        "{actions:?}"
    );
}
