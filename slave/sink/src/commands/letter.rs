//! What a broker hands out, and what it is told of it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use baton_slave::{Epoch, ShardId};
use bytes::Bytes;
use serde_json::{Value, json};

use super::COMMANDS_VERSION;
use crate::envelope::now_ms;

/// Whose queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Shard(ShardId),
    /// The once-per-bot work's.
    Work(WorkQueue),
}

/// A queue of the once-per-bot work: whichever process runs the work takes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WorkQueue {
    /// What a consumer says to the bot itself: `control`.
    Control,
    /// What the bot is to say: `say`. It is apart, so that nothing of [`Control`](Self::Control)
    /// waits behind it.
    Say,
}

/// One command, as a broker handed it out.
#[derive(Debug)]
pub(crate) struct Taken<L> {
    pub(crate) letter: L,
    /// Names it at the broker: the same whenever it is handed out. `None`: nothing does.
    pub(crate) id: Option<String>,
    /// Whether no other one ever has this id.
    pub(crate) is_named: bool,
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
    /// What is told whoever asked, beside the above.
    pub(crate) told: Value,
    /// Why it was refused.
    pub(crate) refused: Option<String>,
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

impl Wishes {
    /// How long it waits. `usual`: if it says nothing.
    ///
    /// # Errors
    /// What it says is none, or it is of another version.
    pub(crate) fn check(&self, usual: Duration) -> Result<Duration, String> {
        let own = COMMANDS_VERSION.to_string();
        if let Some(version) = self.version.as_ref().filter(|version| **version != own) {
            let shown = version.chars().filter(char::is_ascii_graphic);
            let shown: String = shown.take(32).collect();
            return Err(format!(
                "its baton-command is {shown}, and this publisher knows version {own}"
            ));
        }
        let Some(ttl) = &self.ttl else {
            return Ok(usual);
        };
        match ttl.parse() {
            Ok(ms @ 1..=600_000) => Ok(Duration::from_millis(ms)),
            Ok(_) | Err(_) => {
                let wrong = "its baton-ttl is no number of milliseconds from 1 to 600000";
                Err(wrong.to_owned())
            }
        }
    }

    /// What the answer calls it.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.id.as_ref();
        name.map(|name| name.chars().take(128).collect())
    }
}

impl Settlement {
    /// Of a command whose shard cannot be said.
    pub(crate) fn of_no_shard(reason: String) -> Self {
        Self {
            shard: None,
            op: None,
            id: None,
            told: json!({"written": false}),
            refused: Some(reason),
        }
    }

    /// For whoever asked.
    pub(crate) fn answer(&self) -> String {
        let mut answer = self.told.clone();
        if let Some(shard) = self.shard {
            answer["shard"] = json!(shard.get());
        }
        if let Some(id) = &self.id {
            answer["id"] = json!(id);
        }
        if let Some(op) = self.op {
            answer["op"] = json!(op);
        }
        if let Some(reason) = &self.refused {
            answer["reason"] = json!(reason);
        }
        answer.to_string()
    }
}

impl WorkQueue {
    /// Its last word at the broker.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Say => "say",
        }
    }
}

/// The last word of its queue.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => shard.fmt(f),
            Self::Work(queue) => f.write_str(queue.as_str()),
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

    /// A number for who takes from the work's queue from now on: no smaller than any before.
    ///
    /// # Errors
    /// Why not now.
    fn claim(&self, queue: WorkQueue) -> impl Future<Output = Result<Epoch, String>> + Send;

    /// Declares a queue, and takes from it what waits there. `epoch`: of the shard's owner, or
    /// what was [claimed](Self::claim).
    ///
    /// # Errors
    /// Why not now.
    fn open(
        self: &Arc<Self>,
        place: Place,
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
            told: json!({"written": true}),
            refused: None,
        };
        assert_eq!(
            how.answer(),
            r#"{"id":"mine","op":8,"shard":3,"written":true}"#
        );
        how.refused = Some("why".to_owned());
        assert!(how.answer().contains(r#":"why""#), "{}", how.answer());
    }
}
