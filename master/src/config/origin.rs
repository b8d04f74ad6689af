//! Which line of the configuration file said what.

use std::collections::BTreeMap;

/// Where in its file each key stands.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Origin {
    pub(super) fn new(file: &str, lines: BTreeMap<String, usize>) -> Self {
        let file = file.to_owned();
        Self { file, lines }
    }

    /// `FILE:LINE` of a key, such as `limits.soak` or `slot[0].command`, or of the
    /// table that it would be in.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(format!("{}:{line}", self.file));
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// A flag or the environment says it instead.
    pub(super) fn overruled(&mut self, key: &str) {
        self.lines.remove(key);
    }
}
