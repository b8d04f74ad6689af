//! What is kept of a slave that comes and is refused, and of one that is unknown.

use super::*;
use crate::{
    link::{Link, LinkId},
    notice::Joining,
};

const NOW: Time = Time(Duration::ZERO);

/// As if its connection had come through the handshake.
fn joining(connection: u64, hello: Hello) -> Joining {
    let watch = Watch::open(&hello.process).ok();
    Joining {
        link: Link::to_nobody(LinkId(connection), Dialled::Local(Some(hello.process.pid))),
        hello: Box::new(hello),
        report: Report {
            last: true,
            ..Report::default()
        },
        watch,
    }
}

#[tokio::test]
async fn nothing_is_kept_of_slaves_that_are_refused_whatever_ids_they_name() {
    let mut stage = Stage::new(None);
    let (driver, inbox) = (&mut stage.driver, &mut Inbox::new(stage.queue));
    for slave in 1..=100 {
        let stranger = Hello {
            slot: "elsewhere".to_owned(),
            ..hello(slave)
        };
        let connection = u64::try_from(slave).unwrap();
        driver.joined(NOW, joining(connection, stranger));
        driver.carry_out(inbox).await;
    }
    assert_eq!(driver.supervisor.counts(), (0, 0, 0));
    let (connected, remembered) = driver.connections.counts();
    assert!(connected == 0 && remembered <= 1);
    driver.joined(NOW, joining(200, hello(200)));
    driver.carry_out(inbox).await;
    assert_eq!(
        driver.supervisor.counts().0,
        1,
        "an accepted slave is watched"
    );
}

#[tokio::test]
async fn a_process_that_cannot_be_seen_is_looked_for_once_however_often_its_slave_dials() {
    let mut stage = Stage::new(None);
    let (driver, inbox) = (&mut stage.driver, &mut Inbox::new(stage.queue));
    // Not this process: the tests beside this one are to see it.
    let (_child, process) = process();
    let _hidden = crate::process::hide(process.pid);
    for connection in 1..=100 {
        let unseen = Hello {
            process: process.clone(),
            ..hello(1)
        };
        driver.joined(NOW, joining(connection, unseen));
        driver.carry_out(inbox).await;
        assert_eq!(driver.supervisor.counts(), (0, 1, 0));
    }
    // Nor is one that was refused looked for.
    let mut stranger = Hello {
        slot: "elsewhere".to_owned(),
        ..hello(2)
    };
    stranger.process.pid_namespace += 1;
    driver.joined(NOW, joining(200, stranger));
    driver.carry_out(inbox).await;
    assert_eq!(driver.supervisor.counts(), (0, 1, 0));
}

#[tokio::test]
async fn a_slave_of_another_pid_namespace_is_not_what_was_launched_here_with_the_same_number() {
    let mut stage = Stage::new(None);
    let driver = &mut stage.driver;
    let pid = std::process::id();
    driver.supervisor.pretend_launched("main", pid);
    let mut elsewhere = hello(1);
    elsewhere.process.pid_namespace += 1;
    driver.joined(NOW, joining(1, elsewhere));
    assert_eq!(driver.supervisor.joined_from(pid), None);
    driver.joined(NOW, joining(2, hello(2)));
    assert_eq!(driver.supervisor.joined_from(pid), Some(SlaveId(2)));
}
