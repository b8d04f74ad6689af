//! What was found, for a person.

use std::path::Path;

use serde_json::Value;

use super::Verb;

/// A state that is fuller than this, of its limit, is worth a word.
const FULL_PERCENT: u64 = 80;

/// The lines about one store.
pub(super) fn lines(verb: &Verb, store: &Path, answers: &[Value]) -> Vec<String> {
    let mut lines = vec![store.display().to_string()];
    for answer in answers {
        let shard = &answer["shard"];
        let text = match (answer["error"].as_str(), verb) {
            (Some(error), _) => error.to_owned(),
            (None, Verb::Show(_)) => shown(answer),
            (None, Verb::Verify(_)) => verified(answer),
            (None, Verb::Compact { .. }) => format!(
                "compacted by {}: {} before, {} now",
                answer["by"].as_str().unwrap_or_default(),
                size(&answer["before"]),
                size(&answer["after"]),
            ),
        };
        lines.push(format!("  shard {shard}: {text}"));
        for (name, what) in [
            ("wrong", "wrong"),
            ("damaged", "set aside"),
            ("kept", "kept for a rollback"),
        ] {
            let list = answer[name].as_array().into_iter().flatten();
            lines.extend(list.filter_map(|one| Some(format!("    {what}: {}", one.as_str()?))));
        }
    }
    let number = |answer: &Value, name: &str| answer[name].as_u64();
    let files: Option<u64> = answers.iter().map(|answer| number(answer, "bytes")).sum();
    let free = answers.iter().find_map(|answer| number(answer, "free"));
    if let (Verb::Show(_), Some(files), Some(free)) = (verb, files, free) {
        lines.push(format!(
            "  {} in {} files; {} are free there",
            mebibytes(files),
            answers.len(),
            mebibytes(free)
        ));
    }
    lines
}

fn shown(answer: &Value) -> String {
    let documents = answer["documents"].as_object();
    let documents: u64 = documents
        .into_iter()
        .flat_map(serde_json::Map::values)
        .filter_map(Value::as_u64)
        .sum();
    let session = match answer["session"].as_str() {
        Some(session) => format!("at event {} of session {session}", answer["sequence"]),
        None => "of no session".to_owned(),
    };
    let (used, limit) = (answer["used"].as_u64(), answer["limit"].as_u64());
    let is_full = used
        .zip(limit)
        .is_some_and(|(used, limit)| limit > 0 && used / FULL_PERCENT >= limit / 100);
    let full = if is_full {
        ", which it has nearly reached"
    } else {
        ""
    };
    let open = match answer["is_open"].as_bool() {
        Some(true) => "in use",
        Some(false) | None => "nobody has it open",
    };
    format!(
        "{} of {} guilds, {documents} documents, {session}, epoch {}; {} of {} used, limit {}{full}; \
         {} readers, {open}",
        answer["available"],
        answer["guilds"],
        answer["epoch"],
        size(&answer["used"]),
        size(&answer["bytes"]),
        size(&answer["limit"]),
        answer["readers"],
    )
}

fn verified(answer: &Value) -> String {
    let wrong = answer["wrong"].as_array().map_or(0, Vec::len);
    match wrong {
        0 => format!("{} documents, and all is well", answer["documents"]),
        _ => format!("{} documents, and not all is well", answer["documents"]),
    }
}

fn size(bytes: &Value) -> String {
    mebibytes(bytes.as_u64().unwrap_or(0))
}

fn mebibytes(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_that_has_nearly_reached_its_limit_is_said_to_have() {
        let said = |used: u64| {
            shown(
                &json!({"available": 2, "guilds": 3, "documents": {"role": 4, "guild": 2},
                "session": "s", "sequence": 8, "epoch": 5, "used": used, "bytes": 90 << 20,
                "limit": 100 << 20, "readers": 1, "is_open": true}),
            )
        };
        let said_before = said(79 << 20);
        assert_eq!(
            said_before,
            "2 of 3 guilds, 6 documents, at event 8 of session s, epoch 5; 79 MiB of 90 MiB used, \
             limit 100 MiB; 1 readers, in use"
        );
        assert!(said(80 << 20).contains("limit 100 MiB, which it has nearly reached;"));
    }
}
