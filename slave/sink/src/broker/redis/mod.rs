//! Redis or Valkey: one stream a shard, one writer, one script.
//!
//! Redis trims a stream in silence, and never refuses an event because nobody reads. So the
//! script refuses at the bound, and removes only what every group has acknowledged. It
//! knows each event of a session by its sequence, without a window, and an owner of an
//! older epoch adds nothing but what is missing.

mod commands;
mod letters;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_slave::ShardId;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, Script, TlsCertificates, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

pub(crate) use self::letters::visit;
use super::{Answer, Ended, Message, PublishInOrder, Refused, link::Link};
use crate::{
    address::bare,
    config::{Pem, SinkConfig, Timings},
    envelope::{self, Stamp},
    error::Error,
    health::Health,
};

/// How often a broker that is away is tried.
const AGAIN: Duration = Duration::from_millis(200);

/// See the [module](self).
pub(crate) struct Redis {
    pub(crate) config: SinkConfig,
    client: Client,
    link: Link<MultiplexedConnection>,
    publish: Script,
    trim: Script,
    /// Whose events were published here.
    shards: Mutex<BTreeSet<ShardId>>,
    scripts: commands::Scripts,
    waiting: commands::Waiting,
}

/// Not connected yet.
fn new(config: SinkConfig) -> Result<Redis, Error> {
    let client = client(&config)?;
    let mut publish = include_str!("publish.lua").to_owned();
    if mutant!("maxlen-in-xadd") {
        let bound = "for _, word in ipairs({'MAXLEN', '100'}) do entry[#entry + 1] = word end";
        publish = publish.replace("--MAXLEN", bound);
    }
    Ok(Redis {
        client,
        link: Link::new(),
        publish: Script::new(&publish),
        trim: Script::new(include_str!("trim.lua")),
        shards: Mutex::default(),
        scripts: commands::Scripts::new(),
        waiting: commands::Waiting::default(),
        config,
    })
}

/// Connects and looks around, or, if the broker is away, does so later.
pub(crate) async fn start(
    config: SinkConfig,
    health: &Arc<Health>,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Redis>, Error> {
    let redis = Arc::new(new(config)?);
    match timeout(redis.config.timings.start, redis.look()).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(reason))) => return Err(redis.refused(reason)),
        Ok(Err(error)) => {
            if let Some(advice) = advice(&error) {
                return Err(redis.refused(format!("{error}: {advice}")));
            }
            tracing::warn!(broker = %redis.config.address, %error, "the broker cannot be reached: it is tried again");
        }
        Err(_) => {
            tracing::warn!(broker = %redis.config.address, "the broker does not answer: it is tried again");
        }
    }
    tasks.spawn(keep(Arc::clone(&redis), Arc::clone(health)));
    if !redis.config.commands.ttl.is_zero() {
        tasks.spawn(Arc::clone(&redis).look_for_commands());
    }
    Ok(redis)
}

/// What to do about an error that does not go away by itself.
fn advice(error: &RedisError) -> Option<&'static str> {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => Some(
            "the broker does not let this process in: give user and password, or credentials, \
             that it knows",
        ),
        (_, Some("NOPERM")) => Some("allow this user the commands of streams and scripts"),
        _ if error.to_string().contains("certificate") => {
            Some("give the authority of the broker's certificate, and the one that it wants")
        }
        (ErrorKind::InvalidClientConfig, _) => Some("change the address or the certificates"),
        _ => None,
    }
}

pub(crate) fn client(config: &SinkConfig) -> Result<Client, Error> {
    let address = &config.address;
    let refused = |reason: String| Error::Refused {
        place: address.to_string(),
        reason,
    };
    let at = match (&address.socket, address.hosts.first()) {
        (Some(path), _) => ConnectionAddr::Unix(path.into()),
        (None, Some((host, port))) => {
            let host = bare(host).to_owned();
            if address.tls {
                ConnectionAddr::TcpTls {
                    host,
                    port: *port,
                    insecure: false,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host, *port)
            }
        }
        (None, None) => return Err(refused("there is no host in it".to_owned())),
    };
    let mut who = RedisConnectionInfo::default().set_db(address.database);
    let given = config.credentials.as_ref().map(|given| {
        let (user, password) = given.0.split_once(':').unwrap_or(("", &given.0));
        (user.to_owned(), password.to_owned())
    });
    let user = given
        .as_ref()
        .map(|(user, _)| user)
        .or(address.user.as_ref());
    let password = given.as_ref().map(|(_, password)| password);
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        who = who.set_username(user);
    }
    if let Some(password) = password.or(address.password.as_ref()) {
        who = who.set_password(password);
    }
    let info = at
        .into_connection_info()
        .map_err(|error| refused(error.to_string()))?;
    let info = info.set_redis_settings(who);
    let client = if address.tls {
        Client::build_with_tls(info, certificates(config)?)
    } else {
        Client::open(info)
    };
    client.map_err(|error| refused(error.to_string()))
}

/// A connection, which waits for each answer only so long.
pub(crate) async fn connect(
    client: &Client,
    times: Timings,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(times.start))
        .set_response_timeout(Some(times.confirm));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

fn certificates(config: &SinkConfig) -> Result<TlsCertificates, Error> {
    let Pem { ca, own } = config.tls.read()?;
    Ok(TlsCertificates {
        client_tls: own.map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: ca,
    })
}

/// Connects again and again, and removes what no group needs.
async fn keep(redis: Arc<Redis>, health: Arc<Health>) {
    let mut said = String::new();
    loop {
        if redis.link.get().is_some() {
            tokio::select! {
                () = sleep(redis.config.timings.trim) => redis.trim_all().await,
                () = redis.link.lost() => {}
            }
            continue;
        }
        let reason = match redis.look().await {
            Ok(None) => {
                tracing::info!(broker = %redis.config.address, "connected");
                said.clear();
                health.revive();
                continue;
            }
            Ok(Some(reason)) => Some(reason),
            Err(error) => {
                tracing::debug!(broker = %redis.config.address, %error, "not connected");
                advice(&error).map(|advice| format!("{error}: {advice}"))
            }
        };
        if let Some(reason) = reason.filter(|reason| *reason != said) {
            tracing::error!(broker = %redis.config.address, reason, "no event can be published");
            said = reason;
        }
        sleep(AGAIN).await;
    }
}

impl Redis {
    fn refused(&self, reason: String) -> Error {
        Error::Refused {
            place: self.config.address.to_string(),
            reason,
        }
    }

    /// Connects, or says why the broker is none that keeps what it confirms.
    async fn look(&self) -> Result<Option<String>, RedisError> {
        let mut connection = connect(&self.client, self.config.timings).await?;
        let ask = async |what: &str, connection: &mut MultiplexedConnection| {
            let mut asks = redis::cmd("CONFIG");
            asks.arg("GET").arg(what);
            // Not every user may ask.
            let said: Option<(String, String)> = asks.query_async(connection).await.ok();
            said.map(|(_, said)| said)
        };
        let policy = ask("maxmemory-policy", &mut connection).await;
        if let Some(policy) = policy.filter(|policy| policy.starts_with("allkeys")) {
            return Ok(Some(format!(
                "its maxmemory-policy is {policy}, so it drops events that nobody read: set \
                 `maxmemory-policy noeviction`"
            )));
        }
        let appends = ask("appendonly", &mut connection).await;
        let synced = ask("appendfsync", &mut connection).await;
        match (appends.as_deref(), synced.as_deref()) {
            (Some("no"), _) => tracing::warn!(
                broker = %self.config.address,
                "the broker loses what it confirmed when it is started anew: set `appendonly yes`"
            ),
            // While a sync takes long, it answers before it writes.
            (_, Some("everysec" | "no")) => tracing::warn!(
                broker = %self.config.address,
                "the broker may lose the last seconds of what it confirmed if it is killed: set \
                 `appendfsync always`"
            ),
            (_, _) => {}
        }
        let answer: String = redis::cmd("PING").query_async(&mut connection).await?;
        tracing::debug!(answer, "the broker is there");
        // Another server may be the primary by now, at the same address.
        let role: Result<Vec<Value>, _> = redis::cmd("ROLE").query_async(&mut connection).await;
        let role = role.ok().and_then(|role| role.into_iter().next());
        let role = role.and_then(|role| String::from_redis_value(role).ok());
        if role.is_some_and(|role| role == "slave") {
            return Err((ErrorKind::Io, "this server is a replica").into());
        }
        self.link.set(connection);
        Ok(None)
    }

    fn key(&self, what: &str, whose: impl fmt::Display) -> String {
        // In a cluster, keys with the same word in braces are on the same server.
        format!("{}:{what}:{{{whose}}}", self.config.name)
    }

    async fn trim_all(&self) {
        let age = u64::try_from(self.config.bounds.age.as_millis()).unwrap_or(u64::MAX);
        let oldest = envelope::now_ms().saturating_sub(age);
        let shards = self
            .shards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for shard in shards {
            let Some((mut connection, _)) = self.link.get() else {
                return;
            };
            let mut call = self.trim.key(self.key("events", shard));
            call.arg(oldest);
            let trimmed: Result<u64, _> = call.invoke_async(&mut connection).await;
            match trimmed {
                Ok(removed) => tracing::trace!(%shard, removed, "acknowledged events"),
                Err(error) => {
                    tracing::debug!(%shard, %error, "what workers acknowledged is removed later");
                }
            }
        }
    }
}

impl PublishInOrder for Redis {
    async fn publish(&self, batch: &[Arc<Message>], before: u64) -> Result<Answer, Refused> {
        let Some(first) = batch.first() else {
            return Ok(Answer::default());
        };
        let shard = first.event.shard;
        self.shards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard);
        let away = |error: RedisError| Refused {
            in_doubt: true,
            reason: error.to_string(),
        };
        let Some((mut connection, number)) = self.link.get() else {
            return Err(Refused {
                in_doubt: false,
                reason: "not connected".to_owned(),
            });
        };
        let mut call = self.publish.key(self.key("events", shard));
        call.key(self.key("state", shard));
        call.key(self.key("missing", shard));
        call.arg(first.event.epoch.get()).arg(&first.event.session);
        call.arg(self.config.bounds.bytes).arg(before);
        for message in batch {
            let event = &message.event;
            let stamp = Stamp {
                gateway: &self.config.gateway,
                created: message.created,
                may_repeat: false,
                commands: self.config.takes_commands(|_| self.key("commands", shard)),
            };
            let fields = envelope::fields(event, &stamp);
            call.arg(event.sequence.get()).arg(2 * (fields.len() + 1));
            for (name, value) in fields {
                call.arg(name).arg(value);
            }
            call.arg("payload").arg(&event.payload[..]);
        }
        let asked: Result<(String, usize, u64, u64), _> = call.invoke_async(&mut connection).await;
        match asked {
            Ok((why, taken, repeats, last)) => Ok(Answer {
                taken,
                repeats,
                ended: match why.as_str() {
                    "ok" => Ended::Done,
                    "fenced" => Ended::Fenced,
                    "hole" => Ended::Hole { last },
                    _ => Ended::Refused(
                        "the stream is full: no group acknowledges events".to_owned(),
                    ),
                },
            }),
            Err(error) => {
                self.fails(&error, number);
                Err(away(error))
            }
        }
    }
}
