//! Several connections of one slave.

use super::{rig::Slave, *};
use crate::notice::Kill;

#[tokio::test(start_paused = true)]
async fn a_slave_that_dials_again_closes_its_older_connection() {
    let mut rig = Rig::start(None);
    let mut older = rig.join(hello(1)).await;
    older
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    let mut newer = rig.join(hello(1)).await;
    newer
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    assert!(timeout(LONG, older.end()).await.is_ok());
    // What its end means for the older connection does not touch the newer.
    sleep(Duration::from_secs(1)).await;
    let view = rig.look().await;
    assert_eq!(view.slaves.len(), 1);
    assert!(view.slaves[0].connected);
}

#[tokio::test(start_paused = true)]
async fn a_report_on_a_connection_that_was_given_up_changes_nothing() {
    let mut rig = Rig::start(None);
    let mut given_up = rig.greet(hello(1)).await;
    let mut newer = rig.join(hello(1)).await;
    newer
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    // It was on its way; since then the slave has got its shards.
    given_up.report().await;
    assert!(timeout(LONG, given_up.end()).await.is_ok());
    assert!(rig.look().await.slaves[0].connected);
    let closed = timeout(Duration::from_secs(1), newer.end()).await;
    assert!(closed.is_err(), "the newer connection stays");
    // Nor when the newer one has ended.
    let mut given_up = rig.greet(hello(1)).await;
    drop(rig.join(hello(1)).await);
    rig.until(|view| !view.slaves[0].connected).await;
    given_up.report().await;
    assert!(timeout(LONG, given_up.end()).await.is_ok());
    assert!(!rig.look().await.slaves[0].connected);
}

#[tokio::test]
async fn another_process_with_a_connected_slaves_id_is_refused_and_the_first_one_stays() {
    let mut rig = Rig::start(None);
    let mut first = rig.join(hello(1)).await;
    first
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    let (_other, process) = process();
    let mut liar = rig
        .join(Hello {
            process,
            ..hello(1)
        })
        .await;
    let ToSlave::Refused(refused) = liar.hear().await else {
        panic!("a refusal was to come");
    };
    assert_eq!(refused.reason, RefusedReason::Taken, "{}", refused.detail);
    liar.end().await;
    // The first one is listened to.
    let pong = Pong {
        finished: 7,
        ..Pong::default()
    };
    first.say(ToMaster::Pong(pong)).await;
    rig.until(|view| view.slaves.len() == 1 && view.slaves[0].finished == 7)
        .await;
}

#[tokio::test]
async fn a_slave_whose_link_is_half_open_comes_back_on_another_one() {
    let mut rig = Rig::start(None);
    let mut first = rig.join(hello(1)).await;
    first
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    // The master has heard nothing of the end of the first connection.
    let mut again = rig.join(hello(1)).await;
    again
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    first.end().await;
}

/// A fleet whose slaves dial by TCP: only their word says who they are. One is there.
async fn by_tcp() -> (Rig, Slave) {
    let mut rig = Rig::start(None);
    rig.dialler = Dialled::Remote;
    let mut first = rig.join(hello(1)).await;
    first
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    (rig, first)
}

/// Hears the question of whether it lives, and answers.
async fn answers(slave: &mut Slave) {
    loop {
        if let ToSlave::Ping(ping) = slave.hear().await
            && ping.number > u64::from(u32::MAX)
        {
            let number = ping.number;
            let pong = Pong {
                number,
                ..Pong::default()
            };
            return slave.say(ToMaster::Pong(pong)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copied_name_by_tcp_is_refused_while_the_first_connection_answers() {
    let (mut rig, mut first) = by_tcp().await;
    for _ in 0..3 {
        let mut liar = rig.join(hello(1)).await;
        answers(&mut first).await;
        let ToSlave::Refused(refused) = liar.hear().await else {
            panic!("a refusal was to come");
        };
        assert_eq!(refused.reason, RefusedReason::Taken, "{}", refused.detail);
        // What it says is not heard.
        let pong = Pong {
            finished: 99,
            ..Pong::default()
        };
        liar.say(ToMaster::Pong(pong)).await;
        liar.end().await;
    }
    sleep(Duration::from_secs(10)).await;
    let view = rig.look().await;
    assert_eq!((view.slaves.len(), view.slaves[0].finished), (1, 0));
    let pong = Pong {
        finished: 7,
        ..Pong::default()
    };
    first.say(ToMaster::Pong(pong)).await;
    rig.until(|view| view.slaves[0].finished == 7).await;
}

#[tokio::test(start_paused = true)]
async fn a_slave_by_tcp_whose_first_connection_says_nothing_is_back_and_what_it_said_counts() {
    let (mut rig, mut first) = by_tcp().await;
    let mut again = rig.join(hello(1)).await;
    let pong = Pong {
        finished: 7,
        ..Pong::default()
    };
    again.say(ToMaster::Pong(pong)).await;
    again
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    rig.until(|view| view.slaves.len() == 1 && view.slaves[0].finished == 7)
        .await;
    assert!(timeout(LONG, first.end()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slave_by_tcp_whose_first_connection_ends_meanwhile_is_back_at_once() {
    let (mut rig, first) = by_tcp().await;
    let mut again = rig.join(hello(1)).await;
    let asked = Instant::now();
    drop(first);
    again
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{asked:?}");
    // One that gives up while it waits leaves nothing behind.
    drop(rig.join(hello(1)).await);
    sleep(Duration::from_secs(10)).await;
    assert!(rig.look().await.slaves[0].connected);
}

#[tokio::test]
async fn a_process_is_one_slave_and_the_one_that_the_kernel_names_wins() {
    let mut rig = Rig::start(None);
    let (mut child, process) = process();
    let mut first = rig
        .join(Hello {
            process: process.clone(),
            ..hello(1)
        })
        .await;
    first
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    let mut liar = rig
        .join(Hello {
            process: process.clone(),
            ..hello(2)
        })
        .await;
    let ToSlave::Refused(refused) = liar.hear().await else {
        panic!("a refusal was to come");
    };
    assert!(refused.detail.contains("two slaves"), "{}", refused.detail);
    // This one dialled by itself, as the kernel says.
    rig.dialler = Dialled::Local(Some(process.pid));
    let mut proved = rig
        .join(Hello {
            process: process.clone(),
            ..hello(3)
        })
        .await;
    proved
        .until(|message| matches!(message, ToSlave::Accepted(_)))
        .await;
    // Its death is the death of that one only.
    child.kill().await.unwrap();
    rig.until(|view| view.slaves.len() == 1).await;
    assert_eq!(rig.look().await.slaves[0].slave, SlaveId(1).to_string());
}

#[tokio::test]
async fn a_slave_that_cannot_be_seen_is_not_dead_and_is_watched_once_it_can() {
    let (mut child, process) = process();
    let hidden = crate::process::hide(process.pid);
    let mut rig = Rig::start(None);
    drop(
        rig.join(Hello {
            process: process.clone(),
            ..hello(1)
        })
        .await,
    );
    rig.until(|view| view.slaves.iter().any(|slave| !slave.connected))
        .await;
    tokio::time::pause();
    sleep(Duration::from_secs(15)).await;
    assert_eq!(rig.look().await.slaves.len(), 1, "not seen is not dead");
    // To kill it first is not to fence it unkilled.
    let (answer, answered) = oneshot::channel();
    let fence = Notice::Fence {
        slave: SlaveId(1).to_string(),
        kill: Kill::First,
        answer,
    };
    rig.notices.send(fence).await.unwrap();
    let refused = answered.await.unwrap().unwrap_err();
    assert!(refused.contains("cannot be seen"), "{refused}");
    assert_eq!(rig.look().await.slaves.len(), 1);
    drop(hidden);
    child.kill().await.unwrap();
    rig.until(|view| view.slaves.is_empty()).await;
}
