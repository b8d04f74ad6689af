//! What a bot compiles.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

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

#[test]
fn every_feature_of_twilight_s_gateway_can_be_chosen_for_a_bot() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let features = |name: &str| {
        let mut packages = all["packages"].as_array().unwrap().iter();
        let package = packages.find(|package| package["name"] == name).unwrap();
        let features = package["features"].as_object().unwrap();
        features.keys().cloned().collect::<BTreeSet<String>>()
    };
    // Its own queue and its HTTP client are not used here.
    let unused = ["default", "twilight-http"].map(str::to_owned);
    let theirs: BTreeSet<String> = &features("twilight-gateway") - &BTreeSet::from(unused);
    assert!(theirs.len() >= 6, "{theirs:?}");
    let missing: Vec<_> = theirs
        .difference(&features("baton-slave"))
        .cloned()
        .collect();
    assert_eq!(missing, [""; 0]);
}
