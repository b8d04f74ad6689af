//! What each part of the table is made from.

use serde_json::Value;

use crate::cli::text::Paint;

/// One status, and how it is to be shown.
pub(super) struct Table<'a> {
    pub(super) status: &'a Value,
    pub(super) paint: Paint,
    pub(super) width: usize,
    pub(super) now_ms: u64,
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
