//! What the text says.
#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_update, reason = "the picture grows")]

mod dashboard;
mod parsed;

use baton_core::{
    event::{DeployStep, Evidence, Losses},
    view::{DeployView, ShardView, SinkView, SlaveView, SlotView, View},
};
use baton_protocol::{
    DeployId, ShardId,
    message::{
        Absent, Checkpoint, Clients, Failed, IdentifyRequest, Library, Progress, Refusals, Resume,
        SinkReport, StoreRoom, Waiting,
    },
};

use self::parsed::Parsed;
use super::*;
use crate::{counters::Counts, news::Gap};

const SLAVE: SlaveId = SlaveId(0xa1);

fn view() -> View {
    let shard = |shard, state, budget| ShardView {
        shard,
        state,
        events_per_1000_s: 2500,
        replay_budget_seconds: budget,
        ..ShardView::default()
    };
    View {
        slots: vec![SlotView {
            name: "main".to_owned(),
            slave: Some(SLAVE.to_string()),
            standbys_wanted: 2,
            ..SlotView::default()
        }],
        slaves: vec![SlaveView {
            slave: SLAVE.to_string(),
            slot: "main".to_owned(),
            build: "v \"1\"\n".to_owned(),
            pid: std::process::id(),
            role: "owner",
            connected: true,
            shards: 3,
            lag_ms: Some(120),
            store: Some(StoreRoom {
                used: 5 << 30,
                held_up: 2,
                held_up_ms: 1500,
                stale_readers: 3,
                ..StoreRoom::default()
            }),
            ..SlaveView::default()
        }],
        shards: vec![
            shard(0, "serving", Some(400)),
            shard(1, "taking back", Some(90)),
            shard(2, "serving", None),
        ],
        deploy: Some(DeployView {
            total: 3,
            moved: 1,
            in_hand: 1,
            at_once: 2,
            ..DeployView::default()
        }),
        identifies_left: Some(900),
        identifies_reset_ms: Some(1500),
        identifies_reserve: Some(100),
        ..View::default()
    }
}

fn parsed(metrics: &Metrics, view: &View) -> Parsed {
    let text = metrics.text(&Scrape {
        view,
        counts: Counts {
            connections: 4,
            ..Counts::default()
        },
        version: "1.2.3",
        started: Duration::from_secs(1_700_000_000),
        uptime: Duration::from_millis(2500),
    });
    Parsed::of(&text)
}

fn told(news: News) -> Arc<Stamped> {
    Arc::new(Stamped::at(0, news))
}

fn ended(outcome: Outcome) -> Arc<Stamped> {
    let news = News::DeployEnded {
        deploy: DeployId(1),
        outcome,
        moved: 1,
        migrating: Duration::ZERO,
        total: Duration::ZERO,
        losses: Losses::default(),
    };
    told(news)
}

#[test]
fn every_name_has_its_type() {
    let metrics = Metrics::default();
    metrics.watched(SLAVE);
    metrics.said(SLAVE, &ToMaster::Checkpoint(Checkpoint::default()));
    let parsed = parsed(&metrics, &view());
    assert_eq!(
        parsed.names("counter"),
        [
            "baton_alarms",
            "baton_connections",
            "baton_connections_garbled",
            "baton_connections_refused",
            "baton_connections_stuck",
            "baton_connections_too_many",
            "baton_deploys",
            "baton_disbelieved",
            "baton_events_given_up",
            "baton_identify_permits",
            "baton_identify_requests",
            "baton_journal_save_failures",
            "baton_launches",
            "baton_log_lines_dropped",
            "baton_reconnects",
            "baton_resumes",
            "baton_sessions_lost",
            "baton_shard_failures",
            "baton_slave_deaths",
            "baton_slave_events",
            "baton_slave_events_failed",
            "baton_slave_full_seconds",
            "baton_slaves_joined",
            "baton_soaks_shortened",
            "baton_store_stale_readers",
            "process_cpu_seconds",
        ]
    );
    assert_eq!(
        parsed.names("gauge"),
        [
            "baton_adopting",
            "baton_deploy_running",
            "baton_deploy_shards",
            "baton_events_per_second",
            "baton_identifies_left",
            "baton_identifies_refused_in_row",
            "baton_identifies_reserve",
            "baton_identifies_reset_seconds",
            "baton_identifies_waiting",
            "baton_replay_budget_least_seconds",
            "baton_shards",
            "baton_slave_checkpoint_age_seconds",
            "baton_slave_connected",
            "baton_slave_handler_lag_seconds",
            "baton_slave_resident_memory_bytes",
            "baton_slave_shards",
            "baton_slaves",
            "baton_slot_failed_launches",
            "baton_slot_filled",
            "baton_slot_standbys_built",
            "baton_slot_standbys_wanted",
            "baton_store_file_bytes",
            "baton_store_file_system_bytes",
            "baton_store_free_bytes",
            "baton_store_fullest_bytes",
            "baton_store_held_up_seconds",
            "baton_store_held_up_shards",
            "baton_store_limit_bytes",
            "baton_store_readers",
            "baton_store_set_aside",
            "baton_store_used_bytes",
            "baton_unfinished_events_behind",
            "baton_unfinished_replay_share",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_uptime_seconds",
        ]
    );
    assert_eq!(
        parsed.names("histogram"),
        [
            "baton_gap_seconds",
            "baton_journal_save_seconds",
            "baton_link_round_trip_seconds",
        ]
    );
    assert_eq!(parsed.names("info"), ["baton_build"]);
}

#[test]
fn the_fleet_is_shown_as_it_is() {
    let metrics = Metrics::default();
    metrics.watched(SLAVE);
    metrics.said(SLAVE, &ToMaster::Checkpoint(Checkpoint::default()));
    let pong = Pong {
        number: 9,
        finished: 70,
        failed: 2,
        full_ms: 1500,
        lag_ms: 0,
        ..Pong::default()
    };
    metrics.said(SLAVE, &ToMaster::Pong(pong.clone()));
    let stranger = SlaveId(7);
    metrics.said(stranger, &ToMaster::Pong(pong));
    let parsed = parsed(&metrics, &view());
    let slave = format!(r#"{{slave="{SLAVE}",slot="main",build="v \"1\"\n"}}"#);
    for (series, value) in [
        (r#"baton_build_info{version="1.2.3"}"#, 1.0),
        ("process_uptime_seconds", 2.5),
        (r#"baton_shards{state="serving"}"#, 2.0),
        (r#"baton_shards{state="taking_back"}"#, 1.0),
        (r#"baton_shards{state="failed"}"#, 0.0),
        ("baton_events_per_second", 7.5),
        ("baton_replay_budget_least_seconds", 90.0),
        ("baton_identifies_left", 900.0),
        ("baton_identifies_reset_seconds", 1.5),
        (r#"baton_slaves{role="owner"}"#, 1.0),
        (r#"baton_slot_filled{slot="main"}"#, 1.0),
        (r#"baton_deploy_shards{what="at_once"}"#, 2.0),
        ("baton_deploy_running", 1.0),
        ("baton_connections_total", 4.0),
        (&format!("baton_slave_events_total{slave}"), 70.0),
        (&format!("baton_slave_events_failed_total{slave}"), 2.0),
        (&format!("baton_slave_full_seconds_total{slave}"), 1.5),
        (&format!("baton_slave_shards{slave}"), 3.0),
        (&format!("baton_slave_handler_lag_seconds{slave}"), 0.12),
        (&format!("baton_store_used_bytes{slave}"), 5_368_709_120.0),
        (&format!("baton_store_held_up_shards{slave}"), 2.0),
        (&format!("baton_store_held_up_seconds{slave}"), 1.5),
        (&format!("baton_store_stale_readers_total{slave}"), 3.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
    let memory = format!("baton_slave_resident_memory_bytes{slave}");
    assert!(parsed.value(&memory) > 0.0);
    let age = format!("baton_slave_checkpoint_age_seconds{slave}");
    assert!((0.0..60.0).contains(&parsed.value(&age)));
    let of_stranger = format!("{stranger}");
    assert!(
        !parsed
            .values
            .keys()
            .any(|series| series.contains(&of_stranger))
    );
}

#[test]
fn clients_are_shown_where_a_slave_serves_some() {
    let metrics = Metrics::default();
    let mut view = view();
    let without = parsed(&metrics, &view);
    assert!(!without.types.keys().any(|name| name.contains("proxy")));
    let library = |name: &str, clients| Library {
        name: name.to_owned(),
        clients,
    };
    view.slaves[0].clients = Some(Box::new(Clients {
        listening: true,
        libraries: vec![library("hikari", 2), library("hikari", 1)],
        unattended: 1,
        absent: vec![Absent {
            away_ms: 1500,
            ..Absent::default()
        }],
        kept_bytes: 10,
        kept_limit: 100,
        fullest_bytes: 30,
        shard_limit: 60,
        lost: 4,
        waiting: vec![Waiting {
            shard: ShardId(3),
            events: 7,
            bytes: 70,
            oldest_ms: 2500,
            full_ms: None,
            gives_up_ms: Some(500),
        }],
        refused: vec![Refusals {
            code: 4014,
            count: 2,
            ..Refusals::default()
        }],
        ..Clients::default()
    }));
    let parsed = parsed(&metrics, &view);
    let slave = format!(r#"slave="{SLAVE}",slot="main",build="v \"1\"\n""#);
    for (series, value) in [
        (
            format!(r#"baton_proxy_clients{{{slave},library="hikari"}}"#),
            3.0,
        ),
        (format!("baton_proxy_listening{{{slave}}}"), 1.0),
        (format!("baton_proxy_shards_without_client{{{slave}}}"), 1.0),
        (format!("baton_proxy_away_seconds{{{slave}}}"), 1.5),
        (format!("baton_proxy_kept_bytes{{{slave}}}"), 10.0),
        (format!("baton_proxy_kept_share{{{slave}}}"), 0.5),
        (format!("baton_proxy_events_lost_total{{{slave}}}"), 4.0),
        (
            format!(r#"baton_proxy_waiting_events{{{slave},shard="3"}}"#),
            7.0,
        ),
        (
            format!(r#"baton_proxy_waiting_bytes{{{slave},shard="3"}}"#),
            70.0,
        ),
        (
            format!(r#"baton_proxy_oldest_seconds{{{slave},shard="3"}}"#),
            2.5,
        ),
        (
            format!(r#"baton_proxy_gives_up_seconds{{{slave},shard="3"}}"#),
            0.5,
        ),
        (
            format!(r#"baton_proxy_refusals_total{{{slave},code="4014"}}"#),
            2.0,
        ),
    ] {
        assert_eq!(parsed.value(&series), value, "{series}");
    }
}

#[test]
fn brokers_are_shown_where_a_slave_publishes_to_one() {
    let metrics = Metrics::default();
    let mut view = view();
    let without = parsed(&metrics, &view);
    assert!(!without.types.keys().any(|name| name.contains("sink")));
    let sink = |troubled_ms, covered_ms| SinkView {
        report: SinkReport {
            confirmed: 90,
            repeats: 2,
            retries: 7,
            waiting: 5,
            confirm_p50_us: 1500,
            confirm_p99_us: 20_000,
            refused: 3,
            ..SinkReport::default()
        },
        troubled_ms,
        covered_ms,
    };
    view.slaves[0].sink = Some(Box::new(sink(Some(12_500), Some(80_000))));
    let shown = parsed(&metrics, &view);
    let slave = format!(r#"{{slave="{SLAVE}",slot="main",build="v \"1\"\n"}}"#);
    for (series, value) in [
        ("sink_confirmed_total", 90.0),
        ("sink_repeats_total", 2.0),
        ("sink_retries_total", 7.0),
        ("sink_waiting", 5.0),
        ("sink_refused", 3.0),
        ("sink_trouble_seconds", 12.5),
        ("sink_covered_seconds", 80.0),
        ("sink_confirm_median_seconds", 0.0015),
        ("sink_confirm_slowest_seconds", 0.02),
    ] {
        let series = format!("baton_{series}{slave}");
        assert_eq!(shown.value(&series), value, "{series}");
    }
    view.slaves[0].sink = Some(Box::new(sink(None, None)));
    let well = parsed(&metrics, &view);
    assert_eq!(
        well.value(&format!("baton_sink_trouble_seconds{slave}")),
        0.0
    );
    let covered = format!("baton_sink_covered_seconds{slave}");
    assert!(!well.values.contains_key(&covered));
}

#[test]
fn what_is_not_known_is_not_shown() {
    let mut view = view();
    view.identifies_left = None;
    view.identifies_reset_ms = None;
    view.identifies_reserve = None;
    view.deploy = None;
    let metrics = Metrics::default();
    metrics.watched(SLAVE);
    let gone = News::SlaveGone {
        slave: SLAVE,
        dead: Some(Evidence::Process),
        held: 0,
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        pid: 7,
    };
    metrics.happened(&told(gone));
    let parsed = parsed(&metrics, &view);
    for name in [
        "baton_identifies_left",
        "baton_identifies_reset",
        "baton_identifies_reserve",
        "baton_slave_resident_memory_bytes{",
    ] {
        let shown = parsed.values.keys().any(|series| series.starts_with(name));
        assert!(!shown, "{name}");
    }
    assert_eq!(parsed.value("baton_deploy_running"), 0.0);
}

#[test]
fn counts_are_there_before_their_first_event_and_move_with_it() {
    let metrics = Metrics::default();
    let view = view();
    let done = r#"baton_deploys_total{outcome="done"}"#;
    assert_eq!(parsed(&metrics, &view).value(done), 0.0);
    metrics.happened(&ended(Outcome::Done));
    metrics.happened(&ended(Outcome::Aborted {
        reason: String::new(),
    }));
    metrics.happened(&told(News::Alarm {
        detail: String::new(),
    }));
    let lost = News::SessionLost {
        shard: ShardId(0),
        slave: SlaveId(1),
    };
    metrics.happened(&told(lost));
    let said = |message| metrics.said(SLAVE, &message);
    said(ToMaster::IdentifyRequest(IdentifyRequest {
        cause: IdentifyCause::SessionLost,
        ..IdentifyRequest::default()
    }));
    for step in [Step::Reconnecting, Step::Serving] {
        said(ToMaster::Progress(Progress {
            step,
            ..Progress::default()
        }));
    }
    for close_code in [4014, 4999, 0] {
        said(ToMaster::Failed(Failed {
            close_code,
            ..Failed::default()
        }));
    }
    metrics.sent(&ToSlave::IdentifyPermit(Default::default()));
    metrics.sent(&ToSlave::Resume(Box::new(Resume {
        after: ResumeAfter::Death,
        ..Resume::default()
    })));
    metrics.saved(Durability::Now, Duration::from_millis(4), true);
    metrics.saved(Durability::Now, Duration::from_millis(4), false);
    metrics.answered(Duration::from_millis(2));
    let parsed = parsed(&metrics, &view);
    for (series, value) in [
        (done, 1.0),
        (r#"baton_deploys_total{outcome="aborted"}"#, 1.0),
        (r#"baton_deploys_total{outcome="forced"}"#, 0.0),
        ("baton_alarms_total", 1.0),
        ("baton_sessions_lost_total", 1.0),
        (
            r#"baton_identify_requests_total{cause="session_lost"}"#,
            1.0,
        ),
        (r#"baton_identify_requests_total{cause="cold"}"#, 0.0),
        ("baton_identify_permits_total", 1.0),
        ("baton_reconnects_total", 1.0),
        (r#"baton_shard_failures_total{close_code="4014"}"#, 1.0),
        (r#"baton_shard_failures_total{close_code="4013"}"#, 0.0),
        (r#"baton_shard_failures_total{close_code="other"}"#, 1.0),
        (r#"baton_shard_failures_total{close_code="none"}"#, 1.0),
        (r#"baton_resumes_total{after="death"}"#, 1.0),
        (r#"baton_resumes_total{after="seal"}"#, 0.0),
        (r#"baton_journal_save_seconds_count{durability="now"}"#, 2.0),
        ("baton_journal_save_failures_total", 1.0),
        (r#"baton_link_round_trip_seconds_bucket{le="0.001"}"#, 0.0),
        (r#"baton_link_round_trip_seconds_bucket{le="0.003"}"#, 1.0),
        (r#"baton_link_round_trip_seconds_bucket{le="+Inf"}"#, 1.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
}

#[test]
fn gaps_are_told_apart_by_their_way() {
    let metrics = Metrics::default();
    for (on, ms) in [(true, 4), (false, 400)] {
        let length = Duration::from_millis(ms);
        let mut stamped = Stamped::at(
            0,
            News::DeployStep {
                deploy: DeployId(1),
                step: DeployStep::Moving,
            },
        );
        stamped.gap = Some(Gap { on, length });
        metrics.happened(&Arc::new(stamped));
    }
    let parsed = parsed(&metrics, &view());
    for (series, value) in [
        (r#"baton_gap_seconds_count{way="on"}"#, 1.0),
        (r#"baton_gap_seconds_sum{way="on"}"#, 0.004),
        (r#"baton_gap_seconds_count{way="back"}"#, 1.0),
        (r#"baton_gap_seconds_sum{way="back"}"#, 0.4),
        (r#"baton_gap_seconds_bucket{le="0.002",way="on"}"#, 0.0),
        (r#"baton_gap_seconds_bucket{le="0.005",way="on"}"#, 1.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
}

/// As `promtool check metrics` reads it.
#[test]
fn the_older_text_calls_a_family_as_its_samples_are() {
    let open = "# HELP baton_alarms Times.\n# TYPE baton_alarms counter\nbaton_alarms_total 3\n\
                # HELP baton_gap_seconds Gap.\n# TYPE baton_gap_seconds histogram\n\
                # UNIT baton_gap_seconds seconds\nbaton_gap_seconds_sum 1.5\n\
                # HELP baton_build Version.\n# TYPE baton_build info\nbaton_build_info{version=\"1\"} 1\n\
                # EOF\n";
    let expected = "# HELP baton_alarms_total Times.\n# TYPE baton_alarms_total counter\nbaton_alarms_total 3\n\
                    # HELP baton_gap_seconds Gap.\n# TYPE baton_gap_seconds histogram\nbaton_gap_seconds_sum 1.5\n\
                    # HELP baton_build_info Version.\n# TYPE baton_build_info gauge\nbaton_build_info{version=\"1\"} 1\n";
    assert_eq!(plain(open), expected);
}
