//! Where masters listen: what slaves and agents are told to dial.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// One list names at most so many masters.
pub const MAX_ADDRESSES: usize = 16;

/// Before the host and the port of a master that speaks TLS.
const TLS: &str = "tls://";

/// Where a master listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`: TCP in clear, which does not leave the host.
    Tcp(String),
    /// `unix:/PATH`.
    Unix(PathBuf),
    /// `tls://HOST:PORT`: TLS 1.3, in which both sides have a certificate of the fleet.
    Tls(String),
}

impl Address {
    /// Reads a list of addresses with commas between them, in the order in which they are
    /// dialled.
    ///
    /// # Errors
    /// There is none, one cannot be read, one stands there twice, or there are more than
    /// [`MAX_ADDRESSES`].
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let mut list = Vec::new();
        for part in text.split(',').map(str::trim) {
            let address: Self = part.parse()?;
            if list.contains(&address) {
                return Err(format!("`{address}` is named twice: name each master once"));
            }
            if list.len() == MAX_ADDRESSES {
                return Err(format!(
                    "more than {MAX_ADDRESSES} masters are named: leave some out"
                ));
            }
            list.push(address);
        }
        Ok(list)
    }

    /// Whether what is said there can be heard on the way: TCP in clear to something that is
    /// not the loopback. A name that is not `localhost` may lead anywhere.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let Self::Tcp(text) = self else {
            return false;
        };
        match text.parse::<SocketAddr>() {
            Ok(address) => !address.ip().is_loopback(),
            Err(_) => !host_of(text).eq_ignore_ascii_case("localhost"),
        }
    }
}

fn host_of(text: &str) -> &str {
    text.rsplit_once(':').map_or(text, |(host, _)| host)
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("`unix:` has no path: give unix:/path/to/socket".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        let (rest, is_tls) = match text.strip_prefix(TLS) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let has_port = rest
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port || rest.contains(['/', ' ', '@']) {
            return Err(format!(
                "`{shown}` is no address: give unix:/path/to/socket, tls://HOST:PORT, or HOST:PORT \
                 on this host"
            ));
        }
        let rest = rest.to_owned();
        Ok(if is_tls {
            Self::Tls(rest)
        } else {
            Self::Tcp(rest)
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls(address) => write!(f, "{TLS}{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for (text, address) in [
            ("127.0.0.1:7447", Address::Tcp("127.0.0.1:7447".to_owned())),
            ("[::1]:7447", Address::Tcp("[::1]:7447".to_owned())),
            ("unix:/run/x", Address::Unix("/run/x".into())),
            ("tls://a.b:7447", Address::Tls("a.b:7447".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_list_has_one_address_at_least_and_none_twice() {
        let list = Address::list("unix:/run/x, tls://a:1,tls://b:2").expect("three");
        let shown: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["unix:/run/x", "tls://a:1", "tls://b:2"]);
        let many: Vec<_> = (0..=MAX_ADDRESSES).map(|n| format!("a:{n}")).collect();
        for (wrong, says) in [
            ("", "is no address"),
            ("a:1,", "is no address"),
            ("a:1,,b:2", "is no address"),
            ("a:1,a:1", "named twice"),
            ("nowhere", "is no address"),
            ("a:b", "is no address"),
            (":1", "is no address"),
            ("tls://a", "is no address"),
            ("tls://a:1/", "is no address"),
            ("http://a:1", "is no address"),
            ("unix:", "has no path"),
            (&many.join(","), "more than 16"),
        ] {
            let error = Address::list(wrong).expect_err(wrong);
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    #[test]
    fn tcp_in_clear_is_open_unless_it_stays_on_the_host() {
        let is_open = |text: &str| text.parse::<Address>().expect(text).is_open();
        for closed in [
            "127.0.0.1:1",
            "127.9.0.3:1",
            "[::1]:1",
            "localhost:1",
            "LocalHost:1",
            "unix:/run/x",
            "tls://10.0.0.5:1",
        ] {
            assert!(!is_open(closed), "{closed}");
        }
        for open in ["10.0.0.5:1", "0.0.0.0:1", "[2001:db8::1]:1", "master:1"] {
            assert!(is_open(open), "{open}");
        }
    }
}
