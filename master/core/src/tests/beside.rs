//! Deploys of several slots beside each other.

use super::{slots::two_slots, *};
use crate::event::Pause;

fn comes(rig: &mut Rig, slave: SlaveId, slot: &str, role: Role, launch: LaunchId) -> Vec<Action> {
    let mut hello = hello(slave, role);
    (hello.slot, hello.launch) = (slot.to_owned(), launch);
    rig.comes(hello, Report::default())
}

/// `A` serves `main` and `B` serves `west`, half of the shards each.
fn serving(settings: Settings) -> Rig {
    let shards = settings.shard_count;
    let mut rig = Rig::new(settings);
    for (slave, slot) in [(A, "main"), (B, "west")] {
        comes(&mut rig, slave, slot, Role::Relaunch, LaunchId::default());
    }
    for shard in 0..shards {
        let owner = if shard < shards / 2 { A } else { B };
        rig.ready(owner, shard, 1);
    }
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    rig
}

fn many(width: u32) -> Settings {
    let mut settings = two_slots();
    (settings.slots[0].shards, settings.slots[1].shards) =
        (Some(Members::range(0, 3)), Some(Members::range(4, 7)));
    Settings {
        shard_count: 8,
        width,
        ..settings
    }
}

fn deploys(rig: &mut Rig, slot: &str, beside: Beside, width: u32) -> Vec<Action> {
    let order = DeployOrder {
        slot: slot.to_owned(),
        canary: 0,
        width,
        beside,
        ..order(Some("v2"))
    };
    let request = RequestId(1);
    rig.input(Input::Deploy { request, order })
}

/// `main` moves to `C` and `west` to `D`, beside each other.
fn both(width: u32) -> Rig {
    let mut rig = serving(many(width));
    for (slot, old, new) in [("main", A, C), ("west", B, D)] {
        deploys(&mut rig, slot, Beside::Others, width);
        let launch = rig.launch_of(Role::Candidate);
        comes(&mut rig, new, slot, Role::Candidate, launch);
        rig.say(old, prepared(true));
        rig.say(new, prepared(false));
    }
    rig
}

/// How many shards each deploy has in hand.
fn in_hand(rig: &Rig) -> Vec<u32> {
    let view = rig.core.view(rig.now);
    view.deploys.iter().map(|deploy| deploy.in_hand).collect()
}

#[test]
fn a_slot_is_deployed_beside_another_only_where_the_operator_asks_for_it() {
    let mut rig = serving(many(16));
    deploys(&mut rig, "main", Beside::Nothing, 16);
    let refused = deploys(&mut rig, "west", Beside::Nothing, 16);
    assert!(refusal(&refused).contains("of slot \"main\" is under way"));
    let taken = deploys(&mut rig, "west", Beside::Others, 16);
    assert_eq!(orders(&taken), ["launch Candidate v2"]);
    let refused = deploys(&mut rig, "main", Beside::Others, 16);
    assert!(refusal(&refused).contains("of slot \"main\" is under way"));
}

#[test]
fn both_come_to_their_end_and_the_work_follows_its_own() {
    let mut rig = both(16);
    for shard in 0..4 {
        rig.move_shard(A, C, shard, 1);
        rig.move_shard(B, D, shard + 4, 1);
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(C, ToMaster::StartWork(work(2, b"")));
    let end = rig.wait(10 * SECOND);
    assert_eq!(orders(&end), ["c Ping", "d Ping"]);
    assert_eq!(
        orders(&rig.say(D, pong(0, 0))),
        ["save soon command v2", "b Shutdown"]
    );
    assert_eq!(ended(&rig.die(B)), Some(&Outcome::Done));
    assert_eq!(in_hand(&rig), [0], "the other one runs on");
    assert_eq!(
        orders(&rig.say(C, pong(0, 0))),
        ["save soon command v2", "a Shutdown"]
    );
    assert_eq!(ended(&rig.die(A)), Some(&Outcome::Done));
    for shard in 0..8 {
        let owner = if shard < 4 { C } else { D };
        assert_eq!(rig.shard(shard), (Some(owner.to_string()), "serving"));
    }
}

#[test]
fn the_width_is_one_for_all_and_each_has_its_part_of_it() {
    let mut rig = serving(many(4));
    deploys(&mut rig, "main", Beside::Others, 4);
    let launch = rig.launch_of(Role::Candidate);
    comes(&mut rig, C, "main", Role::Candidate, launch);
    rig.say(A, prepared(true));
    rig.say(C, prepared(false));
    assert_eq!(in_hand(&rig), [4], "alone it has all of it");
    deploys(&mut rig, "west", Beside::Others, 4);
    let launch = rig.launch_of(Role::Candidate);
    comes(&mut rig, D, "west", Role::Candidate, launch);
    rig.say(B, prepared(true));
    rig.say(D, prepared(false));
    assert_eq!(in_hand(&rig), [4, 0], "there is no room yet");
    let mut seen = Vec::new();
    for shard in 0..4 {
        rig.move_shard(A, C, shard, 1);
        seen.push(in_hand(&rig));
    }
    assert_eq!(seen, [[3, 1], [2, 2], [1, 2], [0, 4]]);
}

#[test]
fn what_a_deploy_had_in_hand_is_room_for_the_other_once_it_has_ended() {
    let mut rig = serving(many(4));
    for (slot, old, new) in [("main", A, C), ("west", B, D)] {
        deploys(&mut rig, slot, Beside::Others, 4);
        let launch = rig.launch_of(Role::Candidate);
        comes(&mut rig, new, slot, Role::Candidate, launch);
        rig.say(old, prepared(true));
        rig.say(new, prepared(false));
    }
    assert_eq!(in_hand(&rig), [4, 0], "there is no room yet");
    let (request, slot) = (RequestId(2), Some("main".to_owned()));
    let back = rig.input(Input::Abort { request, slot });
    assert!(ended(&back).is_some(), "nothing had moved");
    assert_eq!(in_hand(&rig), [4]);
}

/// The operator holds the deploy of a slot.
fn hold(rig: &mut Rig, slot: &str) {
    rig.input(Input::Pause {
        request: RequestId(3),
        slot: Some(slot.to_owned()),
        pause: Pause::Hold,
    });
}

/// The slots that this input has looked at.
fn looked_at(rig: &mut Rig, slave: SlaveId, message: ToMaster) -> u64 {
    let before = rig.core.out.looked_at;
    rig.say(slave, message);
    rig.core.out.looked_at - before
}

#[test]
fn an_input_costs_what_it_costs_with_one_deploy_unless_it_makes_room_for_the_other() {
    let mut rig = both(2);
    assert_eq!(in_hand(&rig), [2, 0], "the other one has no room");
    assert_eq!(looked_at(&mut rig, A, checkpoint(3, 1, 200)), 0);
    assert_eq!(looked_at(&mut rig, D, pong(0, 0)), 0);
    assert_eq!(looked_at(&mut rig, B, checkpoint(7, 1, 200)), 0);
    let before = rig.core.out.looked_at;
    rig.move_shard(A, C, 0, 1);
    assert!(
        rig.core.out.looked_at > before + 2,
        "the other one may go on"
    );
    assert_eq!(in_hand(&rig), [1, 1]);
    assert_eq!(looked_at(&mut rig, B, checkpoint(7, 1, 201)), 0, "it has");
}

#[test]
fn a_deploy_that_comes_later_has_its_part_as_soon_as_there_is_room() {
    let mut rig = both(2);
    assert_eq!(in_hand(&rig), [2, 0], "the first one has all of it");
    rig.move_shard(A, C, 0, 1);
    assert_eq!(
        in_hand(&rig),
        [1, 1],
        "and gives of it before it takes its next shard"
    );
    hold(&mut rig, "west");
    rig.move_shard(B, D, 4, 1);
    assert_eq!(in_hand(&rig), [2, 0], "one that is held needs none");
}

#[test]
fn narrow_deploys_do_not_starve_each_other() {
    let rig = both(1);
    assert_eq!(in_hand(&rig), [1, 1]);
}

#[test]
fn one_goes_back_and_the_other_goes_on() {
    let mut rig = both(16);
    rig.move_shard(A, C, 0, 1);
    rig.move_shard(B, D, 4, 1);
    let request = RequestId(2);
    let slot = None;
    let refused = rig.input(Input::Abort { request, slot });
    assert!(refusal(&refused).contains("(main, west): name the slot of one"));
    let slot = Some("east".to_owned());
    let refused = rig.input(Input::Abort { request, slot });
    assert!(refusal(&refused).contains("this fleet has no slot \"east\""));
    let slot = Some("west".to_owned());
    let back = rig.input(Input::Abort { request, slot });
    assert!(
        orders(&back).contains(&"d Seal 4@2".to_owned()),
        "{:?}",
        orders(&back)
    );
    let steps = |rig: &Rig| -> Vec<_> {
        let view = rig.core.view(rig.now);
        view.deploys.iter().map(|deploy| deploy.step).collect()
    };
    assert_eq!(steps(&rig), ["moving", "rolling back"]);
    for shard in 1..4 {
        rig.move_shard(A, C, shard, 1);
    }
    assert_eq!(steps(&rig), ["work", "rolling back"]);
}

#[test]
fn a_pause_holds_the_deploy_that_is_named() {
    let mut rig = both(2);
    hold(&mut rig, "west");
    rig.move_shard(A, C, 0, 1);
    rig.move_shard(B, D, 4, 1);
    assert_eq!(in_hand(&rig)[1], 0, "it begins no further shard");
    assert_ne!(in_hand(&rig)[0], 0);
}
