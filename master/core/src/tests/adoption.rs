//! A master starts where another ended.

use baton_protocol::DeployId;

use super::*;

fn recovered(rows: &[(u32, u64, SlaveId, Hold)], alive: &[SlaveId]) -> Recovered {
    let rows = rows.iter();
    let pinned = pinned(513, 2);
    Recovered {
        pinned: Some(pinned),
        shards: rows
            .map(|&(shard, epoch, owner, hold)| row(shard, epoch, owner, hold))
            .collect(),
        work: Some((Epoch(1), A)),
        slaves: alive
            .iter()
            .map(|&id| (id, hello(id, Role::Relaunch)))
            .collect(),
        last_deploy: DeployId(4).into(),
        ..Recovered::default()
    }
}

#[test]
fn slaves_that_serve_are_adopted_and_the_grace_ends_with_the_last_of_them() {
    let rows = [(0, 7, A, Hold::Owned), (1, 3, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A]));
    assert!(rig.core.view(rig.now).adopting);
    let mut all = report(vec![
        held(0, 7, Holding::Serving),
        held(1, 3, Holding::Serving),
    ]);
    all.work = Epoch(1);
    let actions = rig.join_with(A, Role::Relaunch, all);
    assert_eq!(orders(&actions), ["a Accepted"]);
    assert!(!rig.core.view(rig.now).adopting);
    assert!(rig.all_served_by(A));
    assert_eq!(rig.core.view(rig.now).work, Some(A.to_string()));
}

#[test]
fn a_living_slave_that_does_not_report_keeps_its_shards() {
    let rows = [(0, 7, A, Hold::Owned), (1, 3, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A]));
    rig.join(B, Role::Candidate);
    let actions = rig.wait(600 * SECOND);
    assert!(
        orders(&actions)
            .iter()
            .all(|order| order == "b Shutdown" || order == "kill b")
    );
    assert!(alarms(&actions) > 0);
    assert_eq!(rig.shard(0).1, "unreachable");
    rig.die(A);
    let actions = rig.join(C, Role::Relaunch);
    assert!(orders(&actions).contains(&"c FullStart 0@8 1@4".to_owned()));
}

#[test]
fn a_dead_owners_shards_are_resumed_from_the_journals_tickets() {
    let rows = [(0, 7, A, Hold::Owned), (1, 3, A, Hold::Owned)];
    let mut journal = recovered(&rows, &[]);
    for (shard, epoch, age) in [(0, 7, 30), (1, 3, 200)] {
        let row = crate::event::RecoveredTicket {
            epoch: Epoch(epoch),
            after: ResumeAfter::Death,
            ticket: ticket(shard, 55),
            age: age * SECOND,
        };
        journal.tickets.insert(ShardId(shard), row);
    }
    let mut rig = Rig::restarted(settings(2), journal);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@8 Reserved b, 1@4 Reserved b",
            "b Accepted",
            "b Resume 0@8 after Death from 55",
            "b FullStart 1@4",
        ],
        "the second is older than the resume window"
    );
}

#[test]
fn a_deploy_that_the_master_did_not_survive_goes_on_to_the_newer_slave() {
    let rows = [(0, 2, B, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
    rig.join_with(
        B,
        Role::Candidate,
        report(vec![held(0, 2, Holding::Serving)]),
    );
    let old = vec![held(0, 1, Holding::Sealed), held(1, 1, Holding::Serving)];
    let mut old = report(old);
    old.work = Epoch(1);
    let actions = rig.join_with(A, Role::Relaunch, old);
    assert_eq!(
        orders(&actions),
        ["a Accepted", "a Seal 0@1", "a CopyState 1@1"],
        "what the sealed one had in doubt is asked for again"
    );
    rig.move_shard(A, B, 1, 1);
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
}

#[test]
fn a_master_that_leaves_begins_no_deploy_that_it_finds() {
    let rows = [(0, 2, B, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
    rig.input(Input::Leave);
    for (slave, held) in [
        (B, held(0, 2, Holding::Serving)),
        (A, held(1, 1, Holding::Serving)),
    ] {
        let actions = rig.join_with(slave, Role::Relaunch, report(vec![held]));
        assert_eq!(accepted(&actions), None, "the next master goes on with it");
    }
    assert_eq!(rig.step(), None);
}

/// A master that follows one that was killed in its deploy 4, for which B was launched.
fn in_deploy_4(rows: &[(u32, u64, SlaveId, Hold)], given_up: &[DeployId]) -> Rig {
    Rig::restarted(settings(2), left_in_deploy_4(rows, given_up))
}

/// What that one left.
fn left_in_deploy_4(rows: &[(u32, u64, SlaveId, Hold)], given_up: &[DeployId]) -> Recovered {
    let mut journal = recovered(rows, &[A, B]);
    journal.last_deploy = crate::event::LastDeploy {
        deploy: DeployId(4),
        slot: "main".to_owned(),
        command: Some(vec!["v2".to_owned()]),
        done: None,
    };
    let last = journal.last_deploy.clone();
    journal.deploys.insert("main".to_owned(), last);
    journal.given_up = given_up.iter().copied().collect();
    let of_deploy = journal.slaves.get_mut(&B).unwrap();
    of_deploy.deploy = DeployId(4);
    journal
}

/// B joins as the candidate that it was launched as.
fn join_of_deploy(rig: &mut Rig, shards: Vec<Held>) -> Vec<Action> {
    let mut hello = hello(B, Role::Candidate);
    hello.deploy = DeployId(4);
    rig.comes(hello, report(shards))
}

fn accepted(actions: &[Action]) -> Option<DeployId> {
    actions.iter().find_map(|action| match action {
        Action::Tell(News::DeployAccepted { deploy, .. }) => Some(*deploy),
        _ => None,
    })
}

#[test]
fn a_deploy_that_goes_on_under_the_next_master_keeps_its_number_and_brings_its_command() {
    let moved = [(0, 2, B, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut rig = in_deploy_4(&moved, &[]);
    join_of_deploy(&mut rig, vec![held(0, 2, Holding::Serving)]);
    let old = vec![held(0, 1, Holding::Sealed), held(1, 1, Holding::Serving)];
    let mut old = report(old);
    old.work = Epoch(1);
    let actions = rig.join_with(A, Role::Relaunch, old);
    assert_eq!(accepted(&actions), Some(DeployId(4)));
    rig.move_shard(A, B, 1, 1);
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    let actions = rig.soaked(B);
    let brings = |action: &Action| {
        let Action::Save(entries, _) = action else {
            return false;
        };
        let command = Entry::Command {
            slot: "main".to_owned(),
            command: vec!["v2".to_owned()],
        };
        entries.contains(&command)
    };
    assert!(actions.iter().any(brings), "{actions:?}");
}

#[test]
fn a_deploy_that_had_moved_nothing_keeps_its_number_too_unless_it_had_come_to_nothing() {
    let unmoved = [(0, 1, A, Hold::Owned), (1, 1, A, Hold::Owned)];
    let both = || vec![held(0, 1, Holding::Serving), held(1, 1, Holding::Serving)];
    for (given_up, due) in [
        (vec![], Some(DeployId(4))),
        // What it was launched for has ended: it is turned away.
        (vec![DeployId(4)], None),
    ] {
        let mut rig = in_deploy_4(&unmoved, &given_up);
        let mut actions = rig.join_with(A, Role::Relaunch, report(both()));
        actions.extend(join_of_deploy(&mut rig, Vec::new()));
        assert_eq!(accepted(&actions), due);
    }
    // Whoever comes by itself is of no deploy before.
    let mut rig = in_deploy_4(&unmoved, &[]);
    rig.die(B);
    rig.join_with(A, Role::Relaunch, report(both()));
    assert_eq!(accepted(&rig.join(C, Role::Candidate)), Some(DeployId(5)));
}

#[test]
fn a_deploy_that_was_done_does_not_go_on() {
    let unmoved = [(0, 1, A, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut journal = left_in_deploy_4(&unmoved, &[]);
    journal.deploys.get_mut("main").unwrap().done = Some(crate::event::Done {
        deploy: DeployId(4),
        ..crate::event::Done::default()
    });
    let mut rig = Rig::restarted(settings(2), journal);
    let both = vec![held(0, 1, Holding::Serving), held(1, 1, Holding::Serving)];
    let mut actions = rig.join_with(A, Role::Relaunch, report(both));
    actions.extend(join_of_deploy(&mut rig, Vec::new()));
    assert_eq!(accepted(&actions), Some(DeployId(5)));
}

#[test]
fn a_shard_sealed_for_a_slave_that_never_got_it_goes_back_to_its_frozen_state() {
    let rows = [(0, 2, B, Hold::Reserved), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
    let old = report(vec![
        held(0, 1, Holding::Sealed),
        held(1, 1, Holding::Serving),
    ]);
    let actions = rig.join_with(A, Role::Relaunch, old);
    assert_eq!(
        orders(&actions),
        ["a Accepted", "a Seal 0@1"],
        "the other one may have been told to resume it"
    );
    let actions = rig.join_with(B, Role::Candidate, report(Vec::new()));
    assert_eq!(
        orders(&actions),
        [
            "b Accepted",
            "save now 0@3 Reserved a",
            "a Resume 0@3 after Seal from 100",
            "b ShardMigrationStart to",
            "a ShardMigrationStart from",
        ]
    );
}

#[test]
fn the_highest_epoch_wins_and_the_other_is_told() {
    let rows = [(0, 2, B, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
    let old = vec![held(0, 1, Holding::Serving), held(1, 1, Holding::Serving)];
    let actions = rig.join_with(A, Role::Relaunch, report(old));
    assert_eq!(orders(&actions), ["a Accepted", "a Forget 0@2"]);
    rig.join_with(
        B,
        Role::Relaunch,
        report(vec![held(0, 2, Holding::Serving)]),
    );
    assert_eq!(rig.shard(0).0, Some(B.to_string()));
}

#[test]
fn nothing_starts_before_the_grace_is_over() {
    let rows = [(0, 1, A, Hold::Owned), (1, 1, C, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A]));
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(orders(&actions), ["b Accepted"]);
    let actions = rig.input(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    });
    assert!(matches!(
        actions[..],
        [Action::Tell(News::RequestRefused { .. })]
    ));
    assert_eq!(orders(&rig.wait(9 * SECOND)), [""; 0]);
    assert!(rig.core.view(rig.now).adopting);
}

#[test]
fn a_lost_journal_waits_for_slaves_that_it_cannot_name() {
    let journal = Recovered {
        journal: crate::event::JournalState::Lost,
        floor: Epoch(1000),
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings(1), journal);
    rig.join(B, Role::Candidate);
    rig.join_with(
        A,
        Role::Relaunch,
        report(vec![held(0, 9, Holding::Serving)]),
    );
    let actions = rig.wait(10 * SECOND);
    assert!(rig.all_served_by(A), "and it gets no second owner");
    assert_eq!(
        orders(&actions),
        [
            "save soon ",
            "b ShardMigrationStart to",
            "a ShardMigrationStart from"
        ][1..]
    );
}

#[test]
fn rows_of_a_lost_journal_free_no_shard_while_a_living_slave_has_not_reported() {
    // The truth: `B` serves shard 0 since its migration, of which the rows are lost.
    let rows = [(0, 1, A, Hold::Owned), (1, 1, A, Hold::Owned)];
    let mut journal = recovered(&rows, &[A, B]);
    journal.journal = crate::event::JournalState::Lost;
    journal.floor = Epoch(1000);
    let mut rig = Rig::restarted(settings(2), journal);
    let old = vec![held(0, 1, Holding::Sealed), held(1, 1, Holding::Serving)];
    rig.join_with(A, Role::Relaunch, report(old));
    let actions = rig.wait(60 * SECOND);
    let started =
        |order: &String| order.contains("Start ") || order.contains("Resume") || order == "launch";
    assert!(!orders(&actions).iter().any(started), "{actions:?}");
    let new = vec![held(0, 2, Holding::Serving)];
    rig.join_with(B, Role::Candidate, report(new));
    assert_eq!(rig.shard(0), (Some(B.to_string()), "serving"));
}

#[test]
fn epochs_go_on_above_every_one_that_the_journal_knows() {
    let rows = [(0, 41, B, Hold::Reserved), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[]));
    let actions = rig.join(C, Role::Relaunch);
    assert!(orders(&actions).contains(&"c FullStart 0@42 1@2".to_owned()));
}

#[test]
fn a_reserved_shard_waits_for_every_living_slave_that_may_be_its_owner() {
    let rows = [(0, 2, B, Hold::Reserved), (1, 1, A, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A]));
    let actions = rig.join(C, Role::Relaunch);
    assert_eq!(orders(&actions), ["c Accepted"]);
    let actions = rig.wait(12 * SECOND);
    assert!(
        !orders(&actions).iter().any(|order| order.contains("Start")),
        "{actions:?}"
    );
    let both = vec![held(0, 1, Holding::Serving), held(1, 1, Holding::Serving)];
    rig.join_with(A, Role::Relaunch, report(both));
    assert!(rig.all_served_by(A));
}

#[test]
fn what_was_in_doubt_before_the_restart_is_still_settled() {
    let rows = [(0, 2, B, Hold::Owned), (1, 2, B, Hold::Owned)];
    for new_first in [true, false] {
        let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
        let mut doubtful = held(0, 1, Holding::Sealed);
        doubtful.ticket.in_doubt = ranges(&[101]);
        let old = report(vec![doubtful, held(1, 1, Holding::Sealed)]);
        let new = report(vec![
            held(0, 2, Holding::Serving),
            held(1, 2, Holding::Serving),
        ]);
        if new_first {
            rig.join_with(B, Role::Relaunch, new);
            rig.join_with(A, Role::Candidate, old);
        } else {
            rig.join_with(A, Role::Candidate, old);
            rig.join_with(B, Role::Relaunch, new);
        }
        assert_eq!(
            orders(&rig.say(A, settled(0, 1, &[101]))),
            ["b Settled 0@1 101"]
        );
    }
}

#[test]
fn a_slave_that_was_replaced_before_the_restart_is_no_candidate() {
    let rows = [(0, 2, B, Hold::Owned), (1, 2, B, Hold::Owned)];
    let mut rig = Rig::restarted(settings(2), recovered(&rows, &[A, B]));
    let new = vec![held(0, 2, Holding::Serving), held(1, 2, Holding::Serving)];
    rig.join_with(B, Role::Relaunch, report(new));
    let old = vec![held(0, 1, Holding::Sealed), held(1, 1, Holding::Sealed)];
    let actions = rig.join_with(A, Role::Candidate, report(old));
    assert!(orders(&actions).contains(&"a Shutdown".to_owned()));
    assert_eq!(rig.step(), None);
    assert!(rig.all_served_by(B));
}

/// A slave was to resume after a death. No master was there when it served, and its lease was
/// over before the next one came: what it sealed is all that is known.
#[test]
fn what_a_slave_sealed_by_itself_is_as_exact_as_any_seal_if_it_began_the_session() {
    let gone_on_with = |known: Option<&str>| {
        let mut journal = recovered(&[(0, 7, A, Hold::Reserved)], &[A]);
        journal.shards.get_mut(&ShardId(0)).unwrap().basis = Basis::Death;
        if let Some(of) = known {
            let row = crate::event::RecoveredTicket {
                epoch: Epoch(6),
                after: ResumeAfter::Death,
                ticket: Ticket {
                    session: session(of),
                    ..ticket(0, 55)
                },
                age: SECOND,
            };
            journal.tickets.insert(ShardId(0), row);
        }
        let mut rig = Rig::restarted(settings(1), journal);
        let sealed = report(vec![held(0, 7, Holding::Sealed)]);
        let mut actions = rig.join_with(A, Role::Relaunch, sealed);
        actions.extend(rig.wait(SECOND));
        let given = orders(&actions);
        given.into_iter().find(|order| order.contains("Resume"))
    };
    let exact = Some("a Resume 0@8 after Seal from 100".to_owned());
    assert_eq!(gone_on_with(None), exact);
    assert_eq!(gone_on_with(Some("the one before")), exact);
    // The same session was replayed to it, and nobody knows how far it was.
    let unknown = Some("a Resume 0@8 after Death from 100".to_owned());
    assert_eq!(gone_on_with(Some("session of 0")), unknown);
}
