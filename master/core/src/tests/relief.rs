//! A slave with too much memory is replaced as by a deploy, once in a while.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn above(is_above: bool) -> ToMaster {
    ToMaster::Pong(Pong {
        memory: Some(MemoryUse {
            resident: 600 << 20,
            limit: 512 << 20,
            is_above,
        }),
        ..Pong::default()
    })
}

fn alarms(actions: &[Action]) -> Vec<String> {
    let alarms = actions.iter().filter_map(|action| match action {
        Action::Tell(News::Alarm { detail }) => Some(detail.clone()),
        _ => None,
    });
    alarms.collect()
}

/// Whether a process is launched for a deploy.
fn launches(actions: &[Action]) -> bool {
    let is_candidate = |action: &Action| {
        matches!(
            action,
            Action::Launch {
                role: Role::Candidate,
                command: None,
                ..
            }
        )
    };
    actions.iter().any(is_candidate)
}

/// The deploy that is under way comes to its end: `to` has everything.
fn is_followed(rig: &mut Rig, from: SlaveId, to: SlaveId, epoch: u64) {
    rig.say(from, prepared(true));
    rig.say(to, prepared(false));
    rig.move_shard(from, to, 0, epoch);
    rig.say(from, ToMaster::StopWork(work(epoch, b"cron")));
    rig.say(to, ToMaster::StartWork(work(epoch + 1, b"")));
    rig.soaked(to);
    assert!(rig.all_served_by(to));
    rig.die(from);
    assert_eq!(rig.step(), None);
}

#[test]
fn a_slave_above_its_memory_limit_is_followed_by_a_process_that_is_launched() {
    let mut rig = Rig::serving(1);
    assert!(
        !launches(&rig.say(A, above(false))),
        "it is near, not above"
    );
    let actions = rig.say(A, above(true));
    assert!(launches(&actions));
    let told = alarms(&actions).join(" ");
    assert!(
        told.contains("600 MiB of memory and may have 512 MiB"),
        "{told}"
    );
    rig.comes_up(Role::Candidate, 0xb);
    rig.join(B, Role::Candidate);
    is_followed(&mut rig, A, B, 1);
}

#[test]
fn a_standby_that_is_built_follows_a_slave_above_its_memory_limit() {
    let settings = Settings {
        standbys: 1,
        ..settings(1)
    };
    let mut rig = Rig::serving_with(settings);
    rig.wait(SECOND);
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    let actions = rig.say(A, above(true));
    assert!(!launches(&actions));
    assert_eq!(
        orders(&actions),
        ["b ShardMigrationStart to", "a ShardMigrationStart from"]
    );
    is_followed(&mut rig, A, B, 1);
}

#[test]
fn a_slot_has_one_such_deploy_in_ten_minutes() {
    let mut rig = Rig::serving(1);
    rig.say(A, above(true));
    rig.comes_up(Role::Candidate, 0xb);
    rig.join(B, Role::Candidate);
    assert_eq!(orders(&rig.say(A, above(true))), [""; 0], "it is on");
    is_followed(&mut rig, A, B, 1);
    // The next one is above the limit from its beginning.
    assert!(!launches(&rig.say(B, above(true))));
    rig.wait(9 * MINUTE);
    assert!(!launches(&rig.say(B, above(true))));
    rig.wait(MINUTE);
    assert!(launches(&rig.say(B, above(true))));
}

#[test]
fn a_slave_whose_successor_does_not_come_up_serves_on_and_asks_again_later() {
    let mut rig = Rig::serving(1);
    assert!(launches(&rig.say(A, above(true))));
    rig.launch_fails(Role::Candidate);
    assert_eq!(rig.step(), None);
    assert!(rig.all_served_by(A));
    let actions = rig.say(A, above(true));
    assert!(!launches(&actions) && alarms(&actions).is_empty());
    rig.wait(10 * MINUTE);
    assert!(launches(&rig.say(A, above(true))));
}

#[test]
fn nothing_is_launched_where_nothing_can_be_or_an_operator_holds_it() {
    let mut nowhere = settings(1);
    nowhere.slots[0].launches = false;
    let mut rig = Rig::serving_with(nowhere);
    let actions = rig.say(A, above(true));
    assert!(!launches(&actions));
    let told = alarms(&actions).join(" ");
    assert!(
        told.contains("serves on") && told.contains("no command"),
        "{told}"
    );
    assert!(
        alarms(&rig.say(A, above(true))).is_empty(),
        "it is said once"
    );

    let mut rig = Rig::serving(1);
    rig.core.fleet.held = true;
    assert!(!launches(&rig.say(A, above(true))));
    rig.core.fleet.held = false;
    assert!(launches(&rig.say(A, above(true))), "it was not forgotten");
}
