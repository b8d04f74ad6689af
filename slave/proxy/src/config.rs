//! What a proxy is told.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{error::Error, token::Token};

/// How a proxy listens, and how much it keeps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Where clients connect. A loopback address, unless there is [`tls`](Self::tls) or an
    /// [own token](Self::own_token). Default: `127.0.0.1:7878`.
    pub listen: SocketAddr,
    /// The bot's token: with it, what a library asks of Discord by HTTP goes on.
    pub bot_token: Option<Token>,
    /// A token of the proxy's own. With it, the bot's is refused.
    pub own_token: Option<Token>,
    /// Serves `wss` and `https`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Names of mirrors: clients that get the events of a shard beside the one who handles
    /// them. None by default.
    pub mirrors: BTreeSet<String>,
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timings: Timings,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of events of one shard that its client did not acknowledge: 16 MiB.
    pub ring: usize,
    /// The same, of all shards: 1 GiB.
    pub rings: usize,
    /// Bytes of acknowledged events that a shard keeps for mirrors, and for clients that
    /// resume below what they acknowledged: 1 MiB.
    pub history: usize,
    /// Connections at once: 4,096.
    pub connections: usize,
    /// Commands a minute that go up from one shard. Discord takes 120, heartbeats included,
    /// so some are left for the shard's own: 110.
    pub commands: usize,
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// What HELLO says: 41.25 s. A client that is silent for one and a half of it is gone.
    pub heartbeat: Duration,
    /// A client that has not acknowledged what it was sent is asked so often: 1 s.
    pub ask: Duration,
    /// How long a client that takes over waits for its predecessor to acknowledge what it
    /// was sent: 2 s. Where the predecessor says what it has handled: [`drain`](Self::drain).
    pub settle: Duration,
    /// How long a client that was taken over from may finish its handlers: 10 s.
    pub drain: Duration,
    /// How long a full ring holds Discord back. Beyond it the backlog is given up: Discord
    /// ends a session that nobody resumes. 60 s.
    pub hold: Duration,
    /// How long events are kept for a client that is away: 10 min.
    pub keep: Duration,
    /// How long a client waits for a shard that is on its way: 30 s.
    pub arrival: Duration,
    /// How long a request's head, a TLS handshake or a close may take: 10 s.
    pub head: Duration,
    /// How long one write may stand still: 60 s.
    pub write: Duration,
    /// How long a connection may go without IDENTIFY or RESUME: 5 min.
    pub nameless: Duration,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)),
            bot_token: None,
            own_token: None,
            tls: None,
            mirrors: BTreeSet::new(),
            limits: Limits {
                ring: 16 << 20,
                rings: 1 << 30,
                history: 1 << 20,
                connections: 4096,
                commands: 110,
            },
            timings: Timings {
                heartbeat: Duration::from_millis(41_250),
                ask: Duration::from_secs(1),
                settle: Duration::from_secs(2),
                drain: Duration::from_secs(10),
                hold: Duration::from_secs(60),
                keep: Duration::from_secs(600),
                arrival: Duration::from_secs(30),
                head: Duration::from_secs(10),
                write: Duration::from_secs(60),
                nameless: Duration::from_secs(300),
            },
        }
    }
}

impl ProxyConfig {
    /// What clients come with.
    pub(crate) const fn token(&self) -> Option<&Token> {
        match &self.own_token {
            Some(own) => Some(own),
            None => self.bot_token.as_ref(),
        }
    }

    /// Whether a proxy can be started with it, but for what only listening shows.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&self) -> Result<(), Error> {
        if self.token().is_none() {
            return Err(Error::NoToken);
        }
        let is_open = self.tls.is_none() && self.own_token.is_none();
        if is_open && !self.listen.ip().is_loopback() {
            return Err(Error::Exposed(self.listen));
        }
        let wrong = |setting, wrong: &str| {
            let wrong = wrong.to_owned();
            Err(Error::Setting { setting, wrong })
        };
        let Limits {
            ring,
            rings,
            connections,
            commands,
            ..
        } = self.limits;
        if ring == 0 || rings < ring {
            return wrong(
                "ring",
                "at least one byte, and at most what all rings may have",
            );
        }
        if connections == 0 {
            return wrong("connections", "at least one");
        }
        if !(1..=118).contains(&commands) {
            return wrong(
                "commands",
                "1 to 118 a minute: Discord takes 120, of which two are heartbeats",
            );
        }
        let heartbeat = self.timings.heartbeat;
        if heartbeat.is_zero() || heartbeat > Duration::from_secs(600) {
            return wrong("heartbeat", "above 0 and at most 10 min");
        }
        if self.timings.ask.is_zero() {
            return wrong("ask", "above 0");
        }
        let is_name = |name: &String| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if let Some(odd) = self.mirrors.iter().find(|name| !is_name(name)) {
            let wrong_name = format!("{odd:?}: a name has 1 to 32 letters, digits and hyphens");
            return wrong("mirrors", &wrong_name);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_open_to_other_hosts_only_behind_a_lock() {
        let open = ProxyConfig {
            bot_token: Token::new("t"),
            listen: "0.0.0.0:1".parse().unwrap(),
            ..ProxyConfig::default()
        };
        let refused = open.check().unwrap_err().to_string();
        assert!(
            refused.starts_with("0.0.0.0:1 is not a loopback"),
            "{refused}"
        );
        let locked = ProxyConfig {
            own_token: Token::new("own"),
            ..open.clone()
        };
        assert!(locked.check().is_ok());
        let local = ProxyConfig {
            listen: "[::1]:1".parse().unwrap(),
            ..open
        };
        assert!(local.check().is_ok());
    }

    #[test]
    fn what_is_out_of_its_range_is_named() {
        let config = ProxyConfig {
            bot_token: Token::new("t"),
            ..ProxyConfig::default()
        };
        assert!(config.check().is_ok());
        let mut without = config.clone();
        without.bot_token = None;
        assert!(matches!(without.check(), Err(Error::NoToken)));
        let mut commands = config.clone();
        commands.limits.commands = 120;
        let said = commands.check().unwrap_err().to_string();
        assert!(said.starts_with("commands: 1 to 118"), "{said}");
        let mut mirrors = config;
        mirrors.mirrors.insert("a/b".to_owned());
        let said = mirrors.check().unwrap_err().to_string();
        assert!(said.contains("a/b"), "{said}");
    }
}
