//! What consumers have the bot say, by the queue `say`: each question is answered when its
//! messages have ended.
//!
//! A question that comes again is known by its key, which is the id of its messages in the
//! outbox. So whatever dies between the message and its answer, the message is said once, and the
//! next process answers with what became of it.

use std::time::Duration;

use baton_sink::Question as Asked;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    desk::Open,
    question::{Answer, Question, row, rows},
};
use crate::{
    name::Login,
    outbox::{Fate, Outcome, Put},
};

/// Channels of one question.
const MOST: usize = 100;
/// A key that is longer is written in another way.
const LONGEST_KEY: usize = 64;

/// A question whose messages have not all ended.
pub(super) struct Saying {
    asked: Asked,
    messages: Vec<Message>,
}

struct Message {
    channel: Login,
    /// In the outbox.
    id: String,
    /// What became of it.
    row: Option<Value>,
}

impl Open {
    /// A consumer has the bot say something.
    pub(super) async fn is_to_say(&mut self, asked: Asked) {
        match self.puts_asked(&asked).await {
            Ok(messages) => self.sayings.push(Saying { asked, messages }),
            Err(why) => asked.refuse(json!({}), why),
        }
        self.tell_said().await;
    }

    async fn puts_asked(&mut self, asked: &Asked) -> Result<Vec<Message>, String> {
        let (mut question, channels) = Question::read_said(&asked.body)?;
        if channels.is_empty() || channels.len() > MOST {
            return Err(format!("name 1 to {MOST} channels"));
        }
        if question.id.is_none() {
            question.id = Some(id(asked.key.as_deref()));
        }
        // What waits for longer than its question is not said any more.
        let ttl = asked.until.saturating_duration_since(Instant::now());
        let ttl = ttl.max(Duration::from_millis(1));
        let said = self.puts(question, &channels, Some(ttl)).await?;
        let messages = said.into_iter().map(|(channel, id, put)| Message {
            row: match put {
                Ok(Put::Taken | Put::Known) => None,
                Ok(Put::Refused(why)) => {
                    Some(row(&channel, Answer::Rejected, Some(&why.to_string())))
                }
                Err(why) => Some(row(&channel, Answer::Unauthorised, Some(why))),
            },
            channel,
            id,
        });
        Ok(messages.collect())
    }

    /// Answers those whose messages have ended.
    pub(super) async fn tell_said(&mut self) {
        let Some(speech) = self.speech.clone().filter(|_| !self.sayings.is_empty()) else {
            return;
        };
        let mut sayings = std::mem::take(&mut self.sayings);
        let mut open: Vec<&mut Message> = sayings
            .iter_mut()
            .flat_map(|saying| &mut saying.messages)
            .filter(|message| message.row.is_none())
            .collect();
        let ids = open.iter().map(|message| message.id.clone()).collect();
        match speech.fates(ids).await {
            Ok(fates) => {
                for (message, fate) in open.iter_mut().zip(fates) {
                    message.row = became(&message.channel, fate);
                }
            }
            Err(error) => tracing::error!(error, "the outbox cannot be read"),
        }
        for saying in sayings {
            let told: Option<Vec<Value>> = saying
                .messages
                .iter()
                .map(|message| message.row.clone())
                .collect();
            match told {
                Some(told) => saying.answer(told),
                None => self.sayings.push(saying),
            }
        }
    }
}

impl Saying {
    fn answer(self, told: Vec<Value>) {
        // What nobody can know is not offered to be sent once more.
        let is_nothing = |row: &Value| row["answer"] != "sent" && row["answer"] != "unknown";
        let first = told.first().and_then(|row| row["why"].as_str());
        let why = first.unwrap_or("it was not said").to_owned();
        match told.iter().all(is_nothing) {
            true => self.asked.refuse(rows(told), why),
            false => self.asked.answer(rows(told)),
        }
    }
}

/// What is told of a message; `None`: it has not ended.
fn became(channel: &Login, fate: Option<Fate>) -> Option<Value> {
    let told = |answer: &str, why: Option<&str>| json!({ "channel": channel, "answer": answer, "why": why });
    match fate {
        Some(Fate::Open) => None,
        Some(Fate::Ended(Outcome::Sent { message_id })) => {
            let mut told = told("sent", None);
            told["message_id"] = json!(message_id);
            Some(told)
        }
        Some(Fate::Ended(Outcome::Refused { why, .. })) => Some(told("refused", Some(&why))),
        Some(Fate::Ended(Outcome::Expired)) => {
            Some(told("expired", Some("it waited for too long")))
        }
        Some(Fate::Ended(Outcome::Unknown)) => Some(told(
            "unknown",
            Some("the process that sent it died: it is not sent again"),
        )),
        Some(Fate::Forgotten) | None => Some(told(
            "unknown",
            Some("it was asked before, and its outcome is not kept any more"),
        )),
    }
}

/// The id of a question's messages: the same whenever it comes, if it has a key.
fn id(key: Option<&str>) -> String {
    let is_id = |key: &str| key.len() <= LONGEST_KEY && key.bytes().all(|b| b.is_ascii_graphic());
    match key.filter(|_| !mutant!("key-unused")) {
        Some(key) if is_id(key) => key.to_owned(),
        Some(key) => hex(&Sha256::digest(key.as_bytes())),
        None => {
            let mut bytes = [0; 16];
            // Without random numbers it may be one that was used: then nothing is said twice.
            let _ = getrandom::fill(&mut bytes);
            hex(&bytes)
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_comes_again_has_the_same_id_and_no_other_one_has_it() {
        let key = "nats:7:1764000000000";
        assert_eq!(id(Some(key)), key);
        let long = "k".repeat(65);
        assert_eq!(id(Some(&long)), id(Some(&long)));
        assert_eq!(id(Some(&long)).len(), 64);
        assert_ne!(id(Some(&long)), id(Some(&long[1..])));
        assert!(id(Some("a b")).bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(id(None), id(None));
    }
}
