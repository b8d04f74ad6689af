//! Dead letters at RabbitMQ: messages of a queue, which can be looked at by taking them all, and
//! giving them back.

use std::sync::Arc;

use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    PERSISTENT, Rabbit, certificates,
    commands::{as_text, said},
    declare::{dead, text},
};
use crate::{
    broker::link::Link,
    config::SinkConfig,
    error::Error,
    letters::{DeadLetter, OF_THE_DEAD, from_nowhere},
};

/// Connects, and declares nothing.
pub(crate) async fn visit(config: SinkConfig) -> Result<Arc<Rabbit>, Error> {
    let tls = certificates(&config)?;
    let link = Link::new();
    let rabbit = Arc::new(Rabbit { config, tls, link });
    let refused = |reason: String| Error::Refused {
        place: rabbit.config.address.to_string(),
        reason,
    };
    // Each look connects anew.
    match timeout(rabbit.config.timings.start * 2, rabbit.connect()).await {
        Ok(Ok(_)) => Ok(rabbit),
        Ok(Err(error)) => Err(rabbit
            .wrong(&error)
            .unwrap_or_else(|| refused(error.to_string()))),
        Err(_) => Err(refused("it does not answer".to_owned())),
    }
}

impl Rabbit {
    /// Takes dead letters, at most so many, which go back when the channel is closed.
    async fn take(
        &self,
        most: usize,
    ) -> Result<(lapin::Connection, Channel, Vec<Delivery>), String> {
        let connection = self.connect().await.map_err(said)?;
        let channel = connection.create_channel().await.map_err(said)?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.map_err(said)?;
        let mut all = Vec::new();
        while all.len() < most {
            let queue = dead(&self.config.name);
            let got = channel.basic_get(queue.into(), BasicGetOptions::default());
            match got.await.map_err(said)? {
                Some(message) => all.push(message.delivery),
                None => break,
            }
        }
        Ok((connection, channel, all))
    }

    pub(crate) async fn letters(&self, most: usize) -> Result<Vec<DeadLetter>, String> {
        let (connection, _, all) = self.take(most).await?;
        let read = all.iter().map(read).collect();
        let _ = connection.close(200, "looked".into()).await;
        Ok(read)
    }

    pub(crate) async fn sends_again(&self, id: &str) -> Result<bool, String> {
        let (connection, channel, all) = self.take(usize::MAX).await?;
        let found = all.iter().map(|one| (one, read(one)));
        let mut found = found.filter(|(_, letter)| letter.id == id);
        let Some((delivery, letter)) = found.next() else {
            let _ = connection.close(200, "looked".into()).await;
            return Ok(false);
        };
        if !letter.from.starts_with(&format!("{}.", self.config.name)) {
            return Err(from_nowhere());
        }
        let mut headers = FieldTable::default();
        let old = delivery.properties.headers().clone().unwrap_or_default();
        for (name, value) in old.inner() {
            let is_old = OF_THE_DEAD.contains(&name.as_str()) || name.as_str().starts_with("x-");
            if !is_old {
                headers.insert(name.clone(), value.clone());
            }
        }
        if headers.inner().contains_key("baton-sequence") {
            // An event, and a worker had it.
            headers.insert("baton-mark".into(), text("may-repeat"));
        }
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_delivery_mode(PERSISTENT);
        let properties = with_names(properties, &delivery.properties);
        // By the default exchange to the one queue that it came from.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let key = letter.from.as_str().into();
        let sent = channel.basic_publish("".into(), key, options, &delivery.data, properties);
        let confirm = sent.await.map_err(said)?.await.map_err(said)?;
        if confirm.is_nack() || confirm.take_message().is_some() {
            return Err(format!("the queue `{}` does not take it", letter.from));
        }
        let acked = delivery.acker.ack(BasicAckOptions::default());
        acked.await.map_err(said)?;
        let _ = connection.close(200, "sent".into()).await;
        Ok(true)
    }
}

fn with_names(new: BasicProperties, old: &BasicProperties) -> BasicProperties {
    let new = match old.message_id() {
        Some(id) => new.with_message_id(id.clone()),
        None => new,
    };
    let new = match old.correlation_id() {
        Some(id) => new.with_correlation_id(id.clone()),
        None => new,
    };
    match old.reply_to() {
        Some(place) => new.with_reply_to(place.clone()),
        None => new,
    }
}

fn read(delivery: &Delivery) -> DeadLetter {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let header = |name: &str| as_text(headers.inner().get(name)?);
    // What the broker itself says of one that it moved.
    let by_broker = |name: &str| match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => match deaths.as_slice().first() {
            Some(AMQPValue::FieldTable(death)) => as_text(death.inner().get(name)?),
            Some(_) | None => None,
        },
        Some(_) | None => None,
    };
    let mut beside: Vec<_> = headers
        .inner()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), as_text(value)?)))
        // The broker's own begin with x-, and some of them count looks.
        .filter(|(name, _)| !OF_THE_DEAD.contains(&name.as_str()) && !name.starts_with("x-"))
        .collect();
    beside.sort();
    let id = delivery.properties.message_id().as_ref();
    let sum = || format!("{:08x}", crc32fast::hash(&delivery.data));
    DeadLetter {
        id: id.map_or_else(sum, ToString::to_string),
        from: header("baton-from")
            .or_else(|| by_broker("queue"))
            .unwrap_or_default(),
        reason: header("baton-reason")
            .or_else(|| by_broker("reason"))
            .unwrap_or_default(),
        headers: beside,
        payload: delivery.data.clone(),
    }
}
