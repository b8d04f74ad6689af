//! RabbitMQ.

use std::time::Duration;

use futures_util::{
    StreamExt,
    stream::{SelectAll, select_all},
};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::{sleep, timeout};

use super::{BYTES, Failed, Lines};

/// Queues, of a bare publisher as of the sink.
const QUEUES: u64 = 16;
/// It is on the disk before it is confirmed.
const PERSISTENT: u8 = 2;
/// Without a message for so long, what was read is written and acknowledged.
const QUIET: Duration = Duration::from_millis(2);
/// Messages of a queue that a worker has in hand, at most.
const IN_HAND: u16 = 256;
/// So many messages are acknowledged at once.
const ACKNOWLEDGED: usize = 64;

pub(super) struct Publisher {
    channel: Channel,
    payload: Vec<u8>,
    _connection: Connection,
}

impl Publisher {
    pub(super) async fn connect(url: &str) -> Result<Self, Failed> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for queue in 0..QUEUES {
            let mut arguments = FieldTable::default();
            let quorum = AMQPValue::LongString("quorum".into());
            arguments.insert("x-queue-type".into(), quorum);
            let options = QueueDeclareOptions {
                durable: true,
                ..QueueDeclareOptions::default()
            };
            let name = format!("bare.{queue}");
            channel
                .queue_declare(name.into(), options, arguments)
                .await?;
        }
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await?;
        Ok(Self {
            channel,
            payload: vec![b'x'; BYTES],
            _connection: connection,
        })
    }

    pub(super) async fn publish(&self, number: u64) -> Result<(), Failed> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(number.to_string().into());
        let queue = format!("bare.{}", number % QUEUES);
        let options = BasicPublishOptions::default();
        let published =
            self.channel
                .basic_publish("".into(), queue.into(), options, &self.payload, properties);
        match published.await?.await? {
            Confirmation::Ack(_) => Ok(()),
            other @ (Confirmation::Nack(_) | Confirmation::NotRequested) => {
                Err(format!("{other:?}").into())
            }
        }
    }
}

pub(super) async fn consume(url: &str, mut lines: Lines) -> Result<(), Failed> {
    // The publisher declares the queues, and an attempt to consume from one that is not there
    // ends its channel.
    let (_connection, _channel, mut deliveries) = loop {
        match open(url).await {
            Ok(open) => break open,
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    };
    // Each by itself: the queues are read beside each other, so the last message that was read
    // need not be the last one that was delivered.
    let mut read = Vec::new();
    loop {
        let next = timeout(QUIET, deliveries.next()).await;
        if let Ok(next) = next {
            let delivery = next.ok_or("the messages ended")??;
            let headers = delivery.properties.headers().as_ref();
            let headers = headers.ok_or("a message has no headers")?.inner();
            lines.write(|name| {
                let AMQPValue::LongString(text) = headers.get(name)? else {
                    return None;
                };
                Some(text.to_string())
            })?;
            read.push(delivery.acker);
            if read.len() < ACKNOWLEDGED {
                continue;
            }
        } else {
            lines.flush()?;
        }
        for acker in read.drain(..) {
            acker.ack(BasicAckOptions::default()).await?;
        }
    }
}

/// A connection, its channel, which ends with its last handle, and what comes.
async fn open(url: &str) -> Result<(Connection, Channel, SelectAll<Consumer>), Failed> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(IN_HAND, BasicQosOptions::default())
        .await?;
    let mut all = Vec::new();
    for queue in 0..QUEUES {
        let queue = format!("baton.events.{queue}");
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(queue.into(), "".into(), options, arguments);
        all.push(consuming.await?);
    }
    Ok((connection, channel, select_all(all)))
}
