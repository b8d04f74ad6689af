//! Dead letters: what no worker and no shard could take. They are listed, shown, and sent again
//! to where they came from.

use std::sync::Arc;

use crate::{address::Broker, config::SinkConfig, error::Error};

/// Headers that say of a letter why it is dead, and not what it was.
pub(crate) const OF_THE_DEAD: [&str; 3] = ["baton-reason", "baton-from", "baton-sent"];

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it at the broker.
    pub id: String,
    /// The queue, subject or stream that it came from; empty: nobody knows.
    pub from: String,
    /// Why it is dead.
    pub reason: String,
    /// What stood beside it, in the order of the names.
    pub headers: Vec<(String, String)>,
    /// What it said.
    pub payload: Vec<u8>,
}

/// The dead letters of a fleet.
#[derive(Debug)]
pub struct Letters(Office);

enum Office {
    #[cfg(feature = "nats")]
    Nats(Arc<crate::broker::nats::Nats>),
    #[cfg(feature = "amqp")]
    Rabbit(Arc<crate::broker::rabbit::Rabbit>),
    #[cfg(feature = "redis")]
    Redis(Arc<crate::broker::redis::Redis>),
}

/// Does the same with each broker.
macro_rules! at {
    ($letters:expr, $broker:ident => $does:expr) => {
        match $letters.0 {
            #[cfg(feature = "nats")]
            Office::Nats(ref $broker) => $does,
            #[cfg(feature = "amqp")]
            Office::Rabbit(ref $broker) => $does,
            #[cfg(feature = "redis")]
            Office::Redis(ref $broker) => $does,
        }
    };
}

impl Letters {
    /// Connects to the broker, where nothing is declared.
    ///
    /// Must be called inside tokio.
    ///
    /// # Errors
    /// The broker cannot be reached, or does not let this process in; or the configuration
    /// cannot be.
    pub async fn open(config: SinkConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self(match config.address.broker() {
            Broker::Zmq => {
                let wrong = "the broker's address: ZeroMQ keeps nothing".to_owned();
                return Err(Error::Address(wrong));
            }
            #[cfg(feature = "nats")]
            Broker::Nats => Office::Nats(crate::broker::nats::visit(config).await?),
            #[cfg(feature = "amqp")]
            Broker::Rabbit => Office::Rabbit(crate::broker::rabbit::visit(config).await?),
            #[cfg(feature = "redis")]
            Broker::Redis => Office::Redis(crate::broker::redis::visit(config).await?),
            #[cfg(not(all(feature = "nats", feature = "amqp", feature = "redis")))]
            broker => {
                let feature = "amqp, nats or redis";
                return Err(Error::NotBuilt { broker, feature });
            }
        }))
    }

    /// The oldest ones, at most so many.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn list(&self, most: usize) -> Result<Vec<DeadLetter>, Error> {
        at!(self, broker => {
            let all = broker.letters(most).await;
            all.map_err(|reason| refused(&broker.config, reason))
        })
    }

    /// The one of this id; `None`: it is not there.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn show(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        let all = self.list(usize::MAX).await?;
        Ok(all.into_iter().find(|letter| letter.id == id))
    }

    /// Sends one again to where it came from, and takes it from the dead letters when it is
    /// there. `false`: there is none of this id. If this process dies in between, it is in both
    /// places.
    ///
    /// # Errors
    /// What the broker said, or why it cannot be sent again.
    pub async fn send(&self, id: &str) -> Result<bool, Error> {
        at!(self, broker => {
            let sent = broker.sends_again(id).await;
            sent.map_err(|reason| refused(&broker.config, reason))
        })
    }
}

fn refused(config: &SinkConfig, reason: String) -> Error {
    Error::Refused {
        place: config.address.to_string(),
        reason,
    }
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Office").finish()
    }
}

/// Nobody knows where it came from.
pub(crate) fn from_nowhere() -> String {
    "it does not say where it came from: it cannot be sent again".to_owned()
}
