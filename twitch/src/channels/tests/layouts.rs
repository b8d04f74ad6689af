use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn bot() -> Login {
    login("bot")
}

/// So many open units, with so many channels in each: `c0_0`, `c0_1`.
fn laid(loads: &[usize]) -> Layout {
    let mut layout = Layout::new(None);
    let mut none = Deltas::new();
    for (index, load) in loads.iter().enumerate() {
        let unit = unit(u32::try_from(index).expect("few"));
        layout.add_unit(&unit, CAPACITY, true);
        let channels = (0..*load)
            .map(|n| login(&format!("c{index}_{n}")))
            .collect();
        layout.adopt(&unit, &channels, Unix(0), &mut none);
    }
    layout
}

fn loads(layout: &Layout) -> Vec<usize> {
    layout.loads().map(|(_, load)| load).collect()
}

#[test]
fn a_new_unit_gets_what_makes_the_loads_even_and_nothing_else_moves() {
    let mut layout = laid(&[4, 3, 3]);
    let mut deltas = Deltas::new();
    layout.rebalance(&bot(), Unix(1), &mut deltas);
    assert!(deltas.is_empty());
    layout.add_unit(&unit(3), CAPACITY, true);
    assert!(layout.channels(&unit(3)).next().is_none());
    layout.rebalance(&bot(), Unix(1), &mut deltas);
    assert_eq!(loads(&layout), [3, 3, 2, 2]);
    assert_eq!(
        lines(&deltas),
        ["bot/0 -c0_3", "bot/2 -c2_2", "bot/3 +c0_3 +c2_2"]
    );
    assert_eq!(deltas.moved()[&login("c2_2")], (unit(2), unit(3)));
}

#[test]
fn who_is_not_confirmed_moves_first() {
    let mut layout = laid(&[2]);
    let mut deltas = Deltas::new();
    layout.join(&login("asked"), &bot(), Unix(1), &mut deltas);
    layout.add_unit(&unit(1), CAPACITY, true);
    deltas = Deltas::new();
    layout.rebalance(&bot(), Unix(1), &mut deltas);
    assert_eq!(lines(&deltas), ["bot/0 -asked", "bot/1 +asked"]);
}

#[test]
fn a_full_unit_gets_nothing_and_who_has_no_room_is_said() {
    let mut layout = laid(&[3, 0]);
    layout.add_unit(&unit(1), 2, true);
    let mut deltas = Deltas::new();
    let left_out = layout.remove_unit(&unit(0), Unix(1), &mut deltas);
    assert_eq!(left_out, [login("c0_2")]);
    assert_eq!(
        lines(&deltas),
        ["bot/0 -c0_0 -c0_1 -c0_2", "bot/1 +c0_0 +c0_1"]
    );
    assert_eq!(layout.find(&login("c0_2")), Found::Nowhere);
    let placed = layout.join(&login("c0_2"), &bot(), Unix(2), &mut deltas);
    assert_eq!(placed, Placed::NoRoom);
}

#[test]
fn what_is_confirmed_is_told_from_what_was_asked_for() {
    let mut layout = laid(&[0, 0]);
    let mut deltas = Deltas::new();
    let a = login("a");
    layout.join(&a, &bot(), Unix(1), &mut deltas);
    let place = |state| {
        Found::At(Place {
            unit: unit(0),
            state,
        })
    };
    assert_eq!(layout.find(&a), place(State::Asked(Unix(1))));
    // The word of a unit that is not asked does not count.
    assert!(!layout.confirmed(&unit(1), &a, Unix(2)));
    assert!(!layout.failed(&unit(1), &a, Why::Cap, Unix(2), &mut deltas));
    assert!(layout.confirmed(&unit(0), &a, Unix(3)));
    assert_eq!(layout.find(&a), place(State::Confirmed(Unix(3))));
    // A failure has its reason, and its place is free.
    assert!(layout.failed(&unit(0), &a, Why::Banned, Unix(4), &mut deltas));
    let failed = Failed {
        unit: unit(0),
        why: Why::Banned,
        at: Unix(4),
    };
    assert_eq!(layout.find(&a), Found::Failed(failed));
    assert_eq!(loads(&layout), [0, 0]);
    assert!(!layout.confirmed(&unit(0), &a, Unix(5)));
    layout.join(&a, &bot(), Unix(6), &mut deltas);
    assert_eq!(layout.find(&a), place(State::Asked(Unix(6))));
    layout.part(&a, &mut deltas);
    assert_eq!(layout.find(&a), Found::Nowhere);
}

#[test]
fn a_join_that_failed_is_parted_in_case_it_comes_true_late() {
    let mut layout = laid(&[0]);
    layout.join(&login("a"), &bot(), Unix(0), &mut Deltas::new());
    let mut deltas = Deltas::new();
    layout.failed(&unit(0), &login("a"), Why::Silent, Unix(10), &mut deltas);
    assert_eq!(lines(&deltas), ["bot/0 -a"]);
}

#[test]
fn an_account_is_in_no_more_channels_than_its_cap_but_those_where_it_is_moderator() {
    let mut layout = Layout::new(Some(2));
    let mut deltas = Deltas::new();
    layout.add_unit(&unit(0), CAPACITY, true);
    layout.exempt(&login("mine"), true);
    let mut join =
        |layout: &mut Layout, name: &str| layout.join(&login(name), &bot(), Unix(0), &mut deltas);
    for name in ["a", "mine", "b"] {
        assert_eq!(join(&mut layout, name), Placed::New(unit(0)), "{name}");
    }
    assert_eq!(join(&mut layout, "c"), Placed::Cap);
    layout.exempt(&login("a"), true);
    assert_eq!(join(&mut layout, "c"), Placed::New(unit(0)));
    layout.exempt(&login("a"), false);
    layout.part(&login("c"), &mut Deltas::new());
    assert_eq!(join(&mut layout, "d"), Placed::Cap);
}

#[test]
fn after_a_restart_the_units_say_what_they_are_in_and_only_doubles_are_parted() {
    let mut layout = laid(&[2, 0]);
    let mut deltas = Deltas::new();
    let says: BTreeSet<Login> = [login("c0_0"), login("other")].into();
    layout.adopt(&unit(1), &says, Unix(1), &mut deltas);
    assert_eq!(lines(&deltas), ["bot/1 -c0_0"]);
    assert_eq!(loads(&layout), [2, 1]);
    // And what a unit lost is joined anew.
    deltas = Deltas::new();
    layout.adopt(&unit(0), &[login("c0_1")].into(), Unix(2), &mut deltas);
    assert_eq!(lines(&deltas), ["bot/0 +c0_0"]);
}

#[test]
fn another_account_takes_over_where_it_has_room() {
    let mut layout = laid(&[1]);
    let mut deltas = Deltas::new();
    let channel = login("c0_0");
    let own = Unit::new(login("own_bot"), 0);
    let placed = layout.join(&channel, &own.account, Unix(1), &mut deltas);
    assert_eq!((placed, deltas.is_empty()), (Placed::NoRoom, true));
    layout.add_unit(&own, 1, true);
    let placed = layout.join(&channel, &own.account, Unix(1), &mut deltas);
    assert_eq!(placed, Placed::New(own));
    assert_eq!(lines(&deltas), ["bot/0 -c0_0", "own_bot/0 +c0_0"]);
}

/// What may happen to a layout.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Join(u8),
    Part(u8),
    Comes(u32),
    Goes(u32),
    Opens(u32, bool),
    Failed(u8),
    Confirmed(u8),
    Rebalance,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0_u8..60).prop_map(Happens::Join),
        2 => (0_u8..60).prop_map(Happens::Part),
        2 => (0_u32..6).prop_map(Happens::Comes),
        1 => (0_u32..6).prop_map(Happens::Goes),
        1 => (0_u32..6, any::<bool>()).prop_map(|(unit, open)| Happens::Opens(unit, open)),
        1 => (0_u8..60).prop_map(Happens::Failed),
        2 => (0_u8..60).prop_map(Happens::Confirmed),
        1 => Just(Happens::Rebalance),
    ]
}

/// Does what the units are told, and refuses what makes no sense.
fn obey(units: &mut BTreeMap<Unit, BTreeSet<Login>>, deltas: &Deltas) {
    for (unit, delta) in deltas.by_unit() {
        let channels = units.entry(unit.clone()).or_default();
        for channel in &delta.part {
            assert!(channels.remove(channel), "{unit} is not in {channel}");
        }
        for channel in &delta.join {
            assert!(channels.insert(channel.clone()), "{unit} is in {channel}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_channel_is_lost_or_in_two_units_and_the_units_are_told_all(
        steps in prop::collection::vec(happens(), 1..120),
    ) {
        const ROOM: usize = 8;
        let mut layout = Layout::new(None);
        let mut units: BTreeMap<Unit, BTreeSet<Login>> = BTreeMap::new();
        let mut placed: BTreeSet<Login> = BTreeSet::new();
        for step in steps {
            let mut deltas = Deltas::new();
            let channel = |n: u8| login(&format!("c{n}"));
            let place = |layout: &Layout, n| match layout.find(&channel(n)) {
                Found::At(place) => Some(place.unit),
                Found::Failed(_) | Found::Nowhere => None,
            };
            match step {
                Happens::Join(n) => match layout.join(&channel(n), &bot(), Unix(0), &mut deltas) {
                    Placed::New(_) => prop_assert!(placed.insert(channel(n))),
                    Placed::Already(_) => prop_assert!(placed.contains(&channel(n))),
                    Placed::NoRoom => prop_assert!(!placed.contains(&channel(n))),
                    Placed::Cap => prop_assert!(false, "there is no cap"),
                },
                Happens::Part(n) => {
                    let was = layout.part(&channel(n), &mut deltas);
                    prop_assert_eq!(was.is_some(), placed.remove(&channel(n)));
                }
                Happens::Comes(index) => {
                    layout.add_unit(&unit(index), ROOM, true);
                    units.entry(unit(index)).or_default();
                }
                Happens::Goes(index) => {
                    for left in layout.remove_unit(&unit(index), Unix(0), &mut deltas) {
                        prop_assert!(placed.remove(&left));
                    }
                }
                Happens::Opens(index, is_open) => {
                    layout.open(&unit(index), is_open);
                }
                Happens::Failed(n) => {
                    if let Some(unit) = place(&layout, n) {
                        layout.failed(&unit, &channel(n), Why::Cap, Unix(0), &mut deltas);
                        prop_assert!(placed.remove(&channel(n)));
                    }
                }
                Happens::Confirmed(n) => {
                    if let Some(unit) = place(&layout, n) {
                        prop_assert!(layout.confirmed(&unit, &channel(n), Unix(0)));
                    }
                }
                Happens::Rebalance => layout.rebalance(&bot(), Unix(0), &mut deltas),
            }
            obey(&mut units, &deltas);
            let all: Vec<&Login> = units.values().flatten().collect();
            let distinct: BTreeSet<Login> = all.iter().copied().cloned().collect();
            prop_assert_eq!(all.len(), distinct.len());
            prop_assert_eq!(&distinct, &placed);
            let held: BTreeSet<Login> = layout.places().map(|(login, _)| login.clone()).collect();
            prop_assert_eq!(held, distinct);
            for (unit, load) in layout.loads() {
                prop_assert!(load <= ROOM);
                let told = units.get(&unit).map_or(0, BTreeSet::len);
                prop_assert_eq!(told, load);
            }
        }
    }

    #[test]
    fn a_rebalance_makes_the_loads_even_with_as_few_moves_as_that_needs(
        before in prop::collection::vec(0_usize..60, 1..12),
    ) {
        let mut layout = laid(&before);
        let mut deltas = Deltas::new();
        layout.rebalance(&bot(), Unix(0), &mut deltas);
        let after = loads(&layout);
        let total: usize = before.iter().sum();
        prop_assert_eq!(after.iter().sum::<usize>(), total);
        let most = after.iter().max().expect("there is one");
        let least = after.iter().min().expect("there is one");
        prop_assert!(most - least <= 1);
        // The one more that some units have stays where there are most.
        let mut sorted = before.clone();
        sorted.sort_by(|a, b| b.cmp(a));
        let (each, more) = (total / sorted.len(), total % sorted.len());
        let needed = sorted.iter().enumerate().map(|(n, load)| {
            load.saturating_sub(each + usize::from(n < more))
        });
        prop_assert_eq!(deltas.moved().len(), needed.sum::<usize>());
        let mut again = Deltas::new();
        layout.rebalance(&bot(), Unix(0), &mut again);
        prop_assert!(again.is_empty());
    }
}
