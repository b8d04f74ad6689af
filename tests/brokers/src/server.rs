//! A broker of whatever kind.

use std::{fmt, path::Path, str::FromStr};

use crate::{Error, Nats, Process, Rabbit, Redis, parts, worker};

/// A kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NATS JetStream.
    Nats,
    /// RabbitMQ.
    Rabbit,
    /// Redis Streams.
    Redis,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nats, Self::Rabbit, Self::Redis];

    /// The scheme of its addresses.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Rabbit => "amqp",
            Self::Redis => "redis",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.scheme())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.scheme() == text);
        known.ok_or_else(|| format!("`{text}` is no broker: give nats, amqp or redis"))
    }
}

/// A broker.
#[derive(Debug)]
pub enum Server {
    /// NATS JetStream.
    Nats(Nats),
    /// RabbitMQ.
    Rabbit(Rabbit),
    /// Redis Streams.
    Redis(Redis),
}

impl Server {
    /// Starts one.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(kind: Kind) -> Result<Self, Error> {
        Ok(match kind {
            Kind::Nats => Self::Nats(Nats::start()?),
            Kind::Rabbit => Self::Rabbit(Rabbit::start()?),
            Kind::Redis => Self::Redis(Redis::start()?),
        })
    }

    /// Whether one can be started here, and a worker behind it.
    ///
    /// # Errors
    /// Something is not installed.
    pub fn is_here(kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::Nats => parts::program("nats-server").map(drop),
            Kind::Rabbit => Rabbit::is_here(),
            Kind::Redis => parts::program("redis-server").map(drop),
        }?;
        worker::python(kind, "", 0).map(drop)
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Nats(_) => Kind::Nats,
            Self::Rabbit(_) => Kind::Rabbit,
            Self::Redis(_) => Kind::Redis,
        }
    }

    /// Its process.
    pub const fn process(&mut self) -> &mut Process {
        match self {
            Self::Nats(nats) => &mut nats.process,
            Self::Rabbit(rabbit) => &mut rabbit.process,
            Self::Redis(redis) => &mut redis.process,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Self::Nats(nats) => nats.dir(),
            Self::Rabbit(rabbit) => rabbit.dir(),
            Self::Redis(redis) => redis.dir(),
        }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Nats(nats) => nats.port,
            Self::Rabbit(rabbit) => rabbit.port,
            Self::Redis(redis) => redis.port,
        }
    }

    /// What `--sink` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.kind(), self.port())
    }

    /// `kill -9`. A RabbitMQ is given the time to write down the names of its queues
    /// ([`Rabbit::kill`]).
    ///
    /// # Errors
    /// It does not write them down.
    pub fn kill(&mut self) -> Result<(), Error> {
        match self {
            Self::Nats(nats) => nats.kill(),
            Self::Rabbit(rabbit) => rabbit.kill()?,
            Self::Redis(redis) => redis.kill(),
        }
        Ok(())
    }

    /// It was killed, and comes back at the same place with what is on its disk.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<(), Error> {
        match self {
            Self::Nats(nats) => nats.start_again(),
            Self::Rabbit(rabbit) => rabbit.start_again(),
            Self::Redis(redis) => redis.start_again(),
        }
    }

    /// It was killed, and its disk with it.
    ///
    /// # Errors
    /// That cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        match self {
            Self::Nats(nats) => nats.forget(),
            Self::Rabbit(rabbit) => rabbit.forget(),
            Self::Redis(redis) => redis.forget(),
        }
    }

    /// It takes no more events, as one that is full: its operator gave it less room than it
    /// has in use.
    ///
    /// # Errors
    /// It does not do as it is told.
    pub fn fill(&self) -> Result<(), Error> {
        match self {
            Self::Nats(nats) => nats.has_room(false),
            Self::Rabbit(rabbit) => rabbit.has_room(false),
            Self::Redis(redis) => redis.has_room(false),
        }
    }

    /// It has room again.
    ///
    /// # Errors
    /// It does not do as it is told.
    pub fn make_room(&self) -> Result<(), Error> {
        match self {
            Self::Nats(nats) => nats.has_room(true),
            Self::Rabbit(rabbit) => rabbit.has_room(true),
            Self::Redis(redis) => redis.has_room(true),
        }
    }
}
