use super::*;

const WINDOW: i64 = 30_000;

#[test]
fn each_message_is_leased_once_and_in_the_order_of_its_channel() {
    let mut place = Place::new();
    for (id, channel) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        place.put(id, channel, 0);
    }
    let a1 = place.next(1);
    assert_eq!(
        (a1.message.id.as_str(), a1.message.text.as_str()),
        ("a1", "this is a1")
    );
    // What follows in its channel waits for it; another channel does not.
    let b1 = place.next(1);
    assert_eq!(b1.message.id, "b1");
    assert_eq!(place.lease(1), Leased::Nothing(None));
    assert_eq!(place.sent(&a1, 2), Done::Recorded);
    assert_eq!(place.next(2).message.id, "a2");
    assert_eq!(place.sent(&a1, 3), Done::Ignored);
}

#[test]
fn a_lease_without_an_answer_ends_unknown_and_is_never_sent_again() {
    let mut place = Place::new();
    place.put("a", "some", 0);
    let lease = place.next(0);
    let unanswered = i64::try_from(ANSWER_WITHIN.as_millis()).expect("short");
    place.outbox.sweep(at(unanswered - 1)).expect("written");
    assert!(place.outcomes().is_empty());
    let mut place = place.killed();
    place.outbox.sweep(at(unanswered)).expect("written");
    assert_eq!(place.outcomes(), [ended("a", Outcome::Unknown)]);
    assert_eq!(place.lease(unanswered), Leased::Nothing(None));
    // It cannot be given back any more: the bot may have heard of it.
    let back = place.outbox.give_back(lease.lease, at(unanswered));
    assert_eq!(back.expect("read"), Done::Ignored);
    // But the truth may come late, once.
    assert_eq!(place.sent(&lease, unanswered + 1), Done::Corrected);
    assert_eq!(place.sent(&lease, unanswered + 2), Done::Ignored);
    assert_eq!(
        place.outcomes(),
        [ended("a", Outcome::Unknown), ended("a", sent())]
    );
}

#[test]
fn the_leases_of_a_process_that_died_end_unknown_at_once_and_no_others() {
    let mut place = Place::new();
    for (id, channel) in [("a", "a"), ("b", "b"), ("c", "c")] {
        place.put(id, channel, 0);
    }
    let mut lease = |who: &str| {
        let lease = place.outbox.lease(who, |_, _| Some(Standing::Plain), at(0));
        assert!(matches!(lease.expect("written"), Leased::Message(_)));
    };
    lease("one");
    lease("two");
    lease("one");
    assert_eq!(place.outbox.died("one", at(1)).expect("written"), 2);
    assert_eq!(place.outbox.died("one", at(1)).expect("written"), 0);
    assert_eq!(
        place.outcomes(),
        [ended("a", Outcome::Unknown), ended("c", Outcome::Unknown)]
    );
    assert_eq!(place.lease(1), Leased::Nothing(None));
    assert_eq!(place.outbox.waits().expect("read").leased, 1);
}

#[test]
fn who_did_not_begin_to_send_gives_it_back_to_its_place_and_nothing_is_spent() {
    let mut place = Place::new();
    place.put("a", "some", 0);
    place.put("b", "some", 0);
    for _ in 0..50 {
        let lease = place.next(1);
        assert_eq!(lease.message.id, "a");
        let back = place.outbox.give_back(lease.lease, at(1)).expect("written");
        assert_eq!(back, Done::Recorded);
        // The lease is over: a late answer to it says nothing of the next one.
        assert_eq!(place.sent(&lease, 1), Done::Ignored);
    }
    let lease = place.next(2);
    assert_eq!(place.sent(&lease, 2), Done::Recorded);
    assert_eq!(place.next(3).message.id, "b");
}

#[test]
fn an_account_says_20_messages_in_30_seconds_in_all_channels_together() {
    let mut place = Place::new();
    place.say("a", 20, Standing::Plain, 0);
    place.put("late", "other", 1);
    assert_eq!(place.lease(1), Leased::Nothing(Some(at(WINDOW))));
    // After a restart as well.
    let mut place = place.killed();
    assert_eq!(place.lease(WINDOW - 1), Leased::Nothing(Some(at(WINDOW))));
    assert_eq!(place.next(WINDOW).message.id, "late");
}

#[test]
fn as_moderator_it_says_100_and_all_that_it_says_counts() {
    let mut place = Place::new();
    place.say("a", 90, Standing::Moderator, 0);
    // The bot is moderator everywhere but there.
    let standing = |_: &Login, channel: &Login| match channel.as_str() {
        "there" => Standing::Plain,
        _ => Standing::Moderator,
    };
    let lease = |place: &mut Place, now| {
        let leased = place.outbox.lease(
            "slave",
            |account, channel| Some(standing(account, channel)),
            at(now),
        );
        leased.expect("written")
    };
    place.put("plain", "there", 1);
    for n in 0..11 {
        place.put(&format!("b{n}"), &format!("b{n}"), 1);
    }
    for n in 0..10 {
        let Leased::Message(leased) = lease(&mut place, 1) else {
            panic!("there is budget for a moderator");
        };
        assert_eq!(leased.message.id, format!("b{n}"));
        place.sent(&leased, 1);
    }
    assert_eq!(lease(&mut place, 1), Leased::Nothing(Some(at(WINDOW))));
    // Of the 100, ten are left in the window: there is budget for all.
    let Leased::Message(leased) = lease(&mut place, WINDOW) else {
        panic!("the window is over");
    };
    assert_eq!(leased.message.id, "plain");
}

#[test]
fn while_a_message_of_nobody_special_is_being_sent_the_smaller_budget_counts_everywhere() {
    let mut place = Place::new();
    place.say("a", 19, Standing::Moderator, 0);
    place.put("plain", "there", 0);
    let plain = place.next(0);
    // It would be the 21st if these came first.
    place.put("b", "mine", 0);
    assert_eq!(
        place.lease_as(Standing::Moderator, 0),
        Leased::Nothing(Some(at(WINDOW)))
    );
    place.sent(&plain, 1);
    assert!(matches!(
        place.lease_as(Standing::Moderator, 1),
        Leased::Message(_)
    ));
}

#[test]
fn the_window_slides_and_has_no_borders_at_which_twice_as_much_is_said() {
    let mut place = Place::new();
    place.say("a", 10, Standing::Plain, 20_000);
    place.say("b", 10, Standing::Plain, 29_000);
    place.put("c", "c", 31_000);
    assert_eq!(place.lease(31_000), Leased::Nothing(Some(at(50_000))));
    place.say("d", 0, Standing::Plain, 31_000);
    let lease = place.next(50_000);
    place.sent(&lease, 50_000);
    place.say("e", 9, Standing::Plain, 50_000);
    place.put("f", "f", 50_000);
    assert_eq!(place.lease(50_000), Leased::Nothing(Some(at(59_000))));
}

#[test]
fn another_account_has_a_budget_of_its_own() {
    let mut place = Place::new();
    place.say("a", 20, Standing::Plain, 0);
    let other = Message {
        account: login("own_bot"),
        ..message("b", "b")
    };
    place.put("c", "c", 0);
    place
        .outbox
        .put(&other, Restriction::Nobody, at(0))
        .expect("written");
    assert_eq!(place.next(0).message.id, "b");
}

#[test]
fn a_message_counts_from_when_it_was_said_and_not_from_its_lease() {
    let mut place = Place::new();
    place.put("slow", "slow", 0);
    let slow = place.next(0);
    place.say("a", 19, Standing::Plain, 0);
    place.put("next", "next", 0);
    // It is being said: nobody knows yet from when it counts.
    place.sent(&slow, 20_000);
    let one = place.next(WINDOW);
    place.sent(&one, WINDOW);
    place.say("b", 18, Standing::Plain, WINDOW);
    place.put("last", "last", WINDOW);
    assert_eq!(
        place.lease(WINDOW),
        Leased::Nothing(Some(at(20_000 + WINDOW)))
    );
}

#[test]
fn nothing_is_worth_asking_for_before_a_lease_has_ended_where_all_budget_is_leased() {
    let mut place = Place::new();
    for n in 0..21 {
        place.put(&format!("a{n}"), &format!("c{n}"), 0);
    }
    for _ in 0..20 {
        place.next(0);
    }
    assert_eq!(place.lease(0), Leased::Nothing(None));
}

#[test]
fn a_clock_that_goes_back_spends_no_budget_twice_and_holds_nothing_up_for_long() {
    let mut place = Place::new();
    let year = 365 * 86_400_000;
    place.say("a", 20, Standing::Plain, year);
    place.put("b", "b", year);
    place.put("lost", "lost", year);
    // The clock goes back by a year.
    assert_eq!(place.lease(0), Leased::Nothing(Some(at(WINDOW))));
    let mut place = place.killed();
    assert_eq!(place.lease(10), Leased::Nothing(Some(at(WINDOW))));
    assert_eq!(place.next(WINDOW).message.id, "b");
    // Its TTL is not a year either.
    place.outbox.sweep(at(600_000)).expect("written");
    assert_eq!(place.outbox.waits().expect("read").waiting, 0);
}
