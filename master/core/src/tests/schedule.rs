//! Whose turn it is, and how many move at once.

use super::*;

/// A fleet whose shards get so many events in 20 s each, which `A` serves, and `B`
/// that came as a candidate.
struct Busy {
    rig: Rig,
    events: Vec<u64>,
}

impl Busy {
    fn new(events: &[u64], canary: u32, width: u32) -> Self {
        let mut settings = settings(u32::try_from(events.len()).unwrap());
        (settings.canary, settings.width) = (canary, width);
        let mut rig = Rig::serving_with(settings);
        for second in 1..=20 {
            rig.wait(SECOND);
            for (shard, events) in (0..).zip(events) {
                rig.say(A, checkpoint(shard, 1, 100 + events * second / 20));
            }
        }
        rig.join(B, Role::Candidate);
        rig.say(A, prepared(true));
        let events = events.to_vec();
        Self { rig, events }
    }

    /// The deploy begins: the shards that do.
    fn begin(&mut self) -> Vec<u32> {
        copied(&self.rig.say(B, prepared(false)))
    }

    fn at(&self, shard: u32) -> u64 {
        100 + self.events[usize::try_from(shard).unwrap()]
    }

    /// The state of a shard is there: its owner seals it.
    fn seal(&mut self, shard: u32) {
        let at = self.at(shard);
        let actions = orders(&self.rig.say(B, state_ready(shard, 1, at)));
        assert!(actions.contains(&format!("a Seal {shard}@1")));
    }

    /// It serves again: the shards that begin then.
    fn serve(&mut self, shard: u32) -> Vec<u32> {
        let at = self.at(shard);
        self.rig.say(A, sealed(shard, 1, at));
        self.rig.say(A, settled(shard, 1, &[]));
        copied(&self.rig.say(B, resumed(shard, 2)))
    }

    fn hand_over(&mut self, shard: u32) -> Vec<u32> {
        self.seal(shard);
        self.serve(shard)
    }
}

/// Which shards are begun.
fn copied(actions: &[Action]) -> Vec<u32> {
    sent(actions, "a CopyState ")
}

fn sent(actions: &[Action], order: &str) -> Vec<u32> {
    let orders = orders(actions);
    let shards = orders.iter().filter_map(|sent| sent.strip_prefix(order));
    shards
        .map(|unit| unit.split('@').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn the_canary_is_the_quietest_shard_that_gets_an_event_a_second() {
    let mut fleet = Busy::new(&[1000, 0, 40, 2, 30, 15], 1, 16);
    assert_eq!(fleet.begin(), [4]);
    let mut fleet = Busy::new(&[1000, 0, 40, 2, 30, 15], 2, 16);
    assert_eq!(fleet.begin(), [4, 2]);
}

#[test]
fn where_no_shard_gets_an_event_a_second_the_canary_is_the_busiest() {
    assert_eq!(Busy::new(&[0, 2, 10, 0], 1, 16).begin(), [2]);
    assert_eq!(Busy::new(&[0, 0, 0], 1, 16).begin(), [0]);
    assert_eq!(Busy::new(&[0, 2, 1000, 0], 3, 16).begin(), [2, 1, 0]);
}

#[test]
fn the_quietest_shards_move_first_and_the_busiest_last() {
    let mut fleet = Busy::new(&[1000, 0, 40, 2, 100, 0], 1, 1);
    let mut order = fleet.begin();
    while let Some(&shard) = order.last()
        && order.len() < 6
    {
        order.extend(fleet.hand_over(shard));
    }
    assert_eq!(order, [2, 1, 5, 3, 4, 0]);
}

#[test]
fn no_more_move_at_once_than_the_tightest_replay_budget_allows() {
    // Discord holds the events of 5 s; half of it are five handovers of 500 ms.
    let mut fleet = Busy::new(&[4000; 8], 0, 16);
    assert_eq!(fleet.begin(), [0, 1, 2, 3, 4]);
    let view = fleet.rig.core.view(fleet.rig.now);
    assert_eq!(view.shards[7].state, "serving", "it waits unsealed");
    assert_eq!(view.shards[7].replay_budget_seconds, Some(5));
    assert_eq!(view.shards[7].events_per_1000_s, 200_000);
    let deploy = view.deploy.unwrap();
    assert_eq!((deploy.in_hand, deploy.at_once), (5, 5));
    // One was quick: the next are taken for less than 500 ms.
    assert_eq!(fleet.hand_over(2), [5]);
    assert_eq!(fleet.hand_over(3), [6, 7]);
}

#[test]
fn quiet_shards_move_as_many_at_once_as_the_width_says() {
    let mut fleet = Busy::new(&[20; 20], 0, 16);
    assert_eq!(fleet.begin(), (0..16).collect::<Vec<_>>());
    fleet.seal(0);
    fleet.rig.wait(3 * SECOND);
    assert_eq!(fleet.serve(0), [16], "however long it takes");
    assert_eq!(Busy::new(&[0; 20], 0, 3).begin(), [0, 1, 2]);
}

#[test]
fn a_slow_handover_makes_busy_shards_wait_unsealed() {
    let mut fleet = Busy::new(&[4000; 8], 0, 16);
    assert_eq!(fleet.begin(), [0, 1, 2, 3, 4]);
    fleet.seal(0);
    fleet.rig.wait(2 * SECOND);
    // Two seconds, and Discord can hold 2.5 of them.
    assert_eq!(fleet.serve(0), [0; 0]);
    for shard in [1, 2, 3] {
        assert_eq!(fleet.hand_over(shard), [0; 0]);
    }
    assert_eq!(fleet.rig.shard(5), (Some(A.to_string()), "serving"));
    assert_eq!(fleet.hand_over(4), [5, 6], "1.2 s by now");
}

#[test]
fn a_shard_too_busy_for_any_company_moves_alone() {
    let mut fleet = Busy::new(&[60_000, 20, 20], 0, 16);
    assert_eq!(fleet.begin(), [1, 2]);
    assert_eq!(fleet.hand_over(1), [0; 0]);
    assert_eq!(fleet.rig.shard(0), (Some(A.to_string()), "serving"));
    assert_eq!(fleet.hand_over(2), [0]);
    fleet.hand_over(0);
    assert!(fleet.rig.all_served_by(B));
}

#[test]
fn on_the_way_back_none_waits_for_another_and_the_one_with_most_to_replay_is_first() {
    let mut fleet = Busy::new(&[20_000, 20_000, 20_000, 0], 0, 16);
    assert_eq!(fleet.begin(), [3], "moved one by one");
    for shard in [3, 0, 1, 2] {
        fleet.hand_over(shard);
    }
    for (shard, more) in [(0, 70), (1, 700), (2, 200), (3, 80)] {
        let at = fleet.at(shard) + more;
        fleet.rig.say(B, checkpoint(shard, 2, at));
    }
    let request = RequestId(1);
    let actions = fleet.rig.input(Input::Abort {
        request,
        slot: None,
    });
    assert_eq!(sent(&actions, "b Seal "), [1, 2, 3, 0]);
}

#[test]
fn what_a_shard_got_before_this_master_started_is_no_rate() {
    let mut journal = Recovered::default();
    let row = Row {
        epoch: Epoch(1),
        owner: A,
        ..Row::default()
    };
    journal.shards.insert(ShardId(0), row);
    let mut rig = Rig::restarted(settings(1), journal);
    let mut held = held(0, 1, Holding::Serving);
    held.ticket = ticket(0, 5_000_000);
    rig.join_with(A, Role::Relaunch, report(vec![held]));
    rig.wait(10 * SECOND);
    let shard = &rig.core.view(rig.now).shards[0];
    assert_eq!(shard.owner, Some(A.to_string()));
    assert_eq!(
        (shard.events_per_1000_s, shard.replay_budget_seconds),
        (0, None)
    );
}
