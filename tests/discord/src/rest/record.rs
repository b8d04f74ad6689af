//! What bots asked, written down.

use std::{collections::BTreeSet, fmt::Write, sync::Mutex};

use serde_json::{Value, json};

use super::limits::RestLimits;
use crate::ledger::Bounded;

/// Requests that are written down.
const REQUESTS: usize = 200_000;

/// One request of a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestLine {
    /// `CLOCK_MONOTONIC`, microseconds.
    pub at_us: u64,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path without `/api` and version, with the query.
    pub path: String,
    /// Whether it carried a token that is accepted.
    pub authorized: bool,
    /// The body, or the `payload_json` of a form; at most 16 KiB, longer ones are
    /// cut.
    pub body: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

impl RestLine {
    /// Appends the line as one line of JSON: `body` as JSON where it is that.
    pub fn write_line(&self, out: &mut String) {
        let body = serde_json::from_str::<Value>(&self.body)
            .unwrap_or_else(|_| Value::from(self.body.as_str()));
        let line = json!({
            "at_us": self.at_us,
            "method": self.method,
            "path": self.path,
            "authorized": self.authorized,
            "body": body,
            "status": self.status,
        });
        let _ = writeln!(out, "{line}");
    }
}

/// What the interface remembers.
pub(crate) struct Rest {
    pub(crate) requests: Bounded<RestLine>,
    pub(crate) limits: Mutex<RestLimits>,
    /// Interactions that were answered, by token.
    pub(super) answered: Mutex<BTreeSet<String>>,
}

impl Rest {
    pub(crate) fn new(limits: RestLimits) -> Self {
        Self {
            requests: Bounded::new(REQUESTS),
            limits: Mutex::new(limits),
            answered: Mutex::default(),
        }
    }
}
