//! What is wrong with JSON that came from outside, without anything that stands in it.

/// Says it. An error of serde names the value that it did not expect: it may be what somebody
/// said in a chat, or an address that opens a session.
pub(crate) fn odd(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match error.classify() {
        // The name is one of ours.
        serde_json::error::Category::Data if text.starts_with("missing field `") => text,
        serde_json::error::Category::Data => {
            let (line, column) = (error.line(), error.column());
            format!("a value is of another kind than documented, at line {line} column {column}")
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => text,
    }
}
