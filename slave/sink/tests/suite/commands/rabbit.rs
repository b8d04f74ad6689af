//! Through RabbitMQ: one server for all of it.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use baton_brokers::Rabbit;
use baton_sink::SinkConfig;
use lapin::{
    BasicProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;

use super::Office;
use crate::rabbit::{channel, config, header};

/// Queues of one name.
pub(crate) struct Place<'r> {
    rabbit: &'r mut Rabbit,
    name: &'static str,
    sent: AtomicUsize,
    answers: Mutex<Vec<Value>>,
    dead: Mutex<Vec<(String, String, String)>>,
}

impl<'r> Place<'r> {
    pub(crate) async fn at(rabbit: &'r mut Rabbit, name: &'static str) -> Self {
        let (_connection, channel) = channel(rabbit).await;
        let queue = format!("{name}.answers.me");
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        channel
            .queue_declare(queue.into(), options, arguments)
            .await
            .unwrap();
        Self {
            rabbit,
            name,
            sent: AtomicUsize::new(0),
            answers: Mutex::default(),
            dead: Mutex::default(),
        }
    }

    /// Everything that is in a queue.
    async fn empty(&self, queue: &str) -> Vec<lapin::message::Delivery> {
        let (_connection, channel) = channel(self.rabbit).await;
        let mut all = Vec::new();
        let get = async || {
            let options = BasicGetOptions::default();
            channel.basic_get(queue.into(), options).await.unwrap()
        };
        while let Some(message) = get().await {
            message
                .delivery
                .ack(BasicAckOptions::default())
                .await
                .unwrap();
            all.push(message.delivery);
        }
        all
    }
}

impl Office for Place<'_> {
    fn config(&self) -> SinkConfig {
        config(self.rabbit, self.name)
    }

    fn place(&self) -> String {
        format!("{}.answers.me", self.name)
    }

    async fn send(&self, queue: &str, command: &str, beside: &[(&str, &str)]) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        let mut headers = FieldTable::default();
        for (name, value) in beside {
            match *name {
                "baton-answer" => properties = properties.with_reply_to((*value).into()),
                "baton-id" => properties = properties.with_correlation_id((*value).into()),
                other => {
                    headers.insert(other.into(), AMQPValue::LongString((*value).into()));
                }
            }
        }
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let properties = properties.with_message_id(number.to_string().into());
        let properties = properties.with_headers(headers);
        let queue = format!("{}.commands.{queue}", self.name);
        crate::common::until_true("the queue is there", async || {
            let (_connection, channel) = channel(self.rabbit).await;
            let confirms = channel.confirm_select(ConfirmSelectOptions::default());
            confirms.await.unwrap();
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let properties = properties.clone();
            let sent = channel.basic_publish(
                "".into(),
                queue.as_str().into(),
                options,
                command.as_bytes(),
                properties,
            );
            let confirm = sent.await.unwrap().await.unwrap();
            confirm.is_ack() && confirm.take_message().is_none()
        })
        .await;
    }

    async fn answers(&self) -> Vec<Value> {
        let new = self.empty(&self.place()).await;
        let mut all = self.answers.lock().unwrap();
        all.extend(
            new.iter()
                .map(|one| serde_json::from_slice::<Value>(&one.data).unwrap()),
        );
        all.clone()
    }

    async fn dead(&self) -> Vec<(String, String, String)> {
        let new = self.empty(&format!("{}.dead", self.name)).await;
        let mut all = self.dead.lock().unwrap();
        all.extend(new.iter().map(|one| {
            let command = String::from_utf8(one.data.clone()).unwrap();
            let header = |name: &str| header(one, name).unwrap();
            (header("baton-reason"), header("baton-from"), command)
        }));
        all.clone()
    }

    fn kill(&mut self) {
        self.rabbit.kill().unwrap();
    }

    fn start_again(&mut self) {
        self.rabbit.start_again().unwrap();
    }
}

/// A command for any shard whose queue somebody removed waits in a new one.
async fn its_queue_is_removed(office: &Place<'_>) {
    let mut old = super::Owner::start(office.config(), 1).await;
    office.send("any", &super::asks(1), &[]).await;
    assert_eq!(old.written().await, super::asks(1));
    // The process stays, and moves what comes.
    old.leaves();
    let queue = format!("{}.commands.0", office.name);
    let unused = QueueDeleteOptions {
        if_unused: true,
        ..QueueDeleteOptions::default()
    };
    crate::common::until_true("it is removed", async || {
        let (_connection, channel) = channel(office.rabbit).await;
        let removed = channel.queue_delete(queue.as_str().into(), unused);
        removed.await.is_ok()
    })
    .await;
    office.send("any", &super::asks(2), &[]).await;
    let mut new = super::Owner::start(office.config(), 2).await;
    assert_eq!(new.written().await, super::asks(2));
}

/// Each scene at queues of its own.
pub(crate) async fn all(rabbit: &mut Rabbit) {
    super::written_and_answered(&Place::at(rabbit, "written").await).await;
    super::refused_with_a_reason(&Place::at(rabbit, "refused").await).await;
    super::sent_again(&Place::at(rabbit, "again").await).await;
    super::wait_over_a_migration(&Place::at(rabbit, "moves").await).await;
    super::survive_a_slave(&Place::at(rabbit, "dies").await).await;
    its_queue_is_removed(&Place::at(rabbit, "removed").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_outlive_a_rabbitmq_that_is_killed() {
    let Some(mut rabbit) = baton_brokers::or_pass_over(Rabbit::start()) else {
        return;
    };
    super::survive_the_broker(&mut Place::at(&mut rabbit, "broker").await).await;
}
