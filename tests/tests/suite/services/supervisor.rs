//! The master as a program of a real supervisor: killed, stopped, upgraded, and
//! its slave serves on.

use std::{fmt::Write, fs, process::Stdio, time::Duration};

use baton_tests::{
    checker::Exactness,
    discord::{Discord, DiscordOptions, INTENTS, TOKEN},
    http::Endpoint,
    parts::kill_processes_naming,
    process::Process,
    records::read_sinks,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{Host, there};

const LIMIT: Duration = Duration::from_secs(60);

const SHARDS: u32 = 4;

#[tokio::test]
async fn supervisor_brings_a_killed_master_back_and_it_adopts_its_slave() {
    if !there("supervisord", "supervisor") || !there("supervisorctl", "supervisor") {
        return;
    }
    let trial = Trial::start().await;
    let first = trial.settled().await;
    trial.discord.traffic(30.0).await.expect("traffic");
    let counts = trial.discord.counts().await.expect("counts");

    let killed = trial.pid().await;
    kill(killed);
    trial.after(killed).await;
    assert_eq!(trial.settled().await, first, "after kill -9");

    let restarted = trial.pid().await;
    trial.control("restart").await;
    trial.after(restarted).await;
    assert_eq!(trial.settled().await, first, "after restart");

    trial.control("stop").await;
    assert!(
        is_alive(first.0),
        "the slave outlives a master that is stopped"
    );
    trial.control("start").await;
    assert_eq!(trial.settled().await, first, "after stop and start");
    assert_eq!(trial.discord.counts().await.expect("counts"), counts);

    let said = trial.master(&["deploy", "--soak", "200ms"]).await;
    let second = trial.settled().await;
    assert_ne!(second.0, first.0, "{said}");
    let spent = trial.discord.counts().await.expect("counts").identifies;
    assert_eq!(spent, counts.identifies, "a deploy spends no IDENTIFY");
    trial.exact().await;
}

/// A host on which supervisor runs the master, and the simulated Discord.
struct Trial {
    host: Host,
    discord: Discord,
    supervisor: Process,
}

impl Trial {
    async fn start() -> Self {
        let host = Host::new();
        host.install_here(&["--supervisor"]);
        for folder in ["sinks", "tmp"] {
            fs::create_dir(host.path(folder)).unwrap();
        }
        let logs = host.dir.path().join("logs");
        let options = DiscordOptions {
            shards: SHARDS,
            ..DiscordOptions::default()
        };
        let discord = Discord::start(host.dir.path(), &logs, &options)
            .await
            .expect("a Discord");
        fs::write(
            host.path("etc/baton/token"),
            format!("DISCORD_TOKEN={TOKEN}\n"),
        )
        .unwrap();
        fs::write(
            host.path("etc/baton/baton.toml"),
            configuration(&host, &discord),
        )
        .unwrap();
        fs::write(host.path("etc/supervisord.conf"), supervisord(&host)).unwrap();
        let mut command = Command::new("supervisord");
        command.args([
            "--nodaemon",
            "--configuration",
            &host.path("etc/supervisord.conf"),
        ]);
        command.env_remove("DISCORD_TOKEN");
        let started = Process::start("supervisord", &logs, command, false).await;
        let (supervisor, _) = started.expect("supervisord");
        Self {
            host,
            discord,
            supervisor,
        }
    }

    /// The process that serves every shard, and the epochs of all.
    async fn settled(&self) -> (u32, Vec<u64>) {
        let admin = Endpoint::Unix(self.host.dir.path().join("run/admin.sock"));
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = admin.get::<Value>("/v1/status").await.unwrap_or_default();
            let shards = status["shards"].as_array().cloned().unwrap_or_default();
            let serving = shards.iter().filter(|shard| shard["state"] == "serving");
            let slaves = status["slaves"].as_array().cloned().unwrap_or_default();
            if serving.count() == SHARDS as usize
                && slaves.len() == 1
                && status["adopting"] == false
                && status["deploy"].is_null()
            {
                let pid = slaves[0]["pid"].as_u64().unwrap();
                let epochs = shards.iter().map(|shard| shard["epoch"].as_u64().unwrap());
                return (u32::try_from(pid).unwrap(), epochs.collect());
            }
            let log = fs::read_to_string(self.host.path("logs/master.log")).unwrap_or_default();
            let words = self.supervisor.last_words();
            assert!(Instant::now() < deadline, "{status}\n{words}\n{log}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn control(&self, verb: &str) -> String {
        let configuration = self.host.path("etc/supervisord.conf");
        let mut command = Command::new("supervisorctl");
        command.args(["-c", &configuration, verb, "baton-master"]);
        output(command).await
    }

    async fn pid(&self) -> u32 {
        let said = self.control("pid").await;
        said.trim().parse().unwrap_or_else(|_| panic!("{said}"))
    }

    /// Waits until supervisor runs another process than `before`.
    async fn after(&self, before: u32) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let now = self.control("pid").await.trim().parse().unwrap_or(0);
            if now != 0 && now != before {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{}",
                self.supervisor.last_words()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn master(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.host.path("usr/bin/baton-master"));
        command.args(arguments);
        command.args(["--config", &self.host.path("etc/baton/baton.toml")]);
        output(command).await
    }

    /// Pauses traffic and compares what was sent with what was handled.
    async fn exact(&self) {
        self.discord.traffic(0.0).await.expect("traffic");
        let sinks = self.host.dir.path().join("sinks");
        let deadline = Instant::now() + LIMIT;
        loop {
            let sent = self.discord.ledger().await.expect("a ledger");
            let handled = read_sinks(&sinks).expect("records");
            let verdict = Exactness::of(&sent, &handled);
            if verdict.is_exact() {
                return;
            }
            assert!(Instant::now() < deadline, "{verdict:#?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Trial {
    /// The slave outlives everybody on purpose, but not its test.
    fn drop(&mut self) {
        kill_processes_naming(&self.host.path(""));
    }
}

fn configuration(host: &Host, discord: &Discord) -> String {
    let command = [
        host.path("usr/bin/baton-slave"),
        "--gateway-url".to_owned(),
        discord.gateway_url.clone(),
        "--intents".to_owned(),
        INTENTS.to_string(),
        "--sink".to_owned(),
        format!("file:{}/%p.jsonl", host.path("sinks")),
    ];
    let mut text = format!(
        "runtime_dir = {:?}\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\napi_url = {:?}\n",
        host.path("run"),
        host.path("state"),
        discord.rest_url
    );
    let _ = write!(
        text,
        "shard_count = {SHARDS}\n[[slot]]\nname = \"main\"\ncommand = {command:?}\n\
         [limits]\ncontact = \"300ms\"\nidentify_window = \"20ms\"\nadopt_grace = \"2s\"\n"
    );
    text
}

/// What Debian's package has in `/etc/supervisor/supervisord.conf`, in the scratch
/// folder.
fn supervisord(host: &Host) -> String {
    format!(
        "[unix_http_server]\nfile={socket}\n\
         [supervisord]\nlogfile={log}\npidfile={pid}\nchildlogdir={tmp}\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{socket}\n\
         [include]\nfiles = {conf}\n",
        socket = host.path("tmp/supervisor.sock"),
        log = host.path("logs/supervisor.log"),
        pid = host.path("tmp/supervisord.pid"),
        tmp = host.path("tmp"),
        conf = host.path("etc/supervisor/conf.d/*.conf"),
    )
}

async fn output(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
