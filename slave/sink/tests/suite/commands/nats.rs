//! Through NATS.

use async_nats::jetstream;
use baton_brokers::{Nats, or_pass_over};
use baton_sink::SinkConfig;
use serde_json::Value;

use super::Office;
use crate::nats::{config, messages_of};

/// The broker, and a place for answers.
pub(crate) struct Place {
    nats: Nats,
}

impl Place {
    pub(crate) async fn start() -> Option<Self> {
        let nats = or_pass_over(Nats::start())?;
        let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let answers = jetstream::stream::Config {
            name: "answers".to_owned(),
            subjects: vec!["baton.answers.>".to_owned()],
            ..jetstream::stream::Config::default()
        };
        context.create_stream(answers).await.unwrap();
        Some(Self { nats })
    }

    async fn context(&self) -> jetstream::Context {
        let patient = async_nats::ConnectOptions::new().retry_on_initial_connect();
        jetstream::new(patient.connect(self.nats.url()).await.unwrap())
    }
}

impl Office for Place {
    fn place(&self) -> String {
        "baton.answers.me".to_owned()
    }

    fn config(&self) -> SinkConfig {
        config(&self.nats.url())
    }

    async fn send(&self, queue: &str, command: &str, beside: &[(&str, &str)]) {
        let context = self.context().await;
        let subject = format!("baton.commands.{queue}");
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in beside {
            headers.insert(*name, *value);
        }
        crate::common::until_true("the stream is there", async || {
            let sent = context.publish_with_headers(
                subject.clone(),
                headers.clone(),
                command.to_owned().into(),
            );
            match sent.await {
                Ok(answer) => answer.await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
    }

    async fn answers(&self) -> Vec<Value> {
        let all = messages_of(&self.nats, "answers").await;
        let all = all.iter();
        all.map(|message| serde_json::from_slice(&message.payload).unwrap())
            .collect()
    }

    async fn dead(&self) -> Vec<(String, String, String)> {
        if self.context().await.get_stream("baton-dead").await.is_err() {
            return Vec::new();
        }
        let read = |message: &jetstream::Message| {
            let headers = message.headers.clone().unwrap();
            let header = |name: &str| headers.get(name).unwrap().to_string();
            let command = String::from_utf8(message.payload.to_vec()).unwrap();
            (header("baton-reason"), header("baton-from"), command)
        };
        let all = messages_of(&self.nats, "baton-dead").await;
        all.iter().map(read).collect()
    }

    fn kill(&mut self) {
        self.nats.kill();
    }

    fn start_again(&mut self) {
        self.nats.start_again().unwrap();
    }
}

#[tokio::test]
async fn commands_by_shard_and_by_guild_are_written_as_they_came_and_answered() {
    let Some(place) = Place::start().await else {
        return;
    };
    super::written_and_answered(&place).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_written_is_a_dead_letter_with_the_reason() {
    let Some(place) = Place::start().await else {
        return;
    };
    super::refused_with_a_reason(&place).await;
}

#[tokio::test]
async fn commands_wait_over_a_migration_and_are_written_once() {
    let Some(place) = Place::start().await else {
        return;
    };
    super::wait_over_a_migration(&place).await;
}

#[tokio::test]
async fn commands_survive_their_slave() {
    let Some(place) = Place::start().await else {
        return;
    };
    super::survive_a_slave(&place).await;
}

#[tokio::test]
async fn commands_survive_the_broker_and_are_written_once() {
    let Some(mut place) = Place::start().await else {
        return;
    };
    super::survive_the_broker(&mut place).await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again() {
    let Some(place) = Place::start().await else {
        return;
    };
    super::sent_again(&place).await;
}
