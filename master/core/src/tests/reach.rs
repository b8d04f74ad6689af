//! Events that are never finished: no RESUME goes further back than Discord replays.

use baton_protocol::message::{CarriedEvent, Unfinished};

use super::*;

/// What a slave says of a shard where event 101 hangs and everything behind it up to
/// `received` is finished.
fn hanging(epoch: u64, received: u64) -> ToMaster {
    ToMaster::Checkpoint(Checkpoint {
        shards: vec![CheckpointEntry {
            shard: ShardId(0),
            epoch: Epoch(epoch),
            handled: Sequence(100),
            finished_above: all(102, received),
            ..CheckpointEntry::default()
        }],
    })
}

fn all(first: u64, last: u64) -> SequenceRanges {
    let mut set = SequenceRanges::new();
    set.insert_range(Sequence(first), Sequence(last));
    set
}

/// The ticket of a seal at that moment.
fn sealed_hanging(epoch: u64, received: u64) -> ToMaster {
    let mut ticket = ticket(0, 100);
    ticket.finished_above = all(102, received);
    ticket.in_doubt = ranges(&[101]);
    sealed_with(epoch, ticket)
}

/// A pong that names the event.
fn named(epoch: u64, behind: u64) -> ToMaster {
    ToMaster::Pong(Pong {
        unfinished: vec![Unfinished {
            shard: ShardId(0),
            epoch: Epoch(epoch),
            sequence: Sequence(101),
            kind: "MESSAGE_CREATE".to_owned(),
            guild: 41,
            age_ms: 90_000,
            behind,
        }],
        ..Pong::default()
    })
}

/// One shard, of whose events 101 hangs in the hands of `A`; `B` came as a candidate.
fn hangs(versions: [Version; 2], received: u64) -> (Rig, Vec<Action>) {
    let mut rig = Rig::new(settings(1));
    rig.join_speaking(A, Role::Relaunch, versions[0]);
    rig.ready(A, 0, 1);
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    for at in (1000..received).step_by(10_000).chain([received]) {
        rig.wait(SECOND);
        rig.say(A, hanging(1, at));
    }
    rig.say(A, named(1, received - 101));
    rig.join_speaking(B, Role::Candidate, versions[1]);
    rig.say(A, prepared(true));
    let actions = rig.say(B, prepared(false));
    (rig, actions)
}

const NEW: [Version; 2] = [Version::NEWEST; 2];
const OLD: [Version; 2] = [Version(5); 2];

fn resumes(actions: &[Action]) -> Vec<String> {
    let mut orders = orders(actions);
    orders.retain(|order| order.contains("Resume") || order.contains("Dial"));
    orders
}

/// Alarms that say that an event is given up.
fn given_up(actions: &[Action]) -> Vec<String> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell(News::Alarm { detail }) if detail.contains("given up") => Some(detail.clone()),
        _ => None,
    });
    told.collect()
}

/// The tickets and words that `B` was given.
fn ticket_of(actions: &[Action]) -> Ticket {
    let tickets = actions.iter().find_map(|action| match action {
        Action::Send(B, ToSlave::Resume(resume)) => Some(resume.ticket.clone()),
        _ => None,
    });
    tickets.unwrap()
}

#[test]
fn a_handover_begins_behind_an_event_that_hangs_and_the_event_follows_with_its_payload() {
    for received in [1101, 200_000, 2_000_000] {
        let (mut rig, _) = hangs(NEW, received);
        let actions = rig.say(B, state_ready(0, 1, received));
        let dialled = format!("b Dial 0@1 from {received}");
        assert_eq!(resumes(&actions), [dialled]);
        rig.say(B, ToMaster::Dialled(dialled_well()));
        let actions = rig.say(A, sealed_hanging(1, received));
        let resume = format!("b Resume 0@2 after Seal from {received}");
        assert_eq!(resumes(&actions), [resume], "not from 100");
        let ticket = ticket_of(&actions);
        assert_eq!(ticket.handled, Sequence(100), "it is not finished");
        assert_eq!(ticket.in_doubt, ranges(&[101]));
        let event = CarriedEvent {
            sequence: Sequence(101),
            kind: "MESSAGE_CREATE".to_owned(),
            json: "{}".to_owned(),
        };
        let actions = rig.say(
            A,
            ToMaster::Settled(Settled {
                shard: ShardId(0),
                epoch: Epoch(1),
                unfinished: ranges(&[101]),
                events: vec![event.clone()],
            }),
        );
        let passed_on = actions.iter().any(|action| {
            matches!(action, Action::Send(B, ToSlave::Settled(settled)) if settled.events == [event.clone()])
        });
        assert!(passed_on, "{actions:?}");
        assert_eq!(given_up(&actions), [""; 0]);
    }
}

fn dialled_well() -> baton_protocol::message::Dialled {
    baton_protocol::message::Dialled {
        shard: ShardId(0),
        epoch: Epoch(1),
        failed: String::new(),
    }
}

#[test]
fn an_event_that_nobody_carries_is_given_up_by_name_once_it_is_known_to_be_unfinished() {
    let (mut rig, _) = hangs(OLD, 1101);
    rig.say(B, state_ready(0, 1, 1101));
    rig.say(B, ToMaster::Dialled(dialled_well()));
    let actions = rig.say(A, sealed_hanging(1, 1101));
    assert_eq!(resumes(&actions), ["b Resume 0@2 after Seal from 1101"]);
    let ticket = ticket_of(&actions);
    assert!(ticket.in_doubt.is_empty(), "an old slave would wait for it");
    assert_eq!(given_up(&actions), [""; 0], "it may yet be finished");
    let actions = rig.say(A, settled(0, 1, &[101]));
    let said = given_up(&actions);
    assert_eq!(said.len(), 1, "{actions:?}");
    for what in ["event 101", "shard 0", "MESSAGE_CREATE", "guild 41", "90 s"] {
        assert!(said[0].contains(what), "{what}: {said:?}");
    }
}

#[test]
fn what_its_sealer_finished_after_all_is_not_given_up() {
    for versions in [NEW, OLD] {
        let (mut rig, _) = hangs(versions, 1101);
        rig.say(B, state_ready(0, 1, 1101));
        rig.say(B, ToMaster::Dialled(dialled_well()));
        rig.say(A, sealed_hanging(1, 1101));
        let actions = rig.say(A, settled(0, 1, &[]));
        assert_eq!(given_up(&actions), [""; 0]);
    }
}

/// Sealed by `A` with everything above 100 given back; this is what `B` gets, and what is
/// given up of it.
fn given_back(received: u64) -> (Ticket, Vec<String>) {
    let (mut rig, _) = hangs(NEW, received);
    rig.say(B, state_ready(0, 1, received));
    rig.say(B, ToMaster::Dialled(dialled_well()));
    let mut ticket = ticket(0, 100);
    ticket.given_back = all(101, received);
    let actions = rig.say(A, sealed_with(1, ticket));
    (ticket_of(&actions), given_up(&actions))
}

#[test]
fn what_a_bot_gave_back_is_replayed_because_nobody_carries_it() {
    // 1,000 are replayed. What is carried would be left out beyond 250.
    for received in [340, 360, 800] {
        let (ticket, said) = given_back(received);
        assert_eq!(ticket.resume_from(), Sequence(100), "of {received}");
        assert_eq!(said, [""; 0]);
    }
    let (ticket, said) = given_back(1100);
    assert_eq!(ticket.resume_from(), Sequence(350), "750 are replayed");
    assert!(said[0].contains("event 101 of shard 0"), "{said:?}");
    assert_eq!(ticket.finished_above, all(101, 350), "it is not waited for");
}

#[test]
fn a_death_gives_up_what_discord_does_not_replay_and_nothing_else() {
    let after_death = |received| {
        let (mut rig, _) = hangs(NEW, received);
        rig.say(A, hanging(1, received));
        let actions = rig.die(A);
        (resumes(&actions), given_up(&actions))
    };
    let (resumes, said) = after_death(800);
    assert_eq!(resumes, ["b Resume 0@2 after Death from 100"]);
    assert_eq!(said, [""; 0]);
    let (resumes, said) = after_death(1800);
    assert_eq!(resumes, ["b Resume 0@2 after Death from 1800"]);
    assert!(said[0].contains("event 101 of shard 0"), "{said:?}");
    assert!(said[0].contains("MESSAGE_CREATE"), "{said:?}");
}

/// Sealed by `A` with 101 in hand, and served by `B`, which has finished everything since
/// but for 1151.
fn moved_on(said: bool) -> Rig {
    let (mut rig, _) = hangs(NEW, 1101);
    rig.say(B, state_ready(0, 1, 1101));
    rig.say(B, ToMaster::Dialled(dialled_well()));
    rig.say(A, sealed_hanging(1, 1101));
    rig.say(B, resumed(0, 2));
    if said {
        rig.say(A, settled(0, 1, &[101]));
    }
    let mut finished = all(102, 1150);
    finished.insert_all(&all(1152, 2900));
    rig.say(
        B,
        ToMaster::Checkpoint(Checkpoint {
            shards: vec![CheckpointEntry {
                shard: ShardId(0),
                epoch: Epoch(2),
                handled: Sequence(100),
                finished_above: finished,
                ..CheckpointEntry::default()
            }],
        }),
    );
    rig
}

#[test]
fn what_its_sealer_still_has_in_hand_is_not_given_up_when_the_shard_goes_back_to_it() {
    for said in [false, true] {
        let mut rig = moved_on(said);
        let actions = rig.die(B);
        let ticket = actions.iter().find_map(|action| match action {
            Action::Send(A, ToSlave::Resume(resume)) => Some(resume.ticket.clone()),
            _ => None,
        });
        let ticket = ticket.unwrap();
        assert_eq!(ticket.handled, Sequence(100), "101 runs there, {said}");
        assert!(ticket.replay_from > Sequence(2000), "{ticket:?}");
        assert!(ticket.finished_above.contains(Sequence(1151)), "given up");
        let said = given_up(&actions);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("event 1151 of shard 0"), "{said:?}");
    }
}

#[test]
fn what_the_service_says_of_a_session_bounds_its_replay() {
    let mut rig = Rig::new(settings(1));
    rig.join_speaking(A, Role::Relaunch, Version::NEWEST);
    let mut of_guilds = ticket(0, 100);
    let session = discord::Session {
        guilds: 4,
        ..discord::Session::with_id("session of 0")
    };
    of_guilds.session = session.seal();
    let entry = CheckpointEntry {
        shard: ShardId(0),
        epoch: Epoch(1),
        handled: Sequence(100),
        session: Some(of_guilds),
        ..CheckpointEntry::default()
    };
    let shards = vec![entry];
    rig.say(A, ToMaster::Checkpoint(Checkpoint { shards }));
    rig.say(A, progress(0, 1, Step::Serving));
    rig.say(A, hanging(1, 400));
    rig.die(A);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(
        resumes(&actions),
        ["b Resume 0@2 after Death from 400"],
        "300 events behind, of which 300 are replayed"
    );
}

#[test]
fn a_refusal_of_a_resume_from_far_back_is_learnt_from() {
    let (mut rig, _) = hangs(NEW, 700);
    rig.die(A);
    let actions = rig.say(B, progress(0, 2, Step::SessionLost));
    assert_eq!(alarms(&actions), 1, "{actions:?}");
    rig.ready(B, 0, 2);
    rig.say(B, hanging(2, 450));
    rig.die(B);
    let actions = rig.join(C, Role::Relaunch);
    assert_eq!(resumes(&actions), ["c Resume 0@3 after Death from 450"]);
}

#[test]
fn how_many_events_a_shard_gets_does_not_depend_on_one_that_hangs() {
    let (mut rig, _) = hangs(NEW, 1100);
    for at in 1..=60 {
        rig.wait(SECOND);
        rig.say(A, hanging(1, 1100 + 20 * at));
    }
    let shard = rig.core.view(rig.now).shards.swap_remove(0);
    assert!(
        (19_000..22_000).contains(&shard.events_per_1000_s),
        "{shard:?}"
    );
    assert_eq!(shard.behind, 1100 + 1200 - 100);
}

#[test]
fn a_ticket_that_nobody_can_use_grows_old_over_its_failures_and_is_given_up() {
    let mut rig = Rig::serving(1);
    rig.die(A);
    rig.wait(2 * SECOND);
    rig.join(B, Role::Relaunch);
    let mut epoch = 2;
    for resumed in 0..20 {
        let actions = rig.say(B, failed(0, epoch));
        let later = rig.wait(61 * SECOND);
        let all: Vec<_> = orders(&actions).into_iter().chain(orders(&later)).collect();
        epoch += 1;
        if all.contains(&format!("b FullStart 0@{epoch}")) {
            assert!(resumed < 4, "after {resumed} attempts");
            return;
        }
    }
    panic!("the shard is failed for ever");
}

#[test]
fn what_was_said_of_a_session_that_is_over_says_nothing_of_the_next() {
    let mut rig = Rig::serving(1);
    let far = CheckpointEntry {
        shard: ShardId(0),
        epoch: Epoch(1),
        handled: Sequence(5000),
        received: Sequence(5000),
        ..CheckpointEntry::default()
    };
    rig.say(A, ToMaster::Checkpoint(Checkpoint { shards: vec![far] }));
    rig.say(A, progress(0, 1, Step::SessionLost));
    rig.ready(A, 0, 1);
    rig.die(A);
    rig.wait(2 * SECOND);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(resumes(&actions), ["b Resume 0@2 after Death from 100"]);
    assert_eq!(given_up(&actions), [""; 0]);
}
