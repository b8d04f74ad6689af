//! What the core does not say.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
fn the_core_names_no_service() {
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
            for name in ["discord", "twilight", "twitch"] {
                let file = file.display();
                assert!(!line_said.contains(name), "{file}:{}: {line}", number + 1);
            }
        }
    }
}
