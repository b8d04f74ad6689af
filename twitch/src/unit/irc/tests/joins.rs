//! Joins that are refused, are not answered, or come in pieces.

use twitch_mock::{Account, ChannelChange};

use super::*;

#[tokio::test(start_paused = true)]
async fn each_reason_for_which_a_join_is_refused_is_told_to_the_work_and_the_others_are_joined() {
    let mut config = Config {
        accounts: vec![Account {
            login: "bot".to_owned(),
            token: "token".to_owned(),
            banned_in: vec!["channel2".to_owned()],
            ..Account::default()
        }],
        ..Config::default()
    };
    config.irc.channel_cap = 2;
    let mut scene = Scene::start(config, 6);
    let suspended = ChannelChange {
        suspended: Some(true),
        ..ChannelChange::default()
    };
    scene.twitch.change_channel("channel3", &suspended).unwrap();
    let ignored = Fault {
        channel: Some("channel4".to_owned()),
        ..Fault::new(FaultName::IgnoreJoin)
    };
    scene.twitch.fault(ignored).unwrap();
    // channel5 is the second that is joined, and one too many comes behind it.
    scene.until(|item| matches!(item, Item::Ready)).await;
    scene.passes(3 * SECOND).await;
    assert_eq!(scene.failure("channel1"), None);
    assert_eq!(scene.failure("channel2"), Some("banned"));
    assert_eq!(scene.failure("channel3"), Some("suspended"));
    assert_eq!(scene.failure("channel4"), Some("unanswered"));
    assert_eq!(scene.failure("channel5"), None);
    assert_eq!(scene.failure("channel6"), Some("cap"));
    scene.hears("hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_was_not_answered_is_tried_again_and_one_that_was_refused_is_not() {
    let config = Config {
        accounts: vec![Account {
            login: "bot".to_owned(),
            token: "token".to_owned(),
            banned_in: vec!["channel2".to_owned()],
            ..Account::default()
        }],
        ..Config::default()
    };
    let mut scene = Scene::start(config, 2);
    let ignored = Fault {
        channel: Some("channel1".to_owned()),
        ..Fault::new(FaultName::IgnoreJoin)
    };
    scene.twitch.fault(ignored).unwrap();
    scene.until(|item| matches!(item, Item::Ready)).await;
    scene.passes(60 * SECOND).await;
    scene.hears("hello").await;
    let refused = scene.twitch.counters().refused_joins;
    assert_eq!(refused.get("msg_banned"), Some(&1), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn joins_and_messages_that_come_in_pieces_of_a_few_bytes_are_what_they_are() {
    for split in [1, 3, 7] {
        let mut config = Config::default();
        config.irc.split = split;
        let mut scene = Scene::live(config, 5).await;
        for number in 0..20 {
            scene
                .hears(&format!("message-{number}-\u{1f600}\u{e9}"))
                .await;
        }
        for number in 1..=5 {
            assert_eq!(scene.failure(&format!("channel{number}")), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_refused_is_final_and_one_that_is_one_too_many_is_not() {
    let mut scene = Scene::start(Config::default(), 1);
    scene.happens(FaultName::RefuseLogin);
    let item = scene.next(60 * SECOND).await.expect("its end");
    assert!(matches!(item, Item::Ended { fatal: true, .. }), "{item:?}");

    let mut config = Config::default();
    config.irc.auth = twitch_mock::Limit::new(1, 600);
    let twice = Scene::live(config.clone(), 1).await;
    // Another process of this account has used the limit up.
    twice.happens(FaultName::IrcReconnect);
    let mut twice = twice;
    twice.passes(20 * SECOND).await;
    twice.hears("on the one before").await;
}
