use std::{path::PathBuf, thread, time::Duration};

use proptest::prelude::*;

use super::*;

const WEEK: i64 = 168 * 3600;

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("channels.sqlite");
    (folder, path)
}

fn database() -> Database {
    Database::in_memory().expect("a list")
}

fn want(manager: &mut dyn Manager, text: &str, now: i64) -> Want {
    let answer = manager.want(&[wanted(text)], Unix(now)).expect("written");
    answer[&login(text)]
}

#[test]
fn who_let_the_bot_in_is_authorised_and_nobody_else() {
    let mut list = database();
    let made = list.authorise(&grant("some", Reconnect::Yes), Unix(1));
    assert_eq!(made.expect("written"), Change::Made);
    let again = list.authorise(&grant("some", Reconnect::Yes), Unix(2));
    assert_eq!(again.expect("written"), Change::Already);
    assert!(list.is_authorised(&login("some")).expect("read"));
    assert!(!list.is_authorised(&login("other")).expect("read"));
    assert_eq!(want(&mut list, "other", 3), Want::Unauthorised);
    assert_eq!(list.get(&login("other")).expect("read"), None);
}

#[test]
fn with_reconnect_an_authorisation_is_a_wish_and_without_it_is_none() {
    let mut list = database();
    list.authorise(&grant("comes", Reconnect::Yes), Unix(1))
        .expect("written");
    list.authorise(&grant("waits", Reconnect::No), Unix(1))
        .expect("written");
    assert_eq!(goal(&list), ["comes"]);
    assert_eq!(want(&mut list, "waits", 2), Want::New);
    assert_eq!(want(&mut list, "waits", 3), Want::Already);
    assert_eq!(goal(&list), ["comes", "waits"]);
}

#[test]
fn nobody_is_authorised_after_a_revocation_and_a_new_grant_brings_the_bot_back() {
    let mut list = database();
    list.authorise(&grant("some", Reconnect::No), Unix(1))
        .expect("written");
    want(&mut list, "some", 2);
    assert_eq!(
        list.revoke(&login("some"), Unix(3)).expect("written"),
        Change::Made
    );
    assert_eq!(
        list.revoke(&login("some"), Unix(4)).expect("written"),
        Change::Already
    );
    assert!(!list.is_authorised(&login("some")).expect("read"));
    assert!(goal(&list).is_empty());
    assert_eq!(want(&mut list, "some", 5), Want::Unauthorised);
    let row = list
        .get(&login("some"))
        .expect("read")
        .expect("it is known");
    assert_eq!(
        (row.authorised_at, row.revoked_at),
        (Some(Unix(1)), Some(Unix(3)))
    );
    list.authorise(&grant("some", Reconnect::No), Unix(6))
        .expect("written");
    assert_eq!(goal(&list), ["some"]);
}

#[test]
fn a_part_ends_what_was_wanted_also_by_a_sign_of_life() {
    let mut list = database();
    list.authorise(&grant("some", Reconnect::Yes), Unix(1))
        .expect("written");
    let both = [login("some"), login("other")];
    assert_eq!(list.unwant(&both).expect("written"), [login("some")]);
    assert!(list.unwant(&both).expect("written").is_empty());
    assert!(list.acknowledge(&login("some"), Unix(2)).expect("written"));
    assert!(goal(&list).is_empty());
    assert!(list.is_authorised(&login("some")).expect("read"));
}

#[test]
fn a_channel_is_stale_after_a_week_without_a_sign_of_life() {
    let mut list = database();
    for (name, reconnect) in [
        ("joins", Reconnect::No),
        ("streams", Reconnect::Yes),
        ("sleeps", Reconnect::Yes),
    ] {
        list.authorise(&grant(name, reconnect), Unix(0))
            .expect("written");
        want(&mut list, name, 0);
    }
    let stale = |list: &Database, now| list.stale(Unix(now), STALE_AFTER).expect("read");
    assert!(stale(&list, WEEK).is_empty());
    assert_eq!(stale(&list, WEEK + 1).len(), 3);
    // A join and an acknowledgement refresh it.
    want(&mut list, "joins", 10);
    assert!(
        list.acknowledge(&login("streams"), Unix(10))
            .expect("written")
    );
    assert!(
        !list
            .acknowledge(&login("nobody"), Unix(10))
            .expect("written")
    );
    assert_eq!(stale(&list, WEEK + 1), [login("sleeps")]);
    assert_eq!(
        list.clean(Unix(WEEK + 1), STALE_AFTER).expect("written"),
        [login("sleeps")]
    );
    assert!(
        list.clean(Unix(WEEK + 1), STALE_AFTER)
            .expect("written")
            .is_empty()
    );
    assert_eq!(goal(&list), ["joins", "streams"]);
    // It is let go, not forbidden: at its next stream the bot is there again.
    assert!(
        list.acknowledge(&login("sleeps"), Unix(WEEK + 2))
            .expect("written")
    );
    assert_eq!(goal(&list), ["joins", "sleeps", "streams"]);
    // Another time than a week can be asked for; a clock that went back makes nobody stale.
    assert_eq!(
        list.stale(Unix(100), Duration::from_secs(60))
            .expect("read")
            .len(),
        2
    );
    assert!(
        list.acknowledge(&login("sleeps"), Unix(0))
            .expect("written")
    );
    assert!(
        stale(&list, WEEK + 3).is_empty() || !stale(&list, WEEK + 3).contains(&login("sleeps"))
    );
}

#[test]
fn anybody_may_be_joined_and_nobody_is_stale() {
    let (_folder, path) = place();
    let mut list = Anybody::open(&path).expect("it is new");
    assert!(!list.manages());
    assert!(list.is_authorised(&login("some")).expect("read"));
    let change = list.authorise(&grant("some", Reconnect::Yes), Unix(0));
    assert_eq!(change.expect("so"), Change::NotManaged);
    assert_eq!(
        list.revoke(&login("some"), Unix(0)).expect("so"),
        Change::NotManaged
    );
    assert_eq!(want(&mut list, "some", 0), Want::New);
    assert!(
        list.stale(Unix(10 * WEEK), STALE_AFTER)
            .expect("read")
            .is_empty()
    );
    assert!(
        list.clean(Unix(10 * WEEK), STALE_AFTER)
            .expect("read")
            .is_empty()
    );
    drop(list);
    // What is wanted is kept.
    let list = Anybody::open(&path).expect("it is there");
    assert_eq!(goal(&list), ["some"]);
    // And is no authorisation.
    assert!(goal(&Database::open(&path).expect("it is there")).is_empty());
}

#[test]
fn all_that_is_known_of_a_channel_survives_its_process() {
    let (_folder, path) = place();
    let mut list = Database::open(&path).expect("it is new");
    let named = Grant {
        id: Some("42".into()),
        ..grant("some", Reconnect::Yes)
    };
    list.authorise(&named, Unix(1)).expect("written");
    let by = Wanted {
        account: Some(login("my_bot")),
        ..wanted("some")
    };
    list.want(std::slice::from_ref(&by), Unix(2))
        .expect("written");
    // Who asks again without naming an account does not change it.
    want(&mut list, "some", 3);
    drop(list);
    let list = Database::open(&path).expect("it is there");
    let row = Channel {
        login: login("some"),
        id: Some("42".into()),
        wanted: true,
        reconnect: Reconnect::Yes,
        authorised_at: Some(Unix(1)),
        revoked_at: None,
        acknowledged_at: Unix(3),
        account: Some(login("my_bot")),
        added_at: Unix(1),
    };
    assert_eq!(list.get(&login("some")).expect("read"), Some(row.clone()));
    assert_eq!(list.list(None, 10).expect("read"), [row]);
    assert_eq!(
        list.goal().expect("read"),
        [Wanted {
            id: Some("42".into()),
            ..by
        }]
    );
}

#[test]
fn another_account_reads_a_channel_when_somebody_says_so_and_the_default_one_again() {
    let mut list = Anybody::in_memory().expect("a list");
    want(&mut list, "some", 0);
    let own = login("own_bot");
    for account in [Some(&own), None] {
        assert!(list.read_by(&login("some"), account).expect("written"));
        let goal = list.goal().expect("read");
        assert_eq!(goal[0].account.as_ref(), account);
    }
    assert!(!list.read_by(&login("other"), Some(&own)).expect("written"));
}

#[test]
fn an_authorisation_is_the_users_and_not_the_logins() {
    let mut list = database();
    let first = Grant {
        id: Some("1".into()),
        ..grant("old", Reconnect::Yes)
    };
    list.authorise(&first, Unix(1)).expect("written");
    // The user has another login now.
    let id: UserId = "1".into();
    assert_eq!(
        list.named(&login("new"), &id).expect("written"),
        Change::Made
    );
    assert_eq!(
        list.named(&login("new"), &id).expect("written"),
        Change::Already
    );
    assert_eq!(goal(&list), ["new"]);
    // And somebody else the old one, later the new one too: neither is let in by that.
    assert_eq!(want(&mut list, "old", 2), Want::Unauthorised);
    let thief = Wanted {
        id: Some("2".into()),
        ..wanted("new")
    };
    let answer = list.want(&[thief], Unix(3)).expect("written");
    assert_eq!(answer[&login("new")], Want::Unauthorised);
    assert!(goal(&list).is_empty());
}

#[test]
fn a_page_of_the_list_begins_behind_the_last_one() {
    let mut list = Anybody::in_memory().expect("a list");
    for n in 0..5 {
        want(&mut list, &format!("channel{n}"), n);
    }
    let page = list.list(Some(&login("channel1")), 2).expect("read");
    let logins: Vec<&str> = page.iter().map(|channel| channel.login.as_str()).collect();
    assert_eq!(logins, ["channel2", "channel3"]);
}

#[test]
fn a_list_without_room_says_so_and_a_purge_makes_some() {
    let mut list = Anybody::in_memory().expect("a list").with_room_for(2);
    let three = [wanted("a"), wanted("b"), wanted("c")];
    let answer = list.want(&three, Unix(0)).expect("written");
    let answers: Vec<Want> = answer.into_values().collect();
    assert_eq!(answers, [Want::New, Want::New, Want::Full]);
    assert_eq!(list.purge(Unix(WEEK)).expect("written"), 0);
    list.unwant(&[login("a")]).expect("written");
    assert_eq!(list.purge(Unix(WEEK)).expect("written"), 1);
    assert_eq!(want(&mut list, "c", 1), Want::New);
    let mut list = database().with_room_for(1);
    list.authorise(&grant("a", Reconnect::Yes), Unix(0))
        .expect("written");
    let full = list.authorise(&grant("b", Reconnect::Yes), Unix(0));
    assert_eq!(full.expect("so"), Change::Full);
    list.revoke(&login("a"), Unix(1)).expect("written");
    let again = list.authorise(&grant("a", Reconnect::Yes), Unix(2));
    assert_eq!(again.expect("written"), Change::Made);
}

#[test]
fn another_writer_at_the_same_file_does_no_harm_and_is_noticed() {
    let (_folder, path) = place();
    let mut list = Anybody::open(&path).expect("it is new");
    let before = list.revision().expect("read");
    assert_eq!(list.revision().expect("read"), before);
    thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                let mut list = Anybody::open(path).expect("it is there");
                for n in 0..5 {
                    want(&mut list, &format!("of{writer}_{n}"), n);
                }
            });
        }
    });
    let after = list.revision().expect("read");
    assert_ne!(after, before);
    assert_eq!(goal(&list).len(), 15);
    want(&mut list, "own", 0);
    assert_ne!(list.revision().expect("read"), after);
}

/// What may happen to one of four channels.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Granted(bool),
    Revoked,
    Joined,
    Parted,
    Lived,
    Cleaned,
    Reopened,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        any::<bool>().prop_map(Happens::Granted),
        Just(Happens::Revoked),
        Just(Happens::Joined),
        Just(Happens::Parted),
        Just(Happens::Lived),
        Just(Happens::Cleaned),
        Just(Happens::Reopened),
    ]
}

#[derive(Clone, Copy, Debug, Default)]
struct Model {
    known: bool,
    allowed: bool,
    wanted: bool,
    reconnect: bool,
    lived: i64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_list_does_what_a_small_model_says(
        steps in prop::collection::vec((0_usize..4, happens(), 0_i64..WEEK), 1..40),
    ) {
        let (_folder, path) = place();
        let mut list = Database::open(&path).expect("it is new");
        let mut model = [Model::default(); 4];
        let mut now = 0;
        for (which, what, later) in steps {
            now += later;
            let name = format!("channel{which}");
            let channel = &mut model[which];
            match what {
                Happens::Granted(reconnect) => {
                    let reconnect_is = if reconnect { Reconnect::Yes } else { Reconnect::No };
                    list.authorise(&grant(&name, reconnect_is), Unix(now)).expect("written");
                    *channel = Model {
                        known: true,
                        allowed: true,
                        wanted: channel.wanted || reconnect,
                        reconnect,
                        lived: now,
                    };
                }
                Happens::Revoked => {
                    list.revoke(&login(&name), Unix(now)).expect("written");
                    channel.allowed = false;
                }
                Happens::Joined => {
                    let answer = want(&mut list, &name, now);
                    prop_assert_eq!(answer == Want::Unauthorised, !channel.allowed);
                    if channel.allowed {
                        channel.wanted = true;
                        channel.lived = now;
                    }
                }
                Happens::Parted => {
                    list.unwant(&[login(&name)]).expect("written");
                    channel.wanted = false;
                    channel.reconnect = false;
                }
                Happens::Lived => {
                    let known = list.acknowledge(&login(&name), Unix(now)).expect("written");
                    prop_assert_eq!(known, channel.known);
                    channel.wanted |= channel.reconnect;
                    channel.lived = now;
                }
                Happens::Cleaned => {
                    list.clean(Unix(now), STALE_AFTER).expect("written");
                    for channel in &mut model {
                        channel.wanted &= now - channel.lived <= WEEK;
                    }
                }
                Happens::Reopened => {
                    drop(list);
                    list = Database::open(&path).expect("it is there");
                }
            }
            let names = model.iter().enumerate();
            let names = names.filter(|(_, channel)| channel.wanted && channel.allowed);
            let names: Vec<String> = names.map(|(n, _)| format!("channel{n}")).collect();
            prop_assert_eq!(goal(&list), names);
        }
    }
}
