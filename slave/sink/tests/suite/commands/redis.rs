//! Through Redis.

use baton_brokers::{Redis, or_pass_over};
use baton_sink::SinkConfig;
use serde_json::Value;

use super::Office;
use crate::redis::{config, connection, entries_of};

impl Office for Redis {
    fn place(&self) -> String {
        "baton:answers:me".to_owned()
    }

    fn config(&self) -> SinkConfig {
        config(&self.url())
    }

    async fn send(&self, queue: &str, command: &str, beside: &[(&str, &str)]) {
        let key = match queue {
            "any" => "baton:commands:any".to_owned(),
            shard => format!("baton:commands:{{{shard}}}"),
        };
        let mut add = redis::cmd("XADD");
        add.arg(key).arg("*").arg("payload").arg(command);
        for (name, value) in beside {
            add.arg(name).arg(value);
        }
        let mut connection = connection(self).await;
        let _: String = add.query_async(&mut connection).await.unwrap();
    }

    async fn answers(&self) -> Vec<Value> {
        let all = entries_of(self, "baton:answers:me").await;
        let read = |(_, fields): &(String, Vec<(String, Vec<u8>)>)| {
            serde_json::from_slice(&fields[0].1).unwrap()
        };
        all.iter().map(read).collect()
    }

    async fn dead(&self) -> Vec<(String, String, String)> {
        let all = entries_of(self, "baton:dead").await;
        let read = |(_, fields): &(String, Vec<(String, Vec<u8>)>)| {
            let field = |name: &str| {
                let found = fields.iter().find(|(field, _)| field == name).unwrap();
                String::from_utf8(found.1.clone()).unwrap()
            };
            (field("baton-reason"), field("baton-from"), field("payload"))
        };
        all.iter().map(read).collect()
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self).unwrap();
    }
}

#[tokio::test]
async fn commands_by_shard_and_by_guild_are_written_as_they_came_and_answered() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::written_and_answered(&redis).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_written_is_a_dead_letter_with_the_reason() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::refused_with_a_reason(&redis).await;
}

#[tokio::test]
async fn commands_wait_over_a_migration_and_are_written_once() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::wait_over_a_migration(&redis).await;
}

#[tokio::test]
async fn commands_survive_their_slave() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::survive_a_slave(&redis).await;
}

#[tokio::test]
async fn commands_survive_the_broker_and_are_written_once() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::survive_the_broker(&mut redis).await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    super::sent_again(&redis).await;
}
