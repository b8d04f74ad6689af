//! The cases of TMI Cluster's distributor, and what it could not do.

use super::{
    request::{Answer, Reason, join, part},
    *,
};

struct Bot {
    manager: Box<dyn Manager>,
    layout: Layout,
    reconciler: Reconciler,
}

impl Bot {
    fn new(manager: impl Manager + 'static) -> Self {
        Self {
            manager: Box::new(manager),
            layout: Layout::new(None),
            reconciler: Reconciler::new(),
        }
    }

    fn anybody() -> Self {
        Self::new(Anybody::in_memory().expect("a list"))
    }

    /// The answers in the order of the names, and what the units have to do.
    fn join(&mut self, names: &[&str]) -> (Vec<Answer>, Vec<String>) {
        let channels: Vec<Wanted> = names.iter().map(|name| wanted(name)).collect();
        let mut deltas = Deltas::new();
        let layout = &mut self.layout;
        let answers = join(&mut *self.manager, &channels, Unix(0), |wanted| {
            let account = wanted.account.clone().unwrap_or_else(|| login("bot"));
            layout
                .join(&wanted.login, &account, Unix(0), &mut deltas)
                .into()
        });
        let answers = answers.expect("written").into_values().collect();
        (answers, lines(&deltas))
    }

    fn part(&mut self, names: &[&str]) -> (Vec<Answer>, Vec<String>) {
        let channels: Vec<Login> = names.iter().map(|name| login(name)).collect();
        let mut deltas = Deltas::new();
        let layout = &mut self.layout;
        let answers = part(&mut *self.manager, &channels, |channel| {
            layout.part(channel, &mut deltas).into()
        });
        (
            answers.expect("written").into_values().collect(),
            lines(&deltas),
        )
    }

    fn reconcile(&mut self) -> Vec<String> {
        let places = self.layout.places();
        let have = places.map(|(login, place)| (login.clone(), place.unit.account.clone()));
        let have = have.collect();
        let goal = self.manager.goal().expect("read");
        let todo = self
            .reconciler
            .compare(&goal, &have, &login("bot"), Unix(0));
        let mut deltas = Deltas::new();
        for wanted in todo.add {
            self.layout
                .join(&wanted.login, &login("bot"), Unix(0), &mut deltas);
        }
        for channel in todo.remove {
            self.layout.part(&channel, &mut deltas);
        }
        lines(&deltas)
    }
}

fn resolved(index: u32) -> Answer {
    Answer::Resolved(Some(unit(index)))
}

fn ignored(index: u32) -> Answer {
    Answer::Ignored(Some(unit(index)))
}

fn no_room() -> Answer {
    Answer::Rejected(Reason::NoRoom)
}

#[test]
fn what_was_asked_for_before_there_was_a_unit_is_joined_with_the_next_request() {
    let mut bot = Bot::anybody();
    bot.join(&["test1", "test2"]);
    bot.join(&["test3"]);
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    assert_eq!(bot.join(&["test4"]).0, [resolved(0)]);
    assert_eq!(bot.reconcile(), ["bot/0 +test1 +test2 +test3"]);
    assert!(bot.reconcile().is_empty());
}

#[test]
fn a_channel_is_rejected_where_there_is_no_unit_and_is_wanted_all_the_same() {
    let mut bot = Bot::anybody();
    assert_eq!(bot.join(&["some"]), (vec![no_room()], Vec::new()));
    assert_eq!(goal(&*bot.manager), ["some"]);
}

#[test]
fn a_channel_is_rejected_where_no_unit_takes_any() {
    let mut bot = Bot::anybody();
    bot.layout.add_unit(&unit(0), CAPACITY, false);
    bot.layout.add_unit(&unit(1), CAPACITY, true);
    bot.layout.open(&unit(1), false);
    assert_eq!(bot.join(&["some"]), (vec![no_room()], Vec::new()));
    bot.layout.open(&unit(0), true);
    assert_eq!(bot.reconcile(), ["bot/0 +some"]);
}

#[test]
fn a_channel_is_resolved_where_a_unit_has_room() {
    let mut bot = Bot::anybody();
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    let (answers, deltas) = bot.join(&["some"]);
    assert_eq!(answers, [resolved(0)]);
    assert_eq!(deltas, ["bot/0 +some"]);
}

#[test]
fn a_channel_that_is_joined_is_ignored_and_others_go_to_the_least_loaded_unit() {
    let mut bot = Bot::anybody();
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    bot.join(&["ghost"]);
    bot.layout.add_unit(&unit(1), CAPACITY, true);
    let (answers, deltas) = bot.join(&["ghost", "test1", "test2", "test3", "test4"]);
    assert_eq!(
        answers,
        [
            ignored(0),
            resolved(1),
            resolved(0),
            resolved(1),
            resolved(0)
        ]
    );
    assert_eq!(deltas, ["bot/0 +test2 +test4", "bot/1 +test1 +test3"]);
}

#[test]
fn the_channels_of_a_unit_that_died_and_those_that_it_was_asked_for_go_to_another() {
    let mut bot = Bot::anybody();
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    bot.join(&["confirmed"]);
    assert!(bot.layout.confirmed(&unit(0), &login("confirmed"), Unix(1)));
    bot.join(&["asked"]);
    bot.layout.add_unit(&unit(1), CAPACITY, true);
    let mut deltas = Deltas::new();
    assert!(
        bot.layout
            .remove_unit(&unit(0), Unix(2), &mut deltas)
            .is_empty()
    );
    assert_eq!(
        lines(&deltas),
        ["bot/0 -asked -confirmed", "bot/1 +asked +confirmed"]
    );
    assert_eq!(deltas.moved().len(), 2);
    let place = Place {
        unit: unit(1),
        state: State::Asked(Unix(2)),
    };
    assert_eq!(bot.layout.find(&login("confirmed")), Found::At(place));
}

#[test]
fn who_has_not_let_the_bot_in_is_unauthorised_and_nothing_is_kept() {
    let mut bot = Bot::new(Database::in_memory().expect("a list"));
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    bot.manager
        .authorise(&grant("in", Reconnect::No), Unix(0))
        .expect("written");
    let (answers, deltas) = bot.join(&["in", "out"]);
    assert_eq!(answers, [resolved(0), Answer::Unauthorised]);
    assert_eq!(deltas, ["bot/0 +in"]);
    assert!(bot.reconcile().is_empty());
    // A revocation is a part.
    bot.manager.revoke(&login("in"), Unix(1)).expect("written");
    assert_eq!(bot.reconcile(), ["bot/0 -in"]);
}

#[test]
fn a_part_is_resolved_once_and_then_ignored() {
    let mut bot = Bot::anybody();
    bot.layout.add_unit(&unit(0), 1, true);
    bot.join(&["a"]);
    assert_eq!(bot.join(&["b"]).0, [no_room()]);
    let (answers, deltas) = bot.part(&["a", "b", "c"]);
    let done = Answer::Resolved(None);
    assert_eq!(answers, [resolved(0), done, Answer::Ignored(None)]);
    assert_eq!(deltas, ["bot/0 -a"]);
    let nothing = Answer::Ignored(None);
    assert_eq!(bot.part(&["a"]), (vec![nothing], Vec::new()));
}

#[test]
fn the_account_that_is_stored_of_a_channel_reads_it() {
    let mut bot = Bot::anybody();
    let own = Unit::new(login("own_bot"), 0);
    bot.layout.add_unit(&unit(0), CAPACITY, true);
    bot.layout.add_unit(&own, CAPACITY, true);
    let by = Wanted {
        account: Some(login("own_bot")),
        ..wanted("some")
    };
    bot.manager.want(&[by], Unix(0)).expect("written");
    assert_eq!(bot.join(&["some"]).0, [Answer::Resolved(Some(own))]);
}
