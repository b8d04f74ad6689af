//! What a bot compiles.

use std::{collections::BTreeSet, process::Command};

/// Crates of the library for bots, as they come with these features.
fn crates(features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "baton-slave"])
        .args(["--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn a_bot_compiles_few_crates_and_none_that_only_a_program_needs() {
    let plain = crates("");
    let names: BTreeSet<&str> = plain
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    for program in [
        "axum",
        "clap",
        "humantime",
        "hyper",
        "toml",
        "tracing-subscriber",
        "twilight-cache-inmemory",
        "twilight-http",
    ] {
        assert!(!names.contains(program), "{program}");
    }
    assert!(plain.len() <= 75, "{}: {names:?}", plain.len());
    let cached = crates("cache");
    assert!(cached.len() <= 84, "{}: {cached:?}", cached.len());
}
