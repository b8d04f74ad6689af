//! One stream, used as a table: a subject is a key, and of each key the newest message
//! counts. It has the form of NATS's own key-value buckets, so that `nats kv` shows it.
//!
//! Reads go to the leader of the stream (`STREAM.MSG.GET`): followers answer direct reads,
//! and may not have heard of a write that was confirmed.

use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Trouble, code};
use crate::store::StoreError;

/// One bucket of a store.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    client: Client,
    stream: String,
    prefix: String,
}

/// The newest message of a key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its key.
    pub(crate) key: String,
    /// Its sequence in the stream.
    pub(crate) sequence: u64,
    /// Of the batch that it came with the sequence of the first message.
    pub(crate) batch: u64,
    /// `None`: it says that the key was deleted.
    pub(crate) value: Option<Vec<u8>>,
    /// When the store wrote it, by the store's clock.
    pub(crate) written: Option<SystemTime>,
}

/// How a stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// The sequence of the first message.
    pub(crate) first: u64,
    /// The last sequence that was used.
    pub(crate) last: u64,
    /// The store's clock.
    pub(crate) now: Option<SystemTime>,
}

/// The header that says what a message without a value means.
const OPERATION: &str = "KV-Operation";
/// Its value for a key that was deleted.
const DELETED: &str = "DEL";
/// Which message of its batch one is, from 1.
pub(super) const IN_BATCH: &str = "Nats-Batch-Sequence";
/// The sequence that the newest message of a subject must have.
pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// A message is removed after this time.
const KEPT_FOR: &str = "Nats-TTL";
/// Word of a deletion is kept for so long: a reader that comes later sees no key at all.
const WORD_OF_DELETION: &str = "1h";

impl Bucket {
    /// A bucket by its name.
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            stream: format!("KV_{name}"),
            prefix: format!("$KV.{name}."),
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// What stands before each key.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where a key lies.
    ///
    /// # Errors
    /// It has characters that no subject has.
    pub(crate) fn subject(&self, key: &str) -> Result<String, StoreError> {
        let is_good = |part: &str| {
            let mut bytes = part.bytes();
            !part.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_=/".contains(&byte))
        };
        if !key.split('.').all(is_good) {
            return Err(StoreError::Row {
                key: key.to_owned(),
                value: "no key of a store has such characters".to_owned(),
            });
        }
        Ok(format!("{}{key}", self.prefix))
    }

    /// What the stream is declared with, and what is the same for every bucket.
    pub(super) fn declared(&self, replicas: usize, further: Value) -> Value {
        let mut wanted = json!({
            "name": self.stream,
            "subjects": [format!("{}>", self.prefix)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs": -1,
            "max_msgs_per_subject": 1,
            "max_consumers": -1,
            "num_replicas": replicas,
            // A follower answers direct reads, with what it had heard by then.
            "allow_direct": false,
            "mirror_direct": false,
            "deny_delete": true,
            "sealed": false,
        });
        if let (Some(wanted), Value::Object(further)) = (wanted.as_object_mut(), further) {
            wanted.extend(further);
        }
        wanted
    }

    /// Its declaration as it is there.
    pub(super) async fn info(&self) -> Result<Value, Trouble> {
        let api = format!("STREAM.INFO.{}", self.stream);
        self.client.ask(&api, &json!({})).await
    }

    /// Makes the stream.
    pub(super) async fn create(&self, wanted: &Value) -> Result<Value, Trouble> {
        let api = format!("STREAM.CREATE.{}", self.stream);
        self.client.ask(&api, wanted).await
    }

    /// How far it is, by its leader.
    pub(crate) async fn state(&self) -> Result<State, Trouble> {
        #[derive(Deserialize)]
        struct Info {
            state: Sequences,
            #[serde(default)]
            ts: String,
        }
        #[derive(Deserialize)]
        struct Sequences {
            first_seq: u64,
            last_seq: u64,
        }
        let info = serde_json::from_value::<Info>(self.info().await?);
        let info = info.map_err(|error| Trouble::Garbage(error.to_string()))?;
        Ok(State {
            first: info.state.first_seq,
            last: info.state.last_seq,
            now: humantime::parse_rfc3339(&info.ts).ok(),
        })
    }

    /// The newest message of a key, by the leader; `None`: there is none.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Found>, Trouble> {
        let subject = format!("{}{key}", self.prefix);
        self.message(&json!({ "last_by_subj": subject })).await
    }

    /// The first message from a sequence on whose key begins so; `beginning` ends with a
    /// dot, or is empty.
    pub(crate) async fn next(&self, from: u64, beginning: &str) -> Result<Option<Found>, Trouble> {
        let subject = format!("{}{beginning}>", self.prefix);
        self.message(&json!({ "seq": from.max(1), "next_by_subj": subject }))
            .await
    }

    /// Puts a key whose newest message has this sequence (0: there is none), and gives the
    /// one that it has now.
    pub(crate) async fn put(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Bytes,
    ) -> Result<u64, Trouble> {
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected.filter(|_| !mutant!("lease-taken-by-all")) {
            headers.insert(EXPECTED, expected.to_string());
        }
        let subject = format!("{}{key}", self.prefix);
        self.client.write(subject, headers, value).await
    }

    /// Says that a key is deleted, if its newest message has this sequence.
    pub(crate) async fn delete(&self, key: &str, expected: Option<u64>) -> Result<u64, Trouble> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, DELETED);
        if let Some(expected) = expected {
            headers.insert(EXPECTED, expected.to_string());
        }
        let subject = format!("{}{key}", self.prefix);
        self.client.write(subject, headers, Bytes::new()).await
    }

    async fn message(&self, which: &Value) -> Result<Option<Found>, Trouble> {
        #[derive(Deserialize)]
        struct Answer {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            subject: String,
            seq: u64,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
            #[serde(default)]
            time: String,
        }
        let api = format!("STREAM.MSG.GET.{}", self.stream);
        let answer = match self.client.ask(&api, which).await {
            Ok(answer) => answer,
            Err(trouble) if trouble.is(code::NO_MESSAGE) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let garbage = |what: String| Trouble::Garbage(what);
        let answer = serde_json::from_value::<Answer>(answer);
        let message = answer.map_err(|error| garbage(error.to_string()))?.message;
        let decode = |text: &str| {
            let bytes = STANDARD.decode(text);
            bytes.map_err(|error| garbage(error.to_string()))
        };
        let headers = decode(&message.hdrs)?;
        let headers = String::from_utf8_lossy(&headers);
        let header = |name: &str| {
            let mut lines = headers.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(found, _)| *found == name);
            found.map(|(_, value)| value.trim().to_owned())
        };
        let place = header(IN_BATCH).and_then(|place| place.parse().ok());
        let deleted = header(OPERATION).is_some();
        let key = message.subject.strip_prefix(&self.prefix);
        let key = key.ok_or_else(|| garbage(format!("subject {}", message.subject)))?;
        Ok(Some(Found {
            key: key.to_owned(),
            sequence: message.seq,
            batch: message
                .seq
                .saturating_sub(place.unwrap_or(1_u64).max(1) - 1),
            value: (!deleted).then(|| decode(&message.data)).transpose()?,
            written: humantime::parse_rfc3339(&message.time).ok(),
        }))
    }
}

/// The headers of a message that says that a key is deleted, in a bucket whose messages
/// may be removed after a time.
pub(super) fn deletion(headers: &mut HeaderMap) {
    headers.insert(OPERATION, DELETED);
    headers.insert(KEPT_FOR, WORD_OF_DELETION);
}

/// How much later one moment of the store's clock is.
pub(super) fn between(earlier: Option<SystemTime>, later: Option<SystemTime>) -> Option<Duration> {
    Some(later?.duration_since(earlier?).unwrap_or_default())
}
