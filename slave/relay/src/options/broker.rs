//! What is asked for of a broker.

use std::{fs, path::Path};

use baton_sink::{Address, Broker, Credentials, SinkConfig};
use baton_slave::Error;

use super::{Keys, settings::DEFAULT_INTENTS};
use crate::copies::{Names, Place};

/// Whether a sink is a broker's address: the others have no `://`.
fn is_address(sink: &str) -> bool {
    sink.contains("://") && !sink.starts_with("file:") && !is_at_most_once(sink)
}

/// Whether nobody confirms what goes there, so that it is a copy and no sink.
pub(super) fn is_at_most_once(sink: &str) -> bool {
    sink.starts_with("zmq://")
}

fn wrong(key: &str, error: &baton_sink::Error) -> Error {
    Error::Config(format!("{key}: {error}"))
}

/// Refuses a flag that shows a secret.
pub(super) fn without_secret(key: &str, address: &str) -> Result<(), Error> {
    if !is_address(address) {
        return Ok(());
    }
    let address = Address::parse(address).map_err(|error| wrong(key, &error))?;
    if address.has_secret() {
        return Err(Error::Config(format!(
            "{key}: every user of the host sees a password on the command line: put the address \
             into BATON_{} or the configuration file, or give --{key}-credentials FILE",
            key.to_uppercase(),
        )));
    }
    Ok(())
}

impl Keys {
    /// Ends that get each event at most once.
    pub(super) fn copies(&self) -> Result<(Vec<Place>, Names), Error> {
        let sink = self.sink.iter().filter(|sink| is_at_most_once(sink));
        let places = sink.chain(&self.copy).map(|text| Place::parse(text));
        let places = places.collect::<Result<_, _>>().map_err(Error::Config)?;
        let names = Names {
            name: self.sink_name.clone().unwrap_or_else(|| "baton".to_owned()),
            gateway: gateway(),
        };
        Ok((places, names))
    }

    /// The broker that events go to; `None`: they go to none.
    pub(super) fn broker(&self) -> Result<Option<SinkConfig>, Error> {
        let Some(sink) = self.sink.as_deref().filter(|sink| is_address(sink)) else {
            return Ok(None);
        };
        let mut config = self.server("sink", sink, self.sink_credentials.as_deref())?;
        config.gateway = gateway();
        if let Some(bytes) = self.sink_bytes {
            config.bounds.bytes = bytes;
        }
        if let Some(age) = self.sink_age {
            config.bounds.age = age;
        }
        if let Some(replicas) = self.sink_replicas {
            config.bounds.replicas = replicas;
        }
        if let Some(ttl) = self.sink_command_ttl {
            config.commands.ttl = ttl;
        }
        config.commands.intents = Some(self.intents.unwrap_or(DEFAULT_INTENTS));
        config.check().map_err(|error| wrong("sink", &error))?;
        Ok(Some(config))
    }

    /// Where copies of guilds are kept; `None`: there are none.
    pub(super) fn guilds_kept(&self) -> Result<Option<SinkConfig>, Error> {
        let Some(address) = self.guilds.as_deref() else {
            return Ok(None);
        };
        let config = self.server("guilds", address, self.guilds_credentials.as_deref())?;
        if cfg!(not(feature = "redis")) || config.address.broker() != Broker::Redis {
            return Err(Error::Config(
                "guilds: copies are kept in Redis or Valkey, by a build with the feature redis: \
                 give redis://HOST:PORT"
                    .to_owned(),
            ));
        }
        config.check().map_err(|error| wrong("guilds", &error))?;
        Ok(Some(config))
    }

    /// A server at this address, with the sink's name and certificates.
    fn server(
        &self,
        key: &str,
        address: &str,
        credentials: Option<&Path>,
    ) -> Result<SinkConfig, Error> {
        let address = Address::parse(address).map_err(|error| wrong(key, &error))?;
        let mut config = SinkConfig::new(address);
        if let Some(name) = &self.sink_name {
            config.name.clone_from(name);
        }
        if let Some(path) = credentials {
            let file = path.display();
            let text = fs::read_to_string(path).map_err(|error| {
                Error::Config(format!("{key}_credentials: {file} cannot be read: {error}"))
            })?;
            let read = Credentials::new(&text);
            config.credentials =
                Some(read.map_err(|error| Error::Config(format!("{key}: {file}: {error}")))?);
        }
        config.tls.ca.clone_from(&self.sink_ca);
        config.tls.cert.clone_from(&self.sink_cert);
        config.tls.key.clone_from(&self.sink_key);
        Ok(config)
    }
}

/// The host and the process.
fn gateway() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let host: String = host
        .chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect();
    format!("{host}-{}", std::process::id())
}
