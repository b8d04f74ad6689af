//! A service manager that passes sockets and listens for notifications.

use std::{
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::PathBuf,
    process::Stdio,
};

use baton_protocol::message::Role;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    time::timeout,
};

use crate::fleet::{Fleet, LONG, until};

/// Takes the sockets that its standard streams are as descriptors 3 and 4.
const PASS: &str = "exec 3<&0 4<&1 0</dev/null 1>&2; \
                    LISTEN_PID=$$; export LISTEN_PID; exec \"$@\"";

#[tokio::test]
async fn sockets_that_were_passed_are_used_and_stay_when_the_master_is_replaced() {
    let fleet = Fleet::new("shard_count = 2\n");
    std::fs::create_dir(fleet.socket().parent().unwrap()).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(fleet.socket()).unwrap();
    let address = tcp.local_addr().unwrap().to_string();

    // Nobody accepts yet: the slave waits, it is not refused.
    let slave = fleet.slave("v1", Role::Candidate);
    let manager = Manager::new();
    let (tcp, unix) = (OwnedFd::from(tcp), OwnedFd::from(unix));
    let mut first = manager.start(&fleet, &tcp, &unix);
    assert!(manager.heard("READY=1").await.contains("STATUS="));
    until("all serve", || slave.serving() == 2).await;
    assert_eq!(fleet.status().await["master"]["listen"], address);
    first.kill().await.unwrap();

    std::net::TcpStream::connect(&address).expect("the socket outlives the master");
    let _second = manager.start(&fleet, &tcp, &unix);
    manager.heard("READY=1").await;
    until("it is accepted again", || slave.seen().accepted == 2).await;
}

#[tokio::test]
async fn a_service_manager_is_told_that_the_master_is_ready_alive_and_leaving() {
    let fleet = Fleet::new("shard_count = 1\n");
    let manager = Manager::new();
    let mut command = manager.shell(&fleet, "WATCHDOG_PID=$$; export WATCHDOG_PID; exec \"$@\"");
    command.env("WATCHDOG_USEC", "300000");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let read = timeout(LONG, output.read_line(&mut line));
    read.await.unwrap().unwrap();
    manager.heard("READY=1").await;
    manager.heard("WATCHDOG=1").await;
    manager.heard("WATCHDOG=1").await;
    signal(&child, Signal::HUP);
    assert!(
        manager
            .heard("RELOADING=1")
            .await
            .contains("MONOTONIC_USEC=")
    );
    manager.heard("READY=1").await;
    signal(&child, Signal::TERM);
    manager.heard("STOPPING=1").await;
    let status = timeout(LONG, child.wait()).await.unwrap().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_socket_that_no_slave_would_dial_is_refused() {
    let fleet = Fleet::new("shard_count = 1\n");
    let elsewhere = fleet.config.with_file_name("other.sock");
    let unix = OwnedFd::from(std::os::unix::net::UnixListener::bind(elsewhere).unwrap());
    let manager = Manager::new();
    let output = manager
        .command(&fleet, &unix, &unix, 1)
        .stderr(Stdio::piped())
        .output();
    let output = timeout(LONG, output).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ListenStream="), "{said}");
}

#[tokio::test]
async fn a_slave_finds_nothing_of_what_is_the_masters() {
    let mut fleet = Fleet::new("shard_count = 1\n[limits]\ncontact = \"50ms\"\n");
    let seen = fleet.config.with_file_name("environment");
    let script = format!("env > {0}.new; mv {0}.new {0}", seen.display());
    fleet.slot_of(&["sh", "-c", &script]);
    let manager = Manager::new();
    let mut command = manager.shell(&fleet, "exec \"$@\"");
    command.env("WATCHDOG_USEC", "30000000");
    let _master = command.stdout(Stdio::null()).spawn().unwrap();
    until("a launch", || seen.exists()).await;
    let text = std::fs::read_to_string(&seen).unwrap();
    for variable in baton_master::process::variable::OF_THE_SERVICE {
        assert!(!text.contains(variable), "{text}");
    }
    assert!(text.contains("BATON_SLOT=main"), "{text}");
}

/// Listens where a master says how it is.
struct Manager {
    socket: tokio::net::UnixDatagram,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: tokio::net::UnixDatagram::from_std(socket).unwrap(),
            path,
            _dir: dir,
        }
    }

    /// A master behind a shell that runs `script`.
    fn shell(&self, fleet: &Fleet, script: &str) -> tokio::process::Command {
        let master = fleet.command(&["run", "--json-ready"]);
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", script, "sh"]);
        command.arg(master.as_std().get_program());
        command.args(master.as_std().get_args());
        command
            .env_remove("DISCORD_TOKEN")
            .env("NOTIFY_SOCKET", &self.path)
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn command(
        &self,
        fleet: &Fleet,
        tcp: &OwnedFd,
        unix: &OwnedFd,
        count: u32,
    ) -> tokio::process::Command {
        let mut command = self.shell(fleet, PASS);
        command
            .env("LISTEN_FDS", count.to_string())
            .stdin(tcp.try_clone().unwrap())
            .stdout(unix.try_clone().unwrap());
        command
    }

    fn start(&self, fleet: &Fleet, tcp: &OwnedFd, unix: &OwnedFd) -> Child {
        self.command(fleet, tcp, unix, 2).spawn().unwrap()
    }

    /// The next message that holds `text`.
    async fn heard(&self, text: &str) -> String {
        let heard = async {
            loop {
                let mut message = [0; 4096];
                let length = self.socket.recv(&mut message).await.unwrap();
                let message = String::from_utf8_lossy(&message[..length]).into_owned();
                if message.contains(text) {
                    return message;
                }
            }
        };
        let heard = timeout(LONG, heard).await;
        heard.unwrap_or_else(|_| panic!("not heard: {text}"))
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
