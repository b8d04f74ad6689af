//! Where a broker is.

use std::fmt;

use crate::error::Error;

/// A kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// NATS with JetStream: `nats://`, `tls://`.
    Nats,
    /// RabbitMQ: `amqp://`, `amqps://` for TLS.
    Rabbit,
    /// Streams of Redis or Valkey: `redis://`, `rediss://` for TLS, `redis+unix://` for a
    /// socket file.
    Redis,
    /// Subscribers of ZeroMQ, who get events at most once: `zmq://`.
    Zmq,
}

impl Broker {
    const fn port(self, tls: bool) -> u16 {
        match self {
            Self::Nats => 4222,
            Self::Rabbit if tls => 5671,
            Self::Rabbit => 5672,
            Self::Redis => 6379,
            Self::Zmq => 5556,
        }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nats => "NATS JetStream",
            Self::Rabbit => "RabbitMQ",
            Self::Redis => "Redis",
            Self::Zmq => "ZeroMQ",
        })
    }
}

/// The schemes, what each means, and whether it is TLS.
const SCHEMES: [(&str, Broker, bool); 10] = [
    ("amqp", Broker::Rabbit, false),
    ("amqps", Broker::Rabbit, true),
    ("nats", Broker::Nats, false),
    ("tls", Broker::Nats, true),
    ("redis", Broker::Redis, false),
    ("rediss", Broker::Redis, true),
    ("redis+unix", Broker::Redis, false),
    ("valkey", Broker::Redis, false),
    ("valkeys", Broker::Redis, true),
    ("zmq", Broker::Zmq, false),
];

/// Where a broker is, and who asks: `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]`,
/// `amqp://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...][/VHOST]`,
/// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`.
///
/// `Display` and `Debug` show neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) broker: Broker,
    scheme: &'static str,
    pub(crate) tls: bool,
    /// Host, an IPv6 address in brackets, and port.
    pub(crate) hosts: Vec<(String, u16)>,
    /// A socket file, in the place of hosts.
    pub(crate) socket: Option<String>,
    /// Of Redis.
    pub(crate) database: i64,
    /// Of RabbitMQ.
    pub(crate) vhost: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl Address {
    /// Whether a text begins as an address does, of a broker that is known here.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| SCHEMES.iter().any(|known| known.0 == scheme))
    }

    /// The schemes that are known here, with commas between them.
    #[must_use]
    pub fn schemes() -> String {
        let names = SCHEMES.map(|(scheme, _, _)| format!("{scheme}://"));
        names.join(", ")
    }

    /// Reads an address.
    ///
    /// # Errors
    /// [`Error::Address`], which repeats nothing of what may be a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Address(format!("the broker's address: {what}"));
        let known = || format!("it begins with one of {}", Self::schemes());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(&known()))?;
        let mut schemes = SCHEMES.into_iter();
        let (scheme, broker, tls) = schemes
            .find(|(name, _, _)| *name == scheme)
            .ok_or_else(|| wrong(&known()))?;
        // A password may have an `@`, a host has none.
        let (who, rest) = match rest.rsplit_once('@') {
            Some((who, rest)) => (Some(who), rest),
            None => (None, rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_file = scheme.ends_with("+unix");
        let (mut database, mut vhost) = (0, "/".to_owned());
        match broker {
            _ if is_file => {}
            _ if path.is_empty() => {}
            Broker::Nats | Broker::Zmq => {
                return Err(wrong("nothing stands behind the hosts"));
            }
            Broker::Rabbit => {
                let name = decoded(path).filter(|name| !name.contains(char::is_control));
                vhost = name.ok_or_else(|| wrong("a virtual host is text: a `/` in it is %2F"))?;
            }
            Broker::Redis => {
                let number = path.parse::<u16>();
                let number = number.map_err(|_| wrong("a database is a number from 0 on"))?;
                database = i64::from(number);
            }
        }
        let socket = is_file.then(|| format!("/{path}"));
        let hosts = match &socket {
            Some(_) if !hosts.is_empty() || path.is_empty() => {
                return Err(wrong(
                    "the path of a socket file follows: redis+unix:///run/a.sock",
                ));
            }
            Some(_) => Vec::new(),
            None => {
                let places = hosts.split(',').map(|host| place(host, broker.port(tls)));
                let places = places.collect::<Result<Vec<_>, _>>();
                places.map_err(|what| wrong(&what))?
            }
        };
        if broker == Broker::Zmq && who.is_some() {
            return Err(wrong("ZeroMQ asks nobody for a password"));
        }
        if broker == Broker::Redis && hosts.len() > 1 {
            return Err(wrong("Redis has one host here"));
        }
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (decoded(user), decoded(password)),
            None => (Some(String::new()), Some(String::new())),
        };
        let unreadable = || wrong("user and password: a `%` is followed by two hex digits");
        let given = |part: Option<String>| match part {
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => Ok(Some(text)),
            None => Err(unreadable()),
        };
        Ok(Self {
            broker,
            scheme,
            tls,
            hosts,
            socket,
            database,
            vhost,
            user: given(user)?,
            password: given(password)?,
        })
    }

    /// Which kind of broker it is of.
    #[must_use]
    pub const fn broker(&self) -> Broker {
        self.broker
    }

    /// Whether every host of it is this one.
    pub(crate) fn is_local(&self) -> bool {
        let local = |host: &str| host == "localhost" || host == "[::1]" || host.starts_with("127.");
        self.hosts.iter().all(|(host, _)| local(host))
    }

    /// Whether a secret stands in it.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.user.is_some() || self.password.is_some()
    }
}

/// A host and its port.
fn place(text: &str, port: u16) -> Result<(String, u16), String> {
    let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => {
            let port = text[at + 1..].parse().ok().filter(|port| *port > 0);
            (
                &text[..at],
                port.ok_or("a port is a number from 1 to 65535")?,
            )
        }
        None => (text, port),
    };
    let name = bare(host);
    let in_brackets = name.len() < host.len();
    let fits =
        |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || (in_brackets && c == ':');
    if name.is_empty() || !name.chars().all(fits) {
        return Err("a host is a name or an address, an IPv6 address stands in []".to_owned());
    }
    Ok((host.to_owned(), port))
}

/// A host without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// `None`: a `%` without two hex digits, or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{host}:{port}")?;
        }
        if let Some(path) = &self.socket {
            f.write_str(path)?;
        }
        if self.vhost != "/" {
            write!(f, "/{}", self.vhost)?;
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_ports_and_secrets_are_read_and_not_shown() {
        let address = Address::parse("nats://me:p%40ss@w@a.b:5,[::1]:6,c").unwrap();
        let hosts = [("a.b", 5), ("[::1]", 6), ("c", 4222)];
        assert_eq!(
            address.hosts,
            hosts.map(|(host, port)| (host.to_owned(), port))
        );
        assert_eq!(address.user.as_deref(), Some("me"));
        assert_eq!(address.password.as_deref(), Some("p@ss@w"));
        assert!(address.has_secret() && !address.tls);
        let shown = format!("{address} {address:?}");
        assert_eq!(
            shown,
            "nats://a.b:5,[::1]:6,c:4222 nats://a.b:5,[::1]:6,c:4222"
        );
        let redis = Address::parse("rediss://:se%2Fcret@c/3").unwrap();
        assert_eq!(
            (redis.database, redis.user.is_none(), redis.tls),
            (3, true, true)
        );
        assert_eq!(redis.password.as_deref(), Some("se/cret"));
        assert_eq!(redis.to_string(), "rediss://c:6379/3");
        let rabbit = Address::parse("amqp://me:secret@a,b:7/%2Fone").unwrap();
        assert_eq!((rabbit.vhost.as_str(), rabbit.hosts[0].1), ("/one", 5672));
        assert_eq!(
            Address::parse("amqps://a").unwrap().to_string(),
            "amqps://a:5671"
        );
        let file = Address::parse("redis+unix:///run/a.sock").unwrap();
        assert_eq!(file.socket.as_deref(), Some("/run/a.sock"));
        assert!(file.is_local() && file.to_string() == "redis+unix:///run/a.sock");
        let open = Address::parse("tls://c/").unwrap();
        assert!(open.tls && !open.has_secret());
    }

    #[test]
    fn what_is_no_address_is_refused_without_a_word_of_a_secret() {
        for wrong in [
            "kafka://me:secret@a",
            "me:secret@a",
            "nats://",
            "nats://me:secret@",
            "nats://me:secret@a:0",
            "nats://me:secret@a:b",
            "nats://me:secret%4@a",
            "nats://me:secret@a/secret",
            "nats://me:secret@a,",
            "nats://me:secret@a b",
            "redis://me:secret@a,b",
            "redis://me:secret@a/secret",
            "redis+unix://me:secret@a/b",
            "redis+unix:///",
            "zmq://me:secret@a",
            "zmq://a/secret",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("the broker's address: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
