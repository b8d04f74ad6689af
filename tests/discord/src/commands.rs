//! What clients sent over the gateway.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::id::Fingerprint;

/// One payload of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// `CLOCK_MONOTONIC`, microseconds.
    pub at_us: u64,
    /// The connection, counted from 1.
    pub conn: u64,
    /// The shard, once the client has named it.
    pub shard: Option<u32>,
    /// The session, once there is one.
    pub session: Option<Fingerprint>,
    /// The opcode.
    pub op: u64,
    /// The data, without a token and without a session id.
    pub data: String,
}

impl CommandLine {
    /// What may be written down of a payload's data.
    pub(crate) fn harmless(data: &Value) -> String {
        let mut data = data.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("token");
            if let Some(id) = fields.remove("session_id") {
                let id = Fingerprint::of(id.as_str().unwrap_or_default());
                fields.insert("session".to_owned(), Value::from(id.to_string()));
            }
        }
        data.to_string()
    }

    /// Appends the line as one line of JSON.
    pub fn write_line(&self, out: &mut String) {
        let data: Value = serde_json::from_str(&self.data).unwrap_or(Value::Null);
        let line = json!({
            "at_us": self.at_us,
            "conn": self.conn,
            "shard": self.shard,
            "session": self.session.map(|s| s.to_string()),
            "op": self.op,
            "d": data,
        });
        let _ = writeln!(out, "{line}");
    }
}
