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
    assert_eq!(orders(&rig.say(B, overtaken(0, ""))), ["a StopShard 0@1"]);
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
    assert_eq!(orders(&actions), ["a StopShard 0@1"]);
    assert_eq!(alarms(&actions), 1);
    rig.say(A, sealed(0, 1, 140));
    rig.say(B, resumed(0, 2));
    rig.say(B, state_ready(1, 1, 90));
    assert_eq!(
        orders(&rig.say(B, dialled(1))),
        ["save now 1@2 Reserved b", "a StopShard 1@1"]
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
    assert_eq!(orders(&rig.wait(settings(1).seal)), ["a StopShard 0@1"]);
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
    });
    assert_eq!(orders(&actions), ["a StopShard 0@1"]);
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
            ["save now 0@2 Reserved b", "a StopShard 0@1"]
        );
    }
}
