//! Commands that are one word to the master: abort, pause, continue and their like.

use clap::Args;
use serde_json::{Value, json};

use super::{OperatorArguments, say};
use crate::error::{EXIT_DONE, Error};

/// A command that is one word to the master.
#[derive(Debug, Args)]
pub(super) struct VerbArguments {
    #[command(flatten)]
    operator: OperatorArguments,
    /// The answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Which running deploy is meant.
#[derive(Debug, Args)]
pub(super) struct SlotArguments {
    #[command(flatten)]
    verb: VerbArguments,
    /// Slot of the deploy [default: the only one that runs]
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct StepDownArguments {
    #[command(flatten)]
    verb: VerbArguments,
    /// Also where no standby master is there
    #[arg(long)]
    force: bool,
}

/// What is to be stopped.
#[derive(Debug, Args)]
pub(super) struct AbortArguments {
    #[command(flatten)]
    of: SlotArguments,
    /// Shards that move to another slot, and no deploy
    #[arg(long, conflicts_with = "slot")]
    moves: bool,
}

impl VerbArguments {
    pub(super) async fn ask(&self, path: &str, done: &str) -> Result<u8, Error> {
        self.ask_with(path, Value::Null, done).await
    }

    async fn ask_with(&self, path: &str, body: Value, done: &str) -> Result<u8, Error> {
        let answer = self.operator.client()?.post(path, body).await?;
        if self.json {
            say(&answer.to_string());
        } else {
            say(done);
        }
        Ok(EXIT_DONE)
    }
}

impl SlotArguments {
    pub(super) async fn ask(self, path: &str, done: &str) -> Result<u8, Error> {
        let body = match self.slot {
            Some(slot) => serde_json::json!({ "slot": slot }),
            None => Value::Null,
        };
        self.verb.ask_with(path, body, done).await
    }
}

impl AbortArguments {
    pub(super) async fn ask(self) -> Result<u8, Error> {
        let Self { of, moves } = self;
        if moves {
            let done = "shards that have not moved yet stay where they are";
            let body = json!({ "moves": true });
            return of.verb.ask_with("/v1/abort", body, done).await;
        }
        of.ask("/v1/abort", "aborting: what moved goes back").await
    }
}

impl StepDownArguments {
    pub(super) async fn ask(self) -> Result<u8, Error> {
        let Self { verb, force } = self;
        let done = "this master steps down: a standby master leads in a moment";
        verb.ask_with("/v1/step-down", json!({ "force": force }), done)
            .await
    }
}
