//! What a slave says that cannot be changes nothing.

use super::*;

/// One shard at 100, with 20 events a second for a while.
fn usual() -> Rig {
    let mut rig = Rig::serving(1);
    for at in 1..=30 {
        rig.wait(SECOND);
        rig.say(A, checkpoint(0, 1, 100 + 20 * at));
    }
    rig
}

/// How often it was said that a slave is not believed.
fn lies(actions: &[Action]) -> usize {
    let told = |action: &&Action| matches!(action, Action::Tell(News::Disbelieved { .. }));
    actions.iter().filter(told).count()
}

fn handled(rig: &Rig) -> u64 {
    rig.core.view(rig.now).shards[0].handled
}

#[test]
fn a_checkpoint_above_what_discord_can_have_sent_is_not_believed() {
    for lie in [1 << 63, u64::MAX, 1 << 41, 900_700] {
        let mut rig = usual();
        let actions = rig.say(A, checkpoint(0, 1, lie));
        assert_eq!(lies(&actions), 1, "{lie}: {actions:?}");
        assert_eq!(handled(&rig), 700);
        let actions = rig.say(A, checkpoint(0, 1, lie));
        assert_eq!(lies(&actions), 0, "said once");
        rig.say(A, checkpoint(0, 1, 705));
        assert_eq!(handled(&rig), 705, "what can be is believed");
    }
}

#[test]
fn nor_is_one_that_calls_so_many_events_finished_or_received() {
    for field in 0..2 {
        let mut rig = usual();
        let mut entry = CheckpointEntry {
            shard: ShardId(0),
            epoch: Epoch(1),
            handled: Sequence(700),
            ..CheckpointEntry::default()
        };
        match field {
            0 => entry
                .finished_above
                .insert_range(Sequence(702), Sequence(900_700)),
            _ => entry.received = Sequence(900_700),
        }
        let shards = vec![entry];
        let actions = rig.say(A, ToMaster::Checkpoint(Checkpoint { shards }));
        assert_eq!(lies(&actions), 1);
        rig.die(A);
        let actions = rig.join(B, Role::Relaunch);
        assert!(
            orders(&actions).contains(&"b Resume 0@2 after Death from 700".to_owned()),
            "{actions:?}"
        );
    }
}

#[test]
fn a_ticket_that_cannot_be_leaves_the_last_checkpoint_and_the_deploy_goes_on() {
    for lie in [1 << 63, 900_700] {
        let mut rig = usual();
        rig.join(B, Role::Candidate);
        rig.say(A, prepared(true));
        rig.say(B, prepared(false));
        rig.say(B, state_ready(0, 1, 690));
        let actions = rig.say(A, sealed(0, 1, lie));
        assert!(
            orders(&actions).contains(&"b Resume 0@3 after Death from 690".to_owned()),
            "{actions:?}"
        );
        assert_eq!(lies(&actions), 1);
        rig.say(B, resumed(0, 3));
        assert!(rig.all_served_by(B));
    }
}

#[test]
fn a_ticket_with_more_in_hand_than_a_window_holds_is_not_believed() {
    let mut rig = usual();
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.say(B, state_ready(0, 1, 690));
    let mut ticket = ticket(0, 700);
    ticket
        .in_doubt
        .insert_range(Sequence(701), Sequence(u64::MAX));
    let actions = rig.say(A, sealed_with(1, ticket));
    assert_eq!(lies(&actions), 1);
}

#[test]
fn a_slave_that_was_away_for_long_is_believed_what_its_shards_got_meanwhile() {
    let mut rig = usual();
    rig.input(Input::Left { slave: A });
    rig.wait(600 * SECOND);
    let mut serving = held(0, 1, Holding::Serving);
    serving.ticket = ticket(0, 700 + 600 * 300);
    let actions = rig.join_with(A, Role::Relaunch, report(vec![serving]));
    assert_eq!(lies(&actions), 0, "{actions:?}");
    assert_eq!(handled(&rig), 180_700);
}

#[test]
fn a_report_of_what_cannot_be_leaves_what_was_known() {
    let mut rig = usual();
    rig.input(Input::Left { slave: A });
    let mut serving = held(0, 1, Holding::Serving);
    serving.ticket = ticket(0, 1 << 63);
    let actions = rig.join_with(A, Role::Relaunch, report(vec![serving]));
    assert_eq!(lies(&actions), 1, "{actions:?}");
    assert_eq!(handled(&rig), 700);
}
