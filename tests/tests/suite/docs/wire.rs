//! The wire page against the code: ids, names and fields.

use std::fs;

use baton_protocol::{Frame, handshake::ToMaster};
use serde_json::{Value, json};

use super::{Kind, blocks, root};

#[test]
fn every_id_and_every_field_of_the_wire_is_on_its_page() {
    let page = read("docs/wire.md");
    let messages = read("protocol/src/message/mod.rs");
    for line in messages.lines() {
        let Some((name, id)) = line
            .trim()
            .strip_prefix("pub const ")
            .and_then(|rest| rest.strip_suffix(';')?.split_once(": u32 = "))
        else {
            continue;
        };
        let id: u32 = id.parse().unwrap();
        let named = page.lines().any(|line| {
            line.starts_with(&format!("| {id} |"))
                || line.ends_with(&format!(", id {id}"))
                || line.contains(&format!("| {id}, "))
                || line.contains(&format!(", {id} |"))
                || line.contains(&format!("Id {id} "))
                || (id >= 100 && line.contains(&id.to_string()))
        });
        assert!(named, "{name}, id {id}, is not in docs/wire.md");
    }
    for file in [
        "message/agent.rs",
        "message/clients.rs",
        "message/handshake.rs",
        "message/serving.rs",
        "message/handover.rs",
        "message/copies.rs",
        "message/health.rs",
        "message/sink.rs",
        "go/body.rs",
        "ticket.rs",
        "id.rs",
    ] {
        let source = read(&format!("protocol/src/{file}"));
        for field in fields(&source) {
            let named = page.contains(&format!("`{field}`")) || page.contains("`Baton`");
            assert!(
                named && mentions(&page, &field),
                "{file}: `{field}` is not in docs/wire.md"
            );
        }
    }
}

/// What a field is called on the wire, for every field of a type that travels as it is.
fn fields(source: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut renamed: Option<String> = None;
    // Tests stand behind this.
    let source = source.split("#[cfg(test)]").next().unwrap_or(source);
    let mut travels = false;
    for line in source.lines() {
        let line = line.trim();
        if line.starts_with("#[derive(") {
            travels = line.contains("Serialize");
        }
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        }
        let field = line
            .strip_prefix("pub ")
            .or_else(|| line.strip_prefix("pub(super) "))
            .and_then(|rest| rest.split_once(": "));
        if let Some((name, _)) = field.filter(|(name, _)| !name.contains([' ', '('])) {
            let name = renamed.take().unwrap_or_else(|| name.to_owned());
            if travels {
                fields.push(name);
            }
        }
    }
    assert!(!fields.is_empty());
    fields
}

fn mentions(page: &str, field: &str) -> bool {
    page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .any(|word| word == field)
}

#[test]
fn frames_on_the_page_say_what_stands_below_them() {
    let blocks = blocks(root(), "docs/wire.md");
    let mut checked = 0;
    for pair in blocks.windows(2).filter(|pair| pair[0].kind == Kind::Frame) {
        let at = &pair[0].at;
        assert_eq!(pair[1].kind, Kind::Json, "{at}");
        let digits: String = pair[0].text.split_whitespace().collect();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(number(4) as usize, bytes.len() - 8, "{at}: length");
        let frame = Frame {
            id: number(0),
            body: bytes[8..].to_vec().into(),
        };
        let ToMaster::Hello { running, hello } = ToMaster::from_frame(frame).expect(at) else {
            panic!("{at}: not a hello");
        };
        let mut said = json!({ "Running": running, "Baton": hello });
        let nonce = &mut said["Baton"]["nonce"];
        let text: Vec<u8> = serde_json::from_value(nonce.clone()).unwrap();
        *nonce = String::from_utf8(text).unwrap().into();
        let page: Value = serde_json::from_str(&pair[1].text).expect(at);
        assert_eq!(said, page, "{at}");
        checked += 1;
    }
    assert_eq!(checked, 1);
}

#[test]
fn json_on_the_pages_is_json() {
    for document in super::DOCUMENTS {
        for block in super::of(document, |kind| *kind == Kind::Json) {
            let parsed = serde_json::from_str::<Value>(&block.text);
            assert!(parsed.is_ok(), "{}", block.at);
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}
