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

/// For which hosts a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// For this one.
    One(HostName),
    /// For every host whose name begins with this one and a dot, as `pod.*` stands for `pod.a`
    /// and not for `pod`: hosts that come and go under names that nobody knows before.
    Under(HostName),
}

/// Behind the name of [`Hosts::Under`].
const UNDER: &str = ".*";

impl Hosts {
    /// Whether this is the name of one of them.
    #[must_use]
    pub fn have(&self, name: &str) -> bool {
        match self {
            Self::One(host) => host.as_str() == name,
            Self::Under(host) => {
                let rest = name.strip_prefix(host.as_str());
                rest.and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|rest| rest.parse::<HostName>().is_ok())
                    && name.parse::<HostName>().is_ok()
            }
        }
    }

    /// The name that stands in the certificate.
    #[must_use]
    pub const fn name(&self) -> &HostName {
        match self {
            Self::One(host) | Self::Under(host) => host,
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(host) => write!(f, "{host}"),
            Self::Under(host) => write!(f, "{host}{UNDER}"),
        }
    }
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix(UNDER) {
            Some(host) => host.parse().map(Self::Under),
            None => text.parse().map(Self::One),
        }
    }
}

/// Who is at the other end, as its certificate says: proved by TLS, for a fleet that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is.
    pub role: PeerRole,
    /// The host on which it runs, or those on which it may.
    pub hosts: Hosts,
}

impl Peer {
    /// Who has this role there.
    ///
    /// # Errors
    /// The role is one of a single host.
    pub fn new(role: PeerRole, hosts: Hosts) -> Result<Self, String> {
        match (role, &hosts) {
            (PeerRole::Master | PeerRole::Operator, Hosts::Under(_)) => Err(format!(
                "{hosts} is for agents and slaves: a certificate of the role {role} names one host"
            )),
            (_, Hosts::One(_)) | (PeerRole::Agent | PeerRole::Slave, Hosts::Under(_)) => {
                Ok(Self { role, hosts })
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of host {}", self.role, self.hosts)
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
        let Peer { role, hosts } = &self.peer;
        write!(f, "{SCHEME}{}/{role}/{hosts}", self.fleet)
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
        let peer = Peer::new(role.parse()?, host.parse()?)?;
        let fleet = fleet.parse()?;
        Ok(Self { fleet, peer })
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
            "baton://my-bot/slave/*",
            "baton://my-bot/slave/.*",
            "baton://my-bot/slave/eu*",
            "baton://my-bot/slave/eu.*.*",
            "baton://my-bot/master/eu.*",
            "baton://my-bot/operator/eu.*",
        ] {
            assert!(wrong.parse::<CertificateName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_for_hosts_that_come_and_go_is_for_the_names_below_its_own() {
        let text = "baton://my-bot/agent/pod.*";
        let name: CertificateName = text.parse().expect("a name");
        assert_eq!(name.to_string(), text);
        let hosts = name.peer.hosts;
        for one in ["pod.a", "pod.east-7c9f-x2", "pod.a.b"] {
            assert!(hosts.have(one), "{one}");
        }
        let long = format!("pod.{}", "a".repeat(63));
        for other in [
            "", "pod", "pod.", "pod..a", "pod.*", "pods.a", "a.pod.b", "pod.A", &long,
        ] {
            assert!(!hosts.have(other), "{other}");
        }
        let one: Hosts = "pod".parse().expect("a name");
        assert!(one.have("pod") && !one.have("pod.a") && !one.have("po"));
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
