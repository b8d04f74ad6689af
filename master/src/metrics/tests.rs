//! What the text says.
#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_update, reason = "the picture grows")]

mod counts;
mod dashboard;
mod of_some;
mod parsed;
mod twitch;

use baton_core::{
    event::Evidence,
    view::{DeployView, ShardView, SlaveView, SlotView, View},
};
use baton_protocol::message::{Checkpoint, MemoryUse, StoreRoom};

use self::parsed::Parsed;
use super::*;
use crate::{counters::Counts, post::Standing};

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
            host: None,
            role: "owner",
            connected: true,
            shards: 3,
            lag_ms: Some(120),
            memory: Some(MemoryUse {
                resident: 600 << 20,
                limit: 512 << 20,
                is_above: true,
            }),
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
    parsed_of(metrics, view, None)
}

fn parsed_of(metrics: &Metrics, view: &View, standing: Option<&Standing>) -> Parsed {
    let text = metrics.text(&Scrape {
        view,
        counts: Counts {
            connections: 4,
            ..Counts::default()
        },
        version: "1.2.3",
        started: Duration::from_secs(1_700_000_000),
        uptime: Duration::from_millis(2500),
        certificate_until: Some(1_800_000_000),
        standing,
    });
    Parsed::of(&text)
}

fn told(news: News) -> Arc<Stamped> {
    Arc::new(Stamped::at(0, news))
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
            "baton_connections_untrusted",
            "baton_deploys",
            "baton_disbelieved",
            "baton_events_given_up",
            "baton_identify_permits",
            "baton_identify_requests",
            "baton_journal_save_failures",
            "baton_launches",
            "baton_leases_over",
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
            "baton_certificate_expires_timestamp_seconds",
            "baton_cordoned",
            "baton_deploy_running",
            "baton_deploy_shards",
            "baton_events_per_second",
            "baton_held",
            "baton_identifies_held",
            "baton_identifies_left",
            "baton_identifies_refused_in_row",
            "baton_identifies_reserve",
            "baton_identifies_reset_seconds",
            "baton_identifies_waiting",
            "baton_moves_in_hand",
            "baton_moves_left",
            "baton_replay_budget_least_seconds",
            "baton_shards",
            "baton_slave_checkpoint_age_seconds",
            "baton_slave_connected",
            "baton_slave_handler_lag_seconds",
            "baton_slave_memory_limit_bytes",
            "baton_slave_resident_memory_bytes",
            "baton_slave_shards",
            "baton_slaves",
            "baton_slot_failed_launches",
            "baton_slot_filled",
            "baton_slot_shards",
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
        (
            &format!("baton_slave_memory_limit_bytes{slave}"),
            536_870_912.0,
        ),
        (&format!("baton_store_used_bytes{slave}"), 5_368_709_120.0),
        (&format!("baton_store_held_up_shards{slave}"), 2.0),
        (&format!("baton_store_held_up_seconds{slave}"), 1.5),
        (&format!("baton_store_stale_readers_total{slave}"), 3.0),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
    let memory = format!("baton_slave_resident_memory_bytes{slave}");
    assert!(parsed.value(&memory) > 0.0);
    // Of a process on another host, it is what its slave says.
    let elsewhere = Metrics::default();
    elsewhere.said(SLAVE, &ToMaster::Pong(Pong::default()));
    let of_slave = self::parsed(&elsewhere, &view());
    assert_eq!(of_slave.value(&memory), 629_145_600.0);
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
fn what_is_not_known_is_not_shown() {
    let mut view = view();
    view.identifies_left = None;
    view.identifies_reset_ms = None;
    view.identifies_reserve = None;
    view.deploy = None;
    view.slaves[0].memory = None;
    let metrics = Metrics::default();
    metrics.watched(SLAVE);
    let gone = News::SlaveGone {
        slave: SLAVE,
        dead: Some(Evidence::Process),
        held: 0,
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        pid: 7,
        host: None,
    };
    metrics.happened(&told(gone));
    let parsed = parsed(&metrics, &view);
    for name in [
        "baton_identifies_left",
        "baton_identifies_reset",
        "baton_identifies_reserve",
        "baton_slave_resident_memory_bytes{",
        "baton_slave_memory_limit_bytes{",
    ] {
        let shown = parsed.values.keys().any(|series| series.starts_with(name));
        assert!(!shown, "{name}");
    }
    assert_eq!(parsed.value("baton_deploy_running"), 0.0);
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
