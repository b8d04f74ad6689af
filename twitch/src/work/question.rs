//! What an operator asks of the once-per-bot work, and what it answers.
//!
//! One JSON object each way, by `POST /v1/work` of the master; `baton-master channels` writes and
//! reads them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{name::Login, outbox::By};

/// More channels are not taken in one question.
const MOST: usize = 10_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) verb: Verb,
    #[serde(default)]
    pub(crate) channels: Vec<String>,
    /// By which account they are read; `None`: the usual one.
    #[serde(default)]
    pub(crate) account: Option<Login>,
    /// What is said, with `say`.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// The id of the message that it answers, with `say`.
    #[serde(default)]
    pub(crate) reply_to: Option<String>,
    /// How the message goes to Twitch, with `say`; `None`: the usual way.
    #[serde(default)]
    pub(crate) by: Option<By>,
    /// The line of IRC that is written as it is, with `write`.
    #[serde(default)]
    pub(crate) line: Option<String>,
    /// So that a question that is asked twice says nothing twice, with `say`.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// How many units there are to be, with `units`.
    #[serde(default)]
    pub(crate) units: Option<u32>,
    /// Whether their number follows the channels from now on, with `units`.
    #[serde(default)]
    pub(crate) auto: bool,
    /// The last channel of the page before, with `list`.
    #[serde(default)]
    pub(crate) after: Option<Login>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    List,
    Where,
    Join,
    Part,
    Authorise,
    Revoke,
    Acknowledge,
    Say,
    Write,
    Units,
}

/// What a channel's row answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It is done, or is done next.
    Resolved,
    /// It was so already.
    Ignored,
    /// It cannot be.
    Rejected,
    /// Its broadcaster does not let the bot in.
    Unauthorised,
    /// Nobody knows whether it was done.
    Unknown,
}

impl Question {
    /// Reads one, and its channels.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(crate) fn read(body: &[u8]) -> Result<(Self, Vec<Login>), String> {
        let question = serde_json::from_slice(body);
        question.map_err(unreadable).and_then(Self::checked)
    }

    /// Reads one that is to say something, and needs no verb for it.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(crate) fn read_said(body: &[u8]) -> Result<(Self, Vec<Login>), String> {
        let mut object: Map<String, Value> = serde_json::from_slice(body).map_err(unreadable)?;
        let verb = object.entry("verb").or_insert_with(|| json!("say"));
        if verb != "say" {
            return Err(format!(
                "this queue is for what the bot is to say, and not for {verb}: send it to the \
                 queue `control`"
            ));
        }
        let question = serde_json::from_value(object.into());
        question.map_err(unreadable).and_then(Self::checked)
    }

    fn checked(question: Self) -> Result<(Self, Vec<Login>), String> {
        if question.channels.len() > MOST {
            return Err(format!("at most {MOST} channels in one question"));
        }
        let channels = question.channels.iter().map(|name| name.parse());
        let channels: Result<Vec<Login>, _> = channels.collect();
        let channels = channels.map_err(|error| error.to_string())?;
        Ok((question, channels))
    }
}

fn unreadable(error: serde_json::Error) -> String {
    format!("the question cannot be read: {error}")
}

/// The row of a channel that was asked for something.
pub(crate) fn row(channel: &Login, answer: Answer, why: Option<&str>) -> Value {
    json!({ "channel": channel, "answer": answer, "why": why })
}

/// All of an answer.
pub(crate) fn rows(rows: Vec<Value>) -> Value {
    json!({ "channels": rows })
}

/// Nothing was done.
pub(crate) fn refused(why: impl ToString) -> Value {
    json!({ "error": why.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_whole_or_refused_with_what_is_wrong() {
        let read = |text: &str| Question::read(text.as_bytes());
        let (question, channels) = read(r##"{"verb": "join", "channels": ["#One"]}"##).unwrap();
        assert_eq!((question.verb, channels[0].as_str()), (Verb::Join, "one"));
        let refused = |text: &str| read(text).unwrap_err();
        assert!(refused(r#"{"verb": "eat"}"#).contains("eat"));
        assert!(refused(r#"{"verb": "join", "channels": ["a b"]}"#).contains("a b"));
        assert!(refused("").contains("cannot be read"));
    }
}
