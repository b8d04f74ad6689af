//! What the documentation says is true: every block of it is run, parsed or
//! compared. Rust blocks are tests of the documentation (`tests/src/lib.rs`).

mod block;
mod bots;
pub(crate) mod flags;
mod places;
mod session;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use baton_tests::process::program;

use self::block::{Block, Kind, blocks};
use crate::services::{Host, there};

/// Every document whose blocks are checked here.
pub(crate) const DOCUMENTS: [&str; 29] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "docs/benchmarks.md",
    "docs/bots.md",
    "docs/commands.md",
    "docs/envelope.md",
    "docs/fleet.md",
    "docs/large-bots.md",
    "docs/maintainers/master.md",
    "docs/maintainers/proof.md",
    "docs/maintainers/proxy.md",
    "docs/maintainers/sink.md",
    "docs/maintainers/slave.md",
    "docs/maintainers/store.md",
    "docs/master.md",
    "docs/moving-from-go.md",
    "docs/moving.md",
    "docs/operating.md",
    "docs/promises.md",
    "docs/proxy.md",
    "docs/simulated-discord.md",
    "docs/snapshots.md",
    "docs/twitch-consumers.md",
    "docs/twitch.md",
    "docs/voice.md",
    "docs/wire.md",
    "docs/workers.md",
];

/// The front pages of the packages, which rustdoc shows too. Their blocks are tests of
/// their packages.
const FRONT_PAGES: [&str; 15] = [
    "log/README.md",
    "master/README.md",
    "master/core/README.md",
    "protocol/README.md",
    "slave/README.md",
    "slave/proxy/README.md",
    "slave/relay/README.md",
    "slave/sink/README.md",
    "slave/store/README.md",
    "tests/README.md",
    "tests/brokers/README.md",
    "tests/discord/README.md",
    "tests/lavalink/README.md",
    "tests/testing/README.md",
    "twitch/README.md",
];

#[test]
fn every_document_is_known_and_every_link_in_it_leads_somewhere() {
    let mut found = Vec::new();
    for folder in ["", "docs/", "docs/maintainers/"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        found.extend(
            names
                .map(|name| format!("{folder}{}", name.to_string_lossy()))
                .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md")),
        );
    }
    found.sort();
    assert_eq!(found, DOCUMENTS);
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => root().join(document),
                path => root().join(document).with_file_name("").join(path),
            };
            let target = fs::read(&target).unwrap_or_else(|_| panic!("{document}: {link}"));
            let target = String::from_utf8_lossy(&target);
            let known = target.lines().filter(|line| line.starts_with('#'));
            assert!(
                heading.is_empty() || known.map(anchor).any(|known| known == heading),
                "{document}: {link}"
            );
        }
    }
}

#[test]
fn front_pages_are_short_and_have_no_link_that_is_dead_on_one_of_their_two_pages() {
    for (page, lines) in FRONT_PAGES
        .map(|page| (page, 80))
        .into_iter()
        .chain([("README.md", 120)])
    {
        let text = fs::read_to_string(root().join(page)).unwrap();
        assert!(text.lines().count() <= lines, "{page} is long");
        // A path leads nowhere in rustdoc, the name of an item nowhere else.
        assert!(
            page == "README.md" || !text.contains("]("),
            "{page}: a link"
        );
    }
}

#[test]
fn a_line_of_a_document_has_one_sentence() {
    for document in DOCUMENTS.into_iter().chain(FRONT_PAGES) {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let mut in_block = false;
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if !in_block && !line.starts_with(['|', '#']) {
                let number_of_a_list = |c: char| c == ' ' || c == '.' || c.is_ascii_digit();
                let sentences = line.trim_start_matches(number_of_a_list);
                let two = sentences.split(['.', '!', '?']).skip(1).any(|rest| {
                    let mut rest = rest.chars();
                    let space = rest.next() == Some(' ');
                    space && rest.next().is_some_and(char::is_uppercase)
                });
                assert!(!two, "{document}:{}: {line}", number + 1);
            }
        }
    }
}

#[test]
fn every_rust_block_is_compiled() {
    let compiled = fs::read_to_string(root().join("tests/src/lib.rs")).unwrap();
    for document in DOCUMENTS {
        let has_rust = of(document, |kind| *kind == Kind::Rust).next().is_some();
        let included = compiled.contains(&format!("include_str!(\"../../{document}\")"));
        assert_eq!(has_rust, included, "{document} in tests/src/lib.rs");
    }
}

#[test]
fn the_state_in_the_guide_is_that_of_the_example() {
    let example = fs::read_to_string(root().join("slave/examples/counts.rs")).unwrap();
    let mut blocks = of("docs/bots.md", |kind| *kind == Kind::Rust);
    let block = blocks.find(|block| block.text.contains("impl State for Counts"));
    let block = block.expect("the guide shows state of its own");
    let (_, shown) = block.text.split_once("/// The first byte").unwrap();
    let (shown, _) = shown.split_once("// A test").unwrap();
    assert!(example.contains(shown.trim_end()), "{}", block.at);
}

#[test]
fn configurations_in_the_documentation_are_good() {
    for document in DOCUMENTS {
        for block in of(document, |kind| *kind == Kind::MasterConfig) {
            let host = Host::new();
            for program in ["my-bot", "baton-slave", "baton-slave-unit", "baton-twitch"] {
                host.program(&format!("usr/local/bin/{program}"), "exit 0");
            }
            fs::create_dir_all(host.path("etc/baton")).unwrap();
            for token in ["token", "admin-token", "read-token"] {
                let text = format!("{token}-of-a-test\n");
                fs::write(host.path(&format!("etc/baton/{token}")), text).unwrap();
            }
            let path = PathBuf::from(host.path("baton.toml"));
            fs::write(&path, host.within(&block.text)).unwrap();
            let output = Command::new(program("baton-master").unwrap())
                .args(["check-config", "--config"])
                .arg(&path)
                .env_clear()
                .output();
            good(&block, &output.unwrap());
        }
    }
}

#[test]
fn dependencies_in_the_documentation_exist() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for document in DOCUMENTS {
        for block in of(document, |kind| *kind == Kind::Cargo) {
            for line in block.text.lines().filter(|line| line.contains(" = ")) {
                let (name, rest) = line.split_once(" = ").unwrap();
                let known = match rest.split_once("path = \"../baton/") {
                    Some((_, path)) => {
                        let folder = path.split('"').next().unwrap();
                        let manifest = root().join(folder).join("Cargo.toml");
                        let manifest = fs::read_to_string(manifest).unwrap_or_default();
                        manifest.contains(&format!("name = \"{name}\""))
                    }
                    None => {
                        let version = rest.split('"').nth(1).unwrap();
                        let plain = format!("\n{name} = \"{version}\"");
                        let table = format!("\n{name} = {{ version = \"{version}\"");
                        workspace.contains(&plain) || workspace.contains(&table)
                    }
                };
                assert!(known, "{}: {line}", block.at);
            }
        }
    }
}

#[test]
fn drop_ins_in_the_documentation_pass_systemd_analyze_verify() {
    if !there("systemd-analyze", "systemd") {
        return;
    }
    for document in DOCUMENTS {
        for block in of(document, |kind| *kind == Kind::DropIn) {
            let host = Host::new();
            host.install_here(&[]);
            let service = host.path("etc/systemd/system/baton-master.service");
            let folder = format!("{service}.d");
            fs::create_dir(&folder).unwrap();
            fs::write(format!("{folder}/bot.conf"), &block.text).unwrap();
            let output = Command::new("systemd-analyze")
                .args(["verify", "--man=no", &service])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let ours = said.lines().any(|line| line.contains("baton"));
            assert!(!ours, "{}: {said}", block.at);
            good(&block, &output);
        }
    }
}

#[test]
fn every_alarm_of_the_master_is_in_the_operators_guide() {
    let guide = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let (_, table) = guide.split_once("\n## Alarms\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let known: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(text, _)| text)
        .collect();
    let mut alarms = Vec::new();
    let mut folders = vec![root().join("master/core/src")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = joined(&path);
            let told = source.split(".alarm(").skip(1);
            alarms.extend(told.map(|after| after.split("));").next().unwrap().to_owned()));
        }
    }
    for alarm in &alarms {
        let said = known.iter().any(|known| alarm.contains(known));
        assert!(said, "not in docs/operating.md: {alarm}");
    }
    // What the master says of its own folder, of agents and of a store does not come from
    // the core.
    for file in ["keeper.rs", "driver/agents.rs", "lead/keeper.rs"] {
        alarms.push(joined(&root().join("master/src").join(file)));
    }
    for known in known {
        let exists = alarms.iter().any(|alarm| alarm.contains(known));
        assert!(exists, "no alarm says this any more: {known}");
    }
}

/// A source in which a string that goes on in the next line is one string.
fn joined(path: &Path) -> String {
    let source = fs::read_to_string(path).unwrap();
    source.split("\\\n").map(str::trim_start).collect()
}

/// Blocks of some kind.
fn of(document: &str, is: impl Fn(&Kind) -> bool) -> impl Iterator<Item = Block> {
    blocks(root(), document)
        .into_iter()
        .filter(move |block| is(&block.kind))
}

#[track_caller]
fn good(block: &Block, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", block.at);
}

/// What a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
