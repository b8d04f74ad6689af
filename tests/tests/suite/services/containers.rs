//! The compose file: what it names is there, and its brokers are locked up.

use super::*;

fn check(folder: &Path) -> (Option<i32>, String) {
    let mut command = Command::new("python3");
    command.arg(root().join("scripts/packaging/check-compose"));
    let output = command.arg(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

#[test]
fn the_compose_file_names_only_what_is_there_and_locks_its_brokers_up() {
    let folder = root().join("scripts/packaging/containers");
    if !there("python3", "python3") || !there_in_python("yaml", "python3-yaml") {
        return;
    }
    let (code, said) = check(&folder);
    assert_eq!(code, Some(0), "{said}");
    // It sees each of these.
    let whole = fs::read_to_string(folder.join("compose.yaml")).unwrap();
    for (text, instead, expected) in [
        ("COMPOSE_PROFILES=nats", "", "the profile nats"),
        (
            "profiles: [redis]",
            "profiles: [next]",
            "no service has the profile redis",
        ),
        (
            "nats://nats:4222",
            "nats://nat:4222",
            "no service is called so",
        ),
        ("- nats:/data", "- natses:/data", "no volume natses"),
        ("./rabbitmq.conf", "./rabbit.conf", "no file ./rabbit.conf"),
        (
            "profiles: [nats]",
            "profiles: [nats]\n    ports: [\"4222:4222\"]",
            "4222:4222 is open to everybody",
        ),
        (
            "BATON_SINK: ${BATON_SINK:-none}",
            "BATON_SINK: amqp://a:b@rabbitmq:5672",
            "has a password",
        ),
        (
            "cap_drop: [ALL]",
            "pid: host",
            "are not those of its container alone",
        ),
        (
            "DISCORD_TOKEN: simulated",
            "DISCORD_TOKEN: Mz",
            "is a secret",
        ),
        (
            "image: redis:8.0-alpine",
            "image: redis",
            "no version in redis",
        ),
    ] {
        let changed = tempfile::tempdir().unwrap();
        for file in [
            "nats.conf",
            "rabbitmq.conf",
            "redis.conf",
            "prometheus.yaml",
        ] {
            fs::copy(folder.join(file), changed.path().join(file)).unwrap();
        }
        assert!(whole.contains(text), "{text}");
        let compose = changed.path().join("compose.yaml");
        fs::write(compose, whole.replace(text, instead)).unwrap();
        let (code, said) = check(changed.path());
        assert_eq!(code, Some(1), "{text}");
        assert!(said.contains(expected), "{text}: {said}");
    }
}
