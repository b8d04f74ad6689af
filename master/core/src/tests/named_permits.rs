//! Permits that have names: never more in a window of the service than it takes, fairly.

use std::collections::BTreeMap;

use baton_protocol::message::{PermitsLeased, PermitsWanted};

use super::*;
use crate::{event::JournalState, settings::NamedLimit};

const WINDOW: Duration = Duration::from_secs(10);

fn of_joins(count: u32) -> Rig {
    let mut rig = Rig::new(Settings {
        service: &BROADCAST,
        named: vec![NamedLimit {
            prefix: "join/".to_owned(),
            count,
            window: WINDOW,
            punished: true,
        }],
        ..settings(1)
    });
    rig.join(A, Role::Relaunch);
    rig
}

fn wants(name: &str, count: u32) -> ToMaster {
    ToMaster::PermitsWanted(PermitsWanted {
        name: name.to_owned(),
        count,
    })
}

/// How many each got.
fn leased(actions: &[Action]) -> BTreeMap<SlaveId, u32> {
    let mut all = BTreeMap::new();
    for action in actions {
        if let Action::Send(to, ToSlave::PermitsLeased(PermitsLeased { count, .. })) = action {
            *all.entry(*to).or_default() += count;
        }
    }
    all
}

#[test]
fn no_window_of_the_service_has_more_than_it_takes_however_late_permits_are_used() {
    let mut rig = of_joins(20);
    rig.say(A, wants("join/bot", 1000));
    // Each second: how many might be used in it at the earliest and at the latest.
    let mut given = vec![leased(&rig.say(A, wants("join/bot", 1000)))];
    let mut at = vec![rig.now];
    for _ in 0..100 {
        given.push(leased(&rig.wait(SECOND)));
        at.push(rig.now);
    }
    let total: u32 = given.iter().flat_map(BTreeMap::values).sum();
    assert!((160..=200).contains(&total), "{total} in 100 s");
    for (first, from) in at.iter().enumerate() {
        // Used at once, or a second later: both in one window of the service.
        let span = at.iter().zip(&given).skip(first);
        let within = span.take_while(|(at, _)| at.since(*from) < WINDOW + SECOND);
        let used: u32 = within.flat_map(|(_, given)| given.values()).sum();
        assert!(used <= 20, "{used} from {from:?}");
    }
}

#[test]
fn slaves_that_wait_take_turns_and_each_account_has_its_own() {
    let mut rig = of_joins(20);
    rig.join(B, Role::Candidate);
    rig.say(A, wants("join/one", 20));
    rig.say(A, wants("join/one", 1000));
    let other = rig.say(B, wants("join/two", 5));
    assert_eq!(leased(&other), BTreeMap::from([(B, 5)]), "another account");
    rig.say(B, wants("join/one", 4));
    let next = leased(&rig.wait(WINDOW + SECOND));
    assert_eq!(
        next,
        BTreeMap::from([(A, 16), (B, 4)]),
        "who wants few waits for few"
    );
}

#[test]
fn a_master_that_follows_another_one_leases_what_is_punished_only_after_a_window() {
    let limit = |prefix: &str, punished| NamedLimit {
        prefix: prefix.to_owned(),
        count: 20,
        window: WINDOW,
        punished,
    };
    let settings = Settings {
        named: vec![limit("join/", true), limit("ask", false)],
        ..settings(1)
    };
    let recovered = Recovered {
        journal: JournalState::Lost,
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings, recovered);
    rig.join(A, Role::Relaunch);
    assert_eq!(leased(&rig.say(A, wants("join/bot", 5))), BTreeMap::new());
    assert_eq!(
        leased(&rig.say(A, wants("ask", 2))),
        BTreeMap::from([(A, 2)])
    );
    assert_eq!(leased(&rig.wait(WINDOW)), BTreeMap::new());
    assert_eq!(leased(&rig.wait(SECOND)), BTreeMap::from([(A, 5)]));
}

#[test]
fn what_a_dead_slave_was_leased_is_used_up_and_what_it_wanted_is_not_wanted() {
    let mut rig = of_joins(20);
    rig.join(B, Role::Candidate);
    assert_eq!(
        leased(&rig.say(B, wants("join/bot", 30))),
        BTreeMap::from([(B, 20)])
    );
    rig.die(B);
    assert_eq!(leased(&rig.say(A, wants("join/bot", 3))), BTreeMap::new());
    let next = leased(&rig.wait(WINDOW + SECOND));
    assert_eq!(next, BTreeMap::from([(A, 3)]));
}

#[test]
fn a_permit_that_nobody_configured_is_answered_with_none() {
    let mut rig = of_joins(20);
    let answer = rig.say(A, wants("nothing", 3));
    assert_eq!(orders(&answer), ["a PermitsLeased nothing 0"]);
    let long = "join/".to_owned() + &"x".repeat(100);
    let answer = rig.say(A, wants(&long, 3));
    assert_eq!(leased(&answer), BTreeMap::from([(A, 0)]));
}
