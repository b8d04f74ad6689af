use super::{super::Level, *};

fn shard(shard: u32, state: &'static str) -> ShardView {
    ShardView {
        shard,
        state,
        owner: Some("aa".to_owned()),
        session_began_unix_ms: Some(1000),
        replay_budget_seconds: Some(30),
        ..ShardView::default()
    }
}

/// One whose oldest event has been with its handler for so long.
fn hangs(number: u32, behind: u64, seconds: u64) -> ShardView {
    ShardView {
        behind,
        replayed_at_most: 1000,
        unfinished: Some(baton_core::view::UnfinishedView {
            sequence: 101,
            kind: "MESSAGE_CREATE".to_owned(),
            guild: 41,
            age_ms: seconds * 1000,
        }),
        ..shard(number, "serving")
    }
}

fn slave() -> SlaveView {
    SlaveView {
        slave: "aa".to_owned(),
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        role: "owner",
        connected: true,
        finished: 1000,
        lag_ms: Some(3),
        heartbeat_ms: Some(20),
        silent_ms: Some(900),
        ..SlaveView::default()
    }
}

fn view() -> View {
    View {
        shard_count: 2,
        shards: vec![shard(0, "serving"), shard(1, "serving")],
        slaves: vec![slave()],
        identifies_left: Some(900),
        ..View::default()
    }
}

fn worst(view: &View) -> (&'static str, Level) {
    let findings = examine(view, 5000);
    let worst = findings.into_iter().max_by_key(|finding| finding.level);
    worst.map_or(("", Level::Ok), |finding| (finding.check, finding.level))
}

#[test]
fn a_fleet_that_is_well_has_each_check_once_and_nothing_to_do() {
    let findings = examine(&view(), 5000);
    let checks: BTreeSet<_> = findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks.len(), findings.len());
    assert_eq!(checks.len(), 10);
    assert!(
        findings.iter().all(|finding| finding.next.is_none()),
        "{findings:?}"
    );
}

#[test]
fn each_trouble_is_found_and_says_what_to_do() {
    type Change = fn(&mut View);
    let troubles: [(&str, Level, Change); 20] = [
        ("link", Level::Error, |view| {
            view.slaves[0].answered_ms_ago = Some(17_000);
            view.slaves[0].hangs = true;
        }),
        ("shards", Level::Error, |view| {
            view.shards[1].state = "unreachable"
        }),
        ("link", Level::Error, |view| {
            view.slaves[0].silent_ms = Some(61_000)
        }),
        ("link", Level::Warning, |view| {
            view.slaves[0].heartbeat_ms = Some(1001)
        }),
        ("lag", Level::Warning, |view| {
            view.slaves[0].lag_ms = Some(16_000)
        }),
        ("lag", Level::Error, |view| {
            view.slaves[0].lag_ms = Some(31_000)
        }),
        ("unfinished", Level::Warning, |view| {
            view.shards[1] = hangs(1, 300, 5);
        }),
        ("unfinished", Level::Warning, |view| {
            view.shards[1] = hangs(1, 3, 90);
        }),
        ("unfinished", Level::Error, |view| {
            view.shards[1] = hangs(1, 800, 90);
        }),
        ("handlers", Level::Warning, |view| {
            view.slaves[0].full_percent = 1
        }),
        ("handlers", Level::Warning, |view| {
            view.slaves[0].failed = 11
        }),
        ("builds", Level::Warning, |view| {
            let build = "v2".to_owned();
            view.slaves.push(SlaveView { build, ..slave() });
        }),
        ("clock", Level::Warning, |view| {
            view.shards[0].session_began_unix_ms = Some(10_001);
        }),
        ("identify", Level::Warning, |view| {
            view.identifies_left = Some(1)
        }),
        ("identify", Level::Error, |view| {
            view.identifies_left = Some(90);
            view.identifies_reserve = Some(100);
            view.identifies_waiting = 1;
        }),
        ("identify", Level::Error, |view| view.identifies_refused = 2),
        ("identify", Level::Error, |view| {
            view.identifies_held = Some("16 of 16 shards lost their sessions".to_owned());
        }),
        ("shards", Level::Error, |view| {
            view.shards[1].state = "no session";
            view.deploy = Some(baton_core::view::DeployView::default());
        }),
        ("lease", Level::Warning, |view| {
            view.slaves[0].lease_refused = true;
        }),
        ("journal", Level::Error, |view| view.journal_fails = true),
    ];
    for (check, level, change) in troubles {
        let mut view = view();
        change(&mut view);
        assert_eq!(worst(&view), (check, level), "{:?}", examine(&view, 5000));
        let findings = examine(&view, 5000);
        let bad = findings.iter().filter(|finding| finding.level > Level::Ok);
        assert!(bad.into_iter().all(|finding| finding.next.is_some()));
    }
}

#[test]
fn a_lag_that_came_with_a_deploy_names_the_way_back() {
    let lag_of = |ago, before, lag| {
        let mut view = view();
        view.slaves[0].deployed_ms_ago = ago;
        view.slaves[0].lag_before_ms = before;
        view.slaves[0].lag_ms = Some(lag);
        let mut findings = examine(&view, 5000).into_iter();
        let lag = findings.find(|finding| finding.check == "lag");
        lag.and_then(|finding| Some((finding.level, finding.next?)))
    };
    let (level, next) = lag_of(Some(120_000), Some(20), 14_000).expect("it is found");
    assert_eq!(level, Level::Warning);
    assert!(next.contains("20 ms before the deploy 2 min ago"), "{next}");
    assert!(next.contains("baton-master rollback"), "{next}");
    let (level, next) = lag_of(Some(120_000), Some(20), 31_000).expect("it is found");
    assert!(
        level == Level::Error && next.contains("baton-master rollback"),
        "{next}"
    );
    // As before, or long ago, or with none: no fault of a deploy.
    assert_eq!(lag_of(Some(120_000), Some(9000), 14_000), None);
    assert_eq!(lag_of(Some(7_200_000), Some(20), 14_000), None);
    assert_eq!(lag_of(None, None, 14_000), None);
}

#[test]
fn a_lag_that_every_user_notices_is_named_however_much_discord_replays() {
    let lag_of = |budget, lag| {
        let mut view = view();
        for shard in &mut view.shards {
            shard.replay_budget_seconds = budget;
        }
        view.slaves[0].lag_ms = Some(lag);
        let mut findings = examine(&view, 5000).into_iter();
        let lag = findings.find(|finding| finding.check == "lag");
        lag.map(|finding| (finding.level, finding.detail))
    };
    for budget in [Some(3000), None] {
        let (level, detail) = lag_of(budget, 109_000).expect("it is looked at");
        assert_eq!(level, Level::Warning);
        assert!(detail.contains("v1 is 109 s old"), "{detail}");
        let (level, _) = lag_of(budget, 20_000).expect("it is looked at");
        assert_eq!(level, Level::Ok);
    }
}

#[test]
fn shards_on_their_way_in_a_deploy_are_no_trouble() {
    let mut view = view();
    view.shards[0].state = "sealing";
    assert_eq!(worst(&view), ("shards", Level::Error));
    view.deploy = Some(baton_core::view::DeployView::default());
    assert_eq!(worst(&view).1, Level::Ok);
}
