#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;

/// Takes at most so much.
struct Room(Vec<u8>, usize);

impl Taker for Room {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let more = bytes.len().min(self.1 - self.0.len());
        self.0.extend_from_slice(&bytes[..more]);
        more
    }
}

fn living() -> u32 {
    let group = rustix::process::getpgrp();
    group.as_raw_nonzero().get().cast_unsigned()
}

fn written(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn the_last_lines_are_those_of_this_process_without_colours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    written(&path, "of somebody else\n");
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let output = Output::behind(&path, &file);
    assert!(output.last_lines().is_empty());
    for line in 0..30 {
        written(&path, &format!("line {line}\n"));
    }
    written(&path, "\n\u{1b}[31mpanicked\u{1b}[0m at\t\u{7}main.rs\n");
    let lines = output.last_lines();
    assert_eq!(lines.len(), LINES);
    assert_eq!(lines[0], "line 11");
    assert_eq!(lines[LINES - 1], "panicked at main.rs");
    fs::remove_file(&path).unwrap();
    assert_eq!(output.last_lines(), [UNHEARD], "that is not silence");
}

#[test]
fn what_is_long_is_cut_and_begins_with_a_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    written(&path, &format!("{}\nend\n", "x".repeat(40_000)));
    let output = Output { path, from: 0 };
    assert_eq!(output.last_lines(), ["end"]);
    written(&output.path, &"y".repeat(5_000));
    assert_eq!(output.last_lines()[1].len(), LINE + 3);
}

#[test]
fn what_is_copied_comes_once_in_whole_lines_also_under_the_next_master() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(living().to_string());
    let mut copier = Copier::new(dir.path());
    let mut taken = Room(Vec::new(), 1000);
    written(&path, "one\ntw");
    copier.pass(&mut taken);
    assert_eq!(taken.0, b"one\n");
    written(&path, "o\n");
    Copier::new(dir.path()).pass(&mut taken);
    assert_eq!(taken.0, b"one\ntwo\n");
}

#[test]
fn a_reader_that_takes_nothing_holds_nothing_up_and_the_file_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(living().to_string());
    let mut copier = Copier::new(dir.path());
    let mut full = Room(Vec::new(), 0);
    let many = "0123456789abcde\n".repeat(64 * 1024);
    for _ in 0..20 {
        written(&path, &many);
        copier.pass(&mut full);
    }
    let on_disk = fs::metadata(&path).unwrap().blocks() * 512;
    assert!(on_disk < 2 * BEHIND, "{on_disk}");
    let mut taken = Room(Vec::new(), usize::MAX);
    written(&path, "the end\n");
    while !taken.0.ends_with(b"the end\n") {
        copier.pass(&mut taken);
    }
    assert!((taken.0.len() as u64) < 2 * BEHIND);
}

#[test]
fn the_file_of_a_dead_group_is_copied_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let path = dir.path().join(dead.to_string());
    written(&path, "last words without an end");
    let mut copier = Copier::new(dir.path());
    let mut taken = Room(Vec::new(), 1000);
    copier.pass(&mut taken);
    assert_eq!(taken.0, b"last words without an end");
    assert!(path.exists(), "somebody may still ask how it ended");
    copier.files.get_mut(&dead).unwrap().dead = Instant::now().checked_sub(KEPT);
    copier.pass(&mut taken);
    assert!(!path.exists());
}

#[test]
fn slaves_that_die_one_after_the_other_fill_no_disk_where_nobody_takes_their_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut copier = Copier::new(dir.path());
    let mut full = Room(Vec::new(), 0);
    // No process has such a number: Linux gives none above four millions.
    let dead = |number: u32| dir.path().join((5_000_000 + number).to_string());
    for number in 0..100 {
        written(&dead(number), "last words\n");
        copier.pass(&mut full);
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!((left, copier.files.len()), (DEAD, DEAD));
    assert!(dead(99).exists(), "the youngest stay");
    let mut taken = Room(Vec::new(), 1000);
    copier.pass(&mut taken);
    assert_eq!(taken.0.len(), DEAD * "last words\n".len());
}
