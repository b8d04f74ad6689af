use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::*;

fn ranges(numbers: &[u64]) -> SequenceRanges {
    numbers.iter().copied().map(Sequence).collect()
}

fn ticket(handled: u64, above: &[u64], in_doubt: &[u64]) -> Ticket {
    Ticket {
        handled: Sequence(handled),
        finished_above: ranges(above),
        in_doubt: ranges(in_doubt),
        state_at: Sequence(handled),
        ..Ticket::default()
    }
}

#[test]
fn handled_stops_at_the_first_unfinished_dispatch_and_gaps_hold_nothing_up() {
    let mut window = Window::new();
    for sequence in [5, 6, 9] {
        assert_eq!(
            window.receive(Sequence(sequence)),
            Receipt::HandOut(Mark::None)
        );
    }
    window.finish(Sequence(5));
    window.finish(Sequence(9));
    assert_eq!(window.handled(), Sequence(5));
    assert_eq!(window.finished_above(), &ranges(&[9]));
    assert_eq!(window.in_doubt(), ranges(&[6]));
    window.finish(Sequence(6));
    assert_eq!(window.handled(), Sequence(9));
    assert!(window.finished_above().is_empty());
}

#[test]
fn what_the_ticket_knows_finished_is_never_handed_out_and_what_is_in_doubt_is_held() {
    let mut window = Window::resumed(&ticket(5, &[7, 9], &[6, 8]), Sequence(3), None, []);
    let receipts: Vec<Receipt> = (4..=10).map(|s| window.receive(Sequence(s))).collect();
    use Receipt::*;
    assert_eq!(
        receipts,
        [
            StateOnly,
            StateOnly,
            Hold,
            StateOnly,
            Hold,
            StateOnly,
            HandOut(Mark::None)
        ]
    );
    assert_eq!(window.running(), 1, "held events are not in flight here");
    window.finish(Sequence(6));
    assert_eq!(window.handled(), Sequence(7));
    assert!(window.give_back(Sequence(8), Mark::MayRepeat));
    assert!(window.run_again(Sequence(8)));
    window.finish(Sequence(8));
    window.finish(Sequence(10));
    assert_eq!(window.handled(), Sequence(10));
}

#[test]
fn finished_above_of_a_dead_owner_is_not_folded_over_what_nobody_knows() {
    // 6 and 8 ran when the owner died: the ticket does not name them.
    let mut window = Window::resumed(&ticket(5, &[7, 9], &[]), Sequence(5), None, []);
    assert_eq!(window.handled(), Sequence(5));
    assert_eq!(window.receive(Sequence(6)), Receipt::HandOut(Mark::None));
    assert_eq!(window.receive(Sequence(7)), Receipt::StateOnly);
    assert_eq!(window.handled(), Sequence(5));
    window.finish(Sequence(6));
    assert_eq!(window.handled(), Sequence(7));
    assert_eq!(window.finished_above(), &ranges(&[9]));
}

#[test]
fn an_event_that_settles_before_its_replay_comes_is_handed_out_marked_when_it_comes() {
    let mut window = Window::resumed(&ticket(5, &[], &[6]), Sequence(5), None, []);
    assert!(window.give_back(Sequence(6), Mark::MayRepeat));
    assert_eq!(
        window.receive(Sequence(6)),
        Receipt::HandOut(Mark::MayRepeat)
    );
}

#[test]
fn taking_back_keeps_what_still_runs_here_and_what_was_finished_since() {
    let mut own = Window::new();
    for sequence in 1..=4 {
        own.receive(Sequence(sequence));
    }
    own.finish(Sequence(1));
    let sealed = Ticket {
        handled: own.handled(),
        finished_above: own.finished_above().clone(),
        in_doubt: own.in_doubt(),
        ..Ticket::default()
    };
    own.finish(Sequence(2));
    own.give_back(Sequence(3), Mark::None);
    let mut window = Window::resumed(&sealed, Sequence(1), Some(&own), []);
    assert_eq!(window.receive(Sequence(2)), Receipt::StateOnly);
    assert_eq!(window.receive(Sequence(3)), Receipt::HandOut(Mark::None));
    assert_eq!(
        window.receive(Sequence(4)),
        Receipt::StateOnly,
        "4 still runs"
    );
    assert_eq!(window.handled(), Sequence(2));
    window.finish(Sequence(3));
    window.finish(Sequence(4));
    assert_eq!(window.handled(), Sequence(4));
}

#[test]
fn a_reconnect_that_replays_what_runs_here_hands_out_nothing_twice() {
    let mut window = Window::new();
    window.receive(Sequence(1));
    window.receive(Sequence(2));
    assert_eq!(window.receive(Sequence(1)), Receipt::Duplicate);
    assert_eq!(window.receive(Sequence(2)), Receipt::Duplicate);
    assert_eq!(window.running(), 2);
}

/// The small model: every dispatch there is, and what became of it.
#[derive(Default)]
struct Model {
    finished: BTreeSet<u64>,
    running: BTreeSet<u64>,
    due: BTreeSet<u64>,
    held: BTreeSet<u64>,
    received: BTreeSet<u64>,
    /// How often each was handed out without having been given back.
    handed: BTreeMap<u64, u32>,
}

impl Model {
    fn handled(&self) -> u64 {
        let known = self.received.iter().chain(&self.finished);
        let first_open = [&self.running, &self.due, &self.held]
            .into_iter()
            .filter_map(|set| set.first())
            .min();
        let highest = self.received.last().copied().unwrap_or(0);
        known
            .copied()
            .filter(|s| *s <= highest && first_open.is_none_or(|open| s < open))
            .max()
            .unwrap_or(0)
    }
}

#[test]
fn random_lives_of_a_session_keep_every_promise_of_the_window() {
    let seed = std::env::var("BATON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("BATON_SEED={seed}");
    for round in 0..300 {
        one_life(ChaCha8Rng::seed_from_u64(seed.wrapping_add(round)));
    }
}

/// One session from its first event, moved now and then to a next owner by a
/// seal. At the end every dispatch was finished exactly once.
fn one_life(mut rng: ChaCha8Rng) {
    let mut window = Window::new();
    let mut model = Model::default();
    let mut next = 0;
    let mut last = Sequence(0);
    for _ in 0..200 {
        let pick = |rng: &mut ChaCha8Rng, set: &BTreeSet<u64>| {
            set.iter().copied().collect::<Vec<_>>().choose(rng).copied()
        };
        match rng.random_range(0..10) {
            0..=4 => {
                next += rng.random_range(1..4);
                take(&mut window, &mut model, next);
            }
            5 | 6 => {
                if let Some(sequence) = pick(&mut rng, &model.running) {
                    window.finish(Sequence(sequence));
                    model.running.remove(&sequence);
                    model.finished.insert(sequence);
                }
            }
            7 => {
                if let Some(sequence) = pick(&mut rng, &model.running) {
                    assert!(window.give_back(Sequence(sequence), Mark::None));
                    model.running.remove(&sequence);
                    model.due.insert(sequence);
                }
            }
            8 => {
                if let Some(sequence) = pick(&mut rng, &model.due) {
                    assert!(window.run_again(Sequence(sequence)));
                    model.due.remove(&sequence);
                    model.running.insert(sequence);
                }
            }
            _ => {
                window = moved(&mut rng, &window, &mut model);
                last = Sequence(0);
            }
        }
        assert!(window.handled() >= last, "handled never goes back");
        last = window.handled();
        assert_eq!(window.handled().get(), model.handled());
        assert_eq!(window.running(), model.running.len());
        assert_eq!(window.holds(), !model.held.is_empty());
        let open: SequenceRanges = [&model.running, &model.due, &model.held]
            .into_iter()
            .flatten()
            .copied()
            .map(Sequence)
            .collect();
        assert_eq!(window.in_doubt(), open);
    }
    assert!(model.handed.values().all(|times| *times == 1));
}

fn take(window: &mut Window, model: &mut Model, sequence: u64) {
    let receipt = window.receive(Sequence(sequence));
    if model.received.contains(&sequence) {
        return;
    }
    model.received.insert(sequence);
    let expected = if model.held.contains(&sequence) {
        Receipt::Hold
    } else if model.due.remove(&sequence) {
        model.running.insert(sequence);
        Receipt::HandOut(Mark::MayRepeat)
    } else if model.finished.contains(&sequence) {
        Receipt::StateOnly
    } else {
        model.running.insert(sequence);
        *model.handed.entry(sequence).or_default() += 1;
        Receipt::HandOut(Mark::None)
    };
    assert_eq!(receipt, expected, "{sequence}");
}

/// A seal and the next owner: everything is replayed to it, what was in doubt
/// settles in a random way.
fn moved(rng: &mut ChaCha8Rng, old: &Window, model: &mut Model) -> Window {
    let from = Sequence(rng.random_range(0..=old.handled().get()));
    let ticket = Ticket {
        handled: old.handled(),
        finished_above: old.finished_above().clone(),
        in_doubt: old.in_doubt(),
        state_at: from,
        ..Ticket::default()
    };
    let mut window = Window::resumed(&ticket, from, None, []);
    let replay: Vec<u64> = model
        .received
        .split_off(&(from.get() + 1))
        .into_iter()
        .collect();
    model.held = [&mut model.running, &mut model.due, &mut model.held]
        .into_iter()
        .flat_map(std::mem::take)
        .collect();
    let half = rng.random_range(0..=replay.len());
    replay[..half]
        .iter()
        .for_each(|s| take(&mut window, model, *s));
    assert_eq!(window.holds(), !model.held.is_empty());
    for sequence in std::mem::take(&mut model.held) {
        if rng.random() {
            window.finish(Sequence(sequence));
            model.finished.insert(sequence);
        } else {
            assert!(window.give_back(Sequence(sequence), Mark::MayRepeat));
            if model.received.contains(&sequence) {
                assert!(window.run_again(Sequence(sequence)));
                model.running.insert(sequence);
            } else {
                model.due.insert(sequence);
            }
        }
    }
    replay[half..]
        .iter()
        .for_each(|s| take(&mut window, model, *s));
    window
}

#[test]
fn a_replay_that_begins_above_what_is_in_doubt_leaves_it_held_and_the_checkpoint_below() {
    let mut ticket = ticket(4, &[6, 7, 8], &[5, 9]);
    ticket.replay_from = Sequence(8);
    let mut window = Window::resumed(&ticket, Sequence(u64::MAX), None, []);
    assert_eq!(window.received(), Sequence(8));
    assert_eq!(window.handled(), Sequence(4), "5 is not finished");
    assert!(window.is_before_replay(Sequence(5)));
    assert!(!window.is_before_replay(Sequence(9)));
    assert_eq!(window.receive(Sequence(9)), Receipt::Hold);
    assert_eq!(window.receive(Sequence(10)), Receipt::HandOut(Mark::None));
    window.finish(Sequence(10));
    window.finish(Sequence(9));
    assert_eq!(window.handled(), Sequence(4));
    window.finish(Sequence(5));
    assert_eq!(window.handled(), Sequence(10));
}

#[test]
fn a_copied_state_that_stands_lower_has_the_replay_begin_there() {
    let mut ticket = ticket(4, &[6, 7, 8], &[5]);
    ticket.replay_from = Sequence(8);
    let window = Window::resumed(&ticket, Sequence(6), None, []);
    assert_eq!(window.received(), Sequence(6));
}

#[test]
fn what_a_ticket_says_above_resumed_is_not_believed() {
    let mut window = Window::resumed(&ticket(1 << 40, &[], &[]), Sequence(90), None, []);
    assert_eq!(window.receive(Sequence(91)), Receipt::StateOnly);
    assert!(window.disprove(Sequence(92)));
    assert_eq!(window.receive(Sequence(92)), Receipt::StateOnly);
    assert_eq!(window.receive(Sequence(93)), Receipt::HandOut(Mark::None));
    assert!(!window.disprove(Sequence(93)));
}

#[test]
fn what_no_handler_had_is_not_in_doubt_and_holds_back_what_is_finished_behind_it() {
    let mut window = Window::new();
    for sequence in [5, 6, 7, 8] {
        window.receive(Sequence(sequence));
    }
    window.put_back(Sequence(6));
    assert_eq!(window.unseen(), ranges(&[6]));
    window.put_back(Sequence(7));
    assert_eq!(window.in_doubt(), ranges(&[5, 8]));
    assert_eq!(window.running(), 2);
    window.finish(Sequence(8));
    window.finish(Sequence(5));
    assert_eq!(window.handled(), Sequence(5));
    assert!(!window.run_again(Sequence(6)));
    // The shard comes back: a replay brings both.
    let mut back = Window::resumed(&ticket(5, &[8], &[]), Sequence(5), Some(&window), []);
    let receipts: Vec<Receipt> = (6..=8).map(|s| back.receive(Sequence(s))).collect();
    let handed_out = Receipt::HandOut(Mark::None);
    assert_eq!(receipts, [handed_out, handed_out, Receipt::StateOnly]);
}

#[test]
fn what_was_given_back_and_is_in_hand_elsewhere_is_held_where_its_shard_comes_back() {
    let mut own = Window::new();
    own.receive(Sequence(5));
    own.put_back(Sequence(5));
    let sealed = ticket(4, &[], &[5]);
    let mut window = Window::resumed(&sealed, Sequence(4), Some(&own), []);
    assert_eq!(window.receive(Sequence(5)), Receipt::Hold);
    window.finish(Sequence(5));
    assert_eq!(window.handled(), Sequence(5));
}
