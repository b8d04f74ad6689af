//! The manifests of Kubernetes: good by its schemas, and for each other; and what they run is
//! what the programs know.

use super::*;
use crate::docs::flags;

/// Python with the schemas; `None`: it is not there, which is said.
fn python() -> Option<PathBuf> {
    let python = root().join("target/schemas/bin/python");
    if python.is_file() {
        return Some(python);
    }
    let all = ["CI", "BATON_SERVICES"].map(|word| std::env::var_os(word).is_some());
    assert!(!all.contains(&true), "no schemas: scripts/schemas");
    eprintln!("passed over: no schemas of Kubernetes here; scripts/schemas installs them");
    None
}

fn check(python: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(python);
    command.arg(root().join("scripts/packaging/check-kubernetes"));
    let output = command.args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

fn manifests() -> PathBuf {
    root().join("scripts/packaging/kubernetes")
}

#[test]
fn the_manifests_are_good_by_the_schemas_and_agree_with_each_other() {
    let Some(python) = python() else {
        return;
    };
    let (code, said) = check(&python, &[]);
    assert_eq!(code, Some(0), "{said}");
    // It sees each of these.
    for (file, text, instead, expected) in [
        ("slots.yaml", "maxSurge: 1", "maxSurg: 1", "maxSurg"),
        ("slots.yaml", "replicas: 1", "replicas: one", "replicas"),
        (
            "slots.yaml",
            "maxSurge: 1",
            "maxSurge: 0",
            "one more during a deploy",
        ),
        (
            "slots.yaml",
            "automountServiceAccountToken: false",
            "hostPID: true",
            "are not those",
        ),
        (
            "slots.yaml",
            "--slot=west",
            "--slot=north",
            "no slot 'north'",
        ),
        (
            "slots.yaml",
            "--followed=120s",
            "--followed=140s",
            "killed before the 180 s",
        ),
        (
            "slots.yaml",
            "agent-status, --ready",
            "agent-status",
            "ready before it serves",
        ),
        (
            "slots.yaml",
            "[baton-master, agent-status]",
            "[baton-master, agent-status, --ready]",
            "waits for a master is killed",
        ),
        (
            "slots.yaml",
            "secretName: slave-tls",
            "secretName: slaves",
            "no secret slaves",
        ),
        (
            "slots.yaml",
            "fleet/secret",
            "fleet/secrets",
            "fleet/secrets is not mounted",
        ),
        (
            "slots.yaml",
            "defaultMode: 0440",
            "defaultMode: 0444",
            "others may read it",
        ),
        (
            "slots.yaml",
            "baton-slave:v1",
            "baton-slave",
            "no version in baton-slave",
        ),
        (
            "master.yaml",
            "name = \"west\"",
            "name = \"south\"",
            "slot south is not both",
        ),
        (
            "master.yaml",
            "serviceName: baton-master",
            "serviceName: baton",
            "no Service baton",
        ),
        (
            "access.yaml",
            "kind: Role\n  name: deploy",
            "kind: Role\n  name: other",
            "no Role other",
        ),
        (
            "deploy.yaml",
            "value: east west",
            "value: east",
            "its slots are",
        ),
        (
            "deploy.yaml",
            "serviceAccountName: deploy",
            "serviceAccountName: x",
            "no ServiceAccount x",
        ),
    ] {
        let changed = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(manifests()).unwrap().flatten() {
            fs::copy(entry.path(), changed.path().join(entry.file_name())).unwrap();
        }
        let path = changed.path().join(file);
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains(text), "{file}: {text}");
        fs::write(&path, whole.replace(text, instead)).unwrap();
        let (code, said) = check(&python, &[&changed.path().display().to_string()]);
        assert_eq!(code, Some(1), "{text}: {said}");
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn what_the_manifests_run_the_programs_know() {
    let Some(python) = python() else {
        return;
    };
    let (_, lines) = check(&python, &["--commands"]);
    assert!(lines.lines().count() > 4, "{lines}");
    for line in lines.lines() {
        let words: Vec<String> = serde_json::from_str(line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        flags::check(&words).unwrap_or_else(|wrong| panic!("{line}: {wrong}"));
    }
}

#[test]
fn the_master_of_the_manifests_has_a_good_configuration() {
    let Some(python) = python() else {
        return;
    };
    let (_, text) = check(&python, &["--config"]);
    let host = Host::new();
    let certs = |arguments: &[&str]| {
        let output = Command::new(program("baton-master").unwrap())
            .arg("certs")
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let (ca, tls) = (host.path("ca"), host.path("etc/baton/tls"));
    certs(&["init", "--ca", &ca, "--fleet", "my-bot"]);
    certs(&[
        "issue",
        "--ca",
        &ca,
        "--role",
        "master",
        "--host",
        "baton-master-0",
        "--out",
        &tls,
    ]);
    fs::create_dir_all(host.path("etc/baton/fleet")).unwrap();
    for file in ["token", "read-token"] {
        let path = PathBuf::from(host.path(&format!("etc/baton/fleet/{file}")));
        fs::write(&path, format!("{file}-of-a-test\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
    }
    let config = host.path("baton.toml");
    fs::write(&config, host.within(&text)).unwrap();
    let output = Command::new(program("baton-master").unwrap())
        .args(["check-config", "--config", &config])
        .env_clear()
        .env("BATON_RUNTIME_DIR", host.path("run"))
        .env("BATON_DATA_DIR", host.path("data"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// `kubectl` is played: it writes down what it is told, and one rollout of it fails.
#[test]
fn the_job_deploys_slot_by_slot_and_takes_back_the_first_one_that_fails() {
    let text = fs::read_to_string(manifests().join("deploy.yaml")).unwrap();
    let (_, script) = text.split_once("            - |\n").unwrap();
    let script: String = script
        .lines()
        .take_while(|line| line.starts_with("              "))
        .map(|line| format!("{}\n", line.trim_start_matches("              ")))
        .collect();
    let host = Host::new();
    host.program(
        "bin/kubectl",
        "echo \"$@\" >>\"$SAID\"; case \"$*\" in *status*west*) [ -e \"$SAID.undone\" ] ;; \
         *undo*) : >\"$SAID.undone\" ;; esac",
    );
    let said = host.path("said");
    let output = Command::new("sh")
        .args(["-euc", &script])
        .env("PATH", format!("{}:/usr/bin:/bin", host.path("bin")))
        .env("SAID", &said)
        .env("IMAGE", "my-bot:v2")
        .env("SLOTS", "east west north")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let status = |slot: &str| format!("rollout status deployment/bot-{slot} --timeout=15m\n");
    let expected = [
        "set image deployment/bot-east bot=my-bot:v2\n".to_owned(),
        status("east"),
        "set image deployment/bot-west bot=my-bot:v2\n".to_owned(),
        status("west"),
        "rollout undo deployment/bot-west\n".to_owned(),
        status("west"),
    ];
    assert_eq!(fs::read_to_string(&said).unwrap(), expected.concat());
}
