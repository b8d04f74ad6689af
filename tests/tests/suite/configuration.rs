//! Wrong configuration ends with exit code 2 and one line that says what to
//! change, for each program.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use baton_tests::process::program;
use tempfile::TempDir;

struct Wrong {
    folder: TempDir,
}

impl Wrong {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program with an environment of its own.
    fn run(&self, name: &str, arguments: &[&str], token: Option<&str>) -> Output {
        let mut command = Command::new(program(name).unwrap());
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null());
        if let Some(token) = token {
            command.env("DISCORD_TOKEN", token);
        }
        command.output().unwrap()
    }

    /// Runs it, and asserts the exit code and that the one line names `all`.
    #[track_caller]
    fn refused(&self, name: &str, arguments: &[&str], token: Option<&str>, all: &[&str]) {
        let output = self.run(name, arguments, token);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for part in all {
            assert!(said.contains(part), "{arguments:?}: no `{part}` in {said}");
        }
    }

    /// A master's configuration file with its folders here.
    fn master(&self, more: &str) -> String {
        let folder = self.path().display();
        let text = format!("runtime_dir = \"{folder}/run\"\ndata_dir = \"{folder}/data\"\n{more}");
        let path = self.path().join("baton.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

#[test]
fn a_master_that_is_configured_wrongly_says_what_to_change() {
    let wrong = Wrong::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!(
        "listen = \"{}\"\nshard_count = 1\n",
        taken.local_addr().unwrap()
    );
    let cases = [
        (
            port.as_str(),
            ["another process uses it", "choose another port"],
        ),
        (
            "listen = \"nowhere\"\nshard_count = 1\n",
            ["listen", "not an address"],
        ),
        (
            "listen = \"0.0.0.0:0\"\nshard_count = 1\n",
            ["other hosts", "baton-master certs init"],
        ),
        ("listen = \"127.0.0.1:0\"\n", ["no token", "DISCORD_TOKEN"]),
        (
            "lisen = \"127.0.0.1:0\"\n",
            ["baton.toml:3", "unknown key `lisen`"],
        ),
        ("shard_count = \"many\"\n", ["baton.toml:3", "shard_count"]),
        ("shard_count = 0\n", ["shard_count", "1"]),
        (
            "listen = \"127.0.0.1:0\"\nshard_count = 1\n[[slot]]\nname = \"main\"\ncommand = [\"/no/such/bot\"]\n",
            ["slot `main`", "/no/such/bot"],
        ),
        ("[limits]\nseal = \"soon\"\n", ["baton.toml:4", "seal"]),
        ("= 1", ["baton.toml:3", ""]),
    ];
    for (text, all) in cases {
        let file = wrong.master(text);
        wrong.refused("baton-master", &["run", "--config", &file], None, &all);
    }
    let absent = ["absent.toml", "cannot be read"];
    wrong.refused(
        "baton-master",
        &["run", "--config", "absent.toml"],
        None,
        &absent,
    );
    wrong.refused("baton-master", &["rn"], None, &["rn", "--help"]);
    wrong.refused("baton-master", &["run", "--bogus"], None, &["--bogus"]);
    let file = wrong.master("");
    let deploy = ["deploy", "--config", &file, "--", "/no/such/bot"];
    wrong.refused("baton-master", &deploy, None, &["/no/such/bot"]);
}

#[test]
fn a_slave_that_is_configured_wrongly_says_what_to_change() {
    let wrong = Wrong::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--master", "nowhere"], &["master", "HOST:PORT"]),
        (&["--gateway-url", "http://x"], &["gateway_url", "wss://"]),
        (&["--intents", "-1"], &["--intents", "-1"]),
        (&["--intents", "GUILDS,NOISE"], &["NOISE"]),
        (&["--window", "0"], &["window"]),
        (&["--large-threshold", "10"], &["large", "50"]),
        (
            &["--sink", "file:/no/such/folder/x"],
            &["sink", "/no/such/folder/x"],
        ),
        (&["--inspect", &port], &["inspect", &port, "unix:"]),
        (&["--inspect", "0.0.0.0:1"], &["inspect", "loopback"]),
        (&["--config", "absent.toml"], &["absent.toml"]),
        (&["--token-file", "absent"], &["token_file", "absent"]),
        (&["--bogus"], &["--bogus"]),
    ];
    for (arguments, all) in cases {
        wrong.refused("baton-slave", arguments, Some("secret-token"), all);
    }
    wrong.refused("baton-slave", &[], None, &["no token", "DISCORD_TOKEN"]);
    let file = wrong.path().join("slave.toml");
    let file_name = file.display().to_string();
    for (text, part) in [
        ("windw = 1\n", "unknown key `windw`"),
        ("build = \"a\"\nwindow = \"x\"\n", "window"),
        ("intents = -1\n", "intents"),
    ] {
        std::fs::write(&file, text).unwrap();
        let all = [part, "slave.toml:"];
        wrong.refused("baton-slave", &["--config", &file_name], Some("t"), &all);
    }
}

#[test]
fn a_simulated_discord_that_is_configured_wrongly_says_what_to_change() {
    let wrong = Wrong::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--listen", &port], &[&port, "choose another"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
        (&["--control", "0.0.0.0:0"], &["loopback"]),
        (
            &["--cert", "absent.pem", "--key", "absent.key"],
            &["absent.pem"],
        ),
        (&["--rate", "-3"], &["rate"]),
        (&["--bogus"], &["--bogus"]),
    ];
    for (arguments, all) in cases {
        wrong.refused("baton-discord", arguments, None, all);
    }
}

#[test]
fn a_demo_that_is_asked_for_nonsense_says_what_to_change() {
    let wrong = Wrong::new();
    for arguments in [
        ["--shards", "0"],
        ["--rate", "-1"],
        ["--rate", "NaN"],
        ["--rtt", "fast"],
    ] {
        wrong.refused("baton-demo", &arguments, None, &[arguments[0], "--help"]);
    }
}

#[test]
fn a_deploy_of_nothing_says_what_to_change() {
    let wrong = Wrong::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/deploy");
    let output = Command::new(script)
        .arg("no-such-bot")
        .current_dir(wrong.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "deploy: command not found: no-such-bot; give a path or a program in PATH\n"
    );
}
