//! What a sink is told.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{address::Address, commands::CommandsConfig, error::Error};

/// Where events go, and how much may wait there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SinkConfig {
    /// The broker.
    pub address: Address,
    /// Names what is declared there, one name a fleet: 1 to 32 letters, digits, `-` and `_`.
    /// Default: `baton`.
    pub name: String,
    /// Names this process in each envelope.
    pub gateway: String,
    /// How the broker lets this process in. They win over what stands in the address.
    pub credentials: Option<Credentials>,
    /// With which certificates.
    pub tls: Tls,
    /// How much waits at the broker.
    pub bounds: Bounds,
    /// Times.
    pub timings: Timings,
    /// How commands of workers are taken.
    pub commands: CommandsConfig,
}

/// How a broker lets a process in. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Credentials(pub(crate) String);

/// Certificates, all of them in PEM files.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Authorities that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// This process's own certificate; needs [`key`](Self::key).
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How much waits at the broker. If it is full, events wait here, then at Discord.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of events at the broker, at least 1 MiB: 1 GiB.
    pub bytes: u64,
    /// How long an event waits for a worker before it is dropped, at least 1 s: 24 h.
    pub age: Duration,
    /// Servers that have an event before it is confirmed, 1 to 5: 1.
    pub replicas: usize,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// For the broker's confirm, before an event is published again: 5 s.
    pub confirm: Duration,
    /// For the broker, at the start: 3 s. Later it is waited for without an end.
    pub start: Duration,
    /// For so long the broker knows a repeat by its id: 150 s, which is longer than a session
    /// can be resumed.
    pub repeats: Duration,
    /// How often events that no worker needs are removed: 10 s.
    pub trim: Duration,
}

/// What is in the files of [`Tls`].
pub(crate) struct Pem {
    pub(crate) ca: Option<Vec<u8>>,
    /// This process's own certificate and its key.
    pub(crate) own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// For a client that does not read the files itself.
    pub(crate) fn read(&self) -> Result<Pem, Error> {
        let read = |setting, path: &Path| {
            fs::read(path).map_err(|error| Error::Setting {
                setting,
                wrong: format!("{} cannot be read: {error}", path.display()),
            })
        };
        let ca = self.ca.as_ref().map(|ca| read("ca", ca)).transpose()?;
        let own = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read("cert", cert)?, read("key", key)?)),
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        Ok(Pem { ca, own })
    }
}

impl SinkConfig {
    /// The usual settings for this broker.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            name: "baton".to_owned(),
            gateway: format!("gateway-{}", std::process::id()),
            credentials: None,
            tls: Tls::default(),
            bounds: Bounds {
                bytes: 1 << 30,
                age: Duration::from_secs(24 * 3600),
                replicas: 1,
            },
            timings: Timings {
                confirm: Duration::from_secs(5),
                start: Duration::from_secs(3),
                repeats: Duration::from_secs(150),
                trim: Duration::from_secs(10),
            },
            commands: CommandsConfig::default(),
        }
    }

    /// Where commands go, if they are taken.
    pub(crate) fn takes_commands(&self, place: impl FnOnce(&str) -> String) -> Option<String> {
        let takes = !self.commands.ttl.is_zero();
        takes.then(|| place(&self.name))
    }

    /// Whether a sink can be started with it, but for what only the broker knows.
    ///
    /// # Errors
    /// Says which setting is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |setting, wrong: &str| {
            Err(Error::Setting {
                setting,
                wrong: wrong.to_owned(),
            })
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=32).contains(&self.name.len()) || !self.name.chars().all(fits) {
            return wrong("name", "give 1 to 32 letters, digits, `-` and `_`");
        }
        let fits = |c: char| c.is_ascii_graphic();
        if !(1..=128).contains(&self.gateway.len()) || !self.gateway.chars().all(fits) {
            return wrong("gateway", "give 1 to 128 visible ASCII characters");
        }
        if !((1 << 20)..=(1 << 50)).contains(&self.bounds.bytes) {
            return wrong("bytes", "give at least 1 MiB");
        }
        if self.bounds.age < Duration::from_secs(1) {
            return wrong("age", "give at least 1s");
        }
        if !(1..=5).contains(&self.bounds.replicas) {
            return wrong("replicas", "give 1 to 5");
        }
        if self.commands.ttl > CommandsConfig::LONGEST {
            return wrong("commands", "a command waits at most 10min");
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return wrong("cert", "a certificate and its key are given together");
        }
        let secret = self.address.has_secret() || self.credentials.is_some();
        if secret && !self.address.tls && !self.address.is_local() {
            tracing::warn!(broker = %self.address, "the password goes over the network in the open: use TLS");
        }
        Ok(())
    }
}

impl Credentials {
    /// Of this text: `USER:PASSWORD`; for NATS also a token, or the content of a `.creds` file;
    /// for Redis also a password.
    ///
    /// # Errors
    /// It is empty.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            let wrong = "there is nothing in it: give USER:PASSWORD in one line".to_owned();
            return Err(Error::Setting {
                setting: "credentials",
                wrong,
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config() -> SinkConfig {
        SinkConfig::new(Address::parse("nats://me:secret@127.0.0.1").unwrap())
    }

    #[test]
    fn what_is_out_of_its_range_is_named() {
        config().check().unwrap();
        let refused = |change: fn(&mut SinkConfig), named: &str| {
            let mut config = config();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        };
        refused(|config| config.name = "a.b".to_owned(), "name: ");
        refused(|config| config.name = "a".repeat(33), "name: ");
        refused(|config| config.gateway = "a\nb".to_owned(), "gateway: ");
        refused(|config| config.bounds.bytes = 1, "bytes: ");
        refused(|config| config.bounds.age = Duration::ZERO, "age: ");
        refused(|config| config.bounds.replicas = 0, "replicas: ");
        refused(|config| config.commands.ttl *= 21, "commands: ");
        refused(
            |config| config.tls.cert = Some(PathBuf::from("/c")),
            "cert: ",
        );
    }

    #[test]
    fn nothing_shows_a_secret() {
        let mut config = config();
        config.credentials = Some(Credentials::new("me:secret").unwrap());
        assert!(!format!("{config:?}").contains("secret"));
        assert!(Credentials::new(" \n").is_err());
    }
}
