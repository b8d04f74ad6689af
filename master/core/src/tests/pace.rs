//! Who may IDENTIFY when.

use super::*;
use crate::event::IdentifyBudget;

fn starting(shards: u32, at_once: u32) -> Rig {
    let mut settings = settings(shards);
    settings.permits_at_once = at_once;
    let mut rig = Rig::new(settings);
    rig.join(A, Role::Relaunch);
    rig
}

fn ask(rig: &mut Rig, shard: u32) -> Vec<String> {
    permits(&rig.say(A, wants_permit(shard, 1, IdentifyCause::Cold)))
}

/// Its IDENTIFY is on its way.
fn sends(rig: &mut Rig, shard: u32) {
    let said = rig.say(A, progress(shard, 1, Step::Hello));
    assert_eq!(permits(&said), [""; 0]);
}

/// It is, and READY comes.
fn identifies(rig: &mut Rig, shard: u32) {
    sends(rig, shard);
    assert_eq!(permits(&rig.ready(A, shard, 1)), [""; 0]);
}

/// Only these: the work of a fleet that waits begins as well.
fn permits(actions: &[Action]) -> Vec<String> {
    let mut orders = orders(actions);
    orders.retain(|order| order.contains("Permit"));
    orders
}

#[test]
fn one_permit_a_bucket_a_window_in_shard_order() {
    let mut rig = starting(6, 2);
    assert_eq!(ask(&mut rig, 3), ["a IdentifyPermit 3@1"]);
    for shard in [5, 1] {
        assert_eq!(ask(&mut rig, shard), [""; 0]);
    }
    assert_eq!(ask(&mut rig, 4), ["a IdentifyPermit 4@1"], "another bucket");
    assert_eq!(ask(&mut rig, 0), [""; 0]);
    identifies(&mut rig, 3);
    identifies(&mut rig, 4);
    assert_eq!(permits(&rig.wait(5 * SECOND - SECOND / 100)), [""; 0]);
    let mut given = permits(&rig.wait(SECOND / 100));
    given.sort();
    assert_eq!(given, ["a IdentifyPermit 0@1", "a IdentifyPermit 1@1"]);
    identifies(&mut rig, 0);
    identifies(&mut rig, 1);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 5@1"]);
    assert_eq!(permits(&rig.wait(60 * SECOND)), [""; 0]);
}

/// When the next permit of a bucket comes, in tenths of a second: the first one's
/// IDENTIFY is on its way so much later, and READY comes so much later.
fn next_after(sent: Option<u32>, ready: Option<u32>) -> u32 {
    let mut rig = starting(2, 1);
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    for tenth in 0..=200 {
        if Some(tenth) == sent {
            rig.say(A, progress(0, 1, Step::Hello));
        }
        let said = if Some(tenth) == ready {
            rig.ready(A, 0, 1)
        } else {
            Vec::new()
        };
        if !permits(&said).is_empty() || !permits(&rig.wait(SECOND / 10)).is_empty() {
            return tenth;
        }
    }
    panic!("it waits for ever")
}

#[test]
fn a_window_begins_when_the_identify_is_on_its_way_and_not_with_its_permit() {
    // The usual cold start loses nothing.
    assert_eq!(next_after(Some(0), Some(3)), 49);
    assert_eq!(next_after(Some(0), Some(40)), 49);
    // A busy slave took its time: Discord's window began then.
    assert_eq!(next_after(Some(9), Some(20)), 58);
    assert_eq!(next_after(Some(45), Some(47)), 94);
    // One that does not say when it sends it, and READY is all that is known.
    assert_eq!(next_after(None, Some(8)), 57);
    // Discord is busy: how late it counted is not known before READY.
    assert_eq!(next_after(Some(0), Some(80)), 80);
    // Nothing is waited for, for ever.
    assert_eq!(next_after(Some(0), None), 99);
    assert_eq!(next_after(None, None), 99);
    assert_eq!(next_after(Some(60), None), 159);
}

#[test]
fn after_a_refusal_windows_begin_with_ready_for_a_while() {
    let mut rig = starting(4, 1);
    for shard in 0..4 {
        ask(&mut rig, shard);
    }
    // Discord counted it later than it was sent, and refuses the next one.
    identifies(&mut rig, 0);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 1@1"]);
    sends(&mut rig, 1);
    ask(&mut rig, 1);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 2@1"]);
    sends(&mut rig, 2);
    rig.wait(2 * SECOND);
    rig.ready(A, 2, 1);
    assert_eq!(permits(&rig.wait(4 * SECOND)), [""; 0]);
    assert_eq!(permits(&rig.wait(SECOND)), ["a IdentifyPermit 1@1"]);
}

#[test]
fn who_waits_behind_a_shut_gate_is_not_counted_through_for_each_request() {
    let mut rig = starting(1024, 16);
    for shard in 0..1024 {
        ask(&mut rig, shard);
    }
    rig.core.permits.looked_at = 0;
    // The first of a round shuts the gate, and everybody asks anew.
    for shard in 0..1024 {
        assert_eq!(ask(&mut rig, shard), [""; 0]);
    }
    let looked = rig.core.permits.looked_at;
    assert!(looked < 20 * 1024, "{looked} requests were looked at");
    // The right one tries all the same: the lowest that did not try yet.
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 16@1"]);
}

#[test]
fn a_request_of_a_stale_epoch_or_of_another_slave_is_ignored() {
    let mut rig = starting(2, 1);
    for stale in [
        wants_permit(0, 2, IdentifyCause::Cold),
        wants_permit(0, 0, IdentifyCause::Cold),
    ] {
        assert_eq!(orders(&rig.say(A, stale)), [""; 0]);
    }
    rig.join(B, Role::Standby);
    assert_eq!(
        orders(&rig.say(B, wants_permit(0, 1, IdentifyCause::Cold))),
        [""; 0]
    );
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    rig.die(A);
    let actions = orders(&rig.wait(5 * SECOND));
    assert!(
        !actions.iter().any(|order| order.contains("Permit")),
        "{actions:?}"
    );
}

#[test]
fn a_slave_asks_again_after_a_reconnect_and_no_permit_crosses_that() {
    let mut rig = starting(2, 1);
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    rig.input(Input::Left { slave: A });
    assert_eq!(orders(&rig.wait(20 * SECOND)), [""; 0]);
    let both = report(vec![
        held(0, 1, Holding::Starting),
        held(1, 1, Holding::Starting),
    ]);
    let actions = rig.join_with(A, Role::Relaunch, both);
    assert_eq!(permits(&actions), [""; 0]);
    assert_eq!(ask(&mut rig, 1), ["a IdentifyPermit 1@1"]);
    assert_eq!(rig.core.view(rig.now).identifies_refused, 0);
}

#[test]
fn a_question_that_crossed_its_permit_is_no_refusal_of_the_window() {
    let mut rig = starting(2, 1);
    ask(&mut rig, 0);
    ask(&mut rig, 1);
    // It dialled Discord again meanwhile, and asked anew before the permit was there.
    ask(&mut rig, 0);
    rig.wait(3 * SECOND);
    sends(&mut rig, 0);
    rig.ready(A, 0, 1);
    assert_eq!(permits(&rig.wait(5 * SECOND - SECOND / 100)), [""; 0]);
    assert_eq!(permits(&rig.wait(SECOND / 100)), ["a IdentifyPermit 1@1"]);
}

#[test]
fn an_empty_budget_waits_for_its_reset() {
    let mut rig = starting(3, 1);
    rig.core.settings.identify_reserve = 0;
    const SERVICE: Gateway = Gateway {
        budget_period: Duration::from_secs(7200),
        ..GATEWAY
    };
    rig.core.settings.service = &SERVICE;
    let budget = IdentifyBudget {
        total: 1000,
        remaining: 1,
        reset_after: 3600 * SECOND,
        at_once: 1,
    };
    rig.input(Input::Budget(budget));
    assert_eq!(ask(&mut rig, 0), ["a IdentifyPermit 0@1"]);
    ask(&mut rig, 1);
    ask(&mut rig, 2);
    let actions = rig.wait(3599 * SECOND);
    assert_eq!(permits(&actions), [""; 0]);
    assert_eq!(alarms(&actions), 1);
    let view = rig.core.view(rig.now);
    assert_eq!(
        (view.identifies_left, view.identifies_reset_ms),
        (Some(0), Some(1000))
    );
    assert_eq!(permits(&rig.wait(SECOND)), ["a IdentifyPermit 1@1"]);
    let next = rig.core.view(rig.now).identifies_reset_ms;
    assert_eq!(next, Some(7_200_000), "what the service says");
    identifies(&mut rig, 1);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 2@1"]);
}

#[test]
fn more_permits_are_given_when_the_budget_names_them() {
    let mut rig = starting(4, 1);
    ask(&mut rig, 0);
    for shard in 1..4 {
        ask(&mut rig, shard);
    }
    identifies(&mut rig, 0);
    rig.input(Input::Budget(IdentifyBudget {
        total: 1000,
        remaining: 900,
        reset_after: 3600 * SECOND,
        at_once: 16,
    }));
    assert_eq!(
        permits(&rig.wait(5 * SECOND)),
        [
            "a IdentifyPermit 1@1",
            "a IdentifyPermit 2@1",
            "a IdentifyPermit 3@1"
        ],
        "one window after the last of the old pace"
    );
}

#[test]
fn a_new_master_gives_nothing_for_one_window() {
    let mut journal = Recovered::default();
    let row = Row {
        epoch: Epoch(1),
        owner: C,
        ..Row::default()
    };
    journal.shards.insert(ShardId(0), row);
    let mut rig = Rig::restarted(settings(1), journal);
    rig.join(A, Role::Relaunch);
    assert_eq!(
        orders(&rig.say(A, wants_permit(0, 2, IdentifyCause::Cold))),
        [""; 0]
    );
    assert_eq!(orders(&rig.wait(5 * SECOND)), ["a IdentifyPermit 0@2"]);
}

/// `remaining` of 1000 IDENTIFYs, for an hour.
fn budget(remaining: u32, at_once: u32) -> Input {
    Input::Budget(IdentifyBudget {
        total: 1000,
        remaining,
        reset_after: 3600 * SECOND,
        at_once,
    })
}

#[test]
fn refused_identifies_of_a_whole_fleet_are_followed_by_one_at_a_time_ever_more_rarely() {
    let mut rig = starting(32, 16);
    let first: usize = (0..32).map(|shard| ask(&mut rig, shard).len()).sum();
    assert_eq!(first, 16, "one a bucket");
    for shard in 0..16 {
        assert_eq!(ask(&mut rig, shard), [""; 0]);
    }
    let (mut spent, mut pauses, mut said) = (0, Vec::new(), 0);
    for _ in 0..9 {
        let began = rig.now;
        let given = loop {
            let actions = rig.wait(SECOND);
            said += alarms(&actions);
            let given = permits(&actions);
            if !given.is_empty() {
                break given;
            }
        };
        pauses.push(rig.now.since(began).as_secs());
        let [one] = given.as_slice() else {
            panic!("{given:?}");
        };
        let shard: u32 = one
            .strip_prefix("a IdentifyPermit ")
            .and_then(|unit| unit.split('@').next())
            .and_then(|shard| shard.parse().ok())
            .unwrap();
        spent += 1;
        let asks = wants_permit(shard, 1, IdentifyCause::Cold);
        let refused = rig.say(A, asks);
        assert_eq!(permits(&refused), [""; 0]);
        said += alarms(&refused);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(spent, 9);
    assert!((1..=4).contains(&said), "{said} alarms");
    let view = rig.core.view(rig.now);
    assert_eq!((view.identifies_refused, view.identifies_waiting), (10, 32));
    // Discord is well: the first READY opens the gate for all.
    let given = permits(&rig.wait(300 * SECOND));
    assert_eq!(given.len(), 1, "{given:?}");
    let shard: u32 = given[0][17..].split('@').next().unwrap().parse().unwrap();
    let ready = permits(&rig.ready(A, shard, 1));
    assert!(ready.len() >= 8, "{ready:?}");
}

#[test]
fn a_process_that_dies_of_its_identify_spends_one_at_a_time() {
    let mut rig = starting(4, 4);
    for shard in 0..4 {
        ask(&mut rig, shard);
    }
    rig.die(A);
    rig.join(B, Role::Relaunch);
    let given: usize = (0..4)
        .map(|shard| {
            let asks = wants_permit(shard, 2, IdentifyCause::Cold);
            permits(&rig.say(B, asks)).len()
        })
        .sum();
    assert_eq!(given, 0);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["b IdentifyPermit 0@2"]);
    assert_eq!(permits(&rig.wait(60 * SECOND)), [""; 0], "nothing is heard");
    rig.die(B);
    rig.join(C, Role::Relaunch);
    for shard in 0..4 {
        rig.say(C, wants_permit(shard, 3, IdentifyCause::Cold));
    }
    let again = permits(&rig.wait(10 * SECOND));
    assert_eq!(again, ["c IdentifyPermit 1@3"], "another one's turn");
}

#[test]
fn the_reserve_is_spent_by_an_operators_word_alone() {
    let mut rig = starting(3, 1);
    rig.input(budget(51, 1));
    assert_eq!(ask(&mut rig, 0), ["a IdentifyPermit 0@1"]);
    rig.ready(A, 0, 1);
    ask(&mut rig, 1);
    ask(&mut rig, 2);
    let actions = rig.wait(3000 * SECOND);
    assert_eq!(permits(&actions), [""; 0]);
    assert_eq!(alarms(&actions), 1);
    let view = rig.core.view(rig.now);
    let reason = view.shards[1].reason.clone().unwrap_or_default();
    let said = "but the 50 of the reserve: baton-master identify spends them";
    assert!(reason.contains(said), "{reason}");
    rig.input(budget(50, 1));
    assert_eq!(alarms(&rig.wait(SECOND)), 0, "the alarm comes once");
    let view = rig.core.view(rig.now);
    assert_eq!(
        (view.identifies_left, view.identifies_reserve),
        (Some(50), Some(50))
    );
    let word = Input::Identify {
        request: RequestId(1),
    };
    assert_eq!(permits(&rig.input(word.clone())), ["a IdentifyPermit 1@1"]);
    rig.ready(A, 1, 1);
    assert_eq!(permits(&rig.wait(5 * SECOND)), ["a IdentifyPermit 2@1"]);
    rig.ready(A, 2, 1);
    assert!(refusal(&rig.input(word)).contains("no shard waits"));
    // Whole again, it has a reserve again.
    rig.wait(3600 * SECOND);
    rig.input(budget(50, 1));
    rig.say(A, progress(0, 1, Step::SessionLost));
    let asks = wants_permit(0, 1, IdentifyCause::SessionLost);
    assert_eq!(permits(&rig.say(A, asks)), [""; 0]);
}

#[test]
fn an_operators_word_cuts_the_pause_short() {
    let mut rig = starting(1, 1);
    for _ in 0..6 {
        rig.wait(300 * SECOND);
        ask(&mut rig, 0);
    }
    let asks = wants_permit(0, 1, IdentifyCause::Cold);
    assert_eq!(permits(&rig.say(A, asks)), [""; 0]);
    rig.wait(10 * SECOND);
    let word = Input::Identify {
        request: RequestId(1),
    };
    assert_eq!(permits(&rig.input(word)), ["a IdentifyPermit 0@1"]);
}

#[test]
fn a_session_that_never_lasts_is_paid_for_ever_more_rarely() {
    let mut rig = starting(1, 1);
    let mut spent = usize::from(!ask(&mut rig, 0).is_empty());
    let began = rig.now;
    while rig.now.since(began) < 3600 * SECOND {
        rig.ready(A, 0, 1);
        rig.say(A, progress(0, 1, Step::SessionLost));
        let asks = wants_permit(0, 1, IdentifyCause::SessionLost);
        let at_once = permits(&rig.say(A, asks)).len();
        while at_once == 0 && rig.now.since(began) < 3600 * SECOND {
            if !permits(&rig.wait(SECOND)).is_empty() {
                break;
            }
        }
        spent += 1;
    }
    assert!(spent <= 20, "{spent} in an hour");
}
