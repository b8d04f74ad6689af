//! NATS JetStream: one stream a fleet, a subject for each partition, shard and type.
//!
//! The client connects again by itself. While it is away nothing is given to it, so that
//! nothing old comes out of its buffers; what has no answer in time is published again,
//! with the same id, and the broker takes it once.

mod commands;
mod declare;
mod letters;
mod trim;

use std::{
    error::Error as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, HeaderName,
    connection::State,
    jetstream::{
        self, Context, ErrorCode,
        context::{ContextBuilder, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) use self::letters::visit;
use self::{declare::Refusal, trim::Trim};
use super::{Confirmed, Message, Publish, Refused};
use crate::{
    config::{Credentials, SinkConfig},
    envelope::{self, Stamp, partition},
    error::Error,
    health::Health,
};

/// Publishes that wait for their answer, of all shards.
const UNDER_WAY: usize = 1 << 16;
/// How often a stream that cannot be declared is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// A broker that takes no more than this in one message does not take the guilds of a big
/// bot.
const BIG_GUILD: usize = 8 << 20;

/// See the [module](self).
pub(crate) struct Nats {
    pub(crate) config: SinkConfig,
    context: Context,
    /// The stream is as it should be.
    declared: AtomicBool,
    /// Rings when it may not be so any more.
    look: Notify,
    health: Arc<Health>,
}

/// Connects and declares, or, if the broker is away, does so later.
pub(crate) async fn start(
    config: SinkConfig,
    health: &Arc<Health>,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Nats>, Error> {
    let client = connect(&config, health).await?;
    let context = ContextBuilder::new()
        .timeout(config.timings.confirm)
        .max_ack_inflight(UNDER_WAY)
        .build(client);
    let nats = Arc::new(Nats {
        config,
        context,
        declared: AtomicBool::new(false),
        look: Notify::new(),
        health: Arc::clone(health),
    });
    if nats.is_connected() {
        match nats.declare().await {
            Ok(()) => {}
            Err(Refusal::Wrong(error)) => return Err(error),
            Err(Refusal::NotNow(reason)) => {
                tracing::warn!(broker = %nats.config.address, reason, "the stream is declared later");
            }
        }
    }
    tasks.spawn(keep(Arc::clone(&nats), Arc::clone(health)));
    Ok(nats)
}

async fn connect(config: &SinkConfig, health: &Arc<Health>) -> Result<Client, Error> {
    let address = &config.address;
    let scheme = if address.tls { "tls" } else { "nats" };
    let hosts = address.hosts.iter();
    let hosts: Vec<_> = hosts
        .map(|(host, port)| format!("{scheme}://{host}:{port}"))
        .collect();
    let refused = |reason: String| Error::Refused {
        place: address.to_string(),
        reason,
    };
    let first = options(config, health)?;
    match timeout(config.timings.start, first.connect(&hosts)).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => {
            use async_nats::ConnectErrorKind::{
                Authentication, AuthorizationViolation, Dns, Io, MaxReconnects, ServerParse,
                TimedOut, Tls,
            };
            let certificates =
                "give the certificates that the broker wants, and the authority of its own";
            let advice = match error.kind() {
                ServerParse => "give HOST:PORT",
                Authentication | AuthorizationViolation => {
                    "the broker does not let this process in: give user and password, or \
                     credentials, that it knows"
                }
                Tls => certificates,
                // A handshake that fails is an error of the connection.
                Io if is_of_handshake(&error) => certificates,
                Dns | Io | TimedOut | MaxReconnects => "",
            };
            if !advice.is_empty() {
                return Err(refused(format!("{error}: {advice}")));
            }
            tracing::warn!(broker = %address, %error, "the broker cannot be reached: it is tried again");
        }
        Err(_) => {
            tracing::warn!(broker = %address, "the broker does not answer: it is tried again");
        }
    }
    let later = options(config, health)?.retry_on_initial_connect();
    let client = later.connect(&hosts).await;
    client.map_err(|error| refused(error.to_string()))
}

/// Whether the handshake of TLS failed: the client tells that as an error of the connection.
fn is_of_handshake(error: &async_nats::ConnectError) -> bool {
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::InvalidData)
}

fn options(config: &SinkConfig, health: &Arc<Health>) -> Result<ConnectOptions, Error> {
    let health = Arc::clone(health);
    let mut options = ConnectOptions::new()
        .name(format!("baton {} {}", config.name, config.gateway))
        .require_tls(config.address.tls)
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| {
            let tries = u32::try_from(tries).unwrap_or(u32::MAX);
            let pause = Duration::from_millis(50).saturating_mul(tries);
            pause.min(Duration::from_secs(2))
        })
        .event_callback(move |event| {
            let health = Arc::clone(&health);
            async move {
                tracing::debug!(%event, "nats");
                if matches!(event, Event::Connected) {
                    health.revive();
                }
            }
        });
    let (user, password) = (&config.address.user, &config.address.password);
    options = match (&config.credentials, user, password) {
        (Some(Credentials(text)), _, _) if text.contains("-----BEGIN") => {
            // The client wants the end of the last line, which is white space to ours.
            let read = options.credentials(&format!("{text}\n"));
            read.map_err(|_| Error::Setting {
                setting: "credentials",
                wrong: "this is no NATS credentials file: it has a JWT and an NKEY seed".to_owned(),
            })?
        }
        (Some(Credentials(text)), _, _) => match text.split_once(':') {
            Some((user, password)) => {
                options.user_and_password(user.to_owned(), password.to_owned())
            }
            None => options.token(text.clone()),
        },
        (None, Some(user), Some(password)) => {
            options.user_and_password(user.clone(), password.clone())
        }
        (None, Some(token), None) | (None, None, Some(token)) => options.token(token.clone()),
        (None, None, None) => options,
    };
    if let Some(ca) = &config.tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

/// Declares what is not declared, and removes what no worker needs.
async fn keep(nats: Arc<Nats>, health: Arc<Health>) {
    let mut trim = Trim::new(nats.config.timings);
    let mut said = String::new();
    loop {
        if !nats.declared.load(Ordering::Acquire) && nats.is_connected() {
            match nats.declare().await {
                Ok(()) => {
                    tracing::info!(stream = nats.config.name, "the stream is declared");
                    said.clear();
                    health.revive();
                }
                Err(refusal) => {
                    let reason = refusal.to_string();
                    if said != reason {
                        tracing::error!(broker = %nats.config.address, reason, "no event can be published");
                        said = reason;
                    }
                }
            }
        }
        if nats.declared.load(Ordering::Acquire) {
            tokio::select! {
                () = sleep(nats.config.timings.trim) => trim.run(&nats).await,
                () = nats.look.notified() => {}
            }
        } else {
            sleep(AGAIN).await;
        }
    }
}

impl Nats {
    fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// The stream is not there any more: it is declared anew before anything is published.
    fn undeclare(&self) {
        self.declared.store(false, Ordering::Release);
        self.look.notify_one();
    }

    fn subject(&self, message: &Message) -> String {
        let event = &message.event;
        let partition = partition(event.guild, event.shard);
        let kind = envelope::word(event);
        let (name, shard) = (&self.config.name, event.shard);
        format!("{name}.events.{partition}.{shard}.{kind}")
    }
}

impl Publish for Nats {
    fn knows_repeats_for(&self) -> Duration {
        // A try may need twice the time of a confirm to arrive.
        let times = self.config.timings;
        times.repeats.saturating_sub(2 * times.confirm)
    }

    async fn publish(&self, message: Arc<Message>, may_repeat: bool) -> Result<Confirmed, Refused> {
        let certain = |reason: &str| Refused {
            in_doubt: false,
            reason: reason.to_owned(),
        };
        if !self.is_connected() {
            return Err(certain("not connected"));
        }
        if !self.declared.load(Ordering::Acquire) {
            return Err(certain("the stream is not declared yet"));
        }
        let stamp = Stamp {
            gateway: &self.config.gateway,
            created: message.created,
            may_repeat,
            commands: self
                .config
                .takes_commands(|name| format!("{name}.commands.{}", message.event.shard)),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in envelope::fields(&message.event, &stamp) {
            headers.insert(HeaderName::from_static(name), value);
        }
        let publish = PublishMessage::build()
            .payload(message.event.payload.clone())
            .headers(headers)
            .message_id(envelope::id(&message.event));
        let sent = self
            .context
            .send_publish(self.subject(&message), publish)
            .await;
        let answer = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ack) if ack.duplicate => Ok(Confirmed::Repeat),
            Ok(_) => Ok(Confirmed::Added),
            Err(error) => Err(self.refused(&error, &message)),
        }
    }
}

impl Nats {
    fn refused(&self, error: &PublishError, message: &Message) -> Refused {
        use PublishErrorKind::{
            BrokenPipe, MaxAckPending, MaxPayloadExceeded, Other, StreamNotFound, TimedOut,
            WrongLastMessageId, WrongLastSequence,
        };
        let (in_doubt, reason) = match error.kind() {
            StreamNotFound => {
                self.undeclare();
                (false, "there is no such stream".to_owned())
            }
            TimedOut => (true, "no answer in time".to_owned()),
            BrokenPipe => (true, "the connection was lost".to_owned()),
            MaxPayloadExceeded => {
                let (kind, bytes) = (&message.event.kind, message.event.payload.len());
                let reason = format!(
                    "an event ({kind}) has {bytes} bytes, more than the broker's `max_payload`: \
                     raise that, up to 64 MB"
                );
                (false, reason)
            }
            MaxAckPending | WrongLastMessageId | WrongLastSequence | Other => {
                let source = std::error::Error::source(error);
                let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
                (!is_full(error), reason)
            }
        };
        Refused { in_doubt, reason }
    }
}

/// Whether the stream has met one of its limits: the broker has not stored the message, and
/// says so.
fn is_full(error: &PublishError) -> bool {
    let answer = std::error::Error::source(error);
    let answer = answer.and_then(|answer| answer.downcast_ref::<jetstream::Error>());
    // Of what fails under this code, a disk may have written a part.
    answer.is_some_and(|answer| {
        let is_limit = answer.to_string().starts_with("maximum ");
        answer.error_code() == ErrorCode::STREAM_STORE_FAILED && is_limit
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_that_is_full_does_not_have_the_message_and_one_that_fails_may() {
        let full = |code: u64, description: &str| {
            let answer = json!({"code": 503, "err_code": code, "description": description});
            let answer: jetstream::Error = serde_json::from_value(answer).unwrap();
            is_full(&PublishError::with_source(PublishErrorKind::Other, answer))
        };
        assert!(full(10077, "maximum bytes exceeded"));
        assert!(!full(10077, "no space left on device"));
        assert!(!full(10008, "maximum bytes exceeded"));
        assert!(!is_full(&PublishError::new(PublishErrorKind::Other)));
    }
}
