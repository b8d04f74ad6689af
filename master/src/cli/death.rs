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

/// Whether it is dead by a word alone: the operator's, or a lease that ran out.
fn is_word(death: &Value) -> bool {
    matches!(death["evidence"].as_str(), Some("operator" | "lease"))
}

/// `exit code 1, after 0.2 s`; `the operator said that it is dead (its process may live)`
pub(super) fn how(death: &Value) -> String {
    let ending = death["ending"].as_str().unwrap_or("?");
    if is_word(death) {
        return format!("{ending} (its process may live)");
    }
    match death["lived_ms"].as_u64() {
        Some(lived) => format!("{ending}, after {}", span(lived)),
        None => ending.to_owned(),
    }
}

/// What it wrote last, at most `most` lines, each behind a bar. Where no process is known to
/// have ended, that is not known.
pub(super) fn last_lines(death: &Value, most: usize) -> Vec<String> {
    if is_word(death) {
        return Vec::new();
    }
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
