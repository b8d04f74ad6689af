//! A slave whose broker takes nothing.

use super::*;

/// A serves one shard, which got ten events a second for 20 s. So the service replays its
/// events of 100 s.
fn serving() -> Rig {
    let mut rig = Rig::serving(1);
    let slave = rig.core.fleet.slaves.get_mut(&A).unwrap();
    slave.hello.version = Version::LAG;
    for second in 1..=20 {
        rig.wait(SECOND);
        rig.say(A, checkpoint(0, 1, 100 + second * 10));
    }
    rig
}

/// Its oldest unfinished event is so old, and its broker has taken nothing for so long.
fn pong(lag: Duration, refused: Duration) -> ToMaster {
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap();
    ToMaster::Pong(Pong {
        lag_ms: ms(lag),
        sink: Some(Box::new(SinkReport {
            broker: "nats://b:4222".to_owned(),
            waiting: 256,
            refused: u64::from(refused > Duration::ZERO),
            refused_ms: ms(refused),
            reason: "maximum bytes exceeded".to_owned(),
            ..SinkReport::default()
        })),
        ..Pong::default()
    })
}

fn told(actions: Vec<Action>) -> Vec<String> {
    let actions = actions.into_iter();
    let alarms = actions.filter_map(|action| match action {
        Action::Tell(News::Alarm { detail }) => Some(detail),
        _ => None,
    });
    alarms.filter(|it| it.contains("publishes")).collect()
}

fn sink(rig: &Rig) -> SinkView {
    *rig.core.view(rig.now).slaves[0].sink.clone().unwrap()
}

#[test]
fn what_discord_replays_is_reckoned_by_what_came_before_the_window_was_full() {
    let mut rig = serving();
    rig.say(A, pong(Duration::ZERO, Duration::ZERO));
    let well = sink(&rig);
    assert_eq!((well.troubled_ms, well.covered_ms), (None, None));
    // From now on nothing is read, and the shard seems to get nothing.
    for seconds in 1..=40 {
        rig.wait(SECOND);
        rig.say(A, pong((5 + seconds) * SECOND, seconds * SECOND));
    }
    let budget = rig.core.view(rig.now).shards[0].replay_budget_seconds;
    assert_eq!(budget, None, "by what comes now");
    rig.wait(2 * SECOND);
    let away = sink(&rig);
    assert_eq!(
        (away.troubled_ms, away.covered_ms),
        (Some(42_000), Some(53_000))
    );
    // The oldest were taken, and others are refused still.
    rig.say(A, pong(10 * SECOND, 42 * SECOND));
    assert_eq!(sink(&rig).covered_ms, Some(90_000));
    rig.say(A, pong(Duration::ZERO, Duration::ZERO));
    let well = sink(&rig);
    assert_eq!((well.troubled_ms, well.covered_ms), (None, None));
}

#[test]
fn a_shard_that_is_not_connected_any_more_is_covered_while_its_session_lasts() {
    let mut rig = serving();
    for seconds in 1..=15 {
        rig.wait(SECOND);
        rig.say(A, pong(seconds * SECOND, seconds * SECOND));
    }
    assert_eq!(sink(&rig).covered_ms, Some(85_000), "its window is full");
    rig.say(A, progress(0, 1, Step::Reconnecting));
    rig.wait(10 * SECOND);
    rig.say(A, pong(SECOND, 25 * SECOND));
    let window = rig.core.settings.resume_window;
    assert_eq!(window, 90 * SECOND);
    assert_eq!(sink(&rig).covered_ms, Some(80_000), "its session");
    rig.say(A, pong(25 * SECOND, 25 * SECOND));
    assert_eq!(sink(&rig).covered_ms, Some(75_000), "its replay");
    // It resumes the session, and reads nothing.
    rig.wait(35 * SECOND);
    rig.say(A, progress(0, 1, Step::Hello));
    rig.say(A, pong(SECOND, 60 * SECOND));
    assert_eq!(sink(&rig).covered_ms, Some(90_000), "its session, anew");
}

#[test]
fn a_broker_that_takes_nothing_is_an_alarm_once_and_once_more_when_nothing_covers_it() {
    let mut rig = serving();
    let mut said = Vec::new();
    for seconds in 1..=130_u32 {
        rig.wait(SECOND);
        let alarms = told(rig.say(A, pong(seconds * SECOND, seconds * SECOND)));
        said.extend(alarms.into_iter().map(|alarm| (seconds, alarm)));
    }
    let at: Vec<u32> = said.iter().map(|(seconds, _)| *seconds).collect();
    assert_eq!(at, [15, 100], "{said:#?}");
    let (_, first) = &said[0];
    for part in [
        "nats://b:4222",
        "maximum bytes exceeded",
        "256 events wait",
        "for another 85 s",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(
        said[1].1.contains("does not keep all of them any more"),
        "{said:#?}"
    );
    // It is mended, and away once more.
    rig.say(A, pong(Duration::ZERO, Duration::ZERO));
    assert_eq!(told(rig.say(A, pong(SECOND, 14 * SECOND))).len(), 0);
    assert_eq!(told(rig.say(A, pong(SECOND, 15 * SECOND))).len(), 1);
}
