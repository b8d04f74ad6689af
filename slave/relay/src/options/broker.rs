//! What is asked for of a broker.

use std::fs;

use baton_sink::{Address, Credentials, SinkConfig};
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

fn wrong(error: &baton_sink::Error) -> Error {
    Error::Config(format!("sink: {error}"))
}

/// Refuses a flag that shows a secret.
pub(super) fn without_secret(sink: &str) -> Result<(), Error> {
    if !is_address(sink) {
        return Ok(());
    }
    let address = Address::parse(sink).map_err(|error| wrong(&error))?;
    if address.has_secret() {
        return Err(Error::Config(
            "sink: every user of the host sees a password on the command line: put the address \
             into BATON_SINK or the configuration file, or give --sink-credentials FILE"
                .to_owned(),
        ));
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
        let address = Address::parse(sink).map_err(|error| wrong(&error))?;
        let mut config = SinkConfig::new(address);
        config.gateway = gateway();
        if let Some(name) = &self.sink_name {
            config.name.clone_from(name);
        }
        if let Some(path) = &self.sink_credentials {
            let file = path.display();
            let text = fs::read_to_string(path).map_err(|error| {
                Error::Config(format!("sink_credentials: {file} cannot be read: {error}"))
            })?;
            let read = Credentials::new(&text);
            config.credentials =
                Some(read.map_err(|error| Error::Config(format!("sink: {file}: {error}")))?);
        }
        config.tls.ca.clone_from(&self.sink_ca);
        config.tls.cert.clone_from(&self.sink_cert);
        config.tls.key.clone_from(&self.sink_key);
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
        config.check().map_err(|error| wrong(&error))?;
        Ok(Some(config))
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
