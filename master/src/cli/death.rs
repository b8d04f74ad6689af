//! The end of a slave, for a person: how, when, and what it said last.

use serde_json::Value;

use super::text::span;

/// `slave 0a1b2c3d`, or what it is called that never had an id.
pub(super) fn whose(death: &Value) -> String {
    match death["slave"].as_str() {
        Some(slave) => format!("slave {slave:.8}"),
        None => "a slave that had not joined".to_owned(),
    }
}

/// `exit code 1, after 0.2 s`
pub(super) fn how(death: &Value) -> String {
    let ending = death["ending"].as_str().unwrap_or("?");
    match death["lived_ms"].as_u64() {
        Some(lived) => format!("{ending}, after {}", span(lived)),
        None => ending.to_owned(),
    }
}

/// What it wrote last, at most `most` lines, each behind a bar.
pub(super) fn last_lines(death: &Value, most: usize) -> Vec<String> {
    let lines = death["last_lines"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if lines.is_empty() {
        return vec!["    | (it wrote nothing on standard error)".to_owned()];
    }
    let left_out = lines.len().saturating_sub(most);
    let shown = lines[left_out..].iter();
    let shown = shown.map(|line| format!("    | {}", line.as_str().unwrap_or_default()));
    let more = (left_out > 0).then(|| format!("    | ... {left_out} lines before"));
    more.into_iter().chain(shown).collect()
}
