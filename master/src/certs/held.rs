//! The certificate of this process.

use std::{fmt, path::Path, sync::Arc};

use baton_protocol::{CertificateName, HostName, PeerRole, tls::Identity};
use rustls::ServerConfig;

use super::{Facts, Validity, facts::DAY};

/// A certificate that ends within so many seconds is to be renewed.
pub const SOON: i64 = 30 * DAY;

/// A master's certificate, with what its listener needs.
#[derive(Clone)]
pub struct Held {
    identity: Identity,
    validity: Validity,
    server: Arc<ServerConfig>,
    operators: Arc<ServerConfig>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Held {
    /// Reads the folder of a master's certificate. Blocks on the disk.
    ///
    /// # Errors
    /// It cannot be used, or is no master's: what to do.
    pub fn read(dir: &Path) -> Result<Self, String> {
        let identity = Identity::read(dir).map_err(|error| error.to_string())?;
        let name = identity.name();
        if name.peer.role != PeerRole::Master {
            return Err(format!(
                "{} has the certificate {name}, and a master's has the role master: issue one with \
                 baton-master certs issue --role master --host {}",
                dir.display(),
                name.peer.hosts.name()
            ));
        }
        let of = |reason: String| format!("{}: {reason}", dir.display());
        let facts = Facts::of(identity.leaf()).map_err(of)?;
        let server = identity.server().map_err(|error| of(error.to_string()))?;
        let operators = identity.server_for_operators();
        let operators = operators.map_err(|error| of(error.to_string()))?;
        Ok(Self {
            validity: facts.validity,
            identity,
            server,
            operators,
        })
    }

    /// Who this process is.
    #[must_use]
    pub const fn name(&self) -> &CertificateName {
        self.identity.name()
    }

    /// The name of this host.
    #[must_use]
    pub fn host(&self) -> HostName {
        self.identity.name().peer.hosts.name().clone()
    }

    /// When it is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// For the side that is dialled.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The same for operators, who may have no certificate.
    #[must_use]
    pub fn operators(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.operators)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("identity", &self.identity)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}
