//! The program and a folder for it: start, ask, wait.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use baton_protocol::message::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::fake::Fake;

/// Only a broken test waits this long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A folder in which masters run, one after the other.
pub(crate) struct Fleet {
    dir: TempDir,
    pub(crate) config: PathBuf,
}

pub(crate) struct Master {
    pub(crate) child: Child,
}

impl Fleet {
    pub(crate) fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("baton.toml");
        let fleet = Self { dir, config };
        let mut text = fleet.base();
        text.push_str(toml);
        // Tests wait for nothing that they do not test.
        let fast = [
            ("soak", "0s"),
            ("canary_time", "0s"),
            ("identify_window", "20ms"),
            ("adopt_grace", "5s"),
        ];
        if !text.contains("[limits]") {
            text.push_str("[limits]\n");
        }
        for (key, value) in fast {
            if !text.contains(key) {
                text.push_str(&format!("{key} = \"{value}\"\n"));
            }
        }
        std::fs::write(&fleet.config, text).unwrap();
        fleet
    }

    pub(crate) fn base(&self) -> String {
        format!(
            "runtime_dir = {:?}\nlisten = \"127.0.0.1:0\"\n",
            self.dir.path().join("run")
        )
    }

    /// Gives the slot a command whose process a fake slave can live in.
    pub(crate) fn slot(&mut self) {
        let command = self.pid_command();
        self.slot_of(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Gives the slot this command.
    pub(crate) fn slot_of(&mut self, command: &[&str]) {
        let mut text = std::fs::read_to_string(&self.config).unwrap();
        text.push_str(&format!(
            "[[slot]]\nname = \"main\"\ncommand = {command:?}\n"
        ));
        std::fs::write(&self.config, text).unwrap();
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.pid_file_of("main")
    }

    fn pid_file_of(&self, slot: &str) -> PathBuf {
        self.dir.path().join(format!("pid-{slot}"))
    }

    pub(crate) fn pid_command(&self) -> Vec<String> {
        self.pid_command_of("main")
    }

    pub(crate) fn pid_command_of(&self, slot: &str) -> Vec<String> {
        let script = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
            self.pid_file_of(slot).display()
        );
        ["sh", "-c", &script].map(str::to_owned).to_vec()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton-master"));
        command
            .arg(arguments[0])
            .arg("--config")
            .arg(&self.config)
            .args(&arguments[1..]);
        for variable in ["DISCORD_TOKEN", "RUST_LOG"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What a command of the operator says, to its end.
    pub(crate) async fn says(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        let output = timeout(LONG, command.output()).await.unwrap().unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A running master, and a slave that serves all of the fleet's shards.
    pub(crate) async fn served(&self, shards: usize) -> (Master, Fake) {
        let master = self.master().await;
        let slave = self.slave("v1", Role::Candidate);
        until("all serve", || slave.serving() == shards).await;
        self.settled().await;
        (master, slave)
    }

    pub(crate) async fn master(&self) -> Master {
        let mut command = self.command(&["run", "--json-ready"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(self.log_file())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        timeout(LONG, output.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", self.log()));
        let listens = ready["listen"].as_str().unwrap();
        assert!(listens.starts_with("127.0.0.1:"));
        std::fs::write(self.socket().with_file_name("listens"), listens).unwrap();
        assert!(ready["admin"].as_str().unwrap().starts_with("unix:/"));
        Master { child }
    }

    pub(crate) fn log_file(&self) -> std::fs::File {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"));
        log.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/slave.sock")
    }

    pub(crate) fn slave(&self, build: &str, role: Role) -> Fake {
        Fake::start(&self.socket(), build, role, 513)
    }

    /// The slave in the process that the master launches.
    pub(crate) async fn launched(&self, build: &str) -> Fake {
        self.launched_in("main", build).await
    }

    /// The same of this slot.
    pub(crate) async fn launched_in(&self, slot: &str, build: &str) -> Fake {
        let file = self.pid_file_of(slot);
        until("a launch", || Path::exists(&file)).await;
        let pid = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Between two programs a process has no arguments and no environment.
        let runs = || {
            let of = |what| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            of("cmdline").starts_with(b"sleep") && !of("environ").is_empty()
        };
        until("its program runs", runs).await;
        Fake::launched(pid, &self.socket(), build).of_slot(slot)
    }

    pub(crate) async fn status(&self) -> Value {
        let output = self.command(&["status", "--json"]).output().await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until every shard serves and no deploy runs.
    pub(crate) async fn settled(&self) {
        self.shows("all serve, no deploy runs", |status| {
            let shards = status["shards"].as_array().unwrap();
            status["deploy"].is_null() && shards.iter().all(|shard| shard["state"] == "serving")
        })
        .await;
    }

    /// Waits until the master's status is like that.
    pub(crate) async fn shows(&self, what: &str, is: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + LONG;
        loop {
            let status = self.status().await;
            if is(&status) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not seen: {what}: {status}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Master {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < deadline, "not seen: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A process that ended and is not waited for is dead too.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn lines(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).lines().count()
}
