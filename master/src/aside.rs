//! Events that killed each slave that had them, kept in a file for an operator.
//!
//! `set-aside.jsonl` in `data_dir` has one JSON object a line: `at` (when, UTC, in
//! milliseconds since 1970), `shard`, `sequence`, `type`, `guild`, `handed_out` (whether
//! the bot wanted it once more) and `payload`, as Discord sent it. It holds
//! what users wrote, so it is for the master's user alone (0600). Beyond
//! [`MOST_BYTES`] it becomes `set-aside.1.jsonl`, in the place of the one before.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use baton_protocol::message::SetAside;
use serde_json::{Value, json};

use crate::{clock::unix_ms, whole_file};

/// Its name in `data_dir`.
pub const FILE: &str = "set-aside.jsonl";

/// One that is longer is put away; with the one before there are at most twice as many
/// bytes, and one line.
pub const MOST_BYTES: u64 = 4 << 20;

/// Where such events are kept. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Aside(Option<Arc<Mutex<PathBuf>>>);

impl Aside {
    /// In this folder.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self(Some(Arc::new(Mutex::new(data_dir.join(FILE)))))
    }

    /// Keeps an event, on a thread that may block. A failure is logged: nothing else
    /// depends on it.
    pub fn keep(&self, aside: SetAside) {
        let Some(path) = self.0.clone() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let path = path.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = append(&path, &line(&aside)) {
                tracing::error!(file = %path.display(), %error, "an event that was set aside could not be kept");
            }
        });
    }
}

fn line(aside: &SetAside) -> String {
    // One that is left out for its length is empty.
    let payload: Value =
        serde_json::from_str(&aside.event.json).unwrap_or_else(|_| aside.event.json.clone().into());
    json!({
        "at": unix_ms(),
        "shard": aside.shard,
        "sequence": aside.event.sequence,
        "type": aside.event.kind,
        "guild": aside.guild.to_string(),
        "handed_out": aside.handed_out,
        "payload": payload,
    })
    .to_string()
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() >= MOST_BYTES) {
        fs::rename(path, path.with_extension("1.jsonl"))?;
    }
    let mut file = whole_file::append(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use baton_protocol::{Sequence, ShardId, message::CarriedEvent};

    use super::*;

    #[test]
    fn what_is_kept_is_for_its_user_alone_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let aside = SetAside {
            shard: ShardId(3),
            guild: 41,
            event: CarriedEvent {
                sequence: Sequence(7),
                kind: "MESSAGE_CREATE".to_owned(),
                json: r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"id":"1"}}"#.to_owned(),
            },
            ..SetAside::default()
        };
        append(&path, &line(&aside)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(kept["type"], "MESSAGE_CREATE");
        assert_eq!(kept["guild"], "41");
        assert_eq!(kept["payload"]["d"]["id"], "1");
        let long = "x".repeat(1 << 20);
        for _ in 0..12 {
            append(&path, &long).unwrap();
        }
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 2);
        let bytes: u64 = files
            .into_iter()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 2 * MOST_BYTES + 2 * (1 << 20), "{bytes}");
    }
}
