//! What happens by itself.

use twitch_mock::{Config, Kind, Traffic, Twitch};

use crate::common::{seconds, twitch};

async fn series(seed: u64) -> (Twitch, Vec<(Kind, String, String)>) {
    let twitch = twitch(|config: &mut Config| {
        config.seed = seed;
        config.traffic = Traffic {
            rate: 100.0,
            count: 500,
            others: 100,
            ..Traffic::default()
        };
    });
    tokio::time::sleep(seconds(60)).await;
    let of = twitch.messages(0, 1000);
    let of = of
        .iter()
        .map(|m| (m.kind, m.channel.to_string(), m.id.to_string()))
        .collect();
    (twitch, of)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_series() {
    let (_, first) = series(1).await;
    let (_, again) = series(1).await;
    let (_, other) = series(2).await;
    assert_eq!(first.len(), 500);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.iter().any(|(kind, _, _)| *kind == Kind::Raid));
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_that_which_was_asked_for_and_can_be_changed() {
    let twitch = twitch(|_| {});
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(twitch.extents().messages.len, 0);
    twitch.set_traffic(Traffic::at_rate(100.0)).unwrap();
    tokio::time::sleep(seconds(10)).await;
    let made = twitch.extents().messages.len;
    assert!((850..1150).contains(&made), "{made}");
    twitch.set_traffic(Traffic::default()).unwrap();
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(twitch.extents().messages.len, made);
    assert!(twitch.set_traffic(Traffic::at_rate(-1.0)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_full_ledger_says_so_and_no_verdict_is_clean() {
    let twitch = twitch(|config| {
        config.messages_limit = 10;
        config.traffic = Traffic {
            rate: 100.0,
            count: 20,
            others: 0,
            ..Traffic::default()
        };
    });
    tokio::time::sleep(seconds(60)).await;
    let extent = twitch.extents().messages;
    assert_eq!((extent.len, extent.overflow), (10, 10));
    let seen: Vec<String> = twitch
        .messages(0, 10)
        .iter()
        .map(|m| m.id.to_string())
        .collect();
    assert!(
        !twitch
            .judge(&seen, &twitch_mock::Scope::default())
            .is_clean()
    );
}
