//! What the core does not say, and what is said of it.

use std::{
    collections::BTreeSet,
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

/// The page names the files and functions in which a ticket and a deploy are read.
#[test]
fn the_ways_through_the_core_stand_where_the_maintainers_page_says_and_in_five_files_each() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = core.join("../../docs/maintainers/master.md");
    let page = fs::read_to_string(page).unwrap();
    let steps = page.lines().filter(|line| line.contains(".rs`: `"));
    let steps = steps.filter_map(|line| line.split_once(". `"));
    let mut files = Vec::new();
    for (number, named) in steps.filter(|(number, _)| number.parse::<u8>().is_ok()) {
        let mut named = named.split('`').step_by(2);
        let file = named.next().unwrap();
        let text = fs::read_to_string(core.join("src").join(file)).unwrap();
        for function in named {
            let is_there = text.contains(&format!("fn {function}("));
            assert!(is_there, "{file} has no {function}");
        }
        files.push(number.to_owned());
    }
    let five = ["1", "2", "3", "4", "5"];
    assert_eq!(files, [five, five].concat(), "two ways, of five files each");
}

/// Whoever needs all of it says why on the page; everything else is handed a part.
#[test]
fn only_the_files_that_the_maintainers_page_names_see_every_room_of_the_core() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let page = core.join("../../../docs/maintainers/master.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once("Six files see all rooms.").unwrap();
    let (page, _) = page.split_once("\n\nThe core knows units").unwrap();
    let named: BTreeSet<_> = page.split('`').filter(|it| it.ends_with(".rs")).collect();
    let mut files = Vec::new();
    sources(&core, &mut files);
    let see_all = files.iter().filter(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.contains("impl Core {")
    });
    let see_all: BTreeSet<_> = see_all
        .map(|file| file.strip_prefix(&core).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(see_all, named);
    assert_eq!(named.len(), 6);
}
