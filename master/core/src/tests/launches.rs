//! A launch is known by its id: process ids are of one host, and are used again.

use super::*;

/// A slave of the process with this id that says of which launch it is.
fn comes_from(
    rig: &mut Rig,
    slave: SlaveId,
    role: Role,
    pid: u32,
    launch: LaunchId,
) -> Vec<Action> {
    let mut hello = hello(slave, role);
    (hello.process.pid, hello.launch) = (pid, launch);
    rig.comes(hello, Report::default())
}

fn deploys(rig: &mut Rig) -> Vec<Action> {
    rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    })
}

#[test]
fn a_candidate_is_known_by_its_launch_and_another_hosts_process_has_the_same_number() {
    let mut rig = Rig::serving(1);
    deploys(&mut rig);
    rig.comes_up(Role::Candidate, 77);
    let launch = rig.launch_of(Role::Candidate);
    let other = LaunchId(99);
    let actions = comes_from(&mut rig, C, Role::Candidate, 77, other);
    assert_eq!(orders(&actions), ["refuse c Busy"]);
    comes_from(&mut rig, B, Role::Candidate, 12, launch);
    assert_eq!(rig.step(), Some("preparing"));
}

#[test]
fn a_launch_that_comes_to_nothing_late_is_not_the_one_of_the_deploy() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    rig.wait(2 * SECOND);
    let before = rig.launch_of(Role::Relaunch);
    deploys(&mut rig);
    let reason = "was killed".to_owned();
    rig.input(Input::LaunchFailed {
        launch: before,
        reason,
    });
    rig.input(Input::Launched {
        launch: before,
        pid: 0xc,
    });
    assert_eq!(rig.step(), Some("starting"));
    // That number is the earlier process', so it says nothing of the candidate.
    rig.join(B, Role::Candidate);
    assert_eq!(rig.step(), Some("preparing"));
    let failed = rig.launch_fails(Role::Candidate);
    assert_eq!(ended(&failed), None, "it has joined");
}

#[test]
fn who_fills_a_slot_by_itself_makes_what_is_launched_superfluous() {
    for (launch, gives_up) in [(LaunchId(1), false), (LaunchId(99), true)] {
        let mut rig = Rig::new(settings(1));
        rig.input(Input::Tick);
        rig.wait(15 * SECOND);
        assert_eq!(rig.launch_of(Role::Relaunch), LaunchId(1));
        let actions = comes_from(&mut rig, A, Role::Relaunch, 5, launch);
        let given_up = orders(&actions).contains(&"give up main".to_owned());
        assert_eq!(given_up, gives_up, "{launch:?}");
    }
}

#[test]
fn a_process_whose_number_was_refused_once_may_come_with_a_launch_of_its_own() {
    let mut rig = Rig::serving(1);
    deploys(&mut rig);
    rig.comes_up(Role::Candidate, 77);
    rig.launch_fails(Role::Candidate);
    let actions = comes_from(&mut rig, C, Role::Candidate, 77, LaunchId::default());
    assert_eq!(orders(&actions), ["refuse c Superseded"]);
    deploys(&mut rig);
    let launch = rig.launch_of(Role::Candidate);
    comes_from(&mut rig, B, Role::Candidate, 77, launch);
    assert_eq!(rig.step(), Some("preparing"));
}

#[test]
fn another_master_launches_nothing_that_the_one_before_launched() {
    let recovered = Recovered {
        launches: LaunchId(u128::MAX - 1),
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings(1), recovered);
    rig.input(Input::Tick);
    rig.wait(15 * SECOND);
    assert_eq!(rig.launch_of(Role::Relaunch), LaunchId(u128::MAX));
    rig.launch_fails(Role::Relaunch);
    rig.wait(15 * SECOND);
    let next = rig.launch_of(Role::Relaunch);
    assert!(next.is_said(), "zero is none");
}
