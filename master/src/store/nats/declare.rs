//! The streams of a store: declared if they are not there, compared if they are.

use serde_json::{Value, json};

use super::{
    bucket::Bucket,
    client::{Trouble, code},
};
use crate::store::StoreError;

/// Bytes of a journal at the most: of 16,384 shards, whose tickets are large.
const JOURNAL: u64 = 256 << 20;

/// The keys of masters are few and small.
const LEADER: u64 = 1 << 20;

/// The journal's stream.
pub(super) fn journal(bucket: &Bucket, replicas: usize) -> Value {
    bucket.declared(
        replicas,
        json!({
            "description": "the journal of Baton's masters",
            "max_bytes": JOURNAL,
            "max_age": 0,
            "max_msg_size": -1,
            "allow_atomic": true,
            "allow_msg_ttl": true,
        }),
    )
}

/// The stream of those who lead or would.
pub(super) fn leader(bucket: &Bucket, replicas: usize, lease: std::time::Duration) -> Value {
    let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
    bucket.declared(
        replicas,
        json!({
            "description": "which of Baton's masters leads",
            "max_bytes": LEADER,
            "max_age": lease,
            "max_msg_size": 4096,
            "duplicate_window": lease,
            "allow_atomic": false,
            "allow_msg_ttl": false,
        }),
    )
}

/// Declares what is not there.
///
/// # Errors
/// [`StoreError::Unlike`]: it is there, and otherwise. [`StoreError::Away`]: not now.
pub(super) async fn declare(bucket: &Bucket, wanted: &Value) -> Result<(), StoreError> {
    let there = match bucket.info().await {
        Err(trouble) if trouble.is(code::NO_STREAM) => match bucket.create(wanted).await {
            // Another master was quicker.
            Err(trouble) if trouble.is(code::STREAM_DIFFERS) => bucket.info().await,
            created => created,
        },
        there => there,
    };
    let there = there.map_err(|trouble| of(bucket, trouble))?;
    let differences = differences(wanted, &there["config"]);
    if differences.is_empty() {
        return Ok(());
    }
    Err(StoreError::Unlike {
        what: format!(
            "the stream {} at {}",
            wanted["name"].as_str().unwrap_or_default(),
            bucket.client().place()
        ),
        differences: differences.join(", "),
        version: bucket.client().version(),
    })
}

/// What is declared here and is otherwise there.
fn differences(wanted: &Value, there: &Value) -> Vec<String> {
    let wanted = wanted.as_object().into_iter().flatten();
    let mut differences = Vec::new();
    for (key, wanted) in wanted {
        // A server leaves out what is false, empty or zero.
        let is_nothing = *wanted == json!(false) || *wanted == json!(0);
        let same = match there.get(key) {
            Some(there) => there == wanted,
            None => is_nothing,
        };
        let is_text = key == "description";
        let passes = is_text || (key == "allow_direct" && mutant!("follower-read"));
        if !same && !passes {
            let there = there.get(key).unwrap_or(&Value::Null);
            differences.push(format!("{key} is {there}, not {wanted}"));
        }
    }
    differences
}

/// What went wrong, for a person.
pub(super) fn of(bucket: &Bucket, trouble: Trouble) -> StoreError {
    let place = bucket.client().place();
    match trouble {
        Trouble::Away(_) | Trouble::Nobody => {
            StoreError::Away(format!("the store at {place}: {trouble}"))
        }
        Trouble::Refused { .. } | Trouble::Wrong(_) | Trouble::Garbage(_) => {
            StoreError::Remote(format!("the store at {place}: {trouble}"))
        }
    }
}
