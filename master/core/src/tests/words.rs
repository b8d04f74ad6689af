//! What the core does not say.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names of services, and what is one's own: how its sessions are told apart and made, its
/// rate limit, its close codes, how many events it replays, what it answers.
const ANOTHERS: [&str; 23] = [
    "discord",
    "twilight",
    "twitch",
    "gateway",
    "sessionparameters",
    "session_id",
    "sessionid",
    "resume_url",
    "user_id",
    "application_id",
    "intents",
    "compression",
    "large_threshold",
    "api_version",
    ".guilds",
    "max_concurrency",
    "bucket",
    "session_start_limit",
    "op 9",
    "close 4",
    "5250",
    "3500",
    "* 75",
];

/// Close codes, and the events with which the service answers.
const WORDS: [&str; 10] = [
    "4004", "4007", "4009", "4010", "4011", "4012", "4013", "4014", "READY", "HELLO",
];

/// Every source file of the core but its tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("src/tests") => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn the_core_names_no_service_and_nothing_that_is_one_services_own() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    assert!(files.len() > 50, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line_said = line.to_lowercase();
            let said = ANOTHERS.iter().find(|name| line_said.contains(**name));
            let said = said.or_else(|| WORDS.iter().find(|word| line.contains(**word)));
            let file = file.display();
            assert_eq!(said, None, "{file}:{}: {line}", number + 1);
        }
    }
}
