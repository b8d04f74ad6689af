//! Shards that move to another slot, without a deploy.

use super::{slots::two_slots, *};
use crate::event::{Arranging, JournalState};

/// `A` serves slot main with shards 0 and 1, `B` slot west with 2 and 3.
pub(super) fn two_served(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.comes(of_west(B), Report::default());
    rig.join(A, Role::Candidate);
    for (slave, shard) in [(A, 0), (A, 1), (B, 2), (B, 3)] {
        rig.ready(slave, shard, 1);
    }
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    rig
}

fn of_west(slave: SlaveId) -> Hello {
    let mut hello = hello(slave, Role::Candidate);
    hello.slot = "west".to_owned();
    hello
}

pub(super) fn arrange(rig: &mut Rig, order: Arranging) -> Vec<Action> {
    let request = RequestId(1);
    rig.input(Input::Arrange { request, order })
}

pub(super) fn to(shards: &str, slot: &str) -> Arranging {
    Arranging::Move {
        shards: shards.parse().unwrap(),
        to: slot.to_owned(),
    }
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Each on a host of its own.
fn on_hosts() -> Settings {
    let mut settings = two_slots();
    settings.slots[0].host = Some("east".to_owned());
    settings.slots[1].host = Some("west".to_owned());
    settings
}

pub(super) fn refused(actions: &[Action]) -> &str {
    let mut refused = actions.iter().filter_map(|action| match action {
        Action::Tell(News::RequestRefused { reason, .. }) => Some(reason.as_str()),
        _ => None,
    });
    refused.next().expect("it is refused")
}

fn alarms(actions: &[Action]) -> Vec<&str> {
    let alarms = actions.iter().filter_map(|action| match action {
        Action::Tell(News::Alarm { detail }) => Some(detail.as_str()),
        _ => None,
    });
    alarms.collect()
}

/// Slot, where it is to be, and owner of a shard.
pub(super) fn place(rig: &Rig, shard: usize) -> (String, Option<String>, Option<String>) {
    let shard = rig.core.view(rig.now).shards.swap_remove(shard);
    (shard.slot, shard.moves_to, shard.owner)
}

pub(super) fn is_at(rig: &Rig, shard: usize, slot: &str, owner: SlaveId) -> bool {
    place(rig, shard) == (slot.to_owned(), None, Some(owner.to_string()))
}

#[test]
fn a_shard_moves_to_another_slot_by_the_ordinary_handover_and_both_slaves_serve() {
    let mut rig = two_served(two_slots());
    let actions = arrange(&mut rig, to("1", "west"));
    assert_eq!(
        orders(&actions),
        ["save now arrangement 1 main>west", "a CopyState 1@1"],
        "what is ordered is on the disk first"
    );
    assert_eq!(place(&rig, 1).1.as_deref(), Some("west"));
    let actions = rig.say(B, state_ready(1, 1, 90));
    assert_eq!(orders(&actions), ["save now 1@2 Reserved b", "a Seal 1@1"]);
    let actions = rig.say(A, sealed(1, 1, 100));
    assert_eq!(orders(&actions), ["b Resume 1@2 after Seal from 90"]);
    rig.say(A, settled(1, 1, &[]));
    let actions = rig.say(B, resumed(1, 2));
    assert_eq!(
        orders(&actions),
        ["save soon 1@2 Owned b", "a Forget 1@2"],
        "the slave before keeps nothing of it"
    );
    assert!(is_at(&rig, 1, "west", B));
    assert!(is_at(&rig, 0, "main", A));
    let view = rig.core.view(rig.now);
    assert_eq!((view.moves.left, view.moves.in_hand), (0, 0));
    assert_eq!(view.slots[0].shards, "0");
    assert_eq!(view.slots[1].shards, "1-3");
}

#[test]
fn the_slave_before_forgets_a_shard_only_when_what_ran_there_is_settled() {
    let mut rig = two_served(two_slots());
    arrange(&mut rig, to("1", "west"));
    rig.say(B, state_ready(1, 1, 90));
    rig.say(A, sealed(1, 1, 100));
    let actions = rig.say(B, resumed(1, 2));
    assert_eq!(orders(&actions), ["save soon 1@2 Owned b"]);
    let actions = rig.say(A, settled(1, 1, &[]));
    let orders = orders(&actions);
    assert!(orders.contains(&"a Forget 1@2".to_owned()), "{orders:?}");
}

#[test]
fn a_copy_that_stalls_leaves_the_shard_where_it_is_and_is_tried_again_later() {
    let mut rig = two_served(two_slots());
    arrange(&mut rig, to("1", "west"));
    let actions = rig.wait(10 * SECOND);
    assert!(alarms(&actions)[0].contains("shard 1 cannot be moved to slot \"west\""));
    assert_eq!(orders(&actions), ["b Forget 1@1"]);
    assert_eq!(rig.shard(1), (Some(A.to_string()), "serving"));
    let again = rig.wait(SECOND);
    assert_eq!(orders(&again), ["a CopyState 1@1"]);
}

#[test]
fn a_shard_that_cannot_be_resumed_at_its_new_slave_goes_back_as_it_was_sealed() {
    for fails in [true, false] {
        let mut rig = two_served(two_slots());
        arrange(&mut rig, to("1", "west"));
        rig.say(B, state_ready(1, 1, 90));
        rig.say(A, sealed(1, 1, 100));
        rig.say(A, settled(1, 1, &[]));
        let actions = if fails {
            rig.say(B, failed(1, 2))
        } else {
            let stalls = rig.wait(5 * SECOND);
            assert_eq!(
                orders(&stalls),
                ["save now 1@3 Reserved a", "b Seal 1@2"],
                "the new slave lives: it gives it back"
            );
            rig.say(B, sealed(1, 2, 100))
        };
        let resumes = orders(&actions).into_iter();
        let resumes: Vec<_> = resumes.filter(|order| order.contains("Resume")).collect();
        assert_eq!(resumes, ["a Resume 1@3 after Seal from 100"]);
        rig.say(B, settled(1, 2, &[]));
        rig.say(A, resumed(1, 3));
        let (slot, to, owner) = place(&rig, 1);
        assert_eq!((slot.as_str(), to.as_deref()), ("main", Some("west")));
        assert_eq!(owner, Some(A.to_string()));
    }
}

#[test]
fn a_new_slave_that_dies_in_a_move_leaves_the_shard_to_the_slave_before() {
    // Before the seal, between the seal and the ticket, and behind it.
    for until in 0..4 {
        let mut rig = two_served(two_slots());
        arrange(&mut rig, to("1", "west"));
        let steps: [&dyn Fn(&mut Rig); 3] = [
            &|rig| drop(rig.say(B, state_ready(1, 1, 90))),
            &|rig| drop(rig.say(A, sealed(1, 1, 100))),
            &|rig| drop(rig.say(A, settled(1, 1, &[]))),
        ];
        steps[..until].iter().for_each(|step| step(&mut rig));
        rig.die(B);
        if until == 1 {
            rig.say(A, sealed(1, 1, 100));
        }
        if until > 0 {
            rig.say(A, progress(1, 3, Step::Serving));
        }
        assert_eq!(rig.shard(1), (Some(A.to_string()), "serving"), "{until}");
        assert_eq!(place(&rig, 1).0, "main");
        // The shards of the dead slave wait for the next one of their slot.
        assert_eq!(rig.shard(2).0, None);
    }
}

#[test]
fn an_old_slave_that_dies_in_a_move_gives_the_shard_to_the_new_one_at_once() {
    for is_sealed in [false, true] {
        let mut rig = two_served(two_slots());
        arrange(&mut rig, to("1", "west"));
        if is_sealed {
            rig.say(B, state_ready(1, 1, 90));
        }
        let actions = rig.die(A);
        let resumes = orders(&actions).into_iter();
        let resumes: Vec<_> = resumes.filter(|order| order.contains("Resume")).collect();
        let epoch = if is_sealed { 3 } else { 2 };
        let from = if is_sealed { 90 } else { 100 };
        assert_eq!(
            resumes,
            [format!("b Resume 1@{epoch} after Death from {from}")],
            "shard 0 waits for the next slave of its slot"
        );
        rig.say(B, progress(1, epoch, Step::Serving));
        assert!(is_at(&rig, 1, "west", B));
    }
}

#[test]
fn the_next_master_has_a_shard_at_whoever_has_it_and_moves_it_on() {
    let arrangement = crate::event::Arrangement {
        moved: vec![crate::event::Moved {
            shards: Members::range(1, 1),
            configured: "main".to_owned(),
            to: "west".to_owned(),
        }],
        ..Default::default()
    };
    for holding in [Holding::Serving, Holding::Sealed] {
        let rows = [
            row(0, 1, A, Hold::Owned),
            row(1, 2, B, Hold::Reserved),
            row(2, 1, B, Hold::Owned),
            row(3, 1, B, Hold::Owned),
        ];
        let recovered = Recovered {
            pinned: Some(pinned(513, 4)),
            shards: rows.into(),
            work: Some((Epoch(1), A)),
            slaves: [(A, hello(A, Role::Relaunch)), (B, of_west(B))].into(),
            arrangement: arrangement.clone(),
            ..Recovered::default()
        };
        let mut rig = Rig::restarted(two_slots(), recovered);
        let west = [2, 3].map(|shard| held(shard, 1, Holding::Serving));
        let mut actions = rig.comes(of_west(B), report(west.to_vec()));
        actions.extend(rig.wait(60 * SECOND));
        let starts = orders(&actions).into_iter();
        let starts = starts.filter(|order| order.contains("Resume 1@"));
        assert_eq!(starts.count(), 0, "A may have it");
        let main = vec![held(0, 1, Holding::Serving), held(1, 1, holding)];
        let mut main = report(main);
        main.work = Epoch(1);
        let actions = orders(&rig.join_with(A, Role::Relaunch, main));
        let expected = match holding {
            Holding::Serving => "a CopyState 1@1",
            _ => "b Resume 1@3 after Seal from 100",
        };
        assert!(actions.contains(&expected.to_owned()), "{actions:?}");
    }
}

#[test]
fn what_an_operator_moved_counts_until_the_configuration_says_something_else() {
    let mut rig = two_served(two_slots());
    let actions = arrange(&mut rig, to("1", "west"));
    let saved = actions.iter().find_map(|action| match action {
        Action::Save(entries, _) => entries.iter().find_map(|entry| match entry {
            Entry::Arrangement(arrangement) => Some(arrangement.clone()),
            _ => None,
        }),
        _ => None,
    });
    let home = |settings: Settings| {
        let recovered = Recovered {
            arrangement: saved.clone().unwrap(),
            journal: JournalState::Intact,
            ..Recovered::default()
        };
        let rig = Rig::restarted(settings, recovered);
        place(&rig, 1).0
    };
    assert_eq!(home(two_slots()), "west");
    let mut settings = two_slots();
    // Another slot has it now.
    settings.slots[0].shards = Some(Members::range(0, 0));
    settings.slots[1].shards = Some(Members::range(1, 3));
    assert_eq!(home(settings.clone()), "west");
    settings.slots[1].shards = Some(Members::range(2, 3));
    settings.slots.push(SlotSettings {
        name: "south".to_owned(),
        shards: Some(Members::range(1, 1)),
        ..SlotSettings::default()
    });
    assert_eq!(home(settings), "south", "it was main's when it was moved");
}

#[test]
fn a_deploy_takes_strays_along_and_they_move_when_it_is_over() {
    let mut rig = two_served(two_slots());
    rig.join(C, Role::Candidate);
    let actions = arrange(&mut rig, to("1", "west"));
    assert_eq!(
        orders(&actions),
        ["save now arrangement 1 main>west"],
        "a slot that is deployed keeps its shards"
    );
    rig.say(A, prepared(true));
    rig.say(C, prepared(false));
    rig.move_shard(A, C, 0, 1);
    rig.move_shard(A, C, 1, 1);
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(C, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    assert!(rig.core.view(rig.now).shards[1].slot == "main");
    rig.soaked(C);
    let actions = rig.die(A);
    assert!(orders(&actions).contains(&"c CopyState 1@2".to_owned()));
}

#[test]
fn a_deploy_moves_nothing_while_a_shard_is_on_its_way_out_of_its_slot() {
    let mut rig = two_served(two_slots());
    arrange(&mut rig, to("1", "west"));
    rig.join(C, Role::Candidate);
    rig.say(A, prepared(true));
    let actions = rig.say(C, prepared(false));
    assert_eq!(orders(&actions), [""; 0]);
    assert_eq!(rig.step(), Some("preparing"));
    rig.say(B, state_ready(1, 1, 90));
    rig.say(A, sealed(1, 1, 100));
    rig.say(A, settled(1, 1, &[]));
    let actions = orders(&rig.say(B, resumed(1, 2)));
    assert!(
        actions.contains(&"a CopyState 0@1".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn no_more_shards_move_at_once_than_the_width() {
    let mut settings = two_slots();
    settings.width = 1;
    let mut rig = two_served(settings);
    let actions = arrange(&mut rig, to("0-1", "west"));
    let copies = orders(&actions).into_iter();
    assert_eq!(copies.filter(|order| order.contains("Copy")).count(), 1);
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    rig.say(A, settled(0, 1, &[]));
    let actions = orders(&rig.say(B, resumed(0, 2)));
    assert!(
        actions.contains(&"a CopyState 1@1".to_owned()),
        "{actions:?}"
    );
}

#[test]
fn an_order_that_cannot_be_is_refused_and_says_what_to_do() {
    let mut rig = two_served(on_hosts());
    for (order, says) in [
        (to("1", "south"), "no slot \"south\": there are main, west"),
        (to("1-9", "west"), "no shard 9: they are 0 to 3"),
        (Arranging::Cordon(hosts(&["north"])), "there are east, west"),
        (
            Arranging::Drain(hosts(&["east", "west"])),
            "no slot is left",
        ),
        (Arranging::Stay, "no shard is to move"),
    ] {
        let actions = arrange(&mut rig, order);
        assert!(refused(&actions).contains(says), "{}", refused(&actions));
        assert_eq!(orders(&actions), [""; 0]);
    }
    arrange(&mut rig, Arranging::Cordon(hosts(&["west"])));
    let actions = arrange(&mut rig, to("1", "west"));
    assert!(refused(&actions).contains("baton-master uncordon west"));
}

#[test]
fn a_drain_closes_all_its_hosts_and_gives_their_shards_to_the_least_loaded_slots() {
    let mut settings = on_hosts();
    settings.slots.push(SlotSettings {
        name: "south".to_owned(),
        shards: Some(Members::new()),
        host: Some("south".to_owned()),
        ..SlotSettings::default()
    });
    let mut rig = two_served(settings);
    let mut south = hello(D, Role::Relaunch);
    south.slot = "south".to_owned();
    rig.comes(south, Report::default());
    let plan = |rig: &mut Rig, order: Arranging| {
        let plan = rig.core.would_arrange(&order).unwrap().into_iter();
        let words = plan.map(|it| format!("{} {}>{}", it.shards, it.from, it.to));
        words.collect::<Vec<_>>()
    };
    let drain = Arranging::Drain(hosts(&["east"]));
    assert_eq!(plan(&mut rig, drain.clone()), ["0-1 main>south"]);
    let both = Arranging::Drain(hosts(&["east", "west"]));
    assert_eq!(plan(&mut rig, both), ["0-1 main>south", "2-3 west>south"]);
    assert_eq!(plan(&mut rig, Arranging::Rebalance), ["3 west>south"]);
    let actions = arrange(&mut rig, drain);
    assert!(orders(&actions).contains(&"a CopyState 0@1".to_owned()));
    assert_eq!(rig.core.view(rig.now).cordoned, ["east"]);
    // Those that have not moved stay.
    arrange(&mut rig, Arranging::Stay);
    assert_eq!(rig.core.view(rig.now).moves.left, 0);
    assert!((0..2).all(|shard| is_at(&rig, shard, "main", A)));
}

#[test]
fn nothing_begins_by_itself_while_the_fleet_is_held() {
    let mut rig = two_served(two_slots());
    arrange(&mut rig, Arranging::Hold);
    let actions = arrange(&mut rig, to("1", "west"));
    assert_eq!(orders(&actions), ["save now arrangement 1 main>west"]);
    let mut actions = rig.die(A);
    actions.extend(rig.wait(60 * SECOND));
    let begun = orders(&actions);
    let is_begun = |order: &&String| order.contains("launch") || order.contains("Resume");
    assert_eq!(begun.iter().find(is_begun), None, "{begun:?}");
    let actions = arrange(&mut rig, Arranging::Release);
    let begun = orders(&actions);
    assert!(
        begun.iter().any(|order| order.contains("b Resume 1@2")),
        "the slot that it is to be in has a slave: {begun:?}"
    );
    assert!(
        !orders(&rig.wait(60 * SECOND)).is_empty(),
        "slot main gets a slave"
    );
}

#[test]
fn a_deploy_that_expects_another_build_is_refused() {
    let mut rig = two_served(two_slots());
    let mut order = order(Some("v2"));
    order.expect = Some("v0".to_owned());
    let request = RequestId(1);
    let actions = rig.input(Input::Deploy {
        request,
        order: order.clone(),
    });
    assert!(refused(&actions).contains("has build \"v1\", and \"v0\" is expected"));
    order.expect = Some("v1".to_owned());
    rig.input(Input::Deploy { request, order });
    assert_eq!(rig.step(), Some("starting"));
}
