//! Planned deploys of whole fleets: real processes, real sockets, real TLS.

use std::time::Duration;

use baton_tests::{
    demo::{DemoOptions, run},
    verdict::Judged,
};

#[tokio::test]
async fn a_busy_bot_is_replaced_over_tls_with_zstd() {
    exact(DemoOptions {
        tls: true,
        ..small("baton-slave")
    })
    .await;
}

#[tokio::test]
async fn a_busy_bot_is_replaced_over_tls_with_zlib() {
    exact(DemoOptions {
        tls: true,
        ..small("baton-slave-zlib")
    })
    .await;
}

#[tokio::test]
async fn a_busy_bot_is_replaced_over_tls_without_compression() {
    exact(DemoOptions {
        tls: true,
        ..small("baton-slave-none")
    })
    .await;
}

#[tokio::test]
async fn handlers_that_take_longer_than_the_move_are_finished_once() {
    exact(DemoOptions {
        handler_ms: 200,
        ..small("baton-slave")
    })
    .await;
}

#[tokio::test]
async fn a_distant_discord_loses_nothing_either() {
    exact(DemoOptions {
        rtt: Duration::from_millis(30),
        ..small("baton-slave")
    })
    .await;
}

#[tokio::test]
async fn a_single_shard_is_its_own_canary() {
    exact(DemoOptions {
        shards: 1,
        ..small("baton-slave")
    })
    .await;
}

async fn exact(options: DemoOptions) {
    let verdict = run(&options, |_| {}).await.expect("a judged run");
    let mut text = String::new();
    verdict.show(&mut text, false).expect("text");
    assert!(verdict.faults().is_empty(), "{options:?}\n{text}");
    assert_eq!(verdict.moved, u64::from(options.shards));
    let wire = match options.slave.strip_prefix("baton-slave-") {
        None => "zstd-stream",
        Some("none") => "plain",
        Some(other) => &format!("{other}-stream"),
    };
    assert_eq!(verdict.wire, wire);
    assert_eq!(verdict.identifies_cold_start, u64::from(options.shards));
    assert!(verdict.resumes >= u64::from(options.shards));
}

fn small(slave: &str) -> DemoOptions {
    DemoOptions {
        shards: 6,
        rate: 40.0,
        rtt: Duration::ZERO,
        handler_ms: 0,
        guilds_per_shard: 8,
        members_per_guild: 10,
        tls: false,
        sampled: 0,
        slave: slave.to_owned(),
        seed: 7,
        keep: false,
        live: false,
        late_seal: false,
        slave_flags: Vec::new(),
        store: None,
        behind: None,
    }
}
