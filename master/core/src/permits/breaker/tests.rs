//! The breaker alone, with the time stepped.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const BOUNDS: Bounds = Bounds {
    shards: 16,
    storm: 25,
    a_day: Some(1000),
};
const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(300),
};

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

fn storm(breaker: &mut Breaker, now: Time) -> bool {
    (0..4).any(|id| breaker.session_ended(ShardId(id), now, &BOUNDS))
}

#[test]
fn single_sessions_that_end_are_no_storm_and_a_quarter_within_a_minute_is() {
    let mut breaker = Breaker::default();
    for minute in 0..60 {
        for id in 0..3 {
            let now = at(1000 + minute * 61);
            assert!(!breaker.session_ended(ShardId(id), now, &BOUNDS));
        }
    }
    assert!(storm(&mut breaker, at(9000)));
    let small = Bounds {
        shards: 3,
        storm: 1,
        ..BOUNDS
    };
    let mut breaker = Breaker::default();
    for id in 0..3 {
        assert!(!breaker.session_ended(ShardId(id), at(1000), &small));
    }
}

#[test]
fn a_trial_proves_nothing_before_it_lasted_and_a_failed_one_doubles_the_distance() {
    let mut breaker = Breaker::default();
    assert!(storm(&mut breaker, at(1000)));
    let mut now = at(1000);
    let mut distances = Vec::new();
    for _ in 0..9 {
        let opens = breaker.opens(false, PAUSES);
        distances.push(opens.since(now).as_secs());
        now = opens;
        breaker.given(ShardId(1), now, &BOUNDS);
        assert!(breaker.ready(ShardId(1), now, PAUSES));
        now = now.after(SECOND);
        assert!(!breaker.look(now) && breaker.is_open(), "it has to last");
        assert!(breaker.session_ended(ShardId(1), now, &BOUNDS));
    }
    assert_eq!(distances, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    now = breaker.opens(false, PAUSES);
    breaker.given(ShardId(1), now, &BOUNDS);
    breaker.ready(ShardId(1), now, PAUSES);
    now = now.after(300 * SECOND);
    assert!(breaker.look(now) && !breaker.is_open());
    assert!(breaker.remembers(), "the next storm does not begin anew");
    assert!(storm(&mut breaker, now));
    assert_eq!(breaker.opens(false, PAUSES).since(now), 300 * SECOND);
    assert!(breaker.look(now.after(CALM)) && !breaker.remembers());
}

#[test]
fn a_trial_of_which_nothing_is_heard_is_followed_by_another_shards() {
    let mut breaker = Breaker::default();
    storm(&mut breaker, at(1000));
    breaker.given(ShardId(1), at(1005), &BOUNDS);
    assert_eq!(breaker.opens(false, PAUSES), at(1005).after(PATIENCE));
    breaker.given(ShardId(2), at(1125), &BOUNDS);
    assert!(!breaker.ready(ShardId(1), at(1126), PAUSES));
    assert!(breaker.ready(ShardId(2), at(1126), PAUSES));
    assert_eq!(breaker.trips, 2);
}

#[test]
fn a_loop_is_more_than_a_round_of_the_fleet_and_than_the_day_has_hours_for() {
    let mut breaker = Breaker::default();
    // Each shard of the fleet has a new session every two minutes.
    let mut stops = |given: u32| {
        let now = at(1000 + u64::from(given) * 8);
        breaker.given(ShardId(given % 16), now, &BOUNDS)
    };
    let given = (0..1000).find(|&given| stops(given)).expect("it ends");
    assert_eq!(given, 16 + 1000 / 24);
    let mut breaker = Breaker::default();
    // Once in an hour.
    for round in 0..24 {
        for id in 0..16 {
            assert!(!breaker.given(ShardId(id), at(1000 + round * 3600), &BOUNDS));
        }
    }
    let unknown = Bounds {
        a_day: None,
        ..BOUNDS
    };
    let mut breaker = Breaker::default();
    for _ in 0..10_000 {
        assert!(!breaker.given(ShardId(0), at(1000), &unknown));
    }
}

#[test]
fn the_next_master_goes_on_where_this_one_was() {
    let mut breaker = Breaker::default();
    storm(&mut breaker, at(1000));
    breaker.given(ShardId(1), at(1005), &BOUNDS);
    breaker.came_to_nothing(ShardId(1), at(1006));
    let mut known = Identifies::default();
    breaker.note(&mut known, at(1010));
    let next = Breaker::recovered(&known.clone().older(20 * SECOND), at(100));
    assert!(next.is_open());
    assert_eq!(next.opens(false, PAUSES), at(110));
    let held = next.held(at(100), PAUSES).unwrap_or(Held {
        why: String::new(),
        since: SECOND,
        next: SECOND,
        trial: None,
    });
    assert!(held.why.contains("within a minute"));
    assert_eq!(held.since, 30 * SECOND);
    assert!(!Breaker::recovered(&known.older(CALM), at(100)).is_open());
}
