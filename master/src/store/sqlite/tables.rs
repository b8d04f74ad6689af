//! The journals of before the fourth schema, which had a table for each kind of row.

use std::collections::BTreeMap;

use baton_core::event::Key;
use rusqlite::{Connection, Transaction};
use serde_json::{Value, json};

use crate::store::StoreError;

/// Brings a journal of the first schema to the second.
pub(super) const SECOND: &str = "ALTER TABLE shards ADD COLUMN basis TEXT NOT NULL DEFAULT 'death'";

/// Brings one of the second to the third.
pub(super) const THIRD: &str = include_str!("schema_3.sql");

/// Brings one of the third to the fourth: its rows become entries, and its tables go.
pub(super) fn to_entries(change: &Transaction<'_>) -> Result<(), StoreError> {
    change.execute_batch(include_str!("schema.sql"))?;
    change.execute_batch(include_str!("schema_4.sql"))?;
    for (slot, row) in commands(change)? {
        let key = Key::Command(slot).to_string();
        change.execute(
            "INSERT INTO entries (key, value, revision) VALUES (?1, ?2, 1)",
            (key, row.to_string().into_bytes()),
        )?;
    }
    change.execute_batch("DROP TABLE commands; DROP TABLE fillings")?;
    Ok(())
}

/// What deploys brought into each slot, and what it had before.
fn commands(connection: &Connection) -> Result<BTreeMap<String, Value>, StoreError> {
    let query = "SELECT slots.slot, commands.command, commands.configured, fillings.command,
                     fillings.before
                 FROM (SELECT slot FROM commands UNION SELECT slot FROM fillings) AS slots
                 LEFT JOIN commands ON commands.slot = slots.slot
                 LEFT JOIN fillings ON fillings.slot = slots.slot";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let list = |at: usize| -> Result<Value, StoreError> {
            let text: Option<String> = row.get(at)?;
            // What is no list makes no sense as a row either, and is found there.
            let list = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
            Ok(text.map_or(Value::Null, list))
        };
        let or_none = |value: Value| if value.is_null() { json!([]) } else { value };
        let command = json!({
            "v": 1,
            "command": list(1)?,
            "configured": or_none(list(2)?),
            "present": or_none(list(3)?),
            "before": or_none(list(4)?),
        });
        found.insert(row.get(0)?, command);
    }
    Ok(found)
}
