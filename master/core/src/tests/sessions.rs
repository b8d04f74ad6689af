//! Shards without a session: they do not serve, and hold up no other shard.

use super::*;
use crate::event::IdentifyBudget;

/// No IDENTIFY is left for an hour.
fn spent() -> Input {
    Input::Budget(IdentifyBudget {
        total: 1000,
        remaining: 0,
        reset_after: 3600 * SECOND,
        at_once: 16,
    })
}

/// Discord ends the session of a shard, and its owner asks for the next.
fn loses_session(rig: &mut Rig, slave: SlaveId, shard: u32, epoch: u64) -> Vec<Action> {
    let mut actions = rig.say(slave, progress(shard, epoch, Step::SessionLost));
    let asks = wants_permit(shard, epoch, IdentifyCause::SessionLost);
    actions.extend(rig.say(slave, asks));
    actions
}

#[test]
fn a_shard_whose_session_is_over_does_not_serve_until_ready() {
    let mut rig = Rig::serving(2);
    rig.input(spent());
    let lost = loses_session(&mut rig, A, 1, 1);
    assert_eq!(orders(&lost), [""; 0]);
    assert_eq!(alarms(&lost), 1, "no IDENTIFY is left");
    assert_eq!(rig.shard(1), (Some(A.to_string()), "no session"));
    rig.wait(3599 * SECOND);
    assert_eq!(rig.shard(1).1, "no session");
    assert_eq!(orders(&rig.wait(SECOND)), ["a IdentifyPermit 1@1"]);
    assert_eq!(rig.shard(1).1, "no session", "permitted is not served");
    assert_eq!(orders(&rig.ready(A, 1, 1)), ["save soon 1@1 Owned a"]);
    assert!(rig.all_served_by(A));
}

#[test]
fn a_resume_that_discord_refused_leaves_its_new_owner_without_a_session() {
    let mut rig = Rig::serving(1);
    rig.input(spent());
    rig.die(A);
    rig.join(B, Role::Relaunch);
    assert_eq!(rig.shard(0).1, "resuming");
    loses_session(&mut rig, B, 0, 2);
    assert_eq!(rig.shard(0), (Some(B.to_string()), "no session"));
}

#[test]
fn what_a_slave_reports_without_a_session_is_not_served_after_a_restart_of_the_master() {
    let mut journal = Recovered::default();
    let row = Row {
        epoch: Epoch(1),
        owner: A,
        hold: Hold::Owned,
        ..Row::default()
    };
    journal.shards.insert(ShardId(0), row);
    let mut rig = Rig::restarted(settings(1), journal);
    rig.input(spent());
    let mut starting = held(0, 1, Holding::Starting);
    starting.ticket = Ticket::default();
    rig.join_with(A, Role::Relaunch, report(vec![starting]));
    rig.say(A, wants_permit(0, 1, IdentifyCause::SessionLost));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "starting"));
    assert!(!rig.core.view(rig.now).shards[0].gets_events());
}

#[test]
fn a_connection_that_is_gone_is_shown_also_while_its_shard_is_copied_and_given_back() {
    let (mut rig, _) = Rig::moving(settings(1));
    assert_eq!(rig.shard(0).1, "copying");
    rig.say(A, progress(0, 1, Step::Reconnecting));
    assert_eq!(rig.shard(0).1, "reconnecting");
    rig.input(Input::Abort {
        request: RequestId(1),
        slot: None,
    });
    assert_eq!(rig.shard(0).1, "reconnecting");
    assert!(rig.core.view(rig.now).shards[0].gets_events(), "a moment");
    rig.wait(11 * SECOND);
    rig.say(A, progress(0, 1, Step::Reconnecting));
    let view = rig.core.view(rig.now).shards.swap_remove(0);
    assert_eq!(view.away_ms, Some(11_000));
    assert!(!view.gets_events());
    rig.say(A, progress(0, 1, Step::Serving));
    assert_eq!(rig.shard(0).1, "serving");
}

#[test]
fn a_connection_that_came_back_while_its_slave_was_cut_off_is_not_awaited() {
    let mut rig = Rig::serving(1);
    rig.say(A, progress(0, 1, Step::Reconnecting));
    rig.input(Input::Left { slave: A });
    let mut all = report(vec![held(0, 1, Holding::Serving)]);
    all.work = Epoch(1);
    rig.join_with(A, Role::Relaunch, all.clone());
    assert_eq!(rig.shard(0).1, "serving");
    rig.input(Input::Left { slave: A });
    rig.join_with(A, Role::Relaunch, all);
    rig.say(A, progress(0, 1, Step::Reconnecting));
    assert_eq!(
        rig.shard(0).1,
        "reconnecting",
        "it says so after its report"
    );
}

#[test]
fn a_deploy_ends_without_an_identify_for_a_shard_without_a_session() {
    let mut rig = Rig::serving(3);
    rig.input(spent());
    loses_session(&mut rig, A, 1, 1);
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.move_shard(A, B, 0, 1);
    // No copy, no RESUME: it is sealed, and given as it is.
    let mut nothing = ticket(1, 0);
    nothing.session = Session::default();
    let actions = rig.say(A, sealed_with(1, nothing));
    assert_eq!(orders(&actions), ["b FullStart 1@2"]);
    rig.move_shard(A, B, 2, 1);
    assert_eq!(rig.step(), Some("work"));
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    rig.soaked(B);
    let end = rig.die(A);
    assert_eq!(ended(&end), Some(&Outcome::Done));
    assert_eq!(alarms(&end), 1, "and says that one is dark");
    assert_eq!(rig.shard(1), (Some(B.to_string()), "no session"));
    rig.say(B, wants_permit(1, 2, IdentifyCause::Cold));
    assert_eq!(orders(&rig.wait(3600 * SECOND)), ["b IdentifyPermit 1@2"]);
}

#[test]
fn an_abort_ends_without_an_identify_for_a_shard_without_a_session() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.input(spent());
    rig.move_shard(A, B, 0, 1);
    loses_session(&mut rig, B, 0, 2);
    let back = rig.input(Input::Abort {
        request: RequestId(1),
        slot: None,
    });
    assert_eq!(orders(&back), ["save now 0@3 Reserved a", "b Seal 0@2"]);
    let mut nothing = ticket(0, 0);
    nothing.session = Session::default();
    let end = rig.say(B, sealed_with(2, nothing));
    assert_eq!(orders(&end), ["a FullStart 0@3", "b Shutdown"]);
    assert!(matches!(ended(&end), Some(Outcome::RolledBack { .. })));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "no session"));
    assert_eq!(rig.shard(1), (Some(A.to_string()), "serving"));
}

#[test]
fn a_session_that_is_lost_in_the_soak_does_not_hold_up_the_commit() {
    let mut rig = Rig::soaking(settings(2));
    rig.input(spent());
    loses_session(&mut rig, B, 1, 2);
    rig.soaked(B);
    assert_eq!(ended(&rig.die(A)), Some(&Outcome::Done));
}

#[test]
fn a_deploy_of_shards_that_have_all_no_session_has_no_canary_to_wait_for() {
    let mut rig = Rig::serving(2);
    rig.input(spent());
    for shard in 0..2 {
        loses_session(&mut rig, A, shard, 1);
    }
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    for shard in 0..2 {
        let mut nothing = ticket(shard, 0);
        nothing.session = Session::default();
        rig.say(A, sealed_with(1, nothing));
    }
    assert_eq!(rig.step(), Some("work"));
}

#[test]
fn a_shard_whose_identify_is_on_its_way_is_waited_for() {
    let mut rig = Rig::serving(2);
    assert_eq!(
        orders(&loses_session(&mut rig, A, 1, 1)),
        ["a IdentifyPermit 1@1"]
    );
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    rig.move_shard(A, B, 0, 1);
    assert_eq!(rig.step(), Some("moving"), "the permit is not wasted");
    assert_eq!(
        orders(&rig.ready(A, 1, 1)),
        ["save soon 1@1 Owned a", "a CopyState 1@1"]
    );
}

#[test]
fn a_cold_start_with_nothing_left_does_not_keep_a_deploy_into_an_empty_slot() {
    let mut rig = Rig::new(settings(2));
    rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("bot")),
    });
    rig.join(A, Role::Candidate);
    rig.say(A, prepared(false));
    assert_eq!(rig.step(), Some("moving"), "each may have its session soon");
    rig.input(spent());
    rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
    assert_ne!(rig.step(), Some("moving"), "it is as far as it can be");
}
