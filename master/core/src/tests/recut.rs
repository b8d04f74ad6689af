//! Slots that are added to a running fleet, and taken out of it.

use super::{
    moves::{arrange, is_at, place, refused, to, two_served},
    slots::two_slots,
    *,
};

fn recut(rig: &mut Rig, slots: Vec<SlotSettings>) -> Vec<Action> {
    let request = RequestId(1);
    rig.input(Input::Slots { request, slots })
}

fn names(rig: &Rig) -> Vec<String> {
    let slots = rig.core.view(rig.now).slots.into_iter();
    slots.map(|slot| slot.name).collect()
}

#[test]
fn a_slot_is_added_to_a_running_fleet_and_taken_out_when_its_shards_were_moved() {
    let mut rig = two_served(two_slots());
    let mut slots = two_slots().slots;
    slots[1].shards = Some(Members::range(3, 3));
    slots.push(SlotSettings {
        name: "south".to_owned(),
        shards: Some(Members::range(2, 2)),
        launches: true,
        ..SlotSettings::default()
    });
    recut(&mut rig, slots.clone());
    assert_eq!(place(&rig, 2).1.as_deref(), Some("south"));
    let mut south = hello(D, Role::Relaunch);
    south.slot = "south".to_owned();
    let actions = rig.comes(south, Report::default());
    assert!(orders(&actions).contains(&"b CopyState 2@1".to_owned()));
    rig.say(D, state_ready(2, 1, 90));
    rig.say(B, sealed(2, 1, 100));
    rig.say(B, settled(2, 1, &[]));
    rig.say(D, resumed(2, 2));
    assert!(is_at(&rig, 2, "south", D));

    let mut without: Vec<_> = slots[..2].to_vec();
    let actions = recut(&mut rig, without.clone());
    assert!(refused(&actions).contains("baton-master move 2 --to SLOT"));
    assert_eq!(names(&rig), ["main", "west", "south"]);

    arrange(&mut rig, to("2", "main"));
    rig.say(A, state_ready(2, 2, 100));
    rig.say(D, sealed(2, 2, 110));
    rig.say(D, settled(2, 2, &[]));
    rig.say(A, resumed(2, 3));
    without[0].shards = Some(Members::range(0, 2));
    let actions = recut(&mut rig, without);
    assert_eq!(
        orders(&actions),
        ["give up south", "d Shutdown", "save now arrangement"],
        "the configuration says by itself where shard 2 is"
    );
    assert_eq!(names(&rig), ["main", "west"]);
    rig.die(D);
    let launched = orders(&rig.wait(60 * SECOND));
    assert!(
        !launched.iter().any(|order| order.contains("launch")),
        "{launched:?}"
    );
    assert!(is_at(&rig, 2, "main", A));
}
