//! Clients and brokers, where a slave has some.

use baton_core::{
    event::{Evidence, News},
    view::{HostView, SinkView},
};
use baton_protocol::{
    ShardId,
    message::{Absent, Clients, Library, Refusals, SinkReport, Waiting},
};

use super::{SLAVE, parsed, parsed_of, told, view};
use crate::{
    metrics::Metrics,
    news::Observer as _,
    post::{Named, Standing},
};

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
fn hosts_are_shown_where_there_are_others_than_the_masters() {
    let metrics = Metrics::default();
    let mut view = view();
    let without = parsed(&metrics, &view);
    assert!(!without.types.keys().any(|name| name.contains("host")));
    let host = |name: &str, connected, answered_ms_ago| HostView {
        host: name.to_owned(),
        connected,
        answered_ms_ago,
        slaves: 2,
        slaves_away: 1,
        ..HostView::default()
    };
    view.hosts = vec![host("east", true, Some(1500)), host("west", false, None)];
    let shown = parsed(&metrics, &view);
    for (series, value) in [
        (r#"host_agent_connected{host="east"}"#, 1.0),
        (r#"host_agent_connected{host="west"}"#, 0.0),
        (r#"host_agent_silence_seconds{host="east"}"#, 1.5),
        (r#"host_slaves{host="west"}"#, 2.0),
        (r#"host_slaves_away{host="west"}"#, 1.0),
    ] {
        assert_eq!(shown.value(&format!("baton_{series}")), value, "{series}");
    }
    let silence = r#"baton_host_agent_silence_seconds{host="west"}"#;
    assert!(!shown.values.contains_key(silence));
}

#[test]
fn leases_are_shown_where_a_slot_has_one_and_those_that_are_over_are_counted() {
    let metrics = Metrics::default();
    let mut view = view();
    let without = parsed(&metrics, &view);
    assert!(
        !without
            .types
            .keys()
            .any(|name| name.starts_with("baton_lease_"))
    );
    assert_eq!(without.value("baton_leases_over_total"), 0.0);
    view.slaves[0].lease_ms = Some(30_000);
    view.slaves[0].lease_left_ms = Some(12_500);
    let gone = |evidence| News::SlaveGone {
        slave: SLAVE,
        dead: Some(evidence),
        held: 3,
        slot: "main".to_owned(),
        build: "v1".to_owned(),
        pid: 7,
        host: None,
    };
    for evidence in [Evidence::Process, Evidence::Operator, Evidence::Lease] {
        metrics.happened(&told(gone(evidence)));
    }
    let parsed = parsed(&metrics, &view);
    let slave = format!(r#"{{slave="{SLAVE}",slot="main",build="v \"1\"\n"}}"#);
    for (series, value) in [
        (format!("baton_lease_seconds{slave}"), 30.0),
        (format!("baton_lease_left_seconds{slave}"), 12.5),
        (format!("baton_lease_refused{slave}"), 0.0),
        ("baton_leases_over_total".to_owned(), 1.0),
    ] {
        assert_eq!(parsed.value(&series), value, "{series}");
    }
}

#[test]
fn who_leads_is_shown_where_masters_share_a_store() {
    let metrics = Metrics::default();
    let alone = parsed(&metrics, &view());
    assert!(
        !alone
            .types
            .keys()
            .any(|name| name.starts_with("baton_leads"))
    );
    let standing = Standing {
        leads: true,
        store_away_ms: Some(2500),
        standbys: vec![Named::default(), Named::default()],
        ..Standing::default()
    };
    let parsed = parsed_of(&metrics, &view(), Some(&standing));
    for (series, value) in [
        ("baton_leads", 1.0),
        ("baton_leads_standbys", 2.0),
        ("baton_leads_store_away_seconds", 2.5),
    ] {
        assert_eq!(parsed.value(series), value, "{series}");
    }
}
