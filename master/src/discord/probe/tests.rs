#![allow(clippy::unwrap_used)]
//! The probe against simulated Discords that answer each question in each way.

use baton_discord::{Discord, DiscordConfig, ResumeWhileConnected};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What is found out about such a Discord, waiting for at most 80 s at a time.
async fn found(change: impl FnOnce(&mut DiscordConfig)) -> (Probed, Discord) {
    let mut config = DiscordConfig::quick();
    config.resume_window = 30 * SECOND;
    change(&mut config);
    let discord = Discord::start(config).await.unwrap();
    let plan = Plan {
        url: discord.url(),
        token: Token::new("a token").unwrap(),
        shard: (0, 1),
        longest: 80 * SECOND,
    };
    let probed = probe(&plan, |_| {}).await.unwrap();
    assert_eq!(discord.counters().total.identifies, 1);
    (probed, discord)
}

#[tokio::test(start_paused = true)]
async fn a_session_is_found_to_be_taken_over_and_how_long_it_lives() {
    let (probed, _gateway) = found(|_| {}).await;
    assert!(matches!(
        probed.while_connected,
        Some(WhileConnected::TakesOver { .. })
    ));
    assert_eq!(probed.heartbeat_trims, Some(false));
    assert_eq!(probed.resumed_after, Some(20 * SECOND));
    assert_eq!(probed.refused_after, Some(40 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_discord_that_keeps_both_connections_is_found_out() {
    let (probed, _gateway) =
        found(|config| config.resume_while_connected = ResumeWhileConnected::Both).await;
    assert_eq!(probed.while_connected, Some(WhileConnected::Both));
    assert_eq!(probed.refused_after, Some(40 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_discord_that_refuses_is_found_out_and_the_rest_is_asked_all_the_same() {
    let (probed, _gateway) =
        found(|config| config.resume_while_connected = ResumeWhileConnected::Refuse).await;
    assert!(matches!(
        probed.while_connected,
        Some(WhileConnected::Refuses { .. })
    ));
    assert_eq!(probed.takes_late_seals(), Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_discord_that_trims_by_heartbeats_is_found_out() {
    let (probed, _gateway) = found(|config| config.heartbeat_trims = true).await;
    assert_eq!(probed.heartbeat_trims, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_window_longer_than_was_waited_for_has_no_known_end() {
    let (probed, _gateway) = found(|config| config.resume_window = 1000 * SECOND).await;
    assert_eq!(probed.resumed_after, Some(80 * SECOND));
    assert_eq!(probed.refused_after, None);
}

#[test]
fn what_was_found_is_kept_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Probed::read(dir.path()), None);
    let probed = Probed {
        while_connected: Some(WhileConnected::TakesOver { close_code: 4000 }),
        heartbeat_trims: Some(false),
        resumed_after: Some(60 * SECOND),
        ..Probed::now()
    };
    probed.write(dir.path()).unwrap();
    assert_eq!(Probed::read(dir.path()), Some(probed));
}
