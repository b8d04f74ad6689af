//! Twitch wants another connection in a connection's place.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_to_be_replaced_is_read_while_leave_for_the_next_is_waited_for() {
    let mut scene = Scene::live(Config::default(), 1).await;
    scene.master(false);
    scene.happens(FaultName::IrcReconnect);
    for number in 0..25 {
        scene.hears(&format!("alone-{number}")).await;
        scene.passes(SECOND).await;
    }
    assert_eq!(scene.opened(), 1);
    scene.master(true);
    for number in 0..30 {
        scene.hears(&format!("both-{number}")).await;
        scene.passes(SECOND).await;
    }
    assert_eq!(scene.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_next_connection_that_cannot_be_opened_is_tried_again_with_growing_pauses() {
    let mut scene = Scene::live(Config::default(), 1).await;
    scene.refused.store(3, Ordering::SeqCst);
    scene.happens(FaultName::IrcReconnect);
    for number in 0..60 {
        scene.hears(&number.to_string()).await;
        scene.passes(SECOND).await;
    }
    assert_eq!(scene.opened(), 5, "behind 0, 3, 6 and 12 s");
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_that_is_said_again_while_the_next_is_opened_opens_no_other_one() {
    let mut scene = Scene::live(Config::default(), 1).await;
    scene.slow.store(4, Ordering::SeqCst);
    for _ in 0..3 {
        let first = Fault {
            conn: Some(1),
            ..Fault::new(FaultName::IrcReconnect)
        };
        scene.twitch.fault(first).unwrap();
        scene.passes(3 * SECOND / 2).await;
    }
    for number in 0..50 {
        scene.hears(&number.to_string()).await;
        scene.passes(SECOND).await;
    }
    assert_eq!(scene.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_reconnects_one_behind_the_other_miss_nothing_of_a_channel() {
    for pause in [2, 5, 12, 20] {
        let mut scene = Scene::live(Config::default(), 10).await;
        scene.happens(FaultName::IrcReconnect);
        scene.passes(Duration::from_secs(pause)).await;
        scene.happens(FaultName::IrcReconnect);
        for number in 0..90 {
            scene.hears(&number.to_string()).await;
            scene.passes(SECOND).await;
        }
        assert_eq!(scene.opened(), 3, "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_connection_that_ends_at_once_leaves_the_one_before_in_place() {
    let mut scene = Scene::live(Config::default(), 10).await;
    scene.happens(FaultName::IrcReconnect);
    scene.passes(3 * SECOND).await;
    assert_eq!(scene.opened(), 2);
    let second = Fault {
        conn: Some(2),
        ..Fault::new(FaultName::IrcReset)
    };
    assert_eq!(scene.twitch.fault(second).unwrap(), 1);
    for number in 0..60 {
        scene.hears(&number.to_string()).await;
        scene.passes(SECOND).await;
    }
    assert_eq!(scene.opened(), 3);
}

#[tokio::test(start_paused = true)]
async fn channels_that_come_while_the_next_connection_is_opened_are_joined_there() {
    let mut scene = Scene::live(Config::default(), 1).await;
    scene.master(false);
    scene.happens(FaultName::IrcReconnect);
    scene.passes(SECOND).await;
    scene.link.tell(Order::Channels(channels(2, 3)));
    scene.passes(SECOND).await;
    scene.master(true);
    scene.passes(50 * SECOND).await;
    for channel in ["channel1", "channel3"] {
        let said = scene
            .twitch
            .happen(Kind::Message, channel, "viewer", "hello");
        said.unwrap();
        let item = scene.until(|item| matches!(item, Item::Event(_))).await;
        let Item::Event(event) = item else { continue };
        assert_eq!(event.channel, Some(login_of(channel)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_is_said_and_not_for_good() {
    for name in [
        FaultName::IrcClose,
        FaultName::IrcReset,
        FaultName::IrcHalfOpen,
    ] {
        let mut scene = Scene::live(Config::default(), 1).await;
        scene.happens(name);
        let item = loop {
            let item = scene.next(100 * SECOND).await.expect("its end");
            if matches!(item, Item::Ended { .. }) {
                break item;
            }
        };
        assert!(matches!(item, Item::Ended { fatal: false, .. }), "{item:?}");
    }
}
