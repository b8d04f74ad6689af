//! Who a certificate says that its holder is.

use std::{fmt, str::FromStr};

use crate::host_name::HostName;

/// Before the rest of a certificate's name.
const SCHEME: &str = "baton://";

/// What a process of the fleet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerRole {
    /// A master: slaves, agents and operators dial it.
    Master,
    /// The master's hand on another host.
    Agent,
    /// Any slave of a host.
    Slave,
    /// A person, or a program that acts for one.
    Operator,
}

impl PeerRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Master, Self::Agent, Self::Slave, Self::Operator];

    /// The role as it stands in a certificate and on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
            Self::Slave => "slave",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PeerRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| {
            format!(
                "`{}` is no role: give master, agent, slave or operator",
                text.escape_debug()
            )
        })
    }
}

/// Who is at the other end, as its certificate says: proved by TLS, for a fleet that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub role: PeerRole,
    /// The host on which it runs.
    pub host: HostName,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of host {}", self.role, self.host)
    }
}

/// The name in a certificate: `baton://FLEET/ROLE/HOST`, a URI among its alternative names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName {
    /// The fleet.
    pub fleet: HostName,
    /// Who the holder is in it.
    pub peer: Peer,
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { role, host } = &self.peer;
        write!(f, "{SCHEME}{}/{role}/{host}", self.fleet)
    }
}

impl CertificateName {
    /// The one name of this kind among a certificate's URIs.
    ///
    /// # Errors
    /// There is none, there are several, or it cannot be read.
    pub fn among<'a>(uris: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut names = uris.filter(|uri| uri.starts_with(SCHEME));
        match (names.next(), names.next()) {
            (Some(name), None) => name.parse(),
            (None, _) => Err(format!(
                "the certificate has no name {SCHEME}FLEET/ROLE/HOST: issue it with baton-master \
                 certs issue"
            )),
            (Some(_), Some(_)) => Err("the certificate has two names of a fleet".to_owned()),
        }
    }
}

impl FromStr for CertificateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text
            .strip_prefix(SCHEME)
            .map(|rest| rest.split('/').collect())
            .unwrap_or_default();
        let [fleet, role, host] = parts[..] else {
            return Err(format!(
                "`{}` is no name of a certificate: it has the form {SCHEME}FLEET/ROLE/HOST",
                text.escape_debug()
            ));
        };
        Ok(Self {
            fleet: fleet.parse()?,
            peer: Peer {
                role: role.parse()?,
                host: host.parse()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_everything_else_is_none() {
        let text = "baton://my-bot/slave/eu-1";
        let name: CertificateName = text.parse().expect("a name");
        assert_eq!(name.to_string(), text);
        assert_eq!(name.peer.to_string(), "slave of host eu-1");
        for wrong in [
            "",
            "https://my-bot/slave/eu-1",
            "baton://my-bot/slave",
            "baton://my-bot/slave/eu-1/more",
            "baton://my-bot/Slave/eu-1",
            "baton://my-bot/king/eu-1",
            "baton:///slave/eu-1",
            "baton://my-bot/slave/",
            "baton://my-bot/slave/eu_1",
        ] {
            assert!(wrong.parse::<CertificateName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_has_one_name_of_a_fleet() {
        let among = |uris: &[&str]| CertificateName::among(uris.iter().copied());
        let (one, other) = ("baton://f/slave/a", "baton://f/master/a");
        assert!(among(&["https://x", one]).is_ok());
        assert!(among(&[one, other]).is_err_and(|says| says.contains("two names")));
        assert!(among(&["https://x"]).is_err_and(|says| says.contains("no name")));
    }
}
