//! The connection to the servers. The client connects again by itself; here is what is
//! asked, how long is waited, and whether anybody answers.

use std::{
    error::Error as _,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{
    ConnectErrorKind, ConnectOptions, HeaderMap, Request, RequestErrorKind, connection::State,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::config::{Access, SharedStore};

/// An answer comes within this time, or the store is away. Three servers choose another
/// leader in 4 to 8 s.
const ANSWER: Duration = Duration::from_secs(2);

/// The first connection is there within this time, or it is waited for.
const FIRST: Duration = Duration::from_secs(3);

/// A server is asked this often whether it is there; after two questions without an answer
/// the client dials the next one.
const PING: Duration = Duration::from_secs(2);

/// The server says so while it chooses who leads.
const UNAVAILABLE: u64 = 503;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nobody answered: whether it was done is not known.
    #[error("it does not answer: {0}")]
    Away(String),
    /// Nobody listens at this subject: there is no such stream, or it has no leader now.
    #[error("nobody there serves JetStream, or the stream has no leader")]
    Nobody,
    /// The server said no.
    #[error("{description} (error {code})")]
    Refused {
        /// `err_code` of JetStream.
        code: u64,
        /// For a person.
        description: String,
    },
    /// The server lets this process not in, or no connection can be made with what is
    /// configured.
    #[error("{0}")]
    Wrong(String),
    /// What came is no answer.
    #[error("its answer makes no sense: {0}")]
    Garbage(String),
}

/// JetStream's words for what went wrong.
pub(crate) mod code {
    /// There is no such message.
    pub(crate) const NO_MESSAGE: u64 = 10037;
    /// There is no such stream.
    pub(crate) const NO_STREAM: u64 = 10059;
    /// The stream is there, and another one was asked for.
    pub(crate) const STREAM_DIFFERS: u64 = 10058;
    /// A sequence is not the one that was expected.
    pub(crate) const WRONG_SEQUENCE: u64 = 10071;
    /// The same, said by a server that has not stored the message before yet.
    pub(crate) const WRONG_SEQUENCE_NOW: u64 = 10164;
}

impl Trouble {
    /// Whether a compare-and-set was refused.
    pub(crate) const fn is_wrong_sequence(&self) -> bool {
        self.is(code::WRONG_SEQUENCE) || self.is(code::WRONG_SEQUENCE_NOW)
    }

    /// Whether the server said this.
    pub(crate) const fn is(&self, wanted: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

/// Clones are one connection.
#[derive(Clone)]
pub(crate) struct Client {
    nats: async_nats::Client,
    place: Arc<str>,
    /// Since when nobody answers.
    away: Arc<Mutex<Option<Instant>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.place)
    }
}

impl Client {
    /// Connects; a server that is away is dialled again and again.
    ///
    /// # Errors
    /// [`Trouble::Wrong`]: what is configured is.
    pub(crate) async fn connect(config: &SharedStore, who: &str) -> Result<Self, Trouble> {
        let nats = connect(config, who).await?;
        Ok(Self {
            nats,
            place: config.place().into(),
            away: Arc::default(),
        })
    }

    /// Where it is, without what is secret.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The largest message that the server takes.
    pub(crate) fn max_payload(&self) -> usize {
        self.nats.server_info().max_payload
    }

    /// The version of the server.
    pub(crate) fn version(&self) -> String {
        self.nats.server_info().version
    }

    /// Since when nobody answers; `None`: somebody does.
    pub(crate) fn away(&self) -> Option<Instant> {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks JetStream.
    pub(crate) async fn ask(&self, api: &str, body: &Value) -> Result<Value, Trouble> {
        let body = Bytes::from(body.to_string());
        let answer = self.request(format!("$JS.API.{api}"), None, body).await?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| Trouble::Garbage(error.to_string()))?;
        match self.refusal(&answer) {
            Some(trouble) => Err(trouble),
            None => Ok(answer),
        }
    }

    /// Writes one message that others follow: the answer to the last one counts.
    pub(crate) async fn put(
        &self,
        subject: String,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<(), Trouble> {
        let put = self.nats.publish_with_headers(subject, headers, value);
        match timeout(ANSWER, put).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Away(error.to_string())),
            Err(_) => Err(self.is_away("the connection takes nothing".to_owned())),
        }
    }

    /// Writes one message; the sequence of the stream behind it.
    pub(crate) async fn write(
        &self,
        subject: String,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, Trouble> {
        #[derive(Deserialize)]
        struct Ack {
            seq: u64,
        }
        let answer = self.request(subject, Some(headers), value).await?;
        let garbage = |error: serde_json::Error| Trouble::Garbage(error.to_string());
        let answer: Value = serde_json::from_slice(&answer).map_err(garbage)?;
        match self.refusal(&answer) {
            Some(trouble) => Err(trouble),
            None => Ok(serde_json::from_value::<Ack>(answer).map_err(garbage)?.seq),
        }
    }

    async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        body: Bytes,
    ) -> Result<Bytes, Trouble> {
        if self.nats.connection_state() != State::Connected {
            return Err(self.is_away("there is no connection".to_owned()));
        }
        let mut request = Request::new().payload(body).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        match timeout(ANSWER, self.nats.send_request(subject, request)).await {
            Ok(Ok(answer)) => {
                *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(answer.payload)
            }
            Ok(Err(error)) => match error.kind() {
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                    Err(Trouble::Garbage(error.to_string()))
                }
                RequestErrorKind::NoResponders => Err(Trouble::Nobody),
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    Err(self.is_away(error.to_string()))
                }
            },
            Err(_) => Err(self.is_away(format!(
                "no answer within {}",
                humantime::format_duration(ANSWER)
            ))),
        }
    }

    /// What the server said no to.
    fn refusal(&self, answer: &Value) -> Option<Trouble> {
        let error = answer.get("error")?;
        let number = |key: &str| error.get(key).and_then(Value::as_u64).unwrap_or(0);
        let description = error.get("description").and_then(Value::as_str);
        let description = description.unwrap_or_default().to_owned();
        if number("code") == UNAVAILABLE {
            return Some(self.is_away(description));
        }
        let code = number("err_code");
        Some(Trouble::Refused { code, description })
    }

    fn is_away(&self, reason: String) -> Trouble {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get_or_insert_with(Instant::now);
        Trouble::Away(reason)
    }
}

async fn connect(config: &SharedStore, who: &str) -> Result<async_nats::Client, Trouble> {
    let first = options(config, who)?.connect(&config.servers);
    match timeout(FIRST, first).await {
        Ok(Ok(client)) => return Ok(client),
        Ok(Err(error)) => {
            use ConnectErrorKind::{
                Authentication, AuthorizationViolation, Dns, Io, MaxReconnects, ServerParse,
                TimedOut, Tls,
            };
            let advice = match error.kind() {
                ServerParse => "give nats://HOST:PORT",
                Authentication | AuthorizationViolation => {
                    "it does not let this master in: store_credentials_file names a file with what it knows"
                }
                Tls => "look at store_ca_file, store_cert_file and store_key_file",
                Io if is_of_handshake(&error) => {
                    "look at store_ca_file, store_cert_file and store_key_file"
                }
                Dns | Io | TimedOut | MaxReconnects => "",
            };
            if !advice.is_empty() {
                return Err(Trouble::Wrong(format!("{error}: {advice}")));
            }
            tracing::warn!(store = config.place(), %error, "the store cannot be reached: it is tried again");
        }
        Err(_) => {
            tracing::warn!(
                store = config.place(),
                "the store does not answer: it is tried again"
            );
        }
    }
    let later = options(config, who)?.retry_on_initial_connect();
    let client = later.connect(&config.servers).await;
    client.map_err(|error| Trouble::Wrong(error.to_string()))
}

/// Whether the handshake of TLS failed: the client tells that as an error of the connection.
fn is_of_handshake(error: &async_nats::ConnectError) -> bool {
    let source = error.source();
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::InvalidData)
}

fn options(config: &SharedStore, who: &str) -> Result<ConnectOptions, Trouble> {
    let mut options = ConnectOptions::new()
        .name(format!("baton master {who}"))
        .require_tls(config.tls)
        .connection_timeout(FIRST)
        .ping_interval(PING)
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| {
            let tries = u32::try_from(tries).unwrap_or(u32::MAX);
            Duration::from_millis(50)
                .saturating_mul(tries)
                .min(Duration::from_secs(1))
        })
        .event_callback(|event| async move { tracing::debug!(%event, "nats") });
    options = match &config.access {
        None => options,
        Some(Access::Credentials(text)) => {
            // The client wants the end of the last line, which is white space to ours.
            let read = options.credentials(&format!("{}\n", text.reveal()));
            read.map_err(|_| {
                Trouble::Wrong(
                    "store_credentials_file: it is no NATS credentials file: that has a JWT and an \
                     NKEY seed"
                        .to_owned(),
                )
            })?
        }
        Some(Access::Password { user, password }) => {
            options.user_and_password(user.clone(), password.reveal().to_owned())
        }
        Some(Access::Token(token)) => options.token(token.reveal().to_owned()),
    };
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &config.own {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}
