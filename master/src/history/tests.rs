#![allow(clippy::unwrap_used)]

mod deaths;

use baton_protocol::Epoch;

use super::{deploys::spread, *};
use baton_core::event::{Death, DeployStep, EndedBy, Losses, RequestId};

const OLD: SlaveId = SlaveId(1);
const NEW: SlaveId = SlaveId(2);

/// A history that hears news as the driver stamps them.
#[derive(Default)]
struct Heard {
    history: History,
    gaps: crate::news::Gaps,
}

impl Heard {
    fn open(data_dir: &Path, term: Term) -> Self {
        Self {
            history: History::open(data_dir, term),
            ..Self::default()
        }
    }

    fn told(&mut self, at_ms: u64, news: News) {
        self.told_with(at_ms, news, None);
    }

    fn told_with(&mut self, at_ms: u64, news: News, brought: Option<Brought>) {
        let mut stamped = Stamped::at(at_ms * 1000, news);
        stamped.gap = self.gaps.ended_by(stamped.at_us, &stamped.news);
        stamped.brought = brought;
        self.history.happened(&Arc::new(stamped));
    }
}

impl std::ops::Deref for Heard {
    type Target = History;

    fn deref(&self) -> &History {
        &self.history
    }
}

fn joined(slave: SlaveId, build: &str) -> News {
    News::SlaveJoined {
        slave,
        build: build.to_owned(),
        slot: "main".to_owned(),
        back: false,
        host: None,
    }
}

fn began(deploy: u64) -> News {
    News::DeployAccepted {
        request: None,
        deploy: DeployId(deploy),
        slot: "main".to_owned(),
        from: Some(OLD),
        command: None,
        goes_on: false,
    }
}

fn migration(shard: u32, phase: MovePhase) -> News {
    News::Migration {
        deploy: Some(DeployId(1)),
        shard: ShardId(shard),
        from: OLD,
        to: NEW,
        epoch: Epoch(2),
        phase,
    }
}

fn ended(outcome: Outcome) -> News {
    deploy_ended(1, outcome)
}

fn deploy_ended(deploy: u64, outcome: Outcome) -> News {
    News::DeployEnded {
        deploy: DeployId(deploy),
        outcome,
        moved: 1,
        migrating: Duration::from_millis(7),
        total: Duration::from_millis(9),
        losses: Losses::default(),
    }
}

fn death() -> Death {
    Death {
        slave: None,
        slot: "main".to_owned(),
        build: None,
        pid: 7,
        host: None,
        ending: EndedBy::Code(1),
        lived: Some(Duration::from_millis(200)),
        last_lines: vec!["no token".to_owned()],
    }
}

/// A thread writes: until so many events are there.
fn until_written(dir: &Path, events: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while chronicle::read(dir).len() < events && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
}

#[test]
fn the_gaps_of_a_deploy_are_those_that_ended_in_it() {
    let mut history = Heard::default();
    for (at_ms, news) in [
        (900, began(1)),
        (2000, migration(0, MovePhase::Sealing)),
        (2001, migration(1, MovePhase::Sealing)),
        (2004, migration(0, MovePhase::Moved)),
        (2401, migration(1, MovePhase::Back)),
        // Its deploy ends with the shard in hand.
        (3000, migration(2, MovePhase::Sealing)),
        (3001, ended(Outcome::HandedOn)),
        (9000, migration(2, MovePhase::Moved)),
    ] {
        history.told(at_ms, news);
    }
    assert_eq!(history.deploys()[0].gaps_ms, [4.0, 400.0]);
    let last = history.last().and_then(|last| last.gap).unwrap();
    assert_eq!((last.shards, last.p50_ms, last.max_ms), (2, 400, 400));
}

#[test]
fn a_deploy_is_remembered_with_its_builds_steps_and_reason() {
    let mut history = Heard::default();
    let reason = "its handlers fail".to_owned();
    for (at_ms, news) in [
        (0, joined(OLD, "v1")),
        (5000, began(1)),
        (5100, joined(NEW, "v2")),
        (
            5100,
            News::DeployStep {
                deploy: DeployId(1),
                step: DeployStep::Canary,
            },
        ),
        (5200, migration(0, MovePhase::Copying)),
        (
            5300,
            ended(Outcome::RolledBack {
                shard: None,
                reason: reason.clone(),
            }),
        ),
    ] {
        history.told(at_ms, news);
    }
    let deploys = history.deploys();
    let [one] = deploys.as_slice() else {
        panic!("{deploys:?}");
    };
    assert_eq!(
        (one.from.as_deref(), one.to.as_deref()),
        (Some("v1"), Some("v2"))
    );
    assert_eq!(
        (&*one.outcome, one.reason.as_deref()),
        ("rolled_back", Some(&*reason))
    );
    assert_eq!(
        one.steps,
        [StepAt {
            at_ms: 100,
            step: "canary".into()
        }]
    );
    assert_eq!((one.took_ms, one.migrating_ms, one.shards), (9, 7, 1));
}

#[test]
fn whoever_begins_to_look_in_the_middle_of_a_deploy_is_told_how_far_it_is() {
    let mut history = Heard::default();
    assert_eq!(history.running(), None);
    for (at_ms, news) in [
        (0, joined(OLD, "v1")),
        (5000, began(1)),
        (5100, joined(NEW, "v2")),
        (5200, migration(0, MovePhase::Sealing)),
        (5204, migration(0, MovePhase::Moved)),
        (5203, migration(1, MovePhase::Sealing)),
        (5210, migration(1, MovePhase::Moved)),
        (5220, migration(2, MovePhase::Sealing)),
    ] {
        history.told(at_ms, news);
    }
    let running = history.running().unwrap();
    let builds = (running.from.as_deref(), running.to.as_deref());
    assert_eq!(builds, (Some("v1"), Some("v2")));
    assert_eq!(running.handed_over, 2);
    assert_eq!(running.migrates_us, Some((5_200_000, 5_210_000)));
    assert_eq!(running.slowest, Some(Slowest { shard: 1, ms: 7.0 }));
    history.told(5300, ended(Outcome::Done));
    assert_eq!(history.running(), None);
}

#[test]
fn deploys_of_two_slots_beside_each_other_are_told_apart() {
    let mut history = Heard::default();
    let west = |deploy| News::DeployAccepted {
        request: None,
        deploy: DeployId(deploy),
        slot: "west".to_owned(),
        from: None,
        command: None,
        goes_on: false,
    };
    for (at_ms, news) in [
        (0, joined(OLD, "v1")),
        (1000, began(1)),
        (2000, west(2)),
        (5200, migration(0, MovePhase::Sealing)),
        (5204, migration(0, MovePhase::Moved)),
    ] {
        history.told(at_ms, news);
    }
    let handed_over = |history: &Heard, deploy| {
        let underway = history.underway(DeployId(deploy));
        underway.map(|underway| (underway.slot, underway.handed_over))
    };
    assert_eq!(handed_over(&history, 1), Some(("main".to_owned(), 1)));
    assert_eq!(handed_over(&history, 2), Some(("west".to_owned(), 0)));
    history.told(5300, ended(Outcome::Done));
    assert_eq!(handed_over(&history, 1), None);
    assert_eq!(handed_over(&history, 2), Some(("west".to_owned(), 0)));
}

#[test]
fn a_deploy_whose_build_never_joined_was_from_the_one_that_serves() {
    let mut history = Heard::default();
    history.told(0, joined(OLD, "v1"));
    history.told(1, began(1));
    let reason = "the slave ended before it joined".to_owned();
    history.told(2, ended(Outcome::Aborted { reason }));
    let deploys = history.deploys();
    let builds = deploys
        .iter()
        .map(|one| (one.from.as_deref(), one.to.as_deref()));
    assert_eq!(builds.collect::<Vec<_>>(), [(Some("v1"), None)]);
}

#[test]
fn only_the_last_deploys_are_remembered() {
    let mut history = Heard::default();
    for number in 0..80 {
        history.told(number, began(number));
        history.told(number, deploy_ended(number, Outcome::Done));
    }
    let numbers: Vec<_> = history.deploys().iter().map(|one| one.deploy).collect();
    assert_eq!(numbers, (30..80).collect::<Vec<_>>());
}

#[test]
fn a_spread_is_of_what_was_measured() {
    let of = |ms: &[f64]| spread(ms).map(|gap| (gap.p50_ms, gap.p99_ms, gap.max_ms));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7.0]), Some((7, 7, 7)));
    let many: Vec<f64> = (0..=100).map(f64::from).collect();
    assert_eq!(of(&many), Some((50, 99, 100)));
}

#[test]
fn the_next_master_knows_what_happened_under_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let term = |counter| Term {
        counter,
        ..Term::default()
    };
    let mut first = Heard::open(dir.path(), term(1));
    let detail = "act".to_owned();
    first.told(0, joined(OLD, "v1"));
    first.told(1, News::Alarm { detail });
    let brought = Brought {
        command: Some(vec!["my-bot".to_owned()]),
        before: None,
    };
    first.told_with(2, began(1), Some(brought.clone()));
    first.told(3, migration(0, MovePhase::Sealing));
    first.told(9, migration(0, MovePhase::Moved));
    first.told(10, ended(Outcome::Done));
    first.told(11, News::SlaveEnded(Box::new(death())));
    first.leaves();
    let kept = first.deploys();
    drop(first);
    until_written(dir.path(), 7);
    let second = History::open(dir.path(), term(2));
    assert_eq!(second.deploys(), kept);
    assert_eq!(kept[0].brought, brought);
    assert_eq!(second.last().unwrap().gap.unwrap().max_ms, 6);
    let [died] = second.deaths().try_into().unwrap();
    assert_eq!(
        (&*died.ending, &*died.last_lines[0]),
        ("exit code 1", "no token")
    );
    let kinds: Vec<String> = second
        .events(0)
        .iter()
        .map(|event| event["type"].to_string())
        .collect();
    assert_eq!(
        kinds.join(" "),
        r#""master_started" "slave_joined" "alarm" "deploy_accepted" "deploy_ended" "slave_ended" "master_left" "master_started""#
    );
    assert!(second.events(u64::MAX).is_empty());
}

#[test]
fn a_deploy_whose_master_was_killed_is_said_to_have_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = |history: &History| {
        let events = history.events(0);
        let kinds = events.iter().map(|event| event["type"].to_string());
        kinds.collect::<Vec<_>>().join(" ")
    };
    let mut first = Heard::open(dir.path(), Term::default());
    first.told(2, began(7));
    drop(first);
    until_written(dir.path(), 2);
    let second = History::open(dir.path(), Term::default());
    let said = r#""master_started" "deploy_accepted" "master_started" "deploy_cut_off""#;
    assert_eq!(kinds(&second), said);
    assert_eq!(second.events(0)[3]["deploy"], 7);
    drop(second);
    until_written(dir.path(), 4);
    let third = History::open(dir.path(), Term::default());
    assert_eq!(kinds(&third), format!(r#"{said} "master_started""#), "once");
}

#[test]
fn a_deploy_that_only_the_journal_knows_is_said_to_have_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), Term::default());
    let cut_off = || {
        let events = history.events(0).into_iter();
        let cut_off = events.filter(|event| event["type"] == "deploy_cut_off");
        cut_off
            .map(|event| event["deploy"].as_u64())
            .collect::<Vec<_>>()
    };
    let last = |deploy| event::LastDeploy {
        deploy: DeployId(deploy),
        slot: "main".to_owned(),
        command: None,
        done: None,
    };
    let now = unix_ms();
    history.remembers(&last(0), now);
    history.remembers(&last(7), 0);
    // The history does not reach back to it.
    history.remembers(&last(7), now - 60_000);
    assert_eq!(cut_off(), []);
    history.remembers(&last(7), now);
    history.remembers(&last(7), now);
    assert_eq!(cut_off(), [Some(7)], "once");
}
