#![allow(clippy::unwrap_used)]

use std::path::Path;

use baton_protocol::{LaunchId, auth::Secret, message::Role};

use super::*;
use crate::config::Slot;

/// A slave is as quick as its launch is slow: it joins and is dead before the master
/// knows what it launched.
#[tokio::test]
async fn a_slave_that_dies_before_its_launch_is_known_is_told_once_and_with_its_cause() {
    let (sender, mut notices) = mpsc::channel(16);
    let slot = Slot {
        name: "main".to_owned(),
        command: Some(["sh", "-c", "exit 7"].map(str::to_owned).to_vec()),
        shards: None,
        host: None,
        lease: None,
        env: BTreeMap::new(),
        log: None,
        listen: None,
    };
    let nowhere = Path::new("/nonexistent");
    let secret = Secret::random().unwrap();
    let launcher = Launcher::new(
        nowhere,
        nowhere,
        secret,
        std::slice::from_ref(&slot),
        BTreeMap::new(),
    );
    let mut supervisor = Supervisor::new(launcher, Duration::ZERO, sender);
    let launch = LaunchId(7);
    let order = LaunchOrder {
        role: Role::Relaunch,
        command: None,
        deploy: None,
        launch,
    };
    assert!(supervisor.launch(slot.name.clone(), order).is_none());
    let hello = |slave, launch| Hello {
        slave: SlaveId(slave),
        slot: slot.name.clone(),
        launch,
        ..Hello::default()
    };
    for dead in [hello(1, launch), hello(2, LaunchId(0))] {
        supervisor.tell_death(dead.slave, Some(&dead));
    }
    let mut told = BTreeMap::new();
    while told.len() < 2 {
        let notice = notices.recv().await.unwrap();
        let death = if let Notice::Started { slot, started } = notice {
            supervisor.started(&slot, started);
            continue;
        } else if let Notice::Exited {
            pid,
            ending,
            last_lines,
        } = notice
        {
            let exit = supervisor.exited(pid, ending, last_lines);
            exit.unwrap().death.unwrap()
        } else if let Notice::Ended(death) = notice {
            death
        } else {
            panic!("{notice:?}");
        };
        let before = told.insert(death.slave.unwrap(), death.ending);
        assert_eq!(before, None, "once");
    }
    assert_eq!(told[&SlaveId(1)], EndedBy::Code(7));
    assert_eq!(told[&SlaveId(2)], EndedBy::Unknown, "it was another one's");
}
