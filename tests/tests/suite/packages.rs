//! What people and tools look for in a package is there, and is true.

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The packages of the workspace as cargo describes them; `more` asks for more than that.
fn metadata(more: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .args(more)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The packages of the workspace: name, folder, description.
fn members(metadata: &Value) -> Vec<(&str, PathBuf, &Value)> {
    let packages = metadata["packages"].as_array().unwrap();
    let ours = packages
        .iter()
        .filter(|package| package["source"].is_null());
    ours.map(|package| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().to_owned();
        (package["name"].as_str().unwrap(), folder, package)
    })
    .collect()
}

#[test]
fn each_package_says_what_it_is() {
    let metadata = metadata(&["--no-deps"]);
    let members = members(&metadata);
    assert!(members.len() >= 6);
    for (name, folder, package) in members {
        let description = package["description"].as_str().unwrap_or_default();
        assert!(description.len() > 40, "{name}: description");
        for list in ["keywords", "categories"] {
            let count = package[list].as_array().unwrap().len();
            assert!((1..=5).contains(&count), "{name}: {list}");
        }
        let readme = package["readme"].as_str().unwrap_or_default();
        assert!(folder.join(readme).is_file(), "{name}: readme");
        let rust = package["rust_version"].as_str();
        assert!(rust.is_some(), "{name}: rust-version");
        let targets = &package["metadata"]["docs"]["rs"]["targets"];
        assert!(targets.is_array(), "{name}: package.metadata.docs.rs");
    }
}

#[test]
fn a_dependency_that_no_file_of_its_package_names_is_not_declared() {
    let metadata = metadata(&["--no-deps"]);
    let mut unused = Vec::new();
    for (name, folder, package) in members(&metadata) {
        let mut words = BTreeSet::new();
        let others = members(&metadata);
        let others = others.iter().map(|(_, folder, _)| folder.as_path());
        let inner: Vec<&Path> = others
            .filter(|other| *other != folder && other.starts_with(&folder))
            .collect();
        words_of(&folder, &inner, &mut words);
        for dependency in package["dependencies"].as_array().unwrap() {
            let rename = dependency["rename"].as_str();
            let declared = rename.or(dependency["name"].as_str()).unwrap();
            if !words.contains(&declared.replace('-', "_")) {
                unused.push(format!("{name} does not use {declared}"));
            }
        }
    }
    assert_eq!(unused, Vec::<String>::new());
}

#[test]
fn no_dependency_needs_a_newer_rust_than_is_promised() {
    // Only the crates of this host's platform are sure to be there.
    let platform = format!("--filter-platform={ARCH}-unknown-linux-gnu");
    let metadata = metadata(&[&platform]);
    let (_, _, package) = &members(&metadata)[0];
    let promised = release(package["rust_version"].as_str().unwrap());
    for package in metadata["packages"].as_array().unwrap() {
        let Some(needed) = package["rust_version"].as_str() else {
            continue;
        };
        let name = &package["id"];
        assert!(release(needed) <= promised, "{name} needs Rust {needed}");
    }
}

/// Otherwise both builds have their own of each crate that stands on such a dependency,
/// which may be nearly all of ours. `regex_syntax` and `tokio_stream` are declared for this alone.
#[test]
fn the_programs_and_the_tests_are_built_of_the_same_dependencies_with_the_same_features() {
    let [programs, tests] = ["normal,build", "normal,build,dev"].map(features);
    let alone: Vec<_> = programs.difference(&tests).collect();
    assert!(
        alone.is_empty(),
        "the tests want other features of these; have the workspace's Cargo.toml ask for all \
         of them: {alone:#?}"
    );
}

#[test]
fn the_programs_of_discord_stand_on_nothing_of_twitch() {
    for package in ["baton-master", "baton-relay", "baton-slave", "baton-core"] {
        let tree = tree(&["--package", package, "--edges=normal,build"]);
        let of_twitch: Vec<_> = tree
            .lines()
            .filter(|line| line.contains("twitch") || line.starts_with("tmi "))
            .collect();
        assert!(of_twitch.is_empty(), "{package}: {of_twitch:?}");
        assert!(tree.lines().count() > 5, "{package}: {tree}");
    }
}

#[test]
fn the_changelog_has_the_version_of_the_workspace() {
    let metadata = metadata(&["--no-deps"]);
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    for (name, _, package) in members(&metadata) {
        let version = package["version"].as_str().unwrap();
        let heading = format!("\n## {version}");
        assert!(changelog.contains(&heading), "{name} {version}");
    }
}

/// Every crate of the workspace's builds with its features, as far as these kinds of
/// dependencies reach.
fn features(kinds: &str) -> BTreeSet<String> {
    let lines = tree(&["--workspace", "--format={p} {f}", "--edges", kinds]);
    let lines = lines.lines().map(|line| line.trim_end_matches(" (*)"));
    lines.map(str::to_owned).collect()
}

/// What `cargo tree` prints, a package a line.
fn tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix=none"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// `1.89` and `1.89.0` are the same.
fn release(version: &str) -> (u64, u64, u64) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Every word of the sources and documents below a folder, without the packages
/// inside it.
fn words_of(folder: &Path, without: &[&Path], words: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            if !without.contains(&path.as_path()) {
                words_of(&path, without, words);
            }
        } else if matches!(ending, Some("rs" | "md")) {
            let mut text = fs::read_to_string(&path).unwrap();
            // The blocks of these documents are compiled with the package.
            for included in text.clone().split("include_str!(\"").skip(1) {
                let included = included.split('"').next().unwrap();
                let included = path.with_file_name("").join(included);
                text += &fs::read_to_string(included).unwrap_or_default();
            }
            let found = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            words.extend(found.map(str::to_owned));
        }
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
