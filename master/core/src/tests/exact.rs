//! What is known exactly stays so: nothing is marked that no slave can have handled,
//! and nothing is forgotten that a slave may have.

use super::*;

/// Shard 0 was sealed at 120 by A, which runs 121, and was given to B.
fn given_with_doubt() -> Rig {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let mut ticket = ticket(0, 120);
    ticket.in_doubt = ranges(&[121]);
    rig.say(A, sealed_with(1, ticket));
    rig
}

#[test]
fn a_checkpoint_that_says_nothing_new_does_not_replace_the_ticket_of_the_seal() {
    let mut rig = given_with_doubt();
    rig.say(B, checkpoint(0, 2, 120));
    let actions = rig.say(B, failed(0, 2));
    let resume = resume_of(&actions);
    assert_eq!(resume.after, ResumeAfter::Seal);
    assert_eq!(resume.ticket.in_doubt, ranges(&[121]), "it was handed out");
}

#[test]
fn a_checkpoint_that_says_the_same_in_other_numbers_says_nothing_new() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let mut ticket = ticket(0, 120);
    ticket.finished_above = ranges(&[121, 122]);
    rig.say(A, sealed_with(1, ticket));
    rig.say(B, checkpoint(0, 2, 122));
    assert_eq!(
        resume_of(&rig.say(B, failed(0, 2))).after,
        ResumeAfter::Seal
    );
}

#[test]
fn what_a_bot_gives_along_is_taken_in_and_leaves_the_ticket_of_the_seal_exact() {
    let mut rig = given_with_doubt();
    let ToMaster::Checkpoint(mut said) = checkpoint(0, 2, 120) else {
        unreachable!("it is one");
    };
    said.shards[0].session = Some(Ticket {
        luggage: "along".to_owned(),
        ..ticket(0, 120)
    });
    rig.say(B, ToMaster::Checkpoint(said));
    let actions = rig.say(B, failed(0, 2));
    let resume = resume_of(&actions);
    assert_eq!(resume.after, ResumeAfter::Seal);
    assert_eq!(resume.ticket.in_doubt, ranges(&[121]));
    assert_eq!(resume.ticket.luggage, "along");
}

#[test]
fn a_checkpoint_that_says_something_new_does() {
    let mut rig = given_with_doubt();
    rig.say(B, checkpoint(0, 2, 125));
    let actions = rig.say(B, failed(0, 2));
    assert_eq!(resume_of(&actions).after, ResumeAfter::Death);
}

#[test]
fn that_something_came_is_heard_in_the_next_report_too() {
    for (untouched, after) in [(true, ResumeAfter::Seal), (false, ResumeAfter::Death)] {
        let mut rig = given_with_doubt();
        rig.input(Input::Left { slave: B });
        let mut held = held(0, 2, Holding::Resuming);
        held.ticket = ticket(0, 120);
        held.untouched = untouched;
        rig.join_with(B, Role::Relaunch, report(vec![held]));
        let actions = rig.say(B, failed(0, 2));
        assert_eq!(resume_of(&actions).after, after, "untouched: {untouched}");
    }
}

#[test]
fn a_lost_session_leaves_nothing_to_be_marked_in_the_next() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(resume_of(&actions).after, ResumeAfter::Death);
    rig.say(B, progress(0, 2, Step::SessionLost));
    rig.say(B, wants_permit(0, 2, IdentifyCause::SessionLost));
    // READY, SIGTERM and the seal: nothing of it was heard.
    rig.input(Input::Left { slave: B });
    let mut sealed = held(0, 2, Holding::Sealed);
    sealed.ticket.session = session("another");
    rig.join_with(B, Role::Relaunch, report(vec![sealed]));
    rig.say(B, ToMaster::Shutdown);
    rig.die(B);
    let actions = rig.join(C, Role::Relaunch);
    let resume = resume_of(&actions);
    assert_eq!(resume.after, ResumeAfter::Seal);
    assert_eq!(resume.ticket.session, session("another"));
}

#[test]
fn a_seal_that_never_came_is_not_what_the_next_owner_goes_on_from() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    let actions = rig.die(A);
    let bases = actions.iter().flat_map(|action| match action {
        Action::Save(entries, _) => entries.as_slice(),
        _ => &[],
    });
    let bases: Vec<_> = bases
        .filter_map(|entry| match entry {
            Entry::Owner { epoch, basis, .. } => Some((*epoch, *basis)),
            _ => None,
        })
        .collect();
    assert_eq!(
        bases,
        [(Epoch(3), Basis::Death)],
        "so the next master knows it"
    );
}

// ---- after a restart ---------------------------------------------------------

/// A journal that knows that shard 0 was sealed by A and reserved for B.
fn sealed_for_b(settings: Settings) -> Rig {
    sealed_for(B, 2, settings)
}

/// The same, with another reservation.
fn sealed_for(owner: SlaveId, epoch: u64, settings: Settings) -> Rig {
    let pinned = pinned(513, settings.shard_count);
    let row = Row {
        epoch: Epoch(epoch),
        owner,
        hold: Hold::Reserved,
        basis: Basis::Seal(Epoch(1)),
    };
    let recovered = Recovered {
        pinned: Some(pinned),
        shards: [(ShardId(0), row)].into(),
        work: Some((Epoch(1), A)),
        slaves: [A, B]
            .map(|id| (id, hello(id, Role::Relaunch)))
            .into_iter()
            .collect(),
        tickets: [(
            ShardId(0),
            crate::event::RecoveredTicket {
                epoch: Epoch(2),
                ticket: ticket(0, 120),
                ..Default::default()
            },
        )]
        .into(),
        ..Recovered::default()
    };
    Rig::restarted(settings, recovered)
}

fn held_in_doubt(epoch: u64, holding: Holding) -> Held {
    let mut held = held(0, epoch, holding);
    held.ticket = ticket(0, 120);
    held.ticket.in_doubt = ranges(&[121]);
    held
}

#[test]
fn what_was_in_doubt_is_settled_by_its_sealer_whoever_reports_first() {
    for sealer_first in [true, false] {
        let mut rig = sealed_for_b(settings(1));
        let mut orders = Vec::new();
        for slave in if sealer_first { [A, B] } else { [B, A] } {
            let held = if slave == A {
                held_in_doubt(1, Holding::Sealed)
            } else {
                held_in_doubt(2, Holding::Resuming)
            };
            let actions = rig.join_with(slave, Role::Relaunch, report(vec![held]));
            orders.extend(super::orders(&actions));
        }
        assert!(orders.contains(&"a Seal 0@1".to_owned()), "{orders:?}");
        assert_eq!(
            super::orders(&rig.say(A, settled(0, 1, &[])))[0],
            "b Settled 0@1 ",
            "finished, and so not handed out again"
        );
    }
}

#[test]
fn an_adopted_owner_that_fails_before_anything_came_is_followed_exactly() {
    for (untouched, after) in [(true, ResumeAfter::Seal), (false, ResumeAfter::Death)] {
        for fails_before in [true, false] {
            let mut rig = sealed_for_b(settings(1));
            rig.join_with(
                A,
                Role::Relaunch,
                report(vec![held_in_doubt(1, Holding::Sealed)]),
            );
            let holding = if fails_before {
                Holding::Failed
            } else {
                Holding::Resuming
            };
            let mut held = held_in_doubt(2, holding);
            held.untouched = untouched;
            let mut actions = rig.join_with(B, Role::Relaunch, report(vec![held]));
            if !fails_before {
                actions = rig.say(B, failed(0, 2));
            }
            rig.die(B);
            rig.die(A);
            actions.extend(rig.join(C, Role::Relaunch));
            assert_eq!(
                resume_of(&actions).after,
                after,
                "untouched: {untouched}, reported as failed: {fails_before}"
            );
        }
    }
}

#[test]
fn a_later_reservation_says_that_nothing_came_at_the_epoch_before() {
    for sealer_first in [true, false] {
        // B failed at epoch 2, and the master ended before it could tell A.
        let mut rig = sealed_for(A, 3, settings(1));
        let mut orders = Vec::new();
        for slave in if sealer_first { [A, B] } else { [B, A] } {
            let held = if slave == A {
                held_in_doubt(1, Holding::Sealed)
            } else {
                held_in_doubt(2, Holding::Failed)
            };
            let actions = rig.join_with(slave, Role::Relaunch, report(vec![held]));
            orders.extend(super::orders(&actions));
        }
        assert!(
            orders.contains(&"a Resume 0@4 after Seal from 120".to_owned()),
            "{orders:?}"
        );
    }
}

#[test]
fn two_owners_of_one_slot_that_come_after_the_grace_are_a_deploy_that_goes_on() {
    let mut rig = sealed_for_b(settings(2));
    let waits = rig.wait(20 * SECOND);
    assert!(alarms(&waits) > 0);
    // The slot was filled with B, which the row names; A is the first to come.
    rig.join_with(
        A,
        Role::Relaunch,
        report(vec![held(0, 3, Holding::Serving)]),
    );
    let actions = rig.join_with(
        B,
        Role::Relaunch,
        report(vec![held(1, 7, Holding::Serving)]),
    );
    assert!(
        orders(&actions).contains(&"a CopyState 0@3".to_owned()),
        "{actions:?}"
    );
}
