//! RabbitMQ: one exchange a fleet, a quorum queue for each partition.
//!
//! The broker knows no repeats, so an event that is published again after an answer that
//! never came says that it may be one. A connection is made anew as a whole, with what is
//! declared: an event whose confirm was lost is published again in any case, so nothing is
//! gained by a connection that is mended.

mod commands;
mod confirms;
mod declare;
mod letters;

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Connection, ConnectionProperties, DefaultConnectionBuilder,
    Error as LapinError, ErrorKind,
    options::ConfirmSelectOptions,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::{OwnedIdentity, OwnedTLSConfig},
    types::{AMQPValue, FieldTable},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::{
    sync::{mpsc::Sender, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::confirms::{Order, Verdict};
pub(crate) use self::letters::visit;
use super::{Confirmed, Message, Publish, Refused, link::Link};
use crate::{
    address::bare,
    config::{Pem, SinkConfig},
    envelope::{self, Stamp, partition},
    error::Error,
    health::Health,
};

/// How often a broker that is away is tried.
const AGAIN: Duration = Duration::from_millis(500);
/// Seconds between two signs of life; without two of them a connection is dead.
const HEARTBEAT: u16 = 10;
/// It is on the disks of the queue's servers before it is confirmed.
const PERSISTENT: u8 = 2;

/// See the [module](self).
pub(crate) struct Rabbit {
    pub(crate) config: SinkConfig,
    tls: OwnedTLSConfig,
    link: Link<Open>,
}

/// A channel on which all is declared.
#[derive(Clone)]
struct Open {
    orders: Sender<Order>,
    /// Dropped, it ends.
    connection: Arc<Connection>,
}

/// Connects and declares, or, if the broker is away, does so later.
pub(crate) async fn start(
    config: SinkConfig,
    health: &Arc<Health>,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Rabbit>, Error> {
    let tls = certificates(&config)?;
    let rabbit = Arc::new(Rabbit {
        config,
        tls,
        link: Link::new(),
    });
    match timeout(rabbit.config.timings.start, rabbit.open()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            if let Some(error) = rabbit.wrong(&error) {
                return Err(error);
            }
            tracing::warn!(broker = %rabbit.config.address, %error, "the broker cannot be reached: it is tried again");
        }
        Err(_) => {
            tracing::warn!(broker = %rabbit.config.address, "the broker does not answer: it is tried again");
        }
    }
    tasks.spawn(keep(Arc::clone(&rabbit), Arc::clone(health)));
    Ok(rabbit)
}

fn certificates(config: &SinkConfig) -> Result<OwnedTLSConfig, Error> {
    let Pem { ca, own } = config.tls.read()?;
    Ok(OwnedTLSConfig {
        identity: own.map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key }),
        cert_chain: ca.map(|ca| String::from_utf8_lossy(&ca).into_owned()),
    })
}

/// Connects again and again.
async fn keep(rabbit: Arc<Rabbit>, health: Arc<Health>) {
    let mut said = String::new();
    loop {
        // What it waits for may be said of the one before.
        while rabbit.link.get().is_some() {
            rabbit.link.lost().await;
        }
        let opened = timeout(rabbit.config.timings.start * 2, rabbit.open()).await;
        match opened {
            Ok(Ok(())) => {
                tracing::info!(broker = %rabbit.config.address, "connected");
                said.clear();
                health.revive();
                continue;
            }
            Ok(Err(error)) => {
                let reason = rabbit.wrong(&error).map(|error| error.to_string());
                let is_new = reason.as_ref().is_some_and(|reason| *reason != said);
                if let Some(reason) = reason.filter(|_| is_new) {
                    tracing::error!(reason, "no event can be published");
                    said = reason;
                }
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}

impl Rabbit {
    /// Connects to the first host that answers, and declares what is needed.
    async fn open(&self) -> Result<(), LapinError> {
        let mut failed = None;
        for (host, port) in &self.config.address.hosts {
            match self.open_at(host, *port).await {
                Ok(open) => {
                    self.link.set(open);
                    return Ok(());
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Connects to the first host that answers.
    async fn connect(&self) -> Result<Connection, LapinError> {
        let mut hosts = self.config.address.hosts.iter();
        // An address has a host.
        let (host, port) = hosts
            .next()
            .ok_or_else(|| std::io::Error::other("the address has no host"))?;
        let mut connected = self.connect_to(host, *port).await;
        for (host, port) in hosts {
            if connected.is_ok() {
                break;
            }
            connected = self.connect_to(host, *port).await;
        }
        connected
    }

    async fn connect_to(&self, host: &str, port: u16) -> Result<Connection, LapinError> {
        let name = format!("baton {} {}", self.config.name, self.config.gateway);
        DefaultConnectionBuilder::new()?
            .with_uri(self.uri(host, port))
            .with_properties(ConnectionProperties::default().with_connection_name(name.into()))
            .with_tls_config(self.tls.clone())
            .connect()
            .await
    }

    async fn open_at(&self, host: &str, port: u16) -> Result<Open, LapinError> {
        let connection = self.connect_to(host, port).await?;
        let channel = connection.create_channel().await?;
        self.declare(&channel).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let exchange = declare::exchange(&self.config.name);
        Ok(Open {
            orders: confirms::start(channel, exchange),
            connection: Arc::new(connection),
        })
    }

    fn uri(&self, host: &str, port: u16) -> AMQPUri {
        let address = &self.config.address;
        let given = self.config.credentials.as_ref();
        let given = given.and_then(|given| given.0.split_once(':'));
        let (username, password) = match given {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => {
                let usual = || "guest".to_owned();
                let user = address.user.clone().unwrap_or_else(usual);
                (user, address.password.clone().unwrap_or_else(usual))
            }
        };
        let wait = self.config.timings.start.as_millis();
        AMQPUri {
            scheme: if address.tls {
                AMQPScheme::AMQPS
            } else {
                AMQPScheme::AMQP
            },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: bare(host).to_owned(),
                port,
            },
            vhost: address.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT),
                connection_timeout: u64::try_from(wait).ok(),
                ..AMQPQueryString::default()
            },
        }
    }

    /// What somebody has to change; `None`: it may go away by itself.
    fn wrong(&self, error: &LapinError) -> Option<Error> {
        let place = self.config.address.to_string();
        let ErrorKind::ProtocolError(said) = error.kind() else {
            let text = error.to_string();
            return text.contains("certificate").then(|| Error::Refused {
                place,
                reason: format!(
                    "{text}: give the authority of the broker's certificate, and the one that it \
                     wants"
                ),
            });
        };
        let text = said.get_message().to_string();
        let refused = |advice: &str| {
            Some(Error::Refused {
                place: place.clone(),
                reason: format!("{text}: {advice}"),
            })
        };
        match said.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Some(Error::Differs {
                place,
                what: "an exchange or a queue".to_owned(),
                differences: vec![text],
            }),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => refused(
                "give user and password, or credentials, that it knows, and that may configure \
                 and write here",
            ),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                refused("give a virtual host that is there, and that this user may use")
            }
            AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
        }
    }
}

impl Publish for Rabbit {
    fn knows_repeats_for(&self) -> Duration {
        Duration::ZERO
    }

    async fn publish(&self, message: Arc<Message>, may_repeat: bool) -> Result<Confirmed, Refused> {
        let certain = |reason: &str| Refused {
            in_doubt: false,
            reason: reason.to_owned(),
        };
        let doubt = |reason: String| Refused {
            in_doubt: true,
            reason,
        };
        let Some((open, number)) = self.link.get() else {
            return Err(certain("not connected"));
        };
        let (answer, verdict) = oneshot::channel();
        let order = self.order(&message, may_repeat, answer);
        let asked = async {
            open.orders.send(order).await.ok()?;
            verdict.await.ok()
        };
        match timeout(self.config.timings.confirm, asked).await {
            Ok(Some(Ok(Verdict::Taken))) => Ok(Confirmed::Added),
            Ok(Some(Ok(Verdict::CameBack))) => {
                // Somebody removed a queue. It is declared with the next connection.
                self.link.lose(number);
                Err(certain("no queue takes it"))
            }
            Ok(Some(Ok(Verdict::Not(reason)))) => Err(doubt(reason.to_owned())),
            Ok(Some(Err(error))) => {
                self.link.lose(number);
                Err(doubt(error.to_string()))
            }
            Ok(None) => {
                self.link.lose(number);
                Err(doubt("the connection was lost".to_owned()))
            }
            Err(_) => {
                if !open.connection.status().connected() {
                    self.link.lose(number);
                }
                Err(doubt("no answer in time".to_owned()))
            }
        }
    }
}

impl Rabbit {
    fn order(
        &self,
        message: &Message,
        may_repeat: bool,
        answer: oneshot::Sender<Result<Verdict, LapinError>>,
    ) -> Order {
        let event = &message.event;
        let stamp = Stamp {
            gateway: &self.config.gateway,
            created: message.created,
            may_repeat,
            commands: self
                .config
                .takes_commands(|name| format!("{name}.commands.{}", event.shard)),
        };
        let mut headers = FieldTable::default();
        for (name, value) in envelope::fields(event, &stamp) {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let id = envelope::id(event);
        let properties = BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_timestamp(message.created / 1000)
            .with_headers(headers);
        let partition = partition(event.guild, event.shard);
        let word = envelope::word(event);
        Order {
            id,
            key: format!("{partition}.{}.{word}", event.shard),
            properties,
            payload: event.payload.clone(),
            answer,
        }
    }
}
