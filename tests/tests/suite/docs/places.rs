//! The places in the code that the pages for maintainers name.

use std::{fs, path::PathBuf};

use super::{DOCUMENTS, root};

#[test]
fn files_that_the_maintainers_pages_name_are_there_and_have_the_names_behind_them() {
    let sources = sources();
    let pages = DOCUMENTS
        .iter()
        .filter(|page| page.starts_with("docs/maintainers/") || **page == "CONTRIBUTING.md");
    for page in pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for (number, line) in text.lines().enumerate() {
            let at = format!("{page}:{}", number + 1);
            for (file, names) in places(line) {
                let of = |path: &str| path == file || path.ends_with(&format!("/{file}"));
                let mut found = sources.iter().filter(|(path, _)| of(path)).peekable();
                assert!(found.peek().is_some(), "{at}: no file {file}");
                let found: Vec<_> = found.collect();
                for name in names {
                    let has = found.iter().any(|(_, source)| has_word(source, name));
                    assert!(has, "{at}: no {name} in {file}");
                }
            }
        }
    }
}

/// Of a line as "`a.rs`: `one`, `two`" the file and the names, for each file in it.
fn places(line: &str) -> Vec<(&str, Vec<&str>)> {
    let parts: Vec<&str> = line.split('`').collect();
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut goes_on = false;
    for pair in parts.chunks_exact(2) {
        let [between, code] = pair else { continue };
        let in_path = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
        if code.ends_with(".rs") && code.chars().all(in_path) {
            places.push((code, Vec::new()));
            goes_on = true;
            continue;
        }
        let last = places.last_mut().filter(|_| goes_on);
        let is_name = code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match last {
            Some((_, names)) if is_name && *between == behind(names) => names.push(code),
            Some(_) | None => goes_on = false,
        }
    }
    places
}

/// What stands between a file and its names.
const fn behind(names: &[&str]) -> &'static str {
    if names.is_empty() { ": " } else { ", " }
}

fn has_word(source: &str, name: &str) -> bool {
    source
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|word| word == name)
}

/// Every source of the project, by its path.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let names = [
        "log", "master", "protocol", "scripts", "slave", "tests", "twitch",
    ];
    let mut folders: Vec<PathBuf> = names.iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap_or(&path);
                sources.push((path.display().to_string(), source));
            }
        }
    }
    sources
}

#[test]
fn tests_that_the_page_of_twitch_names_exist() {
    let sources = sources();
    let text = fs::read_to_string(root().join("docs/twitch.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let mut named = 0;
    for name in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(in_name) || name.matches('_').count() < 3 {
            continue;
        }
        let test = format!("fn {name}(");
        let found = sources.iter().any(|(_, source)| source.contains(&test));
        assert!(found, "docs/twitch.md: no test {name}");
        named += 1;
    }
    assert!(named > 30, "the page names {named} tests");
}

#[test]
fn places_are_read_from_a_line() {
    let line = "| a `b.rs`: `one`, `two`; `c/d.rs`: `three`, and `four` | `e` |";
    let found = places(line);
    assert_eq!(
        found,
        [("b.rs", vec!["one", "two"]), ("c/d.rs", vec!["three"])]
    );
}
