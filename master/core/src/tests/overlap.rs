//! A service that replays nothing: the next owner prepares before the one before seals.

use baton_protocol::message::Dialled;

use super::*;

fn broadcast(shards: u32) -> Settings {
    Settings {
        service: &BROADCAST,
        ..settings(shards)
    }
}

/// `A` serves, `B` came as a candidate; both are ready.
fn moving(settings: Settings) -> (Rig, Vec<Action>) {
    let shards = settings.shard_count;
    let mut rig = Rig::new(settings);
    rig.join_speaking(A, Role::Relaunch, Version::NEWEST);
    for shard in 0..shards {
        rig.ready(A, shard, 1);
    }
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    rig.join_speaking(B, Role::Candidate, Version::NEWEST);
    rig.say(A, prepared(true));
    let actions = rig.say(B, prepared(false));
    (rig, actions)
}

fn dialled(shard: u32, epoch: u64, failed: &str) -> ToMaster {
    ToMaster::Dialled(Dialled {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        failed: failed.to_owned(),
    })
}

fn prepares(shard: u32, epoch: u64, done: u64) -> ToMaster {
    ToMaster::Progress(Progress {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        step: Step::Dialling,
        replayed: done,
        refused: String::new(),
    })
}

/// A seal that says what was handed out.
fn sealed_seen(shard: u32, epoch: u64, handled: u64, seen: &'static [u8]) -> ToMaster {
    let ticket = Ticket {
        seen: seen.into(),
        ..ticket(shard, handled)
    };
    sealed_with(epoch, ticket)
}

fn deaf(actions: &[Action]) -> Vec<Duration> {
    let deaf = actions.iter().filter_map(|action| match action {
        Action::Tell(News::WasDeaf { deaf, .. }) => Some(*deaf),
        _ => None,
    });
    deaf.collect()
}

#[test]
fn the_next_owner_prepares_then_the_old_one_seals_and_what_it_handed_out_goes_along() {
    let (mut rig, begun) = moving(broadcast(1));
    assert!(
        orders(&begun).contains(&"b Dial 0@1 from 100".to_owned()),
        "nothing is copied: {:?}",
        orders(&begun)
    );
    assert_eq!(rig.shard(0), (Some(A.to_string()), "dialling"), "A serves");
    let ready = rig.say(B, dialled(0, 1, ""));
    assert_eq!(orders(&ready), ["save now 0@2 Reserved b", "a Seal 0@1"]);
    let given = rig.say(A, sealed_seen(0, 1, 120, b"what A handed out"));
    assert!(orders(&given).contains(&"b Resume 0@2 after Seal from 120".to_owned()));
    assert_eq!(resume_of(&given).ticket.seen, b"what A handed out"[..]);
    let served = rig.say(B, resumed(0, 2));
    assert_eq!(rig.shard(0), (Some(B.to_string()), "serving"));
    assert_eq!(deaf(&served), [], "it was heard all the time");
}

#[test]
fn what_was_handed_out_is_not_written_to_the_disk() {
    let (mut rig, _) = moving(broadcast(1));
    rig.say(B, dialled(0, 1, ""));
    let mut actions = rig.say(A, sealed_seen(0, 1, 120, b"what A handed out"));
    actions.extend(rig.wait(2 * SECOND));
    let tickets = actions.iter().flat_map(|action| match action {
        Action::Save(entries, _) => entries.clone(),
        _ => Vec::new(),
    });
    let written = tickets.filter_map(|entry| match entry {
        Entry::Ticket { ticket, .. } => Some(ticket.seen),
        _ => None,
    });
    let written: Vec<_> = written.collect();
    assert!(!written.is_empty() && written.iter().all(|seen| seen.is_empty()));
}

#[test]
fn an_event_that_runs_at_the_seal_comes_with_its_payload_or_not_at_all() {
    let (mut rig, _) = moving(broadcast(1));
    rig.say(B, dialled(0, 1, ""));
    let ticket = Ticket {
        in_doubt: ranges(&[119]),
        finished_above: ranges(&[120]),
        ..ticket(0, 118)
    };
    let given = rig.say(A, sealed_with(1, ticket));
    let resume = resume_of(&given);
    assert_eq!(
        resume.ticket.resume_from(),
        Sequence(118).max(resume.ticket.state_at)
    );
    assert_eq!(
        resume.ticket.replay_from,
        Sequence(120),
        "nothing replays it"
    );
    assert_eq!(resume.ticket.in_doubt, ranges(&[119]), "it is waited for");
}

#[test]
fn an_owner_that_prepares_for_long_has_time_while_it_gets_further_and_no_longer() {
    let (mut rig, _) = moving(broadcast(1));
    let copy = rig.core.settings.copy;
    for done in 1..=9 {
        rig.wait(copy - SECOND);
        rig.say(B, prepares(0, 1, done));
        assert_eq!(rig.step(), Some("canary"), "after {done} channels");
    }
    rig.wait(copy - SECOND);
    rig.say(B, prepares(0, 1, 9));
    rig.wait(SECOND);
    assert_ne!(rig.step(), Some("canary"), "it got no further");
    assert_eq!(
        rig.shard(0),
        (Some(A.to_string()), "serving"),
        "A served on"
    );
}

#[test]
fn an_owner_that_cannot_prepare_costs_its_deploy_and_nothing_else() {
    let (mut rig, _) = moving(broadcast(1));
    rig.say(B, dialled(0, 1, "no channel was joined"));
    assert_ne!(rig.step(), Some("canary"));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "serving"));
}

#[test]
fn the_way_back_is_prepared_too() {
    let (mut rig, _) = moving(broadcast(2));
    rig.say(B, dialled(0, 1, ""));
    rig.say(A, sealed(0, 1, 120));
    rig.say(A, settled(0, 1, &[]));
    rig.say(B, resumed(0, 2));
    let back = rig.input(Input::Abort {
        request: RequestId(1),
        slot: None,
    });
    let orders_back = orders(&back);
    assert!(
        orders_back
            .iter()
            .any(|order| order.starts_with("a Dial 0@2")),
        "{orders_back:?}"
    );
    assert!(!orders_back.iter().any(|order| order.starts_with("b Seal")));
    let ready = rig.say(A, dialled(0, 2, ""));
    assert!(orders(&ready).contains(&"b Seal 0@2".to_owned()));
}

#[test]
fn an_owner_that_was_cut_off_before_it_sealed_is_asked_again_and_copies_nothing() {
    let (mut rig, _) = moving(broadcast(1));
    rig.say(B, dialled(0, 1, ""));
    rig.input(Input::Left { slave: A });
    let back = rig.join_with(
        A,
        Role::Relaunch,
        report(vec![held(0, 1, Holding::Serving)]),
    );
    assert!(
        orders(&back).contains(&"a Seal 0@1".to_owned()),
        "{:?}",
        orders(&back)
    );
    assert!(
        !orders(&back)
            .iter()
            .any(|order| order.contains("CopyState"))
    );
}

#[test]
fn after_a_death_the_unit_starts_anew_and_it_is_said_for_how_long_it_was_deaf() {
    let mut rig = Rig::serving_with(broadcast(1));
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    let died = rig.die(A);
    assert!(
        orders(&died).contains(&"b FullStart 0@2".to_owned()),
        "{:?}",
        orders(&died)
    );
    rig.wait(3 * SECOND);
    rig.say(B, checkpoint(0, 2, 0));
    let served = rig.say(B, progress(0, 2, Step::Serving));
    assert_eq!(deaf(&served), [3 * SECOND]);
}

#[test]
fn a_slave_of_another_service_is_refused_before_anything_is_pinned() {
    let mut rig = Rig::new(settings(1));
    let mut of_twitch = hello(B, Role::Relaunch);
    of_twitch.parameters = discord::SessionParameters::of_service("twitch").seal();
    let refused = rig.comes(of_twitch, Report::default());
    assert_eq!(orders(&refused), ["refuse b Parameters"]);
    assert!(orders(&rig.join(A, Role::Relaunch)).contains(&"a Accepted".to_owned()));
}

#[test]
fn the_work_begins_while_units_start_for_they_may_wait_for_it() {
    let mut rig = Rig::new(broadcast(2));
    let joined = rig.join_speaking(A, Role::Relaunch, Version::NEWEST);
    let orders = orders(&joined);
    assert!(
        orders.contains(&"a FullStart 0@1 1@1".to_owned()),
        "{orders:?}"
    );
    let begins = orders
        .iter()
        .any(|order| order.starts_with("a StartWork 1"));
    assert!(begins, "no unit serves yet: {orders:?}");
}
