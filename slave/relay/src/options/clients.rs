//! Settings of the gateway for local clients. In a file they are a table, `[proxy]`.

use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use baton_proxy::{Error as ProxyError, ProxyConfig, Token, tls};
use baton_slave::Error;
use clap::Args;
use humantime::parse_duration;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::values::{bytes, bytes_of_file, token_of_file};

/// See the [module](self). Times and sizes that are left out are those of [`ProxyConfig`].
#[derive(Args, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "Local clients")]
pub(super) struct Clients {
    /// Be the gateway of local bots in any language, at this address. Events go to them
    /// then, and to no sink. A port alone is one of 127.0.0.1; any other address needs TLS or
    /// a token of its own. Implies --state store. An address that another process has is
    /// taken when it is free [default: no]
    #[arg(id = "proxy", long = "proxy", env = "BATON_PROXY", value_name = "IP:PORT", value_parser = address)]
    #[serde(deserialize_with = "address_of_file")]
    listen: Option<SocketAddr>,
    /// Certificate to serve wss and https with, a PEM file. Read once
    #[arg(long = "proxy-cert", env = "BATON_PROXY_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key, a PEM file
    #[arg(long = "proxy-key", env = "BATON_PROXY_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// File with a token of the proxy's own: clients come with it, and with the bot's no
    /// more. BATON_PROXY_TOKEN has the token itself [default: clients come with the bot's]
    #[arg(
        id = "proxy_token_file",
        long = "proxy-token-file",
        env = "BATON_PROXY_TOKEN_FILE",
        value_name = "FILE"
    )]
    token_file: Option<PathBuf>,
    /// Names of mirrors, with commas between them: a client that connects with the path
    /// /mirror/NAME gets the events beside the one that handles them [default: none]
    #[arg(
        long = "proxy-mirrors",
        env = "BATON_PROXY_MIRRORS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    mirrors: Option<Vec<String>>,
    /// Events of one shard that are kept for its client, in bytes, or with MiB or GiB
    /// behind. Beyond it Discord is held back [default: 16MiB]
    #[arg(long = "proxy-ring", env = "BATON_PROXY_RING", value_name = "SIZE", value_parser = bytes)]
    #[serde(deserialize_with = "bytes_of_file")]
    ring: Option<u64>,
    /// The same, of all shards [default: 1GiB]
    #[arg(long = "proxy-rings", env = "BATON_PROXY_RINGS", value_name = "SIZE", value_parser = bytes)]
    #[serde(deserialize_with = "bytes_of_file")]
    rings: Option<u64>,
    /// Acknowledged events of one shard that are kept for mirrors, and for clients that
    /// resume far back [default: 1MiB]
    #[arg(long = "proxy-history", env = "BATON_PROXY_HISTORY", value_name = "SIZE", value_parser = bytes)]
    #[serde(deserialize_with = "bytes_of_file")]
    history: Option<u64>,
    /// How long events are kept for a client that is away [default: 10m]
    #[arg(long = "proxy-keep", env = "BATON_PROXY_KEEP", value_name = "TIME", value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    keep: Option<Duration>,
    /// How long a full ring holds Discord back, before its events are given up
    /// [default: 1m]
    #[arg(long = "proxy-hold", env = "BATON_PROXY_HOLD", value_name = "TIME", value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    hold: Option<Duration>,
    /// How long a client that a newer one has taken over from may finish its handlers
    /// [default: 10s]
    #[arg(long = "proxy-drain", env = "BATON_PROXY_DRAIN", value_name = "TIME", value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    drain: Option<Duration>,
    /// How often a client is asked what it has received [default: 1s]
    #[arg(long = "proxy-ask", env = "BATON_PROXY_ASK", value_name = "TIME", value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    ask: Option<Duration>,
    /// Connections at one time [default: 4096]
    #[arg(
        long = "proxy-connections",
        env = "BATON_PROXY_CONNECTIONS",
        value_name = "N"
    )]
    connections: Option<usize>,
    /// Commands of clients that go up from one shard in a minute, 1 to 118 [default: 110]
    #[arg(
        long = "proxy-commands",
        env = "BATON_PROXY_COMMANDS",
        value_name = "N"
    )]
    commands: Option<usize>,
    /// The heartbeat interval that clients are told [default: 41250ms]
    #[arg(long = "proxy-heartbeat", env = "BATON_PROXY_HEARTBEAT", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    heartbeat: Option<Duration>,
    /// How long a client that takes over waits until the one before has acknowledged what
    /// it was sent [default: 2s]
    #[arg(long = "proxy-settle", env = "BATON_PROXY_SETTLE", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    settle: Option<Duration>,
    /// How long a client waits for a shard that is on its way here [default: 30s]
    #[arg(long = "proxy-arrival", env = "BATON_PROXY_ARRIVAL", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    arrival: Option<Duration>,
    /// How long the head of a request, a TLS handshake or a close may take [default: 10s]
    #[arg(long = "proxy-head", env = "BATON_PROXY_HEAD", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    head: Option<Duration>,
    /// How long one write to a client may stand still [default: 1m]
    #[arg(long = "proxy-write", env = "BATON_PROXY_WRITE", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    write: Option<Duration>,
    /// How long a connection may go without IDENTIFY or RESUME [default: 5m]
    #[arg(long = "proxy-nameless", env = "BATON_PROXY_NAMELESS", value_name = "TIME", hide_short_help = true, value_parser = parse_duration)]
    #[serde(with = "humantime_serde")]
    nameless: Option<Duration>,
}

impl Clients {
    /// What is given wins over the file.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            cert: self.cert.or(file.cert),
            key: self.key.or(file.key),
            token_file: self.token_file.or(file.token_file),
            mirrors: self.mirrors.or(file.mirrors),
            ring: self.ring.or(file.ring),
            rings: self.rings.or(file.rings),
            history: self.history.or(file.history),
            keep: self.keep.or(file.keep),
            hold: self.hold.or(file.hold),
            drain: self.drain.or(file.drain),
            ask: self.ask.or(file.ask),
            connections: self.connections.or(file.connections),
            commands: self.commands.or(file.commands),
            heartbeat: self.heartbeat.or(file.heartbeat),
            settle: self.settle.or(file.settle),
            arrival: self.arrival.or(file.arrival),
            head: self.head.or(file.head),
            write: self.write.or(file.write),
            nameless: self.nameless.or(file.nameless),
        }
    }

    /// `None`: no clients are served. `bot`: the bot's token. `given`: one of the proxy's
    /// own, unless it is in the file.
    pub(super) fn check(
        self,
        bot: &str,
        given: Option<&str>,
    ) -> Result<Option<ProxyConfig>, Error> {
        let Some(listen) = self.listen else {
            return match self.asked_for() {
                Some(flag) => Err(wrong(format!(
                    "--proxy-{flag} is given and --proxy is not: give the address at which \
                     clients connect"
                ))),
                None => Ok(None),
            };
        };
        let mut config = ProxyConfig::default();
        config.listen = listen;
        config.bot_token = Token::new(bot);
        config.own_token = own_token(given, self.token_file)?;
        config.tls = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(tls(&cert, &key).map_err(|error| refused(&error))?),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("--proxy-cert needs --proxy-key")),
            (None, Some(_)) => return Err(wrong("--proxy-key needs --proxy-cert")),
        };
        config.mirrors = mirrors(self.mirrors.unwrap_or_default());
        let limits = &mut config.limits;
        set(&mut limits.ring, self.ring.map(size));
        set(&mut limits.rings, self.rings.map(size));
        if self.ring.is_some() && self.rings.is_none() {
            limits.rings = limits.rings.max(limits.ring);
        }
        set(&mut limits.history, self.history.map(size));
        set(&mut limits.connections, self.connections);
        set(&mut limits.commands, self.commands);
        let timings = &mut config.timings;
        set(&mut timings.keep, self.keep);
        set(&mut timings.hold, self.hold);
        set(&mut timings.drain, self.drain);
        set(&mut timings.ask, self.ask);
        set(&mut timings.heartbeat, self.heartbeat);
        set(&mut timings.settle, self.settle);
        set(&mut timings.arrival, self.arrival);
        set(&mut timings.head, self.head);
        set(&mut timings.write, self.write);
        set(&mut timings.nameless, self.nameless);
        config.check().map_err(|error| refused(&error))?;
        Ok(Some(config))
    }

    /// A setting that means nothing without an address.
    fn asked_for(&self) -> Option<&'static str> {
        let asked = [
            ("cert", self.cert.is_some()),
            ("key", self.key.is_some()),
            ("token-file", self.token_file.is_some()),
            ("mirrors", self.mirrors.is_some()),
            ("ring", self.ring.is_some()),
            ("rings", self.rings.is_some()),
            ("history", self.history.is_some()),
            ("keep", self.keep.is_some()),
            ("hold", self.hold.is_some()),
            ("drain", self.drain.is_some()),
            ("ask", self.ask.is_some()),
            ("connections", self.connections.is_some()),
            ("commands", self.commands.is_some()),
            ("heartbeat", self.heartbeat.is_some()),
            ("settle", self.settle.is_some()),
            ("arrival", self.arrival.is_some()),
            ("head", self.head.is_some()),
            ("write", self.write.is_some()),
            ("nameless", self.nameless.is_some()),
        ];
        let asked = asked.into_iter().find(|(_, is_given)| *is_given);
        asked.map(|(flag, _)| flag)
    }
}

fn wrong(what: impl fmt::Display) -> Error {
    Error::Config(what.to_string())
}

/// In the words of the flags.
fn refused(error: &ProxyError) -> Error {
    match error {
        ProxyError::Exposed(address) => wrong(format!(
            "proxy: {address} is not a loopback address, and the bot's token would cross the \
             network in the clear: serve it by TLS (--proxy-cert, --proxy-key), or give clients a \
             token of their own (--proxy-token-file)"
        )),
        ProxyError::Setting {
            setting,
            wrong: why,
        } => wrong(format!("proxy-{setting}: {why}")),
        ProxyError::NoToken | ProxyError::Listen { .. } | ProxyError::Pem { .. } => {
            wrong(format!("proxy: {error}"))
        }
    }
}

fn own_token(given: Option<&str>, file: Option<PathBuf>) -> Result<Option<Token>, Error> {
    if let Some(token) = given.and_then(Token::new) {
        return Ok(Some(token));
    }
    let read = file.map(|file| token_of_file("proxy_token_file", &file));
    Ok(read.transpose()?.and_then(|token| Token::new(&token)))
}

fn mirrors(given: Vec<String>) -> BTreeSet<String> {
    let named = given.iter().map(|name| name.trim());
    let named = named.filter(|name| !name.is_empty());
    named.map(str::to_owned).collect()
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// `IP:PORT`, `localhost:PORT` or `PORT`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = local.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        format!("`{text}` is no address to listen at: give IP:PORT, as in 127.0.0.1:7878")
    })
}

fn address_of_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(file)?;
    address(&text).map(Some).map_err(serde::de::Error::custom)
}

/// `proxy = "IP:PORT"`, or a table with the settings.
pub(super) fn clients_of_file<'de, D: Deserializer<'de>>(file: D) -> Result<Clients, D::Error> {
    struct Reads;
    impl<'de> Visitor<'de> for Reads {
        type Value = Clients;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address, or a table with `listen` and more")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Clients, E> {
            Ok(Clients {
                listen: Some(address(text).map_err(E::custom)?),
                ..Clients::default()
            })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Clients, A::Error> {
            Clients::deserialize(MapAccessDeserializer::new(map))
        }
    }
    file.deserialize_any(Reads)
}
