//! Exchanges and queues. RabbitMQ compares what is declared with what is there, and names
//! the first argument that differs.

use lapin::{
    Channel, Error, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::Rabbit;
use crate::envelope::PARTITIONS;

/// An event that a worker gave back, or died of, so often goes to the dead letters; the limit
/// that RabbitMQ 4 has by itself.
const DELIVERIES: i32 = 20;

/// Where events are published.
pub(super) fn exchange(name: &str) -> String {
    format!("{name}.events")
}

/// Where those go that no worker could handle.
pub(super) fn dead(name: &str) -> String {
    format!("{name}.dead")
}

impl Rabbit {
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        let name = &self.config.name;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let dead = dead(name);
        let exchanges = [
            (exchange(name), ExchangeKind::Topic),
            (dead.clone(), ExchangeKind::Fanout),
        ];
        for (exchange, kind) in exchanges {
            channel
                .exchange_declare(exchange.into(), kind, durable, FieldTable::default())
                .await?;
        }
        self.queue(channel, &dead, &dead, "", self.bounded("drop-head"))
            .await?;
        for partition in 0..PARTITIONS {
            let queue = format!("{name}.events.{partition}");
            let mut arguments = self.bounded("reject-publish");
            let age = self.config.bounds.age.as_millis();
            let more = [
                ("x-single-active-consumer", AMQPValue::Boolean(true)),
                (
                    "x-message-ttl",
                    number(u64::try_from(age).unwrap_or(u64::MAX)),
                ),
                ("x-delivery-limit", AMQPValue::LongInt(DELIVERIES)),
                ("x-dead-letter-exchange", text(&dead)),
                // It stays in its queue until it is among the dead letters.
                ("x-dead-letter-strategy", text("at-least-once")),
            ];
            for (argument, value) in more {
                arguments.insert(argument.into(), value);
            }
            let key = format!("{partition}.#");
            self.queue(channel, &queue, &exchange(name), &key, arguments)
                .await?;
        }
        Ok(())
    }

    /// A quorum queue with its part of the bytes, and what becomes of those beyond.
    fn bounded(&self, overflow: &str) -> FieldTable {
        let bytes = self.config.bounds.bytes / u64::from(PARTITIONS);
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-max-length-bytes".into(), number(bytes));
        arguments.insert("x-overflow".into(), text(overflow));
        arguments
    }

    async fn queue(
        &self,
        channel: &Channel,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(queue.into(), durable, arguments)
            .await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                options,
                FieldTable::default(),
            )
            .await
    }
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(super) fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}
