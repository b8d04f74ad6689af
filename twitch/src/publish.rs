//! A bot that publishes its events to a broker, for workers in any language.
//!
//! It is the sink of the gateway process for Discord (`baton-sink`), with its promises: an event
//! is finished when the broker has confirmed it, the order of each channel is kept, and what
//! waits while the broker is away holds the units up, and no more. The envelope is the same, with
//! the id of the channel where a guild's stands.

use std::sync::Arc;

use baton_sink::{Dispatch, Sink};
use bytes::Bytes;

use crate::bot::{Ack, Bot, Delivery};

/// A bot that publishes each event to a sink of `baton-sink`: a broker, for workers in any
/// language. An event is finished when the sink has confirmed it.
#[derive(Debug)]
pub struct Publisher(Arc<Sink>);

impl Publisher {
    /// To this sink.
    #[must_use]
    pub const fn new(sink: Arc<Sink>) -> Self {
        Self(sink)
    }

    /// What the sink says about itself.
    #[must_use]
    pub fn status(&self) -> baton_sink::Status {
        self.0.status()
    }
}

impl Bot for Publisher {
    fn handle(&self, delivery: Delivery, ack: Ack) {
        self.0.publish(dispatch(&delivery), ack);
    }
}

/// What is published of an event.
fn dispatch(delivery: &Delivery) -> Dispatch {
    let event = &delivery.event;
    let channel = event.channel_id.as_ref();
    Dispatch {
        shard: delivery.unit,
        shards: delivery.units,
        epoch: delivery.epoch,
        session: delivery.session.to_string(),
        sequence: delivery.sequence,
        kind: event.kind.to_string(),
        may_repeat: delivery.may_repeat,
        guild: channel.and_then(|id| id.as_str().parse().ok()),
        payload: Bytes::from(event.text.as_bytes().to_vec()),
    }
}
