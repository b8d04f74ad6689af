//! What a broker hands out, and what it is told of it.

use std::{future::Future, sync::Arc, time::Duration};

use baton_slave::{Epoch, ShardId};
use bytes::Bytes;
use serde_json::json;

use super::desk::Verdict;
use crate::envelope::now_ms;

/// One command, as a broker handed it out.
#[derive(Debug)]
pub(crate) struct Taken<L> {
    pub(crate) letter: L,
    /// Names it at the broker: the same whenever it is handed out. `None`: nothing does.
    pub(crate) id: Option<String>,
    /// Whether it may have been handed out before.
    pub(crate) is_again: bool,
    /// How long ago the broker got it.
    pub(crate) age: Duration,
    pub(crate) payload: Bytes,
    pub(crate) wishes: Wishes,
}

/// What stands beside a command, by its name in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `baton-command`: the version of the format.
    pub(crate) version: Option<String>,
    /// `baton-ttl`: milliseconds.
    pub(crate) ttl: Option<String>,
    /// `baton-answer`: where what became of it is told.
    pub(crate) answer: Option<String>,
    /// `baton-id`: what the answer calls it.
    pub(crate) id: Option<String>,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    /// `None`: it names none.
    pub(crate) shard: Option<ShardId>,
    pub(crate) op: Option<u64>,
    pub(crate) id: Option<String>,
    pub(crate) verdict: Verdict,
}

impl Wishes {
    pub(crate) fn read(header: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            version: header("baton-command"),
            ttl: header("baton-ttl"),
            answer: header("baton-answer"),
            id: header("baton-id"),
        }
    }
}

impl Settlement {
    /// Of a command whose shard cannot be said.
    pub(crate) const fn of_no_shard(reason: String) -> Self {
        Self {
            shard: None,
            op: None,
            id: None,
            verdict: Verdict::Refused(reason),
        }
    }

    /// For the worker that asked.
    pub(crate) fn answer(&self) -> String {
        let reason = self.reason();
        let mut answer = match &self.verdict {
            Verdict::Told(told) => told.clone(),
            Verdict::Written | Verdict::Refused(_) => json!({"written": reason.is_none()}),
        };
        if let Some(shard) = self.shard {
            answer["shard"] = json!(shard.get());
        }
        if let Some(id) = &self.id {
            answer["id"] = json!(id);
        }
        if let Some(op) = self.op {
            answer["op"] = json!(op);
        }
        if let Some(reason) = reason {
            answer["reason"] = json!(reason);
        }
        answer.to_string()
    }

    /// Why it was not written; `None`: it was.
    pub(crate) fn reason(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Written | Verdict::Told(_) => None,
            Verdict::Refused(reason) => Some(reason),
        }
    }
}

/// Whether an answer may go there: nobody writes into queues of events by a command.
pub(crate) fn is_place(answer: &str, name: &str, between: char, others: &[&str]) -> bool {
    let own = format!("{name}{between}answers{between}");
    let fits = |c: char| c.is_ascii_graphic() && !"*>".contains(c);
    let known = std::iter::once(own.as_str()).chain(others.iter().copied());
    let mut rests = known.filter_map(|begins| answer.strip_prefix(begins));
    let has_rest = rests.any(|rest| !rest.is_empty());
    has_rest && answer.len() <= 255 && answer.chars().all(fits)
}

/// Since a moment of Unix time in milliseconds; nothing, for one to come.
pub(crate) fn since(unix_ms: u64) -> Duration {
    Duration::from_millis(now_ms().saturating_sub(unix_ms))
}

/// What is to be kept of a letter that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It does not come again, or one with its id may be another one.
    Nothing,
    /// Its id: the broker confirms no acknowledgement, and may hand it out again.
    Id,
}

/// One that is in hand here. Dropped, it is the broker's to say when it is handed out again.
pub(crate) trait Letter: Send + Sync + 'static {
    /// It is done with: a refused one goes to the dead letters first.
    ///
    /// # Errors
    /// Why it is not done with.
    fn settle(self, how: Settlement) -> impl Future<Output = Result<Keep, String>> + Send;

    /// It is still in hand.
    fn keep(&self) -> impl Future<Output = ()> + Send;

    /// It is not done with, and somebody else may have it at once.
    fn give_back(self) -> impl Future<Output = ()> + Send;
}

/// The queue of one shard, as its owner has it.
pub(crate) trait Queue: Send + 'static {
    type Letter: Letter;

    /// Letters have to be [kept](Letter::keep) so often.
    const KEPT: Option<Duration>;

    /// The next command. Survives being cancelled.
    ///
    /// # Errors
    /// The queue has to be opened anew, and what was handed out and is not settled comes again.
    fn next(&mut self) -> impl Future<Output = Result<Taken<Self::Letter>, String>> + Send;

    /// Nothing more is taken; these were not written.
    fn leave(self, held: Vec<Self::Letter>) -> impl Future<Output = ()> + Send;
}

/// Opens the queues of shards.
pub(crate) trait Queues: Send + Sync + 'static {
    type Queue: Queue;

    /// Declares the queue of a shard, and takes from it what waits there.
    ///
    /// # Errors
    /// Why not now.
    fn open(
        self: &Arc<Self>,
        shard: ShardId,
        epoch: Epoch,
    ) -> impl Future<Output = Result<Self::Queue, String>> + Send;

    /// Moves what names no shard into the queues of the shards that it is for, in its order,
    /// for ever.
    fn sort(self: Arc<Self>, shards: u32) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_places_for_answers_only() {
        let nats = |answer: &str| is_place(answer, "baton", '.', &["_INBOX."]);
        assert!(nats("baton.answers.me") && nats("_INBOX.ab.c"));
        for wrong in [
            "baton.events.3",
            "baton.answers.",
            "baton.answers.>",
            "baton.answers.a b",
            "_INBOX",
            "",
        ] {
            assert!(!nats(wrong), "{wrong}");
        }
        assert!(is_place("a:answers:b", "a", ':', &[]));
    }

    #[test]
    fn an_answer_says_what_became_of_the_command() {
        let mut how = Settlement {
            shard: Some(ShardId(3)),
            op: Some(8),
            id: Some("mine".to_owned()),
            verdict: Verdict::Written,
        };
        assert_eq!(
            how.answer(),
            r#"{"id":"mine","op":8,"shard":3,"written":true}"#
        );
        how.verdict = Verdict::Refused("why".to_owned());
        assert!(
            how.answer().contains(r#""written":false"#) && how.answer().contains(r#":"why""#),
            "{}",
            how.answer()
        );
    }
}
