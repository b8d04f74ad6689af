//! A notice, as webhooks take it.

use serde_json::json;

use super::Kind;

/// Of a text, so much is sent.
const LONGEST: usize = 1_000;

/// Discord refuses more characters.
const DISCORDS: usize = 2_000;

/// Not seen, but it parts an `@` from the name that would be called.
const NOTHING: &str = "@\u{200b}";

/// JSON that Slack (`text`) and Discord (`content`) understand, and what is made after
/// them. Nobody is called by it, whatever the text is.
pub(super) fn of(name: &str, kind: Kind, text: &str, held_back: u32) -> String {
    let text: String = text.chars().take(LONGEST).collect();
    let text = text.replace(['\r', '\n', '\0'], " ");
    let more = match held_back {
        0 => String::new(),
        1 => " (One more like this was not sent.)".to_owned(),
        more => format!(" ({more} more like this were not sent.)"),
    };
    let line = format!("{name}: {kind}: {text}{more}");
    // Slack's three; in Discord a call begins with `@`, whatever stands around it.
    let slack = line
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let discord: String = line.replace('@', NOTHING).chars().take(DISCORDS).collect();
    json!({ "text": slack, "content": discord }).to_string()
}
