//! Each shard that gets no events has a reason, in whatever state it is.

use super::*;
use crate::event::IdentifyBudget;

/// State and reason of shard 0.
fn why(rig: &Rig) -> (&'static str, Option<String>) {
    let view = rig.core.view(rig.now).shards.swap_remove(0);
    (view.state, view.reason)
}

fn spent() -> Input {
    Input::Budget(IdentifyBudget {
        total: 1000,
        remaining: 0,
        reset_after: 3600 * SECOND,
        at_once: 16,
    })
}

fn journaled() -> Rig {
    let row = Row {
        epoch: Epoch(1),
        owner: A,
        hold: Hold::Owned,
        basis: Basis::Cold,
    };
    let recovered = Recovered {
        shards: [(ShardId(0), row)].into(),
        slaves: [(A, hello(A, Role::Relaunch))].into(),
        ..Recovered::default()
    };
    Rig::restarted(settings(1), recovered)
}

fn lost(rig: &mut Rig) {
    rig.say(A, progress(0, 1, Step::SessionLost));
    rig.say(A, wants_permit(0, 1, IdentifyCause::SessionLost));
}

/// What is done, the state in which the shard is then, and a part of the reason.
type Case = (&'static str, fn() -> Rig, &'static str);

const CASES: &[Case] = &[
    ("serving", || Rig::serving(1), ""),
    (
        "idle",
        || Rig::new(settings(1)),
        "no slave is there for its slot main",
    ),
    (
        "idle",
        || {
            let mut rig = Rig::new(settings(1));
            rig.input(Input::Tick);
            rig.wait(16 * SECOND);
            rig.launch_fails(Role::Relaunch);
            rig
        },
        "starts failed",
    ),
    ("unreachable", journaled, "has it and is not connected"),
    (
        "unreachable",
        || {
            let mut rig = Rig::serving(1);
            rig.input(Input::Left { slave: A });
            rig
        },
        "baton-master fence 0000",
    ),
    (
        "starting",
        || {
            let mut rig = Rig::new(settings(1));
            rig.join(A, Role::Relaunch);
            rig
        },
        "connects, for a new session",
    ),
    (
        "starting",
        || {
            let mut rig = Rig::new(settings(1));
            rig.join(A, Role::Relaunch);
            rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
            rig
        },
        "may IDENTIFY, and its session has not come",
    ),
    (
        "starting",
        || {
            let mut settings = settings(2);
            settings.permits_at_once = 1;
            let mut rig = Rig::new(settings);
            rig.join(A, Role::Relaunch);
            rig.say(A, wants_permit(1, 1, IdentifyCause::Cold));
            rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
            rig
        },
        "it waits for its turn to IDENTIFY, one of 1",
    ),
    (
        "starting",
        || {
            let mut rig = Rig::new(settings(1));
            rig.join(A, Role::Relaunch);
            for _ in 0..4 {
                rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
                rig.wait(300 * SECOND);
            }
            rig.say(A, wants_permit(0, 1, IdentifyCause::Cold));
            rig
        },
        "times in a row an IDENTIFY came to nothing",
    ),
    (
        "no session",
        || {
            let mut rig = Rig::serving(1);
            rig.input(spent());
            lost(&mut rig);
            rig
        },
        "its session is over; no IDENTIFY is left for 60 min",
    ),
    (
        "resuming",
        || {
            let mut rig = Rig::serving(1);
            rig.die(A);
            rig.join(B, Role::Relaunch);
            rig
        },
        "resumes its session",
    ),
    (
        "reconnecting",
        || {
            let mut rig = Rig::serving(1);
            rig.say(A, progress(0, 1, Step::Reconnecting));
            rig.wait(7 * SECOND);
            rig
        },
        "lost its connection 7 s ago",
    ),
    ("copying", || Rig::moving(settings(1)).0, ""),
    (
        "sealing",
        || {
            let (mut rig, _) = Rig::moving(settings(1));
            rig.say(B, state_ready(0, 1, 90));
            rig
        },
        "it moves to slave",
    ),
    (
        "taking back",
        || {
            let (mut rig, _) = Rig::moving(settings(1));
            rig.say(B, state_ready(0, 1, 90));
            rig.say(A, sealed(0, 1, 100));
            rig.say(B, failed(0, 2));
            rig
        },
        "the deploy goes back",
    ),
    (
        "failed",
        || {
            let mut rig = Rig::serving(1);
            rig.say(A, failed(0, 1));
            rig
        },
        "it is tried again in 1.0 s",
    ),
    (
        "failed",
        || {
            let mut rig = Rig::serving(1);
            if let ToMaster::Failed(mut failed) = failed(0, 1) {
                failed.close_code = 4014;
                rig.say(A, ToMaster::Failed(failed));
            }
            rig
        },
        "it waits for another build",
    ),
    (
        "resuming",
        || {
            let mut rig = Rig::serving(1);
            rig.say(A, failed(0, 1));
            rig.wait(SECOND);
            rig
        },
        "resumes its session; before: no",
    ),
    (
        "sealing",
        || {
            let mut rig = Rig::serving(1);
            rig.input(Input::Restart {
                request: RequestId(1),
                shard: ShardId(0),
            });
            rig
        },
        "it begins anew at slave",
    ),
    (
        "reconnecting",
        || {
            let mut rig = Rig::serving(1);
            rig.say(A, progress(0, 1, Step::Reconnecting));
            rig.say(A, refused("h answered 429"));
            // It waits, and says so.
            rig.say(A, progress(0, 1, Step::Dialling));
            rig
        },
        "resumes its session: h answered 429",
    ),
    (
        "serving",
        || {
            let mut rig = Rig::serving(1);
            rig.say(A, progress(0, 1, Step::Reconnecting));
            rig.say(A, refused("h answered 429"));
            rig.say(A, progress(0, 1, Step::Serving));
            rig
        },
        "",
    ),
];

fn refused(why: &str) -> ToMaster {
    ToMaster::Progress(Progress {
        shard: ShardId(0),
        epoch: Epoch(1),
        step: Step::Dialling,
        refused: why.to_owned(),
        ..Progress::default()
    })
}

#[test]
fn every_state_in_which_no_events_come_says_why() {
    for (nth, (state, rig, part)) in CASES.iter().enumerate() {
        let (is, reason) = why(&rig());
        assert_eq!(is, *state, "case {nth}: {reason:?}");
        if part.is_empty() {
            assert_eq!(reason, None, "case {nth}");
            continue;
        }
        assert!(
            reason.as_ref().is_some_and(|reason| reason.contains(part)),
            "case {nth}, {state}: {reason:?} says nothing of {part:?}"
        );
    }
}
