//! Builds that were given up do not deploy themselves later.

use super::*;

/// A candidate that says for which deploy it was launched.
fn launched_for(slave: SlaveId, role: Role, deploy: u64) -> Input {
    let mut hello = hello(slave, role);
    hello.deploy = DeployId(deploy);
    Input::Joined {
        hello: Box::new(hello),
        report: Report::default(),
    }
}

/// A served slot, and a process that was launched for a deploy of it.
fn launched() -> Rig {
    let mut rig = Rig::serving(1);
    let request = RequestId(1);
    rig.input(Input::Deploy {
        request,
        order: order(Some("v2")),
    });
    rig.comes_up(Role::Candidate, 0xdead);
    rig
}

#[test]
fn a_launch_that_forked_is_known_by_its_deploy_whatever_its_process() {
    let mut rig = launched();
    let stranger = orders(&rig.input(launched_for(C, Role::Candidate, 7)));
    assert_eq!(stranger, ["refuse c Busy"], "of another deploy");
    let came = orders(&rig.input(launched_for(B, Role::Candidate, 1)));
    assert!(
        came.contains(&"b ShardMigrationStart to".to_owned()),
        "{came:?}"
    );
}

#[test]
fn who_was_given_up_stays_given_up_when_what_was_launched_ended_first() {
    let mut rig = launched();
    let actions = rig.launch_fails(Role::Candidate);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    // It had gone into the background.
    for role in [Role::Candidate, Role::Relaunch] {
        let came = orders(&rig.input(launched_for(B, role, 1)));
        assert_eq!(came, ["refuse b Superseded"]);
    }
    rig.die(A);
    let came = orders(&rig.input(launched_for(B, Role::Candidate, 1)));
    assert_eq!(
        came,
        ["refuse b Superseded"],
        "also where the slot is empty"
    );
}

#[test]
fn the_next_master_knows_who_was_given_up() {
    let recovered = Recovered {
        last_deploy: DeployId(2).into(),
        given_up: [DeployId(1)].into(),
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings(1), recovered);
    rig.join(A, Role::Relaunch);
    rig.ready(A, 0, 1);
    let came = orders(&rig.input(launched_for(B, Role::Candidate, 1)));
    assert_eq!(came, ["refuse b Superseded"]);
    // The master before did not see the end of this one: it goes on.
    let came = orders(&rig.input(launched_for(C, Role::Candidate, 2)));
    assert!(
        came.contains(&"c ShardMigrationStart to".to_owned()),
        "{came:?}"
    );
}

#[test]
fn a_build_that_was_rolled_back_does_not_deploy_itself_again() {
    let mut rig = Rig::serving(1);
    rig.input(launched_for(B, Role::Candidate, 0));
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 120));
    rig.say(B, failed(0, 2));
    let actions = rig.say(A, resumed(0, 3));
    assert!(matches!(ended(&actions), Some(Outcome::RolledBack { .. })));
    rig.die(B);
    // The cause that started it does so again.
    let came = orders(&rig.input(launched_for(C, Role::Candidate, 1)));
    assert_eq!(came, ["refuse c Superseded"]);
}
