//! A deploy goes back, and the next begins, while handlers run for seconds: what runs
//! in a process is known to be running, and is handled there and nowhere else.

use super::*;

/// Sealed at 120 with these events in doubt.
fn sealed_in_doubt(epoch: u64, in_doubt: &[u64]) -> ToMaster {
    let mut ticket = ticket(0, 120);
    ticket.in_doubt = ranges(in_doubt);
    sealed_with(epoch, ticket)
}

/// What became of events, as `orders` tells a slave.
fn settled_to(orders: &[String]) -> Vec<&str> {
    let settled = orders.iter().filter(|order| order.contains("Settled"));
    settled.map(String::as_str).collect()
}

/// A sealed with 121 running and has the shard again; B sealed with 122 running and
/// 121 held back, and has not settled.
fn went_back() -> Rig {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed_in_doubt(1, &[121]));
    rig.say(B, resumed(0, 2));
    rig.input(Input::Abort {
        request: RequestId(5),
        slot: None,
    });
    rig.say(B, sealed_in_doubt(2, &[121, 122]));
    rig.say(A, resumed(0, 3));
    rig.say(B, ToMaster::StopWork(work(2, b"")));
    rig
}

/// As [`went_back`], and the next deploy moved the shard on to C; A sealed with 121
/// and 123 running and 122 held back.
fn and_on() -> (Rig, Vec<String>) {
    let mut rig = went_back();
    rig.join(C, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(C, prepared(false));
    rig.say(C, state_ready(0, 3, 90));
    let actions = rig.say(A, sealed_in_doubt(3, &[121, 122, 123]));
    (rig, orders(&actions))
}

#[test]
fn nobody_is_told_before_all_who_sealed_have_spoken() {
    for a_first in [true, false] {
        let (mut rig, given) = and_on();
        assert_eq!(settled_to(&given), [] as [&str; 0], "{given:?}");
        // A never had 122, and B never ran 121.
        let mut words = [(A, settled(0, 3, &[122])), (B, settled(0, 2, &[121]))];
        if !a_first {
            words.reverse();
        }
        let [first, second] = words;
        let told = orders(&rig.say(first.0, first.1));
        assert_eq!(settled_to(&told), [] as [&str; 0], "{told:?}");
        let told = orders(&rig.say(second.0, second.1));
        assert_eq!(settled_to(&told), ["c Settled 0@3 "], "all are finished");
    }
}

#[test]
fn what_nobody_finished_is_handed_over() {
    let (mut rig, _) = and_on();
    rig.say(B, settled(0, 2, &[121, 122]));
    let told = orders(&rig.say(A, settled(0, 3, &[121, 122])));
    assert_eq!(settled_to(&told), ["c Settled 0@3 121-122"]);
}

#[test]
fn one_of_them_that_dies_takes_only_its_own_along() {
    let (mut rig, _) = and_on();
    rig.die(B);
    let told = orders(&rig.say(A, settled(0, 3, &[122])));
    assert_eq!(settled_to(&told), ["c Settled 0@3 122"]);
}

#[test]
fn a_word_that_never_comes_is_waited_for_as_long_as_a_drain() {
    let (mut rig, _) = and_on();
    rig.say(A, settled(0, 3, &[122]));
    let told = orders(&rig.wait(Settings::default().drained()));
    assert_eq!(settled_to(&told), ["c Settled 0@3 122"]);
}

#[test]
fn who_has_the_shard_again_is_told_what_the_other_finished_and_knows_its_own() {
    let mut rig = went_back();
    let told = orders(&rig.say(B, settled(0, 2, &[121])));
    assert_eq!(settled_to(&told), ["a Settled 0@2 121"]);
    // Its handlers still run 121: the next owner waits for them.
    let told = orders(&rig.say(A, settled(0, 1, &[])));
    assert_eq!(settled_to(&told), ["a Settled 0@2 "]);
}

#[test]
fn a_shard_that_begins_anew_still_waits_for_the_word_of_another() {
    let mut rig = went_back();
    let (request, shard) = (RequestId(6), ShardId(0));
    rig.input(Input::Restart { request, shard });
    let given = orders(&rig.say(A, sealed_in_doubt(3, &[121, 122])));
    assert_eq!(settled_to(&given), [] as [&str; 0], "{given:?}");
    let told = orders(&rig.say(B, settled(0, 2, &[121])));
    assert_eq!(settled_to(&told), ["a Settled 0@3 121"]);
}

/// A began the shard anew, with 121 running, and could not serve it: the shard waits for
/// its next try.
fn failed_anew() -> Rig {
    let mut rig = Rig::serving(1);
    let (request, shard) = (RequestId(6), ShardId(0));
    rig.input(Input::Restart { request, shard });
    rig.say(A, sealed_in_doubt(1, &[121]));
    rig.say(A, failed(0, 2));
    rig
}

#[test]
fn what_a_slave_finished_after_its_seal_is_finished_although_the_shard_is_not_its_own() {
    for leaves in [true, false] {
        let mut rig = failed_anew();
        let mut ticket = ticket(0, 121);
        ticket.in_doubt = SequenceRanges::new();
        if leaves {
            // It seals what it has, and nobody asked for it.
            rig.say(A, sealed_with(2, ticket));
        } else {
            rig.input(Input::Left { slave: A });
            let mut sealed = held(0, 2, Holding::Sealed);
            sealed.ticket = ticket;
            rig.join_with(A, Role::Relaunch, report(vec![sealed]));
        }
        rig.die(A);
        let given = orders(&rig.join(B, Role::Relaunch));
        assert!(given.contains(&"b Resume 0@3 after Seal from 120".to_owned()));
        assert_eq!(settled_to(&given), ["b Settled 0@1 "]);
    }
    let mut rig = failed_anew();
    rig.die(A);
    let given = orders(&rig.join(B, Role::Relaunch));
    assert_eq!(settled_to(&given), ["b Settled 0@1 121"], "it may run");
}
