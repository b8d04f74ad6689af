//! The old slave handles events until Discord takes the session from it.

use baton_protocol::{
    Version,
    message::{Dialled, Overtaken, Unit},
};

use super::*;

fn late(shards: u32) -> Settings {
    Settings {
        late_seal: true,
        ..settings(shards)
    }
}

/// Serving at `A`, which speaks `old`; `B` speaks `new` and is ready: the first
/// shard is being copied.
fn moving_between(old: Version, new: Version, settings: Settings) -> Rig {
    let shards = settings.shard_count;
    let mut rig = Rig::new(settings);
    rig.join_as(A, Role::Relaunch, old, Vec::new());
    for shard in 0..shards {
        rig.ready(A, shard, 1);
    }
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    rig.join_as(B, Role::Candidate, new, Vec::new());
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig
}

fn moving(settings: Settings) -> Rig {
    moving_between(Version::NEWEST, Version::NEWEST, settings)
}

impl Rig {
    fn join_as(
        &mut self,
        id: SlaveId,
        role: Role,
        version: Version,
        held: Vec<Held>,
    ) -> Vec<Action> {
        let mut hello = hello(id, role);
        hello.version = version;
        self.input(Input::Joined {
            hello: Box::new(hello),
            report: report(held),
        })
    }
}

fn dialled(shard: u32) -> ToMaster {
    ToMaster::Dialled(Dialled {
        shard: ShardId(shard),
        epoch: Epoch(1),
        failed: String::new(),
    })
}

fn seals_late(shard: u32, epoch: u64) -> ToMaster {
    ToMaster::SealLate(Unit {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
    })
}

fn overtaken(shard: u32, failed: &str) -> ToMaster {
    ToMaster::Overtaken(Overtaken {
        shard: ShardId(shard),
        epoch: Epoch(1),
        failed: failed.to_owned(),
    })
}

/// The first shard is being sealed late, and its next owner resumes it.
fn overtaking(settings: Settings) -> Rig {
    let mut rig = moving(settings);
    rig.say(B, state_ready(0, 1, 90));
    assert_eq!(
        orders(&rig.say(B, dialled(0))),
        ["save now 0@2 Reserved b", "a SealLate 0@1"]
    );
    assert_eq!(orders(&rig.say(A, seals_late(0, 1))), ["b Overtake 0@1"]);
    rig
}

#[test]
fn the_next_owner_takes_the_session_before_the_old_one_seals() {
    let mut rig = overtaking(late(1));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "sealing"));
    rig.say(A, checkpoint(0, 1, 130));
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 140))),
        ["b Resume 0@2 after Seal from 90"],
        "Discord closed the old connection"
    );
    assert_eq!(orders(&rig.say(B, overtaken(0, ""))), [""; 0]);
    rig.say(B, resumed(0, 2));
    assert!(rig.all_served_by(B));
}

#[test]
fn an_owner_whose_connection_stays_open_is_told_to_seal_once_the_next_one_has_resumed() {
    let mut rig = overtaking(late(1));
    assert_eq!(orders(&rig.say(B, overtaken(0, ""))), ["a Seal 0@1"]);
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 140))),
        ["b Resume 0@2 after Seal from 90"]
    );
}

#[test]
fn one_refusal_and_the_rest_of_the_deploy_is_sealed_strictly() {
    let mut rig = overtaking(Settings {
        canary: 1,
        ..late(2)
    });
    let actions = rig.say(B, overtaken(0, "op 9, d: true"));
    assert_eq!(
        orders(&actions),
        ["save soon late seals refused: true", "a Seal 0@1"]
    );
    assert_eq!(alarms(&actions), 1);
    rig.say(A, sealed(0, 1, 140));
    rig.say(B, resumed(0, 2));
    rig.say(B, state_ready(1, 1, 90));
    assert_eq!(
        orders(&rig.say(B, dialled(1))),
        ["save now 1@2 Reserved b", "a Seal 1@1"]
    );
}

/// Its first shard is at `B`, and Discord refused to have it sealed late.
fn refused(why: &str) -> (Rig, Recovered) {
    let mut rig = overtaking(late(1));
    let mut journal = Recovered::default();
    for action in rig.say(B, overtaken(0, why)) {
        if let Action::Save(entries, _) = action {
            for entry in entries {
                rows::write(&mut journal, entry);
            }
        }
    }
    rig.say(A, sealed(0, 1, 140));
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, resumed(0, 2));
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    rig.soaked(B);
    rig.die(A);
    (rig, journal)
}

/// How a fleet of `B` seals shard 0 in a deploy to `C`.
fn seals(rig: &mut Rig) -> Vec<String> {
    rig.join_as(C, Role::Candidate, Version::NEWEST, Vec::new());
    rig.say(B, prepared(true));
    rig.say(C, prepared(false));
    rig.say(C, state_ready(0, 2, 140));
    let dialled = ToMaster::Dialled(Dialled {
        shard: ShardId(0),
        epoch: Epoch(2),
        failed: String::new(),
    });
    orders(&rig.say(C, dialled))
}

#[test]
fn a_refusal_is_remembered_by_later_deploys_and_masters() {
    let (mut rig, mut journal) = refused("op 9, d: false");
    assert!(rig.core.view(rig.now).late_seal_refused);
    assert_eq!(seals(&mut rig), ["save now 0@3 Reserved c", "b Seal 0@2"]);
    assert!(journal.late_seal_refused);
    let row = Row {
        epoch: Epoch(2),
        owner: B,
        hold: Hold::Owned,
        ..Row::default()
    };
    journal.shards.insert(ShardId(0), row);
    let mut newest = hello(B, Role::Relaunch);
    newest.version = Version::NEWEST;
    journal.slaves.insert(B, newest);
    let mut next = Rig::restarted(late(1), journal);
    let serves = held(0, 2, Holding::Serving);
    next.join_as(B, Role::Relaunch, Version::NEWEST, vec![serves]);
    next.wait(10 * SECOND);
    assert!(next.core.view(next.now).late_seal_refused);
    assert_eq!(seals(&mut next), ["save now 0@3 Reserved c", "b Seal 0@2"]);
}

#[test]
fn an_operator_can_have_a_refusal_forgotten() {
    let (mut rig, _) = refused("op 9, d: true");
    let word = || Input::LateSealsAgain {
        request: RequestId(1),
    };
    assert_eq!(
        orders(&rig.input(word())),
        ["save now late seals refused: false"]
    );
    assert!(refusal(&rig.input(word())).contains("nothing to forget"));
    assert_eq!(
        seals(&mut rig),
        ["save now 0@3 Reserved c", "b SealLate 0@2"]
    );
}

#[test]
fn a_connection_that_broke_is_no_refusal() {
    let (mut rig, journal) = refused("closed with 1006 \"reset\"");
    assert!(!journal.late_seal_refused);
    assert_eq!(
        seals(&mut rig),
        ["save now 0@3 Reserved c", "b SealLate 0@2"]
    );
}

#[test]
fn before_the_first_late_seal_worked_no_second_one_is_tried_beside_it() {
    let mut rig = moving(Settings {
        canary: 0,
        ..late(3)
    });
    for shard in 0..3 {
        rig.say(B, state_ready(shard, 1, 90));
    }
    let seals = |actions: Vec<Action>| orders(&actions).pop();
    assert_eq!(
        seals(rig.say(B, dialled(0))),
        Some("a SealLate 0@1".to_owned())
    );
    assert_eq!(seals(rig.say(B, dialled(1))), Some("a Seal 1@1".to_owned()));
    rig.say(A, seals_late(0, 1));
    rig.say(B, overtaken(0, ""));
    rig.say(A, sealed(0, 1, 140));
    rig.say(B, resumed(0, 2));
    rig.say(A, sealed(1, 1, 140));
    rig.say(B, resumed(1, 2));
    assert_eq!(
        seals(rig.say(B, dialled(2))),
        Some("a SealLate 2@1".to_owned())
    );
}

#[test]
fn an_owner_that_has_no_connection_seals_at_once() {
    let mut rig = moving(late(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(B, dialled(0));
    assert_eq!(
        orders(&rig.say(A, sealed(0, 1, 140))),
        ["b Resume 0@2 after Seal from 90"]
    );
    assert_eq!(orders(&rig.say(A, seals_late(0, 1))), [""; 0]);
}

#[test]
fn a_late_seal_that_nothing_comes_of_becomes_a_strict_one() {
    let mut rig = overtaking(late(1));
    assert_eq!(orders(&rig.wait(settings(1).seal)), ["a Seal 0@1"]);
}

#[test]
fn an_owner_that_is_back_from_a_lost_link_is_copied_anew_and_not_overtaken() {
    let mut rig = overtaking(late(1));
    rig.input(Input::Left { slave: A });
    let serving = held(0, 1, Holding::Serving);
    let actions = rig.join_as(A, Role::Relaunch, Version::NEWEST, vec![serving]);
    assert!(
        orders(&actions).contains(&"a CopyState 0@1".to_owned()),
        "{:?}",
        orders(&actions)
    );
    assert_eq!(orders(&rig.say(A, seals_late(0, 1))), [""; 0]);
    assert_eq!(orders(&rig.say(B, overtaken(0, ""))), [""; 0]);
}

#[test]
fn shards_in_hand_are_sealed_at_once_when_the_deploy_goes_back() {
    let mut rig = overtaking(late(1));
    let actions = rig.input(Input::Abort {
        request: RequestId(1),
        slot: None,
    });
    assert_eq!(orders(&actions), ["a Seal 0@1"]);
    let back = rig.say(A, sealed(0, 1, 140));
    assert!(
        orders(&back)
            .iter()
            .any(|order| order.starts_with("a Resume 0@3")),
        "{:?}",
        orders(&back)
    );
}

#[test]
fn slaves_of_before_are_sealed_strictly() {
    for (old, new) in [(4, 5), (5, 4)] {
        let mut rig = moving_between(Version(old), Version(new), late(1));
        rig.say(B, state_ready(0, 1, 90));
        assert_eq!(
            orders(&rig.say(B, dialled(0))),
            ["save now 0@2 Reserved b", "a Seal 0@1"]
        );
    }
}
