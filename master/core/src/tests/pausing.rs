//! A deploy that is held and goes on.

use baton_protocol::message::Dialled;

use super::*;
use crate::{
    event::Pause,
    service::{Order, Service as _},
    view::SlaveView,
};

#[test]
fn a_paused_deploy_finishes_what_is_in_hand_and_begins_nothing_until_it_goes_on() {
    let mut settings = settings(3);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    assert_eq!(rig.step(), Some("canary"));
    rig.input(pause(Pause::Hold));
    assert_eq!(rig.step(), Some("paused"));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    assert_eq!(
        orders(&rig.say(B, resumed(0, 2))),
        ["save soon 0@2 Owned b"],
        "the shard in hand arrives, and no other begins"
    );
    rig.say(A, settled(0, 1, &[]));
    assert_eq!(orders(&rig.wait(60 * SECOND)), [""; 0]);
    let actions = rig.input(pause(Pause::Continue));
    assert_eq!(orders(&actions), ["a CopyState 1@1"]);
    assert_eq!(rig.step(), Some("moving"));
}

#[test]
fn a_pause_stops_no_process_and_no_shard() {
    for service in [&GATEWAY, &BROADCAST] {
        let (mut rig, _) = Rig::moving(Settings {
            service,
            width: 1,
            ..settings(3)
        });
        if service.order() == Order::Overlap {
            let dialled = Dialled {
                epoch: Epoch(1),
                ..Dialled::default()
            };
            rig.say(B, ToMaster::Dialled(dialled));
        }
        // What is in hand arrives.
        rig.input(pause(Pause::Hold));
        rig.move_shard(A, B, 0, 1);
        let mut actions = Vec::new();
        for _ in 0..600 {
            actions.extend(rig.wait(SECOND));
            actions.extend(rig.say(A, pong(0, 0)));
            actions.extend(rig.say(B, pong(0, 0)));
        }
        assert_eq!(rig.step(), Some("paused"));
        let view = rig.core.view(rig.now);
        let is_well = |slave: &SlaveView| slave.connected && !slave.hangs;
        assert_eq!(view.slaves.iter().filter(|slave| is_well(slave)).count(), 2);
        assert!(view.shards.iter().all(serves), "{:?}", view.shards);
        let ends = |action: &&Action| match action {
            Action::Send(_, message) => matches!(message, ToSlave::Shutdown | ToSlave::Seal(_)),
            Action::Kill(..) | Action::GiveUp { .. } => true,
            _ => false,
        };
        let ended: Vec<&Action> = actions.iter().filter(ends).collect();
        assert!(ended.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_shard_without_a_session_waits_as_well_while_the_deploy_is_held() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.input(pause(Pause::Hold));
    let lost = rig.say(A, progress(0, 1, Step::SessionLost));
    assert_eq!(orders(&lost), [""; 0]);
    let actions = rig.input(pause(Pause::Continue));
    assert_eq!(orders(&actions), ["save now 0@2 Reserved b", "a Seal 0@1"]);
}

#[test]
fn a_paused_deploy_can_be_sent_back() {
    let mut settings = settings(2);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    rig.input(pause(Pause::Hold));
    rig.move_shard(A, B, 0, 1);
    let actions = rig.input(Input::Abort {
        request: RequestId(8),
        slot: None,
    });
    assert!(
        orders(&actions)
            .iter()
            .any(|order| order.contains("b Seal 0@2")),
        "{actions:?}"
    );
}

#[test]
fn what_cannot_be_held_is_refused_with_the_reason() {
    let mut rig = Rig::serving(1);
    assert!(refusal(&rig.input(pause(Pause::Hold))).contains("no deploy"));
    let (mut rig, _) = Rig::moving(settings(2));
    assert!(refusal(&rig.input(pause(Pause::Continue))).contains("not paused"));
    rig.input(pause(Pause::Hold));
    assert!(refusal(&rig.input(pause(Pause::Hold))).contains("already"));
    let mut rig = Rig::soaking(settings(1));
    assert!(refusal(&rig.input(pause(Pause::Hold))).contains("every shard has moved"));
}

#[test]
fn changed_settings_count_from_the_next_thing_on_and_slots_stay() {
    let mut before = settings(4);
    before.width = 1;
    let (mut rig, _) = Rig::moving(before.clone());
    let mut next = before;
    next.soak = 33 * SECOND;
    next.shard_count = 99;
    next.slots.clear();
    rig.input(Input::Settings(Box::new(next)));
    let view = rig.core.view(rig.now);
    assert_eq!((view.shard_count, view.slots.len()), (4, 1));
    assert_eq!(rig.core.settings.soak, 33 * SECOND);
}

fn pause(pause: Pause) -> Input {
    Input::Pause {
        request: RequestId(7),
        slot: None,
        pause,
    }
}
