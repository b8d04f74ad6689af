//! What stands in a certificate.

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use baton_protocol::CertificateName;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: i64,
    /// Until then.
    pub until: i64,
}

impl Validity {
    /// How long it is valid from `now` on, in seconds; negative: since when it no longer is.
    #[must_use]
    pub const fn left(self, now: i64) -> i64 {
        self.until.saturating_sub(now)
    }

    /// The same for a person.
    #[must_use]
    pub fn told(self, now: i64) -> String {
        let left = self.left(now);
        let until = date(self.until);
        match left {
            ..0 => format!("expired since {until}"),
            _ if self.from > now => format!("valid only from {} on", date(self.from)),
            _ => format!("valid until {until} ({} days)", left / DAY),
        }
    }
}

/// Seconds.
pub(super) const DAY: i64 = 86_400;

/// This moment, in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A moment for a person, in UTC.
#[must_use]
pub fn date(at: i64) -> String {
    // The last second that the library can write is that of the year 9999.
    let at = u64::try_from(at).unwrap_or(0).min(253_402_300_799);
    let at = UNIX_EPOCH + Duration::from_secs(at);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A name of the DNS, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlsoNamed {
    /// A name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl FromStr for AlsoNamed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        match ServerName::try_from(text) {
            Ok(ServerName::DnsName(name)) => Ok(Self::Dns(name.as_ref().to_ascii_lowercase())),
            Ok(_) | Err(_) => Err(format!(
                "`{text}` is neither a name of the DNS nor an address"
            )),
        }
    }
}

impl fmt::Display for AlsoNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl AlsoNamed {
    fn among(names: &[GeneralName<'_>]) -> Vec<Self> {
        let also = names.iter().filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                return Some(Self::Dns((*name).to_owned()));
            }
            let GeneralName::IPAddress(bytes) = name else {
                return None;
            };
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(Self::Ip)
        });
        also.collect()
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name in a fleet.
    pub name: Result<CertificateName, String>,
    /// What it is called otherwise.
    pub subject: String,
    /// Names and addresses under which programs look for its holder that know nothing of
    /// fleets: browsers and monitors.
    pub also: Vec<AlsoNamed>,
    /// Whether it is an authority's.
    pub is_authority: bool,
    /// When it is valid.
    pub validity: Validity,
    /// Its public key, as DER.
    pub(super) public_key: Vec<u8>,
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|error| format!("its names cannot be read: {error}"))?;
        let names: &[_] = names
            .as_ref()
            .map_or(&[], |names| &names.value.general_names);
        let also = AlsoNamed::among(names);
        let uris = names.iter().filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        });
        let validity = certificate.validity();
        Ok(Self {
            name: CertificateName::among(uris),
            also,
            subject: certificate.subject().to_string(),
            is_authority: certificate.is_ca(),
            validity: Validity {
                from: validity.not_before.timestamp(),
                until: validity.not_after.timestamp(),
            },
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Of the first certificate in a text.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem)
            .map_err(|_| "there is no certificate in it".to_owned())?;
        Self::of(&der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_days_and_what_is_over_with_its_day() {
        let validity = Validity {
            from: 100 * DAY,
            until: 130 * DAY,
        };
        assert_eq!(
            validity.told(110 * DAY),
            "valid until 1970-05-11T00:00:00Z (20 days)"
        );
        assert_eq!(
            validity.told(131 * DAY),
            "expired since 1970-05-11T00:00:00Z"
        );
        assert_eq!(
            validity.told(99 * DAY),
            "valid only from 1970-04-11T00:00:00Z on"
        );
        assert_eq!(date(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(date(-1), "1970-01-01T00:00:00Z");
    }
}
