//! Raw connections that say what is not true, to a running master: nothing happens to
//! anybody else.

mod doors;
mod lies;

use baton_protocol::{
    Connection, Frame, ProcessIdentity, SlaveId, ToSlave, Trust, Version, handshake,
    message::{Hello, Refused, RefusedReason, Report, Role},
};
use tokio::net::UnixStream;

use crate::{
    fake::Fake,
    fleet::{Fleet, Master, is_alive, until},
};

/// A fleet of two shards that one slave serves.
async fn served() -> (Fleet, Master, Fake) {
    let fleet = Fleet::new("shard_count = 2\n");
    let master = fleet.master().await;
    let slave = fleet.slave("v1", Role::Candidate);
    until("all serve", || slave.serving() == 2).await;
    fleet.settled().await;
    (fleet, master, slave)
}

/// Says hello by the unix socket as this slave in this process.
async fn comes(fleet: &Fleet, slave: SlaveId, process: ProcessIdentity) -> ToSlave {
    let hello = Hello {
        version: Version::NEWEST,
        lowest: Version::OLDEST,
        slave,
        slot: "main".to_owned(),
        process,
        nonce: "0123456789abcdef".into(),
        ..Hello::default()
    };
    let report = Report {
        last: true,
        ..Report::default()
    };
    match dial(fleet, hello, true, report).await {
        Ok((_connection, answer)) => answer,
        Err(refused) => ToSlave::Refused(refused),
    }
}

/// Says hello and reports; what is answered to that, or why the hello was refused.
async fn dial(
    fleet: &Fleet,
    hello: Hello,
    running: bool,
    report: Report,
) -> Result<(Connection, ToSlave), Refused> {
    let socket = UnixStream::connect(fleet.socket()).await.unwrap();
    let mut connection = Connection::new(socket);
    connection.trust(Trust::Known);
    let hello = Box::new(hello);
    say(
        &mut connection,
        handshake::ToMaster::Hello { running, hello },
    )
    .await;
    let frame = connection.recv().await.unwrap().expect("an answer");
    if let handshake::ToSlave::Refused(refused) = handshake::ToSlave::from_frame(frame).unwrap() {
        return Err(refused);
    }
    say(&mut connection, handshake::ToMaster::Report(report)).await;
    let answer = hear(&mut connection).await;
    Ok((connection, answer))
}

async fn say(connection: &mut Connection, message: impl Into<Frame>) {
    connection.send(&message.into()).await.unwrap();
}

async fn hear(connection: &mut Connection) -> ToSlave {
    let frame = connection.recv().await.unwrap().expect("an answer");
    ToSlave::from_frame(frame).unwrap()
}

fn refused(answer: ToSlave) -> Refused {
    let ToSlave::Refused(refused) = answer else {
        panic!("{answer:?}");
    };
    refused
}

#[tokio::test]
async fn nobody_is_killed_or_replaced_by_a_hello_that_names_another_process() {
    let (fleet, master, slave) = served().await;
    let new = || SlaveId::random().unwrap();
    let of = |pid| ProcessIdentity::of(pid).unwrap();
    // A process that the master started would be a stranger's; this one is the test's.
    let stranger = std::process::Command::new("sh")
        .args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"])
        .output()
        .unwrap();
    let stranger: u32 = String::from_utf8_lossy(&stranger.stdout)
        .trim()
        .parse()
        .unwrap();
    let own = master.child.id().unwrap();
    for (pid, says) in [(own, "the master's own"), (stranger, "dialled")] {
        let answer = refused(comes(&fleet, new(), of(pid)).await);
        assert!(answer.detail.contains(says), "{}", answer.detail);
        assert!(is_alive(pid), "{pid}");
    }
    // The owner's own process, which the kernel would let pass: it is a child.
    let answer = refused(comes(&fleet, new(), slave.process.clone()).await);
    assert!(answer.detail.contains("two slaves"), "{}", answer.detail);
    // The owner's id, from another process.
    let this = ProcessIdentity::current().unwrap();
    let id = fleet.status().await["slaves"][0]["slave"].clone();
    let id: SlaveId = id.as_str().unwrap().parse().unwrap();
    let other = ProcessIdentity {
        pid_namespace: 1,
        ..this
    };
    let answer = refused(comes(&fleet, id, other).await);
    assert_eq!(answer.reason, RefusedReason::Taken, "{}", answer.detail);

    assert_eq!(slave.serving(), 2);
    assert_eq!(slave.seen().accepted, 1, "its link was never cut");
    fleet.settled().await;
    assert!(fleet.log().contains("not believed"));
    let stranger = rustix::process::Pid::from_raw(stranger.cast_signed()).unwrap();
    rustix::process::kill_process(stranger, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn what_was_removed_from_the_runtime_folder_is_noticed_and_comes_back() {
    let (fleet, master, slave) = served().await;
    let run = fleet.socket().parent().unwrap().to_owned();
    let secret = std::fs::read_to_string(run.join("secret")).unwrap();
    let names = ["slave.sock", "admin.sock", "secret", "fleet", "master.lock"];
    for name in names {
        std::fs::remove_file(run.join(name)).unwrap();
    }
    until("everything is back", || {
        names.iter().all(|name| run.join(name).exists())
    })
    .await;
    assert_eq!(std::fs::read_to_string(run.join("secret")).unwrap(), secret);
    assert_eq!(slave.seen().accepted, 1, "who is connected stays connected");
    // A slave that dials now is accepted, and so is the operator.
    slave.come_back();
    until("it is back", || slave.seen().accepted == 2).await;
    fleet.settled().await;
    until("it is told", || fleet.log().contains("went missing from")).await;
    // The lock is one that a second master meets.
    let second = fleet.command(&["run"]).output().await.unwrap();
    assert_eq!(second.status.code(), Some(2));
    drop(master);
}

#[tokio::test]
async fn a_doctor_that_cannot_reach_a_running_master_does_not_say_to_start_it() {
    let (fleet, _master, _slave) = served().await;
    let run = fleet.socket().parent().unwrap().to_owned();
    // Another socket in its place, at which nobody listens.
    let admin = run.join("admin.sock");
    let doctor = loop {
        std::fs::remove_file(&admin).unwrap();
        let output = fleet.command(&["doctor"]).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // It may have been made again in between.
        if text.contains("a master runs") {
            break text;
        }
        until("it is back", || admin.exists()).await;
    };
    assert!(doctor.contains("do not start another one"), "{doctor}");
    assert!(!doctor.contains("start it;"), "{doctor}");
}
