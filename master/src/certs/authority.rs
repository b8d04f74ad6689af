//! The authority of a fleet: a certificate that signs others, and its key.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use baton_protocol::{CertificateName, HostName, PeerRole, tls::CA_FILE};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SubjectPublicKeyInfo, date_time_ymd,
};

use super::{
    AlsoNamed, Facts, Validity,
    facts::{DAY, now},
};

/// The authority's key, beside [`CA_FILE`]: for who issues certificates, and nobody else.
pub const CA_KEY_FILE: &str = "ca.key";

/// Before the name of a fleet in its authority's certificate.
const FLEET: &str = "Baton fleet ";

/// Clocks of two hosts differ by less: a certificate counts so long before it is made.
const EARLIER: i64 = 3600;

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// At least one, at most 36,500.
    days: u32,
}

impl Life {
    /// So many days.
    ///
    /// # Errors
    /// It is none, or more than a hundred years.
    pub fn of_days(days: u32) -> Result<Self, String> {
        if (1..=36_500).contains(&days) {
            return Ok(Self { days });
        }
        Err(format!("{days} days: give 1 to 36500"))
    }
}

/// See the module. Its key is never shown.
pub struct Authority {
    fleet: HostName,
    validity: Validity,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}

/// A certificate, and the key that it is for where that was made with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, as PEM.
    pub certificate: String,
    /// Who it is for, and until when.
    pub validity: Validity,
}

impl Authority {
    /// A new one. Gives its key too, as PEM.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn make(fleet: &HostName, life: Life) -> Result<(Self, String), String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{FLEET}{fleet}"));
        let validity = valid(&mut params, life);
        let certificate = params
            .self_signed(&key)
            .map_err(|error| error.to_string())?;
        let key_pem = key.serialize_pem();
        let authority = Self {
            fleet: fleet.clone(),
            validity,
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, key_pem))
    }

    /// Reads [`CA_FILE`] and [`CA_KEY_FILE`] of a folder. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, or they are not those of one authority of a fleet.
    pub fn read(dir: &Path) -> Result<Self, String> {
        let read = |file: &str| {
            let path = dir.join(file);
            fs::read_to_string(&path).map_err(|error| {
                format!(
                    "{}: {error}: name the folder of the fleet's authority, which baton-master \
                     certs init makes",
                    path.display()
                )
            })
        };
        let (pem, key) = (read(CA_FILE)?, read(CA_KEY_FILE)?);
        let of = |file: &str, reason: String| format!("{}: {reason}", dir.join(file).display());
        let facts = Facts::of_pem(pem.as_bytes()).map_err(|reason| of(CA_FILE, reason))?;
        let fleet = facts
            .subject
            .strip_prefix("CN=")
            .and_then(|name| name.strip_prefix(FLEET))
            .and_then(|name| name.parse().ok())
            .filter(|_| facts.is_authority);
        let fleet = fleet.ok_or_else(|| {
            of(
                CA_FILE,
                "it is no authority that baton-master made".to_owned(),
            )
        })?;
        let key = KeyPair::from_pem(&key)
            .map_err(|_| of(CA_KEY_FILE, "there is no private key in it".to_owned()))?;
        if key.subject_public_key_info() != facts.public_key {
            return Err(of(CA_KEY_FILE, format!("it is not the key of {CA_FILE}")));
        }
        let issuer =
            Issuer::from_ca_cert_pem(&pem, key).map_err(|error| of(CA_FILE, error.to_string()))?;
        Ok(Self {
            fleet,
            validity: facts.validity,
            pem,
            issuer,
        })
    }

    /// Whose authority it is.
    #[must_use]
    pub const fn fleet(&self) -> &HostName {
        &self.fleet
    }

    /// When it is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate with a new key, as PEM: the certificate, the key.
    ///
    /// # Errors
    /// See `sign`; the operating system has no randomness.
    pub fn issue(
        &self,
        name: &CertificateName,
        also: &[AlsoNamed],
        life: Life,
    ) -> Result<(Issued, String), String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let issued = self.sign(name, also, &key, life)?;
        Ok((issued, key.serialize_pem()))
    }

    /// The same name and key as an earlier certificate, for a new time: nothing of the
    /// private key is needed.
    ///
    /// # Errors
    /// It is none of this fleet; see `sign`.
    pub fn renew(&self, before: &Facts, life: Life) -> Result<Issued, String> {
        let name = before.name.clone()?;
        if name.fleet != self.fleet {
            return Err(format!(
                "{name} is of another fleet than this authority, which is of {}",
                self.fleet
            ));
        }
        let key = SubjectPublicKeyInfo::from_der(&before.public_key)
            .map_err(|error| format!("its key cannot be read: {error}"))?;
        self.sign(&name, &before.also, &key, life)
    }

    /// # Errors
    /// The authority ends before the certificate would, or the library refuses something.
    fn sign(
        &self,
        name: &CertificateName,
        also: &[AlsoNamed],
        key: &impl PublicKeyData,
        life: Life,
    ) -> Result<Issued, String> {
        let mut params = CertificateParams::default();
        let uri = name.to_string().try_into();
        let uri = uri.map_err(|error: rcgen::Error| error.to_string())?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        let peer = &name.peer;
        let mut also: BTreeSet<_> = also.iter().cloned().collect();
        // Browsers and monitors look for a name of the DNS.
        if peer.role == PeerRole::Master {
            also.insert(AlsoNamed::Dns(peer.hosts.name().as_str().to_owned()));
        }
        for name in also {
            params.subject_alt_names.push(match name {
                AlsoNamed::Ip(address) => SanType::IpAddress(address),
                AlsoNamed::Dns(name) => {
                    let name = name.try_into();
                    SanType::DnsName(name.map_err(|error: rcgen::Error| error.to_string())?)
                }
            });
        }
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{} {}", peer.role, peer.hosts));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match peer.role {
            PeerRole::Master => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            PeerRole::Agent | PeerRole::Slave | PeerRole::Operator => {
                vec![ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;
        let validity = valid(&mut params, life);
        if validity.until > self.validity.until {
            return Err(format!(
                "the authority itself is {}: give fewer days, or make a new authority",
                self.validity.told(now())
            ));
        }
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(|error| error.to_string())?;
        Ok(Issued {
            certificate: certificate.pem(),
            validity,
        })
    }
}

/// From now on, for so long.
fn valid(params: &mut CertificateParams, life: Life) -> Validity {
    let now = now();
    let validity = Validity {
        from: now - EARLIER,
        until: now + i64::from(life.days) * DAY,
    };
    let moment =
        |at: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(at).unwrap_or(0));
    params.not_before = moment(validity.from);
    params.not_after = moment(validity.until);
    validity
}
