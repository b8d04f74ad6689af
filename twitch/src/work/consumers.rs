//! Consumers behind a broker: what they ask of the work by its queues, and how they are answered.
//!
//! A consumer is what handles the events: it may die and come back at any time, and the
//! connections to Twitch stay. So when it begins, it says which channels it wants as a whole
//! ([`starting`](super::starting)), and is told when that is so.

use std::{fmt, future::pending, sync::Arc};

use baton_sink::{COMMANDS_VERSION, Question as Asked, Questions, Sink, VERSION, WorkQueue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    desk::Open,
    question::{Question, Verb, refused},
    starting::Want,
    writing::Asker,
};

/// The broker that a [`Publisher`](crate::Publisher) publishes to, for what consumers ask there.
#[derive(Clone)]
pub struct Consumers(Arc<Sink>);

impl Consumers {
    /// Behind this broker.
    #[must_use]
    pub const fn new(sink: Arc<Sink>) -> Self {
        Self(sink)
    }
}

impl fmt::Debug for Consumers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumers").finish_non_exhaustive()
    }
}

/// The queues of the work, while it runs here.
pub(super) struct Ears {
    control: Option<Questions>,
    say: Option<Questions>,
}

impl Ears {
    pub(super) fn open(consumers: Option<&Consumers>) -> Self {
        let opens = |queue| consumers.and_then(|consumers| consumers.0.questions(queue));
        Self {
            control: opens(WorkQueue::Control),
            say: opens(WorkQueue::Say),
        }
    }

    /// The next question, and the queue that it came by. Survives being cancelled.
    pub(super) async fn next(&mut self) -> (WorkQueue, Asked) {
        tokio::select! {
            asked = next(&mut self.control) => (WorkQueue::Control, asked),
            asked = next(&mut self.say) => (WorkQueue::Say, asked),
        }
    }

    /// What is not answered is for whoever runs the work next.
    pub(super) async fn leave(self) {
        let leaves = async |queue: Option<Questions>| {
            if let Some(queue) = queue {
                queue.leave().await;
            }
        };
        tokio::join!(leaves(self.control), leaves(self.say));
    }
}

async fn next(queue: &mut Option<Questions>) -> Asked {
    match queue {
        Some(queue) => queue.next().await,
        None => pending().await,
    }
}

/// What a consumer says by the queue `control`, beside the questions of operators.
#[derive(Debug, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    /// It begins: it is answered when what it wants is so.
    Start {
        /// What it speaks.
        #[serde(default)]
        versions: Versions,
        #[serde(default)]
        want: Want,
    },
    /// It is answered at once.
    Status,
}

/// Versions that a consumer speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Versions {
    envelope: Option<u32>,
    commands: Option<u32>,
}

impl Versions {
    /// Whether they are spoken here.
    fn check(self) -> Result<(), String> {
        let known = [
            ("envelope", self.envelope, VERSION),
            ("commands", self.commands, COMMANDS_VERSION),
        ];
        for (what, asked, known) in known {
            if let Some(asked) = asked.filter(|asked| *asked != known) {
                return Err(format!(
                    "the consumer speaks version {asked} of {what}, and this fleet version \
                     {known}: start a consumer that speaks that one"
                ));
            }
        }
        Ok(())
    }
}

/// Which versions are spoken here, for an answer.
pub(super) fn versions() -> Value {
    json!({
        "envelope": VERSION,
        "commands": COMMANDS_VERSION,
        "build": env!("CARGO_PKG_VERSION"),
    })
}

/// What came by the queue `control`.
#[derive(Debug)]
enum Said {
    Control(Control),
    Question(Question, Vec<crate::Login>),
}

fn read(body: &[u8]) -> Result<Said, String> {
    #[derive(Deserialize)]
    struct IsControl {
        #[serde(rename = "control")]
        _control: serde::de::IgnoredAny,
    }
    if serde_json::from_slice::<IsControl>(body).is_err() {
        return Question::read(body).map(|(question, channels)| Said::Question(question, channels));
    }
    let control: Control = serde_json::from_slice(body)
        .map_err(|error| format!("it is no control message: {error}"))?;
    if let Control::Start { versions, .. } = &control {
        versions.check()?;
    }
    Ok(Said::Control(control))
}

impl Open {
    /// A consumer asks something.
    pub(super) async fn asked(&mut self, queue: WorkQueue, asked: Asked) {
        if queue == WorkQueue::Say {
            return self.is_to_say(asked).await;
        }
        match read(&asked.body) {
            Ok(Said::Control(Control::Start { want, .. })) => self.starts(want, asked).await,
            Ok(Said::Control(Control::Status)) => match self.status().await {
                Ok(status) => asked.answer(status),
                Err(why) => asked.refuse(json!({}), why),
            },
            Ok(Said::Question(question, channels)) if question.verb == Verb::Write => {
                self.writes(question, &channels, Asker::Consumer(asked));
            }
            Ok(Said::Question(question, channels)) => {
                let answer = self.answer(question, channels).await;
                match answer {
                    Ok(answer) => asked.answer(answer),
                    Err(why) => asked.refuse(refused(&why), why),
                }
            }
            Err(why) => asked.refuse(json!({"ready": false}), why),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_of_another_version_is_told_which_one_is_spoken_here() {
        let start = |versions: &str| {
            let text = format!(r#"{{"control": "start", "versions": {versions}}}"#);
            read(text.as_bytes()).map(|_| ())
        };
        assert_eq!(start(r#"{"envelope": 1, "commands": 1}"#), Ok(()));
        assert_eq!(start("{}"), Ok(()));
        let refused = start(r#"{"commands": 2}"#).unwrap_err();
        assert!(
            refused.contains("version 2 of commands, and this fleet version 1"),
            "{refused}"
        );
    }

    #[test]
    fn the_control_queue_takes_starts_and_the_questions_of_operators_and_nothing_else() {
        let read = |text: &str| read(text.as_bytes());
        assert!(matches!(
            read(
                r#"{"control": "start", "want": {"channels": ["one", {"channel": "two", "account": "bot"}]}}"#
            ),
            Ok(Said::Control(Control::Start { .. }))
        ));
        assert!(matches!(
            read(r#"{"control": "status"}"#),
            Ok(Said::Control(Control::Status))
        ));
        assert!(matches!(
            read(r#"{"verb": "join", "channels": ["one"]}"#),
            Ok(Said::Question(..))
        ));
        let wrong = |text: &str| read(text).unwrap_err();
        assert!(wrong(r#"{"control": "stop"}"#).contains("stop"));
        assert!(wrong(r#"{"control": "start", "want": {"channels": ["a b"]}}"#).contains("a b"));
        assert!(wrong(r#"{"control": "start", "want": {"chanels": []}}"#).contains("chanels"));
        assert!(wrong("[").contains("cannot be read"));
    }
}
