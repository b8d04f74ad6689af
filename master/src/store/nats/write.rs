//! How a batch is written: see the [module above](super).

use async_nats::HeaderMap;
use bytes::Bytes;

use super::{
    Nats,
    bucket::{EXPECTED, IN_BATCH, deletion},
    client::{Trouble, code},
    declare::of,
};
use crate::store::{ApplyError, Batch, Revision, StoreError, TERM};

/// Messages of one atomic batch: more are refused by the server.
const MOST: usize = 1_000;

/// The last sequence of the stream is another one than was known: it is looked up so often.
const TRIES: usize = 3;

/// What a message has beside its value, at the most.
const HEADERS: usize = 1024;

/// Which batch a message is of.
const BATCH: &str = "Nats-Batch-Id";
/// It is the last one of its batch.
const COMMIT: &str = "Nats-Batch-Commit";
/// The last sequence that the stream must have.
const LAST: &str = "Nats-Expected-Last-Sequence";
/// The subject whose newest message must have the sequence that is expected.
const EXPECTED_OF: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// Names batches: no two of this process or of another one are called the same.
#[derive(Debug)]
pub(super) struct Batches {
    process: u64,
    next: u64,
}

impl Batches {
    pub(super) fn new() -> Result<Self, StoreError> {
        let process = getrandom::u64();
        let process = process.map_err(|error| StoreError::Io(std::io::Error::other(error)))?;
        Ok(Self { process, next: 0 })
    }

    fn name(&mut self) -> String {
        self.next += 1;
        format!("{:016x}-{}", self.process, self.next)
    }
}

/// One row on its way.
pub(super) struct Message {
    subject: String,
    /// `None`: it is deleted.
    value: Option<Bytes>,
}

impl Nats {
    /// Writes a batch, or says why not.
    pub(super) async fn write(&mut self, batch: &Batch) -> Result<Revision, ApplyError> {
        if self.bucket.client().away().is_some() && self.is_kept {
            return Err(self.away());
        }
        let term = batch.term.map_or(0, |revision| revision.0);
        if batch.changes.is_empty() {
            return if self.term().await? == term {
                Ok(Revision(self.last.unwrap_or(term).max(term)))
            } else {
                Err(ApplyError::Deposed)
            };
        }
        let takes = batch.changes.contains_key(TERM);
        let messages = self.messages(batch)?;
        for _ in 0..TRIES {
            let last = match self.last {
                Some(last) => last,
                None => {
                    let state = self.bucket.state().await;
                    state.map_err(|trouble| self.trouble(trouble))?.last
                }
            };
            let is_read = std::mem::take(&mut self.is_read);
            self.last = None;
            match self.publish(last, term, takes, &messages).await {
                Ok(written) => {
                    self.last = Some(written);
                    return Ok(Revision(last + 1));
                }
                Err(trouble) if trouble.is_wrong_sequence() => {
                    if self.term().await? != term && !mutant!("term-not-compared") {
                        return Err(ApplyError::Deposed);
                    }
                    if takes && is_read && !mutant!("read-of-before") {
                        return Err(StoreError::Changed.into());
                    }
                }
                Err(Trouble::Nobody) => return Err(self.is_gone().await),
                Err(trouble) => return Err(self.trouble(trouble)),
            }
        }
        Err(StoreError::Changed.into())
    }

    /// Nobody takes what is written: whether the stream is still there.
    async fn is_gone(&self) -> ApplyError {
        match self.bucket.info().await {
            Ok(_) => self.trouble(Trouble::Nobody),
            Err(trouble) => self.trouble(trouble),
        }
    }

    /// The sequence of the term's message; 0: there is none.
    async fn term(&self) -> Result<u64, ApplyError> {
        match self.bucket.get(TERM).await {
            Ok(found) => {
                let found = found.filter(|found| found.value.is_some());
                Ok(found.map_or(0, |found| found.sequence))
            }
            Err(trouble) => Err(self.trouble(trouble)),
        }
    }

    /// A store whose stream is gone has nobody's term any more.
    fn trouble(&self, trouble: Trouble) -> ApplyError {
        if trouble.is(code::NO_STREAM) {
            return ApplyError::Deposed;
        }
        of(&self.bucket, trouble).into()
    }

    fn away(&self) -> ApplyError {
        let trouble = Trouble::Away("it is asked again every moment".to_owned());
        of(&self.bucket, trouble).into()
    }

    /// The rows as they are written, that of the term first: its sequence is its revision.
    pub(super) fn messages(&self, batch: &Batch) -> Result<Vec<Message>, StoreError> {
        let most = self.bucket.client().max_payload().saturating_sub(HEADERS);
        let mut changes: Vec<_> = batch.changes.iter().collect();
        changes.sort_by_key(|(key, _)| key.as_str() != TERM);
        let messages = changes.into_iter().map(|(key, value)| {
            let subject = self.bucket.subject(key)?;
            let value = value.as_ref().map(|value| self.sealer.seal(key, value));
            let value = value.transpose()?.map(Bytes::from);
            if let Some(value) = value.as_ref().filter(|value| value.len() > most) {
                return Err(StoreError::Row {
                    key: key.clone(),
                    value: format!(
                        "it has {} bytes, more than the store's max_payload takes: raise that",
                        value.len()
                    ),
                });
            }
            Ok(Message { subject, value })
        });
        messages.collect()
    }

    /// Writes all of them behind what is there; gives the sequence of the last one.
    pub(super) async fn publish(
        &mut self,
        mut last: u64,
        mut term: u64,
        takes: bool,
        messages: &[Message],
    ) -> Result<u64, Trouble> {
        let of_term = format!("{}{TERM}", self.bucket.prefix());
        for part in messages.chunks(MOST) {
            let mut expects = HeaderMap::new();
            if !mutant!("compare-and-set-ignored") {
                expects.insert(LAST, last.to_string());
                if !mutant!("term-not-compared") {
                    expects.insert(EXPECTED, term.to_string());
                    // Of its own subject it need not be said.
                    if part.first().is_some_and(|first| first.subject != of_term) {
                        expects.insert(EXPECTED_OF, of_term.as_str());
                    }
                }
            }
            let written = self.publish_one(part, expects).await?;
            if written != last + part.len() as u64 && !mutant!("compare-and-set-ignored") {
                return Err(Trouble::Garbage(format!(
                    "it wrote up to {written}, {} rows behind {last}",
                    part.len()
                )));
            }
            if takes && part.first().is_some_and(|first| first.subject == of_term) {
                term = last + 1;
            }
            last = written;
        }
        Ok(last)
    }

    /// One atomic batch. `expects`: what the first message is to find.
    async fn publish_one(
        &mut self,
        messages: &[Message],
        expects: HeaderMap,
    ) -> Result<u64, Trouble> {
        let name = self.batches.name();
        let client = self.bucket.client();
        let mut expects = Some(expects);
        let count = messages.len();
        for (index, message) in messages.iter().enumerate() {
            let mut headers = expects.take().unwrap_or_default();
            let value = message.value.clone().unwrap_or_else(|| {
                deletion(&mut headers);
                Bytes::new()
            });
            let subject = message.subject.clone();
            if count > 1 {
                headers.insert(BATCH, name.as_str());
                headers.insert(IN_BATCH, (index + 1).to_string());
            }
            if index + 1 < count {
                client.put(subject, headers, value).await?;
                continue;
            }
            if count > 1 {
                headers.insert(COMMIT, "1");
            }
            return client.write(subject, headers, value).await;
        }
        Err(Trouble::Garbage("nothing was to be written".to_owned()))
    }
}
