//! Dead letters at NATS: messages of a stream.

use std::sync::{Arc, atomic::AtomicBool};

use async_nats::{
    HeaderMap,
    jetstream::{
        context::ContextBuilder,
        message::{PublishMessage, StreamMessage},
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use tokio::sync::Notify;

use super::{Nats, connect};
use crate::{
    config::SinkConfig,
    error::Error,
    health::Health,
    letters::{DeadLetter, OF_THE_DEAD, from_nowhere},
};

/// Connects, and declares nothing.
pub(crate) async fn visit(config: SinkConfig) -> Result<Arc<Nats>, Error> {
    let health = Arc::new(Health::new(config.address.to_string()));
    let client = connect(&config, &health).await?;
    let context = ContextBuilder::new()
        .timeout(config.timings.confirm)
        .build(client);
    let nats = Arc::new(Nats {
        context,
        declared: AtomicBool::new(false),
        look: Notify::new(),
        health,
        config,
    });
    if nats.is_connected() {
        return Ok(nats);
    }
    Err(Error::Refused {
        place: nats.config.address.to_string(),
        reason: "it cannot be reached".to_owned(),
    })
}

impl Nats {
    pub(crate) async fn letters(&self, most: usize) -> Result<Vec<DeadLetter>, String> {
        let stream = self.dead_letters().await?;
        let state = &stream.cached_info().state;
        let mut all = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if all.len() >= most {
                break;
            }
            // One that was sent again is a hole.
            let message = at(&stream, sequence).await?;
            all.extend(message.as_ref().map(read));
        }
        Ok(all)
    }

    pub(crate) async fn sends_again(&self, id: &str) -> Result<bool, String> {
        let stream = self.dead_letters().await?;
        let Ok(sequence @ 1..) = id.parse::<u64>() else {
            return Ok(false);
        };
        let Some(message) = at(&stream, sequence).await? else {
            return Ok(false);
        };
        let from = read(&message).from;
        if !from.starts_with(&format!("{}.", self.config.name)) {
            return Err(from_nowhere());
        }
        let mut headers = HeaderMap::new();
        for (name, values) in message.headers.iter() {
            let name_text = name.to_string();
            // The broker would know it for what it was.
            let is_old = OF_THE_DEAD.contains(&&*name_text) || name_text.starts_with("Nats-");
            for value in values.iter().filter(|_| !is_old) {
                headers.append(name.clone(), value.clone());
            }
        }
        let publish = PublishMessage::build()
            .payload(message.payload)
            .headers(headers);
        let moved = self.moves(&from, publish).await;
        moved.map_err(|error| error.to_string())?;
        let gone = stream.delete_message(sequence).await;
        gone.map_err(|error| error.to_string())
    }
}

/// The message of this sequence; `None`: there is none.
async fn at(stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>, String> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn read(message: &StreamMessage) -> DeadLetter {
    let header = |name: &str| message.headers.get(name).map(ToString::to_string);
    let mut headers: Vec<_> = message
        .headers
        .iter()
        .filter_map(|(name, values)| {
            let name = name.to_string();
            let value = values.first()?.to_string();
            Some((name, value)).filter(|(name, _)| !OF_THE_DEAD.contains(&name.as_str()))
        })
        .collect();
    headers.sort();
    DeadLetter {
        id: message.sequence.to_string(),
        from: header("baton-from").unwrap_or_default(),
        reason: header("baton-reason").unwrap_or_default(),
        headers,
        payload: message.payload.to_vec(),
    }
}
