use std::collections::BTreeMap;

use super::*;

fn have(names: &[&str]) -> BTreeMap<Login, Login> {
    names
        .iter()
        .map(|name| (login(name), login("bot")))
        .collect()
}

fn compare(reconciler: &mut Reconciler, goal: &[&str], has: &[&str], now: i64) -> Todo {
    let goal: Vec<Wanted> = goal.iter().map(|name| wanted(name)).collect();
    reconciler.compare(&goal, &have(has), &login("bot"), Unix(now))
}

/// When the channel is tried again after it failed at `now`.
fn tried_at(reconciler: &mut Reconciler, now: i64) -> i64 {
    let todo = compare(reconciler, &["a"], &[], now);
    assert!(todo.is_empty());
    let wake = todo.wake.expect("it is tried again").0;
    assert!(compare(reconciler, &["a"], &[], wake - 1).is_empty());
    let todo = compare(reconciler, &["a"], &[], wake);
    assert_eq!((todo.add, todo.wake), (vec![wanted("a")], None));
    wake
}

#[test]
fn only_what_differs_is_done_and_nothing_if_nothing_changed() {
    let mut reconciler = Reconciler::new();
    let todo = compare(&mut reconciler, &["a", "b", "c"], &["b", "d"], 0);
    assert_eq!(todo.add, [wanted("a"), wanted("c")]);
    assert_eq!(todo.remove, [login("d")]);
    let todo = compare(&mut reconciler, &["a", "b", "c"], &["a", "b", "c"], 0);
    assert_eq!(todo, Todo::default());
}

#[test]
fn what_failed_is_tried_after_30_seconds_and_then_twice_as_long_up_to_an_hour() {
    let mut reconciler = Reconciler::new();
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..10 {
        reconciler.failed(&login("a"), Why::Silent, Unix(now));
        let next = tried_at(&mut reconciler, now);
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(
        pauses,
        [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]
    );
    // Once it is there, it begins with the shortest pause.
    reconciler.confirmed(&login("a"));
    reconciler.failed(&login("a"), Why::Cap, Unix(now));
    assert_eq!(tried_at(&mut reconciler, now), now + 30);
}

#[test]
fn a_ban_is_tried_again_only_when_somebody_says_so() {
    for why in [Why::Banned, Why::Unauthorised] {
        let mut reconciler = Reconciler::new();
        reconciler.failed(&login("a"), why, Unix(0));
        for now in [1, 3_600, 1_000_000] {
            assert_eq!(compare(&mut reconciler, &["a"], &[], now), Todo::default());
        }
        reconciler.again(&login("a"));
        assert_eq!(compare(&mut reconciler, &["a"], &[], 2).add, [wanted("a")]);
    }
}

#[test]
fn nothing_is_remembered_of_a_channel_that_is_not_wanted() {
    let mut reconciler = Reconciler::new();
    reconciler.failed(&login("a"), Why::Banned, Unix(0));
    compare(&mut reconciler, &[], &[], 0);
    assert_eq!(reconciler.failures().count(), 0);
    assert_eq!(compare(&mut reconciler, &["a"], &[], 0).add, [wanted("a")]);
}

#[test]
fn a_channel_of_another_account_is_changed_and_not_parted_first() {
    let mut reconciler = Reconciler::new();
    let by = Wanted {
        account: Some(login("own_bot")),
        ..wanted("a")
    };
    let goal = [by.clone(), wanted("b")];
    let todo = reconciler.compare(&goal, &have(&["a", "b"]), &login("bot"), Unix(0));
    assert_eq!(
        todo,
        Todo {
            change: vec![by],
            ..Todo::default()
        }
    );
}

#[test]
fn a_clock_that_was_set_back_makes_no_pause_longer_than_an_hour() {
    let mut reconciler = Reconciler::new();
    reconciler.failed(&login("a"), Why::Silent, Unix(1_000_000));
    assert_eq!(compare(&mut reconciler, &["a"], &[], 0).add, [wanted("a")]);
}

#[test]
fn of_what_twitch_says_a_bounded_part_is_kept() {
    assert_eq!(
        Why::other(&"é".repeat(300)),
        Why::Other("é".repeat(200).into())
    );
}
