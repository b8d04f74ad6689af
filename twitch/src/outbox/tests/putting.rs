use super::*;
use crate::channels::{Anybody, Database, Grant, Manager, Reconnect, Unix};

fn refused(message: &Message) -> Put {
    let mut place = Place::new();
    let put = place
        .outbox
        .put(message, Restriction::Nobody, at(0))
        .expect("read");
    assert_eq!(place.outbox.waits().expect("read"), Waits::default());
    put
}

fn with(text: &str) -> Message {
    Message {
        text: text.to_owned(),
        ..message("a", "some")
    }
}

#[test]
fn a_text_of_several_lines_is_refused_and_not_sent_as_a_command() {
    for text in ["hello\r\nJOIN #other", "a\nb", "a\rb", "a\0b", "\n"] {
        let put = refused(&with(text));
        assert_eq!(put, Put::Refused(Refusal::ControlCharacter), "{text:?}");
    }
}

#[test]
fn what_twitch_would_not_take_is_refused_at_once() {
    for empty in ["", "  \t"] {
        assert_eq!(refused(&with(empty)), Put::Refused(Refusal::Empty));
    }
    // Characters count, not bytes.
    let mut place = Place::new();
    let longest = place
        .outbox
        .put(&with(&"é".repeat(500)), Restriction::Nobody, at(0));
    assert_eq!(longest.expect("written"), Put::Taken);
    assert_eq!(
        refused(&with(&"é".repeat(501))),
        Put::Refused(Refusal::TooLong)
    );
    for id in ["", "a b", "a\n", &"a".repeat(101)] {
        let odd = Message {
            id: id.to_owned(),
            ..with("hello")
        };
        assert_eq!(refused(&odd), Put::Refused(Refusal::Id), "{id:?}");
    }
    for id in ["", "a;b", "a b", "a\r\nQUIT"] {
        let odd = Message {
            reply_to: Some(id.to_owned()),
            ..with("hello")
        };
        assert_eq!(refused(&odd), Put::Refused(Refusal::ReplyTo), "{id:?}");
    }
    for ttl in [Duration::ZERO, Duration::from_secs(3_601), Duration::MAX] {
        let odd = Message {
            ttl: Some(ttl),
            ..with("hello")
        };
        assert_eq!(refused(&odd), Put::Refused(Refusal::Ttl), "{ttl:?}");
    }
}

#[test]
fn where_sending_is_restricted_an_unauthorised_channel_is_answered_and_not_dropped_in_silence() {
    let mut place = Place::new();
    let mut manager = Database::in_memory().expect("a list");
    let mut put = |id: &str, manager: &dyn Manager| {
        let restriction = Restriction::ToAuthorised(manager);
        let put = place.outbox.put(&message(id, "some"), restriction, at(0));
        put.expect("written")
    };
    assert_eq!(put("a", &manager), Put::Refused(Refusal::Unauthorised));
    let grant = Grant {
        login: login("some"),
        id: None,
        reconnect: Reconnect::No,
    };
    manager.authorise(&grant, Unix(0)).expect("written");
    assert_eq!(put("a", &manager), Put::Taken);
    manager.revoke(&login("some"), Unix(1)).expect("written");
    assert_eq!(put("b", &manager), Put::Refused(Refusal::Unauthorised));
    let anybody = Anybody::in_memory().expect("a list");
    assert_eq!(put("b", &anybody), Put::Taken);
}

#[test]
fn a_message_that_is_put_twice_is_said_once() {
    let mut place = Place::new();
    assert_eq!(place.put("a", "some", 0), Put::Taken);
    assert_eq!(place.put("a", "some", 1), Put::Known);
    let lease = place.next(2);
    assert_eq!(place.put("a", "some", 3), Put::Known);
    place.sent(&lease, 4);
    assert_eq!(place.put("a", "some", 5), Put::Known);
    let mut place = place.killed();
    assert_eq!(place.put("a", "some", 6), Put::Known);
    assert_eq!(place.lease(7), Leased::Nothing(None));
}

#[test]
fn a_flood_of_one_channel_is_refused_before_it_fills_the_outbox() {
    let mut place = Place::new();
    for n in 0..MOST_IN_A_CHANNEL {
        assert_eq!(place.put(&format!("a{n}"), "some", 0), Put::Taken);
    }
    let full = Put::Refused(Refusal::ChannelFull);
    assert_eq!(place.put("b", "some", 0), full);
    assert_eq!(place.put("b", "other", 0), Put::Taken);
}

#[test]
fn what_waits_for_too_long_expires_and_that_is_its_outcome() {
    let mut place = Place::new();
    let default = Message {
        ttl: None,
        by: By::default(),
        ..message("default", "some")
    };
    place
        .outbox
        .put(&default, Restriction::Nobody, at(0))
        .expect("written");
    place.put("long", "some", 0);
    place.outbox.sweep(at(29_999)).expect("written");
    assert!(place.outcomes().is_empty());
    let mut place = place.killed();
    place.outbox.sweep(at(30_000)).expect("written");
    assert_eq!(place.outcomes(), [ended("default", Outcome::Expired)]);
    // What is leased does not expire, and knows how long it may be begun.
    let lease = place.next(599_000);
    assert_eq!(lease.message.ttl, Some(Duration::from_secs(1)));
    assert_eq!(lease.begin_until, at(600_000));
    place.outbox.sweep(at(601_000)).expect("written");
    assert_eq!(place.sent(&lease, 601_000), Done::Recorded);
}

#[test]
fn outcomes_are_kept_until_they_are_read_and_are_bounded() {
    let mut place = Place::new();
    for id in ["a", "b", "c"] {
        place.put(id, "some", 0);
        let lease = place.next(0);
        let refused = Said::Refused {
            code: "msg_banned".to_owned(),
            why: "é".repeat(900),
        };
        place
            .outbox
            .done(lease.lease, refused, at(1))
            .expect("written");
    }
    let mut place = place.killed();
    let records = place.outbox.outcomes(0, 2).expect("read");
    let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let why = "é".repeat(200);
    let refused = Outcome::Refused {
        code: "msg_banned".to_owned(),
        why,
    };
    assert_eq!((&records[0].outcome, records[0].at), (&refused, at(1)));
    let rest = place.outbox.outcomes(records[1].number, 10).expect("read");
    assert_eq!((rest.len(), rest[0].id.as_str()), (1, "c"));
    assert_eq!(place.outbox.read(records[1].number).expect("written"), 2);
    assert_eq!(place.outbox.outcomes(0, 10).expect("read"), rest);
    // Of those that nobody reads, the oldest go.
    place
        .outbox
        .change(at(2), |change, _| {
            change.execute_batch(&format!("UPDATE outcomes SET number = number + {KEPT}"))
        })
        .expect("written");
    place.put("d", "some", 3);
    let lease = place.next(3);
    place.sent(&lease, 3);
    let records = place.outbox.outcomes(0, 10).expect("read");
    assert_eq!(records.len(), 2);
    place
        .outbox
        .change(at(4), |change, _| {
            change.execute_batch(&format!(
                "UPDATE outcomes SET number = number + {KEPT} WHERE id = 'd'"
            ))
        })
        .expect("written");
    place.put("e", "some", 5);
    let lease = place.next(5);
    place.sent(&lease, 5);
    assert_eq!(place.outcomes().len(), 2);
}

#[test]
fn no_text_of_a_message_is_in_its_debug_form_or_kept_once_it_has_ended() {
    let secret = with("a secret word");
    assert!(!format!("{secret:?}").contains("secret word"));
    let mut place = Place::new();
    place
        .outbox
        .put(&secret, Restriction::Nobody, at(0))
        .expect("written");
    let lease = place.next(0);
    assert_eq!(lease.message.text, "a secret word");
    place.sent(&lease, 0);
    let texts = "SELECT count(*) FROM messages WHERE text <> ''";
    let texts = place.outbox.change(at(0), |change, _| {
        change.query_row(texts, [], |row| row.get::<_, i64>(0))
    });
    assert_eq!(texts.expect("read"), 0);
}

#[test]
fn the_fate_of_a_message_is_known_until_its_outcome_was_read() {
    let mut place = Place::new();
    let fate = |place: &Place, id: &str| place.outbox.fate(id).expect("it is read");
    assert_eq!(fate(&place, "a"), None);
    place.put("a", "one", 0);
    place.put("b", "two", 0);
    assert_eq!(fate(&place, "a"), Some(Fate::Open));
    let lease = place.next(0);
    assert_eq!(fate(&place, "a"), Some(Fate::Open), "it is being sent");
    place.sent(&lease, 1);
    let sent = Fate::Ended(Outcome::Sent { message_id: None });
    assert_eq!(fate(&place, "a"), Some(sent));
    // Nobody sends the other one in time; a process that comes after knows both.
    let mut next = place.killed();
    next.outbox.sweep(at(700_000)).expect("written");
    assert_eq!(fate(&next, "b"), Some(Fate::Ended(Outcome::Expired)));
    let all = next.outbox.outcomes(0, 10).expect("it is read");
    let last = all.last().expect("there are two").number;
    next.outbox.read(last).expect("written");
    assert_eq!(fate(&next, "a"), Some(Fate::Forgotten));
}
