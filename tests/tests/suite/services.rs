//! What a host is given: the installer, the units of systemd, and supervisor.
//!
//! Debian packages that are not there are named, and what needs them is passed
//! over, unless `BATON_SERVICES=all` (set by `scripts/services`) makes that a
//! failure.

mod containers;
mod kubernetes;
mod monitoring;
mod supervisor;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use baton_tests::process::program;
use tempfile::TempDir;

/// Only a broken test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// Every file that an installation for systemd has, with its mode.
const SYSTEMD: [(&str, u32); 16] = [
    ("usr/local/bin/baton-master", 0o755),
    ("usr/local/bin/baton-slave", 0o755),
    ("usr/local/bin/baton-slave-unit", 0o755),
    (
        "usr/local/share/bash-completion/completions/baton-master",
        0o644,
    ),
    ("usr/local/share/man/man1/baton-master.1", 0o644),
    ("usr/local/share/man/man1/baton-master-deploy.1", 0o644),
    ("usr/local/share/doc/baton/NOTICE", 0o644),
    ("usr/local/share/doc/baton/LICENSE-MIT", 0o644),
    ("usr/local/share/doc/baton/LICENSE-APACHE", 0o644),
    ("etc/baton/baton.toml", 0o644),
    ("etc/baton/token", 0o600),
    ("etc/baton/admin-token", 0o600),
    ("etc/systemd/system/baton-master.service", 0o644),
    ("etc/systemd/system/baton-master.socket", 0o644),
    ("etc/systemd/system/baton-agent.service", 0o644),
    ("var/lib/baton", 0o700),
];

#[test]
fn an_installation_is_whole_and_a_second_one_changes_nothing() {
    let host = Host::new();
    let destdir = host.path("");
    let said = host.install(&["--destdir", &destdir]);
    for (path, mode) in SYSTEMD {
        let metadata = fs::metadata(host.dir.path().join(path)).expect(path);
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
    assert!(said.contains("what is left to do"), "{said}");
    let units = PathBuf::from("scripts/packaging/systemd");
    for unit in [
        "baton-master.service",
        "baton-master.socket",
        "baton-agent.service",
    ] {
        let installed = host.read(&format!("etc/systemd/system/{unit}"));
        assert_eq!(
            installed,
            fs::read_to_string(root().join(&units).join(unit)).unwrap()
        );
    }

    fs::write(host.path("etc/baton/baton.toml"), "shard_count = 3\n").unwrap();
    fs::write(host.path("etc/baton/token"), "DISCORD_TOKEN=x\n").unwrap();
    let said = host.install(&["--destdir", &destdir]);
    assert!(!said.contains("\n  install"), "{said}");
    assert_eq!(host.read("etc/baton/baton.toml"), "shard_count = 3\n");
    assert_eq!(host.read("etc/baton/token"), "DISCORD_TOKEN=x\n");
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let host = Host::new();
    let said = host.install(&["--dry-run", "--destdir", &host.path("")]);
    for (path, _) in SYSTEMD {
        assert!(said.contains(path), "{path}: {said}");
    }
    assert_eq!(fs::read_dir(host.dir.path()).unwrap().count(), 0);
    let said = host.install(&["--dry-run", "--start", "--from", &programs()]);
    assert!(
        said.contains("  systemctl enable --now baton-master.socket"),
        "{said}"
    );
}

#[test]
fn a_wrong_installation_is_refused_with_one_line() {
    let host = Host::new();
    for (arguments, expected) in [
        (&["--prefx", "/x"][..], "--prefx"),
        (&["--prefix"][..], "needs a value"),
        (&["--prefix", "x"][..], "absolute"),
        (&["--from", "/nonexistent"][..], "cargo build --release"),
    ] {
        let output = host.try_install(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(expected) && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn the_installed_configuration_is_good() {
    let host = Host::new();
    host.install_here(&[]);
    let check = || {
        Command::new(host.path("usr/bin/baton-master"))
            .args(["check-config", "--config"])
            .arg(host.path("etc/baton/baton.toml"))
            .env_clear()
            .output()
            .unwrap()
    };
    // A bot that nobody chose would identify every shard.
    let toml = host.read("etc/baton/baton.toml");
    assert!(
        !toml.lines().any(|line| line.starts_with("command")),
        "{toml}"
    );
    // What is left to do is said.
    let said = String::from_utf8(check().stderr).unwrap();
    assert!(
        said.contains("there is no token in it") && said.lines().count() == 1,
        "{said}"
    );
    fs::write(host.path("etc/baton/token"), "DISCORD_TOKEN=x\n").unwrap();
    let output = check();
    assert!(output.status.success(), "{output:?}");
}

/// `systemd-run` is played: it ends in the slave, as a scope does.
#[test]
fn a_slave_in_a_unit_of_its_own_keeps_process_environment_and_bounds() {
    let host = Host::new();
    host.install_here(&[]);
    let played = "echo $$ $XDG_RUNTIME_DIR \"$@\" >&2; \
                  while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";
    host.program("bin/systemd-run", played);
    let unit = fs::read_to_string(host.path("usr/bin/baton-slave-unit")).unwrap();
    let manager = host.path("manager");
    fs::create_dir(&manager).unwrap();
    let _bus = UnixListener::bind(format!("{manager}/bus")).unwrap();
    let unit = unit.replace("/run/user/$(id -u)", &manager);
    fs::write(host.path("unit"), unit).unwrap();
    let path = format!("{}:/usr/bin:/bin", host.path("bin"));
    let output = Command::new("sh")
        .args([
            &host.path("unit"),
            "sh",
            "-c",
            "echo $$ ${XDG_RUNTIME_DIR-none} $BATON_SECRET",
        ])
        .env_clear()
        .env("PATH", path)
        .env("BATON_SLOT", "eu west")
        .env("BATON_SECRET", "hush")
        .env("BATON_UNIT_PROPERTIES", "MemoryMax=2G CPUWeight=200")
        .output()
        .unwrap();
    let (said, asked) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let (pid, _) = asked.split_once(' ').expect("systemd-run was called");
    assert_eq!(said, format!("{pid} none hush\n"), "{asked}");
    for expected in [
        &manager,
        "--user --scope",
        "--property=MemoryMax=2G",
        "--property=CPUWeight=200",
        &format!("--unit=baton-slave-eu_west-{pid} "),
    ] {
        assert!(asked.contains(expected), "{expected}: {asked}");
    }
    assert!(!asked.contains("hush"), "the secret is on no command line");
}

#[test]
fn units_pass_systemd_analyze_verify() {
    if !there("systemd-analyze", "systemd") {
        return;
    }
    // The paths of the programs are looked up: here they exist.
    let host = Host::new();
    host.install_here(&[]);
    let service = host.path("etc/systemd/system/baton-master.service");
    let socket = host.path("etc/systemd/system/baton-master.socket");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", &service, &socket])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("baton")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");

    // 0 is shut in completely, 10 not at all.
    let output = Command::new("systemd-analyze")
        .args([
            "security",
            "--offline=yes",
            "--no-pager",
            "--threshold=30",
            &service,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_master_that_another_one_deposed_takes_its_socket_with_it_and_no_other_end_does() {
    let host = Host::new();
    host.program("bin/systemctl", "echo systemctl \"$@\"");
    host.program("bin/sleep", "echo sleep \"$@\"");
    let unit = root().join("scripts/packaging/systemd/baton-master.service");
    let unit = fs::read_to_string(unit).unwrap();
    let commands = unit.lines().filter_map(|line| {
        let command = line.strip_prefix("ExecStopPost=")?;
        let script = command
            .trim_start_matches('+')
            .strip_prefix("/bin/sh -c '")?;
        Some(script.strip_suffix('\'')?.replace("$$", "$"))
    });
    let commands: Vec<String> = commands.collect();
    let done = |status: &str| {
        let run = |script: &String| {
            let output = Command::new("/bin/sh")
                .args(["-c", script])
                .env("PATH", host.path("bin"))
                .env("EXIT_STATUS", status)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        commands.iter().map(run).collect::<String>()
    };
    assert_eq!(done("4"), "systemctl --no-block stop baton-master.socket\n");
    assert_eq!(done("2"), "sleep 15\n");
    for status in ["0", "1", "KILL", "TERM"] {
        assert_eq!(done(status), "", "{status}");
    }
}

/// A host's root in a scratch folder.
pub(crate) struct Host {
    dir: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, path: &str) -> String {
        self.dir.path().join(path).display().to_string()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn try_install(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(root().join("scripts/install"));
        if !arguments.contains(&"--from") {
            command.args(["--from", &programs()]);
        }
        command.args(arguments).current_dir(self.dir.path());
        command.output().unwrap()
    }

    fn install(&self, arguments: &[&str]) -> String {
        let output = self.try_install(arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{errors}");
        said
    }

    /// A command line or a file with the paths of this host.
    pub(crate) fn within(&self, text: &str) -> String {
        let places = [
            "/etc/baton",
            "/run/baton",
            "/usr/local",
            "/var/lib/baton",
            "/var/log/baton",
        ];
        places.iter().fold(text.to_owned(), |text, place| {
            text.replace(place, &self.path(place.trim_start_matches('/')))
        })
    }

    /// A program, as a script.
    pub(crate) fn program(&self, path: &str, script: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// With every path in the scratch folder, for the user who runs the tests.
    pub(crate) fn install_here(&self, more: &[&str]) -> String {
        let user = Command::new("id").arg("-un").output().unwrap();
        let user = String::from_utf8(user.stdout).unwrap();
        let places = [
            ("--prefix", "usr"),
            ("--etc", "etc"),
            ("--run", "run"),
            ("--state", "state"),
            ("--logs", "logs"),
        ];
        let mut arguments = vec!["--user".to_owned(), user.trim().to_owned()];
        for (flag, path) in places {
            arguments.extend([flag.to_owned(), self.path(path)]);
        }
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.install(&arguments)
    }
}

/// Whether a program of a Debian package can be run; said if not.
pub(crate) fn there(name: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    is_there(found, name, package)
}

/// The same of a module of Python.
fn there_in_python(module: &str, package: &str) -> bool {
    let mut command = Command::new("python3");
    let found = command.args(["-c", &format!("import {module}")]).output();
    let found = found.is_ok_and(|output| output.status.success());
    is_there(found, module, package)
}

fn is_there(found: bool, name: &str, package: &str) -> bool {
    if !found {
        let all = std::env::var_os("BATON_SERVICES").is_some_and(|word| word == "all");
        assert!(!all, "{name} is missing: apt-get install {package}");
        eprintln!("passed over: no {name} here; apt-get install {package}, or scripts/services");
    }
    found
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the programs that were built.
pub(crate) fn programs() -> String {
    let master = program("baton-master").expect("scripts/test builds it");
    master.parent().unwrap().display().to_string()
}
