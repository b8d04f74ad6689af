//! Where IRC is.

use std::{fmt, str::FromStr};

/// A host that speaks IRC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl FromStr for Address {
    type Err = String;

    /// `tls://HOST:PORT`, or `HOST:PORT` for a host that is this one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.strip_prefix("tls://") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let wrong = || format!("{text:?} is no address: give tls://HOST:PORT");
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() {
            return Err(wrong());
        }
        if !tls && !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return Err(format!(
                "{text:?}: the account's token would be readable on the way: give tls://{rest}"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls://" } else { "" };
        write!(f, "{scheme}{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_another_host_by_tls_or_not_at_all() {
        for good in ["tls://irc.chat.twitch.tv:6697", "127.0.0.1:6667", "[::1]:1"] {
            assert_eq!(
                good.parse::<Address>().map(|it| it.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "irc.chat.twitch.tv:6667",
            "",
            "tls://",
            "tls://host",
            "tls://:1",
            "127.0.0.1:x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
