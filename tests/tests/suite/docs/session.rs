//! The commands of a document, typed one after the other: in one shell, beside a
//! fleet that serves, on a host whose root is a scratch folder.

use std::{fs, process::Stdio, time::Duration};

use baton_tests::{
    discord::TOKEN,
    fleet::{Fleet, FleetOptions},
    parts::kill_processes_naming,
};
use tokio::{process::Command, time::timeout};

use super::{Kind, of, root};
use crate::services::{Host, programs, there};

/// For all commands of one document.
const LIMIT: Duration = Duration::from_secs(150);

#[tokio::test]
async fn what_the_operator_types_does_what_the_guide_says() {
    typed("docs/operating.md").await;
}

#[tokio::test]
async fn what_somebody_who_moves_types_does_what_the_guide_says() {
    typed("docs/moving.md").await;
}

#[tokio::test]
async fn what_a_bot_author_types_does_what_the_guide_says() {
    typed("docs/bots.md").await;
}

async fn typed(document: &str) {
    if !there("curl", "curl") {
        return;
    }
    let options = FleetOptions {
        launch: true,
        ..FleetOptions::default()
    };
    let fleet = Fleet::start(options).await.expect("a fleet");
    fleet.all_serving(LIMIT).await.expect("a cold start");
    let host = Host::new();
    furnish(&host, &fleet);
    let script = host.within(&script(document));
    let log = host.path("said");
    let said = fs::File::create(&log).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .current_dir(host.path(""))
        .env_clear()
        .env(
            "PATH",
            format!("{}:{}:{path}", host.path("bin"), programs()),
        )
        .env("HOME", host.path("home"))
        .env("XDG_CONFIG_HOME", host.path("etc"))
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .kill_on_drop(true);
    let ended = timeout(LIMIT, shell.status()).await;
    let said = fs::read_to_string(&log).unwrap();
    // Nothing that a document started outlives its test.
    kill_processes_naming(&host.path(""));
    let ended = ended.unwrap_or_else(|_| panic!("{document} does not end:\n{said}"));
    assert!(ended.unwrap().success(), "{said}");
    fleet.shut_down().await.expect("it ends");
}

/// Every block in its place; the first that ends otherwise than it says ends all.
fn script(document: &str) -> String {
    let mut script = String::new();
    for block in of(document, |kind| matches!(kind, Kind::Run(_))) {
        let Kind::Run(code) = block.kind else {
            continue;
        };
        let (at, text) = (&block.at, &block.text);
        script.push_str(&format!("echo '== {at}'\n"));
        if code == 0 {
            // Each command of it must do what it is to do.
            for command in commands(text) {
                script.push_str(&format!(
                    "{command} || {{ echo 'failed: {at}'; exit 1; }}\n"
                ));
            }
        } else {
            script.push_str(&format!(
                "({text}); [ $? = {code} ] || {{ echo 'not {code}: {at}'; exit 1; }}\n"
            ));
        }
    }
    script
}

/// One a line; what is in the background cannot fail here.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match line.strip_suffix('&') {
            Some(background) => format!("{background} & true"),
            None => line.to_owned(),
        })
        .collect()
}

/// Puts in place what a reader has by then.
fn furnish(host: &Host, fleet: &Fleet) {
    for folder in [
        "bin",
        "etc/baton",
        "home",
        "scripts",
        "run",
        "usr/local/bin",
    ] {
        fs::create_dir_all(host.path(folder)).unwrap();
    }
    // Where the commands look for the master by themselves.
    let config = fleet.folder().join("baton.toml");
    fs::copy(config, host.path("etc/baton/baton.toml")).unwrap();
    std::os::unix::fs::symlink(fleet.folder().join("run"), host.path("run/baton")).unwrap();
    host.program("bin/sudo", "exec \"$@\"");
    let bot = fleet.slave_command("v1", &[]).expect("a slave").join(" ");
    let inspect = format!("unix:{}/inspect-%p", host.path("home"));
    for name in ["usr/local/bin/my-bot", "bin/my-bot"] {
        host.program(
            name,
            &format!("export DISCORD_TOKEN={TOKEN}; exec {bot} --inspect {inspect} \"$@\""),
        );
    }
    host.program(
        "scripts/install",
        &format!(
            "exec {} --from {} --destdir {} \"$@\"",
            root().join("scripts/install").display(),
            programs(),
            host.path("destdir")
        ),
    );
}

#[test]
fn a_block_becomes_commands_that_each_must_end_well() {
    let text = "a \\\n  b\nc &\n\nd\n";
    assert_eq!(commands(text), ["a    b", "c  & true", "d"]);
}
