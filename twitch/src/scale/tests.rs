use proptest::prelude::*;

use super::*;

const COOLDOWN: i64 = 300;

fn rules(min: u32, max: u32) -> Rules {
    Rules {
        limit: 50,
        min,
        max,
        ..Rules::default()
    }
}

/// Steps until nothing changes any more; how many steps it took.
fn settle(scale: &mut Scale, channels: u64, rules: &Rules, now: &mut i64) -> usize {
    for steps in 0.. {
        let step = scale.step(channels, rules, Unix(*now));
        if step == Step::Stay {
            return steps;
        }
        assert!(steps < 1_000, "it never settles");
        scale.take(step, Unix(*now));
        *now += COOLDOWN;
    }
    0
}

#[test]
fn under_low_load_the_minimum_is_really_reached() {
    let rules = rules(2, 25);
    let mut scale = Scale::new(5);
    let mut now = 0;
    // 20 % of five units, where a floor that follows the count would stop at four.
    let steps = settle(&mut scale, 50, &rules, &mut now);
    assert_eq!((scale.units(), steps), (2, 3));
    settle(&mut scale, 0, &rules, &mut now);
    assert_eq!(scale.units(), 2);
}

#[test]
fn units_are_added_above_70_per_cent_of_real_use_for_each_count() {
    let rules = rules(1, 100);
    for units in 2..=25 {
        let scale = Scale::new(units);
        let at_70 = u64::from(units) * 35;
        assert_eq!(scale.step(at_70, &rules, Unix(0)), Step::Stay, "{units}");
        let above = scale.step(at_70 + 1, &rules, Unix(0));
        assert_eq!(above, Step::Out(units + 1), "{units}");
    }
}

#[test]
fn a_unit_is_taken_away_below_50_per_cent_and_only_if_the_others_have_room() {
    let rules = rules(1, 100);
    // Two units: 49 % of them are 98 % of the one that would be left.
    assert_eq!(Scale::new(2).step(49, &rules, Unix(0)), Step::Stay);
    assert_eq!(Scale::new(2).step(36, &rules, Unix(0)), Step::Stay);
    assert_eq!(Scale::new(2).step(35, &rules, Unix(0)), Step::In(1));
    // Ten units: half of them is where it begins.
    assert_eq!(Scale::new(10).step(250, &rules, Unix(0)), Step::Stay);
    assert_eq!(Scale::new(10).step(249, &rules, Unix(0)), Step::In(9));
}

#[test]
fn the_count_stays_for_the_cooldown_unless_channels_have_no_room() {
    let rules = rules(1, 100);
    let mut scale = Scale::new(10);
    scale.set(10, Unix(1_000));
    assert_eq!(scale.step(0, &rules, Unix(1_299)), Step::Stay);
    assert_eq!(scale.step(400, &rules, Unix(1_299)), Step::Stay);
    assert_eq!(scale.step(501, &rules, Unix(1_299)), Step::Out(15));
    assert_eq!(scale.step(0, &rules, Unix(1_300)), Step::In(9));
    assert_eq!(scale.step(400, &rules, Unix(1_300)), Step::Out(12));
    // A clock that was set back a little does not end the pause, and one that was set
    // back by a year does not make it a year.
    assert_eq!(scale.step(0, &rules, Unix(999)), Step::Stay);
    assert_eq!(scale.step(0, &rules, Unix(700)), Step::In(9));
}

#[test]
fn the_range_holds_whatever_was_stored() {
    let rules = rules(2, 4);
    assert_eq!(Scale::new(0).step(0, &rules, Unix(0)), Step::Out(2));
    assert_eq!(Scale::new(0).step(1_000, &rules, Unix(0)), Step::Out(4));
    assert_eq!(Scale::new(4).step(1_000, &rules, Unix(0)), Step::Stay);
    assert_eq!(Scale::new(9).step(1_000, &rules, Unix(0)), Step::In(8));
    let odd = Rules {
        limit: 0,
        min: 0,
        max: 0,
        cooldown: Duration::MAX,
        out_above: 0,
        in_below: 1_000,
    };
    assert_eq!(Scale::new(1).step(u64::MAX, &odd, Unix(0)), Step::Stay);
    assert_eq!(
        Scale::new(u32::MAX).step(0, &odd, Unix(0)),
        Step::In(u32::MAX - 1)
    );
}

#[test]
fn the_count_and_its_pause_survive_a_restart() {
    let rules = rules(1, 100);
    let mut scale = Scale::new(3);
    scale.take(scale.step(400, &rules, Unix(1_000)), Unix(1_000));
    let stored = serde_json::to_string(&scale).expect("it is data");
    let restored: Scale = serde_json::from_str(&stored).expect("it was stored");
    assert_eq!(restored.units(), 12);
    assert_eq!(restored, scale);
    assert_eq!(restored.step(0, &rules, Unix(1_100)), Step::Stay);
}

#[test]
fn the_least_loaded_unit_goes_and_of_several_the_last_one() {
    let loads = [("a", 7), ("b", 2), ("c", 2), ("d", 90)];
    assert_eq!(victim(loads), Some("c"));
    assert_eq!(victim([("a", 0); 0]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_a_constant_load_it_settles_and_stays(
        channels in 0_u64..10_000,
        units in 0_u32..200,
        limit in 1_u32..200,
        min in 1_u32..5,
        max in 5_u32..150,
    ) {
        let rules = Rules { limit, min, max, ..Rules::default() };
        let mut scale = Scale::new(units);
        let mut now = 0;
        settle(&mut scale, channels, &rules, &mut now);
        prop_assert!((min..=max).contains(&scale.units()));
        for _ in 0..10 {
            prop_assert_eq!(scale.step(channels, &rules, Unix(now)), Step::Stay);
            now += COOLDOWN;
        }
        let load = 100 * channels / (u64::from(scale.units()) * u64::from(limit));
        prop_assert!(load <= 70 || scale.units() == max);
    }

    /// A load that goes up and down, as a day does, with noise on it.
    #[test]
    fn no_unit_goes_within_the_cooldown_of_one_that_came(
        noise in prop::collection::vec(0_u64..400, 500),
        period in 20_usize..200,
        peak in 100_u64..3_000,
        every in 10_i64..120,
    ) {
        let rules = rules(1, 100);
        let mut scale = Scale::new(1);
        let mut came = None;
        for (at, noise) in noise.into_iter().enumerate() {
            let phase = at % (2 * period);
            let up = phase.min(2 * period - phase) as u64;
            let channels = peak * up / period as u64 + noise;
            let now = i64::try_from(at).expect("small") * every;
            let step = scale.step(channels, &rules, Unix(now));
            match step {
                Step::Stay => {}
                Step::Out(to) => {
                    prop_assert!(to > scale.units());
                    came = Some(now);
                }
                Step::In(to) => {
                    prop_assert_eq!(to + 1, scale.units());
                    prop_assert!(came.is_none_or(|came| now - came >= COOLDOWN));
                    // It would not be added again at once.
                    let room = u64::from(to) * u64::from(rules.limit);
                    prop_assert!(100 * channels <= 70 * room);
                }
            }
            scale.take(step, Unix(now));
        }
    }
}
