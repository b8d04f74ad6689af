//! Slaves that keep a lease: what they are told, when their silence is their end, and what
//! becomes of one that comes back. Every way of the smallest fleet with a lease is in
//! `lease/model.rs`.

mod model;

use baton_protocol::lease::patience;

use super::*;
use crate::fleet::FIRST_PING;

const LEASE: Duration = Duration::from_secs(30);

fn leased(shards: u32) -> Settings {
    let mut settings = settings(shards);
    settings.slots[0].lease = Some(LEASE);
    settings
}

/// The lease that a slave is told of, and the pings of leases that it gets: their numbers,
/// and which answer they say was heard.
fn told(actions: &[Action], to: SlaveId) -> (Option<u64>, Vec<(u64, u64)>) {
    let mut lease = None;
    let mut pings = Vec::new();
    for action in actions {
        match action {
            Action::Send(slave, ToSlave::Accepted(accepted)) if *slave == to => {
                lease = Some(accepted.lease_ms);
            }
            Action::Send(slave, ToSlave::Ping(ping))
                if *slave == to && ping.number > FIRST_PING && ping.number < u64::MAX - 9 =>
            {
                pings.push((
                    ping.number - FIRST_PING,
                    ping.heard.saturating_sub(FIRST_PING),
                ));
            }
            _ => {}
        }
    }
    (lease, pings)
}

/// The leases that are written down.
fn written(actions: &[Action]) -> Vec<(SlaveId, Duration)> {
    let entries = actions.iter().filter_map(|action| match action {
        Action::Save(entries, _) => Some(entries),
        _ => None,
    });
    entries
        .flatten()
        .filter_map(|entry| match entry {
            Entry::Leased { slave, lease } => Some((*slave, *lease)),
            _ => None,
        })
        .collect()
}

/// A pong that says which lease is kept.
fn keeps(number: u64, lease: Duration) -> ToMaster {
    ToMaster::Pong(Pong {
        number: FIRST_PING + number,
        lease_ms: u64::try_from(lease.as_millis()).unwrap(),
        ..Pong::default()
    })
}

/// `A` serves everything and keeps its lease; it answered the first ping.
fn kept(shards: u32) -> Rig {
    let mut rig = Rig::serving_with(leased(shards));
    rig.say(A, keeps(1, LEASE));
    rig
}

fn silent_until(rig: &mut Rig, span: Duration) -> Vec<Action> {
    rig.input(Input::Left { slave: A });
    rig.wait(span)
}

#[test]
fn a_slave_is_told_of_its_lease_and_of_each_answer_that_was_heard_behind_a_save() {
    let mut rig = Rig::new(leased(1));
    let joined = rig.join(A, Role::Relaunch);
    assert_eq!(told(&joined, A), (Some(30_000), vec![(1, 0)]));
    let answered = rig.say(A, keeps(1, LEASE));
    assert_eq!(written(&answered), [(A, LEASE)]);
    assert_eq!(
        told(&answered, A).1,
        [(2, 1)],
        "the first one is acknowledged at once"
    );
    rig.say(A, keeps(2, LEASE));
    let later = rig.wait(5 * SECOND);
    assert_eq!(told(&later, A).1, [(3, 2)]);
    for actions in [&joined, &answered, &later] {
        let proves = |action: &Action| matches!(action, Action::Save(entries, _) if entries.contains(&Entry::Seen));
        let says = |action: &Action| match action {
            Action::Send(_, ToSlave::Accepted(_)) => true,
            Action::Send(_, ToSlave::Ping(ping)) => ping.heard > 0,
            _ => false,
        };
        let proof = actions.iter().position(proves);
        let word = actions.iter().position(says);
        assert!(proof.is_some() && proof < word, "{actions:?}");
    }
    // Nothing new was answered: the same is said again, and helps nobody.
    assert_eq!(told(&rig.wait(5 * SECOND), A).1, [(4, 2)]);
}

#[test]
fn operators_are_told_which_slots_have_a_lease_and_what_is_left_of_it() {
    let mut rig = Rig::serving_with(leased(1));
    let shown = |rig: &Rig| {
        let view = rig.core.view(rig.now);
        let slave = view.slaves.first().cloned().unwrap_or_default();
        (view.slots[0].lease_ms, slave.lease_ms, slave.lease_left_ms)
    };
    // It did not say yet that it keeps it.
    assert_eq!(shown(&rig), (Some(30_000), None, None));
    rig.say(A, keeps(1, LEASE));
    assert_eq!(shown(&rig), (Some(30_000), Some(30_000), Some(35_000)));
    silent_until(&mut rig, 20 * SECOND);
    assert_eq!(shown(&rig), (Some(30_000), Some(30_000), Some(15_000)));
    let without = Rig::serving(1);
    assert_eq!(shown(&without), (None, None, None));
}

#[test]
fn where_nothing_can_be_saved_nothing_is_acknowledged() {
    let mut rig = kept(1);
    rig.core.handle(rig.now, Input::Tick);
    rig.now = rig.now.after(5 * SECOND);
    rig.core.handle(rig.now, Input::Tick);
    let mut sent = Vec::new();
    while let Some(action) = rig.core.poll_action() {
        if matches!(action, Action::Save(..)) {
            let reason = "no space left".to_owned();
            rig.core.handle(rig.now, Input::SaveFailed { reason });
        } else {
            sent.push(action);
        }
    }
    assert_eq!(told(&sent, A).1, [], "{sent:?}");
}

#[test]
fn a_slave_of_which_nothing_is_heard_for_longer_than_its_lease_is_dead_and_not_before() {
    let mut rig = kept(2);
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    let patience = patience(LEASE);
    assert_eq!(patience, 35 * SECOND);
    let waits = silent_until(&mut rig, patience - SECOND / 10);
    assert!(!orders(&waits).iter().any(|order| order.contains("Resume")));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "unreachable"));
    let over = rig.wait(SECOND / 10);
    let did = orders(&over);
    assert!(
        did.contains(&"b Resume 0@2 after Death from 100".to_owned()),
        "{did:?}"
    );
    assert!(
        did.iter().any(|order| order.contains("fenced a")),
        "{did:?}"
    );
    assert_eq!(alarms(&over), 1, "{over:?}");
}

#[test]
fn a_connected_slave_that_says_nothing_is_dead_by_its_lease_as_well() {
    let mut rig = kept(1);
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    let over = rig.wait(patience(LEASE));
    assert!(orders(&over).contains(&"b Resume 0@2 after Death from 100".to_owned()));
    // What it says when it wakes is no slave's.
    assert_eq!(orders(&rig.say(A, keeps(2, LEASE))), [""; 0]);
}

#[test]
fn a_slave_that_says_nothing_of_a_lease_keeps_none_and_an_alarm_says_so() {
    let mut rig = Rig::serving_with(leased(1));
    let answered = rig.say(A, keeps(1, Duration::ZERO));
    assert_eq!((written(&answered), alarms(&answered)), (Vec::new(), 1));
    assert_eq!(alarms(&rig.say(A, keeps(2, Duration::ZERO))), 0, "once");
    let waits = silent_until(&mut rig, 3600 * SECOND);
    assert!(!orders(&waits).iter().any(|order| order.contains("fenced")));
    assert_eq!(rig.shard(0), (Some(A.to_string()), "unreachable"));
}

#[test]
fn one_that_was_not_heard_to_keep_it_is_waited_for() {
    let mut rig = Rig::serving_with(leased(1));
    let waits = silent_until(&mut rig, 3600 * SECOND);
    assert!(!orders(&waits).iter().any(|order| order.contains("fenced")));
}

#[test]
fn a_slave_without_a_lease_in_its_slot_is_told_of_none() {
    let mut rig = Rig::new(settings(1));
    assert_eq!(told(&rig.join(A, Role::Relaunch), A), (Some(0), Vec::new()));
    assert_eq!(written(&rig.say(A, keeps(1, LEASE))), []);
}

/// What a slave reports that sealed itself.
fn lapsed(shards: u32) -> Report {
    let held = (0..shards).map(|shard| held(shard, 1, Holding::Sealed));
    Report {
        lapsed: true,
        ..report(held.collect())
    }
}

#[test]
fn one_that_sealed_itself_and_is_back_in_time_goes_on_from_its_own_tickets() {
    let mut rig = kept(2);
    silent_until(&mut rig, 32 * SECOND);
    let back = orders(&rig.join_with(A, Role::Relaunch, lapsed(2)));
    for shard in 0..2 {
        let resumes = format!("a Resume {shard}@2 after Seal from 100");
        assert!(back.contains(&resumes), "{back:?}");
    }
    assert!(
        !back.iter().any(|order| order.contains("launch")),
        "{back:?}"
    );
    rig.say(A, resumed(0, 2));
    rig.say(A, resumed(1, 2));
    assert!(rig.all_served_by(A));
}

#[test]
fn one_that_is_back_too_late_is_to_end_and_what_it_finished_is_said() {
    let mut rig = kept(1);
    rig.join(B, Role::Standby);
    rig.say(B, ToMaster::SoftStartComplete);
    silent_until(&mut rig, 36 * SECOND);
    rig.say(B, resumed(0, 2));
    let back = rig.join_with(A, Role::Relaunch, lapsed(1));
    let did = orders(&back);
    assert!(did.contains(&"a Forget 0@2".to_owned()), "{did:?}");
    assert!(did.contains(&"a Shutdown".to_owned()), "{did:?}");
    let said = back.iter().find_map(|action| match action {
        Action::Tell(News::Alarm { detail }) => Some(detail.clone()),
        _ => None,
    });
    let said = said.unwrap_or_default();
    assert!(said.contains("shard 0 up to 100"), "{said}");
    assert!(rig.all_served_by(B));
}

#[test]
fn the_next_master_relies_on_what_is_written_and_waits_from_its_own_beginning() {
    for (lease, dies) in [(Some(LEASE), true), (None, false)] {
        let mut journal = Recovered::default();
        journal.shards.extend([row(0, 1, A, Hold::Owned)]);
        journal.slaves.insert(A, hello(A, Role::Relaunch));
        journal.leases.extend(lease.map(|lease| (A, lease)));
        let mut rig = Rig::restarted(leased(1), journal);
        let waits = rig.wait(patience(LEASE) - SECOND / 10);
        assert!(!orders(&waits).iter().any(|order| order.contains("fenced")));
        let over = rig.wait(3600 * SECOND);
        let dead = orders(&over).iter().any(|order| order.contains("fenced a"));
        assert_eq!(dead, dies);
    }
}

#[test]
fn a_longer_lease_is_relied_upon_before_it_is_told_and_a_dropped_one_not_any_more() {
    let known = |lease: Option<Duration>| {
        let mut journal = Recovered::default();
        journal.shards.extend([row(0, 1, A, Hold::Owned)]);
        journal.slaves.insert(A, hello(A, Role::Relaunch));
        journal.leases.insert(A, 20 * SECOND);
        let mut settings = settings(1);
        settings.slots[0].lease = lease;
        Rig::restarted(settings, journal)
    };
    let serves = || report(vec![held(0, 1, Holding::Serving)]);
    let mut rig = known(Some(LEASE));
    let joined = rig.join_with(A, Role::Relaunch, serves());
    assert_eq!(written(&joined), [(A, LEASE)]);
    let mut rig = known(Some(10 * SECOND));
    assert_eq!(written(&rig.join_with(A, Role::Relaunch, serves())), []);
    let says = rig.say(A, keeps(1, 10 * SECOND));
    assert_eq!(written(&says), [(A, 10 * SECOND)], "it says so");
    let mut rig = known(None);
    let joined = rig.join_with(A, Role::Relaunch, serves());
    assert_eq!(written(&joined), [(A, Duration::ZERO)]);
    let waits = silent_until(&mut rig, 3600 * SECOND);
    assert!(!orders(&waits).iter().any(|order| order.contains("fenced")));
}
