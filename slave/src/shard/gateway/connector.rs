//! Who dials: where a session is resumed, and how.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use baton_protocol::{Sequence, ShardId};
use http::Uri;
use tokio::task::JoinSet;
use twilight_gateway::{
    Config, ConfigBuilder, Session as TwilightSession, Shard, ShardId as TwilightShardId,
};

use super::{
    Gateway, Refused,
    hosts::{Hosts, Paused},
};
use crate::{
    config::{API_VERSION, SlaveConfig, is_gateway_url},
    error::Error,
    permits::Permits,
    shard::session::Session,
};

// What the configuration says belongs to the session.
const _: () = assert!(API_VERSION == twilight_gateway::API_VERSION);

/// Where the gateway is, unless the configuration or a session says otherwise.
const DISCORD: &str = "wss://gateway.discord.gg";

/// Dials connections that share one TLS configuration.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Config,
    hosts: Arc<Hosts>,
}

/// Which address a session is resumed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Url {
    /// The one that READY named.
    OfSession,
    /// The gateway's own.
    Default,
}

impl Url {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::OfSession => Self::Default,
            Self::Default => Self::OfSession,
        }
    }
}

impl Connector {
    /// # Errors
    /// The system's TLS certificates cannot be loaded.
    pub(crate) fn new(config: &SlaveConfig) -> Result<Self, Error> {
        // twilight panics without exactly one provider, and without certificates.
        #[cfg(feature = "rustls")]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let token = config.token.expose().to_owned();
        let builder = catch_unwind(AssertUnwindSafe(|| {
            ConfigBuilder::new(token, config.intents)
        }))
        .map_err(|_| {
            Error::Config(
                "the system's TLS certificates cannot be loaded: install ca-certificates \
                     or name a file in SSL_CERT_FILE"
                    .to_owned(),
            )
        })?;
        let mut builder = builder.large_threshold(u64::from(config.large_threshold.clamp(50, 250)));
        if let Some(url) = &config.gateway_url {
            builder = builder.proxy_url(url.trim_end_matches('/').to_owned());
        }
        Ok(Self {
            config: builder.build(),
            hosts: Arc::default(),
        })
    }

    /// Whether the host that this would dial asked to be left alone.
    pub(crate) fn paused(&self, session: Option<&Session>, url: Url) -> Option<Paused> {
        let url = asked(self.address(session, url))?;
        self.hosts.paused(&url)
    }

    /// Where this would dial.
    fn address<'a>(&'a self, session: Option<&'a Session>, url: Url) -> &'a str {
        session
            .filter(|_| url == Url::OfSession)
            .map(|session| session.said.resume_url.trim_end_matches('/'))
            // twilight panics on an address that is no URL.
            .filter(|url| is_gateway_url(url))
            .or_else(|| self.config.proxy_url())
            .unwrap_or(DISCORD)
    }

    /// A connection that dials when it is polled.
    pub(crate) fn dial(
        &self,
        shard: ShardId,
        shard_count: u32,
        permits: &Permits,
        session: Option<(&Session, Sequence)>,
        url: Url,
    ) -> Gateway {
        let mut builder = ConfigBuilder::from(self.config.clone());
        let address = self.address(session.map(|(session, _)| session), url);
        if let Some((session, sequence)) = session {
            builder = builder
                .session(TwilightSession::new(
                    sequence.get(),
                    session.said.id.clone(),
                ))
                .resume_url(address.to_owned());
        }
        let refused = Refused {
            hosts: Arc::clone(&self.hosts),
            url: asked(address),
            asks: JoinSet::new(),
        };
        // Checked by `Table`: twilight panics where shard >= count.
        let id = TwilightShardId::new(shard.get(), shard_count.max(shard.get().saturating_add(1)));
        let config = builder.queue(permits.clone()).build();
        Gateway {
            shard: Shard::with_config(id, config),
            opened: false,
            helloed: false,
            heartbeats: None,
            newest: session.map_or(Sequence(0), |(_, sequence)| sequence),
            named: None,
            over: false,
            writing: None,
            refused,
            buffer: VecDeque::new(),
            buffer_bytes: 0,
        }
    }
}

/// What twilight asks a host for.
fn asked(address: &str) -> Option<Uri> {
    format!("{address}/?v={API_VERSION}&encoding=json")
        .parse()
        .ok()
}
