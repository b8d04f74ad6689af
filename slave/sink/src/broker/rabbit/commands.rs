//! Commands of workers: a queue for each shard, whose newest owner comes first.
//!
//! A classic queue: there is one of each shard, a command lives for seconds, and one that is
//! given back stands in its old place.

use std::{sync::Arc, time::Duration};

use baton_slave::Epoch;
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer, Error as LapinError,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
        BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::sleep;

use super::{
    Open, PERSISTENT, Rabbit,
    declare::{dead, number, text},
};
use crate::{
    commands::{
        Keep, Letter, Place, Queue, Queues, Settlement, Taken, Wishes, WorkQueue,
        letter::{is_place, since},
        shards_for,
    },
    envelope::now_ms,
};

/// Commands of a shard that are in hand.
const IN_HAND: u16 = 18;
/// Commands that wait for a shard, at most.
const WAITING: u64 = 10_000;
/// How often what does not work is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The queue of a shard.
pub(crate) struct Consumed {
    rabbit: Arc<Rabbit>,
    channel: Channel,
    consumer: Consumer,
}

/// A command.
pub(crate) struct InHand {
    rabbit: Arc<Rabbit>,
    channel: Channel,
    delivery: Delivery,
}

pub(super) fn said(error: LapinError) -> String {
    error.to_string()
}

impl Rabbit {
    fn command_queue(&self, last: &str) -> String {
        format!("{}.commands.{last}", self.config.name)
    }

    /// Declares a queue, on a channel of its own: a queue that differs ends the channel.
    async fn declare_commands(&self, open: &Open, last: &str) -> Result<(), String> {
        let channel = open.connection.create_channel().await.map_err(said)?;
        let ttl = self.config.commands.ttl.as_millis();
        let mut arguments = FieldTable::default();
        let values = [
            (
                "x-message-ttl",
                number(u64::try_from(ttl).unwrap_or(u64::MAX)),
            ),
            ("x-max-length", number(WAITING)),
            ("x-overflow", text("reject-publish")),
            ("x-dead-letter-exchange", text(&dead(&self.config.name))),
        ];
        for (argument, value) in values {
            arguments.insert(argument.into(), value);
        }
        if last == ANY {
            // One at a time, so that their order is kept.
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let queue = self.command_queue(last);
        let declared = channel.queue_declare(queue.as_str().into(), durable, arguments);
        declared.await.map_err(|error| {
            format!("the queue `{queue}` cannot be declared: {error}: if it differs, delete it")
        })?;
        let _ = channel.close(200, "declared".into()).await;
        Ok(())
    }

    fn open_now(&self) -> Result<Open, String> {
        let link = self.link.get();
        let (open, number) = link.ok_or_else(|| "not connected".to_owned())?;
        if !open.connection.status().connected() {
            self.link.lose(number);
            return Err("the connection was lost".to_owned());
        }
        Ok(open)
    }

    async fn consumes(
        self: &Arc<Self>,
        last: &str,
        in_hand: u16,
        priority: u64,
    ) -> Result<Consumed, String> {
        let open = self.open_now()?;
        self.declare_commands(&open, last).await?;
        let channel = open.connection.create_channel().await.map_err(said)?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(said)?;
        let qos = channel.basic_qos(in_hand, BasicQosOptions::default());
        qos.await.map_err(said)?;
        let mut arguments = FieldTable::default();
        // Of two that think they own the shard, the newer one is given what there is.
        let priority = i32::try_from(priority).unwrap_or(i32::MAX);
        arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
        let queue = self.command_queue(last);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments);
        Ok(Consumed {
            rabbit: Arc::clone(self),
            consumer: consumer.await.map_err(said)?,
            channel,
        })
    }
}

/// In the place of a shard, for commands that name none.
const ANY: &str = "any";

impl Queues for Rabbit {
    type Queue = Consumed;

    /// Seconds: who begins later comes first.
    async fn claim(&self, _: WorkQueue) -> Result<Epoch, String> {
        Ok(Epoch(now_ms() / 1000))
    }

    async fn open(self: &Arc<Self>, place: Place, epoch: Epoch) -> Result<Consumed, String> {
        self.consumes(&place.to_string(), IN_HAND, epoch.get())
            .await
    }

    async fn sort(self: Arc<Self>, shards: u32) {
        loop {
            if let Err(error) = self.sort_all(shards).await {
                tracing::debug!(error, "commands for any shard wait");
            }
            sleep(AGAIN).await;
        }
    }
}

impl Rabbit {
    async fn sort_all(self: &Arc<Self>, shards: u32) -> Result<(), String> {
        let mut queue = self.consumes(ANY, 1, 0).await?;
        let mut declared = std::collections::BTreeSet::new();
        loop {
            let letter = queue.next().await?.letter;
            match shards_for(&letter.delivery.data, shards) {
                Ok(all) => {
                    for shard in all {
                        if declared.insert(shard) {
                            let open = self.open_now()?;
                            self.declare_commands(&open, &shard.to_string()).await?;
                        }
                        let to = self.command_queue(&shard.to_string());
                        let properties = letter.delivery.properties.clone();
                        let payload = &letter.delivery.data;
                        // Somebody may have removed it: then all is declared anew.
                        letter.moves(&to, properties, payload).await?;
                    }
                    letter.ack().await?;
                }
                Err(reason) => {
                    letter.settle(Settlement::of_no_shard(reason)).await?;
                }
            }
        }
    }
}

/// A header that is text or a number.
pub(super) fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::Boolean(_)
        | AMQPValue::ShortShortInt(_)
        | AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

impl Queue for Consumed {
    type Letter = InHand;

    const KEPT: Option<Duration> = None;

    async fn next(&mut self) -> Result<Taken<InHand>, String> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => {
                let letter = InHand {
                    rabbit: Arc::clone(&self.rabbit),
                    channel: self.channel.clone(),
                    delivery,
                };
                Ok(letter.taken())
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the broker ended the consumer".to_owned()),
        }
    }

    /// With its channel everything goes back to its place.
    async fn leave(self, _: Vec<InHand>) {
        let tag = self.consumer.tag();
        let _ = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default())
            .await;
        let _ = self.channel.close(200, "the shard left".into()).await;
    }
}

impl InHand {
    /// What stands beside it: in headers, or in what AMQP has for it.
    fn wishes(&self) -> Wishes {
        let properties = &self.delivery.properties;
        let headers = properties.headers().clone().unwrap_or_default();
        let mut wishes = Wishes::read(|name| as_text(headers.inner().get(name)?));
        let of = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
        wishes.answer = wishes.answer.or_else(|| of(properties.reply_to()));
        wishes.id = wishes.id.or_else(|| of(properties.correlation_id()));
        wishes
    }

    fn taken(self) -> Taken<Self> {
        let properties = &self.delivery.properties;
        let id = properties.message_id().as_ref().map(ToString::to_string);
        let has_name = id.is_some();
        let id = id.unwrap_or_else(|| {
            // What it is, in the place of a name: only one that comes again is compared.
            let (sum, bytes) = (
                crc32fast::hash(&self.delivery.data),
                self.delivery.data.len(),
            );
            format!("{sum:08x}-{bytes}")
        });
        let sent = properties.timestamp().map(|seconds| seconds * 1000);
        Taken {
            id: Some(id.chars().take(128).collect()),
            is_named: has_name,
            is_again: self.delivery.redelivered || has_name,
            // By the second; what nobody stamped begins here.
            age: sent.map_or(Duration::ZERO, |sent| {
                since(sent).saturating_sub(Duration::from_secs(1))
            }),
            payload: Bytes::copy_from_slice(&self.delivery.data),
            wishes: self.wishes(),
            letter: self,
        }
    }

    /// To a queue which has to be there. Nothing else is published on the channel meanwhile:
    /// the client gives what comes back to whichever confirm is next.
    async fn moves(
        &self,
        queue: &str,
        properties: BasicProperties,
        payload: &[u8],
    ) -> Result<(), String> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let to = ("", queue);
        let confirm = self.publishes(to, mandatory, properties, payload).await?;
        match confirm.take_message() {
            Some(_) => Err(format!("the queue `{queue}` is not there")),
            None => Ok(()),
        }
    }

    async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        payload: &[u8],
    ) -> Result<(), String> {
        let options = BasicPublishOptions::default();
        let to = (exchange, key);
        let confirm = self.publishes(to, options, properties, payload).await;
        confirm.map(|_| ())
    }

    async fn publishes(
        &self,
        (exchange, key): (&str, &str),
        options: BasicPublishOptions,
        properties: BasicProperties,
        payload: &[u8],
    ) -> Result<Confirmation, String> {
        let (exchange, key) = (exchange.into(), key.into());
        let published = self
            .channel
            .basic_publish(exchange, key, options, payload, properties);
        let confirm = published.await.map_err(said)?.await.map_err(said)?;
        if confirm.is_nack() {
            let from = &self.delivery.routing_key;
            return Err(format!("the broker does not take what {from} gives on"));
        }
        Ok(confirm)
    }

    async fn ack(&self) -> Result<(), String> {
        let acked = self.delivery.acker.ack(BasicAckOptions::default());
        acked.await.map(|_| ()).map_err(said)
    }
}

impl Letter for InHand {
    async fn settle(self, how: Settlement) -> Result<Keep, String> {
        let name = self.rabbit.config.name.clone();
        let answer = self.wishes().answer;
        if let Some(reason) = &how.refused {
            let properties = self.delivery.properties.clone();
            let mut headers = properties.headers().clone().unwrap_or_default();
            let from = self.delivery.routing_key.to_string();
            headers.insert("baton-from".into(), text(&from));
            headers.insert("baton-reason".into(), text(reason));
            let properties = properties.with_headers(headers);
            let properties = properties.with_delivery_mode(PERSISTENT);
            self.publish(&dead(&name), "", properties, &self.delivery.data)
                .await?;
        }
        self.ack().await?;
        let properties = self.delivery.properties.clone();
        let answer = answer.filter(|place| is_place(place, &name, '.', &["amq."]));
        if let Some(place) = answer {
            let mut told = BasicProperties::default().with_content_type("application/json".into());
            if let Some(id) = properties.correlation_id() {
                told = told.with_correlation_id(id.clone());
            }
            // Who asked may be gone.
            let _ = self
                .publish("", &place, told, how.answer().as_bytes())
                .await;
        }
        // An acknowledgement is lost with its connection, or with a broker that has not written
        // it down. What its worker did not name is known by its bytes, and those may be sent
        // again.
        Ok(match properties.message_id() {
            Some(_) => Keep::Id,
            None => Keep::Nothing,
        })
    }

    async fn keep(&self) {}

    async fn give_back(self) {
        let back = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        let _ = self.delivery.acker.nack(back).await;
    }
}
