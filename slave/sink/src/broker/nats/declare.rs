//! The stream: declared if it is not there, compared if it is.

use std::{fmt, sync::atomic::Ordering};

use async_nats::jetstream::{
    ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
};

use super::{BIG_GUILD, Nats};
use crate::error::Error;

/// Why the stream is not declared.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The broker cannot say it now.
    NotNow(String),
    /// Somebody has to change something.
    Wrong(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow(reason) => f.write_str(reason),
            Self::Wrong(error) => error.fmt(f),
        }
    }
}

impl Nats {
    /// Declares the stream, and from then on events are published.
    pub(super) async fn declare(&self) -> Result<(), Refusal> {
        let wanted = self.wanted();
        let refused = |reason: String| {
            Refusal::Wrong(Error::Refused {
                place: self.config.address.to_string(),
                reason,
            })
        };
        let server = self.context.client().server_info();
        if !server.jetstream {
            let reason = "the broker has no JetStream: start nats-server with `-js`".to_owned();
            return Err(refused(reason));
        }
        match self.context.get_stream(&wanted.name).await {
            Ok(stream) => {
                let differences = differences(&wanted, &stream.cached_info().config);
                if !differences.is_empty() {
                    return Err(Refusal::Wrong(Error::Differs {
                        place: self.config.address.to_string(),
                        what: format!("the stream `{}`", wanted.name),
                        differences,
                    }));
                }
            }
            Err(error) => {
                let kind = error.kind();
                let missing = ErrorCode::STREAM_NOT_FOUND;
                let is_missing = matches!(&kind, GetStreamErrorKind::JetStream(error) if error.error_code() == missing);
                if !is_missing {
                    return Err(Refusal::NotNow(kind.to_string()));
                }
                self.create(wanted).await?;
            }
        }
        if server.max_payload < BIG_GUILD {
            tracing::warn!(
                broker = %self.config.address, max_payload = server.max_payload,
                "a GUILD_CREATE of a big guild may be larger than the broker takes, and would \
                 hold its guild back: set `max_payload: 8MB` in nats-server's configuration"
            );
        }
        self.declared.store(true, Ordering::Release);
        Ok(())
    }

    /// A stream beside that of events, declared if it is not there.
    pub(super) async fn stream(&self, wanted: Config) -> Result<Stream, String> {
        let name = wanted.name.clone();
        let there = self.context.get_or_create_stream(wanted.clone()).await;
        let stream = there.map_err(|error| error.to_string())?;
        let differences = differences(&wanted, &stream.cached_info().config);
        if differences.is_empty() {
            return Ok(stream);
        }
        let differences = differences.join(", ");
        Err(format!(
            "the stream `{name}` is there and differs: {differences}"
        ))
    }

    async fn create(&self, wanted: Config) -> Result<(), Refusal> {
        let created = self.context.create_stream(wanted).await;
        created.map(|_| ()).map_err(|error| {
            let kind = error.kind();
            let no_room = [
                ErrorCode::INSUFFICIENT_RESOURCES,
                ErrorCode::STORAGE_RESOURCES_EXCEEDED,
            ];
            if let CreateStreamErrorKind::JetStream(error) = &kind
                && no_room.contains(&error.error_code())
            {
                let bytes = self.config.bounds.bytes;
                return Refusal::Wrong(Error::Refused {
                    place: self.config.address.to_string(),
                    reason: format!(
                        "{error}: the stream wants {bytes} bytes; give it fewer, or the broker's \
                         `max_file_store` more"
                    ),
                });
            }
            // Another slave declares it at this moment, or it has no leader yet.
            Refusal::NotNow(kind.to_string())
        })
    }

    fn wanted(&self) -> Config {
        let bounds = self.config.bounds;
        Config {
            name: self.config.name.clone(),
            description: Some("events of a bot, published by Baton".to_owned()),
            subjects: vec![format!("{}.events.>", self.config.name)],
            // What workers acknowledged is removed by the slaves, for a broker that does it
            // itself forgets the ids of what it removes when it is started anew.
            retention: RetentionPolicy::Limits,
            // Full is full: nothing that nobody read makes room.
            discard: DiscardPolicy::New,
            max_bytes: i64::try_from(bounds.bytes).unwrap_or(i64::MAX),
            max_age: bounds.age,
            duplicate_window: self.config.timings.repeats,
            num_replicas: bounds.replicas,
            ..unbounded()
        }
    }
}

/// A stream on the disk, without any bound: what a broker says where none is given, so that it
/// can be compared.
pub(super) fn unbounded() -> Config {
    Config {
        storage: StorageType::File,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

/// What is declared here and is otherwise there.
fn differences(wanted: &Config, there: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |name: &str, there: &dyn fmt::Debug, wanted: &dyn fmt::Debug| {
        let (there, wanted) = (format!("{there:?}"), format!("{wanted:?}"));
        if there != wanted {
            differences.push(format!("{name} is {there}, not {wanted}"));
        }
    };
    compare("subjects", &there.subjects, &wanted.subjects);
    compare("retention", &there.retention, &wanted.retention);
    compare("storage", &there.storage, &wanted.storage);
    compare("discard", &there.discard, &wanted.discard);
    compare("max_bytes", &there.max_bytes, &wanted.max_bytes);
    compare("max_age", &there.max_age, &wanted.max_age);
    compare(
        "duplicate_window",
        &there.duplicate_window,
        &wanted.duplicate_window,
    );
    compare("num_replicas", &there.num_replicas, &wanted.num_replicas);
    compare("max_msgs", &there.max_messages, &wanted.max_messages);
    let (there_each, each) = (
        there.max_messages_per_subject,
        wanted.max_messages_per_subject,
    );
    compare("max_msgs_per_subject", &there_each, &each);
    compare(
        "max_msg_size",
        &there.max_message_size,
        &wanted.max_message_size,
    );
    compare("no_ack", &there.no_ack, &wanted.no_ack);
    compare("sealed", &there.sealed, &wanted.sealed);
    compare("deny_purge", &there.deny_purge, &wanted.deny_purge);
    differences
}
