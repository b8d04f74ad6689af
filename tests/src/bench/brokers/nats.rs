//! NATS JetStream.

use std::time::Duration;

use async_nats::jetstream::{
    self, Context,
    consumer::{AckPolicy, pull},
    message::PublishMessage,
    stream::Config,
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::{BYTES, Failed, Lines};

/// Without a message for so long, what was read is written.
const QUIET: Duration = Duration::from_millis(2);
/// Of so many messages the last one is acknowledged, and with it the others.
const ACKNOWLEDGED: u64 = 64;

pub(super) struct Publisher {
    context: Context,
    payload: Bytes,
}

impl Publisher {
    pub(super) async fn connect(url: &str) -> Result<Self, Failed> {
        let context = jetstream::new(async_nats::connect(url).await?);
        let stream = Config {
            name: "bare".to_owned(),
            subjects: vec!["bare.>".to_owned()],
            ..Config::default()
        };
        context.get_or_create_stream(stream).await?;
        let payload = Bytes::from(vec![b'x'; BYTES]);
        Ok(Self { context, payload })
    }

    pub(super) async fn publish(&self, number: u64) -> Result<(), Failed> {
        let message = PublishMessage::build().payload(self.payload.clone());
        let message = message.message_id(number.to_string());
        let subject = format!("bare.{}", number % 16);
        self.context.send_publish(subject, message).await?.await?;
        Ok(())
    }
}

pub(super) async fn consume(url: &str, mut lines: Lines) -> Result<(), Failed> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = loop {
        match context.get_stream("baton").await {
            Ok(stream) => break stream,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    let consumer = pull::Config {
        durable_name: Some("bench".to_owned()),
        ack_policy: AckPolicy::All,
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(consumer).await?;
    let mut messages = consumer.messages().await?;
    let mut unacknowledged = 0;
    loop {
        let Ok(next) = timeout(QUIET, messages.next()).await else {
            lines.flush()?;
            continue;
        };
        let message = next.ok_or("the messages ended")??;
        let headers = message.headers.as_ref().ok_or("a message has no headers")?;
        lines.write(|name| headers.get(name).map(|value| value.as_str().to_owned()))?;
        unacknowledged += 1;
        if unacknowledged >= ACKNOWLEDGED {
            unacknowledged = 0;
            message.ack().await?;
        }
    }
}
